//! The hold stream: held messages are also in JetStream, so that they survive a crash of this process, and whoever is left
//! takes over those of a replica that is not.

mod inheritance;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::engine::Engine;
use crate::nats::leaf::codec::Message;
use crate::nats::mailbox::{HoldId, size};
use crate::nats::settings::HoldSettings;
use crate::nats::stored;

use super::news::News;
use super::outbox::Outbox;
use super::presence;

/// Messages whose storing is not confirmed yet at most; beyond it, the next ones wait.
const UNCONFIRMED: usize = 1024;
/// Agents whose delivered messages are removed at once at most, and the pause if that fails.
const PURGES: usize = 16;
const PURGE_AGAIN: Duration = Duration::from_secs(1);
/// Who took a message over is decided by the server: it refuses a second copy with the same `Nats-Msg-Id` for this long.
const DUPLICATES: Duration = Duration::from_mins(2);

/// A message that is to be kept.
struct Keep {
    key: AgentKey,
    id: HoldId,
    message: Message,
    arrived: Timestamp,
}

/// What waits to be done for the stream.
struct Work {
    queue: mpsc::UnboundedSender<Keep>,
    /// Bytes in the queue.
    bytes: AtomicU64,
    /// Up to where nothing of an agent's is needed any more.
    over: Mutex<HashMap<AgentKey, u64>>,
    is_over: Notify,
    /// Messages whose storing is not confirmed, and agents whose messages are being removed.
    unfinished: AtomicUsize,
}

/// The hold stream.
pub(super) struct Store {
    work: Arc<Work>,
    max_bytes: u64,
    cancel: CancellationToken,
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
    work: Arc<Work>,
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
        let stream = open_stream(&jetstream, wanted).await?;
        let (queue, keeps) = mpsc::unbounded_channel();
        let work = Arc::new(Work {
            queue,
            bytes: AtomicU64::new(0),
            over: Mutex::default(),
            is_over: Notify::new(),
            unfinished: AtomicUsize::new(0),
        });
        let context =
            Context { client, jetstream, stream, prefix, replica, news, engine, work: Arc::clone(&work) };
        let there = context.client.subscribe(there(&context.replica)).await;
        let there = there.map_err(|error| error.to_string())?;
        let leaving = context.client.subscribe(LEAVING).await.map_err(|error| error.to_string())?;
        let cancel = cancel.child_token();
        let ended = cancel.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                _ = async {
                    tokio::join!(context.keep(keeps), context.forget(), presence::answer(&context.client, there, Bytes::new(), || true), context.search(leaving))
                } => {}
            }
        });
        Ok(Self { work, max_bytes: settings.max_bytes, cancel })
    }

    /// Writes a message into the stream; [`News::Stored`] tells when it is there. `false`: the stream is too slow, and the
    /// message waits in memory only.
    pub(super) fn keep(&self, key: &AgentKey, id: HoldId, message: Message, arrived: Timestamp) -> bool {
        let bytes = size(&message) as u64;
        if self.work.bytes.load(Ordering::Acquire) + bytes > self.max_bytes {
            return false;
        }
        self.work.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.work.unfinished.fetch_add(1, Ordering::AcqRel);
        // It ends only with the door.
        let _ = self.work.queue.send(Keep { key: key.clone(), id, message, arrived });
        true
    }

    /// Nothing of this agent's up to here is needed any more.
    pub(super) fn forget(&self, key: &AgentKey, up_to: u64) {
        self.work.over(key, up_to);
    }

    /// Whether everything that was wanted is so.
    pub(super) fn is_idle(&self) -> bool {
        self.work.unfinished.load(Ordering::Acquire) == 0 && self.work.over.lock().is_empty()
    }

    /// It is not used any more.
    pub(super) fn close(self) {
        self.cancel.cancel();
    }

    /// This replica is not there any more. What it has left is for others to say.
    pub(super) fn leave(&self, outbox: &Outbox, replica: &str) {
        self.cancel.cancel();
        outbox.plain(LEAVING.to_owned(), replica.to_owned());
    }
}

impl Work {
    fn over(&self, key: &AgentKey, up_to: u64) {
        let mut over = self.over.lock();
        let known = over.entry(key.clone()).or_default();
        *known = up_to.max(*known);
        self.is_over.notify_one();
    }

    fn begin_purge(&self) -> HashMap<AgentKey, u64> {
        let mut over = self.over.lock();
        self.unfinished.fetch_add(over.len(), Ordering::AcqRel);
        std::mem::take(&mut *over)
    }
}

/// Finds the stream or makes it, and gives it the settings that it is to have.
async fn open_stream(
    jetstream: &jetstream::Context,
    wanted: stream::Config,
) -> Result<stream::Stream, String> {
    let found = jetstream.get_or_create_stream(wanted.clone()).await.map_err(|error| error.to_string())?;
    let is = &found.cached_info().config;
    let same = is.max_age == wanted.max_age
        && is.num_replicas == wanted.num_replicas
        && is.duplicate_window == wanted.duplicate_window
        && is.subjects == wanted.subjects;
    if same {
        return Ok(found);
    }
    // What people have set besides stays.
    let changed = stream::Config {
        max_age: wanted.max_age,
        num_replicas: wanted.num_replicas,
        duplicate_window: wanted.duplicate_window,
        subjects: wanted.subjects,
        ..is.clone()
    };
    match jetstream.update_stream(changed).await {
        Ok(_) => tracing::info!(stream = wanted.name, "the hold stream has its new settings"),
        Err(error) => {
            let what = "the hold stream cannot be given its new settings (nats.hold), and keeps the old ones";
            tracing::warn!(stream = wanted.name, %error, "{what}");
        }
    }
    jetstream.get_stream(wanted.name).await.map_err(|error| error.to_string())
}

/// Where a replica that ends says so, by its name.
const LEAVING: &str = "drowse.replica.leaving";

/// Where a replica says that it is there.
fn there(replica: &str) -> String {
    format!("drowse.replica.{replica}")
}

type Confirmation = futures_util::future::BoxFuture<'static, News>;

impl Context {
    fn subject(&self, key: &AgentKey) -> String {
        format!("{}.{}.{}.{}", self.prefix, self.replica, key.namespace(), key.name())
    }

    async fn keep(&self, mut keeps: mpsc::UnboundedReceiver<Keep>) {
        let mut confirmations: FuturesUnordered<Confirmation> = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(news) = confirmations.next(), if !confirmations.is_empty() => {
                    if self.news.send(news).await.is_err() {
                        return;
                    }
                    self.work.unfinished.fetch_sub(1, Ordering::AcqRel);
                }
                keep = keeps.recv(), if confirmations.len() < UNCONFIRMED => {
                    let Some(Keep { key, id, message, arrived }) = keep else { return };
                    let confirmation = self.write(key, id, &message, arrived).await;
                    self.work.bytes.fetch_sub(size(&message) as u64, Ordering::AcqRel);
                    match confirmation {
                        Some(confirmation) => confirmations.push(confirmation),
                        None => _ = self.work.unfinished.fetch_sub(1, Ordering::AcqRel),
                    }
                }
            }
        }
    }

    /// Removes what is over. What cannot be removed now is tried again: after a crash it would be sent once more.
    async fn forget(&self) {
        loop {
            self.work.is_over.notified().await;
            let over = self.work.begin_purge();
            let count = over.len();
            let failed = AtomicBool::new(false);
            futures_util::stream::iter(over)
                .for_each_concurrent(PURGES, async |(key, up_to)| {
                    let purged = self.stream.purge().filter(self.subject(&key)).sequence(up_to + 1).await;
                    if let Err(error) = purged {
                        tracing::warn!(agent = %key, %error, "delivered messages are still in the hold stream; tried again");
                        failed.store(true, Ordering::Release);
                        self.work.over(&key, up_to);
                    }
                })
                .await;
            self.work.unfinished.fetch_sub(count, Ordering::AcqRel);
            if failed.into_inner() {
                tokio::time::sleep(PURGE_AGAIN).await;
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
}
