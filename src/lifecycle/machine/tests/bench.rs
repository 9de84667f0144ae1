//! A machine on the bench, in a small world of one object and one pod that the test changes by hand.
//!
//! Every step returns what became of it in two short texts, to be compared with [`Did::is`].

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::agent::{AgentUid, Generation, Life, PodUid, Revision};
use crate::lifecycle::{
    AgentSeen, Arrival, CallId, Context, DrainQuestion, Effect, Entry, Event, Failure, FailureClass, Gate,
    Machine, Mode, PodSeen, PodState, SuspendedBy, Transition, WaiterId, WriteError,
};
use crate::policy::Policy;
use crate::time::Moment;

use super::oracle::Oracle;
use super::show::{show, shown};

pub(super) const IDLE: Duration = Duration::from_mins(1);
pub(super) const HOLD: Duration = Duration::from_secs(50);
pub(super) const START_WITHIN: Duration = Duration::from_mins(5);
/// Longer than the longest backoff.
pub(super) const LONG: Duration = Duration::from_mins(20);

/// A call to the backend that was not answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    Suspend(Revision, SuspendedBy),
    Resume(Generation, Mode),
    Read,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pending {
    pub(super) id: CallId,
    /// The object that it is about.
    uid: AgentUid,
    pub(super) call: Call,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Bench {
    pub(super) machine: Machine<u32>,
    pub(super) gate: Arc<Gate>,
    pub(super) now: Moment,
    /// What the calendar says at the start of time.
    pub(super) epoch: Timestamp,
    pub(super) policy: Policy,
    pub(super) may_suspend: bool,
    /// As the leader may, by default.
    pub(super) may_order: Option<bool>,
    pub(super) alone: bool,
    /// Several replicas always do.
    pub(super) inherits: bool,
    pub(super) crowded: bool,
    /// The object as it is in truth.
    pub(super) object: AgentSeen,
    /// The pod as it is in truth.
    pub(super) pod: Option<PodSeen>,
    pub(super) revision: u64,
    pub(super) calls: Vec<Pending>,
    /// Questions whether it is at work, answered or not.
    pub(super) pings: Vec<CallId>,
    pub(super) records: Vec<Transition>,
    pub(super) arrived: Vec<u32>,
    pub(super) oracle: Oracle,
    pub(super) listens: bool,
    pub(super) most_held: usize,
    pub(super) ever_managed: bool,
}

/// What became of one step.
#[derive(Debug)]
pub(super) struct Did {
    phase: String,
    effects: String,
}

impl Did {
    /// `phase` as [`show`] has it; `effects` in order, separated by commas, without the records.
    #[track_caller]
    pub(super) fn is(&self, phase: &str, effects: &str) {
        assert_eq!((self.phase.as_str(), self.effects.as_str()), (phase, effects));
    }
}

impl Bench {
    /// A managed agent that sleeps and of which the machine knows nothing yet.
    pub(super) fn new() -> Self {
        let gate = Arc::new(Gate::default());
        // Not at the start of time, so that "never" and "just now" differ.
        let now = Moment::START + Duration::from_hours(1);
        Self {
            machine: Machine::new(Arc::clone(&gate), 7, now),
            gate,
            now,
            epoch: Timestamp::UNIX_EPOCH,
            policy: Policy {
                route: true,
                manage: true,
                idle_timeout: IDLE,
                min_running: Duration::ZERO,
                hold_timeout: HOLD,
                resume_deadline: START_WITHIN,
                max_held: 10,
                ..Policy::default()
            },
            may_suspend: true,
            may_order: None,
            alone: true,
            inherits: false,
            crowded: false,
            object: AgentSeen {
                uid: AgentUid("agent".into()),
                revision: Revision(1),
                generation: Generation(1),
                observed: Generation(1),
                mode: Mode::Suspended,
                suspended_by: SuspendedBy::Idle,
                trouble: None,
            },
            pod: None,
            revision: 1,
            calls: Vec::new(),
            pings: Vec::new(),
            records: Vec::new(),
            arrived: Vec::new(),
            oracle: Oracle::default(),
            listens: false,
            most_held: 10,
            ever_managed: true,
        }
    }

    pub(super) fn calendar(&self) -> Timestamp {
        self.epoch + self.now.since(Moment::START)
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            calendar: self.calendar(),
            policy: &self.policy,
            may_suspend: self.may_suspend,
            may_order: self.may_order.unwrap_or(self.may_suspend),
            alone: self.alone,
            inherits: self.inherits || !self.alone,
            listens: self.listens,
            crowded: self.crowded,
        }
    }

    pub(super) fn feed(&mut self, event: Event<u32>) -> Did {
        let policy = self.policy.clone();
        let mut effects = Vec::new();
        let ctx = Context { policy: &policy, ..self.context() };
        self.machine.handle(event, ctx, &mut effects);
        self.judge(&effects);
        let shown: Vec<_> = effects.iter().filter_map(shown).collect();
        for effect in effects {
            let (id, uid, call) = match effect {
                Effect::Suspend { id, uid, revision, by } => (id, uid, Call::Suspend(revision, by)),
                Effect::Resume { id, uid, generation, from } => (id, uid, Call::Resume(generation, from)),
                // Whatever has the name.
                Effect::Read { id } => (id, self.object.uid.clone(), Call::Read),
                Effect::Ping { id, .. } => {
                    self.pings.push(id);
                    continue;
                }
                Effect::Record(transition) => {
                    self.records.push(transition);
                    continue;
                }
                _ => continue,
            };
            self.calls.push(Pending { id, uid, call });
        }
        Did { phase: show(self.machine.phase()), effects: shown.join(", ") }
    }

    // Time.

    pub(super) fn tick(&mut self) -> Did {
        self.feed(Event::Tick)
    }

    pub(super) fn after(&mut self, span: Duration) -> Did {
        self.now = self.now + span;
        self.tick()
    }

    /// At the moment that the machine asked for.
    #[track_caller]
    pub(super) fn at_deadline(&mut self) -> Did {
        let at = self.machine.next_deadline().expect("a deadline");
        self.now = self.now.max(at);
        self.tick()
    }

    // The object.

    fn next_revision(&mut self) -> Revision {
        self.revision += 1;
        Revision(self.revision)
    }

    /// Changes the object without telling.
    pub(super) fn set(&mut self, mode: Mode, by: SuspendedBy) {
        if self.object.mode != mode {
            self.object.generation.0 += 1;
            self.object.observed = self.object.generation;
        }
        self.object.mode = mode;
        self.object.suspended_by = by;
        self.object.revision = self.next_revision();
    }

    /// Tells the object as it is.
    pub(super) fn seen(&mut self) -> Did {
        self.feed(Event::Agent(self.object.clone()))
    }

    /// Somebody has made it run.
    pub(super) fn runs(&mut self) -> Did {
        self.set(Mode::Running, SuspendedBy::Idle);
        self.seen()
    }

    /// Drowse, here or elsewhere, has suspended it.
    pub(super) fn sleeps(&mut self) -> Did {
        self.set(Mode::Suspended, SuspendedBy::Idle);
        self.seen()
    }

    pub(super) fn person_suspends(&mut self) -> Did {
        self.set(Mode::Suspended, SuspendedBy::Person);
        self.seen()
    }

    /// A change that is none to us.
    pub(super) fn noise(&mut self) -> Did {
        self.object.revision = self.next_revision();
        self.seen()
    }

    /// Deleted and made anew under the same name.
    pub(super) fn set_recreated(&mut self, mode: Mode) {
        self.object.uid = AgentUid(format!("agent-{}", self.revision).into());
        self.object.generation = Generation(1);
        self.object.observed = Generation(1);
        self.object.mode = mode;
        self.object.revision = self.next_revision();
    }

    pub(super) fn gone(&mut self) -> Did {
        self.feed(Event::AgentGone(self.object.uid.clone()))
    }

    // The pod.

    pub(super) fn set_pod(&mut self, name: &str, terminating: bool, state: PodState) -> PodSeen {
        let seen = PodSeen {
            uid: PodUid(name.into()),
            owner: self.object.uid.clone(),
            revision: self.next_revision(),
            terminating,
            state,
            ready: false,
            hindrance: None,
            readiness: None,
        };
        self.pod = Some(seen.clone());
        seen
    }

    pub(super) fn pod_starts(&mut self, name: &str) -> Did {
        let seen = self.set_pod(name, false, PodState::Starting);
        self.feed(Event::Pod(seen))
    }

    pub(super) fn pod_up(&mut self, name: &str) -> Did {
        let seen = self.set_pod(name, false, up());
        self.feed(Event::Pod(seen))
    }

    pub(super) fn pod_terminates(&mut self, name: &str) -> Did {
        let seen = self.set_pod(name, true, up());
        self.feed(Event::Pod(seen))
    }

    pub(super) fn pod_fails(&mut self, name: &str, class: FailureClass) -> Did {
        let seen = self.set_pod(name, false, PodState::Failed(Failure::new(class, "as the test wants")));
        self.feed(Event::Pod(seen))
    }

    pub(super) fn pod_gone(&mut self, name: &str) -> Did {
        self.pod = None;
        let revision = self.next_revision();
        self.feed(Event::PodGone { pod: PodUid(name.into()), revision })
    }

    pub(super) fn life(&self, pod: &str) -> Life {
        Life { agent: self.object.uid.clone(), pod: PodUid(pod.into()) }
    }

    /// Whether it would be told that this life answers, of which it is found out now.
    pub(super) fn awaits(&self, life: &Life) -> bool {
        let generation = self.machine.agent().map(|agent| agent.generation).unwrap_or_default();
        self.machine.awaits(life, ADDRESS, generation)
    }

    pub(super) fn answers(&mut self, pod: &str) -> Did {
        let life = self.life(pod);
        self.feed(Event::Answers(life))
    }

    // Callers.

    /// A caller finds the gate closed or full.
    pub(super) fn call(&mut self, caller: u32) -> Did {
        self.arrive(caller, HOLD, true)
    }

    /// A caller that must not wake the agent, such as a health check.
    pub(super) fn peek(&mut self, caller: u32) -> Did {
        self.arrive(caller, HOLD, false)
    }

    pub(super) fn arrive(&mut self, caller: u32, patience: Duration, wakes: bool) -> Did {
        self.arrived.push(caller);
        let (id, deadline) = (WaiterId(caller.into()), self.now + patience);
        self.feed(Event::Arrive(Arrival { id, waiter: caller, deadline, wakes }))
    }

    pub(super) fn leaves(&mut self, caller: u32) -> Did {
        self.oracle.left(caller);
        self.feed(Event::Leave(WaiterId(caller.into())))
    }

    /// A warm request: it passes the gate without the machine's help.
    pub(super) fn enter(&mut self) -> Entry {
        self.gate.enter(self.policy.in_flight_limit())
    }

    /// A request ends; whether somebody waits for its place.
    pub(super) fn leave_gate(&mut self) -> bool {
        self.gate.leave(Some(self.now))
    }

    // Operators, the pacer, peers.

    pub(super) fn demand(&mut self) -> Did {
        self.feed(Event::Demand)
    }

    pub(super) fn suspend_now(&mut self) -> Did {
        self.feed(Event::SuspendNow(SuspendedBy::Idle))
    }

    pub(super) fn suspend_and_stay(&mut self) -> Did {
        self.feed(Event::SuspendNow(SuspendedBy::Person))
    }

    /// The pacer gives the turn out, and the machine does not know yet.
    pub(super) fn pop_turn(&mut self) {
        assert!(self.oracle.turns.queued > 0, "nobody asked for a turn");
        self.oracle.turns.queued -= 1;
        self.oracle.turns.granted += 1;
        self.oracle.turns.under_way += 1;
    }

    pub(super) fn told_of_turn(&mut self) -> Did {
        self.oracle.turns.granted -= 1;
        self.feed(Event::StartGranted)
    }

    pub(super) fn granted(&mut self) -> Did {
        self.pop_turn();
        self.told_of_turn()
    }

    fn known_revision(&self) -> Revision {
        self.machine.agent().map_or(Revision(0), |agent| agent.revision)
    }

    /// Another asks, at the revision that is known here.
    pub(super) fn question(&mut self, ordered: bool) -> Did {
        let (uid, revision) = (self.object.uid.clone(), self.known_revision());
        self.feed(Event::DrainAsked(DrainQuestion { uid, revision, ordered }))
    }

    /// The leader asks, at the revision that is known here.
    pub(super) fn asked(&mut self) -> Did {
        self.question(false)
    }

    pub(super) fn quiet(&mut self) -> Did {
        self.feed(Event::Quiet(self.known_revision()))
    }

    pub(super) fn not_quiet(&mut self) -> Did {
        self.feed(Event::NotQuiet(self.known_revision()))
    }

    pub(super) fn acked(&mut self) -> Did {
        self.feed(Event::PeersAcknowledged(self.known_revision()))
    }

    pub(super) fn vetoed(&mut self) -> Did {
        self.feed(Event::PeersVetoed(self.known_revision()))
    }

    // Calls to the backend. Each answers the latest one unless told otherwise.

    /// Does to the object what the call asks for, as the API would.
    pub(super) fn apply(&mut self, pending: &Pending) -> Result<AgentSeen, WriteError> {
        match pending.call {
            Call::Read => Ok(self.object.clone()),
            _ if pending.uid != self.object.uid => Err(WriteError::Conflict),
            Call::Suspend(revision, _) if revision != self.object.revision => Err(WriteError::Conflict),
            Call::Suspend(_, by) => {
                self.set(Mode::Suspended, by);
                Ok(self.object.clone())
            }
            Call::Resume(generation, from)
                if (generation, from) != (self.object.generation, self.object.mode) =>
            {
                Err(WriteError::Conflict)
            }
            Call::Resume(..) => {
                self.set(Mode::Running, SuspendedBy::Idle);
                Ok(self.object.clone())
            }
        }
    }

    /// The latest call is carried out and answered.
    #[track_caller]
    pub(super) fn done(&mut self) -> Did {
        let pending = self.calls.pop().expect("a call");
        self.answer_to(&pending)
    }

    /// This call is carried out and answered.
    pub(super) fn answer_to(&mut self, pending: &Pending) -> Did {
        let result = self.apply(pending);
        self.feed(Event::Done { id: pending.id, result })
    }

    /// The latest call fails and changes nothing.
    #[track_caller]
    pub(super) fn fails(&mut self, error: WriteError) -> Did {
        let Pending { id, .. } = self.calls.pop().expect("a call");
        self.feed(Event::Done { id, result: Err(error) })
    }

    /// The latest call is lost on the way.
    #[track_caller]
    pub(super) fn lost(&mut self) -> Did {
        self.fails(WriteError::Unknown("lost".into()))
    }

    /// The latest call is carried out, and the answer is lost.
    #[track_caller]
    pub(super) fn done_unseen(&mut self) -> Did {
        let pending = self.calls.pop().expect("a call");
        let _applied = self.apply(&pending);
        self.feed(Event::Done { id: pending.id, result: Err(WriteError::Unknown("lost".into())) })
    }
}

/// Where its pods are, unless a test says otherwise.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) fn up() -> PodState {
    PodState::Up(ADDRESS)
}

pub(super) fn refused() -> WriteError {
    WriteError::Refused(Failure::new(FailureClass::Admission, "not allowed"))
}
