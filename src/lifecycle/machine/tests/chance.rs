//! Everything that can happen to an agent, drawn by chance; much of it makes no sense where it comes.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::agent::{AgentUid, PodUid, Revision};
use crate::lifecycle::phase::{Phase, ResumeStep};
use crate::lifecycle::{
    AgentSeen, CallId, DrainQuestion, Entry, Event, Failure, FailureClass, Mode, PodSeen, PodState,
    SuspendedBy, WriteError,
};

use crate::policy::ping::{PingAnswer, PingFault, PingFaultKind};
use crate::units::{Ping, Written};

use super::bench::{Bench, refused, up};
use super::station::Station;

/// Something that happens, or does not make sense.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Object(Mode, SuspendedBy),
    /// The controller has acted on the newest spec.
    Observed,
    Recreated(Mode),
    Gone,
    Pod(u8, bool, PodState),
    SomebodyElsesPod,
    PodGone,
    /// One of the observations so far, again or for the first time.
    Tell(prop::sample::Index),
    Arrive(u64, bool),
    Leave(prop::sample::Index),
    Enter,
    /// A request ends; its place is told at once, or by a later [`Step::PlaceFreed`].
    End(bool),
    PlaceFreed,
    Demand,
    SuspendNow(SuspendedBy),
    Pop,
    Granted,
    Answer(prop::sample::Index, Answer),
    StrayAnswer(u64),
    Answers,
    StrayAnswers(u8),
    Asked(bool),
    Acked(bool),
    Vetoed(bool),
    /// One of the questions so far is answered, be it not the first time.
    Pinged(prop::sample::Index, PingAnswer),
    Pass(u64),
    ToDeadline,
    Leads(bool),
    Rejoins,
    Limit(u32),
    Policy(u8),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Done,
    DoneUnseen,
    Lost,
    Conflict,
    Refused,
    Gone,
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Running), Just(Mode::Suspended)]
}

fn by() -> impl Strategy<Value = SuspendedBy> {
    prop_oneof![3 => Just(SuspendedBy::Idle), 1 => Just(SuspendedBy::Person)]
}

fn pod_state() -> impl Strategy<Value = PodState> {
    let failed = |class| PodState::Failed(Failure::new(class, "by chance"));
    prop_oneof![
        2 => Just(PodState::Starting),
        6 => Just(up()),
        1 => Just(failed(FailureClass::Crash)),
        1 => Just(failed(FailureClass::Image)),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        8 => Just(Answer::Done),
        2 => Just(Answer::DoneUnseen),
        2 => Just(Answer::Lost),
        1 => Just(Answer::Conflict),
        1 => Just(Answer::Refused),
        1 => Just(Answer::Gone),
    ]
}

fn ping_answer() -> impl Strategy<Value = PingAnswer> {
    let fault = |kind| PingAnswer::Failed(PingFault::new(kind, "by chance"));
    prop_oneof![
        3 => Just(PingAnswer::Healthy),
        3 => Just(PingAnswer::Busy),
        1 => Just(fault(PingFaultKind::TimedOut)),
        1 => Just(fault(PingFaultKind::Invalid)),
        1 => Just(PingAnswer::NotAsked),
    ]
}

fn of_the_world() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (mode(), by()).prop_map(|(mode, by)| Step::Object(mode, by)),
        2 => Just(Step::Observed),
        1 => mode().prop_map(Step::Recreated),
        1 => Just(Step::Gone),
        5 => (0..3_u8, prop::bool::weighted(0.2), pod_state())
            .prop_map(|(name, terminating, state)| Step::Pod(name, terminating, state)),
        1 => Just(Step::SomebodyElsesPod),
        2 => Just(Step::PodGone),
        3 => any::<prop::sample::Index>().prop_map(Step::Tell),
        8 => (any::<prop::sample::Index>(), answer()).prop_map(|(which, how)| Step::Answer(which, how)),
        1 => (0..9_u64).prop_map(Step::StrayAnswer),
        6 => Just(Step::Answers),
        1 => (0..3_u8).prop_map(Step::StrayAnswers),
    ]
}

fn of_people() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..100_000_u64, prop::bool::weighted(0.8)).prop_map(|(ms, wakes)| Step::Arrive(ms, wakes)),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        3 => Just(Step::Enter),
        3 => any::<bool>().prop_map(Step::End),
        2 => Just(Step::PlaceFreed),
        1 => Just(Step::Demand),
        1 => by().prop_map(Step::SuspendNow),
        1 => (0..4_u32).prop_map(Step::Limit),
        1 => (0..8_u8).prop_map(Step::Policy),
    ]
}

fn of_drowse() -> impl Strategy<Value = Step> {
    let mostly = || prop::bool::weighted(0.9);
    prop_oneof![
        5 => Just(Step::Pop),
        5 => Just(Step::Granted),
        2 => mostly().prop_map(Step::Asked),
        3 => mostly().prop_map(Step::Acked),
        1 => mostly().prop_map(Step::Vetoed),
        3 => (any::<prop::sample::Index>(), ping_answer()).prop_map(|(which, how)| Step::Pinged(which, how)),
        3 => (1..100_000_u64).prop_map(Step::Pass),
        6 => Just(Step::ToDeadline),
        1 => mostly().prop_map(Step::Leads),
        1 => Just(Step::Rejoins),
    ]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(prop_oneof![of_the_world(), of_people(), of_drowse()], 1..60)
}

pub(super) fn station() -> impl Strategy<Value = Station> {
    prop::sample::select(Station::ALL.to_vec())
}

/// What has been seen of the world, to be told again.
#[derive(Default)]
pub(super) struct News(Vec<Told>);

#[derive(Clone)]
enum Told {
    Agent(AgentSeen),
    AgentGone(AgentUid),
    Pod(PodSeen),
    PodGone(PodUid, Revision),
}

impl Told {
    fn event(self) -> Event<u32> {
        match self {
            Self::Agent(seen) => Event::Agent(seen),
            Self::AgentGone(uid) => Event::AgentGone(uid),
            Self::Pod(seen) => Event::Pod(seen),
            Self::PodGone(pod, revision) => Event::PodGone { pod, revision },
        }
    }
}

impl Bench {
    pub(super) fn happen(&mut self, step: Step, news: &mut News) {
        match step {
            Step::Object(mode, by) => {
                let observed = self.object.observed;
                self.set(mode, by);
                self.object.observed = observed;
                news.0.push(Told::Agent(self.object.clone()));
            }
            Step::Observed => {
                self.revision += 1;
                self.object.revision = Revision(self.revision);
                self.object.observed = self.object.generation;
                news.0.push(Told::Agent(self.object.clone()));
            }
            Step::Recreated(mode) => {
                news.0.push(Told::AgentGone(self.object.uid.clone()));
                self.set_recreated(mode);
                news.0.push(Told::Agent(self.object.clone()));
            }
            Step::Gone => {
                let uid = self.object.uid.clone();
                self.set_recreated(Mode::Suspended);
                self.feed(Event::AgentGone(uid));
            }
            Step::Pod(name, terminating, state) => {
                let seen = self.set_pod(&format!("p{name}"), terminating, state);
                news.0.push(Told::Pod(seen));
            }
            Step::SomebodyElsesPod => {
                let mut seen = self.set_pod("theirs", false, up());
                seen.owner = AgentUid("other".into());
                self.pod = Some(seen.clone());
                news.0.push(Told::Pod(seen));
            }
            Step::PodGone => {
                self.revision += 1;
                if let Some(pod) = self.pod.take() {
                    news.0.push(Told::PodGone(pod.uid, Revision(self.revision)));
                }
            }
            Step::Tell(_) if news.0.is_empty() => {}
            Step::Tell(which) => {
                let told = which.get(&news.0).clone();
                self.feed(told.event());
            }
            Step::Answer(..) | Step::StrayAnswer(_) | Step::Answers | Step::StrayAnswers(_) => {
                self.answer(&step)
            }
            Step::Arrive(..) | Step::Leave(_) | Step::Enter | Step::End(_) | Step::PlaceFreed => {
                self.caller(&step);
            }
            _ => self.drowse(&step),
        }
        // Most news are told at once.
        if !self.revision.is_multiple_of(3)
            && let Some(told) = news.0.last()
        {
            self.feed(told.clone().event());
        }
    }

    fn answer(&mut self, step: &Step) {
        match *step {
            Step::Answer(which, how) if !self.calls.is_empty() => {
                let pending = self.calls.remove(which.index(self.calls.len()));
                let unknown = Err(WriteError::Unknown("by chance".into()));
                let result = match how {
                    Answer::Done => self.apply(&pending),
                    Answer::DoneUnseen => self.apply(&pending).and(unknown),
                    Answer::Lost => unknown,
                    Answer::Conflict => Err(WriteError::Conflict),
                    Answer::Refused => Err(refused()),
                    Answer::Gone => {
                        self.set_recreated(Mode::Suspended);
                        Err(WriteError::Gone)
                    }
                };
                self.feed(Event::Done { id: pending.id, result });
            }
            Step::StrayAnswer(id) => {
                let awaited = self.machine.call.as_ref().is_some_and(|call| call.id == CallId(id));
                if !awaited {
                    self.feed(Event::Done { id: CallId(id), result: Err(refused()) });
                }
            }
            Step::Answers => {
                if let Phase::Resuming(resume) = self.machine.phase()
                    && let ResumeStep::Probing(life) = &resume.step
                {
                    let life = life.clone();
                    assert!(self.awaits(&life));
                    self.feed(Event::Answers(life));
                }
            }
            Step::StrayAnswers(name) => drop(self.answers(&format!("p{name}"))),
            _ => {}
        }
    }

    fn caller(&mut self, step: &Step) {
        match *step {
            Step::Arrive(ms, wakes) => {
                let caller = u32::try_from(self.arrived.len()).unwrap();
                self.arrive(caller, Duration::from_millis(ms), wakes);
            }
            Step::Leave(which) if !self.arrived.is_empty() => {
                let caller = *which.get(&self.arrived);
                self.leaves(caller);
            }
            Step::Enter => {
                let open = self.gate.is_open();
                let before = self.gate.in_flight();
                let entry = self.enter();
                assert!(open || entry == Entry::Closed);
                assert_eq!(self.gate.in_flight(), before + u32::from(entry == Entry::Admitted));
            }
            Step::End(told) if self.gate.in_flight() > 0 && self.leave_gate() && told => {
                self.feed(Event::PlaceFreed);
            }
            Step::PlaceFreed => drop(self.feed(Event::PlaceFreed)),
            _ => {}
        }
    }

    fn drowse(&mut self, step: &Step) {
        let revision = |bench: &Self, right: bool| {
            let known = bench.machine.agent().map_or(Revision(0), |agent| agent.revision);
            if right { known } else { Revision(known.0 / 2) }
        };
        match *step {
            Step::Demand => drop(self.demand()),
            Step::SuspendNow(by) => drop(self.feed(Event::SuspendNow(by))),
            Step::Pop if self.oracle.turns.queued > 0 => self.pop_turn(),
            Step::Granted if self.oracle.turns.granted > 0 => drop(self.told_of_turn()),
            Step::Asked(right) => {
                let uid = self.object.uid.clone();
                self.feed(Event::DrainAsked(DrainQuestion {
                    uid,
                    revision: revision(self, right),
                    ordered: false,
                }));
            }
            Step::Acked(right) => drop(self.feed(Event::PeersAcknowledged(revision(self, right)))),
            Step::Vetoed(right) => drop(self.feed(Event::PeersVetoed(revision(self, right)))),
            Step::Pinged(which, ref answer) if !self.pings.is_empty() => {
                let (id, answer) = (*which.get(&self.pings), answer.clone());
                self.feed(Event::Pinged { id, answer });
            }
            Step::Pass(ms) => drop(self.after(Duration::from_millis(ms))),
            Step::ToDeadline if self.machine.next_deadline().is_some() => {
                self.at_deadline();
                self.expect_time_goes_on(3);
            }
            Step::Leads(leads) => self.may_suspend = leads,
            Step::Rejoins => {
                self.feed(Event::Rejoin(self.object.revision));
            }
            Step::Limit(limit) => self.policy.max_in_flight = NonZeroU32::new(limit),
            Step::Policy(which) => {
                self.policy.idle_timeout = Duration::from_secs(u64::from(which) * 20 + 1);
                self.policy.suspend = which != 1;
                self.policy.dry_run = which == 2;
                self.policy.resume_user_suspended = which == 3;
                self.policy.min_running = Duration::from_secs(u64::from(which == 4) * 30);
                self.policy.manage = which != 5 && self.ever_managed;
                self.policy.busy_cap = Duration::from_mins(1 + 9 * u64::from(which == 7));
                self.policy.ping =
                    if which >= 6 { Ping::read(&format!("/{}", which % 2)).unwrap() } else { Ping::Off };
            }
            _ => {}
        }
    }
}
