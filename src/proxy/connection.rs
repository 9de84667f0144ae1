//! One caller's connection, from accept to close: HTTP/1.1, or HTTP/2 where both sides agreed on it by TLS (ALPN), or the
//! caller begins with its preface (RFC 9113 §3.3).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::net::TcpStream;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead as _, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;

use crate::metrics::Bound;

use super::activity::{Activity, Overdue};
use super::body::AnswerBody;
use super::chatter::Chatter;
use super::drive::{End, drive};
use super::error::{Fault, Form};
use super::headers::Peer;
use super::stage::Stage;
use super::transport::Transport;
use super::unread::Spawner;
use super::watched::Watched;
use super::{Caller, Door, request};

/// The smallest buffer that hyper works with.
pub(super) const MIN_HEAD_BYTES: usize = 8 * 1024;

/// How long a caller that still sends is read and ignored after our last answer. Closing with bytes unread would
/// make its system throw our answer away.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How long a caller who goes on breaking the rules of HTTP/2 is left with its connection, once it was told by a GOAWAY: neither read
/// nor hung up on. It would only come back to do it again.
const CALM: Duration = Duration::from_secs(5);

/// How a connection of HTTP/2 begins (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read at first after a rest: enough to see that there is something.
const FIRST_BYTES: usize = 32;
/// What is taken of a body before it is read, on one stream. A held request that is not read further cannot cost more than this.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all of a connection is at least this, see [`connection_window`].
const MIN_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// RFC 9113 §6.9.1.
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// Requests of a connection that break the rules, for as long as it lives: each has been taken on before it has to be reset.
const MAX_ERRORS: usize = 64;
/// What hyper keeps of an answer that waits for the caller's window, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// A caller that vanished without a word is noticed by a PING after so long, though its requests may all be silent.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Serves a caller's connection until it ends.
pub(super) async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<TlsAcceptor>>,
    door: Arc<Door>,
) {
    let Ok(local) = stream.local_addr() else { return };
    let is_secure = tls.is_some();
    let stream = match tls {
        Some(acceptor) => match secure(stream, &acceptor, &door).await {
            Some(stream) => stream,
            None => return,
        },
        None => Transport::Tcp(stream),
    };
    let caller = Arc::new(Caller {
        peer: Peer::new(remote, local, is_secure),
        address: remote.ip().to_canonical(),
        activity: Arc::new(Activity::new(door.engine.clock())),
        door,
        tunnel: Mutex::new(None),
    });
    let mut stream = Watched::new(stream, Arc::clone(&caller.activity));
    match version(&mut stream, &caller).await {
        Ok(Version::Http1) => http1(stream, caller).await,
        Ok(Version::Http2) => Box::pin(http2(stream, caller)).await,
        Err(end) => close(stream, end, &caller.door).await,
    }
}

/// The handshake of TLS. It has to be done as soon as a head would have to be there.
async fn secure(stream: TcpStream, acceptor: &TlsAcceptor, door: &Door) -> Option<Transport> {
    let limit = door.settings.load().head_timeout;
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(limit, acceptor.accept(stream)) => shaken,
        () = too_late(door) => return None,
    };
    let error = match shaken {
        Ok(Ok(stream)) => return Some(Transport::Tls(Box::new(stream))),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it took longer than {limit:?}"),
    };
    door.metrics.request_refused("tls_handshake");
    tracing::debug!(error, "a caller's TLS handshake failed");
    None
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    Http1,
    Http2,
}

/// What the caller speaks.
async fn version(stream: &mut Watched, caller: &Caller) -> Result<Version, End> {
    let may_be_http2 = match stream.stream.agreed_protocol() {
        Some(b"h2") => return Ok(Version::Http2),
        agreed => agreed.is_none(),
    };
    let mut looking = pin!(look_for_preface(stream));
    let mut too_late = pin!(too_late(&caller.door));
    drive(caller, |cx, _| match looking.as_mut().poll(cx) {
        Poll::Ready(Ok(version)) => Poll::Ready(Ok(if may_be_http2 { version } else { Version::Http1 })),
        Poll::Ready(Err(_gone)) => Poll::Ready(Err(End::Cut)),
        Poll::Pending => too_late.as_mut().poll(cx).map(|()| Err(End::Cut)),
    })
    .await
    .unwrap_or_else(Err)
}

/// Whoever has just connected when Drowse is told to end may have sent a request that is still under way.
async fn too_late(door: &Door) {
    door.stages.reached(Stage::Draining).await;
    tokio::time::sleep(LINGER).await;
}

/// Reads until it is known, and gives back what was read.
async fn look_for_preface(stream: &mut Watched) -> std::io::Result<Version> {
    let mut early = BytesMut::with_capacity(PREFACE.len());
    let version = loop {
        let count = (&mut *stream).take((PREFACE.len() - early.len()) as u64).read_buf(&mut early).await?;
        if count == 0 || !PREFACE.starts_with(&early) {
            break Version::Http1;
        }
        if early.len() == PREFACE.len() {
            break Version::Http2;
        }
    };
    stream.early = early.freeze();
    Ok(version)
}

async fn http1(mut stream: Watched, caller: Arc<Caller>) {
    let door = Arc::clone(&caller.door);
    loop {
        // In a box, which is gone while the connection rests.
        let Over { stream: left, unread, end } = Box::pin(converse(stream, &caller)).await;
        stream = left;
        let end = match end {
            End::Overdue(Overdue::Rest) if unread.is_empty() => match rest(&mut stream, &caller).await {
                Ok(()) => continue,
                Err(end) => end,
            },
            End::Overdue(Overdue::Rest) => {
                // It is the beginning of a head, and came when nobody looked for one.
                caller.activity.read();
                stream.early = unread;
                continue;
            }
            end => end,
        };
        let tunnel = caller.tunnel.lock().take();
        return match (tunnel, end) {
            (Some(tunnel), End::Http(Ok(()))) => {
                let patience = door.settings.load().idle_connection_timeout;
                // In a box, so that connections that stay with HTTP are not larger for it.
                Box::pin(tunnel.run(&mut stream.stream, unread, patience, &door)).await;
                linger(stream.stream).await;
            }
            (_, end) => close(stream, end, &door).await,
        };
    }
}

/// What is left of a connection of HTTP/1.1 once hyper is through with it.
struct Over {
    stream: Watched,
    /// What hyper has read and not used.
    unread: Bytes,
    end: End,
}

/// Answers one request after another, until the connection ends or has rested for a while.
async fn converse(stream: Watched, caller: &Arc<Caller>) -> Over {
    let mut connection =
        http1_builder(&caller.door).serve_connection(TokioIo::new(stream), answers(Arc::clone(caller)));
    let end = drive_http(caller, &mut connection, http1::Connection::graceful_shutdown).await;
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    Over { stream: io.into_inner(), unread: read_buf, end }
}

/// Waits for the next request without hyper and its buffers: most connections do nothing most of the time.
async fn rest(stream: &mut Watched, caller: &Caller) -> Result<(), End> {
    caller.activity.rest(true);
    let mut first = [0; FIRST_BYTES];
    let woken = drive(caller, |cx, stage| {
        let mut buffer = ReadBuf::new(&mut first);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(End::Http(Ok(())))),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled()))),
            Poll::Ready(Err(_gone)) => Poll::Ready(Err(End::Cut)),
            Poll::Pending if is_over(&caller.activity, stage) => Poll::Ready(Err(End::Http(Ok(())))),
            Poll::Pending => Poll::Pending,
        }
    });
    stream.early = woken.await.unwrap_or_else(Err)?;
    caller.activity.rest(false);
    Ok(())
}

async fn http2(mut stream: Watched, caller: Arc<Caller>) {
    caller.activity.multiplex();
    let door = Arc::clone(&caller.door);
    let preface = PREFACE.len() - stream.early.len();
    stream.chatter = Some(Box::new(Chatter::new(door.engine.clock(), Arc::clone(&door.metrics), preface)));
    let mut connection =
        http2_builder(&door).serve_connection(TokioIo::new(stream), answers(Arc::clone(&caller)));
    match drive_http(&caller, &mut connection, http2::Connection::graceful_shutdown).await {
        End::Http(Ok(())) | End::Cut => {}
        End::Overdue(
            Overdue::Stalled | Overdue::Head | Overdue::Silent | Overdue::Unheard | Overdue::Rest,
        ) => {}
        End::Http(Err(error)) => tracing::debug!(%error, "a caller's connection broke off"),
        End::Overdue(Overdue::Idle) => {
            // What is asked for before the caller knows is served; what comes later is told that it reached nobody
            // (RFC 9113 §6.8).
            Pin::new(&mut connection).graceful_shutdown();
            let over = tokio::time::timeout(LINGER, &mut connection).await;
            if over.is_err() && caller.activity.is_busy() {
                let _end = drive_http(&caller, &mut connection, http2::Connection::graceful_shutdown).await;
            }
        }
    }
    if caller.activity.was_misused() {
        // hyper has dropped the requests, and keeps the stream.
        let _time_is_up = tokio::time::timeout(CALM, door.stages.reached(Stage::Draining)).await;
    }
}

/// Answers the requests of a connection.
fn answers(
    caller: Arc<Caller>,
) -> impl HttpService<Incoming, ResBody = AnswerBody, Error = Infallible, Future: Send> {
    service_fn(move |request: Request<Incoming>| {
        caller.activity.ask(request.version());
        let caller = Arc::clone(&caller);
        request::serve(caller, request).map(Ok::<_, Infallible>)
    })
}

/// Polls a connection until it ends, is overdue, or Drowse ends.
async fn drive_http<C: Future<Output = hyper::Result<()>> + Unpin>(
    caller: &Caller,
    connection: &mut C,
    graceful_shutdown: impl Fn(Pin<&mut C>),
) -> End {
    let mut told = false;
    drive(caller, |cx, stage| {
        let polled = Pin::new(&mut *connection).poll(cx);
        // Only when it has seen what has already come: hyper closes a connection on which nothing was asked.
        if polled.is_pending() && is_over(&caller.activity, stage) && !std::mem::replace(&mut told, true) {
            graceful_shutdown(Pin::new(connection));
            return Pin::new(&mut *connection).poll(cx);
        }
        polled
    })
    .await
    .map_or_else(|end| end, End::Http)
}

/// Whether a connection is to end as HTTP has it. One of HTTP/2 is told (RFC 9113 §6.8), and what is asked before its caller
/// knows is served; but one that has asked for nothing yet has come to ask. HTTP/1.1 has no such word: until nobody new is
/// taken, callers are told by their next answer, and then a connection closes, unless a request is on its way.
fn is_over(activity: &Activity, stage: Stage) -> bool {
    match stage {
        Stage::Serving => false,
        Stage::Leaving => activity.is_multiplexed() && activity.was_asked(),
        Stage::Draining | Stage::LastWords | Stage::Cut => !activity.is_being_asked(),
    }
}

fn http1_builder(door: &Door) -> http1::Builder {
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

/// Floods end a connection by hyper's own bounds, and by those of `chatter`.
fn http2_builder(door: &Arc<Door>) -> http2::Builder<Spawner> {
    let settings = door.settings.load();
    let max_head = u32::try_from(settings.max_head_bytes.max(MIN_HEAD_BYTES)).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(Spawner(Arc::clone(door)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_local_error_reset_streams(MAX_ERRORS)
        .max_header_list_size(max_head)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window(door, settings.max_streams))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .enable_connect_protocol();
    builder
}

/// Bytes that a caller may send before any of them is read. Held bodies must not keep the other requests of their connection
/// waiting, so there is room for as many as it may have; but no connection takes more than all held bodies may.
fn connection_window(door: &Door, max_streams: u32) -> u32 {
    let total = u32::try_from(door.engine.held_bytes().limit()).unwrap_or(MAX_WINDOW);
    max_streams.saturating_mul(STREAM_WINDOW).min(total).clamp(MIN_CONNECTION_WINDOW, MAX_WINDOW)
}

async fn close(stream: Watched, end: End, door: &Door) {
    let Watched { mut stream, activity, .. } = stream;
    match end {
        End::Http(Ok(())) => {
            // hyper has said so already, unless the connection rested or might have been upgraded. Whoever is not told sends on.
            let _told = tokio::time::timeout(LINGER, stream.shutdown()).await;
            linger(stream).await;
        }
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
        End::Http(Err(error)) => {
            tracing::debug!(%error, "a caller's connection broke off");
            cut_short(&stream, &activity);
        }
        End::Overdue(Overdue::Head) => {
            door.metrics.request_refused(Fault::SlowHead.as_str());
            let answer = raw(&Fault::SlowHead.answer(Form::Problem, None));
            // It fits the socket's buffer; a caller so slow that it does not gets nothing.
            let sending = async {
                stream.write_all(&answer).await?;
                stream.shutdown().await
            };
            if matches!(tokio::time::timeout(LINGER, sending).await, Ok(Ok(()))) {
                linger(stream).await;
            }
        }
        End::Overdue(Overdue::Stalled) | End::Cut => cut_short(&stream, &activity),
        End::Overdue(Overdue::Idle | Overdue::Rest | Overdue::Silent | Overdue::Unheard) => {}
    }
}

/// An answer that has no end but that of its connection would look whole if the connection ended as others do.
fn cut_short(stream: &Transport, activity: &Activity) {
    if activity.ends_answers()
        && let Err(error) = stream.reset_at_close()
    {
        tracing::debug!(%error, "a caller cannot be told that its answer is cut short");
    }
}

/// Reads and forgets what the caller still sends, until it closes its side too, for a while.
async fn linger(mut stream: Transport) {
    // Not in the future, which every connection has from its beginning.
    let mut ignored = vec![0; 4096];
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
