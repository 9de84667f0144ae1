//! The gate step by step. All interleavings of its steps are tried in `tests/loom`, which compiles `gate.rs` as it
//! stands; that is why these tests are not in it.

use std::time::Duration;

use super::gate::{Entry, Gate};
use crate::time::Moment;

const NO_LIMIT: u32 = u32::MAX;

fn at(seconds: u64) -> Moment {
    Moment::START + Duration::from_secs(seconds)
}

fn open_gate() -> Gate {
    let gate = Gate::default();
    gate.open(false);
    gate
}

#[test]
fn a_new_gate_is_closed_to_everybody() {
    let gate = Gate::default();
    assert!(!gate.is_open());
    assert_eq!(gate.enter(NO_LIMIT), Entry::Closed);
    assert_eq!(gate.enter_or_wait(NO_LIMIT), Entry::Closed);
    assert!(!gate.enter_from_queue(NO_LIMIT));
    assert!(!gate.close_if_idle(), "it cannot prove anything");
    assert_eq!((gate.in_flight(), gate.last_activity()), (0, Moment::START));
}

#[test]
fn each_that_enters_is_counted_until_it_leaves() {
    let gate = open_gate();
    for n in 1..=5 {
        assert_eq!((gate.enter(NO_LIMIT), gate.in_flight()), (Entry::Admitted, n));
    }
    for n in (0..5).rev() {
        assert!(!gate.leave(None));
        assert_eq!(gate.in_flight(), n);
    }
}

#[test]
fn it_closes_as_idle_only_if_nobody_is_in() {
    let gate = open_gate();
    assert_eq!(gate.enter(NO_LIMIT), Entry::Admitted);
    assert!(!gate.close_if_idle());
    assert!(gate.is_open());
    assert!(!gate.leave(None));
    assert!(gate.close_if_idle());
    assert!(!gate.is_open());
}

#[test]
fn it_closes_on_those_who_are_in_and_counts_them_on() {
    let gate = open_gate();
    assert_eq!(gate.enter(NO_LIMIT), Entry::Admitted);
    gate.close();
    assert_eq!((gate.enter(NO_LIMIT), gate.in_flight()), (Entry::Closed, 1));
    gate.open(false);
    assert_eq!((gate.enter(NO_LIMIT), gate.in_flight()), (Entry::Admitted, 2));
}

#[test]
fn a_full_gate_lets_nobody_in_by_any_way() {
    let gate = open_gate();
    assert_eq!(gate.enter(1), Entry::Admitted);
    assert_eq!(gate.enter(1), Entry::Full);
    assert!(!gate.enter_from_queue(1));
    assert_eq!(gate.enter_or_wait(1), Entry::Full);
    assert_eq!(gate.in_flight(), 1);
    assert_eq!(gate.enter(2), Entry::Full, "somebody waits by now");
    assert!(gate.enter_from_queue(2));
}

#[test]
fn only_who_found_it_full_leaves_the_mark_by_which_a_leaver_tells() {
    let gate = open_gate();
    assert_eq!(gate.enter_or_wait(2), Entry::Admitted);
    assert_eq!(gate.enter_or_wait(2), Entry::Admitted);
    assert!(!gate.leave(None), "nobody waits");
    assert_eq!((gate.enter_or_wait(2), gate.enter_or_wait(2)), (Entry::Admitted, Entry::Full));
    assert!(gate.leave(None), "somebody waits");
    assert!(gate.leave(None), "and still does, until the mark is cleared");
    gate.clear_waiting();
    assert_eq!(gate.enter(2), Entry::Admitted);
    assert!(!gate.leave(None));
}

#[test]
fn opening_to_a_queue_keeps_newcomers_behind_it_and_closing_forgets_it() {
    let gate = Gate::default();
    gate.open(true);
    assert_eq!((gate.enter(NO_LIMIT), gate.enter_or_wait(NO_LIMIT)), (Entry::Full, Entry::Full));
    assert!(gate.enter_from_queue(NO_LIMIT));
    gate.close();
    gate.open(false);
    assert_eq!(gate.enter(NO_LIMIT), Entry::Admitted);
    assert!(!gate.leave(None) && !gate.leave(None));

    gate.open(true);
    assert!(gate.close_if_idle());
    gate.open(false);
    assert_eq!(gate.enter(NO_LIMIT), Entry::Admitted);
}

#[test]
fn the_newest_activity_counts_in_whatever_order_it_is_told() {
    let gate = open_gate();
    for seconds in [5, 9, 3] {
        assert_eq!(gate.enter(NO_LIMIT), Entry::Admitted);
        assert!(!gate.leave(Some(at(seconds))));
    }
    assert_eq!(gate.last_activity(), at(9));
    gate.touch(at(8));
    assert_eq!(gate.last_activity(), at(9));
    gate.touch(at(10));
    assert_eq!(gate.last_activity(), at(10));
}

#[test]
fn every_opening_and_closing_begins_an_epoch_and_nothing_else_does() {
    let gate = Gate::default();
    let mut epochs = vec![gate.epoch()];
    gate.open(false);
    epochs.push(gate.epoch());
    assert_eq!(gate.enter(1), Entry::Admitted);
    assert_eq!(gate.enter_or_wait(1), Entry::Full);
    assert!(gate.leave(None));
    gate.clear_waiting();
    assert_eq!(gate.epoch(), epochs[1]);
    assert!(gate.close_if_idle());
    epochs.push(gate.epoch());
    gate.open(true);
    epochs.push(gate.epoch());
    gate.close();
    epochs.push(gate.epoch());
    assert_eq!(epochs, [0, 1, 2, 3, 4]);
}
