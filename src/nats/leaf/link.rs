//! A leaf-node link that is kept: connected, registered, and made anew whenever it breaks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::codec::{self, Interest, Message, Op};
use super::login::ServerInfo;
use super::session::{Endpoint, LeafError, Session};
use super::wanted::{Version, Wanted};
use crate::nats::mailbox::size;

/// Between two attempts to connect: doubles with jitter, so that a fleet does not come back in step.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often we make sure that the server is there, and how many times in a row it may owe the answer. Shorter than the
/// server's own two minutes: messages of sleeping agents are lost to a link that is dead and does not know.
const PING_EVERY: Duration = Duration::from_secs(5);
const PINGS_OWED: usize = 3;
/// Events that were read and not yet taken. A reader that is full reads no more, and the server then holds what comes, up
/// to its own limit (`max_pending`, 64 MB).
const EVENTS: usize = 4096;
/// What the messages among them take, in bytes; more only if one message alone does.
const EVENT_BYTES: u32 = 64 << 20;

/// What comes over a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected: all interest that there is has been told, and every registration is in force.
    Up(ServerInfo),
    /// Not connected, so nothing is known of anybody's interest.
    Down(String),
    /// Somebody subscribes (true), or nobody does any more.
    Interest(Interest, bool),
    /// A message, and its part of what events may take.
    Message(Message, OwnedSemaphorePermit),
}

/// Starts a link. It ends when the token is cancelled, or nobody takes the events any more.
pub fn start(
    endpoint: Endpoint,
    wanted: Arc<Wanted>,
    cancel: CancellationToken,
) -> mpsc::Receiver<LinkEvent> {
    let (events, receiver) = mpsc::channel(EVENTS);
    let room = Arc::new(Semaphore::new(EVENT_BYTES as usize));
    let link = Link { endpoint, wanted, events, room };
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = link.keep() => {}
        }
        link.wanted.end();
    });
    receiver
}

struct Link {
    endpoint: Endpoint,
    wanted: Arc<Wanted>,
    events: mpsc::Sender<LinkEvent>,
    room: Arc<Semaphore>,
}

impl Link {
    /// Connects again and again, until nobody listens.
    async fn keep(&self) {
        let backoff = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(RETRY)
            .with_max_delay(RETRY_MAX)
            .without_max_times();
        let mut pauses = backoff.build();
        let mut turn = 0;
        while !self.events.is_closed() {
            let address = &self.endpoint.addresses[turn % self.endpoint.addresses.len()];
            turn += 1;
            let mut was_up = false;
            let ended = match Session::open(address, &self.endpoint).await {
                Ok(session) => self.serve(session, &mut was_up).await,
                Err(error) => error,
            };
            self.wanted.end();
            let is_denial = matches!(&ended, LeafError::Refused(error) if denied_subject(error).is_some());
            let reason = format!("{address}: {ended}");
            if self.events.send(LinkEvent::Down(reason)).await.is_err() {
                return;
            }
            if was_up {
                pauses = backoff.build();
                if !is_denial {
                    self.wanted.try_again();
                }
            }
            tokio::time::sleep(pauses.next().unwrap_or(RETRY_MAX)).await;
        }
    }

    /// Runs one connection to its end.
    async fn serve(&self, session: Session, was_up: &mut bool) -> LeafError {
        let mut service = Service { link: self, session, pings: VecDeque::new(), is_heard: false, was_up };
        match service.run().await {
            Ok(()) => LeafError::Closed,
            Err(error) => error,
        }
    }
}

/// One connection at work.
struct Service<'a> {
    link: &'a Link,
    session: Session,
    /// Pings that are not answered yet, each with what its answer confirms.
    pings: VecDeque<Version>,
    /// Something has come since the last pulse: the server is there, though its answers may be far behind.
    is_heard: bool,
    was_up: &'a mut bool,
}

impl Service<'_> {
    async fn run(&mut self) -> Result<(), LeafError> {
        let (lines, version) = self.link.wanted.begin();
        self.register(lines, version).await?;
        let mut pulse = tokio::time::interval(PING_EVERY);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                op = self.session.next() => {
                    self.take(op?).await?;
                    while let Some(op) = self.session.ready()? {
                        self.take(op).await?;
                    }
                }
                () = self.link.wanted.changed() => {
                    if let Some((lines, version)) = self.link.wanted.take_unsent() {
                        self.register(lines, version).await?;
                    }
                }
                _ = pulse.tick() => self.check_pulse().await?,
            }
        }
    }

    /// Sends lines, and a ping whose answer confirms them.
    async fn register(&mut self, mut lines: String, version: Version) -> Result<(), LeafError> {
        lines.push_str("PING\r\n");
        self.pings.push_back(version);
        self.session.send(lines.as_bytes()).await
    }

    async fn check_pulse(&mut self) -> Result<(), LeafError> {
        let is_heard = std::mem::replace(&mut self.is_heard, false);
        if self.pings.len() >= PINGS_OWED {
            return if is_heard { Ok(()) } else { Err(LeafError::Silent(PING_EVERY * 3)) };
        }
        let confirmed = self.pings.back().copied().unwrap_or(*self.link.wanted.confirmed().borrow());
        self.register(String::new(), confirmed).await
    }

    async fn take(&mut self, op: Op) -> Result<(), LeafError> {
        self.is_heard = true;
        let event = match op {
            Op::Message(message) => {
                let bytes = u32::try_from(size(&message)).unwrap_or(u32::MAX).min(EVENT_BYTES);
                let room = Arc::clone(&self.link.room).acquire_many_owned(bytes).await;
                LinkEvent::Message(message, room.map_err(|_| LeafError::Closed)?)
            }
            Op::Interest(interest) => LinkEvent::Interest(interest, true),
            Op::NoInterest(interest) => LinkEvent::Interest(interest, false),
            Op::Ping => return self.session.send(codec::PONG).await,
            Op::Pong => return self.ponged().await,
            // The server closes the connection; without that subject the next one stays.
            Op::Err(error) => {
                if let Some(subject) = denied_subject(&error) {
                    tracing::error!(
                        subject,
                        "the leaf's user may not receive this subject (its `subscribe` permission): messages for it wake nobody"
                    );
                    self.link.wanted.deny(subject);
                }
                return Err(LeafError::Refused(error));
            }
            Op::Info(_) | Op::Ok => return Ok(()),
        };
        self.tell(event).await
    }

    async fn ponged(&mut self) -> Result<(), LeafError> {
        if let Some(version) = self.pings.pop_front() {
            self.link.wanted.confirm(version);
        }
        if !*self.was_up {
            *self.was_up = true;
            let server = self.session.server.clone();
            self.tell(LinkEvent::Up(server)).await?;
        }
        Ok(())
    }

    async fn tell(&self, event: LinkEvent) -> Result<(), LeafError> {
        self.link.events.send(event).await.map_err(|_| LeafError::Closed)
    }
}

/// The subject in `Permissions Violation for Subscription to "subject"`.
fn denied_subject(error: &str) -> Option<&str> {
    let rest = error.strip_prefix("Permissions Violation for Subscription to ")?;
    rest.strip_prefix('"')?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_that_is_denied_is_found() {
        let found = denied_subject("Permissions Violation for Subscription to \"a.in\"");
        assert_eq!(found, Some("a.in"));
        assert_eq!(denied_subject("Authorization Violation"), None);
    }
}
