//! One agent as everybody sees it: the object that is written and read, and the facts about its process.
//!
//! Writers change the object under a lock that is never held for long and go on; the agent's `Keeper` notices and
//! acts.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::guarded::Pids;
use super::identity::Stranger;
use super::object::{Object, Revisions};
use super::spec::AgentSpec;
use crate::agent::{AgentKey, AgentUid, Life, Revision};
use crate::backend::Profile;
use crate::lifecycle::{AgentSeen, SuspendedBy, WriteError};

/// More than a keeper takes to see processes stand still, or not.
const SUSPENDS_WITHIN: Duration = Duration::from_secs(5);

/// One agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) key: AgentKey,
    state: Mutex<State>,
    changed: Notify,
    gone: CancellationToken,
}

/// What is behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) object: Object,
    pub(super) spec: Arc<AgentSpec>,
    pub(super) process: Option<Process>,
    /// A suspension that is written once the processes stand still: for the keeper.
    pub(super) suspension: Option<Suspension>,
    /// Who holds its port instead of it.
    pub(super) stranger: Option<Stranger>,
}

/// A suspension that waits for the processes to stand still.
#[derive(Debug)]
pub(super) struct Suspension {
    pub(super) uid: AgentUid,
    pub(super) revision: Revision,
    pub(super) by: SuspendedBy,
    pub(super) answer: oneshot::Sender<Result<AgentSeen, WriteError>>,
}

/// A process that is there or about to be. One without a pod is frozen, or on its way out.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// As what it was started, which the configuration may have changed since.
    started: Arc<AgentSpec>,
    pub(super) pids: Option<Pids>,
    /// It has answered since it was started or thawed.
    answered: bool,
}

impl State {
    /// What to start, if the object wants a pod that is not there.
    pub(super) fn make_pod_if_wanted(&mut self) -> Option<Arc<AgentSpec>> {
        if !self.object.wants_pod() {
            return None;
        }
        let spec = Arc::clone(&self.spec);
        self.object.make_pod(spec.readiness());
        self.process = Some(Process { started: Arc::clone(&spec), pids: None, answered: false });
        self.stranger = None;
        Some(spec)
    }

    /// The processes to freeze for a suspension; none if it is to end them. One that has not answered since it was
    /// started or thawed is ended, however it is suspended else: that is how the core clears away a start that hangs.
    pub(super) fn freezable(&self) -> Option<Pids> {
        let process = self.process.as_ref().filter(|process| process.answered && self.object.is_up())?;
        if self.spec.freezes(&process.started) { process.pids } else { None }
    }

    /// Whether a process that is frozen stays so, and is not to be ended.
    pub(super) fn keeps_frozen(&self) -> bool {
        !self.object.is_deleted()
            && self.process.as_ref().is_some_and(|process| self.spec.freezes(&process.started))
    }

    /// Makes the pod of a process that goes on, if the object wants one. To the core it is a new life: what is kept for
    /// the old one, connections above all, is not used for it.
    pub(super) fn thaw_if_wanted(&mut self) -> bool {
        let wanted = self.object.wants_pod();
        if let (true, Some(process)) = (wanted, &mut self.process) {
            process.answered = false;
            self.object.make_pod(Some(self.spec.readiness_when_thawed()));
            self.object.pod_is_up();
        }
        wanted
    }

    /// What rules match on, as it is true of the process that runs.
    pub(super) fn profile(&self) -> Arc<Profile> {
        self.spec.profile_at(self.process.as_ref().map_or(self.spec.port, |process| process.started.port))
    }
}

impl Agent {
    /// A new agent, asleep.
    pub(super) fn new(spec: AgentSpec, revisions: Arc<Revisions>) -> Arc<Self> {
        let state = State {
            object: Object::new(revisions),
            spec: Arc::new(spec),
            process: None,
            suspension: None,
            stranger: None,
        };
        Arc::new(Self {
            key: state.spec.key.clone(),
            state: Mutex::new(state),
            changed: Notify::new(),
            gone: CancellationToken::new(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes the object and has that acted on.
    pub(super) fn write(
        &self,
        change: impl FnOnce(&mut Object) -> Result<AgentSeen, WriteError>,
    ) -> Result<AgentSeen, WriteError> {
        let written = change(&mut self.state().object);
        self.changed.notify_one();
        written
    }

    /// See [`crate::backend::Backend::suspend`].
    pub(super) async fn suspend(
        &self,
        uid: AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> Result<AgentSeen, WriteError> {
        if self.state().freezable().is_none() {
            return self.write(|object| object.suspend(&uid, revision, by));
        }
        let (answer, answered) = oneshot::channel();
        self.state().suspension = Some(Suspension { uid, revision, by, answer });
        self.changed.notify_one();
        match tokio::time::timeout(SUSPENDS_WITHIN, answered).await {
            Ok(Ok(result)) => result,
            // It was never looked at, because a later one came.
            Ok(Err(_)) => Err(WriteError::Conflict),
            Err(_) => Err(WriteError::Unknown("its processes are still being stopped".into())),
        }
    }

    /// What the object says now.
    pub(super) fn read(&self) -> Result<AgentSeen, WriteError> {
        let state = self.state();
        if state.object.is_deleted() { Err(WriteError::Gone) } else { Ok(state.object.agent().clone()) }
    }

    /// Takes over a changed specification. Its process, if it runs, goes on as it was started.
    pub(super) fn set_spec(&self, spec: AgentSpec) {
        let mut state = self.state();
        if *state.spec != spec {
            state.spec = Arc::new(spec);
            state.object.touch();
            self.changed.notify_one();
        }
    }

    /// It is not wanted any more, and its process has to go.
    pub(super) fn delete(&self) {
        self.state().object.delete();
        self.changed.notify_one();
    }

    /// The processes of this life, if it is the one that is up.
    pub(super) fn pids(&self, life: &Life) -> Option<Pids> {
        let state = self.state();
        state.process.as_ref().filter(|_| state.object.lives(life))?.pids
    }

    /// Notes that this life answers. Says whether it is still the one that is up.
    pub(super) fn note_answer(&self, life: &Life) -> bool {
        let mut state = self.state();
        let lives = state.object.lives(life);
        match &mut state.process {
            Some(process) if lives && process.pids.is_some() => {
                process.answered = true;
                true
            }
            _ => false,
        }
    }

    /// Notes who holds its port, or that nobody else does. Says whether that is news.
    pub(super) fn note_stranger(&self, stranger: Option<Stranger>) -> bool {
        let mut state = self.state();
        let news = state.stranger != stranger;
        state.stranger = stranger;
        news
    }

    /// Until somebody has changed something. For its keeper alone.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Cancelled when nothing of it is left.
    pub(super) const fn gone(&self) -> &CancellationToken {
        &self.gone
    }
}
