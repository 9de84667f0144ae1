//! What keeps an agent up besides its requests: messages, open connections, and whoever says that it is busy. Written without the agent's
//! lock, and read under it.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use crate::time::Moment;

/// The last signs of one agent's activity, as moments; [`Moment::START`] is never.
#[derive(Debug, Default)]
pub struct Activity {
    message: AtomicU64,
    unanswered_until: AtomicU64,
    leased_until: AtomicU64,
    subscribed: AtomicBool,
    waiting: AtomicU32,
    connections: AtomicU32,
    connection_opened: AtomicU64,
    connection_ended: AtomicU64,
    data: AtomicU64,
    elsewhere: AtomicU64,
    used_elsewhere_until: AtomicU64,
    leased_elsewhere_until: AtomicU64,
}

impl Activity {
    /// A message went to it or came from it. An older moment never replaces a newer one.
    pub fn note_message(&self, at: Moment) {
        self.message.fetch_max(at.as_micros(), Ordering::AcqRel);
    }

    /// The last message.
    pub fn message(&self) -> Moment {
        Moment::from_micros(self.message.load(Ordering::Acquire))
    }

    /// It owes an answer, and is given until then for it; [`Moment::START`]: it owes none.
    pub fn set_unanswered_until(&self, until: Moment) {
        self.unanswered_until.store(until.as_micros(), Ordering::Release);
    }

    /// Until when it is waited for because it owes an answer.
    pub fn unanswered_until(&self) -> Moment {
        Moment::from_micros(self.unanswered_until.load(Ordering::Acquire))
    }

    /// It is said to be busy until then.
    pub fn set_leased_until(&self, until: Moment) {
        self.leased_until.store(until.as_micros(), Ordering::Release);
    }

    /// Until when it is said to be busy.
    pub fn leased_until(&self) -> Moment {
        Moment::from_micros(self.leased_until.load(Ordering::Acquire))
    }

    /// It was active then by way of another replica. An older moment never replaces a newer one.
    pub fn note_elsewhere(&self, at: Moment) {
        self.elsewhere.fetch_max(at.as_micros(), Ordering::AcqRel);
    }

    /// When it was last active by way of another replica, as far as that was told.
    pub fn elsewhere(&self) -> Moment {
        Moment::from_micros(self.elsewhere.load(Ordering::Acquire))
    }

    /// Another replica says that it is in use there, and is believed until then; [`Moment::START`]: nobody says so (any more).
    pub fn set_used_elsewhere_until(&self, until: Moment) {
        self.used_elsewhere_until.store(until.as_micros(), Ordering::Release);
    }

    /// Until when it counts as in use by way of another replica.
    pub fn used_elsewhere_until(&self) -> Moment {
        Moment::from_micros(self.used_elsewhere_until.load(Ordering::Acquire))
    }

    /// It is said to be busy until then by a lease whose last order another replica carried out.
    pub fn set_leased_elsewhere_until(&self, until: Moment) {
        self.leased_elsewhere_until.store(until.as_micros(), Ordering::Release);
    }

    /// Until when leases of other replicas say that it is busy.
    pub fn leased_elsewhere_until(&self) -> Moment {
        Moment::from_micros(self.leased_elsewhere_until.load(Ordering::Acquire))
    }

    /// Somebody takes messages in its name, or nobody does.
    pub fn set_subscribed(&self, subscribed: bool) {
        self.subscribed.store(subscribed, Ordering::Release);
    }

    /// Whether somebody takes messages in its name.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Acquire)
    }

    /// So many messages wait for it.
    pub fn set_waiting(&self, messages: usize) {
        self.waiting.store(u32::try_from(messages).unwrap_or(u32::MAX), Ordering::Release);
    }

    /// How many messages wait for it.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// A connection to it stays open without a request.
    pub fn connection_opened(&self, at: Moment) {
        self.connection_opened.fetch_max(at.as_micros(), Ordering::AcqRel);
        self.connections.fetch_add(1, Ordering::AcqRel);
    }

    /// Such a connection has ended.
    pub fn connection_closed(&self, at: Moment) {
        self.connection_ended.fetch_max(at.as_micros(), Ordering::AcqRel);
        self.connections.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many connections to it are open without a request.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Acquire)
    }

    /// When the last of them ended.
    pub fn connection_ended(&self) -> Moment {
        Moment::from_micros(self.connection_ended.load(Ordering::Acquire))
    }

    /// When anything last happened to one of them: it opened or ended, or data has come.
    pub fn connection_event(&self) -> Moment {
        let opened = Moment::from_micros(self.connection_opened.load(Ordering::Acquire));
        opened.max(self.connection_ended()).max(self.data())
    }

    /// Data has come on an open connection. Whoever then finds the gate open may pass it on: the fence here and the
    /// one in [`Activity::look_after_closing`] see to it that the gate is closed before that look, or the look at this
    /// data comes after it was noted.
    pub fn note_data(&self, at: Moment) {
        self.data.fetch_max(at.as_micros(), Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Stands between closing the gate and looking at what was noted.
    pub fn look_after_closing() {
        fence(Ordering::SeqCst);
    }

    /// The last data on an open connection.
    pub fn data(&self) -> Moment {
        Moment::from_micros(self.data.load(Ordering::Acquire))
    }
}
