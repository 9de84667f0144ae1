//! Asking an agent whether it is at work. It goes by the pool of the life that is meant, and ends with that life; it is no
//! request: it takes no place at the gate, and is no activity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Life;
use crate::lifecycle::{CallId, Event};
use crate::metrics::Bound;
use crate::policy::ping::{PingAnswer, PingFault, PingFaultKind};
use crate::units::{PingTarget, Port};
use crate::upstream::Upstream;
use crate::upstream::ping::{PingError, ping};

use super::{Engine, Slot};

/// Agents that are asked at once at most. An answer takes a millisecond or two, so this is a matter of those that give none.
pub(super) const MAX_PINGS: usize = 64;
/// How long the turn to ask is waited for. Less than the machine waits, with the time to answer.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// How long an agent has for its answer. The contract wants it at once; a machine that is busy may take a second or two.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl Engine {
    /// Asks this life, and tells the machine. If that life is over, there is nobody to ask and nothing to tell.
    pub(super) fn ping(self: &Arc<Self>, slot: &Arc<Slot>, id: CallId, life: &Life, target: PingTarget) {
        let upstream = slot.upstream.load_full().filter(|upstream| upstream.life == *life);
        let Some(upstream) = upstream else { return };
        let (engine, slot) = (Arc::clone(self), Arc::clone(slot));
        self.spawn(async move {
            let answer = tokio::select! {
                () = upstream.ended.cancelled() => return,
                answer = engine.ask_in_turn(&slot, &upstream, &target) => answer,
            };
            tracing::debug!(agent = %slot.key(), %target, ?answer, "the agent was asked whether it is at work");
            engine.metrics.pings().answered(&answer);
            engine.handle(&slot, Event::Pinged { id, answer });
        });
    }

    async fn ask_in_turn(&self, slot: &Slot, upstream: &Upstream, target: &PingTarget) -> PingAnswer {
        let _turn = if let Ok(turn) = self.pings.try_acquire() {
            turn
        } else {
            self.metrics.bound_hit(Bound::Pings);
            match tokio::time::timeout(TURN_WITHIN, self.pings.acquire()).await {
                Ok(Ok(turn)) => turn,
                _ => return PingAnswer::NotAsked,
            }
        };
        let own = slot.default_port();
        let port = target.port.map_or(own, Port::get);
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.ask(slot, upstream, port, &target.path));
        let failed = |kind, seen: String| {
            let detail = format!("GET {} on port {port}: {seen}", target.path);
            PingAnswer::Failed(PingFault::new(kind, detail))
        };
        match asked.await {
            Err(_) => failed(PingFaultKind::TimedOut, format!("no answer within {ANSWER_WITHIN:?}")),
            Ok(Err((kind, seen))) => failed(kind, seen),
            Ok(Ok((status, content))) => match PingAnswer::read(status, &content) {
                PingAnswer::Failed(fault) => failed(fault.kind, fault.detail.to_string()),
                answer => answer,
            },
        }
    }

    async fn ask(
        &self,
        slot: &Slot,
        upstream: &Upstream,
        port: u16,
        path: &str,
    ) -> Result<(u16, Vec<u8>), (PingFaultKind, String)> {
        let profile = slot.profile();
        if profile.only_port && profile.port != Some(port) {
            let other = "it has no other port than its own, since it shares its address";
            return Err((PingFaultKind::Unreachable, other.to_owned()));
        }
        let authority = SocketAddr::new(upstream.address, port).to_string();
        let protocol = slot.policy().protocol;
        loop {
            let (mut connection, fresh) = match upstream.pool.take(port, protocol) {
                Some(connection) => (connection, false),
                None => {
                    let place = upstream.place_to_dial(port).await;
                    let dialled = self.dial(slot, upstream, port, protocol, place).await;
                    (dialled.map_err(|error| (PingFaultKind::Unreachable, error.to_string()))?, true)
                }
            };
            let error = match ping(&mut connection, &authority, path).await {
                Ok(answer) => {
                    upstream.pool.put(port, connection);
                    return Ok(answer);
                }
                Err(PingError::Unsent) if !fresh => continue,
                Err(error) => error,
            };
            let kind = match error {
                PingError::TooLong => PingFaultKind::Invalid,
                _ => PingFaultKind::Unreachable,
            };
            return Err((kind, error.to_string()));
        }
    }
}
