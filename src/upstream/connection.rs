//! One HTTP/1.1 connection to an agent, driven by the request that uses it.
//!
//! hyper splits a connection into a handle and a driver, and usually the driver gets a task of its own. Here the
//! request polls the driver itself, so that a warm request costs no task, no wake-up across tasks, and leaves
//! nothing behind when its caller leaves: dropping the [`Connection`] closes the socket.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::RequestBody;

type Driver = http1::Connection<TokioIo<TcpStream>, RequestBody>;

/// A connection to one port of one life of an agent. Used by one request at a time.
pub struct Connection {
    sender: http1::SendRequest<RequestBody>,
    driver: Drive,
}

enum Drive {
    /// Polled by whoever uses the connection.
    Here(Box<Driver>),
    /// Has a task of its own, for as long as the connection lives.
    Task(#[expect(dead_code, reason = "held for its drop, which ends the task")] AbortOnDropHandle<()>),
    /// Nothing more will come.
    Ended,
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
}

impl Connection {
    /// Speaks HTTP/1.1 on this stream. `None` only if hyper gives up before anything was sent.
    pub fn new(stream: TcpStream) -> Option<Self> {
        // The handshake of HTTP/1 sends nothing: it is ready at once.
        let handshake = http1::Builder::new().handshake(TokioIo::new(stream)).now_or_never();
        let (sender, driver) = handshake?.ok()?;
        Some(Self { sender, driver: Drive::Here(Box::new(driver)) })
    }

    /// Whether another request can be sent on it. Notices a close that has arrived since it was last used.
    pub fn is_usable(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let ended = self.drive(&mut nobody);
        !ended && self.is_idle()
    }

    /// Whether the last exchange is over on both sides and the agent keeps the connection open.
    pub fn is_idle(&self) -> bool {
        matches!(self.driver, Drive::Here(_)) && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of the answer. Dropping the future leaves the connection unusable.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, SendError> {
        let Self { sender, driver } = self;
        // Only the driver can make the answer ready, and only we poll the driver: so nobody has to be woken. That
        // holds only outside tokio's budget, which would otherwise wake nobody to say that it is used up.
        let mut answer = pin!(tokio::task::unconstrained(sender.try_send_request(request)));
        let sent = std::future::poll_fn(|cx| {
            driver.poll(cx);
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        sent.await.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::Unsent(Box::new(request)),
            None => SendError::Failed(error.into_error()),
        })
    }

    /// The next part of an answer's body that arrives on this connection.
    pub fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Drive::Task(_) = self.driver {
            return Pin::new(incoming).poll_frame(cx);
        }
        // As in `send`: what is not there yet can only come from the driver.
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(&mut nobody) {
            return Poll::Ready(frame);
        }
        self.drive(cx);
        Pin::new(incoming).poll_frame(&mut nobody)
    }

    /// Gives the driver a task, so that the rest of a request's body is sent even while nobody asks for more of
    /// the answer. Such a connection is not used again.
    pub fn drive_in_background(&mut self) {
        if let Drive::Here(driver) = std::mem::replace(&mut self.driver, Drive::Ended) {
            let task = tokio::spawn(async move {
                // An error has been told to the request, or to the body of its answer.
                let _told = driver.await;
            });
            self.driver = Drive::Task(AbortOnDropHandle::new(task));
        }
    }

    /// True when nothing more will come.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        self.driver.poll(cx);
        matches!(self.driver, Drive::Ended)
    }
}

impl Drive {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Self::Here(driver) = self
            && driver.poll_unpin(cx).is_ready()
        {
            *self = Self::Ended;
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("idle", &self.is_idle()).finish()
    }
}
