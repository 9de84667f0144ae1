//! The agent object: what an API server would hold, with the same preconditions.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::AgentSpec;
use crate::agent::{AgentUid, Generation, Life, PodUid, Revision};
use crate::lifecycle::{AgentSeen, Failure, Mode, PodSeen, PodState, SuspendedBy, WriteError};

/// Where all agents listen.
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Counts changes over all agents, as etcd does.
#[derive(Default)]
pub(super) struct Revisions(AtomicU64);

impl Revisions {
    fn next(&self) -> Revision {
        Revision(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// One agent and its pod.
pub(super) struct Object {
    pub(super) spec: AgentSpec,
    seen: AgentSeen,
    pod: Option<PodSeen>,
    /// The last pod that went, so that its end is reported even if its successor is there already.
    pub(super) last_gone: Option<(PodUid, Revision)>,
    /// No longer in the configuration, or Drowse ends: stop it and forget it.
    pub(super) removed: bool,
}

impl Object {
    pub(super) fn new(spec: AgentSpec, revisions: &Revisions) -> Self {
        let revision = revisions.next();
        let seen = AgentSeen {
            uid: AgentUid(format!("{}-{}-{}", spec.key.name(), std::process::id(), revision.0).into()),
            revision,
            generation: Generation(1),
            observed: Generation(1),
            mode: Mode::Suspended,
            suspended_by: SuspendedBy::Idle,
        };
        Self { spec, seen, pod: None, last_gone: None, removed: false }
    }

    pub(super) fn seen(&self) -> AgentSeen {
        self.seen.clone()
    }

    pub(super) fn pod(&self) -> Option<PodSeen> {
        self.pod.clone()
    }

    /// Whether a process should run.
    pub(super) fn wants_process(&self) -> bool {
        !self.removed && self.seen.mode == Mode::Running
    }

    /// Whether the process of this life runs.
    pub(super) fn is_up(&self, life: &Life) -> bool {
        let Some(pod) = &self.pod else { return false };
        let same = self.seen.uid == life.agent && pod.uid == life.pod;
        same && !pod.terminating && matches!(pod.state, PodState::Up(_))
    }

    // What the API offers.

    pub(super) fn suspend(
        &mut self,
        uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
        revisions: &Revisions,
    ) -> Result<(), WriteError> {
        if self.seen.uid != *uid || self.seen.revision != revision {
            return Err(WriteError::Conflict);
        }
        self.set_mode(Mode::Suspended, by, revisions);
        Ok(())
    }

    pub(super) fn resume(
        &mut self,
        uid: &AgentUid,
        from: Mode,
        revisions: &Revisions,
    ) -> Result<(), WriteError> {
        if self.seen.uid != *uid || self.seen.mode != from {
            return Err(WriteError::Conflict);
        }
        self.set_mode(Mode::Running, self.seen.suspended_by, revisions);
        Ok(())
    }

    fn set_mode(&mut self, mode: Mode, by: SuspendedBy, revisions: &Revisions) {
        if self.seen.mode != mode {
            self.seen.generation.0 += 1;
        }
        self.seen.mode = mode;
        self.seen.suspended_by = by;
        self.seen.revision = revisions.next();
    }

    pub(super) fn respecify(&mut self, spec: AgentSpec, revisions: &Revisions) {
        if self.spec != spec {
            self.spec = spec;
            self.seen.revision = revisions.next();
        }
    }

    pub(super) fn remove(&mut self, revisions: &Revisions) {
        self.removed = true;
        self.seen.revision = revisions.next();
    }

    // What the controller and the node do.

    /// Acted on the spec as it is now.
    pub(super) fn observed(&mut self, generation: Generation, revisions: &Revisions) {
        if self.seen.observed != generation {
            self.seen.observed = generation;
            self.seen.revision = revisions.next();
        }
    }

    pub(super) fn pod_created(&mut self, revisions: &Revisions) {
        let revision = revisions.next();
        self.pod = Some(PodSeen {
            uid: PodUid(format!("{}-{}", self.spec.key.name(), revision.0).into()),
            owner: self.seen.uid.clone(),
            revision,
            terminating: false,
            state: PodState::Starting,
        });
    }

    pub(super) fn pod_up(&mut self, revisions: &Revisions) {
        self.change_pod(revisions, |pod| pod.state = PodState::Up(LOCAL));
    }

    pub(super) fn pod_failed(&mut self, failure: Failure, revisions: &Revisions) {
        self.change_pod(revisions, |pod| pod.state = PodState::Failed(failure));
    }

    pub(super) fn pod_terminating(&mut self, revisions: &Revisions) {
        self.change_pod(revisions, |pod| pod.terminating = true);
    }

    pub(super) fn pod_gone(&mut self, revisions: &Revisions) {
        if let Some(pod) = self.pod.take() {
            self.last_gone = Some((pod.uid, revisions.next()));
        }
    }

    fn change_pod(&mut self, revisions: &Revisions, change: impl FnOnce(&mut PodSeen)) {
        if let Some(pod) = &mut self.pod {
            change(pod);
            pod.revision = revisions.next();
        }
    }
}

/// What rules match on, as reported.
pub(super) fn profile(object: &Object) -> Arc<super::Profile> {
    Arc::clone(&object.spec.profile)
}
