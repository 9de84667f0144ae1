//! Finds out that an agent answers, before anything else in a cluster would say so.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::net::TcpStream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::connect::connect;
use super::pace::Pace;

/// How long one dial may take: an address may be announced before packets get there.
const DIAL_LIMIT: Duration = Duration::from_secs(1);
/// Ports tried at the same time at most: callers may name any.
const MAX_PORTS: usize = 32;

/// Dials until one of these ports answers, and gives that very connection, for the first request.
///
/// `ports` is asked again every few milliseconds, since a caller who arrives meanwhile may name another. Waits
/// without limit: drop the future to cancel.
pub async fn until_answers(address: IpAddr, ports: impl Fn() -> Vec<u16>) -> (u16, TcpStream) {
    let mut known = BTreeSet::new();
    let mut dials = FuturesUnordered::new();
    loop {
        for port in ports() {
            if known.len() < MAX_PORTS && known.insert(port) {
                dials.push(dial(address, port));
            }
        }
        tokio::select! {
            Some(answered) = dials.next() => return answered,
            () = tokio::time::sleep(Pace::LONGEST_DIAL) => {}
        }
    }
}

/// Each port has its own rhythm, so that one that swallows packets does not delay one that refuses them.
async fn dial(address: IpAddr, port: u16) -> (u16, TcpStream) {
    let mut pace = Pace::of_dials();
    loop {
        match connect(address, port, DIAL_LIMIT).await {
            Ok(stream) => return (port, stream),
            Err(error) => tracing::trace!(%address, port, %error, "the agent does not answer yet"),
        }
        tokio::time::sleep(pace.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::testing::LOCAL;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn free_port() -> u16 {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn the_connection_that_was_answered_is_handed_over() {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refused = free_port().await;
        let (found, mut stream) =
            tokio::time::timeout(PATIENCE, until_answers(LOCAL, || vec![refused, port])).await.unwrap();
        assert_eq!(found, port);
        stream.write_all(b"x").await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_port_that_opens_later_is_found() {
        let port = free_port().await;
        let mut probe = Box::pin(until_answers(LOCAL, || vec![port]));
        // It was refused at least once.
        assert!(tokio::time::timeout(Duration::from_millis(2), &mut probe).await.is_err());
        let _listener = TcpListener::bind((LOCAL, port)).await.unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, probe).await.unwrap().0, port);
    }

    #[tokio::test]
    async fn a_port_that_is_named_later_is_tried() {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ports = Mutex::new(vec![free_port().await]);
        let mut probe = Box::pin(until_answers(LOCAL, || ports.lock().clone()));
        assert!(tokio::time::timeout(Duration::from_millis(2), &mut probe).await.is_err());
        ports.lock().push(port);
        assert_eq!(tokio::time::timeout(PATIENCE, probe).await.unwrap().0, port);
    }
}
