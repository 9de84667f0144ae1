//! Waiting for an agent: a ticket is a place in its queue, and a future of a permit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::lifecycle::{Arrival, Event, Refusal, WaiterId};
use crate::metrics::Bound;
use crate::time::Moment;

use super::budget::Reservation;
use super::{Engine, Permit, Slot};

/// A caller that found the gate closed or full.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// The port that it asked for, if it did: probed besides the agent's own.
    pub port: Option<u16>,
    /// Whether it may wake the agent (false for `must_not_wake` paths).
    pub wakes: bool,
    /// How long it waits at most.
    pub deadline: Moment,
}

/// How a caller's wait was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// From arrival to release.
    pub hold: Duration,
    /// Of the start that it waited for: from its begin until the pod showed its address.
    pub resume: Duration,
    /// Of that start: from the address until it answered and was known to be the one that is meant.
    pub probe: Duration,
    /// Of the probe: the read that said who answers there (guard IDENT).
    pub attest: Duration,
    /// The agent had to be started for it.
    pub cold: bool,
}

impl Waited {
    /// This wait, and one before it.
    pub(super) fn after(self, before: Self) -> Self {
        Self {
            hold: before.hold + self.hold,
            resume: before.resume + self.resume,
            probe: before.probe + self.probe,
            attest: before.attest + self.attest,
            cold: before.cold || self.cold,
        }
    }
}

/// What the machine keeps of a caller that waits.
pub(super) struct Caller {
    pub(super) arrived: Moment,
    pub(super) answer: oneshot::Sender<Result<Permit, Refusal>>,
}

/// A place in an agent's queue. A future: it ends with a [`Permit`] or a [`Refusal`], at the latest at the
/// hold's deadline. Dropping it gives the place back at once.
pub struct Ticket {
    answer: oneshot::Receiver<Result<Permit, Refusal>>,
    place: QueuePlace,
}

/// Leaves the queue when dropped.
struct QueuePlace {
    slot: Arc<Slot>,
    engine: Arc<Engine>,
    id: WaiterId,
    port: Option<u16>,
    arrived: Moment,
    end: End,
    _held: Reservation,
}

/// How a wait ended (invariant 6).
enum End {
    Served,
    Refused(Refusal),
    Left,
}

impl Engine {
    /// Queues up for an agent whose gate [`Slot::enter`] found closed or full.
    pub fn hold(self: &Arc<Self>, slot: &Arc<Slot>, hold: Hold) -> Result<Ticket, Refusal> {
        if self.is_refusing() {
            return Err(Refusal::ShuttingDown);
        }
        let Some(reservation) = self.held.reserve(1) else {
            self.metrics.bound_hit(Bound::Held);
            return Err(Refusal::Overloaded);
        };
        if let Some(port) = hold.port {
            slot.ports.lock().add(port);
        }
        let (sender, answer) = oneshot::channel();
        let arrived = self.clock.now();
        self.metrics.hold_started();
        let id = self.next_waiter(slot, |id| {
            let waiter = Caller { arrived, answer: sender };
            Event::Arrive(Arrival { id, waiter, deadline: hold.deadline, wakes: hold.wakes })
        });
        if self.is_refusing() {
            // It came behind whoever sent the others away: both had the agent's lock, so one of the two sees the other.
            self.handle(slot, Event::Ending);
        }
        let place = QueuePlace {
            slot: Arc::clone(slot),
            engine: Arc::clone(self),
            id,
            port: hold.port,
            arrived,
            end: End::Left,
            _held: reservation,
        };
        Ok(Ticket { answer, place })
    }
}

impl Future for Ticket {
    type Output = Result<Permit, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| {
            // The sender is dropped unanswered only with the engine itself.
            let answer = answer.unwrap_or(Err(Refusal::ShuttingDown));
            self.place.end = match &answer {
                Ok(_) => End::Served,
                Err(refusal) => End::Refused(refusal.clone()),
            };
            answer
        })
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        if let Some(port) = self.port {
            self.slot.ports.lock().remove(port);
        }
        let took = self.engine.clock().now().since(self.arrived);
        let metrics = &self.engine.metrics;
        match &self.end {
            End::Served => metrics.hold_finished(Ok(None), took),
            End::Refused(refusal) => metrics.hold_finished(Ok(Some(refusal)), took),
            End::Left => {
                self.engine.handle(&self.slot, Event::Leave(self.id));
                metrics.hold_finished(Err(()), took);
            }
        }
    }
}
