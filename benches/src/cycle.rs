//! The machine of one agent through a whole cycle: idle, suspended, called, resumed, up. Events in, effects out; what the effects
//! would do in the world is put together by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use drowse::agent::{Life, PodUid, Revision};
use drowse::lifecycle::{
    AgentSeen, Arrival, CallId, Context, Effect, Event, Gate, Machine, Mode, PhaseName, WaiterId,
};
use drowse::policy::Policy;
use drowse::time::Moment;
use jiff::Timestamp;

use crate::{seen, world};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How long a caller would wait.
const PATIENCE: Duration = Duration::from_secs(55);

/// One agent, which is up between any two calls of [`Cycle::turn`].
#[derive(Debug)]
pub struct Cycle {
    machine: Machine<u64>,
    gate: Arc<Gate>,
    policy: Policy,
    now: Moment,
    object: AgentSeen,
    /// Every pod is a new one.
    pod: PodUid,
    arrivals: u64,
    effects: Vec<Effect<u64>>,
    events: usize,
}

impl Default for Cycle {
    /// An agent that is up.
    fn default() -> Self {
        let gate = Arc::new(Gate::default());
        let now = Moment::START + Duration::from_hours(1);
        let object = seen::agent("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", 1, Mode::Running);
        let mut cycle = Self {
            machine: Machine::new(Arc::clone(&gate), 7, now),
            gate,
            policy: Policy { min_running: Duration::ZERO, ..world::policy() },
            now,
            object: object.clone(),
            pod: PodUid("none".into()),
            arrivals: 0,
            effects: Vec::new(),
            events: 0,
        };
        cycle.step(Event::Agent(object));
        cycle.come_up();
        cycle
    }
}

impl Cycle {
    /// Suspends it for being idle, and resumes it for a number of callers; says how many events that took.
    pub fn turn(&mut self, callers: u64) -> usize {
        self.fall_asleep();
        self.wake(callers);
        std::mem::take(&mut self.events)
    }

    /// Up → suspended.
    pub fn fall_asleep(&mut self) {
        self.now = self.now + self.policy.idle_timeout;
        self.step(Event::Tick);
        let id = self.call(|effect| match effect {
            Effect::Suspend { id, .. } => Some(*id),
            _ => None,
        });
        let written = self.write(Mode::Suspended);
        self.step(Event::Done { id, result: Ok(written) });
        let (pod, revision) = (self.pod.clone(), self.next_revision());
        self.step(Event::PodGone { pod, revision });
    }

    /// Suspended → up, with this many callers who wait.
    pub fn wake(&mut self, callers: u64) {
        for _ in 0..callers {
            self.arrivals += 1;
            let (id, waiter) = (WaiterId(self.arrivals), self.arrivals);
            self.step(Event::Arrive(Arrival { id, waiter, deadline: self.now + PATIENCE, wakes: true }));
        }
        self.step(Event::StartGranted);
        let id = self.call(|effect| match effect {
            Effect::Resume { id, .. } => Some(*id),
            _ => None,
        });
        let written = self.write(Mode::Running);
        self.step(Event::Done { id, result: Ok(written) });
        self.come_up();
        let released = self.effects.iter().filter(|effect| matches!(effect, Effect::Release { .. })).count();
        assert_eq!(released as u64, callers, "all are let in");
        for _ in 0..callers {
            assert!(!self.gate.leave(Some(self.now)));
        }
    }

    /// A look at an agent that is up and was used lately.
    pub fn look(&mut self) {
        self.step(Event::Tick);
        self.events = 0;
    }

    /// Where it is.
    pub fn phase(&self) -> PhaseName {
        self.machine.phase().name()
    }

    fn come_up(&mut self) {
        let revision = self.next_revision();
        self.pod = PodUid(format!("pod-{}", revision.0).into());
        self.step(Event::Pod(seen::pod(self.pod.clone(), &self.object, revision, ADDRESS)));
        self.step(Event::Answers(Life { agent: self.object.uid.clone(), pod: self.pod.clone() }));
    }

    fn step(&mut self, event: Event<u64>) {
        self.events += 1;
        self.effects.clear();
        let ctx = Context {
            now: self.now,
            calendar: Timestamp::UNIX_EPOCH,
            policy: &self.policy,
            may_suspend: true,
            may_order: true,
            alone: true,
            inherits: false,
            listens: false,
            crowded: false,
        };
        self.machine.handle(event, ctx, &mut self.effects);
    }

    /// The call that the last event led to.
    fn call(&self, find: impl Fn(&Effect<u64>) -> Option<CallId>) -> CallId {
        self.effects.iter().find_map(find).expect("the call that this leads to")
    }

    fn write(&mut self, mode: Mode) -> AgentSeen {
        self.object.revision = self.next_revision();
        self.object.generation.0 += 1;
        self.object.observed = self.object.generation;
        self.object.mode = mode;
        self.object.clone()
    }

    /// Revisions are those of all objects together.
    fn next_revision(&mut self) -> Revision {
        self.object.revision.0 += 1;
        self.object.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_goes_all_the_way_down_and_up_again() {
        let mut cycle = Cycle::default();
        assert_eq!(cycle.phase(), PhaseName::Running);
        for _ in 0..3 {
            cycle.fall_asleep();
            assert_eq!(cycle.phase(), PhaseName::Suspended);
            cycle.wake(5);
            assert_eq!(cycle.phase(), PhaseName::Running);
        }
    }

    #[test]
    fn every_cycle_takes_as_many_events() {
        let mut cycle = Cycle::default();
        cycle.turn(1);
        assert_eq!((cycle.turn(1), cycle.turn(1), cycle.turn(10)), (8, 8, 17));
    }

    #[test]
    fn a_look_at_an_agent_in_use_changes_nothing() {
        let mut cycle = Cycle::default();
        cycle.turn(1);
        cycle.look();
        assert_eq!((cycle.phase(), cycle.effects.len()), (PhaseName::Running, 0));
    }
}
