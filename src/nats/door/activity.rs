//! What agents that talk over NATS do: from the servers' counters, and of those with little to do, message by message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::agent::{AgentKey, Revision};
use crate::lifecycle::PhaseName;
use crate::nats::client::{self, ANSWER_WITHIN};
use crate::nats::counters::{Answer, Traffic};
use crate::nats::leaf::codec::Message;
use crate::nats::leaf::wanted::{Registration, Version};
use crate::nats::requests::SYNADIA_INBOXES;
use crate::policy::messages::{Preset, Redeliver};
use crate::time::Moment;

use super::Door;
use super::news::News;

/// What the subjects of prompts begin with (Synadia Agent Protocol v0.3); the other ones are answered by one message.
pub(super) const PROMPT: &[u8] = b"agents.prompt.";
/// Where every server tells the connections of our account (nats-server 2.9 and newer).
const CONNZ: &str = "$SYS.REQ.ACCOUNT.PING.CONNZ";
/// Connections that a server tells at once.
const PAGE: usize = 1024;
/// Pages at most: with more connections than that in one account, what is beyond is not seen.
const MAX_PAGES: usize = 64;
/// How long the slower ones of several servers are waited for after the one before.
const STRAGGLERS: Duration = Duration::from_millis(150);
/// How long is listened before a suspension: longer than a message takes through a cluster.
const LISTEN_FOR: Duration = Duration::from_millis(250);

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
}

impl Door {
    /// An agent is up: it is watched from the start. It sleeps: what it has not answered is dealt with.
    pub(super) fn watch_by_phase(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        match agent.slot.phase() {
            PhaseName::Draining | PhaseName::Suspending | PhaseName::Resuming => self.tap(key, true),
            PhaseName::Running => {
                self.tap(key, true);
                self.note_life(key);
            }
            PhaseName::Suspended => {
                self.tap(key, false);
                self.redeliver(key, Moment::from_micros(u64::MAX));
            }
            PhaseName::Failed => {
                // Whoever waits for an answer of a life that crashed waits in vain, as without us.
                self.requests.take(key);
                self.owes_changed(key);
            }
            PhaseName::Unknown => {}
        }
    }

    /// With a new life, what the one before has got and not answered is sent again. Of phases that follow each other at once only
    /// the last one is seen, so the life itself is compared.
    fn note_life(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let Some((life, since)) = agent.slot.life() else { return };
        if agent.life.replace(life.clone()).is_some_and(|before| before != life) {
            self.redeliver(key, since);
        }
    }

    fn tap(&mut self, key: &AgentKey, on: bool) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let messages = Arc::clone(&agent.slot.policy().messages);
        let wanted = if on {
            let plain = |subject: &crate::units::Pattern| Registration {
                subject: subject.as_str().into(),
                queue: None,
            };
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
        self.requests.take(key);
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
        let Some(agent) = self.agents.get(&key) else { return };
        agent.activity.note_message(now);
        // A prompt is answered by a stream that ends with an empty reply; everything else by one reply.
        let preset = agent.slot.policy().messages.preset;
        let streams = preset == Preset::Synadia && message.subject.starts_with(PROMPT);
        if let Some(inbox) = self.requests.took(&key, message, streams, now) {
            self.watch_inbox(inbox);
        }
        self.owes_changed(&key);
    }

    fn note_heartbeat(&mut self, subject: &str) {
        let beats = |agent: &super::Agent, key: &AgentKey| {
            agent.slot.policy().messages.heartbeat(key).is_some_and(|pattern| pattern.matches(subject))
        };
        // Heartbeats come every half minute from an agent.
        if let Some((_, agent)) = self.agents.iter_mut().find(|(key, agent)| beats(agent, key)) {
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
                let is_error = reply
                    .headers
                    .as_ref()
                    .is_some_and(|headers| headers.get(crate::nats::headers::ERROR_CODE).is_some());
                if news.send(News::Replied { subject, ends: ends || is_error }).await.is_err() {
                    return;
                }
            }
        });
    }

    pub(super) fn replied(&mut self, subject: &Bytes, ends: bool) {
        let Some(key) = self.requests.replied(subject, ends) else { return };
        let Some(agent) = self.agents.get(&key) else { return };
        agent.activity.note_message(self.engine.clock().now());
        self.owes_changed(&key);
    }

    /// Agents of the Synadia Agent Protocol begin to answer before their callers' inboxes could be watched.
    pub(super) fn watch_synadia(&mut self, key: &AgentKey) {
        let agent = self.agents.get(key);
        let preset = agent.map(|agent| agent.slot.policy().messages.preset);
        if preset == Some(Preset::Synadia) && self.requests.watch_always(SYNADIA_INBOXES) {
            self.watch_inbox(SYNADIA_INBOXES.into());
        }
    }

    fn owes_changed(&self, key: &AgentKey) {
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

    /// A pod is gone. What it got and did not answer is sent again to the next one, or its senders are told.
    fn redeliver(&mut self, key: &AgentKey, before: Moment) {
        self.requests.end_life(key, before);
        let open = self.requests.take_orphans(key);
        self.owes_changed(key);
        let Some(agent) = self.agents.get(key) else { return };
        let redeliver = agent.slot.policy().messages.redeliver;
        for request in open {
            match redeliver {
                Redeliver::Requests => {
                    let patience = self.settings.hold.timeout;
                    let message = request.message;
                    self.let_wait(key, message, patience, None, true);
                }
                Redeliver::Never => {
                    let why = format!("{key} was suspended before it had answered");
                    if let Some(reply) = self.reply_of(&request.message) {
                        self.outbox.error(reply, 503, why);
                    }
                }
            }
        }
    }

    /// Asks the servers, from time to time.
    pub(super) fn start_polling(&self, cancel: CancellationToken) {
        let (client, news, every) = (self.client.clone(), self.news.clone(), self.settings.poll_every);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                match ask(&client).await {
                    Ok(answers) => {
                        if news.send(News::Counted(answers)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::debug!(error, "no counters from NATS"),
                }
            }
        });
    }

    /// The servers have told what their clients have received and sent.
    pub(super) fn counted(&mut self, answers: &[Answer]) {
        let now = self.engine.clock().now();
        let mut by_agent: HashMap<AgentKey, (u64, u64)> = HashMap::new();
        let traffic: Vec<Traffic> = self.counters.look(answers).into_values().collect();
        for connection in &traffic {
            let mut served: Vec<AgentKey> = Vec::new();
            for (subject, queue) in &connection.subscribes {
                served.extend(self.directory.takers(subject, queue));
            }
            served.sort();
            served.dedup();
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
                let entry = by_agent.entry(key).or_default();
                entry.1 += sent;
                // What waits for it in the server is for it to do.
                entry.0 += u64::from(connection.is_behind);
            }
        }
        for (key, (received, sent)) in by_agent {
            self.agent_counted(&key, received, sent, now);
        }
        self.look_for_requesters(&traffic);
        let agents = &self.agents;
        let cap_of =
            |key: &AgentKey| agents.get(key).map_or(Duration::ZERO, |agent| agent.slot.policy().busy_cap);
        for inbox in self.requests.expire(now, cap_of) {
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
        let covered =
            std::mem::replace(&mut watch.covered, !watch.taps.is_empty() && confirmed >= watch.version);
        let sent = sent.saturating_sub(std::mem::take(&mut watch.beats));
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
    fn look_for_requesters(&mut self, traffic: &[Traffic]) {
        let patterns: Vec<_> = traffic
            .iter()
            // Drowse itself watches inboxes.
            .filter(|connection| !connection.name.starts_with(client::NAME))
            .flat_map(|connection| &connection.subscribes)
            .filter_map(|(subject, _)| crate::units::Pattern::new(subject).ok())
            .collect();
        let listens = |reply: &[u8]| {
            std::str::from_utf8(reply)
                .is_ok_and(|reply| patterns.iter().any(|pattern| pattern.matches(reply)))
        };
        for key in self.requests.look_for_requesters(listens, self.engine.clock().now()) {
            self.owes_changed(&key);
        }
        let waiting = |agent: &super::Agent| !agent.mailbox.is_empty();
        let waiting: Vec<_> =
            self.agents.iter().filter(|(_, agent)| waiting(agent)).map(|(key, _)| key.clone()).collect();
        for key in waiting {
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
        let mut confirmed = self.wanted.confirmed();
        let (client, news, key) = (self.client.clone(), self.news.clone(), key.clone());
        tokio::spawn(async move {
            let listening = async {
                confirmed.wait_for(|confirmed| *confirmed >= version).await.ok()?;
                tokio::time::sleep(LISTEN_FOR).await;
                let answers = ask(&client).await.ok()?;
                news.send(News::Counted(answers)).await.ok()
            };
            let heard = tokio::time::timeout(ANSWER_WITHIN * 2, listening).await.ok().flatten();
            let _ = news.send(News::Heard(key, revision, heard.is_some())).await;
        });
    }
}

/// What all servers of the cluster say of the connections of our account.
async fn ask(client: &Client) -> Result<Vec<Answer>, String> {
    let mut all = Vec::new();
    let mut offset = 0;
    for _ in 0..MAX_PAGES {
        let page = ask_page(client, offset).await?;
        let rest = page.iter().filter_map(Answer::rest).min();
        all.extend(page);
        match rest {
            Some(next) => offset = next,
            None => break,
        }
    }
    Ok(all)
}

async fn ask_page(client: &Client, offset: usize) -> Result<Vec<Answer>, String> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
    let question = serde_json::json!({"subscriptions_detail": true, "limit": PAGE, "offset": offset});
    let sent = client.publish_with_reply(CONNZ, inbox, question.to_string().into()).await;
    sent.map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    let mut patience = ANSWER_WITHIN;
    while let Ok(Some(answer)) = tokio::time::timeout(patience, answers.next()).await {
        if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            return Err(format!("nobody answers {CONNZ}: is Drowse's user allowed to ask?"));
        }
        all.push(Answer::parse(&answer.payload)?);
        patience = STRAGGLERS;
    }
    if all.is_empty() { Err("no server answers".to_owned()) } else { Ok(all) }
}
