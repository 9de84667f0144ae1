//! The phases of an agent, and what belongs to each.

use std::sync::Arc;

use crate::agent::{Generation, Life, Revision};
use crate::time::Moment;

use super::effect::Abandoned;
use super::observation::{Failure, SuspendedBy};

/// Where an agent is in its life. Requests pass only in [`Phase::Running`].
///
/// What does not last is boxed: nearly all agents of a large fleet sleep, and each has a phase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing was observed yet.
    Unknown,
    /// Up: the gate is open.
    Running {
        /// Which life of it.
        life: Box<Life>,
    },
    /// The gate is closed so that a suspension can be written, or is found out to be unwanted.
    Draining(Box<Drain>),
    /// The suspension is written; the pod is still there.
    Suspending,
    /// No pod.
    Suspended,
    /// On the way up.
    Resuming(Box<Resume>),
    /// The last start failed.
    Failed {
        /// Why.
        failure: Box<Failure>,
        /// No attempt before this moment.
        retry_at: Moment,
    },
}

/// A suspension that is being prepared at one revision of the object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drain {
    /// The acknowledgements, the write and the fence are all about this revision.
    pub revision: Revision,
    /// The generation at that revision: a later one means that the mode may have changed in between.
    pub generation: Generation,
    /// The life that was served when the gate closed; `None` if it was closed already.
    pub life: Option<Life>,
    /// How far it is.
    pub step: DrainStep,
    /// When the next thing must have happened.
    pub deadline: Moment,
    /// What is written as the reason.
    pub by: SuspendedBy,
    /// It is this replica that prepares a suspension. Otherwise another does, or, while it joins, may have done so.
    pub begun_here: bool,
    /// An operator ordered it: `dry_run` and `suspend: off` are about what Drowse does by itself.
    pub ordered: bool,
    /// The agent has said for as long as it may that it is busy, or has not answered for that long.
    pub overrules: bool,
    /// Why it is given up, should the agent turn out to be running.
    pub abandon: Abandoned,
    /// Why the write that settles it was refused the last time.
    pub refused: Option<Failure>,
}

/// How far a drain is.
///
/// Whoever adds a step says in [`Phase::name`] whether people are to see it as a suspension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DrainStep {
    /// Nothing is known of a suspension, but one may be under way that was agreed on before this replica took part
    /// (guard JOIN). Routes nothing until a newer revision says Running, and makes one when somebody calls.
    Joining,
    /// Leader: listens for messages, which pass by the gate. Nothing is written or said, so the leader may still change its
    /// mind.
    Listening,
    /// Leader: waits for every other replica's word. Nothing is written, so the leader may still change its mind.
    AskingPeers,
    /// Leader: the write is under way.
    Writing,
    /// Not the leader: acknowledged. Routes nothing until a newer revision says Running (guard FENCE).
    Fenced,
    /// The suspension may or may not have been written. A write (or a read) that settles it is under way, or
    /// is repeated at the deadline; only a newer revision of the object ends this.
    Settling,
}

/// A start that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resume {
    /// How far it is.
    pub step: ResumeStep,
    /// When it began.
    pub began: Moment,
    /// When the pod showed its address.
    pub addressed: Option<Moment>,
    /// When it counts as failed; `None` until it had its turn.
    pub deadline: Option<Moment>,
    /// The generation of the object when the last probe began. Whoever was attested before a later one may be ending since.
    pub probed_at: Generation,
    /// Whether callers have to wait for a start: false while a running agent is only looked at anew.
    pub cold: bool,
    /// How many of its writes were not confirmed.
    pub unconfirmed: u32,
    /// While the pod that is to come does not, what is done about it, and when.
    pub planned: Option<(Remedy, Moment)>,
    /// How often the controller was reminded that the agent is to run.
    pub reminders: u32,
    /// Why the last write was not confirmed.
    pub write_error: Option<Arc<str>>,
}

/// What is done about a pod that does not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// The dead one that is in the way is cleared away, if that is allowed by then.
    ClearPod,
    /// The controller is reminded.
    Remind,
}

/// How far a start is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResumeStep {
    /// Waits for its turn among all starts.
    Paced,
    /// Asks the other replicas whether the dead pod may be cleared away.
    AskingPeers,
    /// Writes the suspension of a dead pod, which makes way for a new one.
    ClearingFailedPod,
    /// Writes the resume (or reads why that was not possible).
    Writing,
    /// The last write was not confirmed; it is repeated at this moment.
    RetryingAt(Moment),
    /// Waits for a pod with an address.
    AwaitingPod,
    /// Waits for this life to answer.
    Probing(Life),
}

impl ResumeStep {
    /// Whether all is written that makes it run, so that its pod is what it waits for.
    pub const fn is_past_writing(&self) -> bool {
        matches!(self, Self::AwaitingPod | Self::Probing(_))
    }
}

/// The name of a phase.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum PhaseName {
    /// See [`Phase::Unknown`].
    Unknown,
    /// See [`Phase::Running`].
    Running,
    /// See [`Phase::Draining`].
    Draining,
    /// See [`Phase::Suspending`].
    Suspending,
    /// See [`Phase::Suspended`].
    Suspended,
    /// See [`Phase::Resuming`].
    Resuming,
    /// See [`Phase::Failed`].
    Failed,
}

impl PhaseName {
    /// All of them, for tables and metrics.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Running,
        Self::Draining,
        Self::Suspending,
        Self::Suspended,
        Self::Resuming,
        Self::Failed,
    ];

    /// As metrics, the API and people name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Running => "Running",
            Self::Draining => "Draining",
            Self::Suspending => "Suspending",
            Self::Suspended => "Suspended",
            Self::Resuming => "Resuming",
            Self::Failed => "Failed",
        }
    }
}

impl Phase {
    /// Its name.
    pub fn name(&self) -> PhaseName {
        match self {
            Self::Unknown => PhaseName::Unknown,
            Self::Running { .. } => PhaseName::Running,
            // It is up for all that anybody knows, and the first call finds out.
            Self::Draining(drain) if drain.step == DrainStep::Joining => PhaseName::Running,
            Self::Draining(_) => PhaseName::Draining,
            Self::Suspending => PhaseName::Suspending,
            Self::Suspended => PhaseName::Suspended,
            Self::Resuming(_) => PhaseName::Resuming,
            Self::Failed { .. } => PhaseName::Failed,
        }
    }

    /// What a caller who is held in this phase waits for, for people.
    pub const fn waiting_for(&self) -> &'static str {
        match self {
            Self::Unknown => "waiting to learn the state of the agent",
            Self::Running { .. } => "waiting for a place among the requests in flight",
            Self::Draining(_) => "waiting to see that no suspension is under way",
            Self::Suspending | Self::Suspended => "waiting for the resume to begin",
            Self::Resuming(resume) => match resume.step {
                ResumeStep::Paced => "waiting for the turn of this start among all starts",
                ResumeStep::AskingPeers | ResumeStep::ClearingFailedPod => {
                    "waiting for a failed pod to be cleared away"
                }
                ResumeStep::Writing | ResumeStep::RetryingAt(_) => "waiting for the resume to be accepted",
                ResumeStep::AwaitingPod => "waiting for the pod to start",
                ResumeStep::Probing(_) => "waiting for the agent to answer on its port",
            },
            Self::Failed { .. } => "waiting for the next attempt to start the agent",
        }
    }
}
