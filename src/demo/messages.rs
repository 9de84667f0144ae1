//! The demo agent over NATS: it answers what it is sent, and asks other agents when it is told to.
//!
//! Below its subject, `echo` answers with who answers and what was said, and `ask.<namespace>.<name>` sends what was said on to
//! that agent's `echo` and passes the answer on, as agents do that work together.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, Message, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::serve::Agent;
use crate::agent::AgentKey;

/// Whoever is asked may have to be woken.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);

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
                let answer = answer(&client, &agent, &prefix, &message).await;
                // Whoever waits for it has a limit of its own.
                let _ = client.publish(reply, Bytes::from(answer.to_string())).await;
            });
        }
    }
}

async fn answer(client: &Client, agent: &Agent, prefix: &str, message: &Message) -> Value {
    let said = String::from_utf8_lossy(&message.payload).into_owned();
    let verb = message.subject.as_str().strip_prefix(prefix).unwrap_or_default();
    let asked = match verb.strip_prefix("ask.") {
        Some(whom) => Some(ask(client, whom, message.payload.clone()).await),
        None => None,
    };
    let state = agent.state.lock().state();
    let mut answer = json!({"agent": agent.identity.agent, "pid": agent.identity.pid, "starts": state.starts, "said": said});
    if let (Some(asked), Some(fields)) = (asked, answer.as_object_mut()) {
        fields.insert("asked".to_owned(), asked);
    }
    answer
}

/// What another agent answers.
async fn ask(client: &Client, whom: &str, payload: Bytes) -> Value {
    let answer = match client.request(format!("agents.{whom}.echo"), payload).await {
        Ok(answer) => answer,
        Err(error) => return json!({"error": error.to_string()}),
    };
    serde_json::from_slice(&answer.payload)
        .unwrap_or_else(|_| json!({"error": String::from_utf8_lossy(&answer.payload)}))
}
