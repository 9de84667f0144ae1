//! What `src/net.rs` is in Drowse, with the sockets of the simulated network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite};

pub use turmoil::net::{TcpListener, TcpStream};

pub const BACKLOG: u32 = 4096;

pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(address).now_or_never();
    bound.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
}

/// A host of the simulation has one address.
pub fn anywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

pub fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

pub fn keep_little_unsent(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

pub fn reset_at_close(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// The simulated network does not tell before all bytes are read.
pub fn has_left(_stream: &TcpStream) -> bool {
    false
}

pub fn deafen(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// A host of the simulation has one thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Home;

impl Home {
    pub const COMMON: Self = Self;

    pub fn here() -> Self {
        Self
    }

    pub fn settle(_worker: usize) {}
}

pub fn bring_home(stream: TcpStream) -> io::Result<TcpStream> {
    Ok(stream)
}

pub fn halves(stream: &mut TcpStream) -> (impl AsyncRead + Unpin + '_, impl AsyncWrite + Unpin + '_) {
    tokio::io::split(stream)
}

#[derive(Debug)]
pub struct Closing(Listener);

struct Listener(TcpListener);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

impl Closing {
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self(Listener(listener)))
    }

    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.0.accept().now_or_never().unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }
}
