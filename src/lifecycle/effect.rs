//! What the machine wants done. The shell does it after the agent's lock is released, in this order.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::{AgentUid, Generation, Life, Revision};
use crate::policy::ping::{PingFault, Said};
use crate::units::PingTarget;

use super::event::{CallId, Class};
use super::observation::{Failure, Mode, Readiness, SuspendedBy};
use super::phase::PhaseName;
use super::refusal::Refusal;

/// What one replica asks the others before it suspends an agent (guard ACK): is nothing in flight, and may it?
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DrainQuestion {
    /// Identity of the object.
    pub uid: AgentUid,
    /// The revision that the write will be conditional on.
    pub revision: Revision,
    /// Somebody has ordered it: that the agent was active lately, or has a busy lease, is no reason against it.
    pub ordered: bool,
}

/// What the machine wants done.
#[derive(Debug)]
pub enum Effect<W> {
    /// Write the suspension, conditional on identity and revision.
    Suspend {
        /// Comes back with the result.
        id: CallId,
        /// Precondition.
        uid: AgentUid,
        /// Precondition.
        revision: Revision,
        /// The mark.
        by: SuspendedBy,
    },
    /// Write `Running` and a new wanted-at mark, conditional on identity, generation and mode.
    Resume {
        /// Comes back with the result.
        id: CallId,
        /// Precondition.
        uid: AgentUid,
        /// Precondition: nobody has changed what the object asks for since this was decided.
        generation: Generation,
        /// Precondition. From `Running` this changes the revision only, and so defeats a suspension under way.
        from: Mode,
    },
    /// Read the object past every cache.
    Read {
        /// Comes back with the result.
        id: CallId,
    },
    /// Ask for a turn to start.
    RequestStart(Class),
    /// Take that back.
    CancelStart,
    /// The turn has ended.
    StartDone,
    /// Find out when this life answers. Replaces a probe under way.
    Probe {
        /// The life.
        life: Life,
        /// Its pod's address.
        address: IpAddr,
        /// Of the object: what is found out is about no later one.
        generation: Generation,
        /// How it wants to be asked.
        readiness: Option<Arc<Readiness>>,
    },
    /// End the probe under way.
    StopProbe,
    /// Nothing new is sent to this life any more: close its idle connections.
    Retire,
    /// Let a caller through; its place in flight is taken already.
    Release {
        /// Who.
        waiter: W,
        /// What it had to wait for.
        start: Start,
    },
    /// Send a caller away.
    Refuse {
        /// Who.
        waiter: W,
        /// Why.
        refusal: Refusal,
    },
    /// The gate is closed: listen for a moment whether messages still come to the agent, or from it.
    Listen(Revision),
    /// Ask this life whether it is at work.
    Ping {
        /// Comes back with the answer.
        id: CallId,
        /// The life.
        life: Life,
        /// Where to ask it.
        target: PingTarget,
    },
    /// Leader: ask every other replica to close its gate at this revision.
    AskPeers(DrainQuestion),
    /// Tell the leader: nothing in flight here, and closed.
    Acknowledge(Revision),
    /// Tell the leader: no.
    Veto(Revision),
    /// For logs, metrics and events.
    Record(Transition),
}

/// The start that a released caller has waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Start {
    /// The agent had to be started.
    pub cold: bool,
    /// From the begin of the start until the pod showed its address.
    pub resume: Duration,
    /// From the address to the first answer.
    pub probe: Duration,
}

/// Something to tell people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transition {
    /// The phase changed.
    Phase {
        /// Before.
        from: PhaseName,
        /// After.
        to: PhaseName,
    },
    /// A start has ended well.
    Resumed(Start),
    /// A start has failed, or a running agent has died.
    Failed {
        /// Why.
        failure: Failure,
        /// How long until the next attempt.
        retry_in: Duration,
        /// How long the start took until it failed; `None` if it was running.
        took: Option<Duration>,
    },
    /// A suspension is written.
    Suspended(SuspendedBy),
    /// A dead pod is cleared away, by a suspension that a resume follows.
    Clearing,
    /// A suspension was prepared and then given up.
    SuspendAbandoned(Abandoned),
    /// It would have been suspended, were it not for `dry_run`.
    WouldSuspend,
    /// It would have been suspended, were it not for something about the agent itself that makes this unsafe.
    Obstructed(Arc<str>),
    /// It is idle, but was asked whether it is at work, and gave no answer that can be used. Told once for each kind of
    /// failure in a row.
    PingFailed(PingFault),
    /// Of a suspension: the agent said that it is busy, or gave no answer that can be used, for as long as it may.
    PingOverruled(Said),
}

/// Why a suspension was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abandoned {
    /// Somebody wanted the agent.
    Demand,
    /// Messages still came, or it could not be found out whether they do.
    NotQuiet,
    /// Another replica objected or did not answer.
    Veto,
    /// The object was changed by somebody else, if only its status.
    Conflict,
    /// The write was refused for good.
    Refused,
    /// It was not known whether the write was done, and it turned out that it was not.
    NoAnswer,
}

impl Abandoned {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::NotQuiet => "not_quiet",
            Self::Veto => "veto",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
        }
    }
}
