//! The load: messages to one agent, as fast as it takes them, until the load is dropped.
//!
//! What is counted is what the agent has received, as it says itself. Publishers do not run ahead of it by more than a
//! few thousand messages, so that nothing waits long in the server and nothing is dropped on the way.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;

const PAYLOAD: Bytes = Bytes::from_static(&[b'x'; 128]);
/// So many messages after each other, of which the last one asks for an answer: NATS keeps their order, so when it is
/// answered, all of them have arrived.
const BATCH: u64 = 500;
/// Batches that are not answered yet. Together far less than what the agent's library keeps for it (65,536).
const UNANSWERED: u64 = 16;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// One publishes.
    Publish,
    /// Some ask, each again when it is answered.
    Request,
}

impl Load {
    pub(super) fn name(self, clients: u16) -> String {
        match self {
            Self::Publish => format!("publish -> queue subscriber, {} B", PAYLOAD.len()),
            Self::Request => format!("request/reply, {clients} clients, {} B", PAYLOAD.len()),
        }
    }

    /// How many clients it takes, where `clients` ask.
    pub(super) const fn clients(self, clients: u16) -> u16 {
        match self {
            Self::Publish => 1,
            Self::Request => clients,
        }
    }

    /// Goes on until something breaks.
    pub(super) async fn run(
        self,
        clients: Vec<Client>,
        subject: Subject,
        done: Arc<AtomicU64>,
    ) -> anyhow::Result<Infallible> {
        let mut tasks = JoinSet::new();
        for client in clients {
            let (subject, done) = (subject.clone(), Arc::clone(&done));
            match self {
                Self::Publish => tasks.spawn(publish(client, subject, done)),
                Self::Request => tasks.spawn(request(client, subject, done)),
            };
        }
        tasks.join_next().await.context("a load without clients")??
    }
}

async fn publish(client: Client, subject: Subject, done: Arc<AtomicU64>) -> anyhow::Result<Infallible> {
    let inbox = Subject::from(client.new_inbox());
    let mut answers = client.subscribe(inbox.clone()).await?;
    let mut unanswered = 0;
    loop {
        while unanswered < UNANSWERED {
            for _ in 1..BATCH {
                client.publish(subject.clone(), PAYLOAD).await?;
            }
            client.publish_with_reply(subject.clone(), inbox.clone(), PAYLOAD).await?;
            unanswered += 1;
        }
        let answer = answers.next().await.context("the connection has ended")?;
        anyhow::ensure!(answer.status.is_none(), "the agent is not there: {answer:?}");
        unanswered -= 1;
        done.fetch_add(BATCH, Ordering::Relaxed);
    }
}

async fn request(client: Client, subject: Subject, done: Arc<AtomicU64>) -> anyhow::Result<Infallible> {
    loop {
        client.request(subject.clone(), PAYLOAD).await.context("a request was not answered")?;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_ask_are_several() {
        assert_eq!([Load::Publish, Load::Request].map(|load| load.clients(10)), [1, 10]);
        assert_eq!(Load::Request.name(10), "request/reply, 10 clients, 128 B");
    }
}
