//! Runs the gate under loom, which tries every interleaving of its atomic steps, alone and together with the data that
//! moves on open connections.
//!
//! Both are compiled from the same files as in Drowse; only their `sync` is loom's.

#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "what is compiled here stands as it is")]

mod sync {
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    }
}

mod time {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    pub(crate) struct Moment(u64);

    impl Moment {
        pub(crate) const START: Self = Self(0);
        pub(crate) const fn from_micros(micros: u64) -> Self {
            Self(micros)
        }
        pub(crate) const fn as_micros(self) -> u64 {
            self.0
        }
    }
}

#[path = "../../../src/lifecycle/activity.rs"]
mod activity;
#[path = "../../../src/lifecycle/gate.rs"]
mod gate;

use activity::Activity;
use gate::{Entry, Gate};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::thread;
use time::Moment;

const NO_LIMIT: u32 = u32::MAX;

fn open_gate() -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    gate.open(false);
    gate
}

#[test]
fn a_gate_that_closed_as_idle_has_nobody_in_flight_and_lets_nobody_in() {
    loom::model(|| {
        let gate = open_gate();
        let pod_is_up = Arc::new(AtomicBool::new(true));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let (gate, pod_is_up) = (Arc::clone(&gate), Arc::clone(&pod_is_up));
                thread::spawn(move || {
                    if gate.enter(NO_LIMIT) == Entry::Admitted {
                        assert!(pod_is_up.load(Ordering::SeqCst), "a request reached a suspended pod");
                        let _ = gate.leave(None);
                    }
                })
            })
            .collect();
        if gate.close_if_idle() {
            pod_is_up.store(false, Ordering::SeqCst);
        }
        for caller in callers {
            caller.join().unwrap();
        }
    });
}

#[test]
fn who_closes_the_gate_as_idle_sees_every_activity_before_it() {
    loom::model(|| {
        let gate = open_gate();
        let served = Arc::new(AtomicU32::new(0));
        let caller = {
            let (gate, served) = (Arc::clone(&gate), Arc::clone(&served));
            thread::spawn(move || {
                if gate.enter(NO_LIMIT) == Entry::Admitted {
                    served.store(1, Ordering::SeqCst);
                    let _ = gate.leave(Some(Moment::from_micros(7)));
                }
            })
        };
        if gate.close_if_idle() && served.load(Ordering::SeqCst) == 1 {
            assert_eq!(gate.last_activity(), Moment::from_micros(7));
        }
        caller.join().unwrap();
    });
}

#[test]
fn whoever_waits_for_a_place_is_told_when_one_is_free() {
    loom::model(|| {
        let gate = open_gate();
        assert_eq!(gate.enter(1), Entry::Admitted);
        let told = Arc::new(AtomicBool::new(false));
        let leaver = {
            let (gate, told) = (Arc::clone(&gate), Arc::clone(&told));
            thread::spawn(move || {
                if gate.leave(None) {
                    told.store(true, Ordering::SeqCst);
                }
            })
        };
        let entry = gate.enter_or_wait(1);
        leaver.join().unwrap();
        match entry {
            Entry::Admitted => assert!(!told.load(Ordering::SeqCst), "nobody waits who is in"),
            Entry::Full => {
                assert!(told.load(Ordering::SeqCst), "the wake-up was lost");
                assert!(gate.enter_from_queue(1));
            }
            Entry::Closed => panic!("nobody closed it"),
        }
    });
}

#[test]
fn nobody_overtakes_those_who_wait_when_the_gate_opens() {
    loom::model(|| {
        let gate = Arc::new(Gate::default());
        let newcomer = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.enter(1) == Entry::Admitted)
        };
        gate.open(true);
        assert!(gate.enter_from_queue(1), "the first in the queue gets the place");
        gate.clear_waiting();
        assert!(!newcomer.join().unwrap());
    });
}

#[test]
fn no_more_are_in_flight_than_may_be() {
    loom::model(|| {
        let gate = open_gate();
        let inside = Arc::new(AtomicU32::new(0));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
                thread::spawn(move || {
                    if gate.enter(1) == Entry::Admitted {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        let _ = gate.leave(None);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        assert_eq!(gate.in_flight(), 0);
    });
}

/// The gate and the activity of one agent.
fn open_connection() -> (Arc<Gate>, Arc<Activity>) {
    let activity = Activity::default();
    activity.connection_opened(Moment::START);
    (open_gate(), Arc::new(activity))
}

/// A tunnel into which data has come: it notes it, and then looks whether it may pass it on.
fn tunnel(gate: &Arc<Gate>, activity: &Arc<Activity>) -> thread::JoinHandle<bool> {
    let (gate, activity) = (Arc::clone(gate), Arc::clone(activity));
    thread::spawn(move || {
        activity.note_data(Moment::from_micros(7));
        gate.is_open()
    })
}

/// As the machine closes for a suspension: true if it then suspends.
fn suspends(gate: &Gate, activity: &Activity) -> bool {
    if !gate.close_if_idle() {
        return false;
    }
    Activity::look_after_closing();
    let idle = activity.data() == Moment::START;
    if !idle {
        gate.open(false);
    }
    idle
}

/// Needs the fences on both sides: without either, each may miss what the other has just done.
#[test]
fn data_is_seen_before_a_suspension_or_the_closed_gate_is_seen_before_the_data_is_passed_on() {
    loom::model(|| {
        let (gate, activity) = open_connection();
        let passing = tunnel(&gate, &activity);
        let suspended = suspends(&gate, &activity);
        let passed = passing.join().unwrap();
        assert!(!(passed && suspended), "data was passed to an agent that was then suspended");
    });
}

/// The same where a request becomes an open connection meanwhile: at no moment there is neither.
#[test]
fn a_request_that_becomes_an_open_connection_is_seen_as_the_one_or_the_other() {
    loom::model(|| {
        let gate = open_gate();
        let activity = Arc::new(Activity::default());
        assert_eq!(gate.enter(NO_LIMIT), Entry::Admitted);
        let answered = {
            let (gate, activity) = (Arc::clone(&gate), Arc::clone(&activity));
            thread::spawn(move || {
                activity.connection_opened(Moment::from_micros(7));
                let _ = gate.leave(None);
            })
        };
        if gate.close_if_idle() {
            Activity::look_after_closing();
            assert_eq!(activity.connections(), 1, "neither a request nor a connection was there");
            assert_eq!(activity.connection_event(), Moment::from_micros(7));
        }
        answered.join().unwrap();
    });
}
