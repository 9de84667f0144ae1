//! What callers get as a body: a text of ours, or what an agent sends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::engine::{Outcome, Permit};
use crate::metrics::RequestOutcome;
use crate::time::Moment;
use crate::upstream::Connection;

use super::Caller;
use super::activity::Unread;

/// The body of an answer, whoever gives it. Its end is the end of the request.
pub(super) struct AnswerBody {
    content: Content,
    unread: Unread,
    in_flight: InFlight,
}

/// Where the bytes come from.
pub(super) enum Content {
    Ours(Option<Bytes>),
    Agent(AgentBody),
}

/// A request from its head to the last byte of its answer; dropped early when its caller leaves.
pub(super) struct InFlight {
    caller: Arc<Caller>,
    /// When its head began to arrive.
    pub(super) arrived: Moment,
    /// What to record of it; `None` until it is routed to an agent.
    pub(super) record: Option<Record>,
}

/// What is recorded of a request to an agent.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) outcome: RequestOutcome,
    pub(super) cold: bool,
}

impl InFlight {
    pub(super) fn begin(caller: Arc<Caller>) -> Self {
        let arrived = caller.activity.begin();
        Self { caller, arrived, record: None }
    }

    pub(super) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let door = &self.caller.door;
        let now = door.engine.clock().now();
        self.caller.activity.end(now);
        if let Some(Record { outcome, cold }) = self.record {
            door.metrics.request_finished(outcome, cold, now.since(self.arrived));
        }
    }
}

impl AnswerBody {
    pub(super) fn new(content: Content, in_flight: InFlight) -> Self {
        Self { content, unread: Unread::default(), in_flight }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.unread.asked(&self.in_flight.caller.activity);
    }
}

/// An agent's answer, with everything that the request needs until its last byte.
pub(super) struct AgentBody {
    incoming: Incoming,
    /// Everything was read, so the connection can be used again.
    complete: bool,
    /// The agent broke off. Told one poll late, because hyper throws away what it has not yet written when it is.
    broken: Option<hyper::Error>,
    connection: Option<Connection>,
    port: u16,
    permit: Option<Permit>,
    outcome: Outcome,
}

impl AgentBody {
    /// `outcome` is what the end of the request means, whether by the last byte or by a caller who leaves.
    pub(super) fn new(
        incoming: Incoming,
        connection: Connection,
        port: u16,
        permit: Permit,
        outcome: Outcome,
    ) -> Self {
        let complete = incoming.is_end_stream();
        Self {
            incoming,
            complete,
            broken: None,
            connection: Some(connection),
            port,
            permit: Some(permit),
            outcome,
        }
    }
}

impl Drop for AgentBody {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        // The pool takes only what is idle: a connection with an answer or a request body half done is dropped,
        // and with it closed, so that nothing of it can be taken for part of another request.
        if self.complete
            && let Some(connection) = self.connection.take()
        {
            permit.upstream().pool.put(self.port, connection);
        }
        permit.finish(self.outcome);
    }
}

impl AgentBody {
    /// Whether the agent had to be started for it.
    pub(super) fn was_cold(&self) -> bool {
        self.permit.as_ref().and_then(Permit::waited).is_some_and(|waited| waited.cold)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        match std::task::ready!(connection.poll_frame(&mut self.incoming, cx)) {
            Some(Ok(frame)) => {
                self.complete = frame.is_trailers() || self.incoming.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                self.complete = true;
                Poll::Ready(None)
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Self { content, unread, in_flight } = &mut *self;
        let activity = &in_flight.caller.activity;
        unread.asked(activity);
        let polled = match content {
            Content::Ours(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Agent(body) => body.poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(_))) = polled {
            unread.given(activity);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Ours(text) => text.is_none(),
            Content::Agent(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Agent(body) => body.incoming.size_hint(),
        }
    }
}
