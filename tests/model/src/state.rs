//! A state of the whole: the front doors, what is on its way between them, and the world around.

use crate::product::{Answer, DoorId, Facts, Object, Request};
use crate::setup::Setup;

pub const MOST_DOORS: usize = 3;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct State {
    pub doors: Vec<Door>,
    /// Calls to the API, and answers, sorted.
    pub calls: Vec<Call>,
    /// Questions between front doors. Each may be lost, late and repeated, so it stays until it cannot matter any more.
    pub asks: Vec<Ask>,
    /// What the watches may still show; the last one is the truth.
    pub objects: Vec<Object>,
    pub pod: Option<Pod>,
    pub pods_made: u8,
    /// A bit for each pod that was ended by our suspension.
    pub ended: u8,
    /// The pod whose address a pod of somebody else has by now.
    pub address_taken: Option<u8>,
    /// What the controller has read and will act on.
    pub read: Option<Read>,
    /// The last suspended life that a resume has ended, as the generation of it.
    pub resumed: u8,
    pub left: Left,
    pub violation: Option<Violation>,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Left {
    pub suspends: u8,
    pub requests: u8,
    pub losses: u8,
    pub crashes: u8,
    pub cuts: u8,
    pub count_outs: u8,
    pub deaths: u8,
    pub reuses: u8,
    pub reminders: u8,
}

/// One replica of Drowse.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Door {
    pub id: DoorId,
    /// What that means.
    pub facts: Facts,
    /// The others wait for its word: not before its first start, nor while they have counted it out.
    pub exists: bool,
    /// False from a crash to the next start.
    pub up: bool,
    /// It sees and hears nothing, and reaches no API; callers and agents it does.
    pub cut_off: bool,
    /// The last of the pod's observations that was delivered.
    pub pod_seen: PodRevision,
    /// The pod that it probes has answered and was read past the caches; the machine does not know yet.
    pub attested: bool,
    /// Its requests on the pod that there is.
    pub in_flight: u8,
    /// As those, but past its gate (only without the guard FENCE).
    pub past_gate: u8,
    pub question: Option<Question>,
}

/// Orders what happens to pods: the number of the pod, then made, terminating, gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PodRevision {
    pub pod: u8,
    pub stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Stage {
    #[default]
    Unseen,
    Made,
    Terminating,
    Gone,
}

/// The leader's question for this revision. A bit for each front door.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Question {
    pub revision: u8,
    pub missing: u8,
    /// Answers on their way.
    pub yes: u8,
    pub no: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ask {
    pub from: u8,
    pub to: u8,
    pub revision: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Call {
    /// Who made it; [`NOBODY`] if nobody waits for the answer.
    pub by: u8,
    pub request: Request,
    pub place: Place,
}

pub const NOBODY: u8 = u8::MAX;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    Sent,
    Answered(Answer),
    /// No answer will come.
    Unanswered,
    /// It will never arrive, and no answer come.
    Nowhere,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pod {
    pub number: u8,
    pub terminating: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Read {
    pub running: bool,
    pub generation: u8,
}

/// What must never happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Violation {
    /// The suspension was written with a request on the pod.
    SuspendedInUse,
    /// The pod was ended for a suspension with a request on it.
    EndedInUse,
    /// A request was sent to a pod that was ended for a suspension.
    SentToEnded,
    /// A request reached a pod of somebody else.
    WrongTenant,
    /// Two writes have resumed one suspended life.
    ResumedTwice,
}

impl State {
    pub fn new(setup: &Setup) -> Self {
        let mut doors: Vec<_> =
            (0..setup.front_doors).map(|door| Door::fresh(door < setup.leaders)).collect();
        if let Some(last) = doors.last_mut().filter(|_| setup.newcomer) {
            (last.exists, last.up) = (false, false);
        }
        Self {
            doors,
            calls: Vec::new(),
            asks: Vec::new(),
            objects: vec![Object { revision: 1, generation: 1, observed: 1, running: true }],
            pod: Some(Pod { number: 1, terminating: false }),
            pods_made: 1,
            ended: 0,
            address_taken: None,
            read: None,
            resumed: 0,
            left: Left {
                suspends: setup.suspends,
                requests: setup.requests,
                losses: setup.losses,
                crashes: setup.crashes,
                cuts: setup.cuts,
                count_outs: setup.count_outs,
                deaths: setup.deaths,
                reuses: setup.reuses,
                reminders: setup.reminders,
            },
            violation: None,
        }
    }

    /// The object as it is.
    pub fn object(&self) -> Object {
        *self.objects.last().expect("there is always one")
    }

    /// The newest of what happened to pods.
    pub fn pod_revision(&self) -> PodRevision {
        match self.pod {
            Some(pod) => PodRevision {
                pod: pod.number,
                stage: if pod.terminating { Stage::Terminating } else { Stage::Made },
            },
            None => PodRevision { pod: self.pods_made, stage: Stage::Gone },
        }
    }

    pub fn in_flight(&self) -> bool {
        self.doors.iter().any(|door| door.in_flight + door.past_gate > 0)
    }

    pub fn violated(&mut self, what: Violation) {
        self.violation.get_or_insert(what);
    }
}

impl Door {
    pub fn fresh(leads: bool) -> Self {
        Self {
            id: DoorId::fresh(leads),
            facts: Facts::FRESH,
            exists: true,
            up: true,
            cut_off: false,
            pod_seen: PodRevision::default(),
            attested: false,
            in_flight: 0,
            past_gate: 0,
            question: None,
        }
    }
}
