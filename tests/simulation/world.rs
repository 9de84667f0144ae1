//! The world outside Drowse: the agent object behind an API, the controller that acts on stale reads of it, and
//! pods that start slowly, crash, wedge and vanish.

use std::net::{IpAddr, Ipv4Addr};

use drowse::agent::{AgentUid, Generation, Life, PodUid, Revision};
use drowse::lifecycle::{AgentSeen, Failure, FailureClass, Mode, PodSeen, PodState, SuspendedBy, WriteError};
use drowse::time::Moment;

/// The truth. Every change gets a new revision.
pub struct World {
    pub object: AgentSeen,
    pub pod: Option<Pod>,
    pub pods_made: u64,
    revision: u64,
}

#[derive(Clone, Debug)]
pub struct Pod {
    pub number: u64,
    pub revision: Revision,
    pub state: PodState,
    pub terminating: bool,
    /// It is ending because Drowse found the agent idle: no request may be on it.
    pub ended_by_idle: bool,
    pub listening: bool,
    pub temper: Temper,
}

/// How a pod answers when it is asked whether it is at work.
#[derive(Clone, Copy, Debug)]
pub enum Temper {
    Idle,
    Works {
        from: Moment,
        until: Moment,
    },
    /// Says that it is busy, and will never say anything else.
    Wedged,
    Broken,
    Mute,
}

/// What the controller has read, and will act on later.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub mode: Mode,
    pub by: SuspendedBy,
    pub generation: Generation,
}

/// What became of the pod when the controller acted.
pub enum Acted {
    Nothing,
    Ending(u64),
    Created(u64),
}

impl Pod {
    pub fn uid(&self) -> PodUid {
        PodUid(format!("pod-{}", self.number).into())
    }

    pub fn seen(&self, owner: &AgentUid) -> PodSeen {
        PodSeen {
            uid: self.uid(),
            owner: owner.clone(),
            revision: self.revision,
            terminating: self.terminating,
            state: self.state.clone(),
            ready: false,
            hindrance: None,
            readiness: None,
        }
    }
}

impl World {
    pub fn new() -> Self {
        let object = AgentSeen {
            uid: AgentUid("agent".into()),
            revision: Revision(1),
            generation: Generation(1),
            observed: Generation(1),
            mode: Mode::Suspended,
            suspended_by: SuspendedBy::Idle,
            trouble: None,
        };
        Self { object, pod: None, pods_made: 0, revision: 1 }
    }

    pub fn next_revision(&mut self) -> Revision {
        self.revision += 1;
        Revision(self.revision)
    }

    pub fn suspend(&mut self, revision: Revision, by: SuspendedBy) -> Result<AgentSeen, WriteError> {
        if self.object.revision != revision {
            return Err(WriteError::Conflict);
        }
        self.set_mode(Mode::Suspended, by);
        Ok(self.object.clone())
    }

    pub fn resume(&mut self, generation: Generation, from: Mode) -> Result<AgentSeen, WriteError> {
        if self.object.generation != generation || self.object.mode != from {
            return Err(WriteError::Conflict);
        }
        if from == Mode::Suspended {
            self.set_mode(Mode::Running, SuspendedBy::Idle);
        } else {
            self.object.revision = self.next_revision();
        }
        Ok(self.object.clone())
    }

    pub fn set_mode(&mut self, mode: Mode, by: SuspendedBy) {
        if self.object.mode != mode {
            self.object.generation.0 += 1;
        }
        self.object.mode = mode;
        self.object.suspended_by = by;
        self.object.revision = self.next_revision();
    }

    pub fn read(&self) -> Read {
        Read { mode: self.object.mode, by: self.object.suspended_by, generation: self.object.generation }
    }

    /// The controller acts on what it has read, however old that is, and says so in the status.
    pub fn act(&mut self, read: Read) -> Acted {
        let revision = self.next_revision();
        let acted = match (&mut self.pod, read.mode) {
            (Some(pod), Mode::Suspended) if !pod.terminating => {
                pod.terminating = true;
                pod.ended_by_idle = read.by == SuspendedBy::Idle && matches!(pod.state, PodState::Up(_));
                pod.revision = revision;
                Acted::Ending(pod.number)
            }
            (None, Mode::Running) => {
                self.pods_made += 1;
                self.pod = Some(Pod {
                    number: self.pods_made,
                    revision,
                    state: PodState::Starting,
                    terminating: false,
                    ended_by_idle: false,
                    listening: false,
                    temper: Temper::Idle,
                });
                Acted::Created(self.pods_made)
            }
            _ => Acted::Nothing,
        };
        self.object.observed = read.generation;
        self.object.revision = self.next_revision();
        acted
    }

    pub fn pod_up(&mut self, number: u64) {
        let revision = self.next_revision();
        if let Some(pod) = self.current(number)
            && !pod.terminating
            && pod.state == PodState::Starting
        {
            pod.state = PodState::Up(IpAddr::V4(Ipv4Addr::LOCALHOST));
            pod.revision = revision;
        }
    }

    pub fn pod_listens(&mut self, number: u64) {
        if let Some(pod) = self.current(number) {
            pod.listening = matches!(pod.state, PodState::Up(_));
        }
    }

    pub fn pod_crashed(&mut self, number: u64) -> bool {
        let revision = self.next_revision();
        let Some(pod) = self.current(number) else { return false };
        pod.state = PodState::Failed(Failure::new(FailureClass::Crash, "crashed"));
        pod.listening = false;
        pod.revision = revision;
        true
    }

    pub fn current(&mut self, number: u64) -> Option<&mut Pod> {
        self.pod.as_mut().filter(|pod| pod.number == number)
    }

    /// What a probe finds: the pod listens, and a read past the caches says that it is this life.
    pub fn answers(&self, life: &Life) -> bool {
        self.pod.as_ref().is_some_and(|pod| {
            pod.listening && !pod.terminating && pod.uid() == life.pod && life.agent == self.object.uid
        })
    }
}
