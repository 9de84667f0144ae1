//! Why a caller was not let through to an agent. Each reason maps to one status code in `proxy::error`.

use std::borrow::Cow;
use std::time::Duration;

use super::observation::Failure;

/// Why a caller was not let through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A person suspended the agent, and the policy does not let traffic resume it.
    SuspendedByPerson,
    /// The agent sleeps, and this request is one that must not wake it.
    Asleep,
    /// The agent sleeps, and Drowse does not manage it.
    NotManaged,
    /// As many callers wait for this agent as may.
    QueueFull {
        /// The bound that was hit (`max_held`).
        max_held: u32,
    },
    /// As many callers wait in all as may.
    Overloaded,
    /// The agent could not be started.
    ResumeFailed {
        /// What went wrong.
        failure: Failure,
        /// How long until another attempt is made.
        retry_after: Duration,
    },
    /// The agent was not there in time for this caller.
    HoldTimedOut {
        /// What was being waited for, for people: `waiting for the pod to answer on its port`.
        waiting_for: Cow<'static, str>,
    },
    /// The agent was deleted while the caller waited.
    Gone,
    /// Drowse is about to end.
    ShuttingDown,
}

impl Refusal {
    /// The metric label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SuspendedByPerson => "suspended_by_person",
            Self::Asleep => "asleep",
            Self::NotManaged => "not_managed",
            Self::QueueFull { .. } => "queue_full",
            Self::Overloaded => "overloaded",
            Self::ResumeFailed { .. } => "resume_failed",
            Self::HoldTimedOut { .. } => "hold_timed_out",
            Self::Gone => "gone",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
