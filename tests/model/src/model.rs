//! The model: what can happen in a state, and what must never have happened.

use stateright::{Model, Property};

use crate::product::{Answer, Doing, DoorId, Product, Request, Told};
use crate::setup::{Guard, Setup};
use crate::state::{Ask, Call, NOBODY, Place, PodRevision, Stage, State};

pub use crate::state::Violation;

/// What must hold in every state.
pub const UNHARMED: &str = "no request fails because of a suspend decision";
pub const NOT_ASTRAY: &str = "no request reaches a pod of somebody else, or of another life";
pub const RESUMED_ONCE: &str = "at most one resume takes effect for each suspended life";
pub const NOT_STUCK: &str = "no caller that is held is stuck";

/// The protocol in one setup.
pub struct Protocol {
    pub setup: Setup,
    pub(crate) product: Product,
}

/// Something that happens. Calls are named by their place in the state.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Action {
    CallerComes(usize),
    RequestEnds(usize),
    /// The watch shows a revision of the object.
    ShowObject(usize, u8),
    /// The watch shows what happened to a pod.
    ShowPod(usize, PodRevision),
    /// The leader finds the agent idle.
    FindIdle(usize),
    /// A deadline has come.
    Tick(usize),
    /// The pod takes long to come, and the controller is reminded.
    Remind(usize),
    Ask {
        from: u8,
        to: u8,
        revision: u8,
    },
    Reply {
        leader: usize,
        by: usize,
        yes: bool,
    },
    Apply(usize),
    Answer(usize),
    TimeOut(usize),
    NotSent(usize),
    ControllerReads,
    ControllerActs,
    PodEnds,
    PodDies,
    AddressTaken,
    /// The pod that is probed answers, and is attested.
    Attest(usize),
    /// The machine is told of that.
    Answers(usize),
    Crash(usize),
    Start(usize),
    CutOff(usize),
    /// It has been cut off for so long that the others wait for its word no more, and has fenced itself before that.
    CountOut(usize),
    Heal(usize),
}

impl Protocol {
    pub fn new(setup: Setup) -> Self {
        Self { setup, product: Product::new() }
    }

    fn start_states(&self) -> State {
        let mut state = State::new(&self.setup);
        let newest = state.pod_revision();
        for door in 0..self.setup.front_doors - usize::from(self.setup.newcomer) {
            let object = state.object();
            self.tell(&mut state, door, Told::Object(object));
            state.doors[door].pod_seen = newest;
            self.tell(&mut state, door, pod_told(newest));
            self.tell(&mut state, door, Told::Answers(1));
        }
        self.canonical(state)
    }

    fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::CallerComes(door) => self.caller_comes(state, door),
            Action::RequestEnds(door) => self.request_ends(state, door),
            Action::ShowObject(door, revision) => {
                let object = state.objects.iter().find(|object| object.revision == revision).copied();
                self.tell(state, door, Told::Object(object.expect("it is among what may be shown")));
            }
            Action::ShowPod(door, revision) => {
                state.doors[door].pod_seen = state.doors[door].pod_seen.max(revision);
                self.tell(state, door, pod_told(revision));
            }
            Action::FindIdle(door) => {
                state.left.suspends -= 1;
                self.tell(state, door, Told::Tick);
            }
            Action::Tick(door) => self.tell(state, door, Told::Tick),
            Action::Remind(door) => {
                state.left.reminders -= 1;
                self.tell(state, door, Told::Tick);
            }
            Action::Ask { from, to, revision } => self.asked(state, Ask { from, to, revision }),
            Action::Reply { leader, by, yes } => self.answered(state, leader, by, yes),
            Action::Apply(index) => self.apply(state, index),
            Action::Answer(index) => match state.calls[index].place {
                Place::Answered(answer) => self.answer(state, index, answer),
                _ => self.answer(state, index, Answer::Unknown),
            },
            Action::TimeOut(index) => self.times_out(state, index),
            Action::NotSent(index) => {
                state.left.losses -= u8::from(state.calls[index].place == Place::Sent);
                self.answer(state, index, Answer::NotSent);
            }
            Action::ControllerReads => Self::controller_reads(state),
            Action::ControllerActs => self.controller_acts(state),
            Action::PodEnds => self.pod_gone(state),
            Action::PodDies => {
                state.left.deaths -= 1;
                self.pod_gone(state);
            }
            Action::AddressTaken => {
                state.left.reuses -= 1;
                state.address_taken = Some(state.pods_made);
            }
            Action::Attest(door) => {
                state.doors[door].attested = true;
                if self.setup.prompt_answers {
                    self.pod_answers(state, door);
                }
            }
            Action::Answers(door) => self.pod_answers(state, door),
            Action::Crash(door) => self.crash(state, door),
            Action::Start(door) => self.start(state, door),
            Action::CutOff(door) => Self::cut_off(state, door),
            Action::CountOut(door) => self.count_out(state, door),
            Action::Heal(door) => self.heal(state, door),
        }
    }

    fn actions_of_world(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        for (index, call) in state.calls.iter().enumerate() {
            match call.place {
                Place::Sent => actions.push(Action::Apply(index)),
                Place::Answered(_) | Place::Unanswered => actions.push(Action::Answer(index)),
                Place::Nowhere => actions.extend([Action::Answer(index), Action::NotSent(index)]),
            }
            if left.losses > 0 && call.by != NOBODY && matches!(call.place, Place::Sent | Place::Answered(_))
            {
                actions.push(Action::TimeOut(index));
                if call.place == Place::Sent {
                    actions.push(Action::NotSent(index));
                }
            }
        }
        if state.read.is_some() {
            actions.push(Action::ControllerActs);
        } else if self.controller_has_work(state) {
            actions.push(Action::ControllerReads);
        }
        match state.pod {
            Some(pod) => {
                if pod.terminating {
                    actions.push(Action::PodEnds);
                } else if left.deaths > 0 {
                    actions.push(Action::PodDies);
                }
            }
            None if left.reuses > 0 && self.may_take_address(state) => actions.push(Action::AddressTaken),
            None => {}
        }
        for ask in &state.asks {
            let to = &state.doors[usize::from(ask.to)];
            if to.up && !to.cut_off {
                actions.push(Action::Ask { from: ask.from, to: ask.to, revision: ask.revision });
            }
        }
    }

    fn actions_of_door(&self, state: &State, number: usize, actions: &mut Vec<Action>) {
        let (door, left) = (&state.doors[number], &state.left);
        if !door.up {
            actions.push(Action::Start(number));
            return;
        }
        let facts = door.facts;
        if left.requests > 0 {
            actions.push(Action::CallerComes(number));
        }
        if door.in_flight + door.past_gate > 0 {
            actions.push(Action::RequestEnds(number));
        }
        match facts.doing {
            Doing::Serves(_) => {
                if number < self.setup.leaders && left.suspends > 0 && door.in_flight == 0 {
                    actions.push(Action::FindIdle(number));
                }
            }
            // It comes without that: whoever is held is stuck, or not, whether a controller is reminded or not.
            Doing::AwaitsPod => {
                if left.reminders > 0 && facts.has_deadline {
                    actions.push(Action::Remind(number));
                }
            }
            _ => {
                if facts.has_deadline && !facts.awaits_call && self.setup.has(Guard::Deadline) {
                    actions.push(Action::Tick(number));
                }
            }
        }
        match facts.doing {
            Doing::Probes(_) if door.attested => actions.push(Action::Answers(number)),
            Doing::Probes(pod) if self.answers(state, pod) => actions.push(Action::Attest(number)),
            _ => {}
        }
        if left.crashes > 0 {
            actions.push(Action::Crash(number));
        }
        if door.cut_off {
            actions.push(Action::Heal(number));
            // What is in flight has ended by then.
            if left.count_outs > 0 && door.exists && door.in_flight + door.past_gate == 0 {
                actions.push(Action::CountOut(number));
            }
            return;
        }
        if left.cuts > 0 {
            actions.push(Action::CutOff(number));
        }
        self.watches(state, number, facts.revision, actions);
        if let Some(question) = door.question {
            for by in (0..state.doors.len()).filter(|by| *by != number) {
                if question.yes >> by & 1 == 1 {
                    actions.push(Action::Reply { leader: number, by, yes: true });
                }
                if question.no >> by & 1 == 1 {
                    actions.push(Action::Reply { leader: number, by, yes: false });
                }
            }
        }
    }

    /// What the watches of a front door may show next: of the object the next or the newest revision, of the pods what comes next;
    /// and if they go back in time, everything that was before.
    fn watches(&self, state: &State, number: usize, known: u8, actions: &mut Vec<Action>) {
        let mut ahead = state.objects.iter().filter(|object| object.revision > known);
        let next = ahead.next();
        for object in next.into_iter().chain(ahead.next_back()) {
            actions.push(Action::ShowObject(number, object.revision));
        }
        let seen = state.doors[number].pod_seen;
        if let Some(next) = next_of_pods(seen, state.pod_revision()) {
            actions.push(Action::ShowPod(number, next));
        }
        if self.setup.time_travel {
            let before = state.objects.iter().filter(|object| object.revision < known);
            actions.extend(before.map(|object| Action::ShowObject(number, object.revision)));
            let made = (1..=seen.pod).map(|pod| PodRevision { pod, stage: Stage::Made });
            actions.extend(made.filter(|made| *made < seen).map(|made| Action::ShowPod(number, made)));
        }
    }

    /// What a probe finds: something answers there, and a read past every cache says that it is this pod and stays.
    fn answers(&self, state: &State, pod: u8) -> bool {
        let there = state.pod.filter(|there| there.number == pod);
        if self.setup.has(Guard::Ident) {
            there.is_some_and(|there| !there.terminating)
        } else {
            there.is_some() || state.address_taken == Some(pod)
        }
    }

    fn pod_answers(&self, state: &mut State, door: usize) {
        if let Doing::Probes(pod) = state.doors[door].facts.doing {
            self.tell(state, door, Told::Answers(pod));
        }
    }

    /// Somebody waits, and nothing that must happen some time would change anything.
    fn is_stuck(&self, state: &State) -> bool {
        if state.violation.is_some() || !state.doors.iter().any(|door| door.facts.held > 0) {
            return false;
        }
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        let must = |action: &&Action| match **action {
            Action::CallerComes(_)
            | Action::FindIdle(_)
            | Action::Remind(_)
            | Action::TimeOut(_)
            | Action::PodDies
            | Action::AddressTaken
            | Action::Crash(_)
            | Action::CutOff(_)
            | Action::CountOut(_) => false,
            Action::Apply(index) => state.calls[index].by != NOBODY,
            _ => true,
        };
        !actions
            .iter()
            .filter(must)
            .any(|action| self.next_state(state, *action).is_some_and(|next| next != *state))
    }
}

fn pod_told(revision: PodRevision) -> Told {
    let number = revision.pod;
    match revision.stage {
        Stage::Gone => Told::PodGone(number),
        stage => Told::Pod { number, terminating: stage == Stage::Terminating },
    }
}

/// What is shown of the pods after this, if there is anything.
fn next_of_pods(seen: PodRevision, newest: PodRevision) -> Option<PodRevision> {
    if seen >= newest {
        return None;
    }
    Some(match seen {
        PodRevision { pod, .. } if pod == newest.pod => newest,
        PodRevision { pod, stage: Stage::Gone } => PodRevision { pod: pod + 1, stage: Stage::Made },
        PodRevision { pod, .. } => PodRevision { pod, stage: Stage::Gone },
    })
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start_states()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_some() {
            return;
        }
        self.actions_of_world(state, actions);
        for door in 0..state.doors.len() {
            self.actions_of_door(state, door, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, action);
        Some(self.canonical(next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(UNHARMED, |_, state: &State| {
                !matches!(
                    state.violation,
                    Some(Violation::SuspendedInUse | Violation::EndedInUse | Violation::SentToEnded)
                )
            }),
            Property::always(NOT_ASTRAY, |_, state: &State| state.violation != Some(Violation::WrongTenant)),
            Property::always(RESUMED_ONCE, |_, state: &State| {
                state.violation != Some(Violation::ResumedTwice)
            }),
            Property::always(NOT_STUCK, |model: &Self, state: &State| !model.is_stuck(state)),
        ]
    }
}
