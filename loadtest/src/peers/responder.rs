//! The upstream of all that are compared: answers every request alike, at next to no cost, so that what is measured is the way to it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::args;

/// Requests are no larger, bodies included.
const MAX_REQUEST_BYTES: usize = 4096;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
/// Between two looks at whether it may begin.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Answers until it is killed.
pub(crate) async fn run(options: &args::Responder) -> anyhow::Result<()> {
    if let Some(file) = &options.when {
        wait_for(file).await;
    }
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.context("failed to listen")?;
    loop {
        // A connection that was given up before it was taken is nobody's loss.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    }
}

/// Until a file is there.
pub(super) async fn wait_for(file: &Path) {
    while !file.exists() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn serve(mut stream: TcpStream) {
    let mut buffer = Vec::with_capacity(MAX_REQUEST_BYTES);
    let _nodelay = stream.set_nodelay(true);
    while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
        while let Some(length) = request_length(&buffer) {
            buffer.drain(..length);
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
        if buffer.len() >= MAX_REQUEST_BYTES {
            return;
        }
    }
}

/// How long the first request is, if all of it is there. Bodies have a length, and chunked ones are small and whole.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = request.parse(bytes) else { return None };
    let field = |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    if field("transfer-encoding").is_some() {
        let end = bytes[head..].windows(5).position(|five| five == b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let body =
        field("content-length").map_or(Some(0), |field| std::str::from_utf8(field.value).ok()?.parse().ok());
    let whole = head + body?;
    (bytes.len() >= whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_where_its_body_does() {
        let get = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(request_length(get), Some(get.len()));
        assert_eq!(request_length(&get[..get.len() - 1]), None);
        assert_eq!(request_length(&get.repeat(2)), Some(get.len()));
        let post = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(request_length(post), Some(post.len()));
        assert_eq!(request_length(&post[..post.len() - 1]), None);
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(request_length(chunked), Some(chunked.len()));
        assert_eq!(request_length(&chunked[..chunked.len() - 2]), None);
    }
}
