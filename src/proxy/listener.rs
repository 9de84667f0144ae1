//! Accepts callers' connections, as many as may be.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::metrics::Bound;
use crate::upstream::connect::set_options;

use super::{Door, connection};

/// Connections that the system holds for us while we are at another.
const BACKLOG: u32 = 4096;

/// The wait after the system had no file or no memory for a connection.
const BREATH: Duration = Duration::from_millis(50);

/// What the system keeps of an answer that it cannot send yet, in bytes, per connection. By itself it would keep up to 4 MiB for a
/// caller that hardly reads, and would have that made, and copied to it, at once. What is under way does not count.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 32 * 1024;

/// Opens the socket.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for connections that the last run has closed.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts for ever; with `tls`, callers that speak TLS.
pub(super) async fn accept(listener: &TcpListener, tls: Option<&Arc<TlsAcceptor>>, door: &Arc<Door>) {
    loop {
        has_room(door).await;
        match listener.accept().await {
            Ok((stream, remote)) => spawn(stream, remote, tls.cloned(), door),
            // That one caller has left already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again soon");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Takes whom the system has connected already, as many as may be, and closes the socket: whom nobody has taken by then is reset,
/// with whatever was sent.
pub(super) fn close(listener: TcpListener, tls: Option<&Arc<TlsAcceptor>>, door: &Arc<Door>) {
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        if is_full(door) {
            return;
        }
        let taken = listener.accept().and_then(|(stream, remote)| {
            stream.set_nonblocking(true)?;
            Ok((TcpStream::from_std(stream)?, remote))
        });
        match taken {
            Ok((stream, remote)) => spawn(stream, remote, tls.cloned(), door),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Mostly, that there is nobody.
            Err(_) => return,
        }
    }
}

/// How soon a raised limit is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

fn is_full(door: &Door) -> bool {
    door.connections.load(Ordering::Acquire) >= door.settings.load().max_connections
}

/// Waits while as many connections are open as may be.
async fn has_room(door: &Door) {
    if !is_full(door) {
        return;
    }
    door.metrics.bound_hit(Bound::Connections);
    while is_full(door) {
        // The limit may also be raised, of which nobody tells.
        let _ = tokio::time::timeout(LOOK_AGAIN, door.connection_ended.notified()).await;
    }
}

fn spawn(stream: TcpStream, remote: SocketAddr, tls: Option<Arc<TlsAcceptor>>, door: &Arc<Door>) {
    if let Err(error) = set_options(&stream).and_then(|()| keep_little_unsent(&stream)) {
        tracing::debug!(%error, "a caller has left already");
        return;
    }
    let open = Open::new(Arc::clone(door));
    door.tasks.spawn(async move {
        connection::serve(stream, remote, tls, Arc::clone(&open.door)).await;
    });
}

#[cfg(target_os = "linux")]
fn keep_little_unsent(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT)
}

/// Elsewhere the system decides.
#[cfg(not(target_os = "linux"))]
fn keep_little_unsent(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// An open connection, for the count.
struct Open {
    door: Arc<Door>,
}

impl Open {
    fn new(door: Arc<Door>) -> Self {
        door.connections.fetch_add(1, Ordering::AcqRel);
        door.metrics.connection_opened();
        Self { door }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.door.metrics.connection_closed();
        self.door.connections.fetch_sub(1, Ordering::AcqRel);
        self.door.connection_ended.notify_one();
    }
}
