//! The labels of what came of asking agents whether they are at work.

use super::labels::Label;
use crate::policy::ping::{PingAnswer, PingFaultKind, Said};

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
