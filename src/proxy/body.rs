//! What callers get as a body: a text of ours, or what an agent sends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::engine::Permit;
use crate::metrics::{Bound, RequestOutcome};
use crate::policy::Protocol;
use crate::time::Moment;
use crate::upstream::request_body::Progress;
use crate::upstream::{Connection, RequestBody, Upstream};

use super::Caller;
use super::silence::Silence;
use super::stream::{End, EventStream};
use super::unread::{PORTION, Unread};

/// The body of an answer, whoever gives it. Its end is the end of the request.
pub(super) struct AnswerBody {
    content: Content,
    /// What was got and not yet handed out.
    rest: Bytes,
    /// Where its connection carries others as well.
    unread: Option<Arc<Unread>>,
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
    /// Where its connection carries others as well.
    own_silence: Option<Arc<Silence>>,
    /// How much of its body is passed on, if it has one and there is an agent for it.
    upload: Option<Arc<Progress>>,
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
    pub(super) fn begin(caller: Arc<Caller>, has_body: bool) -> Self {
        let arrived = caller.activity.begin(has_body);
        Self { caller, own_silence: None, upload: None, arrived, record: None }
    }

    /// How long it has been silent, once it is sent.
    pub(super) fn silence(&self) -> &Arc<Silence> {
        self.own_silence.as_ref().unwrap_or(&self.caller.activity.silence)
    }

    /// What it sends its agent.
    pub(super) fn uploads(&mut self, body: &RequestBody) {
        self.upload = body.progress().cloned();
        if self.caller.activity.is_multiplexed() {
            let clock = self.caller.door.engine.clock();
            self.own_silence = Some(Arc::new(Silence::of_one(clock, self.upload.clone())));
        }
    }

    pub(super) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let door = &self.caller.door;
        let now = door.engine.clock().now();
        if self.upload.as_ref().is_some_and(|upload| upload.is_finished()) {
            self.caller.activity.all_read();
        }
        self.caller.activity.end(now);
        if let Some(Record { outcome, cold }) = self.record {
            door.metrics.request_finished(outcome, cold, now.since(self.arrived));
        }
    }
}

impl AnswerBody {
    pub(super) fn new(content: Content, in_flight: InFlight) -> Self {
        Self { content, rest: Bytes::new(), unread: Unread::own(), in_flight }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.content {
            Content::Ours(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Agent(body) => match body.poll_frame(cx) {
                Poll::Pending if self.in_flight.silence().poll_over(cx) => {
                    body.give_up(&self.in_flight, cx);
                    Poll::Pending
                }
                polled => polled,
            },
        }
    }
}

/// An agent's answer, with everything that the request needs until its last byte.
pub(super) struct AgentBody {
    incoming: Incoming,
    /// Everything was read, so the connection can be used again.
    complete: bool,
    /// The agent broke off. Told one poll late, because hyper throws away what it has not yet written when it is.
    broken: Option<BrokenOff>,
    connection: Option<Connection>,
    port: u16,
    held: Option<Held>,
}

/// What an answer is to its agent until its last byte.
pub(super) enum Held {
    /// A request in flight. The permit knows what its end means, whether by the last byte or by a caller who leaves.
    Request(Permit),
    /// An open connection.
    Stream(Box<EventStream>),
}

/// Why an answer is not whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenOff {
    #[error(transparent)]
    ByAgent(hyper::Error),
    #[error("the agent took its answer back half way")]
    CutShort,
    #[error("the agent went to sleep, or Drowse ends, in the middle of an event")]
    InAnEvent,
    #[error("no byte moved for as long as busy_cap allows")]
    Silent,
}

impl AgentBody {
    pub(super) fn new(incoming: Incoming, connection: Connection, port: u16, held: Held) -> Self {
        let complete = incoming.is_end_stream();
        Self { incoming, complete, broken: None, connection: Some(connection), port, held: Some(held) }
    }
}

impl Drop for AgentBody {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        // The pool takes only what is idle: a connection with an answer or a request body half done is dropped,
        // and with it closed, so that nothing of it can be taken for part of another request.
        if self.complete
            && let Some(connection) = self.connection.take()
        {
            held.upstream().pool.put(self.port, connection);
        }
    }
}

impl AgentBody {
    /// Whether the agent had to be started for it.
    pub(super) fn was_cold(&self) -> bool {
        match &self.held {
            Some(Held::Request(permit)) => permit.waited().is_some_and(|waited| waited.cold),
            Some(Held::Stream(stream)) => stream.was_cold(),
            None => false,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        let mut stream = match &mut self.held {
            Some(Held::Stream(stream)) => Some(stream),
            _ => None,
        };
        if let Some(stream) = &mut stream
            && let Poll::Ready(end) = stream.poll_going(cx)
        {
            return self.end_early(end, BrokenOff::InAnEvent, cx);
        }
        let says_its_end = connection.protocol() == Protocol::H2c;
        match std::task::ready!(connection.poll_frame(&mut self.incoming, cx)) {
            Some(Ok(frame)) => {
                self.complete = frame.is_trailers() || self.incoming.is_end_stream();
                if let (Some(stream), Some(data)) = (stream, frame.data_ref()) {
                    stream.look(data);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let end = stream.map_or(End::Broken, |stream| stream.broke_off());
                self.end_early(end, BrokenOff::ByAgent(error), cx)
            }
            // A reset without an error, which hyper takes for the end.
            None if says_its_end && !self.incoming.is_end_stream() => {
                self.end_early(End::Broken, BrokenOff::CutShort, cx)
            }
            None if stream.is_some_and(|stream| stream.ended() == End::Broken) => {
                self.end_early(End::Broken, BrokenOff::InAnEvent, cx)
            }
            None => {
                self.complete = true;
                Poll::Ready(None)
            }
        }
    }

    /// An end that is not the agent's own. Its connection is closed at once.
    fn end_early<T>(&mut self, end: End, why: BrokenOff, cx: &Context<'_>) -> Poll<Option<T>> {
        self.connection = None;
        match end {
            End::Clean => Poll::Ready(None),
            End::Broken => {
                self.broken = Some(why);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// The request was in flight for as long as `busy_cap` allows without a byte.
    fn give_up(&mut self, in_flight: &InFlight, cx: &Context<'_>) {
        let Some(Held::Request(permit)) = &self.held else { return };
        in_flight.caller.door.metrics.bound_hit(Bound::Silence);
        let agent = permit.agent();
        tracing::warn!(%agent, "an answer got no further for as long as busy_cap allows; breaking it off");
        in_flight.silence().end();
        // Told at the next poll.
        let _pending = self.end_early::<()>(End::Broken, BrokenOff::Silent, cx);
    }
}

impl Held {
    fn upstream(&self) -> &Upstream {
        match self {
            Self::Request(permit) => permit.upstream(),
            Self::Stream(stream) => stream.connection().upstream(),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(unread) = &self.unread {
            unread.asked();
        }
        if self.in_flight.caller.activity.is_behind() {
            return Poll::Pending;
        }
        let polled = if self.rest.is_empty() {
            self.poll_content(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
        };
        let Poll::Ready(Some(Ok(mut frame))) = polled else { return polled };
        self.in_flight.silence().answered();
        if let Some(unread) = &self.unread {
            unread.given();
            if let Some(data) = frame.data_mut()
                && data.len() > PORTION
            {
                let rest = data.split_off(PORTION);
                self.rest = rest;
            }
        }
        self.in_flight.caller.activity.gave(frame.data_ref().map_or(0, Bytes::len));
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let no_more_comes = match &self.content {
            Content::Ours(text) => text.is_none(),
            Content::Agent(body) => body.incoming.is_end_stream(),
        };
        no_more_comes && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let to_come = match &self.content {
            Content::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Agent(body) => body.incoming.size_hint(),
        };
        to_come.exact().map_or(to_come, |size| SizeHint::with_exact(size + self.rest.len() as u64))
    }
}
