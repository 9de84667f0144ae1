//! One connection of HTTP/2 to an agent, without TLS and begun with the preface (RFC 9113 §3.3).
//!
//! Its requests are those of gRPC and of agents that a rule says it of. hyper gives the connection a task, and each body that
//! is not sent at once; they end when the [`H2c`] is dropped, and what is still open on it is reset.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::net::TcpStream;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::RequestBody;
use super::connection::SendError;

/// What is taken of an answer before its caller takes it: plenty for the short way to an agent.
const WINDOW: u32 = 64 * 1024;
/// What is kept of a request's body while the agent takes none of it.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of an answer's fields at most.
pub(super) const MAX_HEAD: u32 = 64 * 1024;
/// How long an agent has to take our last frames. One that takes none sees the connection closed.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// A connection of HTTP/2. Used by one request at a time.
#[derive(Debug)]
pub struct H2c {
    sender: http2::SendRequest<RequestBody>,
    _tasks: DropGuard,
    /// Something of a request is still under way, and will be when its answer is over.
    used_up: bool,
}

impl H2c {
    pub(super) async fn new(stream: TcpStream) -> Option<Self> {
        let tasks = Tasks::default();
        let ended = tasks.ended.clone().drop_guard();
        let handshake = http2::Builder::new(tasks.clone())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEAD)
            .handshake(TokioIo::new(stream));
        let (sender, requests) = handshake.await.ok()?;
        tasks.execute(async move {
            // An error has been told to the request, or to the body of its answer.
            let _told = requests.await;
        });
        Some(Self { sender, _tasks: ended, used_up: false })
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.used_up && self.sender.is_ready()
    }

    pub(super) const fn use_up(&mut self) {
        self.used_up = true;
    }

    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        // Until there is an answer, nobody knows what became of it.
        self.used_up = true;
        let answered = self.sender.try_send_request(as_http2(request)).await.map_err(SendError::of);
        self.used_up = matches!(answered, Err(SendError::Failed(_) | SendError::Bad(_)));
        answered
    }

    pub(super) fn poll_frame(
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        Pin::new(incoming).poll_frame(cx)
    }
}

/// The tasks of one connection.
#[derive(Clone, Debug, Default)]
struct Tasks {
    ended: CancellationToken,
    /// hyper has handed over the connection itself, which comes first.
    has_connection: Arc<AtomicBool>,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let ended = self.ended.clone();
        if self.has_connection.swap(true, Ordering::Relaxed) {
            tokio::spawn(ended.run_until_cancelled_owned(task));
            return;
        }
        // Once the others have ended it sends what is left to say, and closes.
        tokio::spawn(async move {
            let over = async {
                ended.cancelled().await;
                tokio::time::sleep(LAST_FRAMES).await;
            };
            tokio::select! {
                _ = task => {}
                () = over => {}
            }
        });
    }
}

/// The host goes into `:authority`, and what is about a connection of HTTP/1.1 goes (RFC 9113 §8.2.2 and §8.3.1).
fn as_http2(request: Request<RequestBody>) -> Request<RequestBody> {
    let (mut parts, mut body) = request.into_parts();
    body.announce(&parts.headers);
    parts.version = Version::HTTP_2;
    let host = parts.headers.remove(HOST);
    for field in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        parts.headers.remove(field);
    }
    if let Some(host) = host {
        let target = parts.uri.path_and_query().cloned();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        // A host has been checked to be one.
        uri.authority = Authority::try_from(host.as_bytes()).ok();
        uri.path_and_query = Some(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
        if let Ok(uri) = Uri::from_parts(uri) {
            parts.uri = uri;
        }
    }
    Request::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use hyper::server::conn::http2 as server;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncWriteExt as _, DuplexStream};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::policy::Protocol;
    use crate::upstream::Connection;
    use crate::upstream::testing::{get, incoming, streams, until};

    /// A test that waits longer than this for something has failed.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A connection to an agent that answers with what it was asked for.
    async fn connection() -> (Connection, tokio::task::JoinHandle<()>) {
        let (stream, agent) = streams().await;
        let service = service_fn(|request: Request<Incoming>| async move {
            let asked = format!("{} {:?}", request.uri(), request.headers());
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(asked))))
        });
        let serving =
            server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(agent), service);
        let serving = tokio::spawn(async move { drop(serving.await) });
        (Connection::speaking(Protocol::H2c, stream).await.unwrap(), serving)
    }

    #[tokio::test]
    async fn the_host_becomes_the_authority_and_it_is_used_again() {
        let (mut connection, _serving) = connection().await;
        for _ in 0..2 {
            assert!(connection.is_usable());
            let mut request = get();
            request.headers_mut().insert(CONNECTION, "te".parse().unwrap());
            request.headers_mut().insert("te", "trailers".parse().unwrap());
            let body = connection.send(request).await.unwrap().into_body();
            let text = body.collect().await.unwrap().to_bytes();
            assert_eq!(text, "http://agent/ {\"te\": \"trailers\"}");
        }
    }

    #[tokio::test]
    async fn one_that_was_closed_is_found_out_and_gives_the_request_back() {
        let (mut connection, serving) = connection().await;
        serving.abort();
        until(|| !connection.is_usable()).await;
        assert!(matches!(connection.send(get()).await, Err(SendError::Unsent(_))));
    }

    #[tokio::test]
    async fn dropping_it_ends_the_connection() {
        let (connection, serving) = connection().await;
        drop(connection);
        serving.await.unwrap();
    }

    fn tasks() -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }

    /// An upload of which this much is there, but never all, and the end through which more can be sent.
    async fn upload(size: usize) -> (Request<RequestBody>, DuplexStream) {
        let (body, mut caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 100000000\n\n").await;
        caller.write_all(&vec![b'x'; size]).await.unwrap();
        (get().map(|_| RequestBody::new(body, false)), caller)
    }

    #[tokio::test]
    async fn dropping_it_takes_back_an_upload_that_the_agent_does_not_read() {
        let (request, _caller) = upload(200_000).await;
        let (stream, agent) = streams().await;
        let before = tasks();
        let asking = async {
            let mut connection = Connection::speaking(Protocol::H2c, stream).await.unwrap();
            drop(connection.send(request).await.unwrap());
        };
        let serving = async {
            let mut agent = h2::server::handshake(agent).await.unwrap();
            let (_unread, mut respond) = agent.accept().await.unwrap().unwrap();
            let mut answer = respond.send_response(Response::new(()), false).unwrap();
            tokio::join!(std::future::poll_fn(|cx| answer.poll_reset(cx)), agent.accept())
        };
        let both = async { tokio::join!(asking, serving) };
        let ((), (reset, next)) = tokio::time::timeout(PATIENCE, both).await.expect("the agent hears of it");
        assert_eq!(reset.unwrap(), h2::Reason::CANCEL);
        assert!(next.is_none(), "the connection is closed");
        until(|| tasks() == before).await;
    }

    #[tokio::test]
    async fn dropping_it_leaves_nothing_behind_where_the_agent_takes_nothing() {
        let (request, mut caller) = upload(0).await;
        let (stream, mut agent) = streams().await;
        let _sending = AbortOnDropHandle::new(tokio::spawn(async move {
            while caller.write_all(&vec![b'x'; 1 << 16]).await.is_ok() {}
        }));
        let before = tasks();
        // As much as can be given for each stream, and for all (RFC 9113 §6.5.2 and §6.9).
        agent.write_all(b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff").await.unwrap();
        agent.write_all(b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0").await.unwrap();
        let mut connection = Connection::speaking(Protocol::H2c, stream).await.unwrap();
        let progress = Arc::clone(request.body().progress().unwrap());
        {
            let mut sending = std::pin::pin!(connection.send(request));
            let mut taken = 0;
            // Until the socket is full.
            let full = async {
                while taken != progress.taken() || taken == 0 {
                    taken = progress.taken();
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            tokio::select! {
                _ = &mut sending => panic!("nobody answers"),
                () = full => {}
            }
        }
        drop(connection);
        until(|| tasks() == before).await;
    }
}
