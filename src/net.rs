//! The sockets of the front door and of the way to agents, and the options that they get.
//!
//! Only this module names them, so that the network simulation (`tests/network`) can put simulated ones in their place.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, Ready};
use tokio::net::TcpSocket;

pub use tokio::net::{TcpListener, TcpStream};

/// Connections that the system holds for us while we are at another.
pub const BACKLOG: u32 = 4096;

/// What the system keeps of an answer that it cannot send yet, in bytes, per connection. By itself it would keep up to 4 MiB for a
/// caller that hardly reads, and would have that made, and copied to it, at once. What is under way does not count.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 16 * 1024;

/// A silent peer is asked for a sign of life after this long, then every [`KEEPALIVE_INTERVAL`]: a request in
/// flight to a node that vanished ends, instead of hanging for ever.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Opens the socket.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for connections that the last run has closed.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What every connection gets, upstream and downstream: small writes leave at once, and a peer that vanished
/// without a word is noticed.
pub fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Bounds what waits for a peer that hardly reads.
#[cfg(target_os = "linux")]
pub fn keep_little_unsent(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT)
}

/// Elsewhere the system decides.
#[cfg(not(target_os = "linux"))]
pub fn keep_little_unsent(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// Lets the stream end by a reset when it is closed. What is still unsent by then is lost.
pub fn reset_at_close(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Whether the peer is known to have closed its side or to be gone, though there may be bytes of it that nobody has read.
pub fn has_left(stream: &TcpStream) -> bool {
    let told = stream.ready(Interest::READABLE).now_or_never();
    told.is_some_and(|told| told.is_ok_and(Ready::is_read_closed))
}

/// Drops what arrives from here on, unread and unconfirmed, so that the peer can send next to nothing; it is reset when the stream is
/// closed. Otherwise the system would take some MiB of a peer that nobody listens to any more, at full speed.
#[cfg(target_os = "linux")]
pub fn deafen(stream: &TcpStream) -> io::Result<()> {
    // In classic BPF: of each packet, let pass no byte (`BPF_RET | BPF_K`, see packet(7) and linux/filter.h).
    const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    // A close in agreement needs words of the peer.
    reset_at_close(stream)?;
    SockRef::from(stream).attach_filter(&[NOTHING])
}

/// Elsewhere it is only not read.
#[cfg(not(target_os = "linux"))]
pub fn deafen(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// Whose reactor tells of a socket: that of one worker (see `proxy::workers`), or of the runtime that all else is run by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Home(Option<usize>);

impl Home {
    /// No worker's.
    pub const COMMON: Self = Self(None);

    /// That of the sockets that are made by this thread.
    pub fn here() -> Self {
        HOME.get()
    }

    /// From here on this thread is a worker.
    pub fn settle(worker: usize) {
        HOME.set(Self(Some(worker)));
    }
}

thread_local! {
    static HOME: Cell<Home> = const { Cell::new(Home::COMMON) };
}

/// Lets the reactor of this thread tell of a socket that was made by another.
pub fn bring_home(stream: TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(stream.into_std()?)
}

/// Both directions of a connection, each to be used by itself.
pub fn halves(stream: &mut TcpStream) -> (impl AsyncRead + Unpin + '_, impl AsyncWrite + Unpin + '_) {
    stream.split()
}

/// A listener that is about to close: whom nobody has taken by then is reset, with whatever was sent.
#[derive(Debug)]
pub struct Closing(std::net::TcpListener);

impl Closing {
    /// Takes the listener.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.into_std().map(Self)
    }

    /// Somebody who is connected already. An error is mostly that there is nobody.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, remote) = self.0.accept()?;
        stream.set_nonblocking(true)?;
        Ok((TcpStream::from_std(stream)?, remote))
    }
}
