//! A place among the requests in flight. While one exists the agent is not suspended (invariant 2).

use std::sync::Arc;

use crate::agent::AgentKey;
use crate::lifecycle::Event;
use crate::upstream::Upstream;

use super::hold::Waited;
use super::{Engine, Slot};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The agent answered, and it counts as activity.
    Answered,
    /// It failed, was refused by the agent with 5xx, or is of a kind that must not keep it up.
    NoActivity,
}

/// A place among the requests in flight to one agent, and where to send the request.
pub struct Permit {
    place: Place,
    upstream: Arc<Upstream>,
    waited: Option<Waited>,
    epoch: u32,
}

/// The place itself: given back when dropped.
pub(super) struct Place {
    slot: Arc<Slot>,
    engine: Arc<Engine>,
    outcome: Outcome,
}

impl Permit {
    pub(super) fn new(place: Place, upstream: Arc<Upstream>, waited: Option<Waited>) -> Self {
        let epoch = place.slot.gate().epoch();
        Self { place, upstream, waited, epoch }
    }

    /// Where to send the request.
    pub const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Whom it leads to.
    pub fn agent(&self) -> &AgentKey {
        self.place.slot.key()
    }

    /// How the wait was spent; `None` for a request that did not wait.
    pub const fn waited(&self) -> Option<Waited> {
        self.waited
    }

    /// The request has waited before, for a life that was over when it was to be sent.
    pub fn has_waited(&mut self, before: Option<Waited>) {
        self.waited = match (self.waited, before) {
            (Some(waited), Some(before)) => Some(waited.after(before)),
            (waited, before) => waited.or(before),
        };
    }

    /// Whether the gate has not moved since this permit was given, and the life goes on that it leads to: if not, a request of
    /// which no byte was sent should queue up again.
    pub fn is_current(&self) -> bool {
        self.place.slot.gate().epoch() == self.epoch && !self.upstream.ended.is_cancelled()
    }

    /// Whose place it is.
    pub(super) fn holder(&self) -> (Arc<Slot>, Arc<Engine>) {
        (Arc::clone(&self.place.slot), Arc::clone(&self.place.engine))
    }

    /// What dropping this permit means from here on. Once a request is sent, the agent may be at work on it even if
    /// its caller leaves.
    pub fn expect(&mut self, outcome: Outcome) {
        self.place.outcome = outcome;
    }

    /// Ends the request. Unless it was told otherwise, dropping the permit is [`Outcome::NoActivity`].
    pub fn finish(mut self, outcome: Outcome) {
        self.expect(outcome);
    }
}

impl Place {
    /// Stands for a place that the gate has counted.
    pub(super) const fn new(slot: Arc<Slot>, engine: Arc<Engine>) -> Self {
        Self { slot, engine, outcome: Outcome::NoActivity }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let touch = (self.outcome == Outcome::Answered).then(|| self.engine.clock().now());
        if self.slot.gate().leave(touch) {
            self.engine.handle(&self.slot, Event::PlaceFreed);
        }
    }
}
