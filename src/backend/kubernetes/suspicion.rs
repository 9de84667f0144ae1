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
            tracing::info!("the API server answers again");
            // What was raised meanwhile is over, too.
            let _stale = self.raised.notified().now_or_never();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::{Request, Response};
    use kube::Client;

    use super::*;
    use crate::telemetry::{Format, tests::logging};

    /// An API server that answers the third time.
    fn client() -> Client {
        let asked = AtomicU32::new(0);
        let server = tower::service_fn(move |_: Request<kube::client::Body>| {
            let status = if asked.fetch_add(1, Ordering::Relaxed) < 2 { 500 } else { 200 };
            let list = r#"{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}"#;
            let body = Full::new(Bytes::from_static(list.as_bytes()));
            async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
        });
        Client::new(server, "x")
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_is_told_until_there_is_one_and_both_are_logged_once() {
        let (subscriber, _control, lines) = logging(Format::Text, "info");
        let _logged = tracing::subscriber::set_default(subscriber);
        let (suspicion, (reports, mut told)) = (Suspicion::default(), mpsc::channel(9));
        tokio::spawn(suspicion.clone().look(Api::all(client()), 0, reports));
        let mut next = async || told.recv().await.unwrap().1;
        assert_eq!(next().await, Report::Live);
        assert_eq!(lines.take(), "");
        for _ in 0..2 {
            let call = suspicion.over(async { Err(WriteError::NotSent("no route to it".into())) });
            call.await.unwrap_err();
        }
        assert_eq!((next().await, next().await), (Report::Broken, Report::Live));
        let log = lines.take();
        let logged: Vec<_> = log.lines().collect();
        assert_eq!(logged.len(), 2, "{log}");
        assert!(logged[0].contains("WARN") && logged[0].contains("no route to it"), "{log}");
        assert!(logged[1].contains("INFO") && logged[1].contains("answers again"), "{log}");
    }
}
