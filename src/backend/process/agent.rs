//! One agent as everybody sees it: the object that is written and read, and the facts about its process.
//!
//! Writers change the object under a lock that is never held for long and go on; the agent's `Keeper` notices and
//! acts.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::guarded::Pids;
use super::identity::Stranger;
use super::object::{Object, Revisions};
use super::spec::AgentSpec;
use crate::agent::{AgentKey, Life};
use crate::backend::Profile;
use crate::lifecycle::{AgentSeen, WriteError};

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
    /// Who holds its port instead of it.
    pub(super) stranger: Option<Stranger>,
}

/// A process that is there or about to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// The port that it was told to listen on, which the configuration may have changed since.
    pub(super) port: u16,
    pub(super) pids: Option<Pids>,
}

impl State {
    /// What to start, if the object wants a pod that is not there.
    pub(super) fn make_pod_if_wanted(&mut self) -> Option<Arc<AgentSpec>> {
        if !self.object.wants_pod() {
            return None;
        }
        self.object.make_pod();
        self.process = Some(Process { port: self.spec.port, pids: None });
        self.stranger = None;
        Some(Arc::clone(&self.spec))
    }

    /// What rules match on, as it is true of the process that runs.
    pub(super) fn profile(&self) -> Arc<Profile> {
        self.spec.profile_at(self.process.map_or(self.spec.port, |process| process.port))
    }
}

impl Agent {
    /// A new agent, asleep.
    pub(super) fn new(spec: AgentSpec, revisions: Arc<Revisions>) -> Arc<Self> {
        let state =
            State { object: Object::new(revisions), spec: Arc::new(spec), process: None, stranger: None };
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

    /// What the object says now.
    pub(super) fn read(&self) -> Result<AgentSeen, WriteError> {
        let state = self.state();
        if state.object.is_deleted() { Err(WriteError::Gone) } else { Ok(state.object.agent().clone()) }
    }

    /// Takes over a changed specification. Its process, if there is one, goes on as it was started.
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
        state.process.filter(|_| state.object.lives(life))?.pids
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
