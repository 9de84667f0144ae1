//! Runs agents as processes of this machine: for trying Drowse, and for development without a cluster.
//!
//! It keeps to the same contract as a cluster does, so everything above it is the same: each agent is an object
//! with revisions and preconditions, each start of its process is a pod. To suspend is to end the process, or to have
//! it stand still; then its going on is a new pod as well.

mod agent;
mod frozen;
pub mod guard;
mod guarded;
mod identity;
mod keeper;
mod log_file;
mod object;
mod procfs;
mod spec;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Backend, BackendEvent};
use crate::agent::{AgentKey, AgentUid, Generation, Life, Revision};
use crate::lifecycle::{AgentSeen, Mode, SuspendedBy, WriteError};
use crate::time::Clock;

pub use spec::{AgentSpec, Suspend};

use agent::Agent;
use identity::Listener;
use keeper::{Keeper, Premises};
use object::Revisions;

/// Reports that may wait to be read. A full channel makes keepers wait, writers never.
const MAX_REPORTS: usize = 1024;
/// How many lines of an agent's log are shown.
const LOG_LINES: usize = 10;
/// Reading `/proc` takes milliseconds.
const ATTEST_WITHIN: Duration = Duration::from_secs(5);
/// How long all agents may take to be gone, beyond the longest grace of one.
const ENDS_AFTER_GRACE: Duration = Duration::from_secs(8);

/// Agents as processes of this machine.
pub struct ProcessBackend {
    premises: Arc<Premises>,
    revisions: Arc<Revisions>,
    keepers: TaskTracker,
    table: Mutex<Table>,
}

struct Table {
    agents: HashMap<AgentKey, Arc<Agent>>,
    /// Agents that were removed, until nothing of them is left.
    leaving: HashMap<AgentKey, CancellationToken>,
    /// What the watch gives away; nothing runs before that.
    reports: Option<mpsc::Receiver<BackendEvent>>,
}

impl ProcessBackend {
    /// A backend with these agents, all asleep. Logs go to `<state_dir>/<namespace>/<name>/agent.log`. `program` is
    /// this very program, which is started as guard and for agents whose command begins with `drowse`.
    pub fn new(state_dir: PathBuf, specs: Vec<AgentSpec>, program: PathBuf, clock: Clock) -> Self {
        let (events, reports) = mpsc::channel(MAX_REPORTS);
        let run = format!("{:x}-{:x}", clock.wall(clock.now()).as_microsecond(), std::process::id());
        let backend = Self {
            premises: Arc::new(Premises {
                state_dir,
                drowse: program,
                clock,
                events,
                ending: CancellationToken::new(),
            }),
            revisions: Revisions::new(run),
            keepers: TaskTracker::new(),
            table: Mutex::new(Table {
                agents: HashMap::new(),
                leaving: HashMap::new(),
                reports: Some(reports),
            }),
        };
        backend.apply(specs);
        backend
    }

    /// Takes over a changed configuration: new agents appear, those that are not listed any more are stopped and
    /// forgotten, and changed ones are started differently the next time. Within a tokio runtime once it is watched.
    pub fn apply(&self, specs: Vec<AgentSpec>) {
        let table = &mut *self.table.lock();
        let mut unlisted = std::mem::take(&mut table.agents);
        table.leaving.retain(|_, gone| !gone.is_cancelled());
        for spec in specs {
            let key = spec.key.clone();
            let agent = if let Some(agent) = unlisted.remove(&key) {
                agent.set_spec(spec);
                agent
            } else {
                let agent = Agent::new(spec, Arc::clone(&self.revisions));
                if table.reports.is_none() {
                    self.keep(&agent, table.leaving.remove(&key), None);
                }
                agent
            };
            table.agents.insert(key, agent);
        }
        for (key, agent) in unlisted {
            agent.delete();
            if table.reports.is_none() {
                table.leaving.insert(key, agent.gone().clone());
            }
        }
    }

    fn keep(
        &self,
        agent: &Arc<Agent>,
        predecessor: Option<CancellationToken>,
        first: Option<mpsc::Sender<()>>,
    ) {
        let keeper = Keeper::new(Arc::clone(agent), Arc::clone(&self.premises));
        self.keepers.spawn(keeper.run(predecessor, first));
    }

    fn agent(&self, key: &AgentKey) -> Option<Arc<Agent>> {
        self.table.lock().agents.get(key).cloned()
    }

    /// A write or read of one agent, done when the future is first polled.
    fn call(
        &self,
        key: &AgentKey,
        call: impl FnOnce(&Agent) -> Result<AgentSeen, WriteError> + Send + 'static,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let agent = self.agent(key);
        async move { agent.map_or(Err(WriteError::Gone), |agent| call(&agent)) }.boxed()
    }
}

impl Backend for ProcessBackend {
    /// Its agents end with it.
    fn outlives_us(&self) -> bool {
        false
    }

    fn watch(&self) -> mpsc::Receiver<BackendEvent> {
        let table = &mut *self.table.lock();
        let Some(reports) = table.reports.take() else {
            tracing::error!("the process backend is watched a second time; nothing is reported there");
            return mpsc::channel(1).1;
        };
        let (first, mut all_reported) = mpsc::channel(1);
        for agent in table.agents.values() {
            self.keep(agent, None, Some(first.clone()));
        }
        let events = self.premises.events.clone();
        self.keepers.spawn(self.premises.ending.clone().run_until_cancelled_owned(async move {
            drop(first);
            all_reported.recv().await;
            // If nobody listens any more, Drowse is about to end.
            let _ = events.send(BackendEvent::Synced).await;
        }));
        reports
    }

    fn suspend(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let (agent, uid) = (self.agent(key), uid.clone());
        async move {
            let Some(agent) = agent else { return Err(WriteError::Gone) };
            agent.suspend(uid, revision, by).await
        }
        .boxed()
    }

    fn resume(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        generation: Generation,
        from: Mode,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let uid = uid.clone();
        self.call(key, move |agent| agent.write(|object| object.resume(&uid, generation, from)))
    }

    fn read(&self, key: &AgentKey) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.call(key, Agent::read)
    }

    fn attest(
        &self,
        key: &AgentKey,
        life: &Life,
        at: SocketAddr,
    ) -> BoxFuture<'static, Result<bool, String>> {
        let (agent, life) = (self.agent(key), life.clone());
        async move {
            let Some(agent) = agent else { return Ok(false) };
            attest(&agent, &life, at).await
        }
        .boxed()
    }

    fn last_log_lines(&self, key: &AgentKey) -> Vec<String> {
        let mut lines = log_file::last_lines(&self.premises.log_of(key), LOG_LINES);
        let stranger = self.agent(key).and_then(|agent| agent.state().stranger.clone());
        lines.extend(stranger.map(|stranger| format!("drowse: {stranger}")));
        lines
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let graces = self.table.lock().agents.values().map(|agent| agent.state().spec.stop_grace).max();
        let within = graces.unwrap_or_default() + ENDS_AFTER_GRACE;
        self.premises.ending.cancel();
        self.keepers.close();
        let keepers = self.keepers.clone();
        async move {
            if tokio::time::timeout(within, keepers.wait()).await.is_err() {
                tracing::error!(
                    agents = keepers.len(),
                    "not every agent has ended; their guards go on stopping them"
                );
            }
        }
        .boxed()
    }
}

async fn attest(agent: &Agent, life: &Life, at: SocketAddr) -> Result<bool, String> {
    let Some(pids) = agent.pids(life) else { return Ok(false) };
    if at.port() == 0 {
        return Ok(true);
    }
    let look = tokio::task::spawn_blocking(move || identity::who_listens(at, pids));
    let listener = tokio::time::timeout(ATTEST_WITHIN, look)
        .await
        .map_err(|_| "looking who listens at the port takes too long".to_owned())?
        .map_err(|error| format!("cannot look who listens at the port: {error}"))?;
    if let Listener::Stranger(stranger) = listener {
        if agent.note_stranger(Some(stranger.clone())) {
            tracing::warn!(agent = %agent.key, "{stranger}");
        }
        return Ok(false);
    }
    agent.note_stranger(None);
    // It may have ended while we looked.
    Ok(agent.note_answer(life))
}
