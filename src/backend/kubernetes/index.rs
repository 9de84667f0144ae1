//! Pure: what the watches have told so far, joined by agent, and what follows for the core.
//!
//! Keeps no object, only what a later event must be compared with: the pod of an agent that is told before the
//! agent, the uid of one that is deleted while nobody watched, the claim that one belongs to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::agent::{AgentKey, AgentUid, ByKey, Keyed, PodUid, Revision};
use crate::backend::{BackendEvent, Profile};
use crate::lifecycle::{AgentSeen, PodSeen};
use crate::policy::HandsOff;

/// Which watch told it: one for each kind and namespace.
pub(super) type Source = u32;

/// Which listing of a source: what a newer listing does not have is gone.
pub(super) type Listing = u32;

/// Where a report comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// The watch.
    pub(super) source: Source,
    /// Its newest listing.
    pub(super) listing: Listing,
}

/// An object, boiled down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Object {
    /// A Sandbox.
    Sandbox(SandboxFacts),
    /// A pod of a Sandbox.
    Pod(PodFacts),
    /// A pod that no Sandbox controls, or none any more.
    Stray(PodUid, Revision),
    /// A claim, and why its agent must not be suspended, if so.
    Claim(AgentKey, Option<HandsOff>),
}

/// What is wanted of a Sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SandboxFacts {
    /// Its name.
    pub(super) key: AgentKey,
    /// Its state.
    pub(super) seen: AgentSeen,
    /// What rules match on. What keeps our hands off it is added here.
    pub(super) profile: Profile,
    /// The claim that controls it.
    pub(super) claim: Option<Arc<str>>,
    /// A warm pool owns it, and nobody has claimed it.
    pub(super) unclaimed: bool,
    /// It is being deleted: to the core it is gone.
    pub(super) deleting: bool,
}

/// What is wanted of a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PodFacts {
    /// The agent that it belongs to.
    pub(super) key: AgentKey,
    /// Its name.
    pub(super) name: Arc<str>,
    /// Its state.
    pub(super) seen: PodSeen,
}

/// One report of a watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// It exists, or has changed.
    Seen(Object),
    /// It does not exist any more. Of a pod, the revision is that of its end.
    Gone(Object),
    /// Everything that exists at this revision has been told in this listing.
    Listed(Revision),
    /// The watch stands: what happens from here on is told.
    Live,
    /// The watch is broken: what was told may be out of date.
    Broken,
}

/// What the watches have told so far.
#[derive(Debug)]
pub(super) struct Index {
    agents: HashSet<ByKey<Box<Agent>>>,
    pods: HashMap<AgentKey, Pod>,
    /// Whose each of them is, since that may change.
    owners: HashMap<PodUid, AgentKey>,
    /// That of the agent that was new last: lists are in the order of namespaces, so nearly all agents of one share it.
    namespace: Arc<str>,
    claims: HashMap<AgentKey, (Origin, HandsOff)>,
    live: Vec<bool>,
    synced: bool,
}

/// Small, as there are many.
#[derive(Debug)]
struct Agent {
    key: AgentKey,
    origin: Origin,
    uid: AgentUid,
    profile: Arc<Profile>,
    claim: Option<Arc<str>>,
}

#[derive(Debug)]
struct Pod {
    origin: Origin,
    name: Arc<str>,
    seen: PodSeen,
}

impl Keyed for Agent {
    fn key(&self) -> &AgentKey {
        &self.key
    }
}

impl Index {
    /// Knows nothing yet. It is complete when this many watches stand.
    pub(super) fn new(sources: Source) -> Self {
        Self {
            agents: HashSet::new(),
            pods: HashMap::new(),
            owners: HashMap::new(),
            namespace: "".into(),
            claims: HashMap::new(),
            live: (0..sources).map(|_| false).collect(),
            synced: false,
        }
    }

    /// The identity of the object of this agent.
    pub(super) fn uid(&self, key: &AgentKey) -> Option<AgentUid> {
        self.agents.get(key).map(|agent| agent.0.uid.clone())
    }

    /// The name of the pod of this agent.
    pub(super) fn pod_name(&self, key: &AgentKey) -> Option<Arc<str>> {
        self.pods.get(key).map(|pod| Arc::clone(&pod.name))
    }

    /// One report, and what the core is to be told of it.
    pub(super) fn apply(&mut self, origin: Origin, report: Report, out: &mut Vec<BackendEvent>) {
        match report {
            Report::Seen(Object::Sandbox(facts)) if facts.deleting => self.agent_gone(&facts.key, out),
            Report::Seen(Object::Sandbox(facts)) => self.agent(origin, facts, out),
            Report::Gone(Object::Sandbox(facts)) => self.agent_gone(&facts.key, out),
            Report::Seen(Object::Pod(facts)) => self.pod(origin, facts, out),
            Report::Gone(Object::Pod(facts)) => self.pod_gone(&facts.seen.uid, facts.seen.revision, out),
            Report::Seen(Object::Stray(pod, revision)) | Report::Gone(Object::Stray(pod, revision)) => {
                self.pod_gone(&pod, revision, out);
            }
            Report::Seen(Object::Claim(key, Some(trap))) => {
                let before = self.claims.insert(key.clone(), (origin, trap.clone()));
                if before.is_none_or(|(_, before)| before != trap) {
                    self.claim_changed(&key, out);
                }
            }
            Report::Seen(Object::Claim(key, None)) | Report::Gone(Object::Claim(key, _)) => {
                if self.claims.remove(&key).is_some() {
                    self.claim_changed(&key, out);
                }
            }
            Report::Listed(revision) => self.sweep(origin, revision, out),
            Report::Live => self.set_live(origin.source, true, out),
            Report::Broken => self.set_live(origin.source, false, out),
        }
    }

    fn agent(&mut self, origin: Origin, facts: SandboxFacts, out: &mut Vec<BackendEvent>) {
        let SandboxFacts { key, seen, mut profile, claim, unclaimed, .. } = facts;
        profile.hands_off = self.hands_off(&key, claim.as_ref(), unclaimed);
        let known = self.agents.get(&key).map(|known| &*known.0);
        // Deleted and made again while nobody watched.
        if let Some(predecessor) = known.filter(|known| known.uid != seen.uid) {
            out.push(BackendEvent::AgentGone { key: key.clone(), uid: predecessor.uid.clone() });
        }
        let known_key = known.filter(|known| known.uid == seen.uid).map(|known| known.key.clone());
        let is_new = known_key.is_none();
        let same = known.filter(|known| *known.profile == profile).map(|known| Arc::clone(&known.profile));
        let profile = same.unwrap_or_else(|| Arc::new(profile));
        let key = known_key.unwrap_or_else(|| self.in_shared_namespace(&key));
        let uid = seen.uid.clone();
        out.push(BackendEvent::Agent { key: key.clone(), seen, profile: Arc::clone(&profile) });
        // What was told of its pod before went unheard.
        if let (true, Some(pod)) = (is_new, self.pods.get(&key)) {
            out.push(BackendEvent::Pod { key: key.clone(), seen: pod.seen.clone() });
        }
        self.agents.replace(ByKey(Box::new(Agent { key, origin, uid, profile, claim })));
    }

    fn in_shared_namespace(&mut self, key: &AgentKey) -> AgentKey {
        if *self.namespace != *key.namespace() {
            self.namespace = key.namespace().into();
        }
        AgentKey::new(Arc::clone(&self.namespace), key.name())
    }

    fn agent_gone(&mut self, key: &AgentKey, out: &mut Vec<BackendEvent>) {
        if let Some(ByKey(agent)) = self.agents.take(key) {
            out.push(BackendEvent::AgentGone { key: agent.key, uid: agent.uid });
        }
    }

    fn pod(&mut self, origin: Origin, facts: PodFacts, out: &mut Vec<BackendEvent>) {
        let PodFacts { key, name, seen } = facts;
        // It was another's until now.
        if self.owners.get(&seen.uid).is_some_and(|owner| *owner != key) {
            self.pod_gone(&seen.uid, seen.revision, out);
        }
        // An agent has one pod, of its own name. Should somebody make it another, that one is left alone.
        let other =
            self.pods.get(&key).is_some_and(|known| known.seen.uid != seen.uid && *known.name == *key.name());
        if other && *name != *key.name() {
            return;
        }
        out.push(BackendEvent::Pod { key: key.clone(), seen: seen.clone() });
        self.owners.insert(seen.uid.clone(), key.clone());
        let uid = seen.uid.clone();
        let before = self.pods.insert(key, Pod { origin, name, seen });
        if let Some(before) = before.filter(|before| before.seen.uid != uid) {
            self.owners.remove(&before.seen.uid);
        }
    }

    /// To its agent it is gone: it does not exist any more, or is not its agent's.
    fn pod_gone(&mut self, pod: &PodUid, revision: Revision, out: &mut Vec<BackendEvent>) {
        if let Some(key) = self.owners.remove(pod) {
            self.pods.remove(&key);
            out.push(BackendEvent::PodGone { key, pod: pod.clone(), revision });
        }
    }

    fn hands_off(&self, key: &AgentKey, claim: Option<&Arc<str>>, unclaimed: bool) -> Option<Box<HandsOff>> {
        if unclaimed {
            return Some(Box::new(HandsOff::PoolMember));
        }
        let claim = AgentKey::new(key.namespace(), Arc::clone(claim?));
        self.claims.get(&claim).map(|(_, trap)| Box::new(trap.clone()))
    }

    /// Claims with a trap are few, and change rarely: looking through all agents is cheaper than a map of claims.
    fn claim_changed(&mut self, claim: &AgentKey, out: &mut Vec<BackendEvent>) {
        let trap = self.claims.get(claim).map(|(_, trap)| Box::new(trap.clone()));
        let is_theirs = |agent: &Agent| {
            agent.key.namespace() == claim.namespace()
                && agent.claim.as_deref() == Some(claim.name())
                && agent.profile.hands_off != trap
        };
        for ByKey(mut agent) in self.agents.extract_if(|agent| is_theirs(&agent.0)).collect::<Vec<_>>() {
            agent.profile = Arc::new(Profile { hands_off: trap.clone(), ..(*agent.profile).clone() });
            out.push(BackendEvent::Profile { key: agent.key.clone(), profile: Arc::clone(&agent.profile) });
            self.agents.insert(ByKey(agent));
        }
    }

    /// What this source told before, and has not listed now, is gone.
    fn sweep(&mut self, origin: Origin, revision: Revision, out: &mut Vec<BackendEvent>) {
        let is_old = |it: &Origin| it.source == origin.source && it.listing != origin.listing;
        for ByKey(agent) in self.agents.extract_if(|agent| is_old(&agent.0.origin)) {
            out.push(BackendEvent::AgentGone { key: agent.key, uid: agent.uid });
        }
        let pods = self.pods.values().filter(|pod| is_old(&pod.origin));
        let pods: Vec<_> = pods.map(|pod| pod.seen.uid.clone()).collect();
        for pod in pods {
            self.pod_gone(&pod, revision, out);
        }
        let claims: Vec<_> =
            self.claims.iter().filter(|(_, (it, _))| is_old(it)).map(|(key, _)| key.clone()).collect();
        for key in claims {
            self.claims.remove(&key);
            self.claim_changed(&key, out);
        }
    }

    fn set_live(&mut self, source: Source, live: bool, out: &mut Vec<BackendEvent>) {
        if let Some(state) = self.live.get_mut(source as usize) {
            *state = live;
        }
        let synced = self.live.iter().all(|live| *live);
        if std::mem::replace(&mut self.synced, synced) != synced {
            out.push(if synced { BackendEvent::Synced } else { BackendEvent::Stale });
        }
    }
}

#[cfg(test)]
mod tests;
