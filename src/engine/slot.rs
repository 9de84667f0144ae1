//! One agent: its machine behind a small lock, and beside it what a warm request needs without one.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::agent::{AgentKey, AgentUid, PodUid};
use crate::backend::Profile;
use crate::lifecycle::{Entry, Gate, Machine};
use crate::policy::Policy;
use crate::time::Moment;
use crate::upstream::Upstream;

use super::hold::Caller;
use super::permit::Place;
use super::{Engine, Permit};

/// The port of an agent of which nobody says one.
const DEFAULT_PORT: u16 = 8080;

/// One agent.
pub struct Slot {
    key: AgentKey,
    gate: Arc<Gate>,
    /// Where requests go while the gate is open. Changed only under the machine's lock, set before it opens.
    pub(super) upstream: ArcSwapOption<Upstream>,
    profile: ArcSwap<Profile>,
    policy: ArcSwap<Policy>,
    pub(super) machine: Mutex<Machine<Caller>>,
    pub(super) effects: Mutex<Deferred>,
    /// Callers that ever waited; changed only under the machine's lock.
    pub(super) arrivals: AtomicU64,
    /// Ports that callers who wait have named; probed besides the agent's own.
    pub(super) ports: Mutex<PortsAsked>,
    /// Notified when the phase, the policy or who subscribes has changed.
    pub(super) changed: Notify,
}

/// What belongs to the running of effects, under the effects' lock.
#[derive(Default)]
pub(super) struct Deferred {
    /// Ends the probe under way.
    pub(super) probe: Option<CancellationToken>,
}

/// Ports, and how many callers wait for each.
#[expect(clippy::box_collection, reason = "nobody waits for most agents, and this is 16 bytes less for each")]
#[derive(Default)]
pub(super) struct PortsAsked(Option<Box<BTreeMap<u16, u32>>>);

impl PortsAsked {
    pub(super) fn add(&mut self, port: u16) {
        *self.0.get_or_insert_default().entry(port).or_default() += 1;
    }

    pub(super) fn remove(&mut self, port: u16) {
        let Some(ports) = &mut self.0 else { return };
        if let Some(count) = ports.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                ports.remove(&port);
            }
        }
        if ports.is_empty() {
            self.0 = None;
        }
    }

    fn all(&self) -> impl Iterator<Item = u16> {
        self.0.iter().flat_map(|ports| ports.keys().copied())
    }
}

impl Slot {
    pub(super) fn new(key: AgentKey, profile: Arc<Profile>, policy: Arc<Policy>, now: Moment) -> Self {
        let gate = Arc::new(Gate::default());
        let seed = BuildHasherDefault::<DefaultHasher>::default().hash_one(&key);
        Self {
            gate: Arc::clone(&gate),
            upstream: ArcSwapOption::empty(),
            profile: ArcSwap::new(profile),
            policy: ArcSwap::new(policy),
            machine: Mutex::new(Machine::new(gate, seed, now)),
            effects: Mutex::default(),
            arrivals: AtomicU64::new(0),
            ports: Mutex::default(),
            changed: Notify::new(),
            key,
        }
    }

    /// Its name.
    pub const fn key(&self) -> &AgentKey {
        &self.key
    }

    /// What the rules say about it now.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// What the backend says about it.
    pub fn profile(&self) -> Arc<Profile> {
        self.profile.load_full()
    }

    /// [`Slot::policy`], to be let go of at once: nobody counts who looks at it, and whoever serves requests at the same time does not
    /// meet them there.
    pub fn policy_now(&self) -> Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// The same of [`Slot::profile`].
    pub fn profile_now(&self) -> Guard<Arc<Profile>> {
        self.profile.load()
    }

    /// The identity of its object; `None` while that has not been seen. Takes the lock.
    pub fn uid(&self) -> Option<AgentUid> {
        self.machine.lock().agent().map(|agent| agent.uid.clone())
    }

    /// Whether this is the pod of its object at present, be it on its way up or down. Takes the lock.
    pub fn has_pod(&self, pod: &PodUid) -> bool {
        let machine = self.machine.lock();
        let both = machine.agent().zip(machine.pod());
        both.is_some_and(|(agent, seen)| seen.uid == *pod && seen.owner == agent.uid)
    }

    /// Its gate.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The port of a request that names none: the policy's, else the one that the agent declares, else 8080.
    pub fn default_port(&self) -> u16 {
        self.policy.load().port.or(self.profile.load().port).unwrap_or(DEFAULT_PORT)
    }

    /// Lets a request in if the agent is up: no lock, no timer.
    pub fn enter(self: &Arc<Self>, engine: &Arc<Engine>) -> Option<Permit> {
        if self.gate.enter(self.policy.load().in_flight_limit()) != Entry::Admitted {
            return None;
        }
        let upstream = self.upstream.load_full();
        let place = Place::new(Arc::clone(self), Arc::clone(engine));
        // If the gate has closed again since, because the pod was lost, the place is given back.
        Some(Permit::new(place, upstream?, None))
    }

    /// Where the probe should look: the agent's own port and those that callers wait for.
    pub(super) fn ports_to_probe(&self) -> Vec<u16> {
        let own = self.default_port();
        let asked: Vec<u16> = self.ports.lock().all().filter(|port| *port != own).collect();
        std::iter::once(own).chain(asked).collect()
    }

    pub(super) fn set_policy(&self, policy: Arc<Policy>) {
        self.policy.store(policy);
        // A start under way may wait for what the one before said.
        self.changed.notify_waiters();
    }

    pub(super) fn set_profile(&self, profile: Arc<Profile>) {
        self.profile.store(profile);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred thousand agents are the goal, and most of them sleep. With the two counts of its `Arc` it fits what an allocator
    /// gives for 448 bytes; the next is 512.
    #[test]
    fn a_slot_stays_small() {
        let size = size_of::<Slot>() + 2 * size_of::<usize>();
        assert!(size <= 448, "{size} bytes");
    }
}
