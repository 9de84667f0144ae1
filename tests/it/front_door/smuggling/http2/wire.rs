//! A caller with HTTP/2 who writes frames byte by byte, and so can write what no client would: RFC 9113 §4.1 has the frames, RFC
//! 7541 §6.2.2 the fields.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::super::super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PREFACE, RST_STREAM, SETTINGS,
    frame, next,
};
use super::super::super::world::PATIENCE;

/// It asks for answers whose fields refer to no earlier ones (`SETTINGS_HEADER_TABLE_SIZE` 0).
const NO_TABLE: &[u8] = &[0, 1, 0, 0, 0, 0];

/// What everybody takes (RFC 9113 §4.2).
const MAX_FRAME: usize = 16_384;

/// What follows a head. The last one ends the stream; without any the head does.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Then {
    Data(&'static str),
    Trailers(&'static str),
    /// Trailers that do not end the stream.
    MoreTrailers(&'static str),
    /// Nothing, and no end of the stream either.
    Wait,
}

/// How an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum End {
    /// By its own end.
    Whole,
    /// Its stream was reset.
    Reset,
    /// The connection was closed, or is about to be.
    Closed,
}

/// What came back on the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Answer {
    /// Of every answer, the interim ones too.
    pub(in super::super) statuses: Vec<u16>,
    pub(in super::super) body: String,
    pub(in super::super) end: End,
}

/// Sends one request over a connection of its own.
pub(in super::super) async fn ask(to: SocketAddr, head: &str, then: &[Then]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let settings = frame(SETTINGS, 0, 0, NO_TABLE);
    stream.write_all(&[PREFACE, &settings, &request(head, then)].concat()).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer(&mut stream)).await;
    answer.unwrap_or_else(|_| panic!("no end of an answer to {head:?}"))
}

fn request(head: &str, then: &[Then]) -> Vec<u8> {
    let mut bytes = headers(head, then.is_empty());
    for (number, part) in then.iter().enumerate() {
        let is_last = number + 1 == then.len();
        bytes.extend(match part {
            Then::Data(data) => frame(DATA, if is_last { END_STREAM } else { 0 }, 1, &bytes_of(data)),
            Then::Trailers(fields) => headers(fields, true),
            Then::MoreTrailers(fields) => headers(fields, false),
            Then::Wait => Vec::new(),
        });
    }
    bytes
}

/// A block of fields, one `name=value` a line. After a line `--` another frame begins in the middle of the next field.
fn headers(fields: &str, ends: bool) -> Vec<u8> {
    let (first, second) = fields.split_once("\n--\n").unwrap_or((fields, ""));
    let whole = block(&[first, second].join("\n"));
    let cut = if second.is_empty() { whole.len() } else { block(first).len() + 4 };
    let mut frames = Vec::new();
    let mut kind = (HEADERS, if ends { END_STREAM } else { 0 });
    let (first, second) = whole.split_at(cut);
    let mut pieces = first.chunks(MAX_FRAME).chain(second.chunks(MAX_FRAME)).peekable();
    while let Some(piece) = pieces.next() {
        let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        frames.extend(frame(kind.0, kind.1 | end, 1, piece));
        kind = (CONTINUATION, 0);
    }
    frames
}

/// Literal fields without indexing, whose names are literal too.
fn block(fields: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in fields.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no field: {line:?}"));
        bytes.push(0);
        for text in [name, value] {
            let text = bytes_of(text);
            bytes.extend(prefixed(text.len()));
            bytes.extend(text);
        }
    }
    bytes
}

/// A length in seven bits, or in more bytes (RFC 7541 §5.1).
fn prefixed(length: usize) -> Vec<u8> {
    let Some(mut rest) = length.checked_sub(127) else { return vec![u8::try_from(length).unwrap()] };
    let mut bytes = vec![127];
    while rest > 127 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn bytes_of(text: &str) -> Vec<u8> {
    super::super::marked(text).into_bytes()
}

async fn answer(stream: &mut TcpStream) -> Answer {
    let mut answer = Answer { statuses: Vec::new(), body: String::new(), end: End::Closed };
    // A connection that is reset has ended, too.
    while let Ok(Some(frame)) = next(stream).await {
        match frame.kind {
            HEADERS if frame.stream == 1 => answer.statuses.extend(status(&frame.payload)),
            DATA if frame.stream == 1 => answer.body += &String::from_utf8_lossy(&frame.payload),
            RST_STREAM if frame.stream == 1 => {
                answer.end = End::Reset;
                break;
            }
            // The caller has broken the rules; it is hung up on later.
            GOAWAY if frame.reason() != NO_ERROR => break,
            _ => continue,
        }
        if frame.flags & END_STREAM != 0 {
            answer.end = End::Whole;
            break;
        }
    }
    answer
}

/// The `:status` that a head begins with, and trailers do not: one of the static table, or digits, in Huffman's code or as they
/// are (RFC 7541 appendices A and B).
fn status(block: &[u8]) -> Option<u16> {
    // Behind changes of the table's size.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match block[start..] {
        [indexed @ 0x88..=0x8e, ..] => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
        [0x08 | 0x18 | 0x48, 0x03, a, b, c, ..] => std::str::from_utf8(&[a, b, c]).ok()?.parse().ok(),
        [0x08 | 0x18 | 0x48, length, ref coded @ ..] if length & 0x80 != 0 => {
            huffman_digits(&coded[..usize::from(length & 0x7f)])
        }
        _ => None,
    }
}

/// 0, 1 and 2 have five bits, which are their value; the others six, 22 more than that.
fn huffman_digits(coded: &[u8]) -> Option<u16> {
    let bits = coded.iter().map(|byte| format!("{byte:08b}")).collect::<Vec<_>>().concat();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = u16::from_str_radix(bits.get(at..at + 5)?, 2).ok()?;
        let digit = if five <= 2 {
            at += 5;
            five
        } else {
            at += 6;
            u16::from_str_radix(bits.get(at - 6..at)?, 2).ok()?.checked_sub(22)?
        };
        number = number * 10 + digit;
    }
    Some(number)
}

#[test]
fn statuses_are_read_as_they_are_written() {
    for (block, expected) in [
        (&b"\x88"[..], Some(200)),
        (b"\x20\x8e\x00", Some(500)),
        (b"\x08\x03431", Some(431)),
        // RFC 7541 §C.6.1: 302.
        (b"\x48\x82\x64\x02", Some(302)),
        (b"\x40\x01x\x01y", None),
    ] {
        assert_eq!(status(block), expected, "{block:?}");
    }
}
