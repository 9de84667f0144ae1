//! What we want to hear of over a link, whether or not a connection stands: a set that changes, and how far the server
//! has taken note of it.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::codec;

/// Something to be told about.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Registration {
    /// The subject; may have wildcards.
    pub subject: Box<str>,
    /// As a member of this queue group; without one, a copy of every message.
    pub queue: Option<Box<str>>,
}

/// A state of the set: the server has taken note of it when [`Wanted::confirmed`] has reached it.
pub type Version = u64;

/// Denied subjects that are tried again at once at most.
const TRIED_AGAIN: usize = 4;

/// The set of registrations.
#[derive(Debug)]
pub struct Wanted {
    state: Mutex<State>,
    changed: Notify,
    confirmed: watch::Sender<Version>,
}

#[derive(Debug, Default)]
struct State {
    set: HashSet<Registration>,
    /// Subjects that the server does not let us register, and the number of the denial; it closes the connection over each.
    denied: HashMap<Box<str>, u64>,
    /// How many there were.
    denials: u64,
    version: Version,
    /// Up to which version everything was handed to the connection.
    sent: Version,
    /// Lines that the connection has yet to send. Empty while there is none: then the whole set is sent with the next one.
    unsent: String,
    connected: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), confirmed: watch::Sender::new(0) }
    }
}

impl Wanted {
    /// Adds a registration, and tells when it is confirmed. One that is there already stays.
    pub fn add(&self, registration: Registration) -> Version {
        self.change(|state| {
            let Registration { subject, queue } = &registration;
            if state.set.contains(&registration) {
                return false;
            }
            if state.connected && !state.denied.contains_key(subject) {
                codec::subscribe(&mut state.unsent, subject, queue.as_deref());
            }
            state.set.insert(registration);
            true
        })
    }

    /// Takes a registration back.
    pub fn remove(&self, registration: &Registration) -> Version {
        self.change(|state| {
            let there = state.set.remove(registration);
            if there && state.connected {
                let Registration { subject, queue } = registration;
                codec::unsubscribe(&mut state.unsent, subject, queue.as_deref());
            }
            there
        })
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) -> Version {
        let mut state = self.state.lock();
        if change(&mut state) {
            state.version += 1;
            self.changed.notify_one();
        }
        state.version
    }

    /// The state of the set at present.
    pub fn version(&self) -> Version {
        self.state.lock().version
    }

    /// The server does not let us register this subject: it is left out from now on.
    pub(super) fn deny(&self, subject: &str) {
        let mut state = self.state.lock();
        state.denials += 1;
        let number = state.denials;
        state.denied.insert(subject.into(), number);
    }

    /// Some of what was denied is tried with the next connection: permissions may have changed. Not all at once, since each that is
    /// still denied costs a connection.
    pub(super) fn try_again(&self) {
        let mut state = self.state.lock();
        let mut oldest: Vec<_> = state.denied.values().copied().collect();
        oldest.sort_unstable();
        oldest.truncate(TRIED_AGAIN);
        state.denied.retain(|_, number| !oldest.contains(number));
    }

    /// Whether the server does not let us register this subject.
    pub fn is_denied(&self, subject: &str) -> bool {
        self.state.lock().denied.contains_key(subject)
    }

    /// Whether the server has taken note up to here.
    pub fn is_confirmed(&self, version: Version) -> bool {
        *self.confirmed.borrow() >= version
    }

    /// Up to which version the server has taken note. Falls back to 0 while there is no connection.
    pub fn confirmed(&self) -> watch::Receiver<Version> {
        self.confirmed.subscribe()
    }

    /// A connection begins: everything, as lines.
    pub(super) fn begin(&self) -> (String, Version) {
        let mut state = self.state.lock();
        let mut lines = String::with_capacity(state.set.len() * 40);
        let allowed = |registration: &&Registration| !state.denied.contains_key(&registration.subject);
        for Registration { subject, queue } in state.set.iter().filter(allowed) {
            codec::subscribe(&mut lines, subject, queue.as_deref());
        }
        state.unsent.clear();
        state.connected = true;
        state.sent = state.version;
        (lines, state.version)
    }

    /// What has changed since, if anything has: that may be no lines, if it is denied, and is confirmed all the same.
    pub(super) fn take_unsent(&self) -> Option<(String, Version)> {
        let mut state = self.state.lock();
        let is_news = state.connected && state.sent < state.version;
        state.sent = state.version;
        is_news.then(|| (std::mem::take(&mut state.unsent), state.version))
    }

    /// Waits until there may be something unsent.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The server has taken note up to here.
    pub(super) fn confirm(&self, version: Version) {
        self.confirmed.send_replace(version);
    }

    /// The connection has ended.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.connected = false;
        state.unsent = String::new();
        drop(state);
        self.confirmed.send_replace(0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(subject: &str, queue: Option<&str>) -> Registration {
        Registration { subject: subject.into(), queue: queue.map(Into::into) }
    }

    #[test]
    fn what_changes_while_connected_is_sent_in_order_and_once() {
        let wanted = Wanted::default();
        wanted.add(of("early", Some("q")));
        assert_eq!(wanted.take_unsent(), None, "there is no connection");
        assert_eq!(wanted.begin(), ("LS+ early q 1\r\n".to_owned(), 1));
        wanted.add(of("a", Some("q")));
        assert_eq!(wanted.add(of("a", Some("q"))), 2, "it is there already");
        wanted.add(of("a", None));
        wanted.remove(&of("a", Some("q")));
        wanted.remove(&of("never", None));
        let lines = "LS+ a q 1\r\nLS+ a\r\nLS- a q\r\n".to_owned();
        assert_eq!(wanted.take_unsent(), Some((lines, 4)));
        assert_eq!(wanted.take_unsent(), None);
    }

    #[test]
    fn what_the_server_denies_is_left_out_of_the_next_connection() {
        let wanted = Wanted::default();
        wanted.add(of("a", None));
        wanted.add(of("b", None));
        wanted.begin();
        wanted.deny("a");
        wanted.end();
        assert_eq!(wanted.begin().0, "LS+ b\r\n");
    }

    #[test]
    fn some_of_what_was_denied_is_tried_again() {
        let wanted = Wanted::default();
        for number in 0..=TRIED_AGAIN {
            wanted.add(of(&number.to_string(), None));
            wanted.deny(&number.to_string());
        }
        assert_eq!(wanted.begin().0, "");
        wanted.end();
        let begun = || wanted.begin().0.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        wanted.try_again();
        assert_eq!(begun(), ["LS+ 0", "LS+ 1", "LS+ 2", "LS+ 3"].map(str::to_owned).into());
        // Still denied. Whoever has not been tried comes first.
        (0..TRIED_AGAIN).for_each(|number| wanted.deny(&number.to_string()));
        wanted.end();
        wanted.try_again();
        assert_eq!(begun(), ["LS+ 0", "LS+ 1", "LS+ 2", "LS+ 4"].map(str::to_owned).into());
    }

    #[test]
    fn a_change_that_the_server_denies_is_confirmed_too() {
        let wanted = Wanted::default();
        wanted.begin();
        wanted.deny("a");
        assert_eq!(wanted.add(of("a", None)), 1);
        assert_eq!(wanted.take_unsent(), Some((String::new(), 1)), "a ping of the link follows it");
        assert_eq!(wanted.take_unsent(), None);
        wanted.confirm(1);
        assert!(wanted.is_confirmed(1) && !wanted.is_confirmed(2));
    }

    #[test]
    fn a_new_connection_is_told_everything_anew() {
        let wanted = Wanted::default();
        wanted.begin();
        wanted.add(of("a", None));
        wanted.confirm(1);
        wanted.end();
        assert_eq!(*wanted.confirmed().borrow(), 0);
        wanted.add(of("b", None));
        let (lines, version) = wanted.begin();
        assert_eq!((lines.lines().count(), version), (2, 2));
        assert_eq!(wanted.take_unsent(), None);
    }
}
