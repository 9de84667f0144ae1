//! The metrics of agents that are asked whether they are at work.

use prometheus::IntCounter;

use super::family::{By, Families};
use super::labels::Label;
use crate::policy::ping::{PingAnswer, PingFaultKind, Said};

/// What is counted of asking agents. All methods are wait-free.
pub struct PingMetrics {
    pings: By<PingOutcome, IntCounter>,
    overruled: By<Overruled, IntCounter>,
}

impl PingMetrics {
    pub(super) fn register(to: &Families<'_>) -> Self {
        Self {
            pings: to.counter_by(
                "drowse_pings_total",
                "Idle agents that were asked whether they are at work (rule key ping), by what came of it.",
                "outcome",
            ),
            overruled: to.counter_by(
                "drowse_pings_overruled_total",
                "Suspensions of agents that said they were busy, or whose ping failed, when busy_cap was over.",
                "said",
            ),
        }
    }

    /// An agent was asked.
    pub fn answered(&self, answer: &PingAnswer) {
        self.pings.get(PingOutcome::of(answer)).inc();
    }

    /// An agent was suspended that had said this until `busy_cap` was over.
    pub fn overruled(&self, said: &Said) {
        self.overruled.get(Overruled::of(said)).inc();
    }
}

/// What came of asking an agent whether it is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PingOutcome {
    Healthy,
    Busy,
    Unreachable,
    TimedOut,
    NoSuchPath,
    Status,
    Invalid,
    NotAsked,
}

impl PingOutcome {
    pub(super) const fn of(answer: &PingAnswer) -> Self {
        match answer {
            PingAnswer::Healthy => Self::Healthy,
            PingAnswer::Busy => Self::Busy,
            PingAnswer::NotAsked => Self::NotAsked,
            PingAnswer::Failed(fault) => match fault.kind {
                PingFaultKind::Unreachable => Self::Unreachable,
                PingFaultKind::TimedOut => Self::TimedOut,
                PingFaultKind::NoSuchPath => Self::NoSuchPath,
                PingFaultKind::Status => Self::Status,
                PingFaultKind::Invalid => Self::Invalid,
            },
        }
    }
}

impl Label for PingOutcome {
    const ALL: &'static [Self] = &[
        Self::Healthy,
        Self::Busy,
        Self::Unreachable,
        Self::TimedOut,
        Self::NoSuchPath,
        Self::Status,
        Self::Invalid,
        Self::NotAsked,
    ];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::NoSuchPath => "no_such_path",
            Self::Status => "status",
            Self::Invalid => "invalid",
            Self::NotAsked => "not_asked",
        }
    }
}

/// What an agent had said that was suspended all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overruled {
    Busy,
    Failed,
}

impl Overruled {
    pub(super) const fn of(said: &Said) -> Self {
        match said {
            Said::Busy => Self::Busy,
            Said::Nothing(_) => Self::Failed,
        }
    }
}

impl Label for Overruled {
    const ALL: &'static [Self] = &[Self::Busy, Self::Failed];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}
