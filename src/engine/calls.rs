//! Calls to the backend, each in a task of its own, whose results go back to the machine.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::lifecycle::{AgentSeen, CallId, Event, WriteError};

use super::{Engine, Slot};

impl Engine {
    /// Runs one call. The backend bounds it in time.
    pub(super) fn call(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        id: CallId,
        call: BoxFuture<'static, Result<AgentSeen, WriteError>>,
    ) {
        let (engine, slot) = (Arc::clone(self), Arc::clone(slot));
        self.spawn(async move {
            let result = call.await;
            match &result {
                // Somebody has to do something about it.
                Err(error @ WriteError::Refused(_)) => {
                    tracing::warn!(agent = %slot.key(), %error, "a write failed")
                }
                Err(error) => tracing::debug!(agent = %slot.key(), %error, "a call to the backend failed"),
                Ok(_) => {}
            }
            engine.handle(&slot, Event::Done { id, result });
        });
    }

    /// Runs a task that ends with the engine.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task => {}
            }
        });
    }
}
