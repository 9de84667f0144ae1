//! Whether other replicas of Drowse at the same servers take messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::until;

/// Where every replica that takes messages answers, with its name.
const SUBJECT: &str = "drowse.replica.all";
/// How long the others may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Answers until the token is cancelled.
pub(super) fn start(client: &Client, replica: &str, takes: &Arc<AtomicBool>, cancel: &CancellationToken) {
    let (client, replica, takes) = (client.clone(), replica.to_owned(), Arc::clone(takes));
    tokio::spawn(until(cancel.clone(), async move {
        let Ok(questions) = client.subscribe(SUBJECT).await else { return };
        answer(&client, questions, replica.into(), || takes.load(Ordering::Acquire)).await;
    }));
}

/// Answers each question with this text, while it is so.
pub(super) async fn answer(
    client: &Client,
    mut questions: Subscriber,
    text: Bytes,
    is_so: impl Fn() -> bool,
) {
    while let Some(question) = questions.next().await {
        // A sender chooses the subject, and must not make us say something to an agent.
        let reply = question.reply.filter(|reply| reply.as_str().starts_with("_INBOX"));
        if let Some(reply) = reply.filter(|_| is_so()) {
            let _who_asks_asks_again = client.publish(reply, text.clone()).await;
        }
    }
}

/// Whether there is another one.
pub(super) async fn is_another_there(client: &Client, replica: &str) -> bool {
    let asking = async {
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.ok()?;
        client.publish_with_reply(SUBJECT, inbox, "".into()).await.ok()?;
        while let Some(answer) = answers.next().await {
            if answer.status.is_none() && *answer.payload != *replica.as_bytes() {
                return Some(());
            }
        }
        None
    };
    matches!(tokio::time::timeout(ANSWER_WITHIN, asking).await, Ok(Some(())))
}
