//! An agent that answers every request by the same few bytes, and a caller who writes such requests: plain sockets and threads,
//! so that they are the least there can be.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// What the caller sends.
const REQUEST: &[u8] = b"GET /v1/models?limit=20 HTTP/1.1\r\nHost: echo.default.agents.localhost\r\n\
    User-Agent: OpenAI/Python 1.109.1\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n\
    Authorization: Bearer sk-0123456789abcdef0123456789abcdef\r\n\
    X-Request-Id: 4bf92f3577b34da6a3ce929d0e0e4736\r\n\r\n";

/// What the agent answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\
    Server: uvicorn\r\nCache-Control: no-store\r\n\r\n{\"ok\": true}";

/// The end of an answer.
const BODY: &[u8] = b"{\"ok\": true}";

/// Longer heads than any here.
const MOST: usize = 4096;

/// Whoever is silent for this long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts an agent on this machine, which ends with the process. Its port.
pub fn start() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // The front door has closed, or somebody has only looked whether the port is there.
                let _closed = serve(stream);
            });
        }
    });
    Ok(port)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        if read_until(&mut stream, b"\r\n\r\n")?.is_none() {
            return Ok(());
        }
        stream.write_all(ANSWER)?;
    }
}

/// A connection to the front door.
#[derive(Debug)]
pub struct Caller(TcpStream);

impl Caller {
    /// Connects.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// One request and its answer, which must be a good one.
    pub fn ask(&mut self) -> io::Result<()> {
        self.0.write_all(REQUEST)?;
        let answer = read_until(&mut self.0, BODY)?.unwrap_or_default();
        if answer.starts_with(b"HTTP/1.1 200 ") {
            return Ok(());
        }
        Err(io::Error::other(format!("not a good answer: {:?}", String::from_utf8_lossy(&answer))))
    }
}

/// Reads until what came ends in this; `None` if nothing comes any more.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let (mut read, mut buffer) = (Vec::new(), [0; MOST]);
    while !read.ends_with(end) {
        match stream.read(&mut buffer)? {
            0 if read.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if read.len() > MOST => return Err(io::Error::other("no end in sight")),
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(Some(read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_answers_on_one_connection_as_often_as_it_is_asked() {
        let port = start().unwrap();
        let mut caller = Caller::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
        for _ in 0..3 {
            caller.ask().unwrap();
        }
    }
}
