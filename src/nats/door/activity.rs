//! What agents that talk over NATS do: from the servers' counters, and of those with little to do, message by message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::agent::{AgentKey, Revision};
use crate::lifecycle::PhaseName;
use crate::nats::counters::Look;
use crate::nats::headers::{self, ERROR_CODE, REDELIVERED};
use crate::nats::leaf::codec::Message;
use crate::nats::leaf::wanted::{Registration, Version};
use crate::nats::mailbox::size;
use crate::nats::requests::{Owed, SYNADIA_INBOXES};
use crate::policy::messages::{Preset, Redeliver};
use crate::time::Moment;
use crate::units::Pattern;

use super::Door;
use super::looking::Listener;
use super::news::News;

/// What the subjects of prompts begin with (Synadia Agent Protocol v0.3); the other ones are answered by one message.
pub(super) const PROMPT: &[u8] = b"agents.prompt.";

/// What is known of an agent that is up.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// It is watched message by message, and what for.
    taps: Vec<Registration>,
    /// When the server has taken note of that.
    version: Version,
    /// Whether that was so at the last look at the counters: whatever it has received since was seen already, and when.
    covered: bool,
    /// Its heartbeats since the last look at the counters.
    beats: u64,
    /// What was seen message by message, and since when.
    seen: Seen,
}

/// What one agent costs that is watched message by message.
#[derive(Debug, Default)]
struct Seen {
    since: Moment,
    messages: u32,
    bytes: usize,
}

/// Of an agent that is watched message by message, so much in a second at most: then the counters alone decide, until the
/// next look at them.
const MAX_MESSAGES: u32 = 2_000;
const MAX_BYTES: usize = 16 << 20;
const SECOND: Duration = Duration::from_secs(1);
/// An agent that sleeps has no life that could answer yet, whenever its messages came.
const ALL_BEFORE: Moment = Moment::from_micros(u64::MAX);

impl Watch {
    /// What came since the last look was not seen message by message.
    pub(super) const fn lose_sight(&mut self) {
        self.covered = false;
    }
}

impl Seen {
    /// Whether it becomes too much.
    fn note(&mut self, bytes: usize, now: Moment) -> bool {
        if self.since + SECOND <= now {
            *self = Self { since: now, ..Self::default() };
        }
        self.messages += 1;
        self.bytes += bytes;
        self.messages > MAX_MESSAGES || self.bytes > MAX_BYTES
    }
}

impl Door {
    /// An agent is up: it is watched from the start. It sleeps: what it has not answered is dealt with.
    pub(super) fn watch_by_phase(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        let phase = agent.slot.phase();
        self.note_end_of_life(key, phase);
        match phase {
            PhaseName::Draining | PhaseName::Suspending | PhaseName::Resuming => self.tap(key, true),
            PhaseName::Running => {
                self.tap(key, true);
                self.note_life(key);
            }
            PhaseName::Suspended => {
                self.tap(key, false);
                self.redeliver(key, ALL_BEFORE);
            }
            PhaseName::Failed => {
                // Whoever waits for an answer of a life that crashed waits in vain, as without us.
                self.requests.forget(key);
                self.owes_changed(key);
            }
            PhaseName::Unknown => {}
        }
    }

    fn tap(&mut self, key: &AgentKey, on: bool) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let messages = Arc::clone(&agent.slot.policy().messages);
        let wanted = if on {
            let plain = |subject: &Pattern| Registration { subject: subject.as_str().into(), queue: None };
            let mut taps: Vec<_> = messages.subjects(key).iter().map(plain).collect();
            taps.extend(messages.heartbeat(key).as_ref().map(plain));
            taps
        } else {
            Vec::new()
        };
        if agent.watch.taps == wanted {
            return;
        }
        for tap in wanted.iter().filter(|tap| !agent.watch.taps.contains(tap)) {
            agent.watch.version = self.wanted.add(tap.clone());
        }
        for tap in agent.watch.taps.iter().filter(|tap| !wanted.contains(tap)) {
            self.wanted.remove(tap);
        }
        agent.watch.taps = wanted;
    }

    /// The agent is not ours any more.
    pub(super) fn unwatch(&mut self, key: &AgentKey) {
        self.tap(key, false);
        self.requests.forget(key);
        self.owes_changed(key);
    }

    /// A message that an agent has received.
    pub(super) fn overheard(&mut self, message: &Message) {
        let Ok(subject) = std::str::from_utf8(&message.subject) else { return };
        let Some(key) = self.directory.owner(subject).cloned() else {
            self.note_heartbeat(subject);
            return;
        };
        let now = self.engine.clock().now();
        let Some(agent) = self.agents.get_mut(&key) else { return };
        agent.activity.note_message(now);
        // Nobody got it but another replica, with which it waits.
        if !self.directory.reaches(&key, subject) {
            return;
        }
        let phase = agent.slot.phase();
        if agent.watch.seen.note(size(message), now) && phase == PhaseName::Running {
            // What comes until the next look was not seen here.
            agent.watch.lose_sight();
            self.tap(&key, false);
            return;
        }
        // A prompt is answered by a stream that ends with an empty reply; everything else by one reply.
        let preset = agent.slot.policy().messages.preset;
        let streams = preset == Preset::Synadia && message.subject.starts_with(PROMPT);
        // Once: an agent that never answers would be woken for it for ever.
        let redelivered = message.headers.as_deref().and_then(|block| headers::value(block, REDELIVERED));
        let again = agent.slot.policy().messages.redeliver == Redeliver::Requests && redelivered.is_none();
        if let Some(inbox) = self.requests.took(&key, message, Owed { streams, again }, now) {
            self.watch_inbox(inbox);
        }
        if phase == PhaseName::Suspended && redelivered.is_none() {
            // It was still on its way here when the life that got it ended.
            self.redeliver(&key, ALL_BEFORE);
        } else {
            self.owes_changed(&key);
        }
    }

    fn note_heartbeat(&mut self, subject: &str) {
        let agent = self.directory.beats(subject).and_then(|key| self.agents.get_mut(key));
        if let Some(agent) = agent {
            agent.watch.beats += 1;
        }
    }

    fn watch_inbox(&mut self, inbox: Box<str>) {
        let cancel = CancellationToken::new();
        self.inboxes.insert(inbox.clone(), cancel.clone());
        let (client, news) = (self.client.clone(), self.news.clone());
        tokio::spawn(async move {
            let Ok(mut replies) = client.subscribe(inbox.to_string()).await else { return };
            loop {
                let reply = tokio::select! {
                    () = cancel.cancelled() => return,
                    reply = replies.next() => reply,
                };
                let Some(reply) = reply else { return };
                let subject = Bytes::copy_from_slice(reply.subject.as_bytes());
                let ends = reply.payload.is_empty()
                    && reply.headers.as_ref().is_none_or(async_nats::HeaderMap::is_empty);
                let is_error =
                    reply.headers.as_ref().is_some_and(|headers| headers.get(ERROR_CODE).is_some());
                if news.send(News::Replied { subject, ends: ends || is_error }).await.is_err() {
                    return;
                }
            }
        });
    }

    pub(super) fn replied(&mut self, subject: &Bytes, ends: bool) {
        let now = self.engine.clock().now();
        for key in self.requests.replied(subject, ends, now) {
            let Some(agent) = self.agents.get(&key) else { continue };
            agent.activity.note_message(now);
            self.owes_changed(&key);
        }
    }

    /// Agents of the Synadia Agent Protocol begin to answer before their callers' inboxes could be watched.
    pub(super) fn watch_synadia(&mut self, key: &AgentKey) {
        let agent = self.agents.get(key);
        let preset = agent.map(|agent| agent.slot.policy().messages.preset);
        if preset == Some(Preset::Synadia) && self.requests.watch_always(SYNADIA_INBOXES) {
            self.watch_inbox(SYNADIA_INBOXES.into());
        }
    }

    pub(super) fn owes_changed(&self, key: &AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        let until = self.requests.owes_until(key, agent.slot.policy().busy_cap);
        let until = until.unwrap_or(Moment::START);
        if agent.activity.unanswered_until() != until {
            agent.activity.set_unanswered_until(until);
            if until == Moment::START {
                self.engine.activity_changed(&agent.slot);
            }
        }
    }

    /// The servers have told what their clients have received and sent.
    pub(super) fn looked(&mut self, look: &Look, listeners: &[Listener]) {
        let now = self.engine.clock().now();
        let mut by_agent: HashMap<AgentKey, (u64, u64)> = HashMap::new();
        for connection in &look.traffic {
            let mut served: Vec<AgentKey> = Vec::new();
            for (subject, queue) in &connection.subscribes {
                served.extend(self.directory.takers(subject, queue));
            }
            served.sort();
            served.dedup();
            if !served.is_empty() {
                self.look_for_services(connection, &served);
            }
            // Whoever looks for services is answered by each of them, which is no work.
            let looked_for: u64 = connection
                .received
                .iter()
                .filter(|(subject, ..)| subject.starts_with("$SRV."))
                .map(|(.., count)| count)
                .sum();
            let sent = connection.sent.saturating_sub(looked_for);
            for (subject, queue, count) in &connection.received {
                for key in self.directory.takers(subject, queue) {
                    by_agent.entry(key).or_default().0 += count;
                }
            }
            for key in served {
                // What waits for it in the server is for it to do, be it seen on its way already or not.
                if let Some(agent) = self.agents.get(&key).filter(|_| connection.is_behind) {
                    agent.activity.note_message(now);
                }
                by_agent.entry(key).or_default().1 += sent;
            }
        }
        for (key, (received, sent)) in &by_agent {
            self.agent_counted(key, *received, *sent, now);
        }
        if look.is_complete {
            self.look_for_requesters(look);
        }
        for listener in listeners {
            // Who subscribes has a connection, which may be at a server that has not answered.
            let is_seen =
                by_agent.contains_key(&listener.key) || !self.directory.is_subscribed(&listener.key);
            if !is_seen {
                tracing::info!(agent = %listener.key, "not suspended: no NATS server shows a connection of it, but it subscribes");
            }
            self.heard(listener, look.is_complete && is_seen);
        }
        self.give_up_orphans(now);
        let agents = &self.agents;
        let cap_of =
            |key: &AgentKey| agents.get(key).map_or(Duration::ZERO, |agent| agent.slot.policy().busy_cap);
        let is_watched = |key: &AgentKey| agents.get(key).is_some_and(|agent| !agent.watch.taps.is_empty());
        for inbox in self.requests.expire(now, cap_of, is_watched) {
            if let Some(cancel) = self.inboxes.remove(&inbox) {
                cancel.cancel();
            }
        }
    }

    fn agent_counted(&mut self, key: &AgentKey, received: u64, sent: u64, now: Moment) {
        let (every, watch_below) =
            (self.settings.poll_every.as_secs().max(1), u64::from(self.settings.watch_below));
        let Some(agent) = self.agents.get_mut(key) else { return };
        let slot = Arc::clone(&agent.slot);
        let watch = &mut agent.watch;
        let confirmed = *self.wanted.confirmed().borrow();
        let denied = watch.taps.iter().any(|tap| self.wanted.is_denied(&tap.subject));
        let is_covered = !watch.taps.is_empty() && confirmed >= watch.version && !denied;
        let covered = std::mem::replace(&mut watch.covered, is_covered) && is_covered;
        // A heartbeat may be seen before it is counted.
        let beats = watch.beats.min(sent);
        watch.beats = (watch.beats - beats).min(1);
        let sent = sent - beats;
        if sent > 0 || (received > 0 && !covered) {
            agent.activity.note_message(now);
        }
        // What it says first to a prompt is not the answer.
        if slot.policy().messages.preset != Preset::Synadia {
            self.requests.presume_answered(key, sent, now);
        }
        self.owes_changed(key);
        let up = self.agents.get(key).is_some_and(|agent| agent.slot.phase() == PhaseName::Running);
        if up {
            self.tap(key, received / every < watch_below);
        }
    }

    /// Whoever asked and is not there any more is not answered, and owed nothing. One that was never seen may be beyond these
    /// servers.
    fn look_for_requesters(&mut self, look: &Look) {
        let listens = |reply: &[u8]| {
            std::str::from_utf8(reply).is_ok_and(|reply| look.subscribed.find(reply).is_some())
        };
        for key in self.requests.look_for_requesters(listens, self.engine.clock().now()) {
            self.owes_changed(&key);
        }
        for key in self.waited_for() {
            self.with_mailbox(&key, |mailbox, _, now, fx| mailbox.look_for_requesters(listens, now, fx));
        }
    }

    /// Whether messages still come to an agent that is about to be suspended, or from it.
    pub(super) fn listen(&mut self, key: &AgentKey, revision: Revision) {
        self.tap(key, true);
        let Some(agent) = self.agents.get(key) else { return };
        // Without a link, nobody can say.
        if !self.is_up || !self.is_open {
            self.engine.heard(&agent.slot, revision, false);
            return;
        }
        let version = agent.watch.version;
        // It ends only with the door.
        let _ = self.listeners.send(Listener { key: key.clone(), revision, version });
    }

    pub(super) fn heard(&self, listener: &Listener, quiet: bool) {
        if let Some(agent) = self.agents.get(&listener.key) {
            self.engine.heard(&agent.slot, listener.revision, quiet);
        }
    }
}
