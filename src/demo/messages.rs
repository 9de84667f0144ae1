//! The demo agent over NATS: it answers what it is sent, and asks other agents when it is told to.
//!
//! Below its subject, `echo` answers with who answers and what was said, `work.<duration>` does so after that much work in silence, and
//! `ask.<namespace>.<name>` sends what was said on to that agent's `echo` and passes the answer on, as agents do that work together.
//! Headers go along there and back, as those of a trace do.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, HeaderMap, Message, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::serve::Agent;
use crate::agent::AgentKey;
use crate::units::{HumanDuration, Written as _};

/// Whoever is asked may have to be woken.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// Nobody waits longer for an answer.
const MAX_WORK: Duration = Duration::from_hours(1);

/// Connected and subscribed.
pub(super) struct Messages {
    client: Client,
    subscriber: Subscriber,
    /// What its subjects begin with.
    prefix: String,
}

impl Messages {
    /// Subscribes to the agent's subjects, sooner or later: a server that is not there is tried again and again.
    pub(super) async fn subscribe(url: &str, queue: &str, key: &AgentKey) -> anyhow::Result<Self> {
        let server: ServerAddr =
            url.parse().with_context(|| format!("{url} is not the address of a NATS server"))?;
        // The library takes no user out of an address by itself.
        let options = match (server.username(), server.password()) {
            (Some(user), Some(password)) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            }
            _ => ConnectOptions::new(),
        };
        let client = options
            .name(format!("demo agent {key}"))
            .retry_on_initial_connect()
            .request_timeout(Some(ANSWER_LIMIT))
            .connect(server)
            .await
            .context("failed to begin to connect to NATS")?;
        let prefix = format!("agents.{}.{}.", key.namespace(), key.name());
        let subscriber = client.queue_subscribe(format!("{prefix}>"), queue.to_owned()).await;
        Ok(Self { client, subscriber: subscriber.context("failed to subscribe")?, prefix })
    }

    /// Answers for ever.
    pub(super) async fn serve(mut self, agent: &std::sync::Arc<Agent>) {
        while let Some(message) = self.subscriber.next().await {
            agent.count_request();
            let Some(reply) = message.reply.clone() else { continue };
            let (client, agent, prefix) = (self.client.clone(), agent.clone(), self.prefix.clone());
            tokio::spawn(async move {
                let (headers, answer) = answer(&client, &agent, &prefix, message).await;
                // Whoever waits for it has a limit of its own.
                let _ = client.publish_with_headers(reply, headers, Bytes::from(answer.to_string())).await;
            });
        }
    }
}

/// The headers of an answer, and what it says.
type Answer = (HeaderMap, Value);

async fn answer(client: &Client, agent: &Agent, prefix: &str, message: Message) -> Answer {
    let said = String::from_utf8_lossy(&message.payload).into_owned();
    let headers = message.headers.unwrap_or_default();
    let verb = message.subject.as_str().strip_prefix(prefix).unwrap_or_default();
    let work = verb.strip_prefix("work.").and_then(|length| HumanDuration::read(length).ok());
    tokio::time::sleep(work.map_or(Duration::ZERO, HumanDuration::get).min(MAX_WORK)).await;
    let (headers, asked) = match verb.strip_prefix("ask.") {
        Some(whom) => {
            let (headers, asked) = ask(client, whom, headers, message.payload).await;
            (headers, Some(asked))
        }
        None => (headers, None),
    };
    let state = agent.state.lock().state();
    let mut answer = json!({"agent": agent.identity.agent, "pid": agent.identity.pid, "starts": state.starts, "said": said});
    if let (Some(asked), Some(fields)) = (asked, answer.as_object_mut()) {
        fields.insert("asked".to_owned(), asked);
    }
    (headers, answer)
}

/// What another agent answers.
async fn ask(client: &Client, whom: &str, headers: HeaderMap, payload: Bytes) -> Answer {
    let answer = match client.request_with_headers(format!("agents.{whom}.echo"), headers, payload).await {
        Ok(answer) => answer,
        Err(error) => return (HeaderMap::new(), json!({"error": error.to_string()})),
    };
    let said = serde_json::from_slice(&answer.payload)
        .unwrap_or_else(|_| json!({"error": String::from_utf8_lossy(&answer.payload)}));
    (answer.headers.unwrap_or_default(), said)
}
