//! What the message door is told: by its own tasks, and by the engine.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::agent::{AgentKey, Revision};
use crate::engine::{MessageDoor, Permit};
use crate::lifecycle::Refusal;
use crate::nats::counters::Look;
use crate::nats::leaf::codec::Message;
use crate::nats::mailbox::HoldId;
use crate::nats::services::Service;

use super::looking::Listener;
use super::store::Store;

/// A report of one of our own tasks.
pub(super) enum News {
    /// The agent is up, and is kept up by this. The number is that of the attempt.
    Woken(AgentKey, u64, Permit),
    /// It cannot be woken.
    NotWoken(AgentKey, u64, Refusal),
    /// A mark came back over the ordinary connection.
    Echoed(Bytes),
    /// How the check of the server ended.
    Checked(u64, Result<(), String>),
    /// The check of the server failed a while ago.
    CheckAgain,
    /// A reply was seen in an inbox that is watched. An empty one, or an error, ends a stream of replies.
    Replied { subject: Bytes, ends: bool },
    /// What the servers have counted, and who waited for that.
    Looked(Look, Vec<Listener>),
    /// The servers could not be asked.
    NotLooked(Vec<Listener>),
    /// A message is in the hold stream; without a place, it is not and will not be.
    Stored { key: AgentKey, id: HoldId, place: Option<u64> },
    /// A message that a replica has left behind.
    Inherited { key: AgentKey, message: Message, arrived: Timestamp, place: u64 },
    /// The service that was asked what it is has said so, or has not.
    Described { agents: Vec<AgentKey>, name: Box<str>, id: Box<str>, service: Option<Service> },
    /// What a service has said to an earlier run of Drowse.
    Remembered(AgentKey, Service),
    /// The hold stream is there, or cannot be.
    StoreOpened(Result<Store, String>),
    /// It is not the one any more that was opened, and why.
    StoreLost(&'static str),
}

/// What the engine tells. Told twice before it was looked at is told once, so this holds an entry for each agent at most.
#[derive(Default)]
pub(super) struct Changes {
    agents: Mutex<HashSet<AgentKey>>,
    listens: Mutex<Vec<(AgentKey, Revision)>>,
    told: Notify,
}

impl Changes {
    pub(super) fn note(&self, key: &AgentKey) {
        self.agents.lock().insert(key.clone());
        self.told.notify_one();
    }

    pub(super) fn take(&self) -> (HashSet<AgentKey>, Vec<(AgentKey, Revision)>) {
        (std::mem::take(&mut *self.agents.lock()), std::mem::take(&mut *self.listens.lock()))
    }

    pub(super) async fn wait(&self) {
        self.told.notified().await;
    }
}

impl MessageDoor for Changes {
    fn agent_changed(&self, key: &AgentKey) {
        self.note(key);
    }

    fn listen(&self, key: &AgentKey, revision: Revision) {
        self.listens.lock().push((key.clone(), revision));
        self.told.notify_one();
    }
}
