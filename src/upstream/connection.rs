//! A connection to an agent, in either version of HTTP. It carries one request at a time also where HTTP/2 could carry more:
//! so it belongs to that request, and leaves nothing behind when its caller leaves.

use std::error::Error;
use std::task::{Context, Poll};

use crate::net::TcpStream;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;

use super::RequestBody;
use super::h2c::{H2c, MAX_HEAD};
use super::http1::{Http1, MAX_READ_BYTES};
use crate::policy::Protocol;

/// A connection to one port of one life of an agent. Used by one request at a time.
#[derive(Debug)]
pub enum Connection {
    /// HTTP/1.1.
    Http1(Http1),
    /// HTTP/2 without TLS.
    H2c(H2c),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The connection was closed before any byte of the request was written: it can be sent on another.
    #[error("the connection was already closed")]
    Unsent(Box<Request<RequestBody>>),
    /// Some of it may have reached the agent: it must not be sent again (RFC 9110 §9.2.2).
    #[error("the connection failed: {0}")]
    Failed(hyper::Error),
    /// The same, and what came back is no answer. Says what is wrong with it.
    #[error("the answer cannot be read: {0}")]
    Bad(String),
}

impl SendError {
    pub(super) fn of(mut error: hyper::client::conn::TrySendError<Request<RequestBody>>) -> Self {
        if let Some(request) = error.take_message() {
            return Self::Unsent(Box::new(request));
        }
        let error = error.into_error();
        match what_is_wrong(&error) {
            Some(wrong) => Self::Bad(wrong),
            None => Self::Failed(error),
        }
    }
}

/// What the agent has sent that is no answer; `None` if it has sent nothing, or broke off.
fn what_is_wrong(error: &hyper::Error) -> Option<String> {
    let breaks_rules = |error: &(dyn Error + 'static)| {
        error.downcast_ref::<h2::Error>().is_some_and(|error| error.is_library() && !error.is_io())
    };
    if error.is_parse_too_large() {
        Some(format!("its head has more than {} KiB, or more than 100 fields", MAX_READ_BYTES / 1024))
    } else if error.is_parse() {
        Some(format!("it is not HTTP/1.1: {}", with_causes(error)))
    } else if causes(error).any(breaks_rules) {
        let most = MAX_HEAD / 1024;
        Some(format!(
            "it breaks the rules of HTTP/2, or its head has more than {most} KiB: {}",
            with_causes(error)
        ))
    } else {
        None
    }
}

/// What happened, and why: of most failures hyper itself says only that there was one.
pub fn with_causes(error: &hyper::Error) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn causes(error: &hyper::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |error| (**error).source())
}

impl Connection {
    /// Speaks HTTP/1.1 on this stream. `None` only if hyper gives up before anything was sent.
    pub fn new(stream: TcpStream) -> Option<Self> {
        Http1::new(stream).map(Self::Http1)
    }

    /// Speaks this on it.
    pub async fn speaking(protocol: Protocol, stream: TcpStream) -> Option<Self> {
        match protocol {
            Protocol::Http1 => Self::new(stream),
            Protocol::H2c => H2c::new(stream).await.map(Self::H2c),
        }
    }

    /// What it speaks.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            Self::H2c(_) => Protocol::H2c,
        }
    }

    /// The stream behind an answer 101, and what the agent has already sent after that answer's head.
    pub fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        match self {
            Self::Http1(connection) => connection.into_stream(),
            Self::H2c(_) => None,
        }
    }

    /// Lets this thread be told when something arrives on an idle connection that another has made. `None` if that fails.
    pub(super) fn bring_home(self) -> Option<Self> {
        match self {
            Self::Http1(connection) => connection.bring_home().map(Self::Http1),
            // Has a task of its own, which stays where it is.
            Self::H2c(connection) => Some(Self::H2c(connection)),
        }
    }

    /// Whether another request can be sent on it. Notices a close that has arrived since it was last used.
    pub fn is_usable(&mut self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_usable(),
            Self::H2c(connection) => connection.is_idle(),
        }
    }

    /// Whether the last exchange is over on both sides and the agent keeps the connection open.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_idle(),
            Self::H2c(connection) => connection.is_idle(),
        }
    }

    /// Sends a request and waits for the head of the answer. Dropping the future, polled or not, leaves the connection unusable.
    pub fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send {
        match self {
            Self::Http1(connection) => connection.send(request).left_future(),
            // In a box, so that the future of a request by HTTP/1.1 stays small.
            Self::H2c(connection) => Box::pin(connection.send(request)).right_future(),
        }
    }

    /// The next part of an answer's body that arrives on this connection.
    pub fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self {
            Self::Http1(connection) => connection.poll_frame(incoming, cx),
            Self::H2c(_) => H2c::poll_frame(incoming, cx),
        }
    }

    /// Lets the rest of a request's body be sent even while nobody asks for more of the answer. Such a connection is not
    /// used again.
    pub fn drive_in_background(&mut self) {
        match self {
            Self::Http1(connection) => connection.drive_in_background(),
            Self::H2c(connection) => connection.use_up(),
        }
    }
}
