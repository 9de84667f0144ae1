//! Opens TCP connections to agents, with the socket options that every one of them gets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::net::{TcpStream, set_options};

/// Connects within `limit`.
///
/// Fails with what the system says (`ConnectionRefused`, …), or `TimedOut` when the limit was reached.
pub async fn connect(address: IpAddr, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect(SocketAddr::new(address, port));
    let Ok(connected) = tokio::time::timeout(limit, connecting).await else {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")));
    };
    let stream = connected?;
    // Where nobody listens on a port that the system also gives to clients, a dial can meet itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    set_options(&stream)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use socket2::SockRef;
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
