//! The values that labels may have: closed sets, so that every series exists from the start and none is ever
//! added by what a caller sends.

use crate::lifecycle::{FailureClass, PhaseName, Refusal};

/// A label value from a closed set.
pub(super) trait Label: Copy + 'static {
    /// The whole set. The place of a value in it is its [`Label::index`].
    const ALL: &'static [Self];

    /// The place of this value in [`Label::ALL`].
    fn index(self) -> usize;

    /// As it is written on the label.
    fn as_str(self) -> &'static str;
}

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

impl Label for RequestOutcome {
    const ALL: &'static [Self] = &[Self::Answered, Self::Failed, Self::Refused, Self::Abandoned];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What was decided about a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthOutcome {
    /// It may call.
    Allowed,
    /// It sent no token, or one that is nobody's (401).
    Unauthenticated,
    /// Its token is somebody's who may not call (403).
    Forbidden,
    /// Nobody could be asked (503).
    Unreviewed,
}

impl Label for AuthOutcome {
    const ALL: &'static [Self] = &[Self::Allowed, Self::Unauthenticated, Self::Forbidden, Self::Unreviewed];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Unreviewed => "unreviewed",
        }
    }
}

/// What became of a message that its agent did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageFate {
    /// The agent has it.
    Delivered,
    /// The agent is up, and does not want messages with this subject.
    NotSubscribed,
    /// It waited for as long as it may.
    TimedOut,
    /// The agent could not be woken.
    Refused,
    /// Nobody waited for its reply any more.
    RequesterGone,
    /// As many waited for this agent as may.
    QueueFull,
    /// As many waited in all as may, or its sender has woken too many agents lately.
    Overloaded,
    /// It could not be sent on: it is too large with what is added to it, or its headers are malformed.
    Invalid,
}

impl Label for MessageFate {
    const ALL: &'static [Self] = &[
        Self::Delivered,
        Self::NotSubscribed,
        Self::TimedOut,
        Self::Refused,
        Self::RequesterGone,
        Self::QueueFull,
        Self::Overloaded,
        Self::Invalid,
    ];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::NotSubscribed => "not_subscribed",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::RequesterGone => "requester_gone",
            Self::QueueFull => "queue_full",
            Self::Overloaded => "overloaded",
            Self::Invalid => "invalid",
        }
    }
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
    /// A caller's token had to wait for its turn to be reviewed.
    TokenReviews,
    /// An agent had to wait for its turn to be asked whether it is at work.
    Pings,
    /// `busy_cap` of a request in flight on which no byte moved: it was broken off.
    Silence,
    /// A caller with HTTP/2 sent too many frames that move no request ahead: its connection was cut.
    IdleFrames,
    /// A caller with HTTP/2 had too many requests reset, or sent a head without an end: its connection was cut.
    Resets,
    /// More queue groups subscribe than the message door remembers: whether agents are there may not be seen.
    Subscriptions,
}

impl Label for Bound {
    const ALL: &'static [Self] = &[
        Self::HeldPerAgent,
        Self::Held,
        Self::HeldBytes,
        Self::Connections,
        Self::Head,
        Self::Starts,
        Self::TokenReviews,
        Self::Pings,
        Self::Silence,
        Self::IdleFrames,
        Self::Resets,
        Self::Subscriptions,
    ];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::HeldPerAgent => "held_per_agent",
            Self::Held => "held",
            Self::HeldBytes => "held_bytes",
            Self::Connections => "connections",
            Self::Head => "head",
            Self::Starts => "starts",
            Self::TokenReviews => "token_reviews",
            Self::Pings => "pings",
            Self::Silence => "silence",
            Self::IdleFrames => "idle_frames",
            Self::Resets => "resets",
            Self::Subscriptions => "subscriptions",
        }
    }
}

/// What became of a word of another replica on an agent or a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaWord {
    /// It was noted, or was known.
    Heard,
    /// There is no such agent here (yet, or any more).
    UnknownAgent,
    /// Whoever sent the message does not take part (yet, or any more): all of it was ignored.
    Stranger,
    /// It cannot be read.
    Malformed,
}

impl Label for ReplicaWord {
    const ALL: &'static [Self] = &[Self::Heard, Self::UnknownAgent, Self::Stranger, Self::Malformed];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Heard => "heard",
            Self::UnknownAgent => "unknown_agent",
            Self::Stranger => "stranger",
            Self::Malformed => "malformed",
        }
    }
}

/// What an open connection carries that is no request in flight. Each kind has a gauge of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenKind {
    /// No HTTP any more: it was upgraded.
    Tunnel,
    /// Server-sent events, as the answer to a GET.
    EventStream,
}

/// Whether the agent had to be started for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Warm,
    Cold,
}

impl Label for Start {
    const ALL: &'static [Self] = &[Self::Warm, Self::Cold];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

/// How a caller's wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoldOutcome {
    Served,
    Abandoned,
    SuspendedByPerson,
    Asleep,
    NotManaged,
    QueueFull,
    Overloaded,
    ResumeFailed,
    HoldTimedOut,
    Gone,
    ShuttingDown,
}

impl HoldOutcome {
    /// Those that stand for a refusal.
    pub(super) const REFUSALS: &'static [Self] = Self::ALL.split_at(2).1;

    pub(super) const fn refused(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::SuspendedByPerson => Self::SuspendedByPerson,
            Refusal::Asleep => Self::Asleep,
            Refusal::NotManaged => Self::NotManaged,
            Refusal::QueueFull { .. } => Self::QueueFull,
            Refusal::Overloaded => Self::Overloaded,
            Refusal::ResumeFailed { .. } => Self::ResumeFailed,
            Refusal::HoldTimedOut { .. } => Self::HoldTimedOut,
            Refusal::Gone => Self::Gone,
            Refusal::ShuttingDown => Self::ShuttingDown,
        }
    }
}

impl Label for HoldOutcome {
    const ALL: &'static [Self] = &[
        Self::Served,
        Self::Abandoned,
        Self::SuspendedByPerson,
        Self::Asleep,
        Self::NotManaged,
        Self::QueueFull,
        Self::Overloaded,
        Self::ResumeFailed,
        Self::HoldTimedOut,
        Self::Gone,
        Self::ShuttingDown,
    ];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Abandoned => "abandoned",
            Self::SuspendedByPerson => "suspended_by_person",
            Self::Asleep => "asleep",
            Self::NotManaged => "not_managed",
            Self::QueueFull => "queue_full",
            Self::Overloaded => "overloaded",
            Self::ResumeFailed => "resume_failed",
            Self::HoldTimedOut => "hold_timed_out",
            Self::Gone => "gone",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Whether something came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Ok,
    Failed,
}

impl Done {
    pub(super) const fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Failed }
    }
}

impl Label for Done {
    const ALL: &'static [Self] = &[Self::Ok, Self::Failed];

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

impl Label for PhaseName {
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

impl Label for FailureClass {
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;
    use std::time::Duration;

    use super::*;
    use crate::lifecycle::Failure;
    use crate::metrics::pings::{Overruled, PingOutcome};

    fn every_value_stands_at_its_own_place<L: Label + Debug>() {
        for (place, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.index(), place, "{value:?}");
        }
        let texts: BTreeSet<_> = L::ALL.iter().map(|value| value.as_str()).collect();
        assert_eq!(texts.len(), L::ALL.len(), "two values share a text");
    }

    #[test]
    fn every_label_value_stands_at_its_own_place() {
        every_value_stands_at_its_own_place::<RequestOutcome>();
        every_value_stands_at_its_own_place::<AuthOutcome>();
        every_value_stands_at_its_own_place::<Bound>();
        every_value_stands_at_its_own_place::<Start>();
        every_value_stands_at_its_own_place::<ReplicaWord>();
        every_value_stands_at_its_own_place::<PingOutcome>();
        every_value_stands_at_its_own_place::<Overruled>();
        every_value_stands_at_its_own_place::<HoldOutcome>();
        every_value_stands_at_its_own_place::<Done>();
        every_value_stands_at_its_own_place::<PhaseName>();
        every_value_stands_at_its_own_place::<FailureClass>();
    }

    #[test]
    fn a_refused_hold_has_the_label_of_its_refusal() {
        let failure = Failure::new(FailureClass::Crash, "exit status 1");
        let all = [
            Refusal::SuspendedByPerson,
            Refusal::Asleep,
            Refusal::NotManaged,
            Refusal::QueueFull { max_held: 1 },
            Refusal::Overloaded,
            Refusal::ResumeFailed { failure, retry_after: Duration::ZERO },
            Refusal::HoldTimedOut { waiting_for: "x".into() },
            Refusal::Gone,
            Refusal::ShuttingDown,
        ];
        assert_eq!(all.len() + 2, HoldOutcome::ALL.len());
        for refusal in &all {
            assert_eq!(HoldOutcome::refused(refusal).as_str(), refusal.as_str());
        }
    }
}
