//! What this replica tells the others: of agents that are up what has changed, and what goes on often enough to be believed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::agent::AgentKey;
use crate::engine::{Engine, Slot};
use crate::policy::idle::{Says, Source};
use crate::time::{Clock, Moment};

use super::is_asleep;
use super::report::Report;

/// How often it is said again that an agent is in use.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// What counts as activity of an agent here. The rest is known to every replica by itself, or came from others.
pub(super) const SOURCES: [Source; 5] =
    [Source::Requests, Source::Messages, Source::Connections, Source::Unanswered, Source::Ping];

/// What was told of an agent last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// `None`: nothing that all others have heard.
    at: Option<Moment>,
    said: Here,
}

/// How an agent is used by way of this replica.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Here {
    in_flight: u32,
    held: u32,
    messages: u32,
    connections: u32,
    is_kept: bool,
    active: Moment,
    source: Option<Source>,
}

impl Here {
    const fn is_busy(&self) -> bool {
        self.in_flight > 0 || self.held > 0 || self.is_kept
    }

    /// Whether others know this already, and believe it for a while yet.
    fn is_known(&self, told: &Told, now: Moment) -> bool {
        match told.at {
            None => *self == Self::default() && told.said == Self::default(),
            Some(at) => *self == told.said && !(self.is_busy() && at + AGAIN_AFTER <= now),
        }
    }

    fn report(&self, key: &AgentKey, now: Moment) -> Report {
        let ago = |active| u64::try_from(now.since(active).as_millis()).unwrap_or(u64::MAX);
        Report {
            agent: key.to_string(),
            in_flight: self.in_flight,
            held: self.held,
            messages: self.messages,
            connections: self.connections,
            kept: self.is_kept,
            active_ago: (self.active > Moment::START).then(|| ago(self.active)),
            source: self.source.map(|source| source.as_str().to_owned()).unwrap_or_default(),
        }
    }
}

impl Engine {
    /// What the others should hear of agents, of `limit` agents at most: what they were not told for longest goes first. With `whole`
    /// they know nothing. Looks at every agent that is up, so not where requests are served. One call at a time.
    pub fn reports(&self, whole: bool, limit: usize) -> Vec<Report> {
        let now = self.clock.now();
        self.elsewhere.tells.store(true, Ordering::Relaxed);
        // Not locked while agents are.
        let mut awake = std::mem::take(&mut *self.elsewhere.awake.lock());
        let mut asleep = Vec::new();
        let mut due = Vec::new();
        for (key, told) in &mut awake {
            if whole {
                told.at = None;
            }
            let Some(slot) = self.slot(key) else {
                asleep.push(key.clone());
                continue;
            };
            let here = here(&slot, now);
            if !here.is_known(told, now) {
                due.push((told.at, key.clone(), here));
            } else if !here.is_busy() && is_asleep(slot.phase()) {
                asleep.push(key.clone());
            }
        }
        if due.len() > limit {
            due.select_nth_unstable_by_key(limit, |(at, _, here)| (*at, Reverse(here.is_busy())));
            due.truncate(limit);
        }
        let mut reports = Vec::with_capacity(due.len());
        for (_, key, said) in due {
            reports.push(said.report(&key, now));
            awake.insert(key, Told { at: Some(now), said });
        }
        for key in &asleep {
            awake.remove(key);
            self.elsewhere.ledger.lock().forget(key);
        }
        self.put_back(awake);
        reports
    }

    /// What has come meanwhile is told later.
    fn put_back(&self, awake: HashMap<AgentKey, Told>) {
        let mut kept = self.elsewhere.awake.lock();
        let meanwhile = std::mem::replace(&mut *kept, awake);
        for (key, told) in meanwhile {
            kept.entry(key).or_insert(told);
        }
    }
}

/// How the agent is used here.
fn here(slot: &Arc<Slot>, now: Moment) -> Here {
    let policy = slot.policy();
    let machine = slot.machine.lock();
    let signals = machine.signals(&policy, now, Clock::calendar());
    let (held, messages, connections) =
        (machine.held(), machine.messages_waiting(), machine.open_connections());
    drop(machine);
    let mut here = Here {
        in_flight: slot.gate().in_flight(),
        held: u32::try_from(held).unwrap_or(u32::MAX),
        messages,
        connections,
        ..Here::default()
    };
    let mut active = |at: Moment, source| {
        if at > here.active {
            (here.active, here.source) = (at, Some(source));
        }
    };
    active(slot.gate().last_activity(), Source::Requests);
    for signal in signals.iter().filter(|signal| SOURCES.contains(&signal.source)) {
        match signal.says {
            Says::LastActive(at) => active(at, signal.source),
            Says::Busy => {}
            Says::BusyUntil(until) => here.is_kept |= until > now,
        }
    }
    here
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    #[test]
    fn what_has_not_changed_is_not_told_again_unless_it_would_be_forgotten() {
        let idle = Here { active: at(5), source: Some(Source::Requests), ..Here::default() };
        let busy = Here { in_flight: 1, ..idle.clone() };
        let told = |said: &Here| Told { at: Some(at(10)), said: said.clone() };
        assert!(idle.is_known(&told(&idle), at(1000)), "past activity does not change");
        assert!(busy.is_known(&told(&busy), at(12)) && !busy.is_known(&told(&busy), at(13)));
        assert!(!idle.is_known(&told(&busy), at(11)) && !busy.is_known(&told(&idle), at(11)));
        assert!(
            Here::default().is_known(&Told::default(), at(1)),
            "of what was never used there is nothing to tell"
        );
        assert!(!idle.is_known(&Told::default(), at(6)));
        let before = Told { at: None, said: busy };
        assert!(!Here::default().is_known(&before, at(11)), "some may still believe that it is in use");
        assert!(AGAIN_AFTER * 3 < super::super::BELIEVED_FOR, "two words may be lost");
    }

    #[test]
    fn lengths_of_time_are_told_and_no_times() {
        let here = Here { held: 2, active: at(5), source: Some(Source::Messages), ..Here::default() };
        let report = here.report(&AgentKey::new("default", "echo"), at(7));
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"agent":"default/echo","held":2,"active_ago":2000,"source":"messages"}"#
        );
    }
}
