//! Agents as local processes: to try Drowse, and to develop with no cluster.
//!
//! It plays the part of the API server, the controller and the node at once, and keeps to their contract: an object
//! with revisions and preconditions, a pod that is a start of the process, observations that may be skipped but never
//! go back. Each agent has one actor task (`actor`), so that whatever happens to it happens one after the other.

mod actor;
pub mod guard;
mod logs;
mod object;
mod report;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

use super::{Backend, BackendEvent, Profile};
use crate::agent::{AgentKey, AgentUid, Life, Revision};
use crate::lifecycle::{AgentSeen, Mode, SuspendedBy, WriteError};
use crate::time::Clock;

use object::{Object, Revisions};
use report::Reports;

/// One agent of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentSpec {
    /// Its name.
    pub key: AgentKey,
    /// The program and its arguments, ready to run.
    pub command: Vec<String>,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// Made if it is not there, and never removed.
    pub working_dir: PathBuf,
    /// How long it has between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// What rules match on.
    pub profile: Arc<Profile>,
}

/// The backend. Its agents are stopped when it is told to shut down, or when its process dies.
pub struct ProcessBackend {
    shared: Arc<Shared>,
}

struct Shared {
    /// This very program, which also is the guard of each agent.
    program: PathBuf,
    state_dir: PathBuf,
    clock: Clock,
    agents: Mutex<HashMap<AgentKey, Arc<Agent>>>,
    revisions: Revisions,
    reports: Reports,
    actors: TaskTracker,
}

/// One agent: what it should be and what it is.
struct Agent {
    key: AgentKey,
    object: Mutex<Object>,
    /// Told when the object was changed.
    changed: Notify,
}

impl ProcessBackend {
    /// A backend for these agents, all of them asleep. `state_dir` holds a folder for each, with its log.
    pub fn new(state_dir: PathBuf, specs: Vec<AgentSpec>, program: PathBuf, clock: Clock) -> Self {
        let shared = Arc::new(Shared {
            program,
            state_dir,
            clock,
            agents: Mutex::default(),
            revisions: Revisions::default(),
            reports: Reports::default(),
            actors: TaskTracker::new(),
        });
        let backend = Self { shared };
        backend.apply(specs);
        backend
    }

    /// Another list of agents: new ones appear, missing ones are stopped and go, changed ones take effect when they
    /// start the next time (what rules match on, at once).
    pub fn apply(&self, specs: Vec<AgentSpec>) {
        let mut wanted: HashMap<_, _> = specs.into_iter().map(|spec| (spec.key.clone(), spec)).collect();
        let mut agents = self.shared.agents.lock();
        agents.retain(|key, agent| {
            match wanted.remove(key) {
                Some(spec) => agent.object.lock().respecify(spec, &self.shared.revisions),
                None => {
                    agent.object.lock().remove(&self.shared.revisions);
                    agent.changed.notify_one();
                    return false;
                }
            }
            self.shared.reports.dirty(agent);
            true
        });
        for (key, spec) in wanted {
            let object = Mutex::new(Object::new(spec, &self.shared.revisions));
            let agent = Arc::new(Agent { key: key.clone(), object, changed: Notify::new() });
            self.shared.reports.dirty(&agent);
            self.shared.actors.spawn(actor::run(Arc::clone(&self.shared), Arc::clone(&agent)));
            agents.insert(key, agent);
        }
    }

    /// Changes an object, and tells its actor and the watch.
    fn write(
        &self,
        key: &AgentKey,
        change: impl FnOnce(&mut Object, &Revisions) -> Result<(), WriteError>,
    ) -> Result<AgentSeen, WriteError> {
        let agent = self.shared.agents.lock().get(key).cloned().ok_or(WriteError::Gone)?;
        let mut object = agent.object.lock();
        change(&mut object, &self.shared.revisions)?;
        let seen = object.seen();
        drop(object);
        agent.changed.notify_one();
        self.shared.reports.dirty(&agent);
        Ok(seen)
    }
}

impl Backend for ProcessBackend {
    fn watch(&self) -> mpsc::Receiver<BackendEvent> {
        let (events, receiver) = mpsc::channel(256);
        tokio::spawn(report::run(Arc::clone(&self.shared), events));
        receiver
    }

    fn suspend(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let written = self.write(key, |object, revisions| object.suspend(uid, revision, by, revisions));
        std::future::ready(written).boxed()
    }

    fn resume(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        from: Mode,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let written = self.write(key, |object, revisions| object.resume(uid, from, revisions));
        std::future::ready(written).boxed()
    }

    fn read(&self, key: &AgentKey) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let agent = self.shared.agents.lock().get(key).cloned();
        let seen = agent.map(|agent| agent.object.lock().seen());
        std::future::ready(seen.ok_or(WriteError::Gone)).boxed()
    }

    fn attest(
        &self,
        key: &AgentKey,
        life: &Life,
        _at: SocketAddr,
    ) -> BoxFuture<'static, Result<bool, String>> {
        // That nobody else listened there was proved before this life began (see `actor::start`), and it ends in the
        // object before its port can be taken by another.
        let agent = self.shared.agents.lock().get(key).cloned();
        let lives = agent.is_some_and(|agent| agent.object.lock().is_up(life));
        std::future::ready(Ok(lives)).boxed()
    }

    fn last_log_lines(&self, key: &AgentKey) -> Vec<String> {
        logs::last_lines(&logs::path(&self.shared.state_dir, key))
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.shared);
        async move {
            for (_, agent) in shared.agents.lock().drain() {
                agent.object.lock().remove(&shared.revisions);
                agent.changed.notify_one();
            }
            shared.actors.close();
            // Bounded: each actor kills what does not stop within its grace.
            shared.actors.wait().await;
        }
        .boxed()
    }
}
