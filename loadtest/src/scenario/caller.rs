//! Makes the calls of one part, each when it is due, and notes what became of it.

use std::sync::Arc;
use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use async_nats::{Client, RequestErrorKind};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;

use super::arrivals::{Due, Plan};
use super::book::{Book, End};
use super::pool::Pool;
use crate::client::{Call, ClientError};
use crate::ticker::Alarm;

/// Longer than Drowse holds a caller.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
/// Calls that have not ended, of one part. One that is due beyond that has failed.
const MAX_OPEN: u32 = 100_000;
/// So many calls that are due are begun before anybody else has a turn.
const TURN: usize = 64;
/// A message that Drowse has held says so, and the demo agent's reply has the headers of what it answers.
const HOLD_ID: &str = "Drowse-Hold-Id";
/// A reply that is an error: the convention of NATS services.
const ERROR_CODE: &str = "Nats-Service-Error-Code";

/// How agents are called: one entry for each.
#[derive(Debug)]
pub(super) enum Way {
    Request { pool: Pool, calls: Vec<Call> },
    Stream { pool: Pool, calls: Vec<Call>, events: u64 },
    Message { client: Client, subjects: Vec<Subject> },
}

/// Where an agent takes messages, and how it names itself.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) subject: async_nats::Subject,
    pub(super) agent: String,
}

/// One part of the traffic.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) clock: Clock,
    pub(super) way: Way,
    /// How long those wait who hang up.
    pub(super) hang_up_after: Duration,
    /// How long all others wait at most.
    pub(super) patience: Duration,
    pub(super) book: Book,
}

impl Caller {
    /// Makes all calls of a plan that begins at a moment, and waits until all have ended.
    pub(super) async fn send(self: Arc<Self>, plan: Plan, start: Moment) -> anyhow::Result<()> {
        let alarm = Alarm::new()?;
        let open = Arc::new(Semaphore::new(MAX_OPEN as usize));
        for (nth, due) in plan.enumerate() {
            let intended = start + due.at;
            alarm.wait(intended.since(self.clock.now())).await?;
            if nth % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            self.book.due(self.clock.now().since(intended));
            match Arc::clone(&open).try_acquire_owned() {
                Ok(place) => {
                    let caller = Arc::clone(&self);
                    tokio::spawn(async move {
                        let end = caller.call(due, intended).await;
                        caller.book.ended(intended, end);
                        drop(place);
                    });
                }
                Err(_) => self.book.ended(intended, End::Failed("not made: too many wait".to_owned())),
            }
        }
        // Every one has a bound.
        drop(open.acquire_many(MAX_OPEN).await?);
        Ok(())
    }

    async fn call(&self, due: Due, intended: Moment) -> End {
        let limit = if due.hangs_up { self.hang_up_after } else { self.patience };
        let asked = self.ask(due.agent as usize);
        match tokio::time::timeout_at(self.clock.instant(intended + limit), asked).await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => End::Failed(error.kind()),
            Err(_) if due.hangs_up => End::HungUp,
            Err(_) => End::Failed("no answer in time".to_owned()),
        }
    }

    async fn ask(&self, agent: usize) -> Result<End, ClientError> {
        match &self.way {
            Way::Request { pool, calls } => self.request(pool, &calls[agent]).await,
            Way::Stream { pool, calls, events } => self.stream(pool, &calls[agent], *events).await,
            Way::Message { client, subjects } => Ok(self.message(client, &subjects[agent]).await),
        }
    }

    async fn request(&self, pool: &Pool, call: &Call) -> Result<End, ClientError> {
        let mut lent = pool.take().await?;
        let answer = lent.connection.send(call).await?;
        let at = self.clock.now();
        lent.give_back();
        Ok(head_end(answer.status, &answer.headers, at))
    }

    async fn stream(&self, pool: &Pool, call: &Call, expected: u64) -> Result<End, ClientError> {
        let mut lent = pool.take().await?;
        let (head, mut body) = lent.connection.begin(call).await?.into_parts();
        let (mut events, mut first) = (Events::default(), None);
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                first.get_or_insert_with(|| self.clock.now());
                events.see(data);
            }
        }
        lent.give_back();
        let at = first.unwrap_or_else(|| self.clock.now());
        Ok(match head_end(head.status, &head.headers, at) {
            End::Answered { .. } if events.seen < expected => End::Failed("stream cut short".to_owned()),
            end => end,
        })
    }

    async fn message(&self, client: &Client, to: &Subject) -> End {
        let reply = match client.request(to.subject.clone(), Bytes::new()).await {
            Ok(reply) => reply,
            Err(error) => {
                return End::Failed(match error.kind() {
                    RequestErrorKind::NoResponders => "nobody takes it".to_owned(),
                    RequestErrorKind::TimedOut => "no reply in time".to_owned(),
                    other => format!("not sent: {other}"),
                });
            }
        };
        let at = self.clock.now();
        let header = |name: &'static str| reply.headers.as_ref()?.get(name);
        if let Some(code) = header(ERROR_CODE) {
            return End::Failed(format!("error {code}"));
        }
        let said: serde_json::Value = serde_json::from_slice(&reply.payload).unwrap_or_default();
        if said["agent"] != *to.agent {
            return End::Failed("another agent replied".to_owned());
        }
        End::Answered { woken: header(HOLD_ID).is_some(), at }
    }
}

/// What the head of an answer says.
fn head_end(status: StatusCode, headers: &HeaderMap, at: Moment) -> End {
    if status != StatusCode::OK {
        return End::Failed(status.as_str().to_owned());
    }
    End::Answered { woken: headers.get("drowse-start").is_some_and(|start| start == "cold"), at }
}

/// Counts server-sent events, each of which ends with an empty line, however they are cut into pieces.
#[derive(Debug, Default)]
struct Events {
    seen: u64,
    after_line: bool,
}

impl Events {
    fn see(&mut self, data: &[u8]) {
        for byte in data {
            let line_ends = *byte == b'\n';
            if line_ends && self.after_line {
                self.seen += 1;
            }
            self.after_line = line_ends && !self.after_line;
        }
    }
}

#[cfg(test)]
mod tests;
