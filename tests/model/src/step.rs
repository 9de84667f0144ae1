//! The shell of a front door: what it is told, and what is done about what its machine wants.

use crate::model::Protocol;
use crate::product::{Answer, Doing, Facts, Object, Request, Told, Wanted};
use crate::setup::Guard;
use crate::state::{Ask, Call, Door, NOBODY, Place, PodRevision, Question, Stage, State, Violation};

impl Protocol {
    /// Tells a front door something, and does what its machine wants.
    pub(crate) fn tell(&self, state: &mut State, door: usize, told: Told) {
        let outcome = self.product.tell(state.doors[door].id, self.as_seen(told));
        state.doors[door].id = outcome.next;
        state.doors[door].facts = outcome.facts;
        if outcome.forgets_call {
            forget_call(state, door);
        }
        if !matches!(outcome.facts.doing, Doing::Probes(_)) {
            state.doors[door].attested = false;
        }
        for wanted in outcome.wanted.iter() {
            match *wanted {
                Wanted::Call { request, awaited } => call(state, door, request, awaited),
                Wanted::AskPeers(revision) => self.ask_peers(state, door, revision),
                // To whom is for whoever delivered the question, see [`Protocol::asked`].
                Wanted::Reply { .. } => {}
                Wanted::Release => self.send(state, door, outcome.facts),
                Wanted::NewProbe => state.doors[door].attested = false,
            }
        }
    }

    /// Of the status only whether it is as new as the spec makes a difference. Without the guard OBS, it always seems to be.
    fn as_seen(&self, told: Told) -> Told {
        let seen = |object: Object| {
            let is_new = object.observed >= object.generation || !self.setup.has(Guard::Obs);
            Object { observed: if is_new { object.generation } else { 0 }, ..object }
        };
        match told {
            Told::Object(object) => Told::Object(seen(object)),
            Told::Done(Answer::Object(object)) => Told::Done(Answer::Object(seen(object))),
            _ => told,
        }
    }

    /// Somebody calls.
    pub(crate) fn caller_comes(&self, state: &mut State, door: usize) {
        state.left.requests -= 1;
        let facts = state.doors[door].facts;
        match facts.doing {
            Doing::Serves(_) => {
                self.tell(state, door, Told::Enter);
                self.send(state, door, facts);
            }
            Doing::Drains { pod: Some(pod), fenced: true } if !self.setup.has(Guard::Fence) => {
                if state.ended & (1 << pod) != 0 {
                    state.violated(Violation::SentToEnded);
                } else if state.pod.is_some_and(|there| there.number == pod) {
                    state.doors[door].past_gate += 1;
                }
            }
            _ => self.tell(state, door, Told::Arrive),
        }
    }

    /// A request goes to the pod that the front door believes in. This is where a wrong belief shows.
    fn send(&self, state: &mut State, door: usize, facts: Facts) {
        let Doing::Serves(pod) = facts.doing else { unreachable!("callers pass while the gate is open") };
        if state.ended & (1 << pod) != 0 {
            state.violated(Violation::SentToEnded);
        } else if state.pod.is_some_and(|there| there.number == pod) {
            state.doors[door].in_flight += 1;
        } else if state.address_taken == Some(pod) {
            // On a new connection, which trusts the watch.
            state.violated(Violation::WrongTenant);
        } else {
            // It died by itself, and so does the request.
            self.tell(state, door, Told::Leave);
        }
    }

    /// Every other front door that exists is asked, also one that is down.
    fn ask_peers(&self, state: &mut State, door: usize, revision: u8) {
        if !self.setup.has(Guard::Ack) {
            return self.tell(state, door, Told::PeersAcknowledged(revision));
        }
        let mut missing = 0;
        for to in (0..state.doors.len()).filter(|to| *to != door) {
            if state.doors[to].exists {
                missing |= 1 << to;
                state.asks.push(Ask { from: byte(door), to: byte(to), revision });
            }
        }
        if missing == 0 {
            return self.tell(state, door, Told::PeersAcknowledged(revision));
        }
        state.doors[door].question = Some(Question { revision, missing, yes: 0, no: 0 });
    }

    /// The question reaches a front door. Its answer counts if the question is still open.
    pub(crate) fn asked(&self, state: &mut State, ask: Ask) {
        let (from, to) = (usize::from(ask.from), usize::from(ask.to));
        let outcome = self.product.tell(state.doors[to].id, Told::DrainAsked(ask.revision));
        self.tell(state, to, Told::DrainAsked(ask.revision));
        let yes = outcome.wanted.contains(&Wanted::Reply { revision: ask.revision, yes: true });
        if let Some(question) = &mut state.doors[from].question
            && question.revision == ask.revision
        {
            let answers = if yes { &mut question.yes } else { &mut question.no };
            *answers |= 1 << to;
        }
    }

    /// An answer reaches the leader.
    pub(crate) fn answered(&self, state: &mut State, leader: usize, by: usize, yes: bool) {
        let Some(question) = &mut state.doors[leader].question else { return };
        let revision = question.revision;
        question.missing &= !(1 << by);
        if yes && question.missing != 0 {
            question.yes &= !(1 << by);
            return;
        }
        state.doors[leader].question = None;
        let told = if yes { Told::PeersAcknowledged(revision) } else { Told::PeersVetoed(revision) };
        self.tell(state, leader, told);
    }

    /// It crashes; what it has sent may yet arrive.
    pub(crate) fn crash(&self, state: &mut State, door: usize) {
        state.left.crashes -= 1;
        forget_call(state, door);
        state.doors[door] = Door { up: false, ..Door::fresh(door < self.setup.leaders) };
    }

    /// It starts, with a consistent read of the object, and a list of the pods. Without the guard JOIN it seems to it as if it
    /// had seen the object change.
    pub(crate) fn start(&self, state: &mut State, door: usize) {
        state.doors[door].exists = true;
        state.doors[door].up = true;
        state.doors[door].pod_seen = match state.pod {
            Some(pod) => PodRevision { pod: pod.number, stage: Stage::Unseen },
            None => state.pod_revision(),
        };
        let object = state.object();
        if !self.setup.has(Guard::Join) {
            self.tell(state, door, Told::Object(Object { revision: object.revision - 1, ..object }));
        }
        self.tell(state, door, Told::Object(object));
    }

    /// The others do not wait for its word any more.
    pub(crate) fn count_out(&self, state: &mut State, door: usize) {
        state.left.count_outs -= 1;
        self.rejoin(state, door, 0);
        state.doors[door].exists = false;
    }

    /// It sees and hears again. If it was counted out, it takes part anew before its watches show anything.
    pub(crate) fn heal(&self, state: &mut State, door: usize) {
        state.doors[door].cut_off = false;
        if !state.doors[door].exists {
            state.doors[door].exists = true;
            let until = if self.setup.has(Guard::FoundUntil) { state.object().revision } else { 0 };
            self.rejoin(state, door, until);
        }
    }

    fn rejoin(&self, state: &mut State, door: usize, until: u8) {
        if self.setup.has(Guard::Rejoin) {
            self.tell(state, door, Told::Rejoin(until));
        }
    }

    /// It is cut off: what it has sent may yet arrive, what it sends from now on does not.
    pub(crate) fn cut_off(state: &mut State, door: usize) {
        state.left.cuts -= 1;
        state.doors[door].cut_off = true;
        let mut under_way = Vec::new();
        for call in state.calls.iter_mut().filter(|call| usize::from(call.by) == door) {
            if call.place == Place::Sent {
                under_way.push(Call { by: NOBODY, ..*call });
            }
            call.place = Place::Unanswered;
        }
        state.calls.append(&mut under_way);
    }
}

fn call(state: &mut State, door: usize, request: Request, awaited: bool) {
    let place = if state.doors[door].cut_off { Place::Nowhere } else { Place::Sent };
    if awaited || place == Place::Sent {
        let by = if awaited { byte(door) } else { NOBODY };
        state.calls.push(Call { by, request, place });
    }
}

/// Nobody waits for the answer any more; the call itself may yet arrive.
pub(crate) fn forget_call(state: &mut State, door: usize) {
    state.calls.retain_mut(|call| {
        if usize::from(call.by) != door {
            return true;
        }
        call.by = NOBODY;
        call.place == Place::Sent
    });
}

pub(crate) fn byte(number: usize) -> u8 {
    u8::try_from(number).expect("small")
}
