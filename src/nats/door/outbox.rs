//! What is sent over the ordinary connection, in order, by a task that waits for it: the door itself does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, Subject};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::nats::client;
use crate::nats::leaf::codec::Message;
use crate::nats::mailbox::{HoldId, Sending};
use crate::time::Moment;

/// Letters that wait at once at most, of those that only inform: errors, events, answers. Held messages are counted by
/// their own bounds, and each is in here once at most.
const MAX_WAITING: usize = 65_536;
/// How long a letter that only informs may wait for the connection. After it, the letters behind it go first.
const LETTER_WITHIN: Duration = Duration::from_secs(10);

enum Letter {
    Message { key: AgentKey, id: HoldId, message: Message, hold_id: String, redelivered: bool },
    HandOver { message: Message, redelivered: bool },
    Mark(String),
    Error { reply: Bytes, code: u16, why: String },
    NoResponders(Bytes),
    KeepAlive(Bytes),
    Plain { subject: String, body: Bytes },
    End(oneshot::Sender<()>),
}

impl Letter {
    /// Whether it is not part of a hand-over.
    const fn informs(&self) -> bool {
        match self {
            Self::Error { .. } | Self::NoResponders(_) | Self::KeepAlive(_) | Self::Plain { .. } => true,
            Self::Message { .. } | Self::HandOver { .. } | Self::Mark(_) | Self::End(_) => false,
        }
    }
}

/// A letter, and the epoch in which it was written.
type Dated = (u64, Letter);

/// A mark that is under way: when it comes back, whatever was sent before it has come back, too, or never will.
pub(super) struct Mark {
    pub(super) number: u64,
    /// What it covers.
    pub(super) up_to: Sending,
    /// What has been sent since.
    pub(super) next: Option<Sending>,
    pub(super) since: Moment,
    /// How often the connection had been made by then.
    pub(super) connects: u64,
    pub(super) seen: Seen,
}

/// On which ways a mark has come back.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// Over the link.
    pub(super) by_link: bool,
    /// Over the ordinary connection: whatever the server objects to of what was sent before it was told before that.
    pub(super) by_connection: bool,
}

impl Seen {
    pub(super) const fn by_both(self) -> bool {
        self.by_link && self.by_connection
    }
}

/// What both ends of the queue see.
#[derive(Default)]
struct Shared {
    /// Messages and marks of earlier epochs are not sent any more: they are written anew.
    epoch: AtomicU64,
    /// Letters that only inform.
    informing: AtomicUsize,
    /// Messages that could not be sent.
    not_sent: Mutex<Vec<(AgentKey, HoldId)>>,
}

/// Sends in order.
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Dated>,
    shared: Arc<Shared>,
}

impl Outbox {
    pub(super) fn start(client: Client, marks: String, echoes: Subject, cancel: CancellationToken) -> Self {
        let (queue, letters) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let postman = Postman { client, marks, echoes, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = postman.deliver(letters) => {}
            }
        });
        Self { queue, shared }
    }

    /// Sends a held message on. Before the mark behind it comes back, [`Outbox::take_not_sent`] tells if it could not be.
    pub(super) fn message(
        &self,
        (key, id): (&AgentKey, HoldId),
        message: Message,
        hold_id: String,
        redelivered: bool,
    ) {
        self.put(Letter::Message { key: key.clone(), id, message, hold_id, redelivered });
    }

    /// Sends a message on to whoever takes it now.
    pub(super) fn hand_over(&self, message: Message, redelivered: bool) {
        self.put(Letter::HandOver { message, redelivered });
    }

    pub(super) fn mark(&self, payload: String) {
        self.put(Letter::Mark(payload));
    }

    /// Messages that could not be sent.
    pub(super) fn take_not_sent(&self) -> Vec<(AgentKey, HoldId)> {
        std::mem::take(&mut *self.shared.not_sent.lock())
    }

    /// Messages and marks that wait here are forgotten: it is not known what became of those before them.
    pub(super) fn forget_messages(&self) {
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn error(&self, reply: Bytes, code: u16, why: String) {
        self.inform(Letter::Error { reply, code, why });
    }

    /// What a server says when nobody subscribes.
    pub(super) fn no_responders(&self, reply: Bytes) {
        self.inform(Letter::NoResponders(reply));
    }

    pub(super) fn keep_alive(&self, reply: Bytes) {
        self.inform(Letter::KeepAlive(reply));
    }

    pub(super) fn plain(&self, subject: String, body: impl Into<Bytes>) {
        self.inform(Letter::Plain { subject, body: body.into() });
    }

    /// Waits until everything before it has been handed to the server.
    pub(super) fn end(&self) -> oneshot::Receiver<()> {
        let (ended, waiting) = oneshot::channel();
        self.put(Letter::End(ended));
        waiting
    }

    fn inform(&self, letter: Letter) {
        if self.shared.informing.fetch_add(1, Ordering::AcqRel) >= MAX_WAITING {
            self.shared.informing.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!("an answer is not sent: too many wait for the connection to NATS");
            return;
        }
        self.put(letter);
    }

    fn put(&self, letter: Letter) {
        // It ends only with the door.
        let _ = self.queue.send((self.shared.epoch.load(Ordering::Acquire), letter));
    }
}

struct Postman {
    client: Client,
    marks: String,
    /// Where marks come back over the ordinary connection.
    echoes: Subject,
    shared: Arc<Shared>,
}

impl Postman {
    async fn deliver(&self, mut letters: mpsc::UnboundedReceiver<Dated>) {
        while let Some((epoch, letter)) = letters.recv().await {
            if !letter.informs() {
                // A mark must not overtake what it stands for.
                self.post(epoch, letter).await;
                continue;
            }
            if tokio::time::timeout(LETTER_WITHIN, self.post(epoch, letter)).await.is_err() {
                tracing::warn!("the connection to NATS takes nothing");
            }
            self.shared.informing.fetch_sub(1, Ordering::AcqRel);
        }
    }

    async fn post(&self, epoch: u64, letter: Letter) {
        let is_old = self.shared.epoch.load(Ordering::Acquire) != epoch;
        match letter {
            Letter::Message { .. } | Letter::Mark(_) if is_old => {}
            Letter::Message { key, id, message, hold_id, redelivered } => {
                let sent = client::send_on(&self.client, &message, Some(&hold_id), redelivered).await;
                if let Err(why) = sent {
                    tracing::warn!(agent = %key, why, "a held message cannot be sent on");
                    self.shared.not_sent.lock().push((key, id));
                }
            }
            Letter::HandOver { message, redelivered } => {
                if let Err(why) = client::send_on(&self.client, &message, None, redelivered).await {
                    tracing::warn!(why, "a held message cannot be handed over");
                }
            }
            Letter::Mark(payload) => {
                let payload = Bytes::from(payload);
                client::send(&self.client, &self.marks, payload.clone()).await;
                client::send(&self.client, &self.echoes, payload).await;
            }
            Letter::Error { reply, code, why } => {
                client::send_error(&self.client, &reply, code, &why).await;
            }
            Letter::NoResponders(reply) => client::send_no_responders(&self.client, &reply).await,
            Letter::Plain { subject, body } => client::send(&self.client, &subject, body).await,
            Letter::KeepAlive(reply) => client::send_keep_alive(&self.client, &reply).await,
            Letter::End(ended) => {
                // What can be asked of the server after it was written is answered after it was read.
                let inbox = self.client.new_inbox();
                if let Ok(mut pong) = self.client.subscribe(inbox.clone()).await {
                    client::send(&self.client, &inbox, Bytes::new()).await;
                    futures_util::StreamExt::next(&mut pong).await;
                }
                let _nobody_may_wait = ended.send(());
            }
        }
    }
}
