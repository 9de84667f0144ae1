//! When an agent counts as idle: lazy timers, and what keeps it up.

use std::time::Duration;

use crate::lifecycle::Entry;
use crate::policy::idle::{Says, Source};
use crate::time::Moment;
use crate::units::{Windows, Written};

use super::bench::{Bench, IDLE, LONG};
use super::station::Station;

#[test]
fn the_idle_timeout_runs_from_the_start_if_nobody_calls() {
    let mut bench = Bench::at(Station::Running);
    let up = bench.now;
    bench.at_deadline();
    while bench.gate.is_open() {
        bench.at_deadline();
    }
    assert_eq!(bench.now.since(up), IDLE);
}

#[test]
fn a_request_sets_no_timer_but_the_timer_looks_at_it() {
    let mut bench = Bench::at(Station::Running);
    bench.at_deadline().is("Running p1", "");
    let armed = bench.machine.next_deadline();
    bench.now = bench.now + IDLE / 2;
    assert_eq!(bench.enter(), Entry::Admitted);
    assert!(!bench.leave_gate());
    let touched = bench.now;
    assert_eq!(bench.machine.next_deadline(), armed, "nothing was armed");
    bench.at_deadline().is("Running p1", "");
    bench.at_deadline().is("Draining Writing", "suspend");
    assert_eq!(bench.now.since(touched), IDLE);
}

#[test]
fn a_request_in_flight_keeps_it_up_however_long_it_takes() {
    let mut bench = Bench::at(Station::Running);
    assert_eq!(bench.enter(), Entry::Admitted);
    for _ in 0..20 {
        bench.at_deadline().is("Running p1", "");
    }
    assert!(!bench.leave_gate());
    let ended = bench.now;
    while bench.gate.is_open() {
        bench.at_deadline();
    }
    assert!(bench.now.since(ended) >= IDLE && bench.now.since(ended) <= IDLE * 2);
}

#[test]
fn what_does_not_count_as_activity_does_not_keep_it_up() {
    let mut bench = Bench::at(Station::Running);
    bench.now = bench.now + IDLE;
    assert_eq!(bench.enter(), Entry::Admitted);
    assert!(!bench.gate.leave(None));
    bench.tick().is("Draining Writing", "suspend");
}

#[test]
fn it_stays_up_for_min_running_after_a_start() {
    let mut bench = Bench::at(Station::Probing);
    bench.policy.min_running = LONG;
    bench.answers("p1");
    let up = bench.now;
    while bench.gate.is_open() {
        bench.at_deadline();
    }
    assert_eq!(bench.now.since(up), LONG);
}

/// The agent has just come up, and it is 01:00.
fn with_windows(text: &str) -> Bench {
    let mut bench = Bench::at(Station::Running);
    bench.policy.keep_awake = Windows::read(text).unwrap();
    bench
}

fn minutes(count: u32) -> Duration {
    Duration::from_mins(1) * count
}

#[test]
fn it_stays_up_while_a_window_is_open_and_is_suspended_when_that_closes() {
    let mut bench = with_windows("30 0 * * * for 1h UTC");
    let up = bench.now;
    while bench.gate.is_open() {
        bench.at_deadline();
    }
    assert_eq!(bench.now.since(up), minutes(30));
}

#[test]
fn a_window_that_opens_while_it_is_idle_prevents_the_suspension() {
    let mut bench = with_windows("2 1 * * * for 1h UTC");
    bench.policy.idle_timeout = minutes(2);
    bench.after(minutes(2)).is("Running p1", "");
    bench.after(minutes(59)).is("Running p1", "");
    bench.after(minutes(1)).is("Draining Writing", "suspend");
}

#[test]
fn a_window_that_opens_before_another_closes_is_seen_at_its_end() {
    let mut bench = with_windows("0 1 * * * for 10m UTC; 9 1 * * * for 11m UTC");
    let up = bench.now;
    while bench.gate.is_open() {
        bench.at_deadline();
    }
    assert_eq!(bench.now.since(up), minutes(20));
}

#[test]
fn a_calendar_that_is_set_is_believed_within_minutes() {
    // Forward, out of the window.
    let mut bench = with_windows("0 1 * * * for 10h UTC");
    bench.after(minutes(10)).is("Running p1", "");
    bench.epoch += minutes(24 * 60 - 120);
    let set = bench.now;
    bench.at_deadline().is("Draining Writing", "suspend");
    assert!(bench.now.since(set) <= minutes(5));
    // Back, into it once more.
    let mut bench = with_windows("0 1 * * * for 10m UTC");
    bench.after(minutes(9)).is("Running p1", "");
    bench.epoch -= minutes(5);
    bench.after(minutes(1)).is("Running p1", "");
    bench.after(minutes(5)).is("Draining Writing", "suspend");
}

#[test]
fn a_window_wakes_nobody_and_stops_no_operator() {
    let mut bench = Bench::at(Station::Suspended);
    bench.policy.keep_awake = Windows::read("* * * * * for 1h UTC").unwrap();
    bench.after(LONG).is("Suspended", "");
    let mut bench = with_windows("* * * * * for 1h UTC");
    bench.after(LONG).is("Running p1", "");
    bench.suspend_now().is("Draining Writing", "suspend");
}

#[test]
fn an_operators_demand_counts_as_activity() {
    let mut bench = Bench::at(Station::Running);
    bench.now = bench.now + IDLE - Duration::from_secs(1);
    bench.demand().is("Running p1", "");
    bench.after(Duration::from_secs(1)).is("Running p1", "");
    bench.after(IDLE).is("Draining Writing", "suspend");
}

#[test]
fn a_tick_that_comes_early_or_late_decides_nothing_wrong() {
    let mut bench = Bench::at(Station::Running);
    for _ in 0..59 {
        bench.after(Duration::from_secs(1)).is("Running p1", "");
    }
    let mut bench = Bench::at(Station::Running);
    bench.gate.touch(bench.now + LONG);
    bench.after(LONG).is("Running p1", "");
}

#[test]
fn the_signals_say_what_keeps_it_up() {
    let says = |bench: &Bench| -> Vec<(Source, Says)> {
        let signals = bench.machine.signals(&bench.policy, bench.now, bench.calendar());
        signals.into_iter().map(|signal| (signal.source, signal.says)).collect()
    };
    let mut bench = Bench::new();
    assert_eq!(says(&bench), []);
    bench.call(1);
    assert_eq!(says(&bench), [(Source::Requests, Says::Busy)]);
    bench.leaves(1);
    let mut bench = Bench::at(Station::Running);
    let up = bench.now;
    bench.policy.min_running = IDLE;
    let started = [(Source::MinRunning, Says::BusyUntil(up + IDLE)), (Source::Start, Says::LastActive(up))];
    assert_eq!(says(&bench), started);
    bench.policy.keep_awake = Windows::read("59 0 * * * for 3m UTC").unwrap();
    assert_eq!(says(&bench)[0], (Source::KeepAwake, Says::BusyUntil(up + minutes(2))));
    bench.gate.touch(up + IDLE);
    assert_eq!(says(&bench)[0], (Source::Requests, Says::LastActive(up + IDLE)));
    assert_eq!(bench.enter(), Entry::Admitted);
    assert_eq!(says(&bench)[0], (Source::Requests, Says::Busy));
    assert!(bench.gate.last_activity() > Moment::START);
}

#[test]
fn what_came_between_the_verdict_and_the_closing_of_the_gate_stops_the_suspension() {
    type Meanwhile = fn(&Bench);
    let table: [(&str, Meanwhile, bool); 3] = [
        ("nothing", |_| {}, true),
        ("a request that is in flight", |b| assert_eq!(b.gate.enter(u32::MAX), Entry::Admitted), false),
        (
            "a request that has come and gone",
            |b| {
                assert_eq!(b.gate.enter(u32::MAX), Entry::Admitted);
                assert!(!b.gate.leave(Some(b.now)));
            },
            false,
        ),
    ];
    for (name, meanwhile, closes) in table {
        let mut bench = Bench::at(Station::Running);
        bench.now = bench.now + IDLE;
        // The verdict was Idle here.
        meanwhile(&bench);
        assert_eq!(bench.machine.close_if_still_idle(bench.context()), closes, "{name}");
        assert_eq!(bench.gate.is_open(), !closes, "{name}");
    }
}
