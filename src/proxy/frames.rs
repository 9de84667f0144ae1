//! Pure: where the frames of a WebSocket begin and end (RFC 6455 §5.2), however its bytes are cut. Headers are read
//! as they pass, payloads are counted and never kept, and nothing is refused: what is wrong is for the ends to say.

/// The bit of an opcode that makes it a control frame: close, ping, pong.
const CONTROL: u8 = 0x08;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
/// Bytes of a masking key.
const MASK_BYTES: u8 = 4;

/// One direction of a WebSocket, as far as it was seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Frames {
    step: Step,
    opcode: u8,
    masked: bool,
    closed: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    /// The first of a frame.
    #[default]
    Opcode,
    /// The one with the mask bit and the short length.
    Length,
    /// Of a longer length.
    Extended { missing: u8, length: u64 },
    /// Of the masking key.
    Mask { missing: u8, length: u64 },
    /// Of the payload.
    Payload { missing: u64 },
}

impl Frames {
    /// These bytes pass. True if there is data among them: a byte of any frame but close, ping and pong.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> bool {
        let (mut rest, mut data) = (bytes, false);
        while let Some((&byte, behind)) = rest.split_first() {
            rest = match self.step {
                Step::Payload { missing } => {
                    let here = usize::try_from(missing).map_or(rest.len(), |missing| missing.min(rest.len()));
                    self.step = payload(missing - here as u64);
                    &rest[here..]
                }
                _ => {
                    self.step = self.header(byte);
                    behind
                }
            };
            data |= self.opcode & CONTROL == 0;
        }
        data
    }

    /// Whether a frame of ours could stand here.
    pub(super) fn is_between(&self) -> bool {
        self.step == Step::Opcode
    }

    /// Whether a close frame has begun: nothing may follow it.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// One byte of a header, and what follows it.
    fn header(&mut self, byte: u8) -> Step {
        match self.step {
            Step::Opcode => {
                self.opcode = byte & 0x0f;
                self.closed |= self.opcode == CLOSE;
                Step::Length
            }
            Step::Length => {
                self.masked = byte & MASKED != 0;
                match byte & !MASKED {
                    126 => Step::Extended { missing: 2, length: 0 },
                    127 => Step::Extended { missing: 8, length: 0 },
                    short => self.behind_length(u64::from(short)),
                }
            }
            Step::Extended { missing, length } => {
                let length = length << 8 | u64::from(byte);
                if missing > 1 {
                    Step::Extended { missing: missing - 1, length }
                } else {
                    self.behind_length(length)
                }
            }
            Step::Mask { missing, length } if missing > 1 => Step::Mask { missing: missing - 1, length },
            Step::Mask { length, .. } => payload(length),
            Step::Payload { missing } => payload(missing),
        }
    }

    const fn behind_length(&self, length: u64) -> Step {
        if self.masked { Step::Mask { missing: MASK_BYTES, length } } else { payload(length) }
    }
}

const fn payload(missing: u64) -> Step {
    if missing == 0 { Step::Opcode } else { Step::Payload { missing } }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as RFC 6455 has it; the length in the shortest form, or in the one that is asked for.
    fn frame(opcode: u8, masked: bool, payload: &[u8], form: u8) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![opcode];
        match (payload.len(), form) {
            (length @ 0..126, 0) => frame.push(mask | u8::try_from(length).unwrap()),
            (length @ 0..65536, 0 | 1) => {
                frame.push(mask | 0x7e);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            (length, _) => {
                frame.push(mask | 0x7f);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn text_binary_and_fragments_are_data_and_control_frames_are_not() {
        for (opcode, data) in
            [(0x81, true), (0x02, true), (0x80, true), (0x89, false), (0x8a, false), (0x88, false)]
        {
            for masked in [false, true] {
                for payload in [&[][..], b"hello"] {
                    let mut frames = Frames::default();
                    assert_eq!(frames.pass(&frame(opcode, masked, payload, 0)), data, "{opcode:x} {masked}");
                    assert!(frames.is_between());
                    assert_eq!(frames.is_closed(), opcode == 0x88);
                }
            }
        }
    }

    #[test]
    fn a_ping_between_the_fragments_of_a_message_is_not_data() {
        let mut frames = Frames::default();
        assert!(frames.pass(&frame(0x01, true, b"first", 0)));
        assert!(!frames.pass(&frame(0x89, true, b"ping", 0)));
        assert!(frames.pass(&frame(0x80, true, b"last", 0)));
    }

    #[test]
    fn a_payload_of_any_announced_length_is_skipped_and_not_kept() {
        let mut frames = Frames::default();
        let mut head = vec![0x82, 127];
        head.extend(u64::MAX.to_be_bytes());
        assert!(frames.pass(&head));
        assert!(frames.pass(&[0x89; 4096]), "what looks like pings is payload");
        assert_eq!(frames.step, Step::Payload { missing: u64::MAX - 4096 });
        assert!(size_of::<Frames>() <= 32);
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_same_is_seen(
            shapes in prop::collection::vec(
                (prop::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x88, 0x89, 0x8a]), any::<bool>(), 0..300_usize, 0..3_u8),
                0..8,
            ),
            cuts in prop::collection::vec(1..50_usize, 1..20),
        ) {
            let mut cuts = cuts.into_iter().cycle();
            let (mut whole, mut cut) = (Frames::default(), Frames::default());
            for (opcode, masked, length, form) in shapes {
                let bytes = frame(opcode, masked, &vec![0x89; length], form);
                let expected = opcode & CONTROL == 0;
                prop_assert_eq!(whole.pass(&bytes), expected);
                let mut rest = &bytes[..];
                let mut data = false;
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                    data |= cut.pass(now);
                    rest = later;
                    prop_assert_eq!(cut.is_between(), rest.is_empty());
                }
                prop_assert_eq!(data, expected);
                prop_assert!(whole == cut && whole.is_between());
            }
        }

        #[test]
        fn no_bytes_are_too_odd_for_it(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut frames = Frames::default();
            frames.pass(&bytes);
        }
    }
}
