//! Messages that no agent took: each waits, or its sender is told why not.

use std::time::Duration;

use bytes::Bytes;

use crate::agent::AgentKey;
use crate::lifecycle::PhaseName;
use crate::metrics::MessageFate;
use crate::nats::client;
use crate::nats::headers::{self, HOLD_ID};
use crate::nats::leaf::codec::Message;
use crate::nats::mailbox::{Effect, Ending, Held, HoldId, Incoming, Mailbox, size};
use crate::time::Moment;

use super::interest::InterestOf;
use super::{Door, activity, agents, bounds};

/// Between two lines about messages whose senders cannot be told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A message that is to wait.
pub(super) struct Waiting {
    pub(super) message: Message,
    pub(super) patience: Duration,
    /// Its place in the hold stream, if it is in there already.
    pub(super) stored: Option<u64>,
    /// It may have reached the agent before.
    pub(super) redelivered: bool,
}

/// Refused messages whose senders could not be told: when that was last said, and how many there were since.
#[derive(Default)]
pub(super) struct Untold {
    said: Option<Moment>,
    count: u64,
}

impl Door {
    pub(super) fn message(&mut self, message: &Message) {
        let Ok(subject) = std::str::from_utf8(&message.subject) else { return };
        if self.is_mark(message) {
            self.mark_came_back(&message.payload);
            return;
        }
        if self.check.as_ref().is_some_and(|check| check.note_message(subject)) {
            return;
        }
        // A copy: the agent has it.
        if message.queues.is_empty() {
            return self.overheard(message);
        }
        let Some(key) = self.directory.owner(subject).cloned() else { return self.stray(message) };
        let is_copy = self.directory.is_copy(&key, subject, &message.queues);
        let hold_id = message.headers.as_deref().and_then(|block| headers::value(block, HOLD_ID));
        match hold_id.and_then(|id| id.strip_prefix(&self.replica)?.strip_prefix('.')?.parse().ok()) {
            // What an agent sends with the headers of what it received only looks like it.
            Some(id) if self.is_under_way(&key, HoldId(id), message) => {
                self.came_back(&key, HoldId(id), is_copy);
            }
            _ => self.hold(&key, message, is_copy),
        }
    }

    /// A message that came before the server had taken note that its agent is not ours any more. Its sender is told what the
    /// server would say now.
    fn stray(&mut self, message: &Message) {
        if !message.subject.starts_with(b"drowse.") {
            let why = "the agent is gone, or messages do not wake it any more";
            self.refuse(message, 503, MessageFate::Refused, why);
        }
    }

    /// A message that no subscription of its agent took; or one did, and whether that was still there is not known (`is_copy`).
    fn hold(&mut self, key: &AgentKey, message: &Message, is_copy: bool) {
        let headers = message.headers.as_deref();
        if headers.is_some_and(|block| headers::parse(block).is_err()) {
            return self.refuse(message, 400, MessageFate::Invalid, "its headers are malformed");
        }
        let length = message.payload.len() + headers.map_or(0, <[u8]>::len);
        let most = self.client.max_payload();
        if length + client::ADDED > most {
            let why = format!(
                "it is too large to be sent on to an agent that sleeps: {} bytes at most (max_payload of the server, less {})",
                most.saturating_sub(client::ADDED),
                client::ADDED
            );
            return self.refuse(message, 413, MessageFate::Invalid, &why);
        }
        let patience = self.settings.hold.timeout;
        let message = message.detached();
        self.let_wait(key, Waiting { message, patience, stored: None, redelivered: is_copy });
    }

    /// A message waits, unless too many do. One that is in the hold stream already has its place there.
    pub(super) fn let_wait(&mut self, key: &AgentKey, waiting: Waiting) {
        let Waiting { message, patience, stored, redelivered } = waiting;
        let bytes = size(&message) as u64;
        if self.held_bytes + bytes > self.settings.hold.max_bytes {
            let why = "as many messages wait for agents as may in all (nats.hold.max_bytes)";
            self.forget_refused(key, stored);
            return self.refuse(&message, 503, MessageFate::Overloaded, why);
        }
        let now = self.engine.clock().now();
        let Some(agent) = self.agents.get_mut(key) else { return };
        let is_routed = self.is_routed && self.wanted.is_confirmed(agent.registered);
        let mut wakes_after = agent.mailbox.delayed_until().filter(|_| message.reply.is_none());
        // What was sent again woke somebody before.
        let wakes = agent.mailbox.would_wake()
            && agent.slot.phase() != PhaseName::Running
            && !redelivered
            && wakes_after.is_none();
        if wakes && let Err(after) = self.wakes.allow(&message, now) {
            if message.reply.is_some() {
                let why =
                    "its sender has woken as many agents in this minute as it may (nats.wakes_per_minute)";
                return self.refuse(&message, 429, MessageFate::Overloaded, why);
            }
            wakes_after = Some(after);
        }
        self.last_id += 1;
        let id = HoldId(self.last_id);
        let bounds = bounds(&agent.slot);
        let mut fx = Vec::new();
        let interest = InterestOf { directory: &self.directory, key, is_routed };
        let store = self.store.as_ref().filter(|_| stored.is_none());
        let copy = store.map(|store| (store, message.clone()));
        let streams = message.subject.starts_with(activity::PROMPT);
        let incoming = Incoming { message, patience, stored, redelivered, streams, wakes_after };
        match agent.mailbox.hold(id, incoming, bounds, &interest, now, &mut fx) {
            Ok(()) => {
                if let Some((store, message)) = copy
                    && !store.keep(key, id, message, self.engine.clock().wall(now))
                {
                    tracing::debug!(agent = %key, "the hold stream is too slow: a message waits in memory only");
                }
                self.held_bytes += bytes;
                self.metrics.messages().held();
            }
            Err(message) => {
                let why = "as many messages wait for this agent as may (max_messages)";
                self.forget_refused(key, stored);
                self.refuse(&message, 429, MessageFate::QueueFull, why);
            }
        }
        self.run_effects(key, fx);
    }

    /// What was inherited and cannot wait is not to be inherited again.
    fn forget_refused(&mut self, key: &AgentKey, stored: Option<u64>) {
        if let Some(place) = stored {
            self.forget_stored(key, place);
        }
    }

    pub(super) fn refuse(&mut self, message: &Message, code: u16, fate: MessageFate, why: &str) {
        self.metrics.messages().refused(fate);
        match self.reply_of(message) {
            Some(reply) => self.outbox.error(reply, code, why.to_owned()),
            None => self.tell_refused(message, why),
        }
    }

    /// Nobody waits for a reply, so somebody who reads the log is told; not of each in a flood.
    fn tell_refused(&mut self, message: &Message, why: &str) {
        let now = self.engine.clock().now();
        self.untold.count += 1;
        if self.untold.said.is_none_or(|said| said + TELL_EVERY <= now) {
            let subject = String::from_utf8_lossy(&message.subject);
            let count = std::mem::take(&mut self.untold.count);
            self.untold.said = Some(now);
            tracing::warn!(%subject, why, count, "messages without a reply subject were dropped; this is the last one");
        }
    }

    /// Where an answer of ours goes. Not to an agent: a sender chooses the subject, and must not wake one by it in our name.
    pub(super) fn reply_of(&self, message: &Message) -> Option<Bytes> {
        self.may_answer(message.reply.as_ref()?)
    }

    /// The subject, if an answer of ours may go there.
    pub(super) fn may_answer(&self, reply: &Bytes) -> Option<Bytes> {
        let subject = std::str::from_utf8(reply).ok()?;
        // Nor to Drowse itself or the server, who would do what we are allowed to ask of them.
        let ours = subject.starts_with('$') || subject.starts_with("drowse.");
        (!ours && self.directory.owner(subject).is_none()).then(|| reply.clone())
    }

    fn is_under_way(&self, key: &AgentKey, id: HoldId, message: &Message) -> bool {
        let held = self.agents.get(key).and_then(|agent| agent.mailbox.get(id));
        held.is_some_and(|held| {
            held.message.subject == message.subject && held.message.reply == message.reply
        })
    }

    fn came_back(&mut self, key: &AgentKey, id: HoldId, is_copy: bool) {
        self.metrics.messages().came_back();
        self.with_mailbox(key, |mailbox, _, _, _| mailbox.came_back(id, is_copy));
    }

    pub(super) fn with_mailbox(
        &mut self,
        key: &AgentKey,
        step: impl FnOnce(&mut Mailbox, &InterestOf<'_>, Moment, &mut Vec<Effect>),
    ) {
        let now = self.engine.clock().now();
        let Some(agent) = self.agents.get_mut(key) else { return };
        let mut fx = Vec::new();
        let is_routed = self.is_routed && self.wanted.is_confirmed(agent.registered);
        let interest = InterestOf { directory: &self.directory, key, is_routed };
        step(&mut agent.mailbox, &interest, now, &mut fx);
        self.run_effects(key, fx);
    }

    fn run_effects(&mut self, key: &AgentKey, fx: Vec<Effect>) {
        let count = self.agents.get(key).map_or(0, |agent| {
            agent.activity.set_waiting(agent.mailbox.len());
            agent.mailbox.len()
        });
        if count > 0 {
            if !self.waiting.contains(key) {
                self.waiting.insert(key.clone());
            }
        } else if self.waiting.remove(key) && self.is_leaving {
            self.leave_agent(key);
        }
        for effect in fx {
            match effect {
                Effect::Wake => self.wake(key),
                Effect::Release => self.release(key),
                Effect::Send(id) => self.send(key, id),
                Effect::Mark(send) => self.mark(key, send),
                Effect::Drop(held, ending) => self.ended(key, &held, &ending),
                Effect::KeepAlive(id) => self.keep_alive(key, id),
            }
        }
    }

    fn ended(&mut self, key: &AgentKey, held: &Held, ending: &Ending) {
        self.held_bytes = self.held_bytes.saturating_sub(size(&held.message) as u64);
        let waited = self.engine.clock().now().since(held.arrived);
        self.metrics.messages().ended(ending.fate(), waited);
        if let Some(place) = held.stored {
            self.forget_stored(key, place);
        }
        if *ending == Ending::Delivered {
            return;
        }
        let Some(reply) = self.reply_of(&held.message) else {
            return self.tell_refused(&held.message, ending.why());
        };
        match ending {
            Ending::Delivered | Ending::RequesterGone => {}
            Ending::NotSubscribed => self.outbox.no_responders(reply),
            Ending::TimedOut => {
                let why = format!("{key} was not there in time; `drowse explain {key}` has more");
                self.outbox.error(reply, 504, why);
            }
            Ending::NotSent => {
                self.outbox.error(reply, 502, format!("it could not be sent on to {key}"));
            }
            Ending::Refused(refusal) => {
                let (code, why) = agents::explain(key, refusal);
                self.outbox.error(reply, code, why);
            }
        }
    }
}
