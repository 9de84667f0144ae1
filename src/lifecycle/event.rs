//! What can happen to an agent.

use crate::agent::{AgentUid, Life, PodUid, Revision};
use crate::policy::ping::PingAnswer;
use crate::time::Moment;

use super::effect::DrainQuestion;
use super::observation::{AgentSeen, PodSeen, SuspendedBy, WriteError};
use super::waitlist::WaiterId;

/// What can happen to an agent. Every one may come at any time, twice, or late.
#[derive(Debug)]
pub enum Event<W> {
    /// The object was seen, by the watch or a read.
    Agent(AgentSeen),
    /// The object with this identity was deleted.
    AgentGone(AgentUid),
    /// A pod was seen.
    Pod(PodSeen),
    /// A pod does not exist any more.
    PodGone {
        /// Which pod.
        pod: PodUid,
        /// In the order of the pod's observations.
        revision: Revision,
    },
    /// A caller found the gate closed or full.
    Arrive(Arrival<W>),
    /// A caller that waited has left.
    Leave(WaiterId),
    /// A request ended while others wait for its place.
    PlaceFreed,
    /// An operator or a schedule wants the agent up.
    Demand,
    /// An operator wants the agent down now. Nothing happens if it is in use.
    SuspendNow(SuspendedBy),
    /// It is this agent's turn to start.
    StartGranted,
    /// A write or a read came back.
    Done {
        /// Which one.
        id: CallId,
        /// The object as written or read.
        result: Result<AgentSeen, WriteError>,
    },
    /// This life answers, and was attested (guard IDENT). Where to reach it is published already.
    Answers(Life),
    /// Another replica asks.
    DrainAsked(DrainQuestion),
    /// Nothing came to the agent, or from it, while somebody listened at this revision.
    Quiet(Revision),
    /// Something did, or it could not be found out.
    NotQuiet(Revision),
    /// The agent was asked whether it is at work.
    Pinged {
        /// Which question.
        id: CallId,
        /// What came of it.
        answer: PingAnswer,
    },
    /// Data has come on an open connection while the gate was closed.
    DataMoved,
    /// A busy lease lasts that was taken, renewed or heard of now.
    Leased,
    /// Every other replica has said "nothing in flight, gate closed" for this revision (guard ACK).
    PeersAcknowledged(Revision),
    /// Some replica objected, or did not answer.
    PeersVetoed(Revision),
    /// This replica does not take part, or did not for a while: a suspension may be under way that was agreed on without it, at
    /// what is known now, or at any revision up to this.
    Rejoin(Revision),
    /// A deadline has come, or the policy has changed.
    Tick,
    /// Drowse ends, and has no time left for those who wait.
    Ending,
}

/// Names one call to the backend, or one question to the agent, so that a late answer is not taken for that of a newer call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

/// A caller that found the gate closed or full.
#[derive(Debug)]
pub struct Arrival<W> {
    /// Its place in the order of arrival.
    pub id: WaiterId,
    /// What is given back on release or refusal.
    pub waiter: W,
    /// How long it waits at most.
    pub deadline: Moment,
    /// Whether it is a reason to resume the agent.
    pub wakes: bool,
}

/// Whose start goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Somebody waits.
    Interactive = 0,
    /// Nobody waits: a schedule, an operator's `resume --all`.
    Background = 1,
}
