//! The queue in front of the gate: its bounds, its order, and that nobody is left in it.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::lifecycle::{Entry, Event};

use super::bench::{Bench, HOLD};
use super::show::show;
use super::station::Station;

fn limited(limit: u32) -> Bench {
    let mut bench = Bench::at(Station::Running);
    bench.policy.max_in_flight = NonZeroU32::new(limit);
    bench
}

#[test]
fn no_more_wait_than_may_and_a_place_that_is_left_is_free_at_once() {
    let mut bench = Bench::at(Station::AwaitingPod);
    bench.policy.max_held = 2;
    bench.call(1);
    bench.call(2).is("Resuming AwaitingPod", "");
    bench.call(3).is("Resuming AwaitingPod", "refuse 3 queue_full");
    bench.leaves(1).is("Resuming AwaitingPod", "");
    bench.call(4).is("Resuming AwaitingPod", "");
    assert_eq!(bench.machine.held(), 2);
}

#[test]
fn callers_are_let_in_in_order_of_arrival_and_no_more_than_may() {
    let mut bench = Bench::at(Station::Probing);
    bench.policy.max_in_flight = NonZeroU32::new(2);
    for caller in 1..=4 {
        bench.call(caller);
    }
    bench.leaves(2);
    bench.answers("p1").is("Running p1", "end turn, release 1, release 3");
    assert_eq!(bench.enter(), Entry::Full, "nobody overtakes");
    assert!(bench.leave_gate());
    bench.feed(Event::PlaceFreed).is("Running p1", "release 4");
    assert!(!bench.leave_gate(), "nobody waits any more");
    assert_eq!(bench.enter(), Entry::Admitted);
}

#[test]
fn a_caller_that_finds_a_place_meanwhile_does_not_wait() {
    let mut bench = Bench::at(Station::Running);
    bench.call(1).is("Running p1", "release 1");
    assert_eq!(bench.gate.in_flight(), 1);
}

#[test]
fn a_caller_at_a_full_agent_waits_for_a_place_and_no_longer_than_it_wants() {
    let mut bench = limited(1);
    assert_eq!(bench.enter(), Entry::Admitted);
    bench.call(1).is("Running p1", "");
    bench.call(2).is("Running p1", "");
    bench.after(HOLD).is("Running p1", "refuse 1 hold_timed_out, refuse 2 hold_timed_out");
    assert!(!bench.leave_gate(), "nobody waits any more");
    assert_eq!(bench.enter(), Entry::Admitted);
}

#[test]
fn a_caller_that_was_refused_at_a_full_agent_leaves_no_mark() {
    let mut bench = limited(1);
    bench.policy.max_held = 0;
    assert_eq!(bench.enter(), Entry::Admitted);
    bench.call(1).is("Running p1", "refuse 1 queue_full");
    assert!(!bench.leave_gate(), "nobody waits");
    assert_eq!(bench.enter(), Entry::Admitted);
}

#[test]
fn a_caller_that_leaves_a_full_agent_leaves_no_mark() {
    let mut bench = limited(1);
    assert_eq!(bench.enter(), Entry::Admitted);
    bench.call(1).is("Running p1", "");
    bench.leaves(1).is("Running p1", "");
    assert!(!bench.leave_gate(), "nobody waits");
}

#[test]
fn a_raised_limit_lets_in_those_who_wait_at_the_next_tick() {
    let mut bench = limited(1);
    assert_eq!(bench.enter(), Entry::Admitted);
    bench.call(1);
    bench.call(2).is("Running p1", "");
    bench.policy.max_in_flight = NonZeroU32::new(3);
    bench.tick().is("Running p1", "release 1, release 2");
}

#[test]
fn an_operator_that_looks_between_a_leaver_and_its_news_loses_nobodys_place() {
    let mut bench = limited(1);
    assert_eq!(bench.enter(), Entry::Admitted);
    bench.call(1).is("Running p1", "");
    assert!(bench.leave_gate());
    // Before the machine hears of the place, an operator wants the agent down.
    bench.suspend_now().is("Running p1", "");
    assert_eq!(bench.enter(), Entry::Full, "nobody overtakes");
    bench.feed(Event::PlaceFreed).is("Running p1", "release 1");
}

#[test]
fn each_caller_has_its_own_deadline_in_every_phase() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        bench.arrive(1, Duration::from_millis(300), true);
        bench.arrive(2, Duration::from_millis(200), true);
        let waits = |b: &Bench, caller| b.machine.held() > 0 && !b.oracle.ended.contains_key(&caller);
        let (one, two) = (waits(&bench, 1), waits(&bench, 2));
        bench.after(Duration::from_millis(200));
        assert!(!two || bench.oracle.ended.contains_key(&2), "{station:?}");
        assert!(!one || waits(&bench, 1) || bench.oracle.ended.contains_key(&1), "{station:?}");
        bench.after(Duration::from_millis(100));
        assert_eq!(bench.machine.held(), 0, "{station:?}");
        bench.leaves(1);
        bench.leaves(2);
        assert!(bench.machine.next_deadline().is_none_or(|at| at > bench.now) || station == Station::Probing);
    }
}

#[test]
fn the_machine_asks_for_a_tick_when_the_first_caller_runs_out_of_time() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1);
    bench.arrive(2, Duration::from_secs(5), true);
    assert_eq!(bench.machine.next_deadline(), Some(bench.now + Duration::from_secs(5)));
    bench.at_deadline().is("Resuming Paced", "refuse 2 hold_timed_out");
    assert_eq!(bench.machine.next_deadline(), Some(bench.now + HOLD - Duration::from_secs(5)));
}

#[test]
fn who_leaves_without_having_waited_is_no_event() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        let phase = show(bench.machine.phase());
        bench.leaves(99).is(&phase, "");
    }
}
