//! How a load went: how much of each kind was served, and each thing that went wrong.

use std::collections::BTreeMap;
use std::fmt::Display;

use parking_lot::Mutex;

use crate::support::http::Failure;

/// More of them say nothing new.
const MAX_FAILURES: usize = 50;

/// What a caller did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// A request on a connection of its own.
    New,
    /// A request on a kept connection of HTTP/1.1.
    Kept,
    /// A kept connection whose end was said by the answer before it.
    KeptClosed,
    /// A request on a connection of HTTP/2.
    Http2,
    /// A connection of HTTP/2 that was told to go.
    Http2Closed,
    /// A request of HTTP/2 that reached nobody, by the other side's word, and was asked again.
    Http2Unprocessed,
    /// A request that had to wait for its agent.
    Held,
    /// An event of a stream.
    Event,
    /// A stream that ended without cutting an event.
    StreamEnded,
    /// A message on a WebSocket and back.
    Message,
    /// A WebSocket that was closed with the code 1001.
    SocketClosed,
}

#[derive(Default)]
pub(crate) struct Report {
    counts: Mutex<BTreeMap<Kind, u64>>,
    failures: Mutex<Vec<String>>,
}

impl Report {
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.counts.lock().get(&kind).copied().unwrap_or_default()
    }

    pub(crate) fn counts(&self) -> BTreeMap<Kind, u64> {
        self.counts.lock().clone()
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().clone()
    }

    pub(super) fn did(&self, kind: Kind) {
        *self.counts.lock().entry(kind).or_default() += 1;
    }

    pub(super) fn failed(&self, kind: Kind, why: &dyn Display) {
        let mut failures = self.failures.lock();
        if failures.len() < MAX_FAILURES {
            failures.push(format!("{kind:?}: {why}"));
        }
    }

    pub(super) fn note(&self, kind: Kind, done: Result<(), Failure>) {
        match done {
            Ok(()) => self.did(kind),
            Err(error) => self.failed(kind, &chain(&*error)),
        }
    }
}

/// An error with what is behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let parts: Vec<_> =
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    parts.join(": ")
}
