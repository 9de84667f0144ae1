//! Replicas tell each other of the activity that they see, over NATS: once a second what has changed, and often enough what goes
//! on. So each of them can show all of it, and a new leader knows what the one before knew. No suspension rests on it.
//!
//! A message that is lost shows by the numbers of those after it. Then, after a start and when NATS is back, a replica asks the
//! others to say all they know (`hello`), and says all it knows itself.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client as Nats, Message};
use futures_util::StreamExt as _;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, News};
use crate::time::{Clock, Moment};

/// Where a replica says what it sees; its name follows. Below `drowse.replica`, so that the permissions of `deploy/nats` hold.
const SUBJECT: &str = "drowse.replica.activity.";
/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// How often it says something even if there is nothing to say.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);
/// How often the others are asked to say everything, and how often they do.
const WHOLE_EVERY: Duration = Duration::from_secs(2);
/// How often leases that have ended are looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Agents in a message: some 40 KiB.
const AGENTS_A_MESSAGE: usize = 256;
/// Leases in a message: 60 KiB with the longest reasons.
const LEASES_A_MESSAGE: usize = 32;
/// Agents that are told of at once; the others in the next second.
const AGENTS_AT_ONCE: usize = 5_000;
/// Leases that are told of at once.
const LEASES_AT_ONCE: usize = 1_000;
/// A message that is longer is none of ours.
const MAX_MESSAGE: usize = 256 << 10;
/// How long a message may take to be handed to the client.
const SEND_WITHIN: Duration = Duration::from_secs(1);

/// One replica's end of it.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Exchange {
    nats: Nats,
    replica: Arc<str>,
    engine: Arc<Engine>,
    clock: Clock,
    run: String,
    number: u64,
    /// The others could hear this one when it last looked.
    is_heard: bool,
    /// The others are to be asked for everything, and are to be told everything.
    asks: bool,
    tells: bool,
    asked: Option<Moment>,
    told_whole: Option<Moment>,
    sent: Option<Moment>,
    swept: Moment,
    warned: bool,
}

impl Exchange {
    /// Takes part as this replica: the uid of its pod, by which the others know it.
    pub fn new(nats: Nats, replica: Arc<str>, engine: Arc<Engine>) -> Self {
        engine.tell_leases_as(Arc::clone(&replica));
        let clock = engine.clock();
        Self {
            nats,
            replica,
            engine,
            clock,
            run: nuid::next().to_string(),
            number: 0,
            is_heard: false,
            asks: false,
            tells: false,
            asked: None,
            told_whole: None,
            sent: None,
            swept: clock.now(),
            warned: false,
        }
    }

    /// Tells and hears until the token is cancelled.
    pub async fn run(mut self, leaving: CancellationToken) {
        let mut news = match self.nats.subscribe(format!("{SUBJECT}*")).await {
            Ok(news) => news,
            Err(error) => {
                tracing::error!(%error, "failed to subscribe to what other replicas see: only this one's activity is shown");
                return;
            }
        };
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = leaving.cancelled() => return,
                message = news.next() => match message {
                    Some(message) => self.hear(&message),
                    None => return,
                },
                () = self.engine.lease_changed() => self.tell_leases(false).await,
                _ = every.tick() => self.round().await,
            }
        }
    }

    fn hear(&mut self, message: &Message) {
        let replica = message.subject.as_str().strip_prefix(SUBJECT).unwrap_or_default();
        if replica == &*self.replica {
            return;
        }
        let fits = message.payload.len() <= MAX_MESSAGE;
        let read = fits.then(|| serde_json::from_slice::<News>(&message.payload).ok()).flatten();
        let Some(news) = read else {
            self.engine.heard_nonsense();
            if !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(
                    subject = %message.subject,
                    bytes = message.payload.len(),
                    "a message on a subject of replicas cannot be read: who else may publish there? This is said once; \
                     drowse_replica_reports_total counts them"
                );
            }
            return;
        };
        self.asks |= self.engine.heard_from(replica, &news);
        // Also of one that is so new that it is not known yet.
        self.tells |= news.hello;
    }

    async fn round(&mut self) {
        let now = self.clock.now();
        if now >= self.swept + SWEEP_EVERY {
            self.swept = now;
            self.engine.forget_ended_leases();
        }
        // Before all agents are known, what the others say of them would be lost.
        let heard = self.nats.connection_state() == State::Connected
            && self.engine.has_others()
            && self.engine.is_ready();
        if heard && !std::mem::replace(&mut self.is_heard, true) {
            (self.asks, self.tells) = (true, true);
        }
        self.is_heard = heard;
        if !heard {
            self.engine.tells_nobody();
            return;
        }
        let is_due = |last: Option<Moment>| last.is_none_or(|last| now >= last + WHOLE_EVERY);
        let hello = self.asks && is_due(self.asked);
        let whole = self.tells && is_due(self.told_whole);
        if hello {
            (self.asks, self.asked) = (false, Some(now));
            self.send(News { hello, ..News::default() }).await;
        }
        if whole {
            (self.tells, self.told_whole) = (false, Some(now));
        }
        let engine = Arc::clone(&self.engine);
        let looking = tokio::task::spawn_blocking(move || engine.reports(whole, AGENTS_AT_ONCE));
        let Ok(agents) = looking.await else { return };
        for agents in agents.chunks(AGENTS_A_MESSAGE) {
            self.send(News { agents: agents.to_vec(), ..News::default() }).await;
        }
        self.tell_leases(whole).await;
        if self.sent.is_none_or(|sent| now >= sent + SIGN_OF_LIFE) {
            self.send(News::default()).await;
        }
    }

    async fn tell_leases(&mut self, whole: bool) {
        if !self.is_heard {
            // They are told with everything else.
            return;
        }
        let leases = self.engine.lease_reports(whole, LEASES_AT_ONCE);
        for leases in leases.chunks(LEASES_A_MESSAGE) {
            self.send(News { leases: leases.to_vec(), ..News::default() }).await;
        }
    }

    async fn send(&mut self, news: News) {
        let news = News { run: self.run.clone(), number: self.number, ..news };
        self.number = self.number.wrapping_add(1);
        self.sent = Some(self.clock.now());
        // Texts and numbers always make JSON.
        let text = serde_json::to_vec(&news).unwrap_or_default();
        let sending = self.nats.publish(format!("{SUBJECT}{}", self.replica), text.into());
        // What is lost shows by its number.
        let _lost = tokio::time::timeout(SEND_WITHIN, sending).await;
    }
}
