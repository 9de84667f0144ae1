//! Keeps one agent as its object says: what the Sandbox controller and the kubelet are to a Sandbox.
//!
//! Everything that happens to an agent's process happens in this one task, so nothing overlaps: a new process is
//! started only when the old one and all its children are gone. Reports are made from the newest state, so a
//! full channel delays them and loses none.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::agent::{Agent, Suspension};
use super::frozen::Frozen;
use super::guarded::{Guarded, News};
use super::identity;
use super::spec::AgentSpec;
use crate::agent::{AgentKey, PodUid, Revision};
use crate::backend::BackendEvent;
use crate::lifecycle::{AgentSeen, Failure, FailureClass, WriteError};
use crate::time::Clock;

/// What all keepers need.
#[derive(Debug)]
pub(super) struct Premises {
    /// For the logs.
    pub(super) state_dir: PathBuf,
    /// This program.
    pub(super) drowse: PathBuf,
    pub(super) clock: Clock,
    pub(super) events: mpsc::Sender<BackendEvent>,
    /// Drowse ends: every agent is stopped, and nobody listens to reports any more.
    pub(super) ending: CancellationToken,
}

impl Premises {
    /// Where an agent's output goes.
    pub(super) fn log_of(&self, key: &AgentKey) -> PathBuf {
        self.state_dir.join(key.namespace()).join(key.name()).join("agent.log")
    }
}

/// The task of one agent.
pub(super) struct Keeper {
    agent: Arc<Agent>,
    premises: Arc<Premises>,
    process: Option<Guarded>,
    /// It stands still.
    frozen: Option<Frozen>,
    /// A pod that was removed, which nobody was told yet.
    removed: Option<(PodUid, Revision)>,
    told_agent: Revision,
    told_pod: Revision,
    told_deleted: bool,
    ending: bool,
}

impl Keeper {
    pub(super) fn new(agent: Arc<Agent>, premises: Arc<Premises>) -> Self {
        Self {
            agent,
            premises,
            process: None,
            frozen: None,
            removed: None,
            told_agent: Revision(0),
            told_pod: Revision(0),
            told_deleted: false,
            ending: false,
        }
    }

    /// Until the agent is deleted and nothing of it is left. `first_report` is dropped when the agent was reported.
    /// `predecessor` is an agent of the same name that may still hold the port.
    pub(super) async fn run(
        mut self,
        predecessor: Option<CancellationToken>,
        first_report: Option<mpsc::Sender<()>>,
    ) {
        let _gone = self.agent.gone().clone().drop_guard();
        self.report().await;
        drop(first_report);
        if let Some(predecessor) = predecessor {
            predecessor.cancelled().await;
        }
        loop {
            self.act().await;
            self.report().await;
            if self.is_over() {
                return;
            }
            tokio::select! {
                () = self.agent.changed() => {}
                () = self.premises.ending.cancelled(), if !self.ending => {
                    self.ending = true;
                    self.agent.delete();
                }
                news = next(&mut self.process) => self.observe(news),
            }
        }
    }

    /// Brings the process nearer to what the object asks for.
    async fn act(&mut self) {
        let suspension = self.agent.state().suspension.take();
        if let Some(suspension) = suspension {
            let result = self.freeze(&suspension).await;
            // Whoever asked may have given up; the object then tells.
            let _ = suspension.answer.send(result);
        }
        self.stop_if_condemned();
        self.tend_frozen();
        let spec = if self.process.is_none() { self.agent.state().make_pod_if_wanted() } else { None };
        if let Some(spec) = spec {
            match self.start(&spec).await {
                Ok(process) => self.process = Some(process),
                Err(failure) => self.observe(News::Ended(failure)),
            }
        }
    }

    /// Writes a suspension once all processes stand still, and with it removes the pod. Until then nothing is written,
    /// so that whatever else is written meanwhile makes it fail; then they go on.
    async fn freeze(&mut self, asked: &Suspension) -> Result<AgentSeen, WriteError> {
        let pids = {
            let mut state = self.agent.state();
            state.object.check_suspension(&asked.uid, asked.revision)?;
            let Some(pids) = state.freezable() else {
                return state.object.suspend(&asked.uid, asked.revision, asked.by);
            };
            pids
        };
        let frozen = Frozen::freeze(pids)
            .await
            .map_err(|why| WriteError::Refused(Failure::new(FailureClass::Deadline, why)))?;
        let mut state = self.agent.state();
        let written = state.object.suspend(&asked.uid, asked.revision, asked.by);
        if written.is_ok() {
            self.removed = state.object.remove_pod();
            self.frozen = Some(frozen);
        } else {
            frozen.thaw();
        }
        written
    }

    fn stop_if_condemned(&mut self) {
        let mut state = self.agent.state();
        if state.object.condemned() {
            match &mut self.process {
                Some(process) => process.stop(),
                None => self.removed = state.object.remove_pod(),
            }
        }
    }

    /// A frozen process goes on when it is wanted, and is ended when it is not to be frozen any more.
    fn tend_frozen(&mut self) {
        let (Some(process), Some(frozen)) = (&mut self.process, self.frozen.take()) else { return };
        let mut state = self.agent.state();
        if !state.keeps_frozen() {
            // Its guard has it go on to its end.
            process.stop();
        } else if frozen.exists() && state.thaw_if_wanted() {
            frozen.thaw();
        } else {
            // If it has ended, that is told in a moment.
            self.frozen = Some(frozen);
        }
    }

    async fn start(&self, spec: &AgentSpec) -> Result<Guarded, Failure> {
        let Premises { drowse, clock, .. } = &*self.premises;
        identity::check_free(spec.port).await?;
        Guarded::start(drowse, spec, self.premises.log_of(&spec.key), *clock)
    }

    fn observe(&mut self, news: News) {
        let agent = tracing::field::display(&self.agent.key);
        let mut state = self.agent.state();
        match news {
            News::Started(pids) => {
                tracing::debug!(agent, pid = %pids.agent, guard = %pids.guard, "process started");
                if let Some(process) = &mut state.process {
                    process.pids = Some(pids);
                }
                state.object.pod_is_up();
            }
            News::Ended(failure) => {
                if let Some(frozen) = self.frozen.take() {
                    frozen.end();
                    tracing::warn!(agent, how = %failure.detail, "a frozen agent has ended; its next start is a new one");
                }
                tracing::debug!(agent, how = %failure.detail, asked = state.object.condemned(), "process ended");
                let failure = match &state.stranger {
                    Some(stranger) => Failure::new(failure.class, format!("{} ({stranger})", failure.detail)),
                    None => failure,
                };
                state.object.pod_failed(failure);
                state.process = None;
                drop(state);
                self.process = None;
            }
        }
    }

    fn is_over(&self) -> bool {
        let state = self.agent.state();
        state.object.is_deleted() && state.object.pod().is_none() && self.process.is_none()
    }

    /// Tells what is new, oldest first.
    async fn report(&mut self) {
        for event in self.news() {
            tokio::select! {
                biased;
                () = self.premises.ending.cancelled() => return,
                // If nobody listens any more, Drowse is about to end.
                _ = self.premises.events.send(event) => {}
            }
        }
    }

    fn news(&mut self) -> Vec<BackendEvent> {
        let key = &self.agent.key;
        let mut news = Vec::new();
        let state = self.agent.state();
        if let Some((pod, revision)) = self.removed.take() {
            news.push(BackendEvent::PodGone { key: key.clone(), pod, revision });
        }
        if state.object.is_deleted() {
            if !std::mem::replace(&mut self.told_deleted, true) {
                news.push(BackendEvent::AgentGone {
                    key: key.clone(),
                    uid: state.object.agent().uid.clone(),
                });
            }
            return news;
        }
        let seen = state.object.agent();
        if seen.revision > self.told_agent {
            self.told_agent = seen.revision;
            news.push(BackendEvent::Agent { key: key.clone(), seen: seen.clone(), profile: state.profile() });
        }
        if let Some(pod) = state.object.pod().filter(|pod| pod.revision > self.told_pod) {
            self.told_pod = pod.revision;
            news.push(BackendEvent::Pod { key: key.clone(), seen: pod.clone() });
        }
        news
    }
}

async fn next(process: &mut Option<Guarded>) -> News {
    match process {
        Some(process) => process.next().await,
        None => std::future::pending().await,
    }
}
