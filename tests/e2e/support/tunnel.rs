//! The way to the API server, which a test can cut: what a client sees of an outage, without one for everybody else.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the way is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// As if it were not there.
    Open,
    /// Connections are cut, and new ones too: what a dead API server looks like.
    Cut,
    /// Nothing moves, and nothing says so: a firewall that swallows packets.
    Silent,
}

/// A port of this machine that leads to the API server.
pub(crate) struct Tunnel {
    pub(crate) address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
}

impl Tunnel {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(watch::Sender::new(Way::Open));
        let ways = Arc::clone(&way);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, server.clone(), ways.subscribe()));
            }
        });
        Self { address, way }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn carry(mut near: TcpStream, server: String, mut way: watch::Receiver<Way>) {
    let now = *way.borrow_and_update();
    if now == Way::Cut {
        return;
    }
    let Ok(mut far) = TcpStream::connect(&server).await else { return };
    loop {
        let now = *way.borrow_and_update();
        match now {
            Way::Cut => return,
            // Held open, and nothing is read: what is sent waits in the buffers.
            Way::Silent => {
                if way.changed().await.is_err() {
                    return;
                }
            }
            Way::Open => {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                    changed = way.changed() => if changed.is_err() { return },
                }
                if *way.borrow() == Way::Silent {
                    // What was under way is lost with the copy's buffers, so this connection can only end later.
                    let _ = way.wait_for(|way| *way != Way::Silent).await;
                    return;
                }
            }
        }
    }
}
