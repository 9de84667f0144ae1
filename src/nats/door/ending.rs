//! The end of the door: others get what comes from then on, and nobody who waits is left without an answer.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::lifecycle::Refusal;
use crate::nats::leaf::link::LinkEvent;
use crate::nats::mailbox::Held;
use crate::nats::thread::Thread;

use super::news::News;
use super::store::Store;
use super::{Door, agents, presence, register_none};

/// For the server to take note that we are not there any more, and for what is under way to arrive.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How often is looked whether that is so.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// For the last letters.
const POST_WITHIN: Duration = Duration::from_secs(2);

/// The message door as its owner sees it.
pub struct MessageDoorHandle {
    client: async_nats::Client,
    /// On which the connection is.
    _thread: Thread,
    leaving: CancellationToken,
    ending: mpsc::Sender<oneshot::Sender<()>>,
    cancel: CancellationToken,
}

/// Its other side.
pub(super) struct Orders {
    pub(super) leaving: CancellationToken,
    pub(super) ending: mpsc::Receiver<oneshot::Sender<()>>,
}

impl MessageDoorHandle {
    pub(super) fn new(
        client: async_nats::Client,
        thread: Thread,
        cancel: CancellationToken,
    ) -> (Self, Orders) {
        let leaving = CancellationToken::new();
        let (ending, orders) = mpsc::channel(1);
        let orders = Orders { leaving: leaving.clone(), ending: orders };
        (Self { client, _thread: thread, leaving, ending, cancel }, orders)
    }

    /// The ordinary connection, which ends with the door.
    pub fn client(&self) -> async_nats::Client {
        self.client.clone()
    }

    /// Takes no new messages; those that wait go on waiting, and are sent on.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Ends it: what still waits is handed over to whoever takes it, or stays in the hold stream. Takes a few seconds at most.
    pub async fn end(self) {
        self.leave();
        let (ended, waiting) = oneshot::channel();
        if self.ending.send(ended).await.is_ok() {
            let _ended_or_gone = waiting.await;
        }
        self.cancel.cancel();
    }
}

impl Door {
    /// Takes registrations back: another replica gets what comes, or the senders learn at once that nobody is there. Those of
    /// agents for which messages wait stay until none does: what is sent on must still come back if nobody takes it.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
        self.note_presence();
        let free = self.directory.agents().filter(|(key, _)| !self.waiting.contains(*key));
        free.for_each(|(_, inbox)| register_none(&self.wanted, inbox));
    }

    /// Nothing waits for the agent any more.
    pub(super) fn leave_agent(&self, key: &AgentKey) {
        if let Some(inbox) = self.directory.inbox(key) {
            register_none(&self.wanted, inbox);
        }
    }

    pub(super) async fn end(
        &mut self,
        link: &mut mpsc::Receiver<LinkEvent>,
        reports: &mut mpsc::Receiver<News>,
    ) {
        for (_, inbox) in self.directory.agents() {
            register_none(&self.wanted, inbox);
        }
        let settled = tokio::time::timeout(LEAVE_WITHIN, self.settle(link, reports)).await;
        if settled.is_err() {
            tracing::warn!("NATS has not confirmed everything in time; some messages may come twice");
        }
        let another = presence::is_another_there(&self.client, &self.replica).await;
        let (mut stored, mut handed_over, mut lost) = (0_usize, 0_usize, 0_usize);
        for key in self.waited_for() {
            let waiting = self.agents.get_mut(&key).map(|agent| agent.mailbox.take_all());
            for Held { message, stored: place, redelivered, .. } in waiting.unwrap_or_default() {
                match self.reply_of(&message) {
                    _ if place.is_some() => stored += 1,
                    _ if another => {
                        handed_over += 1;
                        self.outbox.hand_over(message, redelivered);
                    }
                    Some(reply) => {
                        let (code, why) = agents::explain(&key, &Refusal::ShuttingDown);
                        self.outbox.error(reply, code, why);
                    }
                    None => lost += 1,
                }
            }
        }
        if stored + handed_over > 0 {
            tracing::info!(stored, handed_over, "messages still waited for agents");
        }
        if lost > 0 {
            tracing::warn!(lost, "messages without a reply subject that waited in memory only are lost");
        }
        if let Some(store) = self.store.take() {
            store.leave(&self.outbox, &self.replica);
        }
        if tokio::time::timeout(POST_WITHIN, self.outbox.end()).await.is_err() {
            tracing::warn!("the connection to NATS did not take everything before the end");
        }
    }

    /// Goes on until the server has taken note that nothing is registered, and of everything that was sent it is known
    /// whether it came back; and the hold stream is as it is to be.
    async fn settle(&mut self, link: &mut mpsc::Receiver<LinkEvent>, reports: &mut mpsc::Receiver<News>) {
        let version = self.wanted.version();
        let mut confirmed = self.wanted.confirmed();
        loop {
            let is_confirmed = *confirmed.borrow_and_update() >= version || !self.is_up;
            let is_stored = self.store.as_ref().is_none_or(Store::is_idle);
            let is_known = self.agents.values().all(|agent| agent.mark.is_none());
            if is_confirmed && is_stored && is_known && link.is_empty() && reports.is_empty() {
                return;
            }
            tokio::select! {
                event = link.recv() => match event {
                    Some(event) => self.link_event(event),
                    None => return,
                },
                Some(report) = reports.recv() => self.report(report),
                _ = confirmed.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}
