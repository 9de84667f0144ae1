//! One caller's connection, from accept to close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::metrics::Bound;
use crate::time::{Clock, Moment};

use super::activity::{Activity, Overdue, Watched};
use super::error::{Fault, Form};
use super::headers::Peer;
use super::stage::Stage;
use super::{Caller, Door, request};

/// The smallest buffer that hyper works with.
pub(super) const MIN_HEAD_BYTES: usize = 8 * 1024;

/// How long a caller that still sends is read and ignored after our last answer. Closing with bytes unread would
/// make its system throw our answer away.
const LINGER: Duration = Duration::from_secs(1);

/// How a connection came to its end.
enum End {
    /// By HTTP's own rules, or because one side broke them.
    Http(hyper::Result<()>),
    Overdue(Overdue),
    /// Drowse ends.
    Cut,
}

/// Serves a caller's connection until it ends.
pub(super) async fn serve(stream: TcpStream, remote: SocketAddr, door: Arc<Door>) {
    let Ok(local) = stream.local_addr() else { return };
    let clock = door.engine.clock();
    let activity = Arc::new(Activity::new(clock));
    let caller = Arc::new(Caller {
        peer: Peer::new(remote, local),
        address: remote.ip().to_canonical(),
        activity: Arc::clone(&activity),
        door: Arc::clone(&door),
        tunnel: Mutex::new(None),
    });
    let served = Arc::clone(&caller);
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let service = service_fn(move |request: Request<Incoming>| {
        let caller = Arc::clone(&served);
        async move { Ok::<_, Infallible>(request::serve(caller, request).await) }
    });
    let mut connection = builder(&door).serve_connection(io, service);

    let end = {
        let mut timer = Timer::new(clock);
        let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
        let mut change = pin!(door.stages.change());
        let mut seen = None;
        std::future::poll_fn(|cx| {
            // One atomic load, unless the stage has changed (or this is the first time).
            while seen != Some(door.stages.now()) {
                seen = Some(door.stages.now());
                match seen {
                    Some(Stage::Cut) => return Poll::Ready(End::Cut),
                    Some(Stage::Draining | Stage::LastWords) => Pin::new(&mut connection).graceful_shutdown(),
                    _ => {}
                }
                change.set(door.stages.change());
                if change.as_mut().poll(cx).is_ready() {
                    seen = None;
                }
            }
            loop {
                if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                    return Poll::Ready(End::Http(result));
                }
                let due = activity.due(&door.settings.load());
                match timer.poll(sleep.as_mut(), due, cx) {
                    // The request ends by itself, with an answer if it has none.
                    Poll::Ready(Overdue::Silent) => activity.silence.expire(),
                    other => return other.map(End::Overdue),
                }
            }
        })
        .await
    };
    let Parts { io, read_buf, .. } = connection.into_parts();
    let mut stream = io.into_inner().stream;
    let tunnel = caller.tunnel.lock().take();
    match (tunnel, end) {
        (Some(tunnel), End::Http(Ok(()))) => {
            let patience = door.settings.load().idle_connection_timeout;
            // In a box, so that connections that stay with HTTP are not larger for it.
            Box::pin(tunnel.run(&mut stream, read_buf, patience, &door)).await;
            linger(stream).await;
        }
        (_, end) => close(stream, end, &door).await,
    }
}

fn builder(door: &Door) -> http1::Builder {
    let max_head = door.settings.load().max_head_bytes.max(MIN_HEAD_BYTES);
    let mut builder = http1::Builder::new();
    builder
        .half_close(false)
        // Ours is in `activity`: this one is made anew for every request.
        .header_read_timeout(None)
        .max_buf_size(max_head)
        .max_header_size(max_head);
    builder
}

/// A timer that is set only when something comes due earlier than it is set to. When it fires too early, which it
/// does about once in an idle timeout, it is set anew.
struct Timer {
    clock: Clock,
    /// When it fires; `None` when it has fired, or was never set.
    set_to: Option<Moment>,
}

impl Timer {
    const fn new(clock: Clock) -> Self {
        Self { clock, set_to: None }
    }

    fn poll(
        &mut self,
        mut sleep: Pin<&mut Sleep>,
        due: Option<(Moment, Overdue)>,
        cx: &mut Context<'_>,
    ) -> Poll<Overdue> {
        let Some((at, what)) = due else { return Poll::Pending };
        if self.set_to.is_some_and(|set_to| set_to <= at) && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        while self.clock.now() < at {
            sleep.as_mut().reset(self.clock.instant(at));
            self.set_to = Some(at);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(what)
    }
}

async fn close(mut stream: TcpStream, end: End, door: &Door) {
    match end {
        End::Http(Ok(())) => linger(stream).await,
        End::Http(Err(error)) if error.is_parse() => {
            // hyper has answered 400, 414 or 431 by itself.
            door.metrics.request_refused(if error.is_parse_too_large() {
                "head_too_large"
            } else {
                "bad_request"
            });
            if error.is_parse_too_large() {
                door.metrics.bound_hit(Bound::Head);
            }
            linger(stream).await;
        }
        End::Http(Err(error)) => tracing::debug!(%error, "a caller's connection broke off"),
        End::Overdue(Overdue::Head) => {
            door.metrics.request_refused(Fault::SlowHead.as_str());
            let answer = raw(&Fault::SlowHead.answer(Form::Problem, None));
            // It fits the socket's buffer; a caller so slow that it does not gets nothing.
            let sent = tokio::time::timeout(LINGER, stream.write_all(&answer)).await;
            if matches!(sent, Ok(Ok(()))) && stream.shutdown().await.is_ok() {
                linger(stream).await;
            }
        }
        End::Overdue(Overdue::Idle | Overdue::Stalled | Overdue::Silent) | End::Cut => {}
    }
}

/// Reads and forgets what the caller still sends, until it closes its side too, for a while.
async fn linger(mut stream: TcpStream) {
    let mut ignored = [0; 4096];
    let reading = async { while matches!(stream.read(&mut ignored).await, Ok(count) if count > 0) {} };
    // Whether it closed or time is up makes no difference.
    let _over = tokio::time::timeout(LINGER, reading).await;
}

/// An answer as it goes over the wire, for where hyper is out of the way.
fn raw(response: &Response<Bytes>) -> Vec<u8> {
    let status = response.status();
    let mut raw =
        format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default())
            .into_bytes();
    for (name, value) in response.headers() {
        raw.extend_from_slice(name.as_str().as_bytes());
        raw.extend_from_slice(b": ");
        raw.extend_from_slice(value.as_bytes());
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(format!("content-length: {}\r\n\r\n", response.body().len()).as_bytes());
    raw.extend_from_slice(response.body());
    raw
}
