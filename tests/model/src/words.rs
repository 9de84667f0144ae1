//! What a front door is told, what it wants done, and what the model needs to know of it.

/// The agent object at one revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Object {
    pub revision: u8,
    pub generation: u8,
    /// The newest generation that its controller has acted on, as the status says.
    pub observed: u8,
    pub running: bool,
}

/// What a front door is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Told {
    Object(Object),
    Pod {
        number: u8,
        terminating: bool,
    },
    PodGone(u8),
    /// A caller, when the gate is open.
    Enter,
    /// A caller, when it is not.
    Arrive,
    /// A request has ended.
    Leave,
    /// A deadline has come.
    Tick,
    /// The call that is awaited has come back.
    Done(Answer),
    /// This pod answers, and was attested.
    Answers(u8),
    DrainAsked(u8),
    PeersAcknowledged(u8),
    PeersVetoed(u8),
    /// It does not take part, or has not up to this revision.
    Rejoin(u8),
}

/// How a call to the API ends for who made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Answer {
    Object(Object),
    Conflict,
    Unknown,
    NotSent,
}

/// A call to the API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Request {
    Suspend { revision: u8 },
    Resume { generation: u8, from_running: bool },
    Read,
}

/// What the machine wants done, as far as it concerns the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Call {
        request: Request,
        awaited: bool,
    },
    AskPeers(u8),
    Reply {
        revision: u8,
        yes: bool,
    },
    /// A caller is let through.
    Release,
    /// What was being probed is not any more.
    NewProbe,
}

/// What the model needs to know of a state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Facts {
    pub doing: Doing,
    /// The revision of the object that it knows; 0 is none.
    pub revision: u8,
    /// How many callers it holds.
    pub held: u8,
    /// The answer to a call is awaited.
    pub awaits_call: bool,
    /// A deadline lies ahead that will come.
    pub has_deadline: bool,
}

impl Facts {
    /// Of a front door that has just started.
    pub const FRESH: Self =
        Self { doing: Doing::Else, revision: 0, held: 0, awaits_call: false, has_deadline: false };
}

/// What a front door does with requests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Doing {
    /// Its gate is open.
    Serves(u8),
    Probes(u8),
    /// It is to run, and there is no pod yet.
    AwaitsPod,
    /// It has closed its gate for a suspension. The pod that it served, and whether it has acknowledged.
    Drains {
        pod: Option<u8>,
        fenced: bool,
    },
    Else,
}
