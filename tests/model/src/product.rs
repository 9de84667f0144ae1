//! The product's machine as the model sees it: histories of what a front door was told, and what its machine did.
//!
//! A machine cannot be copied, nor need it be: what it was told makes it again. Two histories that leave a machine in the same
//! state, as its `Debug` shows it, are one [`DoorId`]; so each step of the machine is taken once, and looked up from then on.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::agent::{AgentUid, Generation, Life, PodUid, Revision};
use crate::lifecycle::phase::DrainStep;
use crate::lifecycle::{
    AgentSeen, Arrival, CallId, Context, DrainQuestion, Effect, Entry, Event, Gate, Machine, Mode, Phase,
    PodSeen, PodState, ResumeStep, SuspendedBy, WaiterId, WriteError,
};
use crate::policy::Policy;
use crate::time::{FOR_EVER, Moment};

pub use crate::words::{Answer, Doing, Facts, Object, Request, Told, Wanted};

/// A state of the machine and the gate of one front door.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DoorId(u32);

impl DoorId {
    /// A front door that has just started, and may suspend, or may not.
    pub const fn fresh(leads: bool) -> Self {
        Self(leads as u32)
    }
}

/// What follows when a front door in some state is told something.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub next: DoorId,
    pub wanted: Arc<[Wanted]>,
    /// The answer that was awaited before is not any more, or is this.
    pub forgets_call: bool,
    pub facts: Facts,
}

/// All states of a front door that were met.
pub struct Product(Mutex<Known>);

struct Known {
    ids: HashMap<String, DoorId>,
    doors: Vec<Record>,
    outcomes: HashMap<(DoorId, Told), Outcome>,
    policy: Policy,
}

/// How a state is made again.
struct Record {
    before: Option<(DoorId, Told)>,
    facts: Facts,
    /// The call whose answer it awaits, as this history numbers it.
    awaits: Option<CallId>,
}

impl Product {
    pub fn new() -> Self {
        let policy = Policy {
            route: true,
            manage: true,
            // Idle as soon as nothing is in flight.
            idle_timeout: std::time::Duration::ZERO,
            min_running: std::time::Duration::ZERO,
            resume_deadline: FOR_EVER,
            ..Policy::default()
        };
        let mut known = Known { ids: HashMap::new(), doors: Vec::new(), outcomes: HashMap::new(), policy };
        for leads in [false, true] {
            let replay = Replay::new(0);
            known.keep(&replay, leads, None);
        }
        Self(Mutex::new(known))
    }

    /// Tells a front door something.
    pub fn tell(&self, door: DoorId, told: Told) -> Outcome {
        let mut known = self.lock();
        if let Some(outcome) = known.outcomes.get(&(door, told)) {
            return outcome.clone();
        }
        let outcome = known.take_step(door, told);
        known.outcomes.insert((door, told), outcome.clone());
        outcome
    }

    /// How many states of a front door were met.
    pub fn doors(&self) -> usize {
        self.lock().doors.len()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock()
    }
}

impl Known {
    fn take_step(&mut self, door: DoorId, told: Told) -> Outcome {
        let (mut replay, leads) = self.replay(door, u64::from(told == Told::Tick));
        let awaited = self.doors[door.0 as usize].awaits;
        let effects = replay.tell(told, awaited, leads, &self.policy);
        let awaits = replay.awaits();
        let wanted = effects.iter().filter_map(|effect| wanted(effect, awaits)).collect();
        let next = self.keep(&replay, leads, Some((door, told)));
        let facts = self.doors[next.0 as usize].facts;
        Outcome { next, wanted, forgets_call: awaited.is_some() && awaits != awaited, facts }
    }

    /// The machine in this state, as it is `ticks` before the present.
    fn replay(&self, door: DoorId, ticks: u64) -> (Replay, bool) {
        let mut told = Vec::new();
        let mut at = door;
        while let Some((before, what)) = self.doors[at.0 as usize].before {
            told.push((what, self.doors[before.0 as usize].awaits));
            at = before;
        }
        let leads = at == DoorId::fresh(true);
        let passed = told.iter().filter(|(what, _)| *what == Told::Tick).count() as u64;
        let mut replay = Replay::new(passed + ticks);
        for (what, awaited) in told.into_iter().rev() {
            replay.tell(what, awaited, leads, &self.policy);
        }
        (replay, leads)
    }

    fn keep(&mut self, replay: &Replay, leads: bool, before: Option<(DoorId, Told)>) -> DoorId {
        let text = format!("{leads} {}", replay.describe());
        if let Some(id) = self.ids.get(&text) {
            return *id;
        }
        let id = DoorId(u32::try_from(self.doors.len()).expect("few enough"));
        self.doors.push(Record { before, facts: replay.facts(), awaits: replay.awaits() });
        self.ids.insert(text, id);
        id
    }
}

/// A machine that is told its history.
struct Replay {
    machine: Machine<()>,
    gate: Arc<Gate>,
    ticks_left: u64,
    arrivals: u64,
}

impl Replay {
    fn new(ticks: u64) -> Self {
        let gate = Arc::new(Gate::default());
        let machine = Machine::new(Arc::clone(&gate), 0, Moment::ticks_ago(ticks));
        Self { machine, gate, ticks_left: ticks, arrivals: 0 }
    }

    fn tell(&mut self, told: Told, awaited: Option<CallId>, leads: bool, policy: &Policy) -> Vec<Effect<()>> {
        let event = match told {
            Told::Enter => {
                assert_eq!(self.gate.enter(u32::MAX), Entry::Admitted, "the gate is open");
                return Vec::new();
            }
            Told::Leave => {
                assert!(!self.gate.leave(None), "there is always a place");
                return Vec::new();
            }
            Told::Arrive => {
                self.arrivals += 1;
                let id = WaiterId(self.arrivals);
                Event::Arrive(Arrival { id, waiter: (), deadline: Moment::NEVER, wakes: true })
            }
            Told::Tick => {
                self.ticks_left -= 1;
                Event::Tick
            }
            Told::Done(answer) => {
                Event::Done { id: awaited.expect("an answer is awaited"), result: result(answer) }
            }
            Told::Object(object) => Event::Agent(seen(object)),
            Told::Pod { number, terminating } => Event::Pod(pod_seen(number, terminating)),
            Told::PodGone(number) => {
                Event::PodGone { pod: pod_uid(number), revision: pod_revision(number, 2) }
            }
            Told::Answers(number) => Event::Answers(Life { agent: uid(), pod: pod_uid(number) }),
            Told::DrainAsked(revision) => {
                let revision = Revision(revision.into());
                Event::DrainAsked(DrainQuestion { uid: uid(), revision, ordered: false })
            }
            Told::PeersAcknowledged(revision) => Event::PeersAcknowledged(Revision(revision.into())),
            Told::PeersVetoed(revision) => Event::PeersVetoed(Revision(revision.into())),
            Told::Rejoin(revision) => Event::Rejoin(Revision(revision.into())),
        };
        let mut effects = Vec::new();
        self.handle(event, leads, policy, &mut effects);
        // Each start has its turn at once.
        if effects.iter().any(|effect| matches!(effect, Effect::RequestStart(_))) {
            self.handle(Event::StartGranted, leads, policy, &mut effects);
        }
        effects
    }

    fn handle(&mut self, event: Event<()>, leads: bool, policy: &Policy, effects: &mut Vec<Effect<()>>) {
        let ctx = Context {
            now: Moment::ticks_ago(self.ticks_left),
            calendar: Timestamp::UNIX_EPOCH,
            policy,
            may_suspend: leads,
            may_order: true,
            alone: false,
            inherits: true,
            listens: false,
            crowded: false,
        };
        self.machine.handle(event, ctx, effects);
    }

    /// Everything about the machine that can make a difference: all but numbers that are only ever counted up, or compared with
    /// each other, and all of the gate that the machine looks at.
    fn describe(&self) -> String {
        let shown = format!("{:?}", self.machine);
        let (_gate, machine) =
            shown.split_once("activity: ").expect("the machine shows its gate, then the activity");
        let mut text = format!("open: {} in_flight: {} ", self.gate.is_open(), self.gate.in_flight());
        text.push_str(&without_values(machine));
        text
    }

    fn awaits(&self) -> Option<CallId> {
        let shown = format!("{:?}", self.machine);
        let (_, rest) = shown.split_once(" call: ")?;
        let number = rest.strip_prefix("Some(Call { id: CallId(")?.split_once(')')?.0;
        Some(CallId(number.parse().expect("a number")))
    }

    fn facts(&self) -> Facts {
        Facts {
            doing: doing(self.machine.phase()),
            revision: self.machine.agent().map_or(0, |agent| byte(agent.revision.0)),
            held: u8::try_from(self.machine.held()).expect("few callers"),
            awaits_call: self.awaits().is_some(),
            has_deadline: self.machine.next_deadline().is_some_and(|at| at < Moment::NEVER),
        }
    }
}

fn doing(phase: &Phase) -> Doing {
    match phase {
        Phase::Running { life } => Doing::Serves(number_of(life)),
        Phase::Draining(drain) => {
            Doing::Drains { pod: drain.life.as_ref().map(number_of), fenced: drain.step == DrainStep::Fenced }
        }
        Phase::Resuming(resume) => match &resume.step {
            ResumeStep::Probing(life) => Doing::Probes(number_of(life)),
            ResumeStep::AwaitingPod => Doing::AwaitsPod,
            _ => Doing::Else,
        },
        Phase::Failed { failure, .. } => unreachable!("nothing fails here, but {failure:?}"),
        _ => Doing::Else,
    }
}

fn wanted(effect: &Effect<()>, awaits: Option<CallId>) -> Option<Wanted> {
    let call = |id: CallId, request| Some(Wanted::Call { request, awaited: Some(id) == awaits });
    match effect {
        Effect::Suspend { id, revision, .. } => call(*id, Request::Suspend { revision: byte(revision.0) }),
        Effect::Resume { id, generation, from, .. } => {
            let from_running = *from == Mode::Running;
            call(*id, Request::Resume { generation: byte(generation.0), from_running })
        }
        Effect::Read { id } => call(*id, Request::Read),
        Effect::AskPeers(question) => Some(Wanted::AskPeers(byte(question.revision.0))),
        Effect::Acknowledge(revision) => Some(Wanted::Reply { revision: byte(revision.0), yes: true }),
        Effect::Veto(revision) => Some(Wanted::Reply { revision: byte(revision.0), yes: false }),
        Effect::Release { .. } => Some(Wanted::Release),
        Effect::Probe { .. } | Effect::StopProbe => Some(Wanted::NewProbe),
        // Nobody's time runs out, so only what cannot be waited for is refused; and the rest is for people and pools.
        _ => None,
    }
}

fn uid() -> AgentUid {
    AgentUid("agent".into())
}

fn pod_uid(number: u8) -> PodUid {
    PodUid(number.to_string().into())
}

fn number_of(life: &Life) -> u8 {
    life.pod.0.parse().expect("a number")
}

/// Pods and the object need no common order.
fn pod_revision(number: u8, stage: u8) -> Revision {
    Revision(u64::from(number) * 3 + u64::from(stage))
}

fn seen(object: Object) -> AgentSeen {
    AgentSeen {
        uid: uid(),
        revision: Revision(object.revision.into()),
        generation: Generation(object.generation.into()),
        observed: Generation(object.observed.into()),
        mode: if object.running { Mode::Running } else { Mode::Suspended },
        suspended_by: SuspendedBy::Idle,
        trouble: None,
    }
}

fn pod_seen(number: u8, terminating: bool) -> PodSeen {
    PodSeen {
        uid: pod_uid(number),
        owner: uid(),
        revision: pod_revision(number, u8::from(terminating)),
        terminating,
        state: PodState::Up(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ready: false,
        hindrance: None,
        readiness: None,
    }
}

fn result(answer: Answer) -> Result<AgentSeen, WriteError> {
    match answer {
        Answer::Object(object) => Ok(seen(object)),
        Answer::Conflict => Err(WriteError::Conflict),
        Answer::Unknown => Err(WriteError::Unknown("".into())),
        Answer::NotSent => Err(WriteError::NotSent("".into())),
    }
}

fn byte(number: u64) -> u8 {
    u8::try_from(number).expect("histories are short")
}

/// What makes no difference here: numbers that are only counted up or compared with each other, and what is for people, for
/// delays that the policy sets to nothing, or for failed starts, of which there are none ([`doing`] sees to that).
const NO_MATTER: [&str; 13] = [
    "CallId(",
    "WaiterId(",
    " calls: ",
    " unconfirmed: ",
    " reminders: ",
    " write_error: ",
    " abandon: ",
    " began: ",
    " addressed: ",
    " cold: ",
    " probed: ",
    " up_since: ",
    " check_at: ",
];

/// The text without the values of what makes no difference.
fn without_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, name)) = NO_MATTER.iter().filter_map(|name| Some((rest.find(name)?, *name))).min() {
        let end = at + name.len();
        out.push_str(&rest[..end]);
        rest = &rest[end + length_of_value(&rest[end..])..];
    }
    out.push_str(rest);
    out
}

/// How long a value is: up to the comma or bracket that belongs to what it is in.
fn length_of_value(text: &str) -> usize {
    let mut depth = 0;
    text.find(|c| {
        depth += i32::from(matches!(c, '(' | '{')) - i32::from(matches!(c, ')' | '}'));
        depth < 0 || (depth == 0 && c == ',')
    })
    .unwrap_or(text.len())
}
