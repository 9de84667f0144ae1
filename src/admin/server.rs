//! Serves HTTP/1.1 to a few operators: everything that a caller could make us wait for or keep has a bound.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::guests::{Guests, Place};
use super::problem::Problem;

/// Operators, their dashboards, the kubelet and Prometheus, with room to spare. For who comes then, an idle one has to go.
const MAX_CONNECTIONS: usize = 128;
/// A request line and header fields; ours are a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long a connection may take to send a head, or be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long we work on one request. The longest is an operator's suspension (20 s).
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long one connection is served, so that one that reads slowly frees its place.
const CONNECTION_LIFE: Duration = Duration::from_mins(15);
/// How long a request under way may take to end once the connection is asked to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// After a failed accept (out of file descriptors, mostly): do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The answer. It may be dropped before it is there.
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Response<Full<Bytes>>>;
}

/// Serves until `stop`, and then until the requests under way are answered, or 5 s have passed.
pub async fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>, stop: CancellationToken) {
    let guests = Guests::new(MAX_CONNECTIONS);
    let connections = TaskTracker::new();
    let accept = async {
        let mut is_full = false;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match guests.enter() {
                    Some(place) => {
                        is_full = false;
                        let (handler, stop) = (Arc::clone(&handler), stop.clone());
                        _ = connections.spawn(connection(stream, handler, place, stop));
                    }
                    None if std::mem::replace(&mut is_full, true) => {}
                    None => tracing::warn!(%peer, "no place for a connection: every other is being served"),
                },
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection of an operator");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
}

pub(super) async fn connection<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    handler: Arc<H>,
    place: Place,
    stop: CancellationToken,
) {
    let service = service_fn(|request| answer(Arc::clone(&handler), &place, request));
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        // An error here is a caller that left or spoke something else; hyper has told it what it could.
        _ = serving.as_mut() => return,
        () = place.until_asked_to_leave() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ended_or_dropped = tokio::time::timeout(CLOSE_WITHIN, serving).await;
}

async fn answer<H: Handler>(
    handler: Arc<H>,
    place: &Place,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _service = place.serve();
    let answered = tokio::time::timeout(ANSWER_WITHIN, handler.handle(request)).await;
    Ok(answered.unwrap_or_else(|_| {
        let detail = format!("no answer within {} s; it may still come about", ANSWER_WITHIN.as_secs());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).into_response()
    }))
}
