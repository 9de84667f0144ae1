//! The agent object and its pod, with the rules for writing them: what the API server and the controller are to a
//! Sandbox. No input or output.
//!
//! A suspension condemns the pod in the same step, so a resume that follows at once still gets a new pod: that is how
//! the core recovers an agent whose process has failed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::agent::{AgentUid, Generation, Life, PodUid, Revision};
use crate::lifecycle::{AgentSeen, Failure, Mode, PodSeen, PodState, Readiness, SuspendedBy, WriteError};

/// Gives every change of anything its place in one order, and every object and pod its identity.
#[derive(Debug)]
pub(super) struct Revisions {
    /// Tells this run of Drowse from others.
    run: String,
    last: AtomicU64,
}

impl Revisions {
    pub(super) fn new(run: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { run: run.into(), last: AtomicU64::new(0) })
    }

    fn next(&self) -> Revision {
        Revision(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn identity(&self, revision: Revision) -> Arc<str> {
        format!("{}-{}", self.run, revision.0).into()
    }
}

/// One agent object and its pod, if it has one.
#[derive(Debug)]
pub(super) struct Object {
    revisions: Arc<Revisions>,
    agent: AgentSeen,
    pod: Option<PodSeen>,
    deleted: bool,
}

impl Object {
    /// A new agent, asleep.
    pub(super) fn new(revisions: Arc<Revisions>) -> Self {
        let revision = revisions.next();
        let agent = AgentSeen {
            uid: AgentUid(revisions.identity(revision)),
            revision,
            generation: Generation(1),
            observed: Generation(1),
            mode: Mode::Suspended,
            suspended_by: SuspendedBy::Idle,
            trouble: None,
        };
        Self { revisions, agent, pod: None, deleted: false }
    }

    pub(super) const fn agent(&self) -> &AgentSeen {
        &self.agent
    }

    pub(super) const fn pod(&self) -> Option<&PodSeen> {
        self.pod.as_ref()
    }

    pub(super) const fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Whether this life is the one that is up.
    pub(super) fn lives(&self, life: &Life) -> bool {
        self.agent.uid == life.agent
            && self.is_up()
            && self.pod.as_ref().is_some_and(|pod| pod.uid == life.pod)
    }

    /// Whether its pod is up, and to stay.
    pub(super) fn is_up(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| !pod.terminating && matches!(pod.state, PodState::Up(_)))
    }

    /// See [`crate::backend::Backend::suspend`].
    pub(super) fn suspend(
        &mut self,
        uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> Result<AgentSeen, WriteError> {
        self.check_suspension(uid, revision)?;
        self.set_mode(Mode::Suspended);
        self.agent.suspended_by = by;
        self.condemn_pod();
        Ok(self.changed())
    }

    /// Whether a suspension of this identity and revision would be written.
    pub(super) fn check_suspension(&self, uid: &AgentUid, revision: Revision) -> Result<(), WriteError> {
        self.check(uid)?;
        if self.agent.revision == revision { Ok(()) } else { Err(WriteError::Conflict) }
    }

    /// See [`crate::backend::Backend::resume`].
    pub(super) fn resume(
        &mut self,
        uid: &AgentUid,
        generation: Generation,
        from: Mode,
    ) -> Result<AgentSeen, WriteError> {
        self.check(uid)?;
        if self.agent.generation != generation || self.agent.mode != from {
            return Err(WriteError::Conflict);
        }
        self.set_mode(Mode::Running);
        Ok(self.changed())
    }

    /// Something else about it has changed.
    pub(super) fn touch(&mut self) {
        self.changed();
    }

    /// There is no such agent any more; its pod has to go.
    pub(super) fn delete(&mut self) {
        self.deleted = true;
        self.condemn_pod();
    }

    /// Whether a pod is to be made now.
    pub(super) fn wants_pod(&self) -> bool {
        self.agent.mode == Mode::Running && self.pod.is_none() && !self.deleted
    }

    /// Whether the pod is to be stopped and removed.
    pub(super) fn condemned(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| pod.terminating)
    }

    /// A new pod, and how it wants to be asked whether it is ready. With it, everything that was asked for has been
    /// acted on.
    pub(super) fn make_pod(&mut self, readiness: Option<Arc<Readiness>>) {
        let revision = self.revisions.next();
        self.pod = Some(PodSeen {
            uid: PodUid(self.revisions.identity(revision)),
            owner: self.agent.uid.clone(),
            revision,
            terminating: false,
            state: PodState::Starting,
            ready: false,
            hindrance: None,
            readiness,
        });
        self.agent.observed = self.agent.generation;
        self.changed();
    }

    /// Its process runs.
    pub(super) fn pod_is_up(&mut self) {
        self.set_pod_state(PodState::Up(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    /// Its process has ended or could not be started. Not news of one that is being stopped.
    pub(super) fn pod_failed(&mut self, failure: Failure) {
        if !self.condemned() {
            self.set_pod_state(PodState::Failed(failure));
        }
    }

    /// It is gone, and so is its process.
    pub(super) fn remove_pod(&mut self) -> Option<(PodUid, Revision)> {
        let pod = self.pod.take()?;
        Some((pod.uid, self.revisions.next()))
    }

    fn check(&self, uid: &AgentUid) -> Result<(), WriteError> {
        if self.deleted {
            return Err(WriteError::Gone);
        }
        if self.agent.uid == *uid { Ok(()) } else { Err(WriteError::Conflict) }
    }

    fn set_mode(&mut self, mode: Mode) {
        if self.agent.mode != mode {
            self.agent.mode = mode;
            self.agent.generation.0 += 1;
        }
    }

    /// With a pod condemned or none there, a suspension has been acted on; a resume has not before there is a pod.
    fn condemn_pod(&mut self) {
        if let Some(pod) = &mut self.pod
            && !pod.terminating
        {
            pod.terminating = true;
            pod.revision = self.revisions.next();
        }
        self.agent.observed = self.agent.generation;
    }

    fn set_pod_state(&mut self, state: PodState) {
        if let Some(pod) = &mut self.pod {
            pod.state = state;
            pod.revision = self.revisions.next();
        }
    }

    fn changed(&mut self) -> AgentSeen {
        self.agent.revision = self.revisions.next();
        self.agent.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::FailureClass;

    fn object() -> (Object, AgentUid) {
        let object = Object::new(Revisions::new("run"));
        let uid = object.agent().uid.clone();
        (object, uid)
    }

    fn running() -> (Object, AgentUid) {
        let (mut object, uid) = object();
        resume(&mut object, Mode::Suspended).unwrap();
        object.make_pod(None);
        object.pod_is_up();
        (object, uid)
    }

    fn life(object: &Object) -> Life {
        Life { agent: object.agent().uid.clone(), pod: object.pod().unwrap().uid.clone() }
    }

    /// As somebody does who knows the newest object.
    fn resume(object: &mut Object, from: Mode) -> Result<AgentSeen, WriteError> {
        let (uid, generation) = (object.agent().uid.clone(), object.agent().generation);
        object.resume(&uid, generation, from)
    }

    #[test]
    fn a_resume_that_was_decided_before_the_spec_changed_is_a_conflict() {
        let (mut object, uid) = object();
        let old = object.agent().generation;
        resume(&mut object, Mode::Suspended).unwrap();
        let revision = object.agent().revision;
        object.suspend(&uid, revision, SuspendedBy::Person).unwrap();
        assert_eq!(object.resume(&uid, old, Mode::Suspended), Err(WriteError::Conflict));
        assert_eq!(object.agent().mode, Mode::Suspended);
    }

    #[test]
    fn a_new_agent_sleeps_and_has_no_pod() {
        let (object, _) = object();
        assert_eq!((object.agent().mode, object.pod()), (Mode::Suspended, None));
        assert!(!object.wants_pod() && !object.condemned());
    }

    #[test]
    fn a_resume_is_acted_on_only_when_there_is_a_pod() {
        let (mut object, _) = object();
        let written = resume(&mut object, Mode::Suspended).unwrap();
        assert!(written.observed < written.generation && object.wants_pod());
        object.make_pod(None);
        assert_eq!(object.agent().observed, written.generation);
        assert!(object.agent().revision > written.revision && !object.wants_pod());
    }

    #[test]
    fn a_suspension_of_another_revision_or_identity_is_a_conflict_and_changes_nothing() {
        let (mut object, uid) = running();
        let before = object.agent().clone();
        let stale = Revision(before.revision.0 - 1);
        let stranger = AgentUid("stranger".into());
        assert_eq!(object.suspend(&uid, stale, SuspendedBy::Idle), Err(WriteError::Conflict));
        assert_eq!(object.suspend(&stranger, before.revision, SuspendedBy::Idle), Err(WriteError::Conflict));
        assert_eq!(object.agent(), &before);
        assert!(!object.condemned());
    }

    #[test]
    fn a_suspension_condemns_the_pod_in_the_same_step() {
        let (mut object, uid) = running();
        let life = life(&object);
        assert!(object.lives(&life));
        let (before, pod) = (object.agent().clone(), object.pod().unwrap().clone());
        let written = object.suspend(&uid, before.revision, SuspendedBy::Person).unwrap();
        assert_eq!((written.mode, written.suspended_by), (Mode::Suspended, SuspendedBy::Person));
        assert!(written.generation > before.generation && written.observed == written.generation);
        assert!(object.condemned() && object.pod().unwrap().revision > pod.revision);
        assert!(!object.lives(&life));
    }

    #[test]
    fn a_resume_right_after_a_suspension_waits_for_a_new_pod() {
        let (mut object, uid) = running();
        let (revision, old) = (object.agent().revision, life(&object));
        object.suspend(&uid, revision, SuspendedBy::Idle).unwrap();
        let written = resume(&mut object, Mode::Suspended).unwrap();
        assert!(written.observed < written.generation, "the old pod is not believed");
        assert!(object.condemned() && !object.wants_pod());
        let (gone, revision) = object.remove_pod().unwrap();
        assert!(gone == old.pod && revision > written.revision && object.wants_pod());
        object.make_pod(None);
        assert_ne!(life(&object).pod, old.pod);
    }

    #[test]
    fn a_resume_needs_the_mode_that_it_was_decided_on() {
        let (mut object, _) = object();
        assert_eq!(resume(&mut object, Mode::Running), Err(WriteError::Conflict));
        resume(&mut object, Mode::Suspended).unwrap();
        assert_eq!(resume(&mut object, Mode::Suspended), Err(WriteError::Conflict));
    }

    #[test]
    fn a_resume_of_a_running_agent_changes_nothing_but_the_revision() {
        let (mut object, _) = running();
        let (before, pod) = (object.agent().clone(), object.pod().cloned());
        let written = resume(&mut object, Mode::Running).unwrap();
        assert!(written.revision > before.revision);
        assert_eq!(AgentSeen { revision: before.revision, ..written }, before);
        assert_eq!(object.pod().cloned(), pod);
    }

    #[test]
    fn a_second_suspension_changes_who_asked_and_nothing_else() {
        let (mut object, uid) = object();
        let before = object.agent().clone();
        let written = object.suspend(&uid, before.revision, SuspendedBy::Person).unwrap();
        assert_eq!((written.generation, written.suspended_by), (before.generation, SuspendedBy::Person));
        assert!(written.revision > before.revision);
    }

    #[test]
    fn a_failed_pod_stays_until_it_is_suspended_away() {
        let (mut object, uid) = running();
        object.pod_failed(Failure::new(FailureClass::Crash, "x"));
        assert!(!object.wants_pod() && !object.condemned());
        let revision = object.agent().revision;
        object.suspend(&uid, revision, SuspendedBy::Idle).unwrap();
        assert!(object.condemned());
    }

    #[test]
    fn the_end_of_a_condemned_pod_is_no_failure() {
        let (mut object, uid) = running();
        let revision = object.agent().revision;
        object.suspend(&uid, revision, SuspendedBy::Idle).unwrap();
        object.pod_failed(Failure::new(FailureClass::Crash, "killed"));
        assert!(matches!(object.pod().unwrap().state, PodState::Up(_)));
    }

    #[test]
    fn a_deleted_agent_takes_no_writes_and_its_pod_has_to_go() {
        let (mut object, uid) = running();
        let revision = object.agent().revision;
        object.delete();
        assert!(object.condemned() && object.is_deleted());
        assert_eq!(object.suspend(&uid, revision, SuspendedBy::Idle), Err(WriteError::Gone));
        assert_eq!(resume(&mut object, Mode::Running), Err(WriteError::Gone));
        object.remove_pod();
        assert!(!object.wants_pod());
    }

    #[test]
    fn no_two_changes_share_a_revision_and_no_two_lives_an_identity() {
        let revisions = Revisions::new("run");
        let (mut one, two) = (Object::new(Arc::clone(&revisions)), Object::new(revisions));
        assert_ne!(one.agent().uid, two.agent().uid);
        let mut seen = vec![one.agent().revision, two.agent().revision];
        seen.push(resume(&mut one, Mode::Suspended).unwrap().revision);
        one.make_pod(None);
        seen.extend([one.pod().unwrap().revision, one.agent().revision]);
        one.pod_is_up();
        seen.push(one.pod().unwrap().revision);
        one.touch();
        seen.push(one.agent().revision);
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    }
}
