//! The world around Drowse: the API server, the controller that acts on what it has read some time ago, and pods.

use crate::model::Protocol;
use crate::product::{Answer, Doing, Object, Request, Told};
use crate::setup::Guard;
use crate::state::{Call, NOBODY, Place, Pod, PodRevision, Read, Stage, State, Violation};

impl Protocol {
    /// The API server applies a call.
    pub(crate) fn apply(&self, state: &mut State, index: usize) {
        let call = state.calls[index];
        let answer = match call.request {
            Request::Suspend { revision } => suspend(state, revision),
            Request::Resume { generation, from_running } => self.resume(state, generation, from_running),
            Request::Read => Answer::Object(state.object()),
        };
        if call.by == NOBODY {
            state.calls.remove(index);
        } else {
            state.calls[index].place = Place::Answered(answer);
            if self.setup.prompt_answers {
                self.answer(state, index, answer);
            }
        }
    }

    fn resume(&self, state: &mut State, generation: u8, from_running: bool) -> Answer {
        let object = state.object();
        let holds = object.generation == generation && object.running == from_running;
        if !holds && (from_running || self.setup.has(Guard::Precondition)) {
            return Answer::Conflict;
        }
        if from_running {
            return write(state, object);
        }
        if state.resumed == generation {
            state.violated(Violation::ResumedTwice);
        }
        state.resumed = generation;
        write(
            state,
            Object { running: true, generation: object.generation + u8::from(!object.running), ..object },
        )
    }

    /// The answer reaches whoever waits for it.
    pub(crate) fn answer(&self, state: &mut State, index: usize, answer: Answer) {
        let call = state.calls.remove(index);
        self.tell(state, usize::from(call.by), Told::Done(answer));
    }

    /// Whoever waits for the answer gets none; the call may yet arrive.
    pub(crate) fn times_out(&self, state: &mut State, index: usize) {
        state.left.losses -= 1;
        let call = state.calls[index];
        self.answer(state, index, Answer::Unknown);
        if call.place == Place::Sent {
            state.calls.push(Call { by: NOBODY, ..call });
        }
    }

    /// The controller acts on what it has read, and says so in the status.
    pub(crate) fn controller_acts(&self, state: &mut State) {
        let Some(read) = state.read.take() else { return };
        let mut says_so = true;
        match (state.pod, read.running) {
            (Some(Pod { number, terminating: false }), false) => {
                if state.in_flight() {
                    state.violated(Violation::EndedInUse);
                }
                state.pod = Some(Pod { number, terminating: true });
                state.ended |= 1 << number;
            }
            (None, true) => {
                state.pods_made += 1;
                state.pod = Some(Pod { number: state.pods_made, terminating: false });
            }
            // It sees the pod as it was before, or else it waits until it is gone.
            (Some(Pod { terminating: true, .. }), true) => says_so = self.setup.stale_pod_cache,
            _ => {}
        }
        let object = state.object();
        if says_so && object.observed != read.generation {
            state.objects.push(Object { observed: read.generation, revision: object.revision + 1, ..object });
        }
    }

    /// Whether the address of the last pod may be given to a pod of somebody else. It makes no difference once everybody knows that
    /// the pod is gone. While a front door serves it, its new connections trust the watch.
    pub(crate) fn may_take_address(&self, state: &State) -> bool {
        let gone = PodRevision { pod: state.pods_made, stage: Stage::Gone };
        let mut unaware = state.doors.iter().filter(|door| door.up && door.pod_seen < gone).peekable();
        unaware.peek().is_some()
            && (self.setup.address_reused_at_once
                || unaware.all(|door| {
                    let doing = door.facts.doing;
                    !door.attested && !matches!(doing, Doing::Serves(_) | Doing::Drains { pod: Some(_), .. })
                }))
    }

    /// Whether there is anything for the controller to do. What it would read without that, it may as well read once there is.
    pub(crate) fn controller_has_work(&self, state: &State) -> bool {
        let object = state.object();
        match (state.pod, object.running) {
            (Some(Pod { terminating: false, .. }), false) | (None, true) => true,
            (Some(Pod { terminating: true, .. }), true) if !self.setup.stale_pod_cache => false,
            _ => object.observed != object.generation,
        }
    }

    pub(crate) fn controller_reads(state: &mut State) {
        let object = state.object();
        state.read = Some(Read { running: object.running, generation: object.generation });
    }

    /// The pod is gone, because it was deleted or because it died by itself.
    pub(crate) fn pod_gone(&self, state: &mut State) {
        state.pod = None;
        for door in 0..state.doors.len() {
            state.doors[door].past_gate = 0;
            while state.doors[door].in_flight > 0 {
                self.request_ends(state, door);
            }
        }
    }

    pub(crate) fn request_ends(&self, state: &mut State, door: usize) {
        if state.doors[door].past_gate > 0 {
            state.doors[door].past_gate -= 1;
        } else {
            state.doors[door].in_flight -= 1;
            self.tell(state, door, Told::Leave);
        }
    }
}

fn suspend(state: &mut State, revision: u8) -> Answer {
    let object = state.object();
    if object.revision != revision || !object.running {
        return Answer::Conflict;
    }
    if state.in_flight() && state.pod.is_some_and(|pod| !pod.terminating) {
        state.violated(Violation::SuspendedInUse);
    }
    write(state, Object { running: false, generation: object.generation + 1, ..object })
}

fn write(state: &mut State, object: Object) -> Answer {
    let object = Object { revision: object.revision + 1, ..object };
    state.objects.push(object);
    Answer::Object(object)
}
