//! What the servers for operators need of the engine, and nothing more, so that they can be tested without agents.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::agent::AgentKey;
use crate::engine::overview::Query;
use crate::engine::snapshot::{AgentDetail, Overview};
use crate::engine::{CommandError, Engine};

/// All agents, as operators see and command them.
pub trait Fleet: Send + Sync + 'static {
    /// Whether everything that exists is known.
    fn is_ready(&self) -> bool;

    /// Whether Drowse is about to end.
    fn is_ending(&self) -> bool;

    /// Bytes of held request bodies.
    fn held_body_bytes(&self) -> u64;

    /// All agents in sum, and those that are wanted.
    fn overview(&self, query: &Query) -> Overview;

    /// One agent, explained.
    fn detail(&self, key: &AgentKey) -> Option<AgentDetail>;

    /// Suspends one that is not in use. With `stay`, traffic does not wake it.
    fn suspend(&self, key: &AgentKey, stay: bool) -> BoxFuture<'static, Result<(), CommandError>>;

    /// Wants one up. Does not wait for it.
    fn resume(&self, key: &AgentKey) -> Result<(), CommandError>;

    /// Wants all managed agents up, and says how many there are. Does not wait for them.
    fn resume_all(&self) -> usize;
}

impl Fleet for Arc<Engine> {
    fn is_ready(&self) -> bool {
        Engine::is_ready(self)
    }

    fn is_ending(&self) -> bool {
        Engine::is_ending(self)
    }

    fn held_body_bytes(&self) -> u64 {
        Engine::held_bytes(self).used()
    }

    fn overview(&self, query: &Query) -> Overview {
        Engine::overview(self, query)
    }

    fn detail(&self, key: &AgentKey) -> Option<AgentDetail> {
        Engine::detail(self, key)
    }

    fn suspend(&self, key: &AgentKey, stay: bool) -> BoxFuture<'static, Result<(), CommandError>> {
        let (engine, key) = (Self::clone(self), key.clone());
        Box::pin(async move { engine.suspend(&key, stay).await })
    }

    fn resume(&self, key: &AgentKey) -> Result<(), CommandError> {
        Engine::resume(self, key)
    }

    fn resume_all(&self) -> usize {
        Engine::resume_all(self)
    }
}
