//! The metrics of the message door.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::RESUME_SECONDS;
use super::family::{By, Families};
use super::labels::MessageFate;

/// The metrics of the message door. All methods are wait-free.
pub struct MessageMetrics {
    ended: By<MessageFate, IntCounter>,
    held: IntGauge,
    hold_seconds: Histogram,
    returned: IntCounter,
    stores_lost: IntCounter,
    link_up: IntGauge,
}

impl MessageMetrics {
    pub(super) fn register(to: &Families<'_>) -> Self {
        Self {
            ended: to.counter_by(
                "drowse_messages_total",
                "Messages that came for agents which did not take them, by what became of them.",
                "fate",
            ),
            held: to.gauge("drowse_held_messages", "Messages that wait for an agent now."),
            hold_seconds: to.histogram(
                "drowse_message_hold_duration_seconds",
                "How long messages waited for an agent.",
                &RESUME_SECONDS,
            ),
            returned: to.counter(
                "drowse_messages_returned_total",
                "Messages that were sent on and came back, because the agent had vanished.",
            ),
            stores_lost: to.counter(
                "drowse_hold_streams_lost_total",
                "How often somebody had deleted the hold stream, or it was made anew; what waited was stored again.",
            ),
            link_up: to.gauge(
                "drowse_nats_link_up",
                "1 while the leaf-node link to NATS stands; without it, messages for sleeping agents are lost.",
            ),
        }
    }

    /// A message came that its agent did not take, and waits.
    pub fn held(&self) {
        self.held.inc();
    }

    /// A message that waited does so no longer.
    pub fn ended(&self, fate: MessageFate, waited: Duration) {
        self.held.dec();
        self.ended.get(fate).inc();
        self.hold_seconds.observe(waited.as_secs_f64());
    }

    /// A message was not let wait.
    pub fn refused(&self, fate: MessageFate) {
        self.ended.get(fate).inc();
    }

    /// A message that was sent on came back.
    pub fn came_back(&self) {
        self.returned.inc();
    }

    /// The hold stream was deleted.
    pub fn store_lost(&self) {
        self.stores_lost.inc();
    }

    /// The leaf-node link stands, or does not.
    pub fn link(&self, up: bool) {
        self.link_up.set(i64::from(up));
    }
}
