//! Finds out, apart from Drowse, when a pod's port begins to take connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use anyhow::Context as _;
use tokio::net::TcpStream;

use crate::ticker::Ticker;

/// Between two dials: what the moment may be late by.
const DIAL_EVERY: Duration = Duration::from_micros(500);
/// How long one dial may take.
const DIAL_LIMIT: Duration = Duration::from_secs(1);

/// The first accept. Not to be called before the cluster shows the address: a dial before the pod is in the network
/// leaves the machine's neighbour table without an answer for a second.
pub(super) async fn first(clock: Clock, address: IpAddr, port: u16) -> anyhow::Result<Moment> {
    let ticker = Ticker::start(DIAL_EVERY).context("failed to start a timer")?;
    let target = SocketAddr::new(address, port);
    while !matches!(tokio::time::timeout(DIAL_LIMIT, TcpStream::connect(target)).await, Ok(Ok(_))) {
        ticker.ticks().await?;
    }
    Ok(clock.now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_port_that_opens_later_is_noticed_then() {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listener = TcpListener::bind((local, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let clock = Clock::start();
        let mut accept = Box::pin(first(clock, local, port));
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut accept).await.is_err());
        let opened = clock.now();
        let _listener = TcpListener::bind((local, port)).await.unwrap();
        assert!(accept.await.unwrap() >= opened);
    }
}
