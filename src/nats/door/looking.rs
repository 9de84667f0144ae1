//! Looks at the servers' counters: from time to time, and before agents are suspended.
//!
//! One look at a time, for all who want one: a look costs the servers a list of all connections.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc, watch};

use crate::agent::{AgentKey, Revision};
use crate::nats::client::{ANSWER_WITHIN, NAME};
use crate::nats::counters::{Answer, Counters};
use crate::nats::leaf::wanted::Version;
use crate::time::{Clock, Moment};

use super::news::News;

/// Where every server tells the connections of our account (nats-server 2.9 and newer).
const CONNZ: &str = "$SYS.REQ.ACCOUNT.PING.CONNZ";
/// Connections that a server tells at once.
const PAGE: usize = 1024;
/// Pages at most: with more connections than that in one account, what is beyond is not seen.
const MAX_PAGES: usize = 64;
/// How long is waited for servers that were never heard of, when all others have answered; and if somebody is waited for.
const STRANGERS: Duration = Duration::from_millis(150);
const STRANGERS_IN_HASTE: Duration = Duration::from_millis(20);
/// For one look.
const LONGEST: Duration = Duration::from_secs(30);
/// How long is listened before a suspension: longer than a message takes through a cluster.
const LISTEN_FOR: Duration = Duration::from_millis(250);
/// Of the time of the servers, the looks take this part at most: one in so many.
const SHARE: u32 = 10;
/// But whoever listens is not kept waiting for longer.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// An agent that is about to be suspended, if nothing is heard of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listener {
    pub(super) key: AgentKey,
    pub(super) revision: Revision,
    /// When the server has taken note that the agent is watched message by message.
    pub(super) version: Version,
}

/// Looks for all who want to know.
pub(super) struct Looker {
    client: Client,
    news: mpsc::Sender<News>,
    clock: Clock,
    every: Duration,
    confirmed: watch::Receiver<Version>,
    listeners: mpsc::UnboundedReceiver<Listener>,
    /// Agents have come up that may be services.
    services: Arc<Notify>,
    counters: Counters,
    is_failing: bool,
}

impl Looker {
    /// Each agent listens once at a time, and gives up after some seconds, so few of them wait.
    pub(super) fn new(
        client: Client,
        news: mpsc::Sender<News>,
        clock: Clock,
        every: Duration,
        confirmed: watch::Receiver<Version>,
        services: Arc<Notify>,
    ) -> (Self, mpsc::UnboundedSender<Listener>) {
        let (queue, listeners) = mpsc::unbounded_channel();
        let counters = Counters::default();
        (
            Self { client, news, clock, every, confirmed, listeners, services, counters, is_failing: false },
            queue,
        )
    }

    /// Ends when nobody takes the news any more.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut listeners = Vec::new();
            let listens = tokio::select! {
                _ = ticks.tick() => false,
                () = self.services.notified() => true,
                first = self.listeners.recv() => match first {
                    Some(first) => {
                        listeners.push(first);
                        true
                    }
                    None => return,
                },
            };
            let (news, took) = self.look(listens, listeners).await;
            if self.news.send(news).await.is_err() {
                return;
            }
            tokio::time::sleep((took * (SHARE - 1)).min(MAX_PAUSE)).await;
        }
    }

    /// One look, if it `listens` after some silence; and how long the servers took for it.
    async fn look(&mut self, listens: bool, mut listeners: Vec<Listener>) -> (News, Duration) {
        if listens {
            // For all who listen at the moment, and once more for those who come later.
            listeners.extend(std::iter::from_fn(|| self.listeners.try_recv().ok()));
            let version = listeners.iter().map(|listener| listener.version).max().unwrap_or(0);
            let watched = self.confirmed.wait_for(|confirmed| *confirmed >= version);
            if !matches!(tokio::time::timeout(ANSWER_WITHIN, watched).await, Ok(Ok(_))) {
                return (News::NotLooked(listeners), Duration::ZERO);
            }
            tokio::time::sleep(LISTEN_FOR).await;
        }
        let asking = tokio::time::timeout(LONGEST, self.ask(!listeners.is_empty())).await;
        match asking.unwrap_or_else(|_| Err("the servers take too long".to_owned())) {
            Ok((answers, took)) => {
                if std::mem::replace(&mut self.is_failing, false) {
                    tracing::info!("the servers tell their counters again");
                }
                let look = self.counters.look(answers, NAME, self.clock.now());
                (News::Looked(look, listeners), took)
            }
            Err(why) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        why,
                        "no counters from NATS: until there are, agents that get messages are not suspended"
                    );
                }
                (News::NotLooked(listeners), Duration::ZERO)
            }
        }
    }

    /// What all servers of the cluster say of the connections of our account.
    async fn ask(&self, in_haste: bool) -> Result<(Vec<Answer>, Duration), String> {
        let mut all = Vec::new();
        let (mut offset, mut took) = (0, Duration::ZERO);
        for _ in 0..MAX_PAGES {
            let began = self.clock.now();
            let (page, answered) = self.ask_page(offset, in_haste).await?;
            took += answered.since(began);
            let rest = page.iter().filter_map(Answer::rest).min();
            all.extend(page);
            match rest {
                Some(next) => offset = next,
                None => break,
            }
        }
        Ok((all, took))
    }

    /// The answers, and when the last one came.
    async fn ask_page(&self, offset: usize, in_haste: bool) -> Result<(Vec<Answer>, Moment), String> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
        let question = serde_json::json!({"subscriptions_detail": true, "limit": PAGE, "offset": offset});
        let sent = self.client.publish_with_reply(CONNZ, inbox, question.to_string().into()).await;
        sent.map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        let mut last = self.clock.now();
        let deadline = last + ANSWER_WITHIN;
        let mut patience = ANSWER_WITHIN;
        while let Ok(Some(answer)) = tokio::time::timeout(patience, answers.next()).await {
            if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
                return Err(format!("nobody answers {CONNZ}: is Drowse's user allowed to ask?"));
            }
            all.push(Answer::parse(&answer.payload)?);
            last = self.clock.now();
            let strangers =
                if in_haste && !self.counters.is_empty() { STRANGERS_IN_HASTE } else { STRANGERS };
            patience = if self.counters.misses(&all) { deadline.since(last) } else { strangers };
        }
        if all.is_empty() { Err("no server answers".to_owned()) } else { Ok((all, last)) }
    }
}
