//! What the machine is told about the world: the agent object, its pod, and what became of a write.
//!
//! Observations come late, twice and out of order; each carries the revision that orders it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::agent::{AgentUid, Generation, PodUid, Revision};

/// What the object's spec asks for (`spec.operatingMode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// A pod should run.
    Running,
    /// No pod should run.
    Suspended,
}

/// Who asked for the current mode, when it is [`Mode::Suspended`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuspendedBy {
    /// Drowse did, because the agent was idle: traffic resumes it.
    Idle,
    /// A person or another program did: traffic does not resume it unless the policy says so.
    Person,
}

/// The agent object at one revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentSeen {
    /// Identity of the object.
    pub uid: AgentUid,
    /// Orders this against other observations of the same object.
    pub revision: Revision,
    /// Counts changes of the spec; a change of the mode is one.
    pub generation: Generation,
    /// The newest generation that the controller of the agents has acted on (guard OBS).
    pub observed: Generation,
    /// What the spec asks for.
    pub mode: Mode,
    /// Meaningful only while suspended.
    pub suspended_by: SuspendedBy,
    /// Why its controller cannot give it a pod, as far as it says so. Boxed, as there are many agents, and few in trouble.
    pub trouble: Option<Box<Failure>>,
}

/// One pod at one revision. With the process backend, one start of the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodSeen {
    /// Identity of the pod.
    pub uid: PodUid,
    /// The object that controls it. A pod of somebody else is never used.
    pub owner: AgentUid,
    /// Orders this against other observations of pods of this agent.
    pub revision: Revision,
    /// A pod with a deletion timestamp is never used, whatever else it says.
    pub terminating: bool,
    /// How far it got.
    pub state: PodState,
    /// Its node says that it is ready, so that it need not be asked.
    pub ready: bool,
    /// What keeps it from getting further, though that may pass: told to callers who waited in vain.
    pub hindrance: Option<Failure>,
    /// How it wants to be asked whether it is ready; without it, a port that takes connections will do.
    pub readiness: Option<Arc<Readiness>>,
}

/// How a pod wants to be asked whether it is ready: its own `readinessProbe`, as far as it can be asked over the
/// network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// A `GET` that is answered with a status from 200 to 399 (as the kubelet sees it).
    Http {
        /// Where to ask.
        port: u16,
        /// The path, with its query.
        path: Arc<str>,
        /// The fields to send, `Host` among them if the pod wants a certain one.
        headers: Vec<(Arc<str>, Arc<str>)>,
    },
    /// A `GET` that is answered, whatever the answer: of a process that was ready before and stood still.
    Answer {
        /// Where to ask.
        port: u16,
        /// The path, with its query.
        path: Arc<str>,
    },
    /// A port that takes connections.
    Tcp {
        /// Which one.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check`, answered with SERVING.
    Grpc {
        /// Where to ask.
        port: u16,
        /// The service to ask for; empty is the whole server.
        service: Arc<str>,
    },
}

/// How far a pod got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PodState {
    /// It has no address yet.
    Starting,
    /// It has an address; whether anything answers there is for the probe to find out.
    Up(IpAddr),
    /// It ended or cannot start, and will not recover by itself.
    Failed(Failure),
}

/// Why a start failed or a pod died.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What kind of trouble: the metric label, and what decides whether to try again while callers wait.
    pub class: FailureClass,
    /// For people: what was seen, in the words of whoever saw it.
    pub detail: Arc<str>,
}

impl Failure {
    /// A failure with its detail.
    pub fn new(class: FailureClass, detail: impl Into<Arc<str>>) -> Self {
        Self { class, detail: detail.into() }
    }
}

/// Kinds of failure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FailureClass {
    /// The image, or with the process backend the program, cannot be had.
    Image,
    /// A volume cannot be mounted.
    Volume,
    /// No node takes the pod.
    Scheduling,
    /// A quota is used up.
    Quota,
    /// It ran and ended.
    Crash,
    /// The API refused the write for good.
    Admission,
    /// The API did not answer.
    Unreachable,
    /// It did not become ready in time.
    Deadline,
    /// Its own time to live is over.
    Expired,
}

impl FailureClass {
    /// All of them, for tables and metrics.
    pub const ALL: [Self; 9] = [
        Self::Image,
        Self::Volume,
        Self::Scheduling,
        Self::Quota,
        Self::Crash,
        Self::Admission,
        Self::Unreachable,
        Self::Deadline,
        Self::Expired,
    ];

    /// As metrics, the API and people name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Scheduling => "scheduling",
            Self::Quota => "quota",
            Self::Crash => "crash",
            Self::Admission => "admission",
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
            Self::Expired => "expired",
        }
    }

    /// Whether another attempt soon may well succeed, so that callers are kept waiting for it.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Crash | Self::Scheduling | Self::Unreachable)
    }
}

/// Why a write to the agent object was not confirmed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// A precondition did not hold: the object is newer than we thought. It was not written.
    #[error("the agent was changed by somebody else at the same time")]
    Conflict,
    /// There is no such object any more.
    #[error("the agent does not exist any more")]
    Gone,
    /// Refused for good; it was not written.
    #[error("refused: {}", .0.detail)]
    Refused(Failure),
    /// It could not even be sent, so it was not written.
    #[error("not sent: {0}")]
    NotSent(Arc<str>),
    /// Answered: not now. It was not written.
    #[error("turned away: {0}")]
    TurnedAway(Arc<str>),
    /// No answer: it may have been written, and may yet be.
    #[error("no answer: {0}")]
    Unknown(Arc<str>),
}
