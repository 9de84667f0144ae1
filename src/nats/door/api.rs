//! What agents and operators may ask over NATS: `drowse.lease`, `drowse.resume`, `drowse.status` and `drowse.activity`, each
//! followed by `.<namespace>.<name>`; and what is told to everybody, `drowse.events`.

use std::sync::Arc;

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::engine::{CommandError, Engine, LeaseFault, LeaseOrder};
use crate::nats::headers::{ERROR, ERROR_CODE};

/// One replica answers each question.
const QUEUE: &str = "drowse";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Lease,
    Resume,
    Status,
    Activity,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Lease, Self::Resume, Self::Status, Self::Activity];

    const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Resume => "resume",
            Self::Status => "status",
            Self::Activity => "activity",
        }
    }
}

/// Answers until the token is cancelled.
pub(super) fn start(client: &Client, engine: &Arc<Engine>, cancel: &CancellationToken) {
    for verb in Verb::ALL {
        let (client, engine, cancel) = (client.clone(), Arc::clone(engine), cancel.clone());
        tokio::spawn(async move {
            let subject = format!("drowse.{}.*.*", verb.name());
            let mut questions = match client.queue_subscribe(subject, QUEUE.to_owned()).await {
                Ok(questions) => questions,
                Err(error) => {
                    tracing::error!(verb = verb.name(), %error, "failed to subscribe");
                    return;
                }
            };
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    question = questions.next() => match question {
                        Some(question) => answer(&client, &engine, verb, question).await,
                        None => return,
                    },
                }
            }
        });
    }
}

/// An error as the sender gets it: a code like those of HTTP, and what to do.
struct Fault(u16, String);

impl From<LeaseFault> for Fault {
    fn from(fault: LeaseFault) -> Self {
        Self(fault.code(), fault.to_string())
    }
}

impl From<CommandError> for Fault {
    fn from(error: CommandError) -> Self {
        let code = match error {
            CommandError::NotFound | CommandError::NotManaged => 404,
            CommandError::Busy { .. } | CommandError::Refused { .. } => 409,
        };
        Self(code, error.to_string())
    }
}

async fn answer(client: &Client, engine: &Arc<Engine>, verb: Verb, question: Message) {
    let answered = handle(engine, verb, &question);
    // A sender chooses the subject, and must not make us say something to an agent, to the server, or to ourselves.
    let Some(reply) = question.reply.filter(|reply| reply.as_str().starts_with("_INBOX")) else { return };
    let (headers, body) = match answered {
        Ok(body) => (HeaderMap::new(), body),
        Err(Fault(code, why)) => {
            let mut headers = HeaderMap::new();
            headers.insert(ERROR, why.as_str());
            headers.insert(ERROR_CODE, code.to_string());
            (headers, json!({"error": why, "code": code}))
        }
    };
    let _who_asks_asks_again =
        client.publish_with_headers(reply, headers, Bytes::from(body.to_string())).await;
}

fn handle(engine: &Arc<Engine>, verb: Verb, question: &Message) -> Result<serde_json::Value, Fault> {
    let mut tokens = question.subject.as_str().splitn(4, '.').skip(2);
    let key = tokens
        .next()
        .zip(tokens.next())
        .and_then(|(namespace, name)| format!("{namespace}/{name}").parse().ok());
    let key: AgentKey = key.ok_or_else(|| Fault(404, "that is no name of an agent".to_owned()))?;
    if question.payload.len() > LeaseOrder::MAX_BYTES {
        return Err(Fault(413, format!("a question has {} bytes at most", LeaseOrder::MAX_BYTES)));
    }
    match verb {
        Verb::Lease => {
            let answer = engine.lease(&key, &LeaseOrder::read(&question.payload)?)?;
            Ok(json!(answer))
        }
        Verb::Resume => {
            engine.resume(&key)?;
            status(engine, &key)
        }
        Verb::Status => status(engine, &key),
        Verb::Activity => {
            let slot = engine.slot(&key).filter(|slot| slot.policy().manage);
            let slot = slot.ok_or(CommandError::NotFound)?;
            slot.activity().note_message(engine.clock().now());
            Ok(json!({}))
        }
    }
}

fn status(engine: &Engine, key: &AgentKey) -> Result<serde_json::Value, Fault> {
    // What an operator needs beyond this stays on the admin side.
    Ok(json!(engine.summary(key).ok_or(CommandError::NotFound)?))
}
