//! Many agents in an engine that nobody runs, named and identified as on a cluster.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use drowse::agent::{AgentKey, PodUid, Revision};
use drowse::backend::{BackendEvent, Profile};
use drowse::engine::bare::Bare;
use drowse::engine::{Engine, Slot};
use drowse::lifecycle::{AgentSeen, Mode};

use crate::seen;

/// Agents in one namespace.
const PER_NAMESPACE: usize = 1_000;

/// The port that they answer on.
const PORT: u16 = 8080;

/// An engine and its agents, numbered from zero.
pub struct Fleet {
    bare: Bare,
    /// Of the agent that was new last, shared with those before it as a backend shares it.
    namespace: Arc<str>,
    profile: Arc<Profile>,
}

impl Fleet {
    /// No agents yet.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { bare: Bare::new(engine), namespace: "".into(), profile: Arc::default() }
    }

    /// The engine.
    pub const fn engine(&self) -> &Arc<Engine> {
        self.bare.engine()
    }

    /// An agent that sleeps. Agents are added in the order of their numbers.
    pub fn add_sleeping(&mut self, number: usize) {
        let namespace = namespace(number);
        if *self.namespace != *namespace {
            self.namespace = namespace.into();
        }
        let key = AgentKey::new(Arc::clone(&self.namespace), name(number));
        let (seen, profile) = (object(number, Mode::Suspended), Arc::clone(&self.profile));
        self.bare.observe(BackendEvent::Agent { key, seen, profile });
    }

    /// Brings an agent up, whether it is there already or not.
    pub fn bring_up(&self, number: usize) -> Arc<Slot> {
        let object = object(number, Mode::Running);
        let pod = seen::pod(PodUid(uid(number, "b0d1").into()), &object, Revision(3), address(number));
        self.bare.bring_up(&key(number), object, pod, PORT).expect("it is up")
    }

    /// Ticks this many agents, those that are due first.
    pub fn tick_earliest(&self, agents: usize) -> usize {
        self.bare.tick_earliest(agents)
    }
}

/// The name of an agent, in memory of its own: as whoever looks one up has it.
pub fn key(number: usize) -> AgentKey {
    AgentKey::new(namespace(number), name(number))
}

fn namespace(number: usize) -> String {
    format!("tenant-{:04}", number / PER_NAMESPACE)
}

fn name(number: usize) -> String {
    format!("agent-{number:07}")
}

/// Of the length of those in a cluster.
fn uid(number: usize, group: &str) -> String {
    format!("{number:08x}-77b3-{group}-a3ce-929d0e0e4736")
}

fn address(number: usize) -> IpAddr {
    let [_, high, middle, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, high, middle, low))
}

fn object(number: usize, mode: Mode) -> AgentSeen {
    // A resume is a change of what was there.
    let revision = if mode == Mode::Suspended { 1 } else { 2 };
    seen::agent(&uid(number, "4da6"), revision, mode)
}

#[cfg(test)]
mod tests {
    use drowse::lifecycle::PhaseName;

    use super::*;
    use crate::world;

    #[test]
    fn agents_sleep_until_they_are_brought_up_and_are_found_by_their_names() {
        let mut fleet = Fleet::new(world::engine(world::policy()));
        for number in 0..3 {
            fleet.add_sleeping(number);
        }
        let slept = fleet.engine().slot(&key(1)).unwrap();
        assert_eq!((slept.phase(), slept.enter(fleet.engine()).is_some()), (PhaseName::Suspended, false));
        let up = fleet.bring_up(1);
        assert!(Arc::ptr_eq(&slept, &up) && up.enter(fleet.engine()).is_some());
        assert!(fleet.engine().slot(&key(3)).is_none());
        fleet.bring_up(3);
        assert_eq!(fleet.engine().slots().len(), 4);
    }

    #[test]
    fn each_agent_that_is_up_is_looked_at_when_all_are() {
        let mut fleet = Fleet::new(world::engine(world::policy()));
        for number in 0..5 {
            fleet.add_sleeping(number);
            if number != 2 {
                fleet.bring_up(number);
            }
        }
        assert_eq!(fleet.tick_earliest(3), 3);
        assert_eq!((fleet.tick_earliest(4), fleet.tick_earliest(0)), (4, 0));
    }

    #[test]
    fn names_and_addresses_are_of_the_usual_length_and_differ() {
        assert_eq!(key(1_234).to_string(), "tenant-0001/agent-0001234");
        assert_eq!(uid(7, "4da6").len(), 36);
        assert_ne!(address(1), address(257));
    }
}
