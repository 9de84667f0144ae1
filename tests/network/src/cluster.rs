//! The truth of the cluster: agent objects, their pods, the addresses of those, and the log that watches are fed from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::agent::{AgentKey, AgentUid, Generation, Life, PodUid, Revision};
use crate::lifecycle::{AgentSeen, Failure, FailureClass, Mode, PodSeen, PodState, SuspendedBy, WriteError};

use super::oracle::At;
use super::plan::Sabotage;

pub struct Cluster {
    revision: u64,
    pub objects: Vec<Object>,
    pub pods: BTreeMap<u64, Pod>,
    pub nodes: Vec<Node>,
    /// Of objects and of pods: two watches, each in order.
    pub logs: [Vec<Change>; 2],
    sabotage: Option<Sabotage>,
    leader: Option<(usize, At)>,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum Change {
    Object(AgentKey, AgentSeen),
    Pod(AgentKey, PodSeen),
    /// With the revision of its end.
    PodGone(AgentKey, PodSeen),
}

pub struct Object {
    pub key: AgentKey,
    pub seen: AgentSeen,
}

pub struct Pod {
    pub agent: usize,
    pub revision: Revision,
    pub node: Option<usize>,
    pub state: PodState,
    pub terminating: bool,
    /// It ends because Drowse found its agent idle.
    pub ended_by_idle: bool,
}

/// A place for a pod, with an address.
pub struct Node {
    pub address: IpAddr,
    pub pod: Option<u64>,
    /// Not given to another pod before this.
    pub kept_until: At,
}

/// What the controller has read, and acts on later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    mode: Mode,
    by: SuspendedBy,
    generation: Generation,
}

/// What became of the pod when the controller acted.
#[derive(PartialEq, Eq, Debug)]
pub enum Acted {
    Nothing,
    Ending(u64),
    Created(u64),
}

pub fn key(agent: usize) -> AgentKey {
    AgentKey::new("default", format!("agent-{agent}"))
}

pub fn number(key: &AgentKey) -> usize {
    key.name().rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("agent-<number>")
}

pub fn pod_uid(number: u64) -> PodUid {
    PodUid(format!("pod-{number}").into())
}

impl Change {
    fn revision(&self) -> Revision {
        match self {
            Self::Object(_, seen) => seen.revision,
            Self::Pod(_, seen) | Self::PodGone(_, seen) => seen.revision,
        }
    }
}

impl Cluster {
    pub fn new(agents: usize, addresses: Vec<IpAddr>, sabotage: Option<Sabotage>) -> Self {
        let object = |agent| Object {
            key: key(agent),
            seen: AgentSeen {
                uid: AgentUid(format!("uid-{agent}").into()),
                revision: Revision(1),
                generation: Generation(1),
                observed: Generation(1),
                mode: Mode::Suspended,
                suspended_by: SuspendedBy::Idle,
                trouble: None,
            },
        };
        let node = |address| Node { address, pod: None, kept_until: At::ZERO };
        let mut cluster = Self {
            revision: 1,
            objects: (0..agents).map(object).collect(),
            pods: BTreeMap::new(),
            nodes: addresses.into_iter().map(node).collect(),
            logs: [Vec::new(), Vec::new()],
            sabotage,
            leader: None,
        };
        (0..agents).for_each(|agent| cluster.log_object(agent));
        cluster
    }

    fn next_revision(&mut self) -> Revision {
        // With gaps, for observations that sabotage makes up.
        self.revision += 10;
        Revision(self.revision)
    }

    fn log_object(&mut self, agent: usize) {
        let change = Change::Object(self.objects[agent].key.clone(), self.shown(agent));
        self.logs[0].push(change);
    }

    fn log_pod(&mut self, number: u64) {
        let revision = self.next_revision();
        let Some(pod) = self.pods.get_mut(&number) else { return };
        pod.revision = revision;
        let pod = &self.pods[&number];
        let change = Change::Pod(self.objects[pod.agent].key.clone(), self.pod_seen(number, pod));
        self.logs[1].push(change);
    }

    fn pod_seen(&self, number: u64, pod: &Pod) -> PodSeen {
        PodSeen {
            uid: pod_uid(number),
            owner: self.objects[pod.agent].seen.uid.clone(),
            revision: pod.revision,
            terminating: pod.terminating,
            state: pod.state.clone(),
            ready: false,
            hindrance: None,
            readiness: None,
        }
    }

    fn shown(&self, agent: usize) -> AgentSeen {
        let mut seen = self.objects[agent].seen.clone();
        if self.sabotage == Some(Sabotage::NoObs) {
            seen.observed = seen.generation;
        }
        seen
    }

    pub fn read(&self, key: &AgentKey) -> AgentSeen {
        self.shown(number(key))
    }

    pub fn suspend(
        &mut self,
        key: &AgentKey,
        uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> Result<AgentSeen, WriteError> {
        let agent = number(key);
        let seen = &self.objects[agent].seen;
        let holds = seen.uid == *uid && seen.revision == revision;
        if !holds && self.sabotage != Some(Sabotage::NoPrecondition) {
            return Err(WriteError::Conflict);
        }
        self.set_mode(agent, Mode::Suspended, by);
        Ok(self.shown(agent))
    }

    pub fn resume(
        &mut self,
        key: &AgentKey,
        uid: &AgentUid,
        generation: Generation,
        from: Mode,
    ) -> Result<AgentSeen, WriteError> {
        let agent = number(key);
        let seen = &self.objects[agent].seen;
        if seen.uid != *uid || seen.generation != generation || seen.mode != from {
            return Err(WriteError::Conflict);
        }
        if self.sabotage == Some(Sabotage::LostResume) && from == Mode::Suspended {
            return Ok(self.shown(agent));
        }
        self.set_mode(agent, Mode::Running, SuspendedBy::Idle);
        Ok(self.shown(agent))
    }

    fn set_mode(&mut self, agent: usize, mode: Mode, by: SuspendedBy) {
        let revision = self.next_revision();
        let seen = &mut self.objects[agent].seen;
        if seen.mode != mode {
            seen.generation.0 += 1;
        }
        (seen.mode, seen.suspended_by, seen.revision) = (mode, by, revision);
        self.log_object(agent);
    }

    /// Past every cache: whether this life is at this address and stays.
    pub fn attest(&self, key: &AgentKey, life: &Life, at: IpAddr) -> bool {
        let agent = number(key);
        self.pods.iter().any(|(number, pod)| {
            pod.agent == agent
                && pod_uid(*number) == life.pod
                && self.objects[agent].seen.uid == life.agent
                && !pod.terminating
                && pod.state == PodState::Up(at)
        })
    }

    /// Who leads: whoever did, as long as that lasts, and then whoever asks.
    pub fn lead(&mut self, door: usize, now: At, lasts: Duration) -> Option<Duration> {
        if self.sabotage == Some(Sabotage::NoLeader) {
            return None;
        }
        match self.leader {
            Some((leader, until)) if leader != door && now < until => None,
            _ => {
                self.leader = Some((door, now + lasts));
                Some(lasts)
            }
        }
    }

    pub fn controller_reads(&self, agent: usize) -> Read {
        let seen = &self.objects[agent].seen;
        Read { mode: seen.mode, by: seen.suspended_by, generation: seen.generation }
    }

    /// The pod of an agent; there is one at most.
    pub fn pod_of(&self, agent: usize) -> Option<u64> {
        self.pods.iter().find(|(_, pod)| pod.agent == agent).map(|(number, _)| *number)
    }

    /// The controller acts on what it has read, however old that is, and says so in the status.
    pub fn controller_acts(&mut self, agent: usize, read: Read, next_pod: u64) -> Acted {
        let pod = self.pod_of(agent);
        let acted = match (pod, read.mode) {
            (Some(number), Mode::Suspended) if !self.pods[&number].terminating => {
                if let Some(pod) = self.pods.get_mut(&number) {
                    pod.terminating = true;
                    pod.ended_by_idle = read.by == SuspendedBy::Idle;
                }
                self.log_pod(number);
                Acted::Ending(number)
            }
            (None, Mode::Running) => {
                let pod = Pod {
                    agent,
                    revision: Revision(0),
                    node: None,
                    state: PodState::Starting,
                    terminating: false,
                    ended_by_idle: false,
                };
                self.pods.insert(next_pod, pod);
                self.log_pod(next_pod);
                Acted::Created(next_pod)
            }
            _ => Acted::Nothing,
        };
        if self.objects[agent].seen.observed != read.generation {
            let revision = self.next_revision();
            let seen = &mut self.objects[agent].seen;
            (seen.observed, seen.revision) = (read.generation, revision);
            self.log_object(agent);
        }
        acted
    }

    /// Gives a pod a node with its address, if one is free. The one that was freed last goes first.
    pub fn place(&mut self, number: u64, now: At) -> Option<usize> {
        let free = (0..self.nodes.len()).filter(|node| {
            let node = &self.nodes[*node];
            node.pod.is_none() && node.kept_until <= now
        });
        let node = free.max_by_key(|node| self.nodes[*node].kept_until)?;
        let pod = self.pods.get_mut(&number).filter(|pod| !pod.terminating)?;
        pod.node = Some(node);
        pod.state = PodState::Up(self.nodes[node].address);
        self.nodes[node].pod = Some(number);
        self.log_pod(number);
        Some(node)
    }

    /// The pod's process has died, and nobody starts it again.
    pub fn crashed(&mut self, number: u64) {
        if let Some(pod) = self.pods.get_mut(&number) {
            pod.state = PodState::Failed(Failure::new(FailureClass::Crash, "it died"));
            self.log_pod(number);
        }
    }

    /// The pod is no more. Its address may be had at once, or is kept for a while.
    pub fn gone(&mut self, number: u64, address_kept_until: At) {
        let Some(pod) = self.pods.remove(&number) else { return };
        if let Some(node) = pod.node {
            self.nodes[node].pod = None;
            self.nodes[node].kept_until = address_kept_until;
        }
        let key = self.objects[pod.agent].key.clone();
        let last = Pod { revision: self.next_revision(), ..pod };
        let seen = self.pod_seen(number, &last);
        self.logs[1].push(Change::PodGone(key, seen));
    }

    /// What a list shows that was made when the log of objects, or of pods, was this long; and how new it is.
    pub fn list(&self, log: usize, length: usize) -> (Vec<Change>, Revision) {
        let mut last: BTreeMap<String, &Change> = BTreeMap::new();
        let mut newest = Revision(1);
        for change in &self.logs[log][..length] {
            newest = change.revision();
            match change {
                Change::Object(key, _) => last.insert(key.to_string(), change),
                Change::Pod(_, seen) => last.insert(seen.uid.0.to_string(), change),
                Change::PodGone(_, seen) => last.remove(&*seen.uid.0),
            };
        }
        (last.into_values().cloned().collect(), newest)
    }

    /// Every agent sleeps, and has no pod.
    pub fn all_asleep(&self) -> bool {
        self.pods.is_empty() && self.objects.iter().all(|object| object.seen.mode == Mode::Suspended)
    }

    pub fn awake(&self) -> BTreeSet<usize> {
        let awake =
            |agent: &usize| self.objects[*agent].seen.mode == Mode::Running || self.pod_of(*agent).is_some();
        (0..self.objects.len()).filter(awake).collect()
    }
}
