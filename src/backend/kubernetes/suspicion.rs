//! Whether the API server can be written to. A watch that was broken silently is noticed only after a minute; a write
//! that fails says so at once. While there is doubt nobody is suspended, since a suspension whose answer is lost closes
//! the gate of an agent that may be up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kube::Api;
use kube::api::ListParams;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::index::{Origin, Report, Source};
use super::sandbox::Sandbox;
use super::watch::Told;
use crate::lifecycle::{AgentSeen, WriteError};

/// How often the API server is asked whether it is back.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long its answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Raised by a call without an answer.
#[derive(Clone, Default)]
pub(super) struct Suspicion {
    raised: Arc<Notify>,
    /// What became of the call.
    why: Arc<Mutex<String>>,
}

impl Suspicion {
    /// A call that raises it should there be no answer.
    pub(super) fn over(
        &self,
        call: impl Future<Output = Result<AgentSeen, WriteError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let Self { raised, why } = self.clone();
        async move {
            let result = call.await;
            if let Err(error @ (WriteError::Unknown(_) | WriteError::NotSent(_))) = &result {
                *why.lock() = error.to_string();
                raised.notify_one();
            }
            result
        }
        .boxed()
    }

    /// Reports as a watch does: live until there is doubt, and live again when the API server answers.
    /// What it asks for is stored, since an API server without its store answers much else.
    pub(super) async fn look(self, api: Api<Sandbox>, source: Source, reports: mpsc::Sender<Told>) {
        let (origin, one) = (Origin { source, listing: 0 }, ListParams::default().limit(1));
        while reports.send((origin, Report::Live)).await.is_ok() {
            self.raised.notified().await;
            if reports.send((origin, Report::Broken)).await.is_err() {
                return;
            }
            let error = self.why.lock().clone();
            tracing::warn!(
                error,
                "a call to the API server came to nothing; nobody is suspended until it answers"
            );
            while !matches!(tokio::time::timeout(ANSWER_LIMIT, api.list_metadata(&one)).await, Ok(Ok(_))) {
                tokio::time::sleep(ASK_EVERY).await;
            }
            // What was raised meanwhile is over, too.
            let _stale = self.raised.notified().now_or_never();
        }
    }
}
