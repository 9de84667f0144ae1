//! An answer that is an open connection and no request in flight any more: server-sent events for a GET.
//!
//! It holds no place at the gate, and counts by `open_connections`, as a tunnel does. It ends with its agent's life or
//! with Drowse, and never so that a part of an event could be taken for the whole of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::engine::{OpenConnection, Outcome, Permit};
use crate::metrics::OpenKind;

use super::Door;
use super::events::Events;
use super::stage::Stage;

/// A stream of events on its way from an agent.
pub(super) struct EventStream {
    open: Arc<OpenConnection>,
    /// `None` where it is compressed, so that events cannot be told from comments: all of it is data.
    events: Option<Events>,
    /// The agent says by itself where the stream ends, and not only by closing its connection.
    says_its_end: bool,
    /// The agent had to be started for it.
    cold: bool,
    going: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What an end of a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Nothing is missing.
    Clean,
    /// Its caller must not take the last of it for whole.
    Broken,
}

/// Whether an answer to a GET streams: 200, `text/event-stream`, and how long it is nobody says. Of no other type are
/// callers known to come back when it ends, so all else is a request in flight to its last byte.
pub(super) fn streams<B>(response: &Response<B>) -> bool {
    let headers = response.headers();
    response.status() == StatusCode::OK && !headers.contains_key(CONTENT_LENGTH) && is_event_stream(headers)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

impl EventStream {
    /// Ends the request and keeps its connection open. `headers` are the agent's own; `wakes` says whether it is a
    /// reason to be up.
    pub(super) fn open(
        headers: &HeaderMap,
        by_http2: bool,
        wakes: bool,
        permit: Permit,
        door: &Arc<Door>,
    ) -> Self {
        let cold = permit.waited().is_some_and(|waited| waited.cold);
        let outcome = if wakes { Outcome::Answered } else { Outcome::NoActivity };
        let open = Arc::new(permit.keep_open(OpenKind::EventStream, outcome));
        let (life, door) = (Arc::clone(&open), Arc::clone(door));
        let going = Box::pin(async move {
            tokio::select! {
                () = life.ended() => {}
                () = door.stages.reached(Stage::LastWords) => {}
            }
        });
        Self {
            open,
            events: (!is_compressed(headers)).then(Events::default),
            says_its_end: by_http2 || headers.contains_key(TRANSFER_ENCODING),
            cold,
            going,
        }
    }

    /// Ready when the stream has to end here, because its agent's life is over or Drowse ends.
    pub(super) fn poll_going(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.going.as_mut().poll(cx).map(|()| self.end_here())
    }

    /// Notes what has come from the agent, before it is passed on.
    pub(super) fn look(&mut self, bytes: &[u8]) {
        let data = match &mut self.events {
            Some(events) => events.pass(bytes),
            None => !bytes.is_empty(),
        };
        if data {
            self.open.moved();
        }
    }

    /// The agent has ended the stream.
    pub(super) fn ended(&self) -> End {
        if self.says_its_end { End::Clean } else { self.end_here() }
    }

    /// The agent broke off. One that is being put to sleep may do so before we hear that it is.
    pub(super) fn broke_off(&self) -> End {
        if self.open.is_going() { self.end_here() } else { End::Broken }
    }

    /// Whether the agent had to be started for it.
    pub(super) const fn was_cold(&self) -> bool {
        self.cold
    }

    /// Where its connection belongs.
    pub(super) fn connection(&self) -> &OpenConnection {
        &self.open
    }

    fn end_here(&self) -> End {
        match &self.events {
            Some(events) if events.is_between() => End::Clean,
            // Nobody knows where in an event a compressed stream is.
            _ => End::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, fields: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    }

    #[test]
    fn a_stream_is_an_answer_200_of_events_without_a_length() {
        for media in [
            "text/event-stream",
            "Text/Event-Stream",
            "text/event-stream; charset=utf-8",
            "text/event-stream ;x",
        ] {
            assert!(streams(&answer(200, &[("content-type", media)])), "{media}");
        }
        let events = ("content-type", "text/event-stream");
        for (status, fields) in [
            (200, &[][..]),
            (200, &[("content-type", "text/event-stream-not")]),
            (200, &[("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked")]),
            (200, &[("content-type", "multipart/x-mixed-replace; boundary=text/event-stream")]),
            (200, &[events, ("content-length", "10")]),
            (204, &[events]),
            (500, &[events]),
        ] {
            assert!(!streams(&answer(status, fields)), "{status} {fields:?}");
        }
    }

    #[test]
    fn what_is_compressed_shows_no_events() {
        let compressed = |value: &str| is_compressed(answer(200, &[("content-encoding", value)]).headers());
        assert!(compressed("gzip") && compressed("br") && compressed("identity, gzip"));
        assert!(!compressed("identity") && !is_compressed(&HeaderMap::new()));
    }
}
