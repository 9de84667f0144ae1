//! What a backend does, and what it reports.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::agent::{AgentKey, AgentUid, Generation, Life, PodUid, Revision};
use crate::lifecycle::{AgentSeen, Mode, PodSeen, SuspendedBy, Transition, WriteError};

use super::Profile;

/// What a backend reports. Late, repeated and reordered reports are expected.
#[derive(Clone, Debug)]
pub enum BackendEvent {
    /// The agent object, new or changed.
    Agent {
        /// Which agent.
        key: AgentKey,
        /// Its state.
        seen: AgentSeen,
        /// What rules match on.
        profile: Arc<Profile>,
    },
    /// What rules match on has changed, for a reason outside of the agent object.
    Profile {
        /// Which agent.
        key: AgentKey,
        /// What rules match on.
        profile: Arc<Profile>,
    },
    /// The agent object was deleted.
    AgentGone {
        /// Which agent.
        key: AgentKey,
        /// The identity that was deleted: a newer agent of that name stays.
        uid: AgentUid,
    },
    /// A pod of the agent, new or changed.
    Pod {
        /// Which agent.
        key: AgentKey,
        /// Its state.
        seen: PodSeen,
    },
    /// A pod does not exist any more.
    PodGone {
        /// Which agent.
        key: AgentKey,
        /// Which pod.
        pod: PodUid,
        /// When, in the order of the pod's observations.
        revision: Revision,
    },
    /// Everything that exists has been reported: now (and only now) may agents be suspended.
    Synced,
    /// The watch is broken: what is known may be out of date, so nobody is suspended until the next `Synced`.
    Stale,
}

/// Runs agents. Every future is bounded in time by the implementation and cancel-safe.
pub trait Backend: Send + Sync + 'static {
    /// Starts to report. Called once.
    fn watch(&self) -> mpsc::Receiver<BackendEvent>;

    /// Whether agents go on when this process has ended, however it did, and writes that it had sent may still come.
    fn outlives_us(&self) -> bool {
        true
    }

    /// Writes `Suspended`, if the object still has this identity and exactly this revision. The answer is the
    /// object as written.
    fn suspend(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>>;

    /// Writes `Running` and a new wanted-at mark, if the object still has this identity and generation, and its mode
    /// is `from`. From `Running`, this changes nothing but the revision, and so makes a suspension that is under way fail.
    fn resume(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        generation: Generation,
        from: Mode,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>>;

    /// Reads the object past every cache.
    fn read(&self, key: &AgentKey) -> BoxFuture<'static, Result<AgentSeen, WriteError>>;

    /// Whether, read past every cache, this life is the one that answers at this address (guard IDENT). Port 0 stands for
    /// no connection: whether this life still is there. An error is "cannot tell".
    fn attest(&self, key: &AgentKey, life: &Life, at: SocketAddr)
    -> BoxFuture<'static, Result<bool, String>>;

    /// The last lines that the agent logged, oldest first; empty where the backend does not have them.
    fn last_log_lines(&self, key: &AgentKey) -> Vec<String>;

    /// Something worth telling whoever looks at the agent object; best effort.
    fn announce(&self, _key: &AgentKey, _transition: &Transition) {}

    /// Drowse ends: let go of the agents (the process backend stops them).
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}
