//! The demo agent's WebSocket: what comes in goes back out. `close 4000` as a text asks for an end with that code.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::answers::text;
use super::bodies::{self, Body};

/// Bytes of a message at most: the largest that the Autobahn Testsuite sends.
const MAX_MESSAGE: usize = 16 << 20;

/// The only version that there is (RFC 6455 §4.2.1).
const VERSION: &str = "13";
/// How long what is left of a message that is too large is read and ignored. Closing with bytes unread would make the system
/// throw our last frame away.
const LINGER: Duration = Duration::from_secs(5);

/// Switches, or says what to send instead (RFC 6455 §4.2.2).
pub(super) fn answer(head: &mut Parts) -> Response<Body> {
    let has_version = head.headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == VERSION);
    let key = head.headers.get(SEC_WEBSOCKET_KEY).filter(|_| has_version);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    let accept = accept.and_then(|accept| HeaderValue::try_from(accept).ok());
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let mut response = match accept.zip(upgrade) {
        Some((accept, upgrade)) => {
            tokio::spawn(async move {
                // An error means a caller that has left: nobody is left to tell.
                if let Ok(upgraded) = upgrade.await {
                    let _ = echo(upgraded).await;
                }
            });
            let mut response = Response::new(bodies::full(""));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
            response
        }
        None => {
            let mut response = text("speak WebSocket here\n");
            *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
            response
        }
    };
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// Until the caller ends it, or asks for the end. The library answers pings and close frames by itself.
async fn echo(upgraded: Upgraded) -> Result<(), Error> {
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    while let Some(message) = socket.next().await {
        if let Err(Error::Capacity(_)) = message {
            return refuse(socket).await;
        }
        match message? {
            Message::Text(text) => {
                match text.strip_prefix("close ").and_then(|code| code.parse::<u16>().ok()) {
                    Some(code) => {
                        socket
                            .close(Some(CloseFrame { code: code.into(), reason: "asked for".into() }))
                            .await?
                    }
                    None => socket.send(Message::Text(text)).await?,
                }
            }
            Message::Binary(data) => socket.send(Message::Binary(data)).await?,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

/// Ends with the code for a message that is too large, 1009 (RFC 6455 §7.4.1).
async fn refuse(mut socket: WebSocketStream<TokioIo<Upgraded>>) -> Result<(), Error> {
    let reason = format!("a message has at most {MAX_MESSAGE} bytes");
    socket.close(Some(CloseFrame { code: CloseCode::Size, reason: reason.into() })).await?;
    let mut sink = tokio::io::sink();
    let ignoring = tokio::io::copy(socket.get_mut(), &mut sink);
    // Whether it closed or time is up makes no difference.
    let _over = tokio::time::timeout(LINGER, ignoring).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::demo::tests::Running;

    #[tokio::test]
    async fn a_websocket_gives_back_what_it_gets_and_closes_with_the_code_that_it_is_told() {
        let dir = TempDir::new().unwrap();
        let agent = Running::start(&dir).await;
        let stream = TcpStream::connect(agent.address).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async("ws://x/ws", stream).await.unwrap();
        for message in [Message::text("hello"), Message::binary(vec![1, 2])] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.send(Message::text("close 4000")).await.unwrap();
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 4000),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn it_speaks_one_version_and_says_which() {
        let dir = TempDir::new().unwrap();
        let agent = Running::start(&dir).await;
        for version in ["", "Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13, 8\r\n"] {
            let mut stream = TcpStream::connect(agent.address).await.unwrap();
            let head = format!(
                "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{version}\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let reading = stream.read_to_string(&mut answer);
            tokio::time::timeout(LINGER, reading).await.expect("it switches").unwrap();
            let answer = answer.to_lowercase();
            assert!(answer.starts_with("http/1.1 426 "), "{version:?}: {answer}");
            assert!(answer.contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
            assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
        }
        assert_eq!(agent.call("GET", "/ws").await.0, 426);
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_ends_it_with_a_code_that_says_so() {
        let dir = TempDir::new().unwrap();
        let agent = Running::start(&dir).await;
        let stream = TcpStream::connect(agent.address).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async("ws://x/ws", stream).await.unwrap();
        let largest = Message::binary(vec![1; MAX_MESSAGE]);
        socket.send(largest.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), largest);
        socket.send(Message::binary(vec![1; MAX_MESSAGE + 1])).await.unwrap();
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1009),
            other => panic!("{other:?}"),
        }
    }
}
