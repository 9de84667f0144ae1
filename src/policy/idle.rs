//! Whether an agent is idle: the one list of everything that can keep it up, and the verdict on it.

use std::time::Duration;

use crate::time::Moment;

/// Where a signal comes from. New sources of activity are added here and in `Machine::signals`, nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Requests of the front door: in flight, or lately.
    Requests,
    /// A message went to it, or came from it, lately.
    Messages,
    /// Connections to it are open without a request (upgraded, or streams of events), or data moved on one lately.
    Connections,
    /// It has a request as a message, and has not answered it.
    Unanswered,
    /// Somebody has a busy lease for it, or had one lately.
    Lease,
    /// The agent was asked and says that it is at work, or gave no answer that can be used.
    Ping,
    /// It was active lately by way of another replica of Drowse.
    Elsewhere,
    /// A keep-awake window is open.
    KeepAwake,
    /// It came up only lately (`min_running`).
    MinRunning,
    /// It was started, or wanted by an operator: the idle timeout runs from there too.
    Start,
}

impl Source {
    /// As `explain` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Messages => "messages",
            Self::Connections => "connections",
            Self::Unanswered => "unanswered",
            Self::Lease => "lease",
            Self::Ping => "ping",
            Self::Elsewhere => "elsewhere",
            Self::KeepAwake => "keep_awake",
            Self::MinRunning => "min_running",
            Self::Start => "start",
        }
    }
}

/// What one source says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal {
    /// Which source.
    pub source: Source,
    /// What it says.
    pub says: Says,
}

/// What a source of activity says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    /// Busy, and it is open how long.
    Busy,
    /// Busy until then, whatever happens.
    BusyUntil(Moment),
    /// Last active then: counts for the idle timeout.
    LastActive(Moment),
}

impl Signal {
    /// Until when this keeps an agent up; `None` is open.
    pub fn keeps_up_until(&self, idle_timeout: Duration) -> Option<Moment> {
        match self.says {
            Says::Busy => None,
            Says::BusyUntil(until) => Some(until),
            Says::LastActive(at) => Some(at + idle_timeout),
        }
    }
}

/// What follows from all signals together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing keeps it up.
    Idle,
    /// Up at least until then, because of this.
    UpUntil(Moment, Source),
    /// Up, open how long, because of this.
    Busy(Source),
}

/// Weighs the signals. The one that lasts longest decides, and is named.
pub fn verdict(signals: &[Signal], idle_timeout: Duration, now: Moment) -> Verdict {
    let mut strongest: Option<(Moment, Source)> = None;
    for signal in signals {
        let Some(until) = signal.keeps_up_until(idle_timeout) else { return Verdict::Busy(signal.source) };
        if until > now && strongest.is_none_or(|(best, _)| until > best) {
            strongest = Some((until, signal.source));
        }
    }
    strongest.map_or(Verdict::Idle, |(until, source)| Verdict::UpUntil(until, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn weigh(says: &[(Source, Says)], now: u64) -> Verdict {
        let signals: Vec<_> =
            says.iter().map(|(source, says)| Signal { source: *source, says: *says }).collect();
        verdict(&signals, IDLE, at(now))
    }

    #[test]
    fn the_signal_that_lasts_longest_decides_and_is_named() {
        use Says::{Busy, BusyUntil, LastActive};
        use Source::{MinRunning, Requests, Start};
        let table = [
            (vec![], 0, Verdict::Idle),
            (vec![(Requests, LastActive(at(5)))], 14, Verdict::UpUntil(at(15), Requests)),
            (vec![(Requests, LastActive(at(5)))], 15, Verdict::Idle),
            (
                vec![(Requests, LastActive(at(5))), (MinRunning, BusyUntil(at(20)))],
                6,
                Verdict::UpUntil(at(20), MinRunning),
            ),
            (
                vec![(Requests, LastActive(at(5))), (MinRunning, BusyUntil(at(3)))],
                6,
                Verdict::UpUntil(at(15), Requests),
            ),
            (vec![(Start, LastActive(at(1))), (MinRunning, BusyUntil(at(3)))], 11, Verdict::Idle),
            (vec![(MinRunning, BusyUntil(at(99))), (Requests, Busy)], 6, Verdict::Busy(Requests)),
        ];
        for (says, now, expected) in table {
            assert_eq!(weigh(&says, now), expected, "{says:?} at {now}");
        }
    }
}
