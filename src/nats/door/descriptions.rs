//! How services have described themselves, in JetStream: Drowse may be started anew while they sleep.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::nats::services::Service;

use super::news::News;
use super::until;

/// The stream, and what its subjects begin with: `drowse.services.<namespace>.<name>.<service>`.
const STREAM: &str = "DROWSE_SERVICES";
const PREFIX: &str = "drowse.services";
/// Descriptions at most; beyond it, the oldest go.
const MAX_KEPT: i64 = 100_000;
/// Orders that wait to be carried out. One that does not fit is lost: the description is learned with the next start.
const ORDERS: usize = 1024;

/// Between two attempts to open the stream.
const AGAIN: Duration = Duration::from_secs(30);

enum Order {
    Keep(AgentKey, Box<str>, Bytes),
    Forget(AgentKey),
}

/// The stream of descriptions.
pub(super) struct Descriptions {
    orders: mpsc::Sender<Order>,
}

impl Descriptions {
    /// Finds or makes the stream, and tells what is in it. It ends with the door.
    pub(super) fn start(
        client: async_nats::Client,
        replicas: usize,
        news: mpsc::Sender<News>,
        cancel: CancellationToken,
    ) -> Self {
        let (orders, mut received) = mpsc::channel(ORDERS);
        tokio::spawn(until(cancel, async move {
            while let Err(error) = work(&client, replicas, &news, &mut received).await {
                let what = "services that sleep are not found any more when Drowse is started anew: they cannot be kept in \
                            JetStream; tried again";
                tracing::warn!(error, "{what}");
                tokio::time::sleep(AGAIN).await;
            }
        }));
        Self { orders }
    }

    pub(super) fn keep(&self, key: &AgentKey, service: &Service) {
        let _learned_again =
            self.orders.try_send(Order::Keep(key.clone(), service.name().into(), service.write()));
    }

    pub(super) fn forget(&self, key: &AgentKey) {
        let _of_no_harm = self.orders.try_send(Order::Forget(key.clone()));
    }
}

async fn work(
    client: &async_nats::Client,
    replicas: usize,
    news: &mpsc::Sender<News>,
    orders: &mut mpsc::Receiver<Order>,
) -> Result<(), String> {
    let jetstream = jetstream::new(client.clone());
    let wanted = stream::Config {
        name: STREAM.to_owned(),
        description: Some(
            "How services describe themselves for which Drowse answers while they sleep".to_owned(),
        ),
        subjects: vec![format!("{PREFIX}.>")],
        max_messages_per_subject: 1,
        max_messages: MAX_KEPT,
        num_replicas: replicas,
        allow_direct: true,
        ..stream::Config::default()
    };
    let stream = jetstream.get_or_create_stream(wanted).await.map_err(|error| error.to_string())?;
    load(&stream, news).await?;
    while let Some(order) = orders.recv().await {
        let done = match order {
            Order::Keep(key, service, body) => {
                let sent = jetstream.publish(format!("{}.{service}", subject(&key)), body).await;
                match sent {
                    Ok(kept) => kept.await.map(drop).map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            }
            Order::Forget(key) => {
                let purged = stream.purge().filter(format!("{}.>", subject(&key))).await;
                purged.map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = done {
            tracing::debug!(error, "the description of a service was not kept, or not removed");
        }
    }
    Ok(())
}

async fn load(stream: &stream::Stream, news: &mpsc::Sender<News>) -> Result<(), String> {
    let mut next = 1;
    loop {
        let found = match stream.direct_get_next_for_subject(format!("{PREFIX}.>"), Some(next)).await {
            Ok(found) => found,
            Err(error) if error.kind() == stream::DirectGetErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        next = found.sequence + 1;
        let mut tokens = found.subject.strip_prefix(PREFIX).unwrap_or_default().split('.').skip(1);
        if let (Some(namespace), Some(name), Some(service)) =
            (tokens.next(), tokens.next(), Service::restore(&found.payload))
        {
            let _ = news.send(News::Remembered(AgentKey::new(namespace, name), service)).await;
        }
    }
}

fn subject(key: &AgentKey) -> String {
    format!("{PREFIX}.{}.{}", key.namespace(), key.name())
}
