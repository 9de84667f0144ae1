//! One history: a queue of things that happen, in virtual time, all drawn from one seed.

pub mod pings;

use std::collections::BTreeMap;
use std::time::Duration;

use drowse::agent::{Generation, Life, Revision};
use drowse::lifecycle::phase::DrainStep;
use drowse::lifecycle::{
    AgentSeen, Arrival, CallId, Context, DrainQuestion, Effect, Entry, Event, Mode, Phase, Refusal,
    SuspendedBy, Transition, WaiterId, WriteError,
};
use drowse::policy::keep_awake::open_at;
use drowse::policy::ping::PingAnswer;
use drowse::time::Moment;
use fastrand::Rng;
use jiff::Timestamp;

use crate::connections::Connection;
use crate::faults::{Plan, Sabotage};
use crate::replica::{CALL_TIMEOUT, CallerId, Replica, key};
use crate::world::{Acted, Pod, Read, World};
use pings::Told;

/// Something that happens.
pub enum Happening {
    Caller(CallerId),
    CallerLeaves(CallerId),
    RequestEnds(CallerId),
    /// The last moment at which a caller may still wait.
    CallerMustHaveEnded(CallerId),
    To(usize, u32, Event<CallerId>),
    Tick(usize, u32, Moment),
    Apply(usize, u32, CallId, Call),
    Answer(usize, u32, CallId, Result<AgentSeen, WriteError>),
    Probe(usize, u32, u64, Life),
    Ping(usize, u32, CallId, Life),
    Said(usize, u32, CallId, PingAnswer),
    Ask {
        from: usize,
        to: usize,
        revision: Revision,
        ordered: bool,
    },
    Reply {
        from: usize,
        to: usize,
        revision: Revision,
        yes: bool,
    },
    ControllerReads,
    ControllerActs(Read),
    PodUp(u64),
    PodListens(u64),
    PodCrashes(u64),
    PodVanishes(u64),
    PodEnds(u64),
    Crash(usize),
    Join(usize),
    PersonSuspends,
    PersonResumes,
    LeaderChanges,
    StatusNoise,
    /// Somebody wants a connection that stays open.
    ConnectionAsked,
    Data(usize),
    ConnectionCloses(usize),
}

/// A call to the API.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Suspend(Revision, SuspendedBy),
    Resume(Generation, Mode),
    Read,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Caller {
    Coming,
    Waiting {
        replica: usize,
        id: WaiterId,
    },
    InFlight {
        replica: usize,
        pod: u64,
    },
    /// Let through, but never told (sabotage).
    Lost,
    Served,
    Refused,
    Left,
    /// Its replica or its pod died.
    Broken,
}

/// A history under way.
pub struct History {
    pub rng: Rng,
    pub now: Moment,
    queue: BTreeMap<(Moment, u64), Happening>,
    happened: u64,
    pub plan: Plan,
    pub sabotage: Option<Sabotage>,
    pub world: World,
    pub replicas: Vec<Replica>,
    leader: usize,
    callers: Vec<Caller>,
    pub connections: Vec<Connection>,
    /// Suspensions on their way to the API, which may yet be applied.
    suspensions_under_way: u32,
    controller_busy: bool,
    pub calm: bool,
    violation: Option<String>,
    trace: Option<Vec<String>>,
    pub served: usize,
}

const CHAOS: Duration = Duration::from_mins(1);
const CALM: Duration = Duration::from_mins(15);

/// Runs one history. `Err` says which invariant it broke.
pub fn run(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> Result<usize, String> {
    let mut history = History::new(seed, sabotage, trace);
    history.run();
    match history.violation {
        None => Ok(history.served),
        Some(violation) => {
            let trace = history.trace.map(|lines| lines.join("\n") + "\n").unwrap_or_default();
            Err(format!("{trace}{violation} (at {:?}, plan {:?})", history.now, history.plan))
        }
    }
}

impl History {
    fn new(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut plan = Plan::draw(&mut rng);
        if sabotage == Some(Sabotage::NoJoin) {
            // Often enough in the middle of a suspension.
            (plan.crashes, plan.lost_calls) = (20, 30);
            plan.policy.idle_timeout = Duration::from_millis(200);
        }
        if matches!(sabotage, Some(Sabotage::NoAck | Sabotage::NoFence | Sabotage::NoJoin)) {
            plan.replicas = plan.replicas.max(2);
        }
        let replicas = (0..plan.replicas).map(|_| Replica::new(0, Moment::START)).collect();
        Self {
            callers: vec![Caller::Coming; plan.callers],
            rng,
            now: Moment::START,
            queue: BTreeMap::new(),
            happened: 0,
            plan,
            sabotage,
            world: World::new(),
            replicas,
            leader: 0,
            connections: Vec::new(),
            suspensions_under_way: 0,
            controller_busy: false,
            calm: false,
            violation: None,
            trace: trace.then(Vec::new),
            served: 0,
        }
    }

    fn run(&mut self) {
        self.schedule_chaos();
        for replica in 0..self.replicas.len() {
            self.tell_everything(replica);
        }
        self.run_until(Moment::START + CHAOS);
        self.calm = true;
        if !self.replicas.iter().all(|replica| replica.up) {
            self.run_until(Moment::START + CHAOS + Duration::from_secs(30));
        }
        // Nobody misbehaves any more: it must fall asleep, and one more caller must be served.
        self.run_until(Moment::START + CHAOS + CALM);
        self.expect_quiet();
        if self.world.object.mode == Mode::Suspended && self.world.object.suspended_by == SuspendedBy::Idle {
            let last = self.callers.len();
            self.callers.push(Caller::Coming);
            self.plan.must_not_wake = 0;
            self.plan.impatient = 0;
            self.after(Duration::ZERO, Happening::Caller(last));
            self.run_until(self.now + Duration::from_mins(1));
            if self.callers[last] != Caller::Served {
                self.violated(format!("the last caller was not served but is {:?}", self.callers[last]));
            }
        }
    }

    fn schedule_chaos(&mut self) {
        let mut at = Duration::ZERO;
        for caller in 0..self.callers.len() {
            at += Duration::from_micros(self.rng.u64(0..=2 * self.plan.between_callers.as_micros() as u64));
            self.after(at.min(CHAOS), Happening::Caller(caller));
        }
        let chaos = CHAOS.as_micros() as u64;
        for _ in 0..self.plan.crashes {
            let replica = self.rng.usize(0..self.replicas.len());
            let at = Duration::from_micros(self.rng.u64(0..chaos));
            self.after(at, Happening::Crash(replica));
        }
        for _ in 0..self.plan.person_changes {
            let at = Duration::from_micros(self.rng.u64(0..chaos));
            self.after(at, Happening::PersonSuspends);
            let at = Duration::from_micros(self.rng.u64(0..chaos));
            self.after(at, Happening::PersonResumes);
        }
        for _ in 0..self.plan.leader_changes {
            let at = Duration::from_micros(self.rng.u64(0..chaos));
            self.after(at, Happening::LeaderChanges);
        }
        for _ in 0..self.plan.status_noise {
            let at = Duration::from_micros(self.rng.u64(0..chaos));
            self.after(at, Happening::StatusNoise);
        }
        self.schedule_connections(CHAOS);
    }

    fn run_until(&mut self, end: Moment) {
        while self.violation.is_none() {
            let Some(entry) = self.queue.first_entry() else { break };
            if entry.key().0 > end {
                break;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
            if self.happened > 200_000 {
                self.violated("something goes round and round".into());
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Caller(caller) => self.caller_comes(caller),
            Happening::CallerLeaves(caller) => self.caller_leaves(caller),
            Happening::RequestEnds(caller) => self.request_ends(caller, Caller::Served),
            Happening::CallerMustHaveEnded(caller) => {
                if matches!(self.callers[caller], Caller::Waiting { .. } | Caller::Lost) {
                    self.violated(format!("caller {caller} waits beyond its deadline"));
                }
            }
            Happening::To(replica, incarnation, event) => self.to(replica, incarnation, event),
            Happening::Tick(replica, incarnation, at) => {
                if self.is_current(replica, incarnation) && self.replicas[replica].armed == Some(at) {
                    self.replicas[replica].armed = None;
                    self.to(replica, incarnation, Event::Tick);
                }
            }
            Happening::Apply(replica, incarnation, id, call) => self.apply(replica, incarnation, id, call),
            Happening::Answer(replica, incarnation, id, result) => {
                if self.is_current(replica, incarnation) {
                    self.replicas[replica].resumes_under_way.remove(&id);
                    self.to(replica, incarnation, Event::Done { id, result });
                }
            }
            Happening::Probe(replica, incarnation, number, life) => {
                self.probe(replica, incarnation, number, life);
            }
            Happening::Ping(replica, incarnation, id, life) => {
                self.asked_whether_at_work(replica, incarnation, id, &life);
            }
            Happening::Said(replica, incarnation, id, said) => self.said(replica, incarnation, id, said),
            Happening::Ask { from, to, revision, ordered } => self.asked(from, to, revision, ordered),
            Happening::Reply { from, to, revision, yes } => self.replied(from, to, revision, yes),
            Happening::ControllerReads => {
                let read = self.world.read();
                let delay = self.delay(1, 400);
                self.after(delay, Happening::ControllerActs(read));
            }
            Happening::ControllerActs(read) => self.controller_acts(read),
            Happening::PodUp(number) => {
                self.world.pod_up(number);
                self.pod_changed();
            }
            Happening::PodListens(number) => self.world.pod_listens(number),
            Happening::PodCrashes(number) => {
                if self.world.pod_crashed(number) {
                    self.note(|_| format!("pod {number} crashed"));
                    self.break_requests(number);
                    self.pod_changed();
                }
            }
            Happening::PodVanishes(number) | Happening::PodEnds(number) => self.pod_gone(number),
            Happening::Crash(replica) => self.crash(replica),
            Happening::Join(replica) => self.join(replica),
            Happening::PersonSuspends => {
                self.world.set_mode(Mode::Suspended, SuspendedBy::Person);
                self.note(|_| "a person suspends".into());
                self.object_changed();
            }
            Happening::PersonResumes => {
                self.world.set_mode(Mode::Running, SuspendedBy::Person);
                self.note(|_| "a person resumes".into());
                self.object_changed();
            }
            Happening::ConnectionAsked => self.connection_asked(),
            Happening::Data(connection) => self.data(connection),
            Happening::ConnectionCloses(connection) => self.connection_closes(connection),
            Happening::LeaderChanges => self.leader = self.rng.usize(0..self.replicas.len()),
            Happening::StatusNoise => {
                self.world.object.revision = self.world.next_revision();
                self.object_changed();
            }
        }
    }

    // Callers.

    fn caller_comes(&mut self, caller: CallerId) {
        let replica = self.rng.usize(0..self.replicas.len());
        if !self.replicas[replica].up {
            self.callers[caller] = Caller::Broken;
            return;
        }
        let limit = self.plan.policy.in_flight_limit();
        let phase = self.replicas[replica].machine.phase();
        let fenced = matches!(phase, Phase::Draining(drain) if drain.step == DrainStep::Fenced);
        if self.sabotage == Some(Sabotage::NoFence) && fenced && self.replicas[replica].life.is_some() {
            return self.begin_request(caller, replica);
        }
        if self.replicas[replica].gate.enter(limit) == Entry::Admitted {
            self.begin_request(caller, replica);
            return;
        }
        let id = WaiterId(self.replicas[replica].arrivals);
        self.replicas[replica].arrivals += 1;
        self.callers[caller] = Caller::Waiting { replica, id };
        let deadline = self.now + self.plan.policy.hold_timeout;
        self.after(
            self.plan.policy.hold_timeout + Duration::from_millis(1),
            Happening::CallerMustHaveEnded(caller),
        );
        if self.percent(self.plan.impatient) {
            let patience = self.delay(0, 3_000);
            self.after(patience, Happening::CallerLeaves(caller));
        }
        let wakes = !self.percent(self.plan.must_not_wake);
        let incarnation = self.replicas[replica].incarnation;
        self.note(|_| format!("caller {caller} arrives at {replica} (wakes: {wakes})"));
        self.to(replica, incarnation, Event::Arrive(Arrival { id, waiter: caller, deadline, wakes }));
    }

    fn caller_leaves(&mut self, caller: CallerId) {
        if let Caller::Waiting { replica, id } = self.callers[caller] {
            self.callers[caller] = Caller::Left;
            let incarnation = self.replicas[replica].incarnation;
            self.to(replica, incarnation, Event::Leave(id));
        }
    }

    /// The request goes to the pod that the replica believes in. This is where the wrong belief shows.
    fn begin_request(&mut self, caller: CallerId, replica: usize) {
        let Some(life) = self.replicas[replica].life.clone() else {
            return self.violated(format!("replica {replica} has an open gate and nowhere to send requests"));
        };
        self.replicas[replica].in_flight += 1;
        let pod = self
            .world
            .pod
            .as_ref()
            .filter(|pod| pod.uid() == life.pod && pod.listening)
            .map(|pod| (pod.number, pod.ended_by_idle));
        self.note(|_| format!("caller {caller} goes from {replica} to {:?}", life.pod));
        match pod {
            Some((number, false)) => {
                self.callers[caller] = Caller::InFlight { replica, pod: number };
                let took = self.delay(1, 2_000);
                self.after(took, Happening::RequestEnds(caller));
            }
            Some((number, true)) => {
                self.violated(format!(
                    "caller {caller} was sent to pod {number}, which Drowse has suspended"
                ));
            }
            // It died by itself or by a person's hand, and the news is on its way.
            None => {
                self.callers[caller] = Caller::InFlight { replica, pod: u64::MAX };
                self.after(Duration::from_millis(1), Happening::RequestEnds(caller));
            }
        }
    }

    fn request_ends(&mut self, caller: CallerId, outcome: Caller) {
        let Caller::InFlight { replica, .. } = self.callers[caller] else { return };
        self.callers[caller] = outcome;
        self.served += usize::from(outcome == Caller::Served);
        self.replicas[replica].in_flight -= 1;
        let incarnation = self.replicas[replica].incarnation;
        let touch = (outcome == Caller::Served).then_some(self.now);
        if self.replicas[replica].gate.leave(touch) {
            self.to(replica, incarnation, Event::PlaceFreed);
        }
    }

    /// What was in flight to a pod that died by itself ends with it.
    fn break_requests(&mut self, pod: u64) {
        for caller in 0..self.callers.len() {
            if matches!(self.callers[caller], Caller::InFlight { pod: other, .. } if other == pod) {
                self.request_ends(caller, Caller::Broken);
            }
        }
    }

    // Replicas.

    fn is_current(&self, replica: usize, incarnation: u32) -> bool {
        self.replicas[replica].up && self.replicas[replica].incarnation == incarnation
    }

    pub fn to(&mut self, replica: usize, incarnation: u32, event: Event<CallerId>) {
        if !self.is_current(replica, incarnation) || self.violation.is_some() {
            return;
        }
        let policy = self.plan.policy.clone();
        let calendar = Timestamp::UNIX_EPOCH + self.now.since(Moment::START);
        let was_up = matches!(self.replicas[replica].machine.phase(), Phase::Running { .. });
        let ctx = Context {
            now: self.now,
            calendar,
            policy: &policy,
            may_suspend: self.leader == replica,
            may_order: self.leader == replica,
            alone: false,
            inherits: true,
            listens: self.plan.listens,
            crowded: false,
        };
        let shown = self.trace.is_some().then(|| format!("{event:?}"));
        let healthy = pings::is_healthy(&event);
        let mut effects = Vec::new();
        self.replicas[replica].machine.handle(event, ctx, &mut effects);
        if let Some(event) = shown {
            let phase = self.replicas[replica].machine.phase().clone();
            self.note(|_| format!("  {replica}: {event} -> {phase:?} {effects:?}"));
        }
        let drains = was_up && matches!(self.replicas[replica].machine.phase(), Phase::Draining(_));
        if drains && open_at(&policy.keep_awake, calendar).is_some() {
            self.violated(format!("{replica} drains in a keep-awake window"));
        }
        let leads =
            |phase: &Phase| matches!(phase, Phase::Draining(drain) if drain.step != DrainStep::Fenced);
        if drains && leads(self.replicas[replica].machine.phase()) {
            self.expect_not_busy(replica, healthy);
        }
        if drains {
            self.expect_no_data_lately(replica);
        }
        for effect in effects {
            self.run_effect(replica, effect);
        }
        self.arm(replica);
        self.pass_data(replica);
        let (counted, truth) = (self.replicas[replica].gate.in_flight(), self.replicas[replica].in_flight);
        if counted != truth && self.sabotage.is_none() {
            self.violated(format!(
                "the gate of {replica} counts {counted} in flight where there are {truth}"
            ));
        }
    }

    fn arm(&mut self, replica: usize) {
        let wanted = self.replicas[replica].machine.next_deadline();
        if self.replicas[replica].armed != wanted {
            self.replicas[replica].armed = wanted;
            if let Some(at) = wanted {
                let incarnation = self.replicas[replica].incarnation;
                self.after(at.since(self.now), Happening::Tick(replica, incarnation, at));
            }
        }
    }

    fn run_effect(&mut self, replica: usize, effect: Effect<CallerId>) {
        match effect {
            Effect::Suspend { id, revision, by, .. } => self.call(replica, id, Call::Suspend(revision, by)),
            Effect::Resume { id, generation, from, .. } => self.resume(replica, id, generation, from),
            Effect::Read { id } => self.call(replica, id, Call::Read),
            Effect::RequestStart(class) => {
                self.replicas[replica].pacer.request(&key(), class);
                self.grant(replica);
            }
            Effect::CancelStart => self.replicas[replica].pacer.cancel(&key()),
            Effect::StartDone => {
                if self.sabotage != Some(Sabotage::LostTurn) {
                    self.replicas[replica].pacer.done(&key());
                }
                self.grant(replica);
            }
            Effect::Probe { life, .. } => {
                self.replicas[replica].probe += 1;
                let (number, incarnation) =
                    (self.replicas[replica].probe, self.replicas[replica].incarnation);
                let delay = self.delay(0, 20);
                self.after(delay, Happening::Probe(replica, incarnation, number, life));
            }
            Effect::StopProbe => self.replicas[replica].probe += 1,
            Effect::Retire => {
                self.replicas[replica].life = None;
                self.replicas[replica].told = Told::default();
                self.end_connections(replica);
            }
            Effect::Ping { id, life, .. } => self.ping(replica, id, life),
            Effect::Release { waiter, .. } => self.released(replica, waiter),
            Effect::Refuse { waiter, refusal } => self.refused(replica, waiter, &refusal),
            // The answer may be late, come twice, or never.
            Effect::Listen(revision) => {
                let incarnation = self.replicas[replica].incarnation;
                let times = if self.percent(20) { self.rng.usize(0..3) } else { 1 };
                for _ in 0..times {
                    let event =
                        if self.percent(20) { Event::NotQuiet(revision) } else { Event::Quiet(revision) };
                    let delay = self.delay(0, 400);
                    self.after(delay, Happening::To(replica, incarnation, event));
                }
            }
            Effect::AskPeers(question) => self.ask_peers(replica, &question),
            Effect::Acknowledge(revision) => self.reply(replica, revision, true),
            Effect::Veto(revision) => self.reply(replica, revision, false),
            // The next attempt is another one.
            Effect::Record(Transition::Failed { .. }) => self.replicas[replica].resumes_under_way.clear(),
            Effect::Record(_) => {}
        }
    }

    fn grant(&mut self, replica: usize) {
        let incarnation = self.replicas[replica].incarnation;
        if self.replicas[replica].pacer.next(self.now).is_ok() {
            let delay = self.delay(0, 5);
            self.after(delay, Happening::To(replica, incarnation, Event::StartGranted));
        }
    }

    fn released(&mut self, replica: usize, caller: CallerId) {
        if self.sabotage == Some(Sabotage::DroppedWakeUp) && self.percent(10) {
            self.callers[caller] = Caller::Lost;
            return;
        }
        match self.callers[caller] {
            Caller::Waiting { .. } => self.begin_request(caller, replica),
            other => self.violated(format!("caller {caller} was released while {other:?}")),
        }
        if self.sabotage == Some(Sabotage::BrokenGate)
            && self.percent(20)
            && self.replicas[replica].gate.in_flight() > 0
        {
            let _ = self.replicas[replica].gate.leave(None);
        }
    }

    fn refused(&mut self, replica: usize, caller: CallerId, refusal: &Refusal) {
        match self.callers[caller] {
            Caller::Waiting { .. } => self.callers[caller] = Caller::Refused,
            other => self.violated(format!("caller {caller} was refused while {other:?}")),
        }
        self.note(|_| format!("caller {caller} is refused by {replica}: {refusal:?}"));
    }

    fn probe(&mut self, replica: usize, incarnation: u32, number: u64, life: Life) {
        if !self.is_current(replica, incarnation) || self.replicas[replica].probe != number {
            return;
        }
        let blind = self.sabotage == Some(Sabotage::NoObs)
            && self.world.pod.as_ref().is_some_and(|pod| pod.listening);
        if !self.world.answers(&life) && !blind {
            let delay = self.delay(5, 50);
            self.after(delay, Happening::Probe(replica, incarnation, number, life));
        } else if self.replicas[replica].awaits(&life) {
            self.replicas[replica].life = Some(life.clone());
            self.to(replica, incarnation, Event::Answers(life));
        }
    }

    fn crash(&mut self, replica: usize) {
        self.note(|_| format!("replica {replica} crashes"));
        self.end_connections(replica);
        let incarnation = self.replicas[replica].incarnation + 1;
        self.replicas[replica] = Replica::new(incarnation, self.now);
        self.replicas[replica].up = false;
        for caller in &mut self.callers {
            let (Caller::Waiting { replica: at, .. } | Caller::InFlight { replica: at, .. }) = *caller else {
                continue;
            };
            if at == replica {
                *caller = Caller::Broken;
            }
        }
        let delay = self.delay(10, 5_000);
        self.after(delay, Happening::Join(replica));
    }

    /// A replica may come while a suspension is under way that was agreed on without it.
    fn join(&mut self, replica: usize) {
        self.note(|_| format!("replica {replica} joins"));
        self.replicas[replica].up = true;
        if self.sabotage == Some(Sabotage::NoJoin) {
            // What it then sees running has changed since it exists, for all that it knows.
            let earlier =
                AgentSeen { revision: Revision(0), mode: Mode::Suspended, ..self.world.object.clone() };
            let incarnation = self.replicas[replica].incarnation;
            self.to(replica, incarnation, Event::Agent(earlier));
        }
        self.tell_everything(replica);
    }

    // Peers. The leader needs the word of every other replica, also of those that are down.

    fn ask_peers(&mut self, leader: usize, question: &DrainQuestion) {
        let &DrainQuestion { revision, ordered, .. } = question;
        self.replicas[leader].asked = Some((revision, vec![false; self.replicas.len()]));
        // With nobody to ask, all have said yes.
        if self.sabotage == Some(Sabotage::NoAck) || self.replicas.len() == 1 {
            let incarnation = self.replicas[leader].incarnation;
            self.after(
                Duration::ZERO,
                Happening::To(leader, incarnation, Event::PeersAcknowledged(revision)),
            );
            return;
        }
        for to in (0..self.replicas.len()).filter(|to| *to != leader) {
            if !self.percent(self.plan.lost_messages) {
                let delay = self.delay(0, 50);
                self.after(delay, Happening::Ask { from: leader, to, revision, ordered });
            }
        }
    }

    fn asked(&mut self, from: usize, to: usize, revision: Revision, ordered: bool) {
        let (incarnation, uid) = (self.replicas[to].incarnation, self.world.object.uid.clone());
        self.note(|_| format!("{from} asks {to} to drain at {revision:?}"));
        self.to(to, incarnation, Event::DrainAsked(DrainQuestion { uid, revision, ordered }));
    }

    fn reply(&mut self, from: usize, revision: Revision, yes: bool) {
        let asker = self
            .replicas
            .iter()
            .position(|other| other.asked.as_ref().is_some_and(|(at, _)| *at == revision));
        if let Some(to) = asker
            && !self.percent(self.plan.lost_messages)
        {
            let delay = self.delay(0, 50);
            self.after(delay, Happening::Reply { from, to, revision, yes });
        }
    }

    fn replied(&mut self, from: usize, to: usize, revision: Revision, yes: bool) {
        let leader = &mut self.replicas[to];
        let Some((asked, answers)) = &mut leader.asked else { return };
        if *asked != revision {
            return;
        }
        answers[from] = yes;
        answers[to] = true;
        let event = if !yes {
            Event::PeersVetoed(revision)
        } else if answers.iter().all(|answer| *answer) {
            Event::PeersAcknowledged(revision)
        } else {
            return;
        };
        leader.asked = None;
        let incarnation = leader.incarnation;
        self.to(to, incarnation, event);
    }

    // The API.

    fn resume(&mut self, replica: usize, id: CallId, generation: Generation, from: Mode) {
        if from == Mode::Suspended {
            let believes_person = self.replicas[replica].machine.agent().is_some_and(|agent| {
                agent.mode == Mode::Suspended && agent.suspended_by == SuspendedBy::Person
            });
            if believes_person {
                return self.violated(format!("replica {replica} resumes what it knows a person suspended"));
            }
            // One resume per suspended life: the generation that it ends names that life.
            let under_way = &mut self.replicas[replica].resumes_under_way;
            if under_way.values().any(|other| *other == generation) {
                return self.violated(format!("replica {replica} has two resumes under way"));
            }
            under_way.insert(id, generation);
        }
        self.call(replica, id, Call::Resume(generation, from));
        if from == Mode::Suspended && self.sabotage == Some(Sabotage::DoubleResume) && self.percent(20) {
            self.resume(replica, id, generation, from);
        }
    }

    /// Sends a call on its way. It may be lost, applied without an answer, or applied long after it was given up.
    fn call(&mut self, replica: usize, id: CallId, call: Call) {
        self.note(|_| format!("{replica} calls {id:?} {call:?}"));
        let incarnation = self.replicas[replica].incarnation;
        let unknown = Err(WriteError::Unknown("no answer".into()));
        self.suspensions_under_way += u32::from(matches!(call, Call::Suspend(..)));
        let there = self.delay(0, 100);
        if !self.percent(self.plan.lost_calls) {
            self.after(there, Happening::Apply(replica, incarnation, id, call));
            return;
        }
        let lost = self.rng.u32(0..4);
        let timeout = if self.rng.bool() { CALL_TIMEOUT } else { there };
        if lost == 0 {
            // Never arrives.
            self.suspensions_under_way -= u32::from(matches!(call, Call::Suspend(..)));
            if self.rng.bool() {
                // And the caller knows.
                let not_sent = Err(WriteError::NotSent("refused".into()));
                return self.after(there, Happening::Answer(replica, incarnation, id, not_sent));
            }
        } else if lost == 1 && matches!(call, Call::Suspend(..)) {
            self.suspensions_under_way -= 1;
            let refused = Err(WriteError::Refused(drowse::lifecycle::Failure::new(
                drowse::lifecycle::FailureClass::Admission,
                "no",
            )));
            return self.after(there, Happening::Answer(replica, incarnation, id, refused));
        } else {
            // Arrives, perhaps long after it was given up; the answer gets lost.
            let late = if lost == 2 { there } else { self.delay(0, 12_000) };
            self.after(late, Happening::Apply(replica, u32::MAX, id, call));
        }
        self.after(timeout, Happening::Answer(replica, incarnation, id, unknown));
    }

    fn apply(&mut self, replica: usize, incarnation: u32, id: CallId, call: Call) {
        let result = match call {
            Call::Suspend(revision, by) => {
                self.suspensions_under_way -= 1;
                let result = self.world.suspend(revision, by);
                if result.is_ok() && by == SuspendedBy::Idle {
                    self.expect_nothing_in_flight();
                    self.expect_no_data_passed();
                }
                result
            }
            Call::Resume(generation, from) => self.world.resume(generation, from),
            Call::Read => Ok(self.world.object.clone()),
        };
        self.note(|_| format!("the API applies {id:?} {call:?} of {replica}: {result:?}"));
        if result.is_ok() && !matches!(call, Call::Read) {
            self.object_changed();
        }
        let back = self.delay(0, 100);
        self.after(back, Happening::Answer(replica, incarnation, id, result));
    }

    // What the world does.

    fn controller_acts(&mut self, read: Read) {
        self.controller_busy = false;
        match self.world.act(read) {
            Acted::Nothing => {}
            Acted::Ending(number) => {
                self.note(|_| format!("the controller ends pod {number} on {read:?}"));
                let ended_by_idle = self.world.current(number).is_some_and(|pod| pod.ended_by_idle);
                let on_it = self
                    .callers
                    .iter()
                    .filter(|c| matches!(c, Caller::InFlight { pod, .. } if *pod == number));
                if ended_by_idle && on_it.count() > 0 {
                    self.violated(format!("pod {number} was suspended with a request on it"));
                }
                self.break_requests(number);
                let grace = self.delay(0, 3_000);
                self.after(grace, Happening::PodEnds(number));
                self.pod_changed();
            }
            Acted::Created(number) => {
                self.note(|_| format!("the controller creates pod {number}"));
                let temper = self.temper();
                if let Some(pod) = self.world.current(number) {
                    pod.temper = temper;
                }
                self.start_pod(number);
                self.pod_changed();
            }
        }
        self.tell_object();
        if self.world.object.generation != read.generation {
            self.wake_controller();
        }
    }

    fn start_pod(&mut self, number: u64) {
        let addressed = self.delay(10, 500);
        let bad = self.percent(self.plan.bad_pods);
        let kind = if bad { self.rng.u32(0..4) } else { 9 };
        if kind == 0 {
            return self.after(addressed, Happening::PodCrashes(number));
        }
        self.after(addressed, Happening::PodUp(number));
        if kind != 1 {
            let listens = self.delay(0, 400);
            self.after(addressed + listens, Happening::PodListens(number));
        }
        let dies = self.delay(0, 15_000);
        match kind {
            2 => self.after(addressed + dies, Happening::PodCrashes(number)),
            3 => self.after(addressed + dies, Happening::PodVanishes(number)),
            _ => {}
        }
    }

    fn pod_gone(&mut self, number: u64) {
        if self.world.current(number).is_none() {
            return;
        }
        let gone = self.world.pod.take();
        self.note(|_| format!("pod {number} is gone"));
        self.break_requests(number);
        let revision = self.world.next_revision();
        if let Some(pod) = gone {
            for replica in 0..self.replicas.len() {
                self.observe(replica, |_| Event::PodGone { pod: pod.uid(), revision });
            }
        }
        self.wake_controller();
    }

    fn object_changed(&mut self) {
        self.wake_controller();
        self.tell_object();
    }

    fn wake_controller(&mut self) {
        if !self.controller_busy {
            self.controller_busy = true;
            let delay = self.delay(0, 100);
            self.after(delay, Happening::ControllerReads);
        }
    }

    fn tell_object(&mut self) {
        let mut seen = self.world.object.clone();
        if self.sabotage == Some(Sabotage::NoObs) {
            seen.observed = seen.generation;
        }
        for replica in 0..self.replicas.len() {
            self.observe(replica, |_| Event::Agent(seen.clone()));
        }
    }

    fn pod_changed(&mut self) {
        let Some(pod) = self.world.pod.clone() else { return };
        let owner = self.world.object.uid.clone();
        for replica in 0..self.replicas.len() {
            self.observe(replica, |_| Event::Pod(Pod::seen(&pod, &owner)));
        }
    }

    /// Observations come late, out of order, and sometimes twice.
    fn observe(&mut self, replica: usize, event: impl Fn(&Self) -> Event<CallerId>) {
        let incarnation = self.replicas[replica].incarnation;
        let strange = self.percent(self.plan.strange_observations);
        let delay = if strange { self.delay(0, 2_000) } else { self.delay(0, 30) };
        self.after(delay, Happening::To(replica, incarnation, event(self)));
        if strange && self.rng.bool() {
            let again = self.delay(0, 4_000);
            self.after(again, Happening::To(replica, incarnation, event(self)));
        }
    }

    /// A replica that starts lists everything first.
    fn tell_everything(&mut self, replica: usize) {
        let incarnation = self.replicas[replica].incarnation;
        let object = self.world.object.clone();
        if let Some(pod) = &self.world.pod {
            let seen = pod.seen(&object.uid);
            self.to(replica, incarnation, Event::Pod(seen));
        }
        self.to(replica, incarnation, Event::Agent(object));
    }

    // The oracle.

    fn expect_nothing_in_flight(&mut self) {
        let pod_is_dead = self.world.pod.as_ref().is_none_or(|pod| pod.terminating || !pod.listening);
        let in_flight = self.callers.iter().filter(|c| matches!(c, Caller::InFlight { .. })).count();
        if in_flight > 0 && !pod_is_dead {
            self.violated(format!("suspended with {in_flight} requests in flight"));
        }
    }

    fn expect_quiet(&mut self) {
        for caller in 0..self.callers.len() {
            if matches!(
                self.callers[caller],
                Caller::Waiting { .. } | Caller::InFlight { .. } | Caller::Coming
            ) {
                self.violated(format!("caller {caller} never ended: {:?}", self.callers[caller]));
            }
        }
        if self.world.object.mode == Mode::Running {
            self.violated("an idle agent was never suspended".into());
        }
        for (number, replica) in self.replicas.iter().enumerate() {
            if replica.pacer.in_flight() > 0 || replica.pacer.waiting() > 0 {
                let violation = format!("replica {number} still has a turn to start");
                return self.violated(violation);
            }
        }
    }

    pub fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    // Chance and time.

    pub fn after(&mut self, delay: Duration, happening: Happening) {
        self.happened += 1;
        self.queue.insert((self.now + delay, self.happened), happening);
    }

    /// Mostly short, sometimes long.
    pub fn delay(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        let most = if self.rng.u32(0..4) > 0 { from_ms + (to_ms - from_ms) / 8 } else { to_ms };
        Duration::from_micros(self.rng.u64(from_ms * 1_000..=most * 1_000))
    }

    /// Nothing goes wrong any more once it is calm.
    fn percent(&mut self, chance: u32) -> bool {
        !self.calm && chance > 0 && self.rng.u32(0..100) < chance
    }

    pub fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:?} {}", self.now, line(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }
}
