//! Connections that are open without a request: what moves on them, and how long they count.

use std::sync::Arc;

use crate::lifecycle::{Abandoned, Activity, Event, PhaseName, Transition};
use crate::policy::OpenConnections;

use super::bench::{IDLE, LONG};
use super::{Bench, Station};

#[test]
fn data_on_an_open_connection_ends_a_drain_while_nothing_is_written_and_wakes_nobody() {
    let mut bench = Bench::at(Station::Running);
    bench.listens = true;
    bench.after(IDLE).is("Draining Listening", "listen");
    bench.feed(Event::DataMoved).is("Running p1", "");
    assert!(bench.records.contains(&Transition::SuspendAbandoned(Abandoned::Demand)));
    bench.feed(Event::DataMoved).is("Running p1", "");

    let mut bench = Bench::at(Station::Running);
    bench.after(IDLE).is("Draining Writing", "suspend");
    bench.feed(Event::DataMoved).is("Draining Writing", "");
    bench.done();
    assert!(bench.machine.phase().name() != PhaseName::Resuming, "it is no demand");
}

#[test]
fn data_on_an_open_connection_keeps_an_agent_up_unless_the_rule_ignores_it() {
    let mut bench = Bench::at(Station::Running);
    let activity = bench.machine.activity().clone();
    activity.connection_opened(bench.now);
    bench.now = bench.now + IDLE;
    activity.note_data(bench.now);
    bench.tick().is("Running p1", "");
    bench.policy.open_connections = OpenConnections::Ignore;
    bench.tick().is("Draining Writing", "suspend");
}

#[test]
fn an_open_connection_keeps_an_agent_up_only_where_the_rule_says_keep() {
    let mut bench = Bench::at(Station::Running);
    let activity = bench.machine.activity().clone();
    activity.connection_opened(bench.now);
    bench.policy.open_connections = OpenConnections::Keep;
    bench.after(LONG).is("Running p1", "");
    bench.suspend_now().is("Running p1", "");
    activity.connection_closed(bench.now);
    bench.tick().is("Running p1", "");
    bench.after(IDLE).is("Draining Writing", "suspend");

    let mut bench = Bench::at(Station::Running);
    let now = bench.now;
    bench.machine.activity().connection_opened(now);
    bench.after(IDLE).is("Draining Writing", "suspend");
}

/// Up, with a connection that is kept for `LONG` without data.
fn with_a_kept_connection() -> (Bench, Arc<Activity>) {
    let mut bench = Bench::at(Station::Running);
    bench.policy.open_connections = OpenConnections::Keep;
    bench.policy.busy_cap = LONG;
    let activity = bench.machine.activity().clone();
    activity.connection_opened(bench.now);
    (bench, activity)
}

#[test]
fn a_kept_connection_without_data_counts_for_the_busy_cap() {
    let (mut bench, activity) = with_a_kept_connection();
    bench.now = bench.now + LONG / 2;
    activity.note_data(bench.now);
    bench.now = bench.now + LONG - IDLE;
    bench.tick().is("Running p1", "");
    bench.suspend_now().is("Running p1", "");
    bench.after(IDLE).is("Draining Writing", "suspend");

    let (mut bench, _) = with_a_kept_connection();
    bench.now = bench.now + LONG;
    bench.suspend_now().is("Draining Writing", "suspend");
}

#[test]
fn a_kept_connection_counts_for_the_idle_timeout_where_the_busy_cap_is_shorter() {
    let (mut bench, activity) = with_a_kept_connection();
    bench.policy.busy_cap = IDLE / 4;
    bench.now = bench.now + IDLE;
    activity.connection_opened(bench.now);
    bench.now = bench.now + IDLE / 2;
    bench.tick().is("Running p1", "");
}

#[test]
fn the_end_of_a_kept_connection_is_noticed_long_before_the_busy_cap() {
    let (mut bench, activity) = with_a_kept_connection();
    bench.tick().is("Running p1", "");
    activity.connection_closed(bench.now);
    assert!(bench.machine.next_deadline().unwrap() <= bench.now + IDLE);
    bench.after(IDLE).is("Draining Writing", "suspend");
}
