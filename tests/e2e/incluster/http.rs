//! A caller: one request on a connection of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Above `hold_timeout`, after which there is an answer in any case.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    /// The value of a header; empty without one.
    pub(super) fn header(&self, name: &str) -> &str {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values =
            fields.filter_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value));
        values.next().unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A request that was sent.
pub(super) struct Call {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Call {
    /// Sends `GET` with these headers, `Host` among them.
    #[track_caller]
    pub(super) fn new(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect_timeout(&to, ANSWER_LIMIT).unwrap();
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        write!(stream, "GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
        Self { stream, seen: Vec::new() }
    }

    /// Waits for this text in the answer.
    #[track_caller]
    pub(super) fn until(&mut self, text: &str) {
        let mut chunk = [0; 4096];
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let read = self.stream.read(&mut chunk).unwrap();
            let seen = || String::from_utf8_lossy(&self.seen).into_owned();
            assert!(read > 0, "{text:?} is not in {:?}", seen());
            self.seen.extend_from_slice(&chunk[..read]);
        }
    }

    /// The whole answer. A body in chunks is left as it is.
    #[track_caller]
    pub(super) fn answer(mut self) -> Answer {
        self.stream.read_to_end(&mut self.seen).unwrap();
        let text = String::from_utf8_lossy(&self.seen);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}
