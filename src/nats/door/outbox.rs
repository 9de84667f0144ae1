//! What is sent over the ordinary connection, in order, by a task that waits for it: the door itself does not.

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::nats::client;
use crate::nats::leaf::codec::Message;
use crate::nats::mailbox::Send;
use crate::time::Moment;

/// What waits to be sent. Held messages are counted by their own bounds, and each has at most a few entries here.
type Queue = mpsc::UnboundedSender<Letter>;

enum Letter {
    Message { message: Message, hold_id: String, redelivered: bool },
    Mark(String),
    Error { reply: Bytes, code: u16, why: String },
    NoResponders(Bytes),
    KeepAlive(Bytes),
    Event { subject: String, event: String },
}

/// A mark that is under way: when it comes back, whatever was sent before it has come back, too, or never will.
pub(super) struct Mark {
    pub(super) number: u64,
    /// What it covers.
    pub(super) up_to: Send,
    /// What has been sent since.
    pub(super) next: Option<Send>,
    pub(super) since: Moment,
}

/// Sends in order.
pub(super) struct Outbox {
    queue: Queue,
}

impl Outbox {
    pub(super) fn start(client: Client, marks: String, cancel: CancellationToken) -> Self {
        let (queue, letters) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = deliver(client, marks, letters) => {}
            }
        });
        Self { queue }
    }

    pub(super) fn message(&self, message: Message, hold_id: String, redelivered: bool) {
        self.put(Letter::Message { message, hold_id, redelivered });
    }

    pub(super) fn mark(&self, payload: String) {
        self.put(Letter::Mark(payload));
    }

    pub(super) fn error(&self, reply: Bytes, code: u16, why: String) {
        self.put(Letter::Error { reply, code, why });
    }

    /// What a server says when nobody subscribes.
    pub(super) fn no_responders(&self, reply: Bytes) {
        self.put(Letter::NoResponders(reply));
    }

    pub(super) fn keep_alive(&self, reply: Bytes) {
        self.put(Letter::KeepAlive(reply));
    }

    pub(super) fn event(&self, subject: String, event: String) {
        self.put(Letter::Event { subject, event });
    }

    fn put(&self, letter: Letter) {
        // It ends only with the door.
        let _ = self.queue.send(letter);
    }
}

/// How long one letter may wait for the connection. After it, the letters behind it go first.
const LETTER_WITHIN: Duration = Duration::from_secs(10);

async fn deliver(client: Client, marks: String, mut letters: mpsc::UnboundedReceiver<Letter>) {
    while let Some(letter) = letters.recv().await {
        let sending = async {
            match letter {
                Letter::Message { message, hold_id, redelivered } => {
                    client::send_on(&client, &message, &hold_id, redelivered).await;
                }
                Letter::Mark(payload) => client::send(&client, &marks, payload.into()).await,
                Letter::Error { reply, code, why } => {
                    client::send_error(&client, &reply, code, &why).await;
                }
                Letter::NoResponders(reply) => client::send_no_responders(&client, &reply).await,
                Letter::Event { subject, event } => client::send(&client, &subject, event.into()).await,
                Letter::KeepAlive(reply) => client::send_keep_alive(&client, &reply).await,
            }
        };
        if tokio::time::timeout(LETTER_WITHIN, sending).await.is_err() {
            tracing::warn!("the connection to NATS takes nothing");
        }
    }
}
