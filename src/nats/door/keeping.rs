//! The door's side of the hold stream: opening it, what is no longer needed in it, and what others have left in it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::agent::AgentKey;
use crate::metrics::MessageFate;
use crate::nats::leaf::codec::Message;
use crate::nats::settings::HoldStore;

use super::Door;
use super::holding::Waiting;
use super::news::News;
use super::store::Store;

/// How often it is tried to open the hold stream: servers of a cluster elect their leaders first.
const RETRY: Duration = Duration::from_secs(5);

impl Door {
    /// Opens the hold stream, if there is to be one; agents are registered when that is known.
    pub(super) fn open_store(&mut self) {
        if !self.is_store_opening && self.store.is_none() {
            self.open_store_after(Duration::ZERO);
        }
    }

    fn open_store_after(&mut self, pause: Duration) {
        let cancel = self.cancel.clone();
        let (client, settings) = (self.client.clone(), self.settings.hold.clone());
        let (replica, news) = (self.replica.clone(), self.news.clone());
        let engine = Arc::clone(&self.engine);
        self.is_store_opening = true;
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let opened = Store::open(client, &settings, replica, news.clone(), engine, cancel).await;
            let _ = news.send(News::StoreOpened(opened)).await;
        });
    }

    pub(super) fn store_opened(&mut self, opened: Result<Store, String>) {
        self.is_store_opening = false;
        match opened {
            Ok(store) => {
                tracing::info!(
                    stream = self.settings.hold.stream,
                    "waiting messages are also kept in JetStream"
                );
                self.store = Some(store);
                self.store_all();
                self.keep_descriptions();
            }
            Err(why) if self.settings.hold.store == HoldStore::Stream => {
                let what = if self.is_open {
                    "the hold stream cannot be made anew: what waits is in memory only, and lost by a crash of Drowse; tried again"
                } else {
                    "the message door stays closed: there is no hold stream, and nats.hold.store is `stream`; tried again"
                };
                tracing::error!(why, "{what}");
                self.open_store_after(RETRY);
                return;
            }
            Err(why) => {
                if self.is_open {
                    tracing::debug!(why, "no hold stream yet");
                } else {
                    let what = "no hold stream yet: waiting messages do not survive a crash of Drowse";
                    tracing::warn!(why, "{what}");
                }
                self.open_store_after(RETRY);
            }
        }
        if !self.is_open {
            self.open();
        }
    }

    /// The hold stream was deleted, with all that was in it.
    pub(super) fn store_lost(&mut self, why: &'static str) {
        let Some(store) = self.store.take() else { return };
        store.close();
        self.metrics.messages().store_lost();
        let what = "the hold stream is not the one any more that held messages are in; they are stored again as soon as there is one";
        tracing::error!(stream = self.settings.hold.stream, why, "{what}");
        self.open_store();
    }

    /// A stream is open in which there is nothing yet of what waits.
    fn store_all(&mut self) {
        let Some(store) = &self.store else { return };
        for (key, agent) in &mut self.agents {
            (agent.ended_up_to, agent.forgotten_up_to) = (0, 0);
            for (id, message, arrived) in agent.mailbox.forget_places() {
                if !store.keep(key, id, message, self.engine.clock().wall(arrived)) {
                    tracing::debug!(agent = %key, "the hold stream is too slow: a message waits in memory only");
                }
            }
        }
    }

    /// Up to the last that has ended, or to the first that has not, nothing of this agent's is needed in the stream.
    pub(super) fn forget_stored(&mut self, key: &AgentKey, ended: u64) {
        let (Some(store), Some(agent)) = (&self.store, self.agents.get_mut(key)) else { return };
        agent.ended_up_to = agent.ended_up_to.max(ended);
        let first = agent.mailbox.first_stored();
        let up_to = first.map_or(agent.ended_up_to, |first| agent.ended_up_to.min(first.saturating_sub(1)));
        if up_to > agent.forgotten_up_to {
            agent.forgotten_up_to = up_to;
            store.forget(key, up_to);
        }
    }

    /// A message that a replica has left behind. It may have been sent on just before the end.
    pub(super) fn inherit(&mut self, key: &AgentKey, message: Message, arrived: Timestamp, place: u64) {
        let clock = self.engine.clock();
        let waited = clock.wall(clock.now()).duration_since(arrived).unsigned_abs();
        if !self.agents.contains_key(key) {
            // It may have come just now.
            self.take_changes();
        }
        if !self.agents.contains_key(key) {
            self.refuse(&message, 404, MessageFate::Refused, &format!("{key} does not exist any more"));
            if let Some(store) = &self.store {
                store.forget(key, place);
            }
            return;
        }
        let patience = self.settings.hold.timeout.saturating_sub(waited);
        self.let_wait(key, Waiting { message, patience, stored: Some(place), redelivered: true });
    }
}
