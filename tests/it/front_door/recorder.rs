//! An agent that takes down what it gets, byte for byte, and reads it as the strictest server would: whatever is not one plain
//! request after the other shows.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::world::{LOCAL, until};

/// A request as it arrived.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Heard {
    /// Method, target and version.
    pub(super) first: String,
    /// The fields in lower case, as they came, without what we write into every request.
    pub(super) fields: Vec<String>,
    /// Without its chunks.
    pub(super) body: String,
    /// The fields after the body.
    pub(super) trailers: Vec<String>,
}

/// What every request gets from us, and says nothing about what its caller wrote.
const OURS: [&str; 7] = [
    "forwarded:",
    "x-forwarded-for:",
    "x-forwarded-host:",
    "x-forwarded-port:",
    "x-forwarded-proto:",
    "x-real-ip:",
    "via:",
];

/// All that was said to it, in order of arrival.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    heard: Arc<Mutex<Vec<Heard>>>,
    /// What it could not take for a request, or only for a part of one.
    odd: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// It answers each whole request with 200.
    pub(super) async fn listen() -> (Self, u16) {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let recorder = Self::default();
        let listening = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listening.clone().listen_to(stream));
            }
        });
        (recorder, port)
    }

    async fn listen_to(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let odd = loop {
            match Heard::read(&bytes) {
                Ok(Some((heard, end))) => {
                    bytes.drain(..end);
                    self.hear(heard);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    if stream.write_all(answer).await.is_err() {
                        break None;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(what) => break Some(what),
            }
            if !matches!(stream.read_buf(&mut bytes).await, Ok(count) if count > 0) {
                break None;
            }
        };
        if !bytes.is_empty() {
            let what = odd.unwrap_or("a part of a request");
            self.wonder(format!("{what}: {:?}", String::from_utf8_lossy(&bytes)));
        }
    }

    pub(super) fn hear(&self, heard: Heard) {
        let is_ours = |field: &String| OURS.iter().any(|ours| field.starts_with(ours));
        let fields = heard.fields.iter().filter(|field| !is_ours(field)).cloned().collect();
        self.heard.lock().push(Heard { fields, ..heard });
    }

    pub(super) fn wonder(&self, odd: String) {
        self.odd.lock().push(odd);
    }

    /// All requests since the last call, once the one with this target is among them, and what was odd.
    pub(super) async fn up_to(&self, target: &str) -> (Vec<Heard>, Vec<String>) {
        let is_last = |heard: &Heard| heard.first.contains(target);
        until(|| self.heard.lock().iter().any(is_last)).await;
        (std::mem::take(&mut *self.heard.lock()), std::mem::take(&mut *self.odd.lock()))
    }
}

impl Heard {
    /// The request at the beginning of these bytes and its length; `None` while it is not whole.
    fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, &'static str> {
        let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..head]).map_err(|_| "a head that is no text")?;
        if text.replace("\r\n", "").contains(|c: char| c.is_control() && c != '\t') {
            return Err("a control character in a head");
        }
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let is_plain = first.split(' ').count() == 3 && first.ends_with(" HTTP/1.1");
        let fields: Vec<String> = lines.map(lower).collect::<Option<_>>().ok_or("a line that is no field")?;
        if !is_plain {
            return Err("a first line that is none");
        }
        let of = |name: &str| fields.iter().filter_map(|field| field.strip_prefix(name)).collect::<Vec<_>>();
        let start = head + 4;
        let framed = match (&of("content-length: ")[..], &of("transfer-encoding: ")[..]) {
            ([], []) => Some((String::new(), Vec::new(), start)),
            ([length], []) => sized(bytes, start, length)?,
            ([], ["chunked"]) => chunked(bytes, start)?,
            _ => return Err("a framing that is not plain"),
        };
        let Some((body, trailers, end)) = framed else { return Ok(None) };
        Ok(Some((Self { first, fields, body, trailers }, end)))
    }
}

type Framed = (String, Vec<String>, usize);

fn sized(bytes: &[u8], start: usize, length: &str) -> Result<Option<Framed>, &'static str> {
    let plain =
        length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let length: usize = length.parse().ok().filter(|_| plain).ok_or("an odd length")?;
    let body = bytes.get(start..start + length);
    Ok(body.map(|body| (String::from_utf8_lossy(body).into_owned(), Vec::new(), start + length)))
}

fn chunked(bytes: &[u8], mut at: usize) -> Result<Option<Framed>, &'static str> {
    let mut body = String::new();
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let digits = std::str::from_utf8(&bytes[at..at + line]).map_err(|_| "an odd size of a chunk")?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| "an odd size of a chunk")?;
        at += line + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let (data, end) = chunk.split_at(size);
        if end != b"\r\n" {
            return Err("a chunk without an end");
        }
        body += &String::from_utf8_lossy(data);
        at += size + 2;
    }
    let mut trailers = Vec::new();
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[at..at + line]).map_err(|_| "an odd trailer")?;
        at += line + 2;
        if text.is_empty() {
            return Ok(Some((body, trailers, at)));
        }
        trailers.push(lower(text).ok_or("an odd trailer")?);
    }
}

/// A field, its name in lower case.
fn lower(line: &str) -> Option<String> {
    let (name, value) = line.split_once(": ")?;
    let is_token = !name.is_empty() && !name.contains([' ', '\t', ':']);
    is_token.then(|| format!("{}: {value}", name.to_ascii_lowercase()))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
