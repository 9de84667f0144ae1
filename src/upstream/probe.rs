//! Finds out that an agent answers, before anything else in a cluster would say so.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use super::connect::connect;

/// The wait after the first refusal. A local connect costs some ten microseconds, so this is not rude.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The wait that pauses grow to.
const LAST_PAUSE: Duration = Duration::from_millis(50);
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
            () = tokio::time::sleep(LAST_PAUSE) => {}
        }
    }
}

/// Each port has its own rhythm, so that one that swallows packets does not delay one that refuses them.
async fn dial(address: IpAddr, port: u16) -> (u16, TcpStream) {
    let mut pause = FIRST_PAUSE;
    loop {
        match connect(address, port, DIAL_LIMIT).await {
            Ok(stream) => return (port, stream),
            Err(error) => tracing::trace!(%address, port, %error, "the agent does not answer yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(LAST_PAUSE);
    }
}
