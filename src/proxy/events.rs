//! Pure: what passes in a stream of server-sent events (HTML, "Server-sent events", §9.2.5), byte by byte: whether
//! it is data, and whether an event is under way. Nothing is kept of it but a few bits.

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// How far a stream is.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Bytes of the byte order mark that may stand at the beginning; 3 once it is behind us.
    mark: u8,
    line: Line,
    /// A LF that comes now belongs to the CR before it.
    after_cr: bool,
    /// A field has come since the last empty line.
    under_way: bool,
}

/// Where in a line a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Line {
    #[default]
    Start,
    /// It begins with a colon.
    Comment,
    Field,
}

impl Events {
    /// Goes through what comes next. Whether any of it is data: part of a field, or the empty line that ends an
    /// event. Comments, other empty lines and the byte order mark are not.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> bool {
        let mut data = false;
        for byte in bytes {
            data |= self.step(*byte);
        }
        data
    }

    /// Whether no event is under way, so that an end here cuts none in two.
    pub(super) const fn is_between(&self) -> bool {
        !self.under_way
    }

    fn step(&mut self, byte: u8) -> bool {
        if let Some(expected) = BYTE_ORDER_MARK.get(usize::from(self.mark)) {
            if byte == *expected {
                self.mark += 1;
                return false;
            }
            // What looked like the mark was the beginning of a field.
            if std::mem::replace(&mut self.mark, 3) > 0 {
                self.field();
            }
        }
        let ends_a_cr = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
        match (self.line, byte) {
            _ if ends_a_cr => false,
            (Line::Start, b'\r' | b'\n') => std::mem::replace(&mut self.under_way, false),
            (line, b'\r' | b'\n') => {
                self.line = Line::Start;
                line == Line::Field
            }
            (Line::Start, b':') => {
                self.line = Line::Comment;
                false
            }
            (Line::Comment, _) => false,
            (Line::Start | Line::Field, _) => {
                self.field();
                true
            }
        }
    }

    const fn field(&mut self) {
        self.line = Line::Field;
        self.under_way = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether this is data, and whether it ends between events.
    fn of(text: &str) -> (bool, bool) {
        let mut events = Events::default();
        (events.pass(text.as_bytes()), events.is_between())
    }

    #[test]
    fn comments_and_empty_lines_are_no_data_however_lines_end() {
        for text in [
            "",
            "\n",
            "\r\n\r\n",
            "\r\r",
            ":\n",
            ": still there\r\n\r\n",
            ":a\r:b\n",
            ":data: x\n\n",
            ": half a com",
            "\u{feff}:\n\n",
            "\u{feff}",
        ] {
            assert_eq!(of(text), (false, true), "{text:?}");
        }
    }

    #[test]
    fn fields_are_data_and_an_event_is_under_way_until_its_empty_line() {
        for text in
            ["data: x\n\n", "data\r\r", "id: 1\r\n\r\n", ":c\ndata: x\n:c\n\n", "\u{feff}data: x\n\n:\n"]
        {
            assert_eq!(of(text), (true, true), "{text:?}");
        }
        for text in [
            "d",
            "data: x",
            "data: x\n",
            "data: x\r\n",
            "data: x\r",
            "data: x\n:\n",
            " :no comment\n",
            "\n\nd",
        ] {
            assert_eq!(of(text), (true, false), "{text:?}");
        }
    }

    #[test]
    fn the_empty_line_that_ends_an_event_is_data_and_one_more_is_not() {
        let mut events = Events::default();
        assert!(events.pass(b"data: x\n"));
        assert!(events.pass(b"\n"));
        assert!(!events.pass(b"\n"));
        assert!(!events.pass(b"\r\n"));
    }

    #[test]
    fn what_only_begins_like_a_byte_order_mark_is_a_field() {
        let mut events = Events::default();
        assert!(!events.pass(&BYTE_ORDER_MARK[..2]));
        assert!(events.pass(b":"), "no comment, since its line began before it");
        assert!(!events.is_between());
    }

    /// The same, from the whole text and line by line.
    fn by_lines(text: &str) -> (bool, bool) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let (mut data, mut under_way) = (false, false);
        let mut lines: Vec<_> = text.split('\n').collect();
        let last = lines.pop().unwrap_or_default();
        for line in lines {
            if line.is_empty() {
                under_way = false;
            } else if !line.starts_with(':') {
                (data, under_way) = (true, true);
            }
        }
        if !last.is_empty() && !last.starts_with(':') {
            (data, under_way) = (true, true);
        }
        (data, !under_way)
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_how_a_stream_is_cut_up(text in "\u{feff}?[:dx\r\n]{0,30}", cut in 1..8_usize) {
            let mut events = Events::default();
            let mut data = false;
            for chunk in text.as_bytes().chunks(cut) {
                data |= events.pass(chunk);
            }
            prop_assert_eq!((data, events.is_between()), by_lines(&text));
        }
    }
}
