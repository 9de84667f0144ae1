//! Agents and their messages: who there is, waking them, and sending on what waited.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::engine::{Hold, Outcome};
use crate::lifecycle::Refusal;
use crate::nats::directory::{Inbox, registration};
use crate::nats::mailbox::Mailbox;

use super::activity::Watch;
use super::news::News;
use super::{Agent, Door, bounds, register};

impl Door {
    /// What the engine has told since the last look.
    pub(super) fn take_changes(&mut self) {
        let (agents, listens) = self.changes.take();
        for key in agents {
            self.agent_changed(&key);
        }
        for (key, revision) in listens {
            self.listen(&key, revision);
        }
    }

    fn agent_changed(&mut self, key: &AgentKey) {
        let slot = self.engine.slot(key).filter(|slot| {
            let policy = slot.policy();
            policy.manage && policy.messages.wake()
        });
        let Some(slot) = slot else {
            self.forget(key);
            return;
        };
        let messages = &slot.policy().messages;
        let queue = match self.directory.inbox(key) {
            // What was learned stays.
            Some(known) if known.learns_queue && messages.learns_queue() => known.queue.clone(),
            _ => messages.queue().into(),
        };
        let inbox = Inbox {
            subjects: messages.subjects(key),
            heartbeat: messages.heartbeat(key),
            queue,
            learns_queue: messages.learns_queue(),
        };
        let is_new = self.set_inbox(key, Some(inbox));
        self.discovery.set_agent(key, &slot);
        match self.agents.get_mut(key) {
            Some(agent) => {
                let is_other = !Arc::ptr_eq(&agent.slot, &slot);
                if is_other {
                    (agent.activity, agent.slot) = (slot.activity(), slot);
                }
                self.learn(key);
                if is_new || is_other {
                    self.interest_changed(key);
                }
            }
            None => {
                let agent = Agent {
                    activity: slot.activity(),
                    slot,
                    mailbox: Mailbox::default(),
                    permit: None,
                    waking: None,
                    mark: None,
                    ended_up_to: 0,
                    forgotten_up_to: 0,
                    watch: Watch::default(),
                    registered: self.wanted.version(),
                    subscribed_at: None,
                    life: None,
                    life_ended: None,
                    told: None,
                };
                self.agents.insert(key.clone(), agent);
                // Somebody may subscribe for it already.
                self.learn(key);
                self.interest_changed(key);
            }
        }
        self.watch_synadia(key);
        self.watch_by_phase(key);
        self.tell_phase(key);
    }

    /// Publishes each transition. Of several that follow each other at once, the last one is told.
    fn tell_phase(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let phase = agent.slot.phase();
        // What it is in at first is no transition.
        if agent.told.replace(phase).is_none_or(|told| told == phase) {
            return;
        }
        let Some(agent) = self.engine.summary(key) else { return };
        let subject = format!("drowse.events.{}.{}", key.namespace(), key.name());
        let event = serde_json::json!(agent);
        self.outbox.plain(subject, event.to_string());
    }

    /// Whether that is another one than before.
    pub(super) fn set_inbox(&mut self, key: &AgentKey, inbox: Option<Inbox>) -> bool {
        let change = self.directory.set(key, inbox);
        for (subject, other) in &change.taken {
            tracing::warn!(agent = %key, %subject, %other, "another agent has this subject already; messages for it wake that one");
        }
        for freed in &change.freed {
            self.changes.note(freed);
        }
        let is_new = !(change.add.is_empty() && change.remove.is_empty());
        if is_new && self.is_open && !self.is_leaving {
            register(&self.wanted, &change);
            let version = self.wanted.version();
            self.agents.get_mut(key).into_iter().for_each(|agent| agent.registered = version);
        }
        is_new
    }

    /// Messages do not wake it any more, or it is gone.
    fn forget(&mut self, key: &AgentKey) {
        if self.directory.inbox(key).is_none() {
            return;
        }
        self.set_inbox(key, None);
        self.with_mailbox(key, |mailbox, _, _, fx| mailbox.close(&Refusal::Gone, fx));
        self.unwatch(key);
        if let Some(descriptions) = &self.descriptions {
            descriptions.forget(key);
        }
        self.discovery.forget(key);
        self.agents.remove(key);
    }

    /// The server does what is needed: every agent is registered.
    pub(super) fn open(&mut self) {
        self.is_open = true;
        self.note_presence();
        if self.is_leaving {
            return;
        }
        for (_, inbox) in self.directory.agents() {
            for subject in &inbox.subjects {
                self.wanted.add(registration(subject, &inbox.queue));
            }
        }
        let version = self.wanted.version();
        self.agents.values_mut().for_each(|agent| agent.registered = version);
        tracing::info!(agents = self.agents.len(), "the message door is open");
    }

    /// Sees to it that the agent comes up, and stays up.
    pub(super) fn wake(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let (engine, slot) = (Arc::clone(&self.engine), Arc::clone(&agent.slot));
        let deadline = engine.clock().now() + self.settings.hold.timeout;
        let cancel = CancellationToken::new();
        self.last_wake += 1;
        let number = self.last_wake;
        agent.waking = Some(Waking { number, cancel: cancel.clone() });
        let (news, key) = (self.news.clone(), key.clone());
        tokio::spawn(async move {
            let up = async {
                match slot.enter(&engine) {
                    Some(permit) => Ok(permit),
                    None => engine.hold(&slot, Hold { port: None, wakes: true, deadline })?.await,
                }
            };
            let report = tokio::select! {
                () = cancel.cancelled() => return,
                up = up => match up {
                    Ok(permit) => News::Woken(key, number, permit),
                    Err(refusal) => News::NotWoken(key, number, refusal),
                },
            };
            // The door is there for as long as its tasks.
            let _ = news.send(report).await;
        });
    }

    pub(super) fn release(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        if let Some(waking) = agent.waking.take() {
            waking.cancel.cancel();
        }
        if let Some(permit) = agent.permit.take() {
            permit.finish(Outcome::Answered);
        }
    }

    pub(super) fn report(&mut self, news: News) {
        match news {
            News::Woken(key, number, permit) => {
                let Some(agent) = self.agents.get_mut(&key) else { return };
                // Nobody waits for it any more: the permit is given back. It is asked for anew if somebody does by now.
                if !Waking::ended(&mut agent.waking, number) {
                    return;
                }
                agent.permit = Some(permit);
                self.with_mailbox(&key, |mailbox, interest, now, fx| mailbox.woken(interest, now, fx));
            }
            News::NotWoken(key, number, refusal) => {
                let Some(agent) = self.agents.get_mut(&key) else { return };
                if Waking::ended(&mut agent.waking, number) {
                    self.with_mailbox(&key, |mailbox, _, now, fx| mailbox.not_woken(&refusal, now, fx));
                }
            }
            News::Echoed(mark) => self.mark_seen(&mark, |seen| seen.by_connection = true),
            News::Checked(number, result) => self.checked(number, result),
            News::CheckAgain if self.is_up && !self.is_open && self.check.is_none() => self.begin_check(),
            News::CheckAgain => {}
            News::Stored { key, id, place } => {
                let Some(place) = place else { return };
                let needed = self.agents.get_mut(&key).map(|agent| agent.mailbox.stored(id, place));
                match needed {
                    Some(true) => {}
                    // It was delivered before it was stored.
                    Some(false) => self.forget_stored(&key, place),
                    None => self.store.iter().for_each(|store| store.forget(&key, place)),
                }
            }
            News::Inherited { key, message, arrived, place } => self.inherit(&key, message, arrived, place),
            News::Described { agents, name, id, service } => {
                self.described(&agents, (&name, &id), service.as_ref());
            }
            News::Remembered(key, service) => self.discovery.remember(key, service),
            News::StoreOpened(opened) => self.store_opened(opened),
            News::StoreLost(why) => self.store_lost(why),
            News::Replied { subject, ends } => self.replied(&subject, ends),
            News::Looked(look, listeners) => self.looked(&look, &listeners),
            News::NotLooked(listeners) => {
                for listener in &listeners {
                    self.heard(listener, false);
                }
            }
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        let now = self.engine.clock().now();
        self.look_for_route(now);
        self.take_not_sent();
        self.note_whether_leads();
        for key in self.waited_for() {
            let Some(agent) = self.agents.get_mut(&key) else { continue };
            let bounds = bounds(&agent.slot);
            // The life that it was woken to is over.
            if agent.permit.take_if(|permit| !permit.is_current()).is_some() {
                self.with_mailbox(&key, |mailbox, interest, now, fx| mailbox.went_down(interest, now, fx));
            }
            self.lose_overdue(&key, now);
            // What is registered may be confirmed by now, and then what it subscribes counts.
            let subscribed = self.directory.is_subscribed(&key);
            self.with_mailbox(&key, |mailbox, interest, now, fx| {
                mailbox.interest_changed(subscribed, interest, now, fx);
            });
            self.with_mailbox(&key, |mailbox, interest, now, fx| mailbox.tick(bounds, interest, now, fx));
        }
    }
}

/// An agent is being woken. Each time has a number: what became of an earlier one, which nobody waits for any more, may be
/// reported when the next one has begun.
pub(super) struct Waking {
    number: u64,
    /// Ends the wait.
    cancel: CancellationToken,
}

impl Waking {
    /// What became of the attempt with this number is known. Whether anybody waits for that.
    fn ended(waking: &mut Option<Self>, number: u64) -> bool {
        waking.take_if(|waking| waking.number == number).is_some()
    }
}

/// What a sender is told: a code like those of HTTP, and why.
pub(super) fn explain(key: &AgentKey, refusal: &Refusal) -> (u16, String) {
    match refusal {
        Refusal::SuspendedByPerson => {
            (409, format!("{key} was suspended by a person, and messages do not resume it"))
        }
        Refusal::Asleep | Refusal::NotManaged => (503, format!("{key} sleeps, and Drowse does not wake it")),
        Refusal::QueueFull { max_held } => {
            (429, format!("{max_held} callers wait for {key} already, as many as may"))
        }
        Refusal::Overloaded => (503, "as many callers wait for agents as may in all".to_owned()),
        Refusal::ResumeFailed { failure, .. } => {
            (503, format!("{key} could not be resumed: {}: {}", failure.class.as_str(), failure.detail))
        }
        Refusal::HoldTimedOut { waiting_for } => {
            (504, format!("{key} was not there in time: still {waiting_for}"))
        }
        Refusal::Gone => (404, format!("{key} was deleted, or messages do not wake it any more")),
        Refusal::ShuttingDown => (503, "Drowse is about to end; send the message again".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_an_earlier_attempt_does_not_end_the_next() {
        let mut waking = Some(Waking { number: 2, cancel: CancellationToken::new() });
        assert!(!Waking::ended(&mut waking, 1));
        assert!(Waking::ended(&mut waking, 2) && !Waking::ended(&mut waking, 2));
    }
}
