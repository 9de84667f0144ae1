//! Before anything is registered: whether this server really prefers its own clients to a leaf. On one that does not,
//! messages to agents that are awake would come here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::Notify;

use crate::nats::leaf::codec::Interest;
use crate::nats::leaf::wanted::Registration;
use crate::nats::settings::HoldStore;

use super::Door;
use super::news::News;

/// How many messages are sent, all of which must come to the client.
const PROBES: usize = 100;
const QUEUE: &str = "drowse-check";
/// For each step of the check.
const STEP: Duration = Duration::from_secs(5);

/// Between two checks that fail.
const AGAIN: Duration = Duration::from_secs(10);

/// A check that is under way.
pub(super) struct Check {
    number: u64,
    subject: Arc<str>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Messages that the server gave to us instead of its client.
    wrong: AtomicUsize,
    /// The server has told us of its client's interest.
    interest: AtomicBool,
    changed: Notify,
}

impl Check {
    /// Whether this message belongs to the check.
    pub(super) fn note_message(&self, subject: &str) -> bool {
        let ours = *subject == *self.subject;
        if ours {
            self.seen.wrong.fetch_add(1, Ordering::AcqRel);
        }
        ours
    }

    pub(super) fn note_interest(&self, interest: &Interest, present: bool) {
        if present && *interest.subject == *self.subject.as_bytes() {
            self.seen.interest.store(true, Ordering::Release);
            self.seen.changed.notify_one();
        }
    }
}

impl Door {
    pub(super) fn begin_check(&mut self) {
        let subject: Arc<str> = format!("drowse.check.{}", nuid::next()).into();
        let registration = Registration { subject: (*subject).into(), queue: Some(QUEUE.into()) };
        let seen = Arc::new(Seen::default());
        self.last_mark += 1;
        let number = self.last_mark;
        self.check = Some(Check { number, subject: Arc::clone(&subject), seen: Arc::clone(&seen) });
        let version = self.wanted.add(registration.clone());
        let mut confirmed = self.wanted.confirmed();
        let mut connection = self.connection.clone();
        let (client, news, wanted) = (self.client.clone(), self.news.clone(), Arc::clone(&self.wanted));
        tokio::spawn(async move {
            let checking = async {
                // At the start the link is often the first of the two.
                let connected = connection.wait_for(|health| health.stands);
                let what = "the connection for clients (the log says why there is none)";
                drop(within(what, connected).await?.map_err(|error| error.to_string())?);
                let registered = confirmed.wait_for(|confirmed| *confirmed >= version);
                within("the registration", registered).await?.map_err(|error| error.to_string())?;
                run(&client, &subject, &seen).await
            };
            let result = checking.await;
            wanted.remove(&registration);
            let _ = news.send(News::Checked(number, result)).await;
        });
    }

    pub(super) fn checked(&mut self, number: u64, result: Result<(), String>) {
        // One of a connection that has broken since decides nothing.
        let Some(_check) = self.check.take_if(|check| check.number == number) else { return };
        match result {
            Ok(()) if self.settings.hold.store == HoldStore::Memory => self.open(),
            Ok(()) => self.open_store(),
            Err(why) => {
                tracing::error!(why, "the message door stays closed; it is tried again");
                let news = self.news.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(AGAIN).await;
                    let _ = news.send(News::CheckAgain).await;
                });
            }
        }
    }
}

async fn run(client: &async_nats::Client, subject: &Arc<str>, seen: &Seen) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("the connection for clients does not work: {error}");
    let subscribing = client.queue_subscribe(subject.to_string(), QUEUE.to_owned());
    let mut messages = within("a subscription", subscribing).await?.map_err(|error| failed(&error))?;
    let told = async {
        while !seen.interest.load(Ordering::Acquire) {
            seen.changed.notified().await;
        }
    };
    within("the server to tell the leaf of its client's interest (are both in one account?)", told).await?;
    for _ in 0..PROBES {
        client.publish(subject.to_string(), "".into()).await.map_err(|error| failed(&error))?;
    }
    let mut right = 0;
    let arriving = async {
        while right + seen.wrong.load(Ordering::Acquire) < PROBES && messages.next().await.is_some() {
            right += 1;
        }
    };
    let arrived = within("the messages of the check", arriving).await;
    let wrong = seen.wrong.load(Ordering::Acquire);
    if wrong > 0 {
        return Err(format!(
            "the server gave {wrong} of {PROBES} messages to the leaf node and not to its own client; a cluster needs nats-server \
             2.10.23 or newer, and the leaf must be connected to the cluster of the agents"
        ));
    }
    arrived
}

async fn within<T>(what: &str, step: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(STEP, step)
        .await
        .map_err(|_| format!("waited {STEP:?} for {what}, and it did not come"))
}
