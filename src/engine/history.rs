//! What happened lately, all agents together: starts, failures, suspensions, and callers who were sent away. Two short
//! queues, because a history for each agent would cost most where nothing happens.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

use crate::agent::AgentKey;
use crate::lifecycle::{Abandoned, Refusal, SuspendedBy, Transition};
use crate::policy::ping::Said;
use crate::time::{Clock, Moment};

use super::snapshot::{HappeningView, RefusalView, WakeView, WakesView};

/// Some 120 bytes each. Enough for an hour of a busy fleet, or for one storm.
const MAX_HAPPENINGS: usize = 1024;
/// Agents and reasons for which callers were sent away.
const MAX_REFUSALS: usize = 128;
/// How many wakes an overview lists.
const SHOWN_WAKES: usize = 40;
/// How much is told of one agent.
const SHOWN_OF_ONE: usize = 20;

/// In both queues the newest is last.
#[derive(Default)]
pub(super) struct History {
    happenings: Mutex<VecDeque<Happening>>,
    refusals: Mutex<VecDeque<Refused>>,
}

struct Happening {
    key: AgentKey,
    at: Moment,
    what: Transition,
}

impl Happening {
    /// How long callers had to wait, if this was a start that ended well.
    fn wake(&self) -> Option<Duration> {
        match &self.what {
            Transition::Resumed(start) => Some(start.resume + start.probe),
            _ => None,
        }
    }
}

/// Callers of one agent who were sent away for one reason.
struct Refused {
    key: AgentKey,
    /// The last one's.
    why: Refusal,
    times: u64,
    last: Moment,
}

impl History {
    /// Phases come and go too often to be kept; what they led to is.
    pub(super) fn note(&self, key: &AgentKey, at: Moment, what: &Transition) {
        match what {
            Transition::Phase { .. } => return,
            // It was up already, and only looked at anew.
            Transition::Resumed(start) if !start.cold => return,
            _ => {}
        }
        let mut happenings = self.happenings.lock();
        if happenings.len() == MAX_HAPPENINGS {
            happenings.pop_front();
        }
        happenings.push_back(Happening { key: key.clone(), at, what: what.clone() });
    }

    /// The same reason of the same agent is counted, so that a flood of callers pushes out nothing.
    pub(super) fn note_refusal(&self, key: &AgentKey, at: Moment, why: &Refusal) {
        let mut refusals = self.refusals.lock();
        let same = |known: &Refused| known.key == *key && known.why.as_str() == why.as_str();
        let before = match refusals.iter().rposition(same) {
            Some(place) => refusals.remove(place).map_or(0, |known| known.times),
            None => 0,
        };
        if refusals.len() == MAX_REFUSALS {
            refusals.pop_front();
        }
        refusals.push_back(Refused { key: key.clone(), why: why.clone(), times: before + 1, last: at });
    }

    /// How long the starts took that are remembered.
    pub(super) fn wakes(&self, clock: Clock) -> WakesView {
        let happenings = self.happenings.lock();
        let wakes =
            || happenings.iter().filter_map(|happening| happening.wake().map(|took| (happening, took)));
        let last = wakes().rev().take(SHOWN_WAKES).map(|(happening, took)| WakeView {
            at: clock.wall(happening.at),
            namespace: happening.key.namespace().to_owned(),
            name: happening.key.name().to_owned(),
            took_ms: millis(took),
        });
        let last = last.collect();
        let mut took: Vec<Duration> = wakes().map(|(_, took)| took).collect();
        let failed = happenings.iter().filter(|happening| is_failed_start(&happening.what)).count();
        drop(happenings);
        took.sort_unstable();
        let percentile = |percent| percentile(&took, percent).map(millis);
        WakesView {
            count: took.len(),
            failed,
            p50_ms: percentile(50),
            p90_ms: percentile(90),
            p99_ms: percentile(99),
            last,
        }
    }

    /// How long each of these agents took when it woke last, in milliseconds.
    pub(super) fn last_wakes<'a>(&self, keys: impl Iterator<Item = &'a AgentKey>) -> HashMap<AgentKey, f64> {
        let mut found: HashMap<AgentKey, f64> = HashMap::new();
        let mut wanted: HashSet<&AgentKey> = keys.collect();
        for happening in self.happenings.lock().iter().rev() {
            if let Some(took) = happening.wake()
                && wanted.remove(&happening.key)
            {
                found.insert(happening.key.clone(), millis(took));
            }
        }
        found
    }

    /// What happened to one agent, newest first.
    pub(super) fn of(&self, key: &AgentKey, clock: Clock) -> Vec<HappeningView> {
        let happenings = self.happenings.lock();
        let of_it = happenings.iter().rev().filter(|happening| happening.key == *key);
        of_it
            .take(SHOWN_OF_ONE)
            .map(|happening| HappeningView {
                at: clock.wall(happening.at),
                what: told(&happening.what).into_owned(),
                took_ms: happening.wake().map(millis),
            })
            .collect()
    }

    /// Why callers of one agent were sent away, newest first.
    pub(super) fn refusals_of(&self, key: &AgentKey, clock: Clock) -> Vec<RefusalView> {
        let refusals = self.refusals.lock();
        let of_it = refusals.iter().rev().filter(|refused| refused.key == *key);
        of_it
            .map(|refused| RefusalView {
                last: clock.wall(refused.last),
                times: refused.times,
                why: why(&refused.why).into_owned(),
            })
            .collect()
    }

    /// An agent of the same name may come, and has done nothing of this.
    pub(super) fn forget(&self, key: &AgentKey) {
        self.happenings.lock().retain(|happening| happening.key != *key);
        self.refusals.lock().retain(|refused| refused.key != *key);
    }
}

fn is_failed_start(what: &Transition) -> bool {
    matches!(what, Transition::Failed { took: Some(_), .. })
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

/// The smallest that so many percent do not exceed (nearest rank). The spans are in order.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn told(what: &Transition) -> Cow<'static, str> {
    match what {
        Transition::Phase { .. } => "the phase changed".into(),
        Transition::Resumed(_) => "came up".into(),
        Transition::Failed { failure, took, .. } => {
            let when = if took.is_some() { "did not start" } else { "died" };
            format!("{when}: {}: {}", failure.class.as_str(), failure.detail).into()
        }
        Transition::Suspended(SuspendedBy::Idle) => "suspended by Drowse".into(),
        Transition::Suspended(SuspendedBy::Person) => {
            "suspended, to stay so until it is resumed by hand".into()
        }
        Transition::Clearing => "suspended and resumed, to have its dead pod replaced".into(),
        Transition::SuspendAbandoned(why) => format!("stayed up: {}", abandoned(*why)).into(),
        Transition::WouldSuspend => "would have been suspended, were it not for dry_run".into(),
        Transition::Obstructed(why) => format!("idle, but not suspended: {why}").into(),
        Transition::PingFailed(fault) => {
            format!("idle, but stays up until busy_cap is over: its ping fails: {fault}").into()
        }
        Transition::PingOverruled(Said::Busy) => {
            "suspended although it says HealthyBusy: it has said so for busy_cap".into()
        }
        Transition::PingOverruled(Said::Nothing(fault)) => {
            format!("suspended although its ping fails: it has failed for busy_cap: {fault}").into()
        }
    }
}

const fn abandoned(why: Abandoned) -> &'static str {
    match why {
        Abandoned::Demand => "somebody called while its suspension was prepared",
        Abandoned::NotQuiet => "messages still came, or nobody could say whether they did",
        Abandoned::Veto => "another replica objected, or did not answer",
        Abandoned::Conflict => "the object was changed by somebody else at that moment",
        Abandoned::Refused => "the suspension was refused",
        Abandoned::NoAnswer => "it could not be told whether the suspension was written, and it was not",
    }
}

fn why(refusal: &Refusal) -> Cow<'static, str> {
    match refusal {
        Refusal::SuspendedByPerson => "a person has suspended it, and calls do not resume it".into(),
        Refusal::Asleep => "it sleeps, and their path is one that must not wake it".into(),
        Refusal::NotManaged => "it sleeps, and Drowse does not manage it".into(),
        Refusal::QueueFull { max_held } => format!("{max_held} callers waited already (max_held)").into(),
        Refusal::Overloaded => "as many callers waited in all as may".into(),
        Refusal::ResumeFailed { failure, .. } => {
            format!("it did not start: {}: {}", failure.class.as_str(), failure.detail).into()
        }
        Refusal::HoldTimedOut { waiting_for } => format!("their time was up while {waiting_for}").into(),
        Refusal::Gone => "it was deleted while they waited".into(),
        Refusal::ShuttingDown => "Drowse was about to end".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Failure, FailureClass, Start};

    fn key(name: &str) -> AgentKey {
        AgentKey::new("default", name)
    }

    fn woken(millis: u64) -> Transition {
        let resume = Duration::from_millis(millis);
        Transition::Resumed(Start { cold: true, resume, probe: Duration::ZERO })
    }

    fn at(second: u64) -> Moment {
        Moment::from_micros(second * 1_000_000)
    }

    #[tokio::test]
    async fn wakes_are_counted_in_percentiles_and_the_last_ones_are_listed() {
        let history = History::default();
        for millis in 1..=200 {
            history.note(&key("echo"), at(millis), &woken(millis));
        }
        history.note(&key("echo"), at(300), &Transition::Resumed(Start { cold: false, ..Start::default() }));
        let failure = Failure::new(FailureClass::Crash, "exit status 1");
        let failed = |took| Transition::Failed { failure: failure.clone(), retry_in: Duration::ZERO, took };
        history.note(&key("bad"), at(301), &failed(Some(Duration::ZERO)));
        history.note(&key("bad"), at(302), &failed(None));
        let wakes = history.wakes(Clock::start());
        assert_eq!((wakes.count, wakes.failed), (200, 1), "neither warm ones nor agents that die later");
        assert_eq!((wakes.p50_ms, wakes.p90_ms, wakes.p99_ms), (Some(100.0), Some(180.0), Some(198.0)));
        assert_eq!((wakes.last.len(), wakes.last[0].took_ms), (SHOWN_WAKES, 200.0));
        let (echo, bad) = (key("echo"), key("bad"));
        assert_eq!(history.last_wakes([&echo, &bad].into_iter()), HashMap::from([(echo, 200.0)]));
    }

    #[tokio::test]
    async fn without_a_wake_there_are_no_percentiles() {
        let wakes = History::default().wakes(Clock::start());
        assert_eq!((wakes.count, wakes.p50_ms, wakes.p99_ms), (0, None, None));
        assert_eq!(percentile(&[Duration::ZERO], 1), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn one_agent_is_told_of_newest_first_and_forgotten_with_it() {
        let history = History::default();
        history.note(&key("echo"), at(1), &woken(5));
        history.note(&key("other"), at(2), &woken(6));
        history.note(&key("echo"), at(3), &Transition::Suspended(SuspendedBy::Idle));
        let told = |name| -> Vec<String> {
            history.of(&key(name), Clock::start()).into_iter().map(|happening| happening.what).collect()
        };
        assert_eq!(told("echo"), ["suspended by Drowse", "came up"]);
        history.forget(&key("echo"));
        assert_eq!((told("echo").len(), told("other").len()), (0, 1));
    }

    #[tokio::test]
    async fn a_flood_makes_nothing_grow_and_pushes_out_no_other_reason() {
        let history = History::default();
        history.note_refusal(&key("echo"), at(1), &Refusal::Asleep);
        for second in 2..10_000 {
            history.note(&key("echo"), at(second), &woken(second));
            history.note_refusal(&key("echo"), at(second), &Refusal::QueueFull { max_held: 7 });
        }
        let refusals = history.refusals_of(&key("echo"), Clock::start());
        let shown: Vec<_> = refusals.iter().map(|refusal| (refusal.times, refusal.why.as_str())).collect();
        assert_eq!(
            shown,
            [
                (9_998, "7 callers waited already (max_held)"),
                (1, "it sleeps, and their path is one that must not wake it")
            ]
        );
        for agent in 0..1_000 {
            history.note_refusal(&key(&format!("a{agent}")), at(1), &Refusal::Asleep);
        }
        assert_eq!(history.refusals.lock().len(), MAX_REFUSALS);
        assert_eq!(history.happenings.lock().len(), MAX_HAPPENINGS);
    }
}
