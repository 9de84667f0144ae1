//! The shell around `lifecycle`: holds every agent's machine, runs its effects, and lets requests in.

pub mod budget;
pub mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use crate::agent::AgentKey;
use crate::backend::Profile;
use crate::lifecycle::Refusal;
use crate::policy::Policy;
use crate::time::{Clock, Moment};
use crate::upstream::Upstream;

/// Bounds that hold over all agents together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Callers that wait, in all.
    pub held: u32,
    /// Bytes of held request bodies, in all.
    pub held_body_bytes: u64,
    /// Starts under way at once, in all.
    pub starts_in_flight: u32,
    /// Starts under way at once, in one namespace.
    pub starts_per_namespace: u32,
    /// Starts begun in a second, in all.
    pub starts_per_second: u32,
}

/// Everything Drowse knows about all agents.
pub struct Engine {}

/// One agent.
pub struct Slot {}

/// A caller that found the gate closed.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// The port that it asked for, if it did: probed besides the agent's own.
    pub port: Option<u16>,
    /// Whether it may wake the agent (false for `must_not_wake` paths).
    pub wakes: bool,
    /// How long it waits at most.
    pub deadline: Moment,
}

/// A place in an agent's queue. A future: it ends with a [`Permit`] or a [`Refusal`]. Dropping it gives the
/// place back at once.
pub struct Ticket {}

/// A place among the requests in flight to one agent. Until it is finished or dropped the agent is not
/// suspended.
pub struct Permit {}

/// How a caller's wait was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// From arrival to release.
    pub hold: Duration,
    /// Of the resume that it waited for: from its begin until the pod showed its address.
    pub resume: Duration,
    /// Of that resume: from the address to the first answer.
    pub probe: Duration,
    /// The agent had to be started for it.
    pub cold: bool,
}

/// How a request ended, for the permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The agent answered, and it counts as activity.
    Answered,
    /// It failed, was refused by the agent with 5xx, or is of a kind that must not keep it up.
    NoActivity,
}

impl Engine {
    /// The agent of this name, if there is one.
    pub fn slot(&self, _key: &AgentKey) -> Option<Arc<Slot>> {
        todo!()
    }

    /// The clock everything here uses.
    pub fn clock(&self) -> Clock {
        todo!()
    }

    /// Queues up for an agent whose gate [`Slot::enter`] found closed or full.
    pub fn hold(self: &Arc<Self>, _slot: &Arc<Slot>, _hold: Hold) -> Result<Ticket, Refusal> {
        todo!()
    }

    /// The budget for bodies of held requests.
    pub fn held_bytes(&self) -> &Arc<budget::Budget> {
        todo!()
    }
}

impl Slot {
    /// Its name.
    pub fn key(&self) -> &AgentKey {
        todo!()
    }

    /// What the rules say about it now.
    pub fn policy(&self) -> Arc<Policy> {
        todo!()
    }

    /// What the backend says about it.
    pub fn profile(&self) -> Arc<Profile> {
        todo!()
    }

    /// Lets a request in if the agent is up: no lock, no timer.
    pub fn enter(self: &Arc<Self>, _engine: &Arc<Engine>) -> Option<Permit> {
        todo!()
    }
}

impl Permit {
    /// Where to send the request.
    pub fn upstream(&self) -> &Arc<Upstream> {
        todo!()
    }

    /// How the wait was spent; `None` for a request that did not wait.
    pub fn waited(&self) -> Option<Waited> {
        todo!()
    }

    /// Whether the gate has not moved since this permit was given: if it has, a request of which no byte was sent
    /// should queue up again.
    pub fn is_current(&self) -> bool {
        todo!()
    }

    /// Ends the request. Dropping the permit is [`Outcome::NoActivity`].
    pub fn finish(self, _outcome: Outcome) {
        todo!()
    }
}
