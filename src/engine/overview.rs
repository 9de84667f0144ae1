//! The fleet at a glance, and one page of its agents. Each agent is looked at for a moment, and only those that are
//! shown are described: an operator's page asks every few seconds, whatever the size of the fleet.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::agent::AgentKey;
use crate::lifecycle::PhaseName;
use crate::time::Moment;

use super::elsewhere::Counts;
use super::snapshot::{AgentRow, Overview, PhaseCount};
use super::view::human;
use super::{Engine, Slot};

/// A choice of more is none: whoever has more namespaces types the name.
const MAX_NAMESPACES: usize = 200;

/// Which agents are wanted, in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// `namespace/name` contains all of these. In lower case, as names are.
    pub words: Vec<String>,
    /// In this namespace.
    pub namespace: Option<String>,
    /// In this phase.
    pub phase: Option<PhaseName>,
    /// What they are ordered by; then by name.
    pub sort: Sort,
    /// The largest, latest or last first.
    pub descending: bool,
    /// So many are skipped.
    pub offset: usize,
    /// So many at most; all if there is no limit.
    pub limit: Option<usize>,
}

/// What agents are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Namespace, then name.
    #[default]
    Name,
    /// The phase, as [`PhaseName`] lists them.
    Phase,
    /// Since when it is in its phase.
    Since,
    /// Its last activity. One that was never active comes before all others.
    Activity,
    /// How many callers and messages wait for it.
    Waiting,
    /// Requests in flight.
    InFlight,
}

impl Sort {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("name", Self::Name),
        ("phase", Self::Phase),
        ("since", Self::Since),
        ("activity", Self::Activity),
        ("waiting", Self::Waiting),
        ("inFlight", Self::InFlight),
    ];
}

/// What is known of an agent at a glance.
struct Glance {
    slot: Arc<Slot>,
    phase: PhaseName,
    since: Moment,
    active: Moment,
    held: u32,
    messages: u32,
    in_flight: u32,
}

impl Glance {
    const fn waiting(&self) -> u32 {
        self.held.saturating_add(self.messages)
    }
}

impl Query {
    fn wants(&self, glance: &Glance, text: &mut String) -> bool {
        let key = glance.slot.key();
        if self.namespace.as_ref().is_some_and(|namespace| namespace != key.namespace()) {
            return false;
        }
        text.clear();
        text.extend([key.namespace(), "/", key.name()]);
        self.words.iter().all(|word| text.contains(word.as_str()))
    }

    fn order(&self, a: &Glance, b: &Glance) -> Ordering {
        let ordered = match self.sort {
            Sort::Name => a.slot.key().cmp(b.slot.key()),
            Sort::Phase => (a.phase as u8).cmp(&(b.phase as u8)),
            Sort::Since => a.since.cmp(&b.since),
            Sort::Activity => a.active.cmp(&b.active),
            Sort::Waiting => a.waiting().cmp(&b.waiting()),
            Sort::InFlight => a.in_flight.cmp(&b.in_flight),
        };
        let ordered = if self.descending { ordered.reverse() } else { ordered };
        ordered.then_with(|| a.slot.key().cmp(b.slot.key()))
    }

    /// The wanted part, in order. What comes behind it is not put in order.
    fn page(&self, mut glances: Vec<Glance>) -> Vec<Glance> {
        let end = self.limit.map_or(usize::MAX, |limit| self.offset.saturating_add(limit));
        if end < glances.len() {
            glances.select_nth_unstable_by(end, |a, b| self.order(a, b));
            glances.truncate(end);
        }
        glances.sort_unstable_by(|a, b| self.order(a, b));
        glances.drain(..self.offset.min(glances.len()));
        glances
    }
}

impl Engine {
    /// All agents in sum, and a page of them. Takes some milliseconds for ten thousand.
    pub fn overview(&self, query: &Query) -> Overview {
        let (mut chosen, mut text, mut namespaces) = (Vec::new(), String::new(), BTreeSet::new());
        let (mut total, mut phases) = (0, [0; PhaseName::ALL.len()]);
        let (mut held, mut messages_waiting, mut in_flight) = (0, 0, 0);
        let counts = self.counts_elsewhere();
        for slot in self.table.all() {
            let glance = glance(slot, &counts);
            total += 1;
            held += u64::from(glance.held);
            messages_waiting += u64::from(glance.messages);
            in_flight += u64::from(glance.in_flight);
            if !namespaces.contains(glance.slot.key().namespace()) && namespaces.len() < MAX_NAMESPACES {
                namespaces.insert(glance.slot.key().namespace().to_owned());
            }
            if !query.wants(&glance, &mut text) {
                continue;
            }
            phases[glance.phase as usize] += 1;
            if query.phase.is_none_or(|phase| phase == glance.phase) {
                chosen.push(glance);
            }
        }
        let matched = chosen.len();
        Overview {
            now: self.clock.wall(self.clock.now()),
            started: self.clock.wall(Moment::START),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            notices: self.notices(),
            total,
            phases: PhaseName::ALL.map(|phase| PhaseCount { phase, agents: phases[phase as usize] }).to_vec(),
            held,
            messages_waiting,
            in_flight,
            namespaces: namespaces.into_iter().collect(),
            wakes: self.history.wakes(self.clock),
            matched,
            offset: query.offset,
            agents: self.rows(&query.page(chosen)),
        }
    }

    fn rows(&self, page: &[Glance]) -> Vec<AgentRow> {
        let keys = page.iter().map(|glance| glance.slot.key());
        let wakes = self.history.last_wakes(keys);
        let row = |slot: &Arc<Slot>, key: &AgentKey| AgentRow {
            agent: self.view(slot),
            last_wake_ms: wakes.get(key).copied(),
        };
        page.iter().map(|glance| row(&glance.slot, glance.slot.key())).collect()
    }

    /// What an operator should know before anything else.
    fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        let mut say = |is_so: bool, text: &str| {
            if is_so {
                notices.push(text.to_owned());
            }
        };
        say(self.is_ending(), "Drowse is about to end: it serves whom it has, and suspends nobody.");
        say(!self.is_ready(), "Not all agents are known yet.");
        say(
            self.is_ready() && !self.is_synced(),
            "Not all of what happens can be seen at present, and until then nobody is suspended; the log says why.",
        );
        say(
            !self.roles.takes_part(),
            "This replica does not take part in suspensions at present: it cannot reach the API server, or has just started. The \
             log says more.",
        );
        if let Some(hindrance) = self.roles.seen().hindrance {
            notices.push(format!("Nobody is suspended: {hindrance}."));
        }
        for silent in self.silent_views() {
            notices.push(format!(
                "{} takes part and was not heard of for {}: what is in flight there is not in these numbers.",
                silent.replica,
                human(self.clock.wall(self.clock.now()).duration_since(silent.since).unsigned_abs())
            ));
        }
        notices
    }
}

fn glance(slot: Arc<Slot>, elsewhere: &HashMap<AgentKey, Counts>) -> Glance {
    let machine = slot.machine.lock();
    let (phase, since, active) = (machine.phase().name(), machine.since(), machine.last_activity());
    let held = u32::try_from(machine.held()).unwrap_or(u32::MAX);
    let messages = machine.messages_waiting();
    drop(machine);
    let in_flight = slot.gate().in_flight();
    let there = elsewhere.get(slot.key()).copied().unwrap_or_default();
    Glance {
        phase,
        since,
        active,
        held: held.saturating_add(there.held),
        messages: messages.saturating_add(there.messages),
        in_flight: in_flight.saturating_add(there.in_flight),
        slot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Profile;
    use crate::policy::Policy;

    fn glance(key: &str, phase: PhaseName, active: u64, held: u32) -> Glance {
        let slot = Slot::new(
            key.parse().unwrap(),
            Arc::new(Profile::default()),
            Arc::new(Policy::default()),
            Moment::START,
        );
        let active = Moment::from_micros(active);
        Glance { slot: Arc::new(slot), phase, since: active, active, held, messages: 0, in_flight: 0 }
    }

    fn glances() -> Vec<Glance> {
        vec![
            glance("team-b/notes", PhaseName::Running, 30, 0),
            glance("team-a/notes", PhaseName::Suspended, 0, 2),
            glance("team-a/echo", PhaseName::Running, 20, 0),
            glance("team-a/batch", PhaseName::Resuming, 10, 7),
        ]
    }

    fn names(glances: &[Glance]) -> Vec<String> {
        glances.iter().map(|glance| glance.slot.key().to_string()).collect()
    }

    fn page(sort: Sort, descending: bool, offset: usize, limit: Option<usize>) -> Vec<String> {
        names(&Query { sort, descending, offset, limit, ..Query::default() }.page(glances()))
    }

    #[test]
    fn agents_come_in_the_order_that_is_asked_for_and_by_name_where_that_leaves_it_open() {
        assert_eq!(
            page(Sort::Name, false, 0, None),
            ["team-a/batch", "team-a/echo", "team-a/notes", "team-b/notes"]
        );
        assert_eq!(
            page(Sort::Activity, true, 0, None),
            ["team-b/notes", "team-a/echo", "team-a/batch", "team-a/notes"]
        );
        assert_eq!(
            page(Sort::Waiting, true, 0, None),
            ["team-a/batch", "team-a/notes", "team-a/echo", "team-b/notes"]
        );
        assert_eq!(
            page(Sort::Phase, false, 0, None),
            ["team-a/echo", "team-b/notes", "team-a/notes", "team-a/batch"]
        );
    }

    #[test]
    fn every_agent_is_on_exactly_one_page() {
        for size in 1..6 {
            let pages = (0..5).flat_map(|number| page(Sort::Activity, false, number * size, Some(size)));
            assert_eq!(pages.collect::<Vec<_>>(), page(Sort::Activity, false, 0, None), "{size}");
        }
        assert_eq!(page(Sort::Name, false, usize::MAX, Some(usize::MAX)), [""; 0]);
    }

    #[test]
    fn all_words_must_be_in_the_name_or_the_namespace() {
        let found = |words: &[&str], namespace: Option<&str>| {
            let words = words.iter().map(ToString::to_string).collect();
            let query = Query { words, namespace: namespace.map(str::to_owned), ..Query::default() };
            let mut glances = glances();
            glances.retain(|glance| query.wants(glance, &mut String::new()));
            names(&glances)
        };
        assert_eq!(found(&["notes"], None), ["team-b/notes", "team-a/notes"]);
        assert_eq!(found(&["notes", "team-a"], None), ["team-a/notes"]);
        assert_eq!(found(&["a/e"], None), ["team-a/echo"]);
        assert_eq!(found(&["notes"], Some("team-b")), ["team-b/notes"]);
        assert_eq!(found(&["notes"], Some("team")), [""; 0]);
    }
}
