//! Every metric Drowse has, and the one place that writes them.
//!
//! Names are `drowse_<noun>_<verb>_<unit>`, counters end in `_total`. No label names an agent.

use std::time::Duration;

use crate::lifecycle::{FailureClass, PhaseName, Refusal};

/// How a request that was routed to an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// The agent answered.
    Answered,
    /// We answered in its place with an error after trying (502).
    Failed,
    /// We refused it (409, 429, 503, 504).
    Refused,
    /// The caller left before an answer.
    Abandoned,
}

/// A bound that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// `max_held` of one agent.
    HeldPerAgent,
    /// `limits.held`.
    Held,
    /// `limits.held_body_total`: read-ahead stopped early.
    HeldBytes,
    /// `front_door.max_connections`.
    Connections,
    /// `front_door.max_head`.
    Head,
    /// A start had to wait for its turn.
    Starts,
}

/// The metrics.
pub struct Metrics {}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        Self {}
    }
    /// The text exposition format, for `/metrics`.
    pub fn render(&self) -> String {
        String::new()
    }
    /// A request ended. `cold`: the agent had to be resumed for it.
    pub fn request_finished(&self, _outcome: RequestOutcome, _cold: bool, _took: Duration) {}
    /// The front door answered with one of its own refusals (`reason` is [`Refusal::as_str`] or a routing error).
    pub fn request_refused(&self, _reason: &'static str) {}
    /// A caller began to wait.
    pub fn hold_started(&self) {}
    /// A caller stopped waiting: served (`None`), or refused, or left (`Err(())`).
    pub fn hold_finished(&self, _refusal: Result<Option<&Refusal>, ()>, _took: Duration) {}
    /// A start ended: the agent answers, or it failed.
    pub fn resume_finished(&self, _result: Result<(), FailureClass>, _took: Duration) {}
    /// The part of a start from the pod's address to its first answer.
    pub fn probe_finished(&self, _took: Duration) {}
    /// A suspension was written (`Ok`) or given up (`Err` with why: `veto`, `demand`, `conflict`, `refused`, `no_answer`).
    pub fn suspend_finished(&self, _result: Result<(), &'static str>) {}
    /// An agent went from one phase to another (`None`: it is new, or gone).
    pub fn phase_changed(&self, _from: Option<PhaseName>, _to: Option<PhaseName>) {}
    /// A bound was hit.
    pub fn bound_hit(&self, _bound: Bound) {}
    /// Bytes of held bodies changed.
    pub fn held_bytes(&self, _now: u64) {}
    /// A configuration file was applied or refused.
    pub fn config_reloaded(&self, _applied: bool) {}
    /// A connection of a caller was accepted.
    pub fn connection_opened(&self) {}
    /// A connection of a caller ended.
    pub fn connection_closed(&self) {}
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
