//! What happened, and whether it may.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use parking_lot::Mutex;

/// A moment of the simulation, on the clock of nobody.
pub type At = Duration;

/// The time, from inside of a host.
pub fn now() -> At {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// How a request ended, as its caller saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    Served,
    /// An answer that is not the agent's.
    Refused(u16, String),
    /// No answer, or half of one.
    Broken(String),
    /// No end in time.
    Hangs,
    /// Its caller left.
    Left,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    pub agent: usize,
    pub door: usize,
    /// Which life of the front door.
    pub incarnation: u32,
    pub sent: At,
    pub ended: Option<(At, End)>,
    /// The pods that have begun to work on it.
    pub executed: Vec<u64>,
}

/// What goes wrong in the world, and may make requests fail.
#[derive(Clone, Debug)]
pub enum Fault {
    DoorDied {
        door: usize,
    },
    PodDied {
        agent: usize,
    },
    /// A link, or the API, was of no use for this long.
    Cut {
        until: At,
    },
}

/// Trouble may be felt for a while: links that were cut bring late what they held, and retries pause.
const AFTERMATH: Duration = Duration::from_secs(12);

/// Until every front door knows of the death of a pod. Whoever calls later waits for the next one.
const DEATH_IS_NEWS: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Oracle(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    requests: Vec<Request>,
    faults: Vec<(At, Fault)>,
    /// How often each front door has started.
    incarnations: Vec<u32>,
    violation: Option<(At, String)>,
    trace: Trace,
    served: usize,
    /// Requests that failed because of what went wrong in the world.
    excused: usize,
}

/// All that happened, in order. Its hash is the same if all of it is.
#[derive(Default)]
struct Trace {
    lines: Option<Vec<String>>,
    hash: DefaultHasher,
    count: u64,
}

/// What a history amounts to.
#[derive(Debug)]
pub struct Summary {
    pub served: usize,
    pub requests: usize,
    pub excused: usize,
    pub happenings: u64,
    pub hash: u64,
    pub violation: Option<String>,
    pub lines: Vec<String>,
}

impl Oracle {
    pub fn new(doors: usize, keep_lines: bool) -> Self {
        let trace = Trace { lines: keep_lines.then(Vec::new), ..Trace::default() };
        Self(Mutex::new(Inner { incarnations: vec![0; doors], trace, ..Inner::default() }))
    }

    /// Something happened.
    pub fn note(&self, at: At, what: impl FnOnce() -> String) {
        self.0.lock().note(at, &what());
    }

    pub fn violated(&self, at: At, what: String) {
        self.0.lock().violated(at, what);
    }

    pub fn is_violated(&self) -> bool {
        self.0.lock().violation.is_some()
    }

    pub fn fault(&self, at: At, fault: Fault) {
        let mut inner = self.0.lock();
        inner.note(at, &format!("{fault:?}"));
        inner.faults.push((at, fault));
    }

    /// A front door starts: the number of its life.
    pub fn door_starts(&self, at: At, door: usize) -> u32 {
        let mut inner = self.0.lock();
        inner.incarnations[door] += 1;
        let life = inner.incarnations[door];
        inner.note(at, &format!("door {door} starts for the {life}. time"));
        life
    }

    /// A request goes out: its number.
    pub fn sent(&self, agent: usize, door: usize) -> usize {
        let (at, mut inner) = (now(), self.0.lock());
        let (id, incarnation) = (inner.requests.len(), inner.incarnations[door]);
        inner.note(at, &format!("{id} for agent {agent} is sent to door {door}"));
        inner.requests.push(Request {
            agent,
            door,
            incarnation,
            sent: at,
            ended: None,
            executed: Vec::new(),
        });
        id
    }

    /// A pod begins to work on a request.
    pub fn begun(&self, id: usize, agent: usize, pod: u64) {
        let (at, mut inner) = (now(), self.0.lock());
        inner.note(at, &format!("{id} reaches agent {agent} in pod {pod}"));
        let Some(request) = inner.requests.get_mut(id) else {
            return inner.violated(at, format!("{id} was never sent"));
        };
        request.executed.push(pod);
        let (wanted, executed) = (request.agent, request.executed.clone());
        if wanted != agent {
            inner.violated(at, format!("{id} for agent {wanted} reached agent {agent}"));
        } else if executed.len() > 1 {
            inner.violated(at, format!("{id} was executed twice, by pods {executed:?}"));
        }
    }

    /// A pod that a suspension ends was still at work on these.
    pub fn cut_by_suspension(&self, ids: &BTreeSet<usize>) {
        let (at, mut inner) = (now(), self.0.lock());
        for id in ids {
            let request = &inner.requests[*id];
            // Whoever waits for it through a front door that lives.
            let waits = request.ended.is_none() && request.incarnation == inner.incarnations[request.door];
            if waits {
                inner.violated(at, format!("{id} was in flight when its agent was suspended"));
            }
        }
    }

    /// A request ended.
    pub fn ended(&self, id: usize, end: End) {
        let (at, mut inner) = (now(), self.0.lock());
        inner.note(at, &format!("{id} ends: {end:?}"));
        let request = &mut inner.requests[id];
        request.ended = Some((at, end.clone()));
        match end {
            End::Served if inner.requests[id].executed.len() != 1 => {
                inner.violated(at, format!("{id} was served and not executed"));
            }
            End::Served => inner.served += 1,
            End::Left => {}
            End::Hangs => inner.violated(at, format!("{id} does not end")),
            End::Refused(..) | End::Broken(_) if inner.is_explained(id) => inner.excused += 1,
            failed => inner.violated(at, format!("{id} failed and nothing explains it: {failed:?}")),
        }
    }

    pub fn summary(&self) -> Summary {
        let mut inner = self.0.lock();
        Summary {
            served: inner.served,
            requests: inner.requests.len(),
            excused: inner.excused,
            happenings: inner.trace.count,
            hash: inner.trace.hash.finish(),
            violation: inner.violation.clone().map(|(at, what)| format!("{what} (at {at:?})")),
            lines: inner.trace.lines.take().unwrap_or_default(),
        }
    }
}

impl Inner {
    fn note(&mut self, at: At, what: &str) {
        self.trace.count += 1;
        self.trace.hash.write_u128(at.as_nanos());
        self.trace.hash.write(what.as_bytes());
        if let Some(lines) = &mut self.trace.lines {
            lines.push(format!("{:>10.3} {what}", at.as_secs_f64()));
        }
    }

    /// The first one counts: what comes after may be its consequence.
    fn violated(&mut self, at: At, what: String) {
        self.note(at, &format!("VIOLATION {what}"));
        self.violation.get_or_insert((at, what));
    }

    /// For how long a death is: with each in a row, the pause before the next start doubles.
    fn death_is_felt(&self, agent: usize, at: At) -> Duration {
        let before = |(earlier, fault): &&(At, Fault)| {
            *earlier < at && matches!(fault, Fault::PodDied { agent: other } if *other == agent)
        };
        let before = self.faults.iter().filter(before).count().min(6);
        DEATH_IS_NEWS * (1 << before)
    }

    /// Whether something that went wrong in the world may have made this request fail.
    fn is_explained(&self, id: usize) -> bool {
        let request = &self.requests[id];
        let Some((ended, _)) = request.ended else { return false };
        self.faults.iter().any(|(at, fault)| {
            let felt_until = match fault {
                Fault::DoorDied { door } if *door == request.door => *at + AFTERMATH,
                Fault::PodDied { agent } if *agent == request.agent => *at + self.death_is_felt(*agent, *at),
                Fault::Cut { until } => *until + AFTERMATH,
                _ => return false,
            };
            *at <= ended && request.sent <= felt_until
        })
    }
}
