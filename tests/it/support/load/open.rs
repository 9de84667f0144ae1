//! Callers with connections that stay open: streams of events, and web sockets. Each opens another when it is told that one is over.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Callers, Kind, connect, get, within};
use crate::support::http::Failure;

/// From one message to the next.
const SAY_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn events(callers: Arc<Callers>) {
    while !callers.stop.is_cancelled() {
        if let Err(error) = stream(&callers).await {
            callers.report.note(Kind::Event, Err(error));
        }
    }
}

/// One stream. An end in the middle of an event is a failure, as is an end that does not come by the chunk that says so.
async fn stream(callers: &Callers) -> Result<(), Failure> {
    let (mut sender, _driver) = within(connect(callers.plan.to)).await?;
    let request = get(&callers.plan.awake, "/sse?every=200ms&count=100000");
    let response = within(async { Ok(sender.send_request(request).await?) }).await?;
    if response.status() != 200 {
        return Err(format!("{}", response.status()).into());
    }
    let mut body = response.into_body();
    let mut last = Vec::new();
    loop {
        let frame = tokio::select! {
            biased;
            () = callers.stop.cancelled() => return Ok(()),
            frame = within(async { Ok(body.frame().await.transpose()?) }) => frame?,
        };
        match frame.and_then(|frame| frame.into_data().ok()) {
            Some(data) => {
                callers.report.did(Kind::Event);
                last = data.to_vec();
            }
            None if last.ends_with(b"\n\n") => {
                callers.report.did(Kind::StreamEnded);
                return Ok(());
            }
            None => return Err(format!("cut in an event: {:?}", String::from_utf8_lossy(&last)).into()),
        }
    }
}

pub(super) async fn websocket(callers: Arc<Callers>) {
    while !callers.stop.is_cancelled() {
        if let Err(error) = socket(&callers).await {
            callers.report.note(Kind::Message, Err(error));
        }
    }
}

/// One WebSocket, with one message at a time. One that is sent and not answered is no failure if the other side goes away
/// (RFC 6455 §7.4.1).
async fn socket(callers: &Callers) -> Result<(), Failure> {
    let stream = TcpStream::connect(callers.plan.to).await?;
    let url = format!("ws://{}/ws", callers.plan.awake);
    let opening = async { Ok(tokio_tungstenite::client_async(url, stream).await?) };
    let (mut socket, _) = within(opening).await?;
    let mut pace = tokio::time::interval(SAY_EVERY);
    loop {
        let next = tokio::select! {
            next = socket.next() => next,
            goes_on = callers.goes_on(&mut pace) => {
                if !goes_on {
                    return Ok(());
                }
                let asked = within(async {
                    socket.send(Message::text("hello")).await?;
                    Ok(socket.next().await)
                });
                asked.await?
            }
        };
        match next.transpose()? {
            Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1001 => {
                callers.report.did(Kind::SocketClosed);
                return Ok(());
            }
            Some(Message::Text(text)) if text == "hello" => callers.report.did(Kind::Message),
            other => return Err(format!("no answer, but {other:?}").into()),
        }
    }
}
