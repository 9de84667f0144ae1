//! The demo agent's WebSocket: what comes in goes back out. `close 4000` as a text asks for an end with that code.

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::answers::text;
use super::bodies::{self, Body};

/// Bytes of a message at most: the largest that the Autobahn Testsuite sends.
const MAX_MESSAGE: usize = 16 << 20;

/// Switches, or says what to send instead.
pub(super) fn answer(head: &mut Parts) -> Response<Body> {
    let accept = head.headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
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
