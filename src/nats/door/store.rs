//! The hold stream: held messages are also in JetStream, so that they survive a crash of this process, and whoever is left
//! takes over those of a replica that is not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, stream};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::engine::Engine;
use crate::nats::leaf::codec::Message;
use crate::nats::mailbox::HoldId;
use crate::nats::settings::HoldSettings;
use crate::nats::stored;

use super::news::News;

/// How often the stream is searched for messages of replicas that are not there any more.
const SEARCH_EVERY: Duration = Duration::from_secs(2);
/// How many searches in a row a replica must be missing: its connection may only be made anew.
const MISSING: u32 = 6;
/// How long a replica may take to say that it is there.
const THERE_WITHIN: Duration = Duration::from_secs(1);
/// Messages whose storing is not confirmed yet at most; beyond it, the next ones wait.
const UNCONFIRMED: usize = 1024;
/// Who took a message over is decided by the server: it refuses a second copy with the same `Nats-Msg-Id` for this long.
const DUPLICATES: Duration = Duration::from_mins(2);

enum Order {
    Keep { key: AgentKey, id: HoldId, message: Message, arrived: Timestamp },
    Forget { key: AgentKey, up_to: u64 },
}

/// The hold stream.
pub(super) struct Store {
    orders: mpsc::UnboundedSender<Order>,
}

/// What the tasks of the store share.
#[derive(Clone)]
struct Context {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    stream: stream::Stream,
    /// `drowse.hold` for `DROWSE_HOLD`.
    prefix: String,
    replica: String,
    news: mpsc::Sender<News>,
    engine: Arc<Engine>,
}

impl Store {
    /// Finds or makes the stream.
    pub(super) async fn open(
        client: async_nats::Client,
        settings: &HoldSettings,
        replica: String,
        news: mpsc::Sender<News>,
        engine: Arc<Engine>,
        cancel: CancellationToken,
    ) -> Result<Self, String> {
        let jetstream = jetstream::new(client.clone());
        let prefix = settings.stream.to_lowercase().replace('_', ".");
        let wanted = stream::Config {
            name: settings.stream.clone(),
            description: Some("Messages that wait for agents which Drowse wakes".to_owned()),
            subjects: vec![format!("{prefix}.>")],
            max_age: settings.timeout,
            num_replicas: settings.replicas,
            duplicate_window: DUPLICATES.min(settings.timeout),
            allow_direct: true,
            ..stream::Config::default()
        };
        let stream = jetstream.get_or_create_stream(wanted).await.map_err(|error| error.to_string())?;
        let context = Context { client, jetstream, stream, prefix, replica, news, engine };
        let there = context.client.subscribe(there(&context.replica)).await;
        let there = there.map_err(|error| error.to_string())?;
        let (orders, received) = mpsc::unbounded_channel();
        let tasks = {
            let context = context.clone();
            async move {
                tokio::join!(context.keep(received), context.answer(there), context.search());
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tasks => {}
            }
        });
        Ok(Self { orders })
    }

    /// Writes a message into the stream; [`News::Stored`] tells when it is there.
    pub(super) fn keep(&self, key: &AgentKey, id: HoldId, message: Message, arrived: Timestamp) {
        let _ = self.orders.send(Order::Keep { key: key.clone(), id, message, arrived });
    }

    /// Nothing of this agent's up to here is needed any more.
    pub(super) fn forget(&self, key: &AgentKey, up_to: u64) {
        let _ = self.orders.send(Order::Forget { key: key.clone(), up_to });
    }
}

/// Where a replica says that it is there.
fn there(replica: &str) -> String {
    format!("drowse.replica.{replica}")
}

type Confirmation = futures_util::future::BoxFuture<'static, News>;

impl Context {
    fn subject(&self, key: &AgentKey) -> String {
        format!("{}.{}.{}.{}", self.prefix, self.replica, key.namespace(), key.name())
    }

    async fn answer(&self, mut questions: async_nats::Subscriber) {
        while let Some(question) = questions.next().await {
            if let Some(reply) = question.reply {
                let _whoever_asks_asks_again = self.client.publish(reply, "".into()).await;
            }
        }
    }

    async fn keep(&self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut confirmations: FuturesUnordered<Confirmation> = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(news) = confirmations.next(), if !confirmations.is_empty() => {
                    if self.news.send(news).await.is_err() {
                        return;
                    }
                }
                order = orders.recv(), if confirmations.len() < UNCONFIRMED => match order {
                    Some(Order::Keep { key, id, message, arrived }) => {
                        if let Some(confirmation) = self.write(key, id, &message, arrived).await {
                            confirmations.push(confirmation);
                        }
                    }
                    Some(Order::Forget { key, up_to }) => self.forget(&key, up_to).await,
                    None => return,
                },
            }
        }
    }

    async fn write(
        &self,
        key: AgentKey,
        id: HoldId,
        message: &Message,
        arrived: Timestamp,
    ) -> Option<Confirmation> {
        let (mut headers, body) = stored::write(message, arrived)?;
        headers.insert("Nats-Msg-Id", format!("{}.{}", self.replica, id.0));
        let sent: Result<PublishAckFuture, _> =
            self.jetstream.publish_with_headers(self.subject(&key), headers, body).await;
        let confirmation = async move {
            let place = match sent {
                Ok(sent) => sent.await.map(|ack| ack.sequence),
                Err(error) => Err(error),
            };
            match place {
                Ok(place) => News::Stored { key, id, place: Some(place) },
                Err(error) => {
                    tracing::warn!(agent = %key, %error, "a message waits in memory only");
                    News::Stored { key, id, place: None }
                }
            }
        };
        Some(confirmation.boxed())
    }

    async fn forget(&self, key: &AgentKey, up_to: u64) {
        let purged = self.stream.purge().filter(self.subject(key)).sequence(up_to + 1).await;
        if let Err(error) = purged {
            tracing::warn!(agent = %key, %error, "delivered messages stay in the hold stream; they go with their age");
        }
    }

    /// Takes over what replicas have left behind.
    async fn search(&self) {
        let mut missing: HashMap<String, u32> = HashMap::new();
        loop {
            tokio::time::sleep(SEARCH_EVERY).await;
            // Before all agents are known, theirs would look like messages for nobody.
            if !self.engine.is_ready() {
                continue;
            }
            let others = self.others().await.unwrap_or_default();
            missing.retain(|replica, _| others.contains(replica));
            for replica in others {
                let asked = self.client.request(there(&replica), "".into());
                let there = tokio::time::timeout(THERE_WITHIN, asked).await;
                // Only that nobody listens counts: one that is slow may be at work.
                let gone = matches!(
                    &there,
                    Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders
                );
                let count = missing.entry(replica.clone()).or_default();
                *count = if gone { *count + 1 } else { 0 };
                if *count >= MISSING
                    && let Err(error) = self.take_over(&replica).await
                {
                    tracing::warn!(
                        replica,
                        error,
                        "the messages of a replica that is gone cannot be taken over yet"
                    );
                }
            }
        }
    }

    /// Replicas of which there are messages.
    async fn others(&self) -> Result<Vec<String>, String> {
        let subjects = self.stream.info_with_subjects(format!("{}.>", self.prefix)).await;
        let subjects = subjects.map_err(|error| error.to_string())?;
        let all: Vec<(String, usize)> = subjects.try_collect().await.map_err(|error| error.to_string())?;
        let replica = |subject: &str| {
            let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
            Some(rest.split('.').next()?.to_owned())
        };
        let mut replicas: Vec<_> = all.iter().filter_map(|(subject, _)| replica(subject)).collect();
        replicas.sort();
        replicas.dedup();
        replicas.retain(|replica| *replica != self.replica);
        Ok(replicas)
    }

    async fn take_over(&self, replica: &str) -> Result<(), String> {
        let filter = format!("{}.{replica}.>", self.prefix);
        let (mut next, mut count) = (1, 0);
        loop {
            let found = self.stream.direct_get_next_for_subject(filter.clone(), Some(next)).await;
            let found = match found {
                Ok(found) => found,
                Err(error) if error.kind() == stream::DirectGetErrorKind::NotFound => break,
                Err(error) => return Err(error.to_string()),
            };
            next = found.sequence + 1;
            if self.take(&found).await? {
                count += 1;
            }
        }
        if count > 0 {
            tracing::info!(replica, count, "took over the messages of a replica that is gone");
        }
        Ok(())
    }

    /// Takes one message over, unless another replica was faster.
    async fn take(&self, found: &jetstream::message::StreamMessage) -> Result<bool, String> {
        let mut tokens = found.subject.rsplitn(3, '.');
        let read = stored::read(&found.headers, found.payload.clone());
        let (Some(name), Some(namespace), Some((message, arrived))) = (tokens.next(), tokens.next(), read)
        else {
            tracing::warn!(place = found.sequence, "the hold stream has something that is no held message");
            return Ok(false);
        };
        let key = AgentKey::new(namespace, name);
        let mut headers = found.headers.clone();
        headers.insert("Nats-Msg-Id", format!("take.{}", found.sequence));
        let copy =
            self.jetstream.publish_with_headers(self.subject(&key), headers, found.payload.clone()).await;
        let ack = copy.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())?;
        self.stream.delete_message(found.sequence).await.map_err(|error| error.to_string())?;
        if ack.duplicate {
            return Ok(false);
        }
        let inherited = News::Inherited { key, message, arrived, place: ack.sequence };
        let _ = self.news.send(inherited).await;
        Ok(true)
    }
}
