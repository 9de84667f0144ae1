//! Accepts callers' connections, as many as may be.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;

use crate::metrics::Bound;
use crate::net::{self, BACKLOG, TcpListener, TcpStream};

use super::{Door, connection};

/// The wait after the system had no file or no memory for a connection.
const BREATH: Duration = Duration::from_millis(50);

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
    let Ok(closing) = net::Closing::new(listener) else { return };
    for _ in 0..BACKLOG {
        if is_full(door) {
            return;
        }
        match closing.accept() {
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
    if let Err(error) = net::set_options(&stream).and_then(|()| net::keep_little_unsent(&stream)) {
        tracing::debug!(%error, "a caller has left already");
        return;
    }
    let open = Open::new(Arc::clone(door));
    let serve = move |stream| async move {
        connection::serve(stream, remote, tls, Arc::clone(&open.door)).await;
    };
    let Some(workers) = &door.workers else {
        door.tasks.spawn(serve(stream));
        return;
    };
    let serve_there = async move {
        match net::bring_home(stream) {
            Ok(stream) => serve(stream).await,
            Err(error) => tracing::debug!(%error, "a connection could not be given to a worker"),
        }
    };
    door.tasks.spawn_on(serve_there, workers.next());
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
