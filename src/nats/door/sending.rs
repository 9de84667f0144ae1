//! Sending on what waited, and finding out whether it arrived.
//!
//! A mark is a message to ourselves over the same way: the ordinary connection, the servers, the leaf-node link. What was
//! sent before it and found nobody has come back by then.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::nats::client::Health;
use crate::nats::leaf::codec::Message;
use crate::nats::mailbox::{HoldId, Sending};
use crate::time::Moment;

use super::news::News;
use super::outbox::{Mark, Seen};
use super::{Door, until};

/// How long what was sent on may be under way before it counts as lost track of, if nothing is seen to be broken.
const MARK_WITHIN: Duration = Duration::from_mins(1);
/// How long the way may take to be found before somebody is told.
const ROUTE_WITHIN: Duration = Duration::from_secs(5);
/// After so long without a way, others may have thought that this replica is gone, and taken over what it has stored.
const TAKEN_OVER_AFTER: Duration = Duration::from_secs(10);

impl Door {
    pub(super) fn is_mark(&self, message: &Message) -> bool {
        *message.subject == *self.marks.as_bytes()
    }

    /// The way of marks may be another one from now on. Before one has come back over it, nothing is sent.
    pub(super) fn find_route(&mut self) {
        self.is_routed = false;
        self.last_mark += 1;
        let connects = self.connects();
        let now = self.engine.clock().now();
        self.route = Some(Route::new(self.last_mark, connects, self.route.as_ref(), now));
        self.try_route();
    }

    /// Asks for the way, again and again: servers of a cluster tell each other of subscriptions in their own time.
    fn try_route(&self) {
        // While there is no connection, marks would only pile up behind it.
        let is_connected = self.client.connection_state() == State::Connected;
        if let Some(route) = self.route.as_ref().filter(|_| self.is_up && is_connected) {
            self.outbox.mark(route.number.to_string());
        }
    }

    pub(super) fn look_for_route(&mut self, now: Moment) {
        self.try_route();
        let Some(route) = self.route.as_mut().filter(|_| self.is_up) else { return };
        if !route.is_told && now.since(route.since) > ROUTE_WITHIN {
            route.is_told = true;
            if route.seen.by_link {
                let what = "what Drowse sends to an inbox of its own does not come back to it: may the user of its ordinary \
                            connection publish and subscribe to _INBOX.>?";
                tracing::error!("{what}");
            } else {
                let what = "what Drowse sends over its ordinary connection does not come back over its leaf-node link: may both \
                            users use the subject, are they in one account, and are the servers of one cluster?";
                tracing::error!(subject = &*self.marks, "{what}");
            }
        }
    }

    pub(super) fn send(&self, key: &AgentKey, id: HoldId) {
        let Some(held) = self.agents.get(key).and_then(|agent| agent.mailbox.get(id)) else { return };
        let hold_id = format!("{}.{}", self.replica, id.0);
        self.outbox.message((key, id), held.message.clone(), hold_id, held.redelivered);
    }

    /// Sends a mark behind what was sent, unless one is under way: then another one follows it.
    pub(super) fn mark(&mut self, key: &AgentKey, up_to: Sending) {
        let (since, connects) = (self.engine.clock().now(), self.connects());
        let Some(agent) = self.agents.get_mut(key) else { return };
        match &mut agent.mark {
            Some(mark) => mark.next = Some(up_to),
            None => {
                self.last_mark += 1;
                self.outbox.mark(format!("{} {key}", self.last_mark));
                let number = self.last_mark;
                let seen = Seen::default();
                agent.mark = Some(Mark { number, up_to, next: None, since, connects, seen });
            }
        }
    }

    pub(super) fn mark_came_back(&mut self, payload: &Bytes) {
        self.mark_seen(payload, |seen| seen.by_link = true);
    }

    /// A mark came back on one of both ways.
    pub(super) fn mark_seen(&mut self, payload: &Bytes, note: impl Fn(&mut Seen)) {
        self.take_not_sent();
        let text = std::str::from_utf8(payload).unwrap_or_default();
        self.route
            .iter_mut()
            .filter(|route| text.parse() == Ok(route.number))
            .for_each(|it| note(&mut it.seen));
        if let Some(route) = self.route.take_if(|route| route.seen.by_both()) {
            return self.routed(route);
        }
        let Some((number, key)) = text.split_once(' ') else { return };
        let key = key.split_once('/').map(|(namespace, name)| AgentKey::new(namespace, name));
        let (Ok(number), Some(key)) = (number.parse::<u64>(), key) else { return };
        let Some(agent) = self.agents.get_mut(&key) else { return };
        agent.mark.iter_mut().filter(|mark| mark.number == number).for_each(|mark| note(&mut mark.seen));
        let Some(mark) = agent.mark.take_if(|mark| mark.seen.by_both()) else { return };
        if mark.connects != self.connects() {
            // It may have been sent over another connection than what was before it.
            return self.broken();
        }
        self.with_mailbox(&key, |mailbox, _, _, fx| mailbox.marked(mark.up_to, fx));
        if let Some(next) = mark.next {
            self.mark(&key, next);
        }
    }

    /// What could not be sent, and what the server has refused to take, is not under way.
    pub(super) fn take_not_sent(&mut self) {
        for (key, id) in self.outbox.take_not_sent() {
            self.with_mailbox(&key, |mailbox, _, _, fx| mailbox.not_sent(id, fx));
        }
        for subject in self.refused.take() {
            if let Some(key) = self.directory.owner(&subject).cloned() {
                self.with_mailbox(&key, |mailbox, _, _, fx| mailbox.refused(&subject, fx));
            }
        }
    }

    fn routed(&mut self, route: Route) {
        if route.connects != self.connects() {
            self.route = Some(route);
            return self.find_route();
        }
        self.is_routed = true;
        let cut_for = self.engine.clock().now().since(route.cut_since);
        if route.is_told {
            tracing::info!("what Drowse sends comes back again");
        }
        for key in self.waited_for() {
            if cut_for > TAKEN_OVER_AFTER {
                self.with_mailbox(&key, |mailbox, _, _, _| mailbox.may_be_taken_over());
            }
            self.interest_changed(&key);
        }
    }

    /// How often the ordinary connection has been made.
    fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Acquire)
    }

    /// Something has happened to the ordinary connection.
    pub(super) fn ailing(&mut self, health: Health) {
        let before = std::mem::replace(&mut self.health, health);
        if before.breaks != health.breaks {
            self.broken();
        }
        if before.missed != health.missed {
            tracing::warn!(
                messages = health.missed - before.missed,
                "replies came faster than Drowse takes them; whether requests are answered is not seen for a moment"
            );
            self.requests.lose_sight();
        }
    }

    /// A connection has broken: whether what was sent on has arrived will not be known any more.
    pub(super) fn broken(&mut self) {
        self.requests.lose_sight();
        self.outbox.forget_messages();
        self.find_route();
        for key in self.waited_for() {
            self.lost_track(&key);
        }
    }

    fn lost_track(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        agent.mark = None;
        self.with_mailbox(key, |mailbox, interest, now, fx| mailbox.lost_track(interest, now, fx));
    }

    pub(super) fn lose_overdue(&mut self, key: &AgentKey, now: Moment) {
        let mark = self.agents.get(key).and_then(|agent| agent.mark.as_ref());
        if mark.is_some_and(|mark| now.since(mark.since) > MARK_WITHIN) {
            self.broken();
        }
    }

    /// Agents for which messages wait, or are on their way.
    pub(super) fn waited_for(&self) -> Vec<AgentKey> {
        self.waiting.iter().cloned().collect()
    }

    pub(super) fn keep_alive(&self, key: &AgentKey, id: HoldId) {
        let held = self.agents.get(key).and_then(|agent| agent.mailbox.get(id));
        if let Some(reply) = held.and_then(|held| self.reply_of(&held.message)) {
            self.outbox.keep_alive(reply);
        }
    }
}

/// A mark that shows the way.
pub(super) struct Route {
    number: u64,
    /// Since when it is asked for.
    since: Moment,
    /// Since when there is no way: it may have been asked for before, over connections that broke again.
    cut_since: Moment,
    connects: u64,
    seen: Seen,
    is_told: bool,
}

impl Route {
    fn new(number: u64, connects: u64, before: Option<&Self>, now: Moment) -> Self {
        let cut_since = before.map_or(now, |before| before.cut_since);
        Self { number, since: now, cut_since, connects, seen: Seen::default(), is_told: false }
    }
}

/// Takes what comes back over the ordinary connection, and gives the subject to which it is sent.
///
/// What the server objects to, the library tells by a task of its own. That has something to do sooner than this one if the server
/// objected before it sent a mark back; but this one may be at work already.
pub(super) fn start_echoes(
    client: &Client,
    library: &Handle,
    news: &mpsc::Sender<News>,
    cancel: &CancellationToken,
) -> Subject {
    let inbox = Subject::from(client.new_inbox());
    let (subject, client, news) = (inbox.clone(), client.clone(), news.clone());
    library.spawn(until(cancel.clone(), async move {
        // It fails only when the connection has ended for good.
        let Ok(mut marks) = client.subscribe(subject).await else { return };
        while let Some(mark) = marks.next().await {
            tokio::task::yield_now().await;
            if news.send(News::Echoed(mark.payload)).await.is_err() {
                return;
            }
        }
    }));
    inbox
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_breaks_again_before_it_was_found_is_cut_since_the_first_time() {
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        let first = Route::new(1, 1, None, at(5));
        let second = Route::new(2, 2, Some(&first), at(40));
        assert_eq!((second.since, second.cut_since), (at(40), at(5)));
    }
}
