//! Finding out when an agent answers, and that it is the one that is meant (guard IDENT).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::agent::{Generation, Life};
use crate::lifecycle::{Event, Readiness};
use crate::policy::messages::Ready;
use crate::upstream::pool::Pool;
use crate::upstream::{MAX_DIALS, Upstream, probe, ready};

use super::{Engine, Slot};

/// How soon the question who answers there is asked again; it doubles, up to the second one.
const ATTEST_RETRY: Duration = Duration::from_millis(50);
const ATTEST_RETRY_MAX: Duration = Duration::from_secs(2);

/// Stands for "no connection, only that life" in [`crate::backend::Backend::attest`].
const NO_PORT: u16 = 0;

/// One life, and how to find out whether it is ready.
pub(super) struct Target {
    pub(super) life: Life,
    pub(super) address: IpAddr,
    /// Of the object when this began.
    pub(super) generation: Generation,
    pub(super) readiness: Option<Arc<Readiness>>,
}

/// Where a life answered.
struct Answer {
    port: u16,
    /// The connection on which it answered; none of an agent that is up when it subscribes.
    stream: Option<TcpStream>,
    /// How long it took to be told that it is this life.
    attest: Duration,
}

impl Engine {
    /// Probes one life until it answers or the token is cancelled.
    pub(super) fn probe(self: &Arc<Self>, slot: &Arc<Slot>, target: Target, cancel: CancellationToken) {
        let (engine, slot) = (Arc::clone(self), Arc::clone(slot));
        self.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                answer = engine.find_answer(&slot, &target) => {
                    engine.answered(&slot, target, answer);
                }
            }
        });
    }

    /// Bounded by the caller, who cancels it when the start counts as failed.
    async fn find_answer(&self, slot: &Arc<Slot>, target: &Target) -> Answer {
        let Target { life, address, readiness, .. } = target;
        let (address, mut pause) = (*address, ATTEST_RETRY);
        if let Some(readiness) = readiness {
            ready::until_ready(address, readiness).await;
        }
        loop {
            let ready = slot.policy().ready;
            let (port, stream) = tokio::select! {
                found = first_sign(slot, address, ready) => found,
                // Somebody has corrected it.
                () = slot.until_ready_is_not(ready) => continue,
            };
            let asked = self.clock.now();
            match self.backend.attest(slot.key(), life, SocketAddr::new(address, port)).await {
                Ok(true) => return Answer { port, stream, attest: self.clock.now().since(asked) },
                Ok(false) => tracing::debug!(
                    agent = %slot.key(), pod = %life.pod.0, %address, port,
                    "something answers at the agent's address that is not this agent; not using it"
                ),
                Err(error) => {
                    tracing::warn!(agent = %slot.key(), error, "cannot tell yet who answers at the agent's address");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ATTEST_RETRY_MAX);
        }
    }

    /// Whether a connection to this life that has just been made may carry a request. While the watch is broken for
    /// long, only if a read past every cache says so. An error is "cannot tell".
    pub(super) async fn vouch(&self, slot: &Slot, life: &Life, at: SocketAddr) -> Result<bool, String> {
        if self.trust.holds(self.clock.now()) {
            return Ok(true);
        }
        self.backend.attest(slot.key(), life, at).await
    }

    /// Publishes where requests go, then lets the machine open the gate: both under the machine's lock.
    fn answered(self: &Arc<Self>, slot: &Arc<Slot>, target: Target, answer: Answer) {
        let Target { life, address, generation, .. } = target;
        let Answer { port, stream, attest } = answer;
        let machine = slot.machine.lock();
        if machine.awaits(&life, address, generation) {
            let upstream = Upstream {
                life: life.clone(),
                address,
                ready_port: port,
                ready_at: self.clock.now(),
                attest,
                dials: Semaphore::new(MAX_DIALS),
                ended: CancellationToken::new(),
                pool: stream.map_or_else(Pool::default, |stream| Pool::with_first(port, stream)),
            };
            slot.upstream.store(Some(Arc::new(upstream)));
            self.handle_locked(slot, machine, Event::Answers(life));
        }
    }
}

/// Waits until an agent answers or subscribes; the port, and the connection on which it answered.
async fn first_sign(slot: &Slot, address: IpAddr, ready: Ready) -> (u16, Option<TcpStream>) {
    match ready {
        Ready::Messages => {
            slot.until_subscribed().await;
            (NO_PORT, None)
        }
        Ready::Port => {
            let (port, stream) = probe::until_answers(address, || slot.ports_to_probe()).await;
            (port, Some(stream))
        }
    }
}
