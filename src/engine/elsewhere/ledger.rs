//! Pure: what the other replicas have said of agents, and for how long that counts.
//!
//! Only those are heard that stand in the Lease, and only agents that are known here and up have an entry, so it is bounded by
//! both. Whatever was said to be in use ends by itself when it is not said again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::AgentKey;
use crate::time::Moment;

/// How long a replica is believed that says nothing more: three of its words may be lost.
pub const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// Another replica that takes part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Other {
    /// By which it is known among replicas.
    pub id: Arc<str>,
    /// The name of its pod, for people.
    pub pod: Arc<str>,
}

/// When something was, also if that is before this replica started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::engine) struct Past {
    pub(in crate::engine) at: Moment,
    /// How long before `at`; zero unless that is the start.
    pub(in crate::engine) before: Duration,
}

impl Past {
    /// So long before now.
    pub(in crate::engine) fn ago(ago: Duration, now: Moment) -> Self {
        Self { at: now - ago, before: ago.saturating_sub(now.since(Moment::START)) }
    }
}

/// How one agent is used by way of one replica.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::engine) struct Use {
    pub(in crate::engine) in_flight: u32,
    pub(in crate::engine) held: u32,
    pub(in crate::engine) messages: u32,
    pub(in crate::engine) connections: u32,
    /// Something else keeps it up there: connections that are kept, an answer that it owes.
    pub(in crate::engine) is_kept: bool,
    /// Its last activity, and what that was.
    pub(in crate::engine) active: Option<(Past, &'static str)>,
}

impl Use {
    /// Whether it is in use now.
    pub(in crate::engine) const fn is_busy(&self) -> bool {
        self.in_flight > 0 || self.held > 0 || self.is_kept
    }
}

/// What one replica said of one agent last.
struct Entry {
    replica: Arc<str>,
    told: Moment,
    said: Use,
}

impl Entry {
    fn believed_until(&self) -> Moment {
        self.told + BELIEVED_FOR
    }
}

struct Replica {
    pod: Arc<str>,
    /// Since when it takes part, as seen here.
    since: Moment,
    heard: Option<Moment>,
    /// Its process, and the number of its last message.
    run: String,
    number: u64,
}

/// What follows from a message, whatever is in it.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::engine) struct Heard {
    /// Some before it were not heard.
    pub(in crate::engine) missed: bool,
    /// Agents that were in use by way of the process before this one.
    pub(in crate::engine) lost: Vec<AgentKey>,
}

/// One replica's part in the use of an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::engine) struct Share {
    pub(in crate::engine) pod: Arc<str>,
    pub(in crate::engine) said: Use,
    pub(in crate::engine) told: Moment,
}

/// A replica that was not heard of for too long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::engine) struct Silent {
    pub(in crate::engine) pod: Arc<str>,
    /// Since when nothing is known of what it does.
    pub(in crate::engine) since: Moment,
}

/// All that the others have said.
#[derive(Default)]
pub(in crate::engine) struct Ledger {
    others: BTreeMap<Arc<str>, Replica>,
    agents: HashMap<AgentKey, Vec<Entry>>,
}

impl Ledger {
    /// Who takes part now. Gives the agents of which one had said something that does not any more.
    pub(in crate::engine) fn set_others(&mut self, others: &[Other], now: Moment) -> Vec<AgentKey> {
        let gone: Vec<_> =
            self.others.keys().filter(|id| others.iter().all(|it| it.id != **id)).cloned().collect();
        let lost = gone.iter().flat_map(|id| self.take_out(id)).collect();
        self.others.retain(|id, _| !gone.contains(id));
        for other in others {
            self.others.entry(Arc::clone(&other.id)).or_insert_with(|| Replica {
                pod: Arc::clone(&other.pod),
                since: now,
                heard: None,
                run: String::new(),
                number: 0,
            });
        }
        lost
    }

    /// Whether there is anybody else.
    pub(in crate::engine) fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    /// A message of this replica has come, with the number that it has in this run of the replica. `None` if it does not take part.
    pub(in crate::engine) fn hear(&mut self, id: &str, run: &str, number: u64, now: Moment) -> Option<Heard> {
        let replica = self.others.get_mut(id)?;
        replica.heard = Some(now);
        let same = replica.run == run;
        let expected = if same { replica.number.wrapping_add(1) } else { 0 };
        replica.number = number;
        if !same {
            run.clone_into(&mut replica.run);
        }
        let lost = if same { Vec::new() } else { self.take_out(id) };
        Some(Heard { missed: number != expected, lost })
    }

    /// This replica says this of an agent. One that sleeps has an entry only while something there waits for it.
    pub(in crate::engine) fn note(&mut self, id: &str, key: &AgentKey, said: Use, is_up: bool, now: Moment) {
        let Some((id, _)) = self.others.get_key_value(id) else { return };
        let entries = self.agents.entry(key.clone()).or_default();
        entries.retain(|entry| entry.replica != *id);
        if is_up || said.is_busy() {
            entries.push(Entry { replica: Arc::clone(id), told: now, said });
        }
        if entries.is_empty() {
            self.agents.remove(key);
        }
    }

    /// Until when the agent counts as in use elsewhere, if nothing more is said; `None` if nobody says so.
    pub(in crate::engine) fn used_until(&self, key: &AgentKey) -> Option<Moment> {
        let entries = self.agents.get(key)?.iter().filter(|entry| entry.said.is_busy());
        entries.map(Entry::believed_until).max()
    }

    /// It sleeps, or is gone.
    pub(in crate::engine) fn forget(&mut self, key: &AgentKey) {
        self.agents.remove(key);
    }

    /// How the agent is used by way of each other replica. Of one that is silent only what is past is left.
    pub(in crate::engine) fn shares(&self, key: &AgentKey, now: Moment) -> Vec<Share> {
        let entries = self.agents.get(key).into_iter().flatten();
        let share = |entry: &Entry| {
            let replica = self.others.get(&entry.replica)?;
            let mut said = entry.said.clone();
            if entry.believed_until() <= now {
                said = Use { active: said.active, ..Use::default() };
            }
            Some(Share { pod: Arc::clone(&replica.pod), said, told: entry.told })
        };
        let mut shares: Vec<_> = entries.filter_map(share).collect();
        shares.sort_by(|a, b| a.pod.cmp(&b.pod));
        shares
    }

    /// Agents of which anything is known.
    pub(in crate::engine) fn keys(&self) -> impl Iterator<Item = &AgentKey> {
        self.agents.keys()
    }

    /// Those who take part and are not heard of.
    pub(in crate::engine) fn silent(&self, now: Moment) -> Vec<Silent> {
        let since = |replica: &Replica| replica.heard.unwrap_or(replica.since);
        let silent = self.others.values().filter(|replica| since(replica) + BELIEVED_FOR <= now);
        silent.map(|replica| Silent { pod: Arc::clone(&replica.pod), since: since(replica) }).collect()
    }

    /// Takes out what this replica has said.
    fn take_out(&mut self, id: &str) -> Vec<AgentKey> {
        let mut lost = Vec::new();
        self.agents.retain(|key, entries| {
            if entries.iter().any(|entry| *entry.replica == *id && entry.said.is_busy()) {
                lost.push(key.clone());
            }
            entries.retain(|entry| *entry.replica != *id);
            !entries.is_empty()
        });
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn key(name: &str) -> AgentKey {
        AgentKey::new("default", name)
    }

    fn other(id: &str) -> Other {
        Other { id: id.into(), pod: format!("drowse-{id}").into() }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.set_others(&[other("a"), other("b")], at(0)), []);
        ledger
    }

    fn used(in_flight: u32) -> Use {
        Use { in_flight, ..Use::default() }
    }

    fn shown(ledger: &Ledger, name: &str, now: u64) -> Vec<(String, u32)> {
        let shares = ledger.shares(&key(name), at(now));
        shares.into_iter().map(|share| (share.pod.to_string(), share.said.in_flight)).collect()
    }

    #[test]
    fn what_each_replica_says_is_kept_apart_and_ends_when_it_is_not_said_again() {
        let mut ledger = ledger();
        ledger.note("a", &key("echo"), used(2), true, at(1));
        ledger.note("b", &key("echo"), used(1), true, at(5));
        ledger.note("a", &key("echo"), used(3), true, at(6));
        assert_eq!(shown(&ledger, "echo", 7), [("drowse-a".to_owned(), 3), ("drowse-b".to_owned(), 1)]);
        assert_eq!(ledger.used_until(&key("echo")), Some(at(16)));
        assert_eq!(shown(&ledger, "echo", 15), [("drowse-a".to_owned(), 3), ("drowse-b".to_owned(), 0)]);
        ledger.note("a", &key("echo"), used(0), true, at(8));
        assert_eq!(ledger.used_until(&key("echo")), Some(at(15)));
        ledger.note("b", &key("echo"), used(0), true, at(9));
        assert_eq!(ledger.used_until(&key("echo")), None);
    }

    #[test]
    fn past_activity_stays_when_a_replica_falls_silent() {
        let mut ledger = ledger();
        let past = Past::ago(Duration::from_secs(30), at(20));
        assert_eq!(past, Past { at: at(0), before: Duration::from_secs(10) });
        let active = Some((past, "requests"));
        ledger.note("a", &key("echo"), Use { active, ..used(1) }, true, at(20));
        let share = &ledger.shares(&key("echo"), at(1000))[0];
        assert_eq!((share.said.in_flight, share.said.active), (0, active));
    }

    #[test]
    fn strangers_are_not_heard_and_agents_that_sleep_have_no_entry() {
        let mut ledger = ledger();
        assert_eq!(ledger.hear("x", "run", 0, at(1)), None);
        ledger.note("x", &key("echo"), used(1), true, at(1));
        ledger.note("a", &key("echo"), used(0), false, at(1));
        assert!(ledger.agents.is_empty());
        ledger.note("a", &key("echo"), Use { held: 1, ..used(0) }, false, at(1));
        assert_eq!(ledger.agents.len(), 1, "somebody waits for it there");
        ledger.note("a", &key("echo"), used(0), false, at(2));
        assert!(ledger.agents.is_empty());
    }

    #[test]
    fn a_gap_shows_and_so_does_a_process_that_started_anew() {
        let mut ledger = ledger();
        let mut hear = |run, number| ledger.hear("a", run, number, at(1)).unwrap();
        let whole = |missed| Heard { missed, lost: Vec::new() };
        assert_eq!(hear("first", 0), whole(false));
        assert_eq!(hear("first", 1), whole(false));
        assert_eq!(hear("first", 3), whole(true));
        assert_eq!(hear("first", 4), whole(false));
        ledger.note("a", &key("echo"), used(1), true, at(1));
        let anew = ledger.hear("a", "second", 0, at(2)).unwrap();
        assert_eq!(anew, Heard { missed: false, lost: vec![key("echo")] }, "its requests ended with it");
        assert_eq!(ledger.used_until(&key("echo")), None);
        assert!(ledger.hear("a", "third", 7, at(2)).unwrap().missed);
    }

    #[test]
    fn who_says_nothing_is_silent_until_it_is_heard_or_takes_part_no_more() {
        let mut ledger = ledger();
        ledger.hear("b", "run", 0, at(5));
        assert_eq!(ledger.silent(at(9)), []);
        let silent = |pod: &str, since| Silent { pod: pod.into(), since: at(since) };
        assert_eq!(ledger.silent(at(10)), [silent("drowse-a", 0)], "never heard");
        assert_eq!(ledger.silent(at(15)), [silent("drowse-a", 0), silent("drowse-b", 5)]);
        ledger.hear("a", "run", 0, at(16));
        ledger.note("b", &key("echo"), used(1), true, at(16));
        assert_eq!(ledger.set_others(&[other("a")], at(17)), [key("echo")], "what it had in flight is over");
        assert_eq!(ledger.silent(at(17)), []);
        assert!(ledger.agents.is_empty() && !ledger.is_alone());
        ledger.set_others(&[], at(18));
        assert!(ledger.is_alone());
    }
}
