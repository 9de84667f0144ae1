//! Opens TCP connections to agents, with the socket options that every one of them gets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// A silent peer is asked for a sign of life after this long, then every [`KEEPALIVE_INTERVAL`]: a request in
/// flight to a node that vanished ends, instead of hanging for ever.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Connects within `limit`.
///
/// Fails with what the system says (`ConnectionRefused`, …), or `TimedOut` when the limit was reached.
pub async fn connect(address: IpAddr, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect(SocketAddr::new(address, port));
    let Ok(connected) = tokio::time::timeout(limit, connecting).await else {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")));
    };
    let stream = connected?;
    set_options(&stream)?;
    Ok(stream)
}

/// What every connection gets, upstream and downstream: small writes leave at once, and a peer that vanished
/// without a word is noticed.
pub fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn connections_send_small_writes_at_once_and_notice_a_vanished_peer() {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = connect(LOCAL, port, Duration::from_secs(5)).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_refused() {
        let port = {
            let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let error = connect(LOCAL, port, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_times_out() {
        // A queue for nobody: the system lets one or two in and ignores the rest.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((LOCAL, 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut accepted = Vec::new();
        let error = loop {
            match connect(LOCAL, port, Duration::from_millis(20)).await {
                Ok(stream) => accepted.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(accepted.len() < 5);
    }
}
