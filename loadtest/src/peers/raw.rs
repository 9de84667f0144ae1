//! A client of a few lines: writes bytes that were made once, and reads an answer of a known length. It shares the machine with
//! what it measures, so it must cost less than that.

use std::io;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::exchange::Exchange;
use crate::loopback::Loopback;

/// Answers are no larger.
const MAX_ANSWER_BYTES: usize = 4096;

/// A keep-alive connection, and what is asked on it.
#[derive(Debug)]
pub(super) struct Raw {
    stream: TcpStream,
    request: Bytes,
    buffer: Vec<u8>,
}

/// A request without a body.
pub(super) fn get(host: &str) -> Bytes {
    format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nuser-agent: drowse-loadtest\r\naccept: */*\r\n\r\n")
        .into()
}

/// A request with a body of so many bytes.
pub(super) fn post(host: &str, body: usize) -> Bytes {
    let body = "x".repeat(body);
    format!("POST /healthz HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}

impl Raw {
    pub(super) async fn open(to: Loopback, request: Bytes) -> io::Result<Self> {
        let stream = TcpStream::connect(to.address()).await?;
        stream.set_nodelay(true)?;
        // Room is made when the first answer comes: most of many callers only wait.
        Ok(Self { stream, request, buffer: Vec::new() })
    }

    /// So many.
    pub(super) async fn open_all(to: Loopback, request: &Bytes, number: u32) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for _ in 0..number {
            all.push(Self::open(to, request.clone()).await?);
        }
        Ok(all)
    }

    pub(super) async fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.request).await
    }

    pub(super) async fn receive(&mut self) -> io::Result<StatusCode> {
        self.buffer.clear();
        loop {
            if self.buffer.len() >= MAX_ANSWER_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is too long"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((status, length)) = answer(&self.buffer)?
                && self.buffer.len() >= length
            {
                return Ok(status);
            }
        }
    }
}

impl Exchange for Raw {
    async fn exchange(&mut self) -> Result<StatusCode, String> {
        let answer = async {
            self.send().await?;
            self.receive().await
        };
        answer.await.map_err(|error| error.kind().to_string())
    }
}

/// The status and the length of an answer whose head is there.
fn answer(bytes: &[u8]) -> io::Result<Option<(StatusCode, usize)>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let head = match answer.parse(bytes).map_err(|error| invalid(&error.to_string()))? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let status =
        answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| invalid("no status"))?;
    let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    Ok(Some((status, head + length.ok_or_else(|| invalid("an answer without a length"))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let text = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(answer(text).unwrap(), Some((StatusCode::SERVICE_UNAVAILABLE, text.len())));
        assert_eq!(answer(&text[..20]).unwrap(), None);
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer(b"nonsense\r\n\r\n").is_err());
    }
}
