//! The activity of all replicas in one view: what the others say of their part is noted here, and what happens here is put
//! together for them. Nothing here decides whether an agent may be suspended: before that, everybody is asked (`roles`).
//!
//! Lock order: the locks of this module are the last ones; no other is taken while one of them is held.

mod ledger;
mod report;
mod telling;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::agent::AgentKey;
use crate::lifecycle::PhaseName;
use crate::metrics::ReplicaWord;
use crate::policy::idle::Source;
use crate::time::Moment;

use super::Engine;
use super::snapshot::{ElsewhereView, SilentView};

use ledger::{Ledger, Use};
use telling::Told;

pub use ledger::{BELIEVED_FOR, Other};
pub(super) use ledger::{Past, Share, Silent};
pub use report::{LeaseReport, News, Report};

/// What replicas know of each other.
#[derive(Default)]
pub(super) struct Elsewhere {
    ledger: Mutex<Ledger>,
    /// Agents that are up, or were until lately, and what was told of them last.
    awake: Mutex<HashMap<AgentKey, Told>>,
    /// Somebody is told, and what sleeps is taken out of `awake` then.
    tells: AtomicBool,
    /// A lease has changed that the others are to be told of at once.
    pub(super) lease_changed: Notify,
}

/// Callers, requests and messages at all other replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) in_flight: u32,
    pub(super) held: u32,
    pub(super) messages: u32,
}

impl Elsewhere {
    /// The phase of an agent has changed.
    pub(super) fn note_phase(&self, key: &AgentKey, phase: PhaseName) {
        if !is_asleep(phase) {
            self.awake.lock().entry(key.clone()).or_default();
        } else if !self.tells.load(Ordering::Relaxed) {
            self.awake.lock().remove(key);
        }
    }

    pub(super) fn forget(&self, key: &AgentKey) {
        self.awake.lock().remove(key);
        self.ledger.lock().forget(key);
    }

    pub(super) fn set_others(&self, others: &[Other], now: Moment) -> Vec<AgentKey> {
        self.ledger.lock().set_others(others, now)
    }

    pub(super) fn shares(&self, key: &AgentKey, now: Moment) -> Vec<Share> {
        self.ledger.lock().shares(key, now)
    }

    pub(super) fn silent(&self, now: Moment) -> Vec<Silent> {
        self.ledger.lock().silent(now)
    }
}

impl Counts {
    pub(super) fn of(shares: &[Share]) -> Self {
        shares.iter().fold(Self::default(), |sum, share| Self {
            in_flight: sum.in_flight.saturating_add(share.said.in_flight),
            held: sum.held.saturating_add(share.said.held),
            messages: sum.messages.saturating_add(share.said.messages),
        })
    }
}

impl Engine {
    /// A message of another replica. Whether the replica should be asked to say all that it knows.
    pub fn heard_from(self: &Arc<Self>, replica: &str, news: &News) -> bool {
        let now = self.clock.now();
        let Some(heard) = self.elsewhere.ledger.lock().hear(replica, &news.run, news.number, now) else {
            self.metrics.replica_word(ReplicaWord::Stranger);
            return false;
        };
        self.lost_elsewhere(&heard.lost);
        for report in &news.agents {
            let word = self.heard_of_agent(replica, report, now);
            self.metrics.replica_word(word);
        }
        for report in &news.leases {
            let word = self.heard_of_lease(report, now);
            self.metrics.replica_word(word);
        }
        heard.missed
    }

    fn heard_of_agent(self: &Arc<Self>, replica: &str, report: &Report, now: Moment) -> ReplicaWord {
        let Ok(key) = report.agent.parse::<AgentKey>() else { return ReplicaWord::Malformed };
        let Some(slot) = self.slot(&key) else { return ReplicaWord::UnknownAgent };
        let ago = report.active_ago.map(Duration::from_millis);
        let active = ago.map(|ago| (Past::ago(ago, now), source(&report.source)));
        let said = Use {
            in_flight: report.in_flight,
            held: report.held,
            messages: report.messages,
            connections: report.connections,
            is_kept: report.kept,
            active,
        };
        let is_up = !is_asleep(slot.phase());
        let mut ledger = self.elsewhere.ledger.lock();
        ledger.note(replica, &key, said, is_up, now);
        let used_until = ledger.used_until(&key);
        drop(ledger);
        let activity = slot.activity();
        if let Some((active, _)) = active {
            activity.note_elsewhere(active.at);
        }
        let before = activity.used_elsewhere_until();
        activity.set_used_elsewhere_until(used_until.unwrap_or(Moment::START));
        if used_until.is_none() && before > now {
            // The idle timeout runs from its last activity, which may be sooner over than what was believed.
            self.activity_changed(&slot);
        }
        ReplicaWord::Heard
    }

    /// What was in use there is no more, and nobody says since when.
    pub(super) fn lost_elsewhere(self: &Arc<Self>, keys: &[AgentKey]) {
        let now = self.clock.now();
        for slot in keys.iter().filter_map(|key| self.slot(key)) {
            let activity = slot.activity();
            let until = self.elsewhere.ledger.lock().used_until(slot.key());
            let until = until.unwrap_or_else(|| activity.used_elsewhere_until().min(now));
            activity.set_used_elsewhere_until(until);
            self.activity_changed(&slot);
        }
    }

    /// A message of another replica cannot be read.
    pub fn heard_nonsense(&self) {
        self.metrics.replica_word(ReplicaWord::Malformed);
    }

    /// Nobody can be told anything at present: whoever can be later is told everything ([`Engine::reports`]).
    pub fn tells_nobody(&self) {
        self.elsewhere.tells.store(false, Ordering::Relaxed);
        // Or it would grow for as long as nobody hears.
        self.leases.forget_untold();
    }

    /// Whether there is another replica to tell anything.
    pub fn has_others(&self) -> bool {
        !self.elsewhere.ledger.lock().is_alone()
    }

    /// Waits until a lease has changed of which the others should hear at once.
    pub async fn lease_changed(&self) {
        self.elsewhere.lease_changed.notified().await;
    }

    /// What is in use elsewhere, of all agents of which anything is.
    pub(super) fn counts_elsewhere(&self) -> HashMap<AgentKey, Counts> {
        let now = self.clock.now();
        let ledger = self.elsewhere.ledger.lock();
        ledger.keys().map(|key| (key.clone(), Counts::of(&ledger.shares(key, now)))).collect()
    }

    pub(super) fn elsewhere_views(&self, shares: &[Share]) -> Vec<ElsewhereView> {
        let view = |share: &Share| {
            let said = &share.said;
            let active = said.active;
            ElsewhereView {
                replica: share.pod.to_string(),
                in_flight: said.in_flight,
                held: said.held,
                messages_waiting: said.messages,
                open_connections: said.connections,
                last_activity: active.map(|(past, _)| self.clock.wall_before(past.at, past.before)),
                source: active.map(|(_, source)| source.to_owned()),
                heard: self.clock.wall(share.told),
            }
        };
        shares.iter().map(view).collect()
    }

    pub(super) fn silent_views(&self) -> Vec<SilentView> {
        let silent = self.elsewhere.silent(self.clock.now());
        let view = |it: Silent| SilentView { replica: it.pod.to_string(), since: self.clock.wall(it.since) };
        silent.into_iter().map(view).collect()
    }
}

/// What keeps it up by way of others, in words: `2 requests in flight at drowse-b`.
pub(super) fn in_words(shares: &[Share]) -> Option<String> {
    let words = |share: &Share| {
        let (pod, said) = (&share.pod, &share.said);
        let mut parts = Vec::new();
        match said.in_flight {
            0 => {}
            1 => parts.push("1 request in flight".to_owned()),
            n => parts.push(format!("{n} requests in flight")),
        }
        if said.held > 0 {
            parts.push(format!("{} waiting", said.held));
        }
        if parts.is_empty() && said.is_kept {
            parts.push("in use".to_owned());
        }
        (!parts.is_empty()).then(|| format!("{} at {pod}", parts.join(", ")))
    };
    let all: Vec<_> = shares.iter().filter_map(words).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Whether nothing is to be told of agents in this phase that are not in use.
fn is_asleep(phase: PhaseName) -> bool {
    matches!(phase, PhaseName::Suspended | PhaseName::Unknown)
}

/// What an agent's last activity was, as far as this version knows the word.
fn source(name: &str) -> &'static str {
    let known = telling::SOURCES.iter().copied().find(|source| source.as_str() == name);
    known.map_or("activity", Source::as_str)
}
