//! Who is connected to a server of few. When all places are taken, whoever has asked nothing for longest has to go: so a caller who
//! takes every place that there is keeps no kubelet out, and no Prometheus.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// All who are connected.
pub(super) struct Guests {
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    present: HashMap<u64, Guest>,
    /// Names guests, and tells what came before what.
    counter: u64,
}

struct Guest {
    /// When it last came in, asked, or was answered.
    stirred: u64,
    /// What it has asked is being worked on.
    is_served: bool,
    leave: CancellationToken,
}

/// A connection's place. Given back when dropped.
pub(super) struct Place {
    guests: Arc<Guests>,
    name: u64,
    leave: CancellationToken,
}

/// A request is being worked on, until this is dropped.
pub(super) struct Service<'a>(&'a Place);

impl Guests {
    /// With so many places.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, inner: Mutex::default() })
    }

    /// A place, for which somebody else may be asked to leave. `None` while everybody is being served.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut inner = self.inner.lock();
        if inner.present.len() >= self.most {
            let idle = inner.present.iter().filter(|(_, guest)| !guest.is_served);
            let name = *idle.min_by_key(|(_, guest)| guest.stirred)?.0;
            if let Some(guest) = inner.present.remove(&name) {
                guest.leave.cancel();
            }
        }
        inner.counter += 1;
        let (name, leave) = (inner.counter, CancellationToken::new());
        inner.present.insert(name, Guest { stirred: name, is_served: false, leave: leave.clone() });
        Some(Place { guests: Arc::clone(self), name, leave })
    }
}

impl Inner {
    fn stir(&mut self, name: u64, is_served: bool) {
        self.counter += 1;
        // It may have been asked to leave just now.
        if let Some(guest) = self.present.get_mut(&name) {
            (guest.stirred, guest.is_served) = (self.counter, is_served);
        }
    }
}

impl Place {
    /// Waits until it has to be given up.
    pub(super) async fn until_asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// A request came on its connection.
    pub(super) fn serve(&self) -> Service<'_> {
        self.guests.inner.lock().stir(self.name, true);
        Service(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.inner.lock().present.remove(&self.name);
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        self.0.guests.inner.lock().stir(self.0.name, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn must_leave(place: &Place) -> bool {
        place.leave.is_cancelled()
    }

    #[test]
    fn who_has_asked_nothing_for_longest_has_to_go() {
        let guests = Guests::new(3);
        let [first, second, third] = [(); 3].map(|()| guests.enter().unwrap());
        drop(first.serve());
        let _fourth = guests.enter().unwrap();
        assert_eq!([&first, &second, &third].map(must_leave), [false, true, false]);
        // What it does now does not matter any more.
        drop(second.serve());
        drop(second);
        let _fifth = guests.enter().unwrap();
        assert_eq!([&first, &third].map(must_leave), [false, true]);
    }

    #[test]
    fn who_is_being_served_stays_and_nobody_comes_in_while_all_are() {
        let guests = Guests::new(2);
        let [first, second] = [(); 2].map(|()| guests.enter().unwrap());
        let served = [first.serve(), second.serve()];
        assert!(guests.enter().is_none());
        assert!(![&first, &second].into_iter().any(must_leave));
        drop(served);
        assert!(guests.enter().is_some() && must_leave(&first));
    }

    #[test]
    fn who_has_left_is_nobody() {
        let guests = Guests::new(1);
        drop(guests.enter().unwrap());
        let one = guests.enter().unwrap();
        assert!(!must_leave(&one));
        assert_eq!(guests.inner.lock().present.len(), 1);
    }
}
