//! What people and other programs decide comes first: their changes, the rules, the switches.

use crate::lifecycle::{Entry, Event, FailureClass, Mode, SuspendedBy, Transition};
use crate::policy::Policy;

use super::bench::{Bench, IDLE, LONG};
use super::oracle::Ended;
use super::show::show;
use super::station::Station;

#[test]
fn a_person_suspends_at_every_moment_and_traffic_does_not_undo_it() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        bench.machine.demanded = false;
        bench.call(1);
        bench.oracle.ended.remove(&1);
        bench.arrived.clear();
        bench.person_suspends();
        let mark = |b: &Bench| (b.object.mode, b.object.suspended_by);
        // A resume that is under way already may still win; what we know of is respected.
        if !bench.calls.is_empty() {
            continue;
        }
        bench.calm();
        assert_eq!(mark(&bench), (Mode::Suspended, SuspendedBy::Person), "{station:?}");
        assert_eq!(show(bench.machine.phase()), "Suspended", "{station:?}");
        bench.call(2).is("Suspended", "refuse 2 suspended_by_person");
        bench.expect_nothing_owed();
    }
}

#[test]
fn a_persons_suspension_closes_the_gate_and_refuses_those_who_wait() {
    let mut bench = Bench::at(Station::Running);
    assert_eq!(bench.enter(), Entry::Admitted);
    bench.person_suspends().is("Suspending", "retire");
    assert_eq!(bench.enter(), Entry::Closed);

    let mut bench = Bench::at(Station::Probing);
    bench.machine.demanded = false;
    bench.call(1);
    bench.person_suspends().is("Suspending", "stop probe, end turn, refuse 1 suspended_by_person");
}

#[test]
fn a_person_that_suspends_a_drained_agent_ends_the_drain() {
    for station in [Station::AskingPeers, Station::Writing, Station::Fenced, Station::Settling] {
        let mut bench = Bench::at(station);
        bench.person_suspends().is("Suspending", "retire");
        // Whatever the call that was under way finds.
        if !bench.calls.is_empty() {
            bench.done();
        }
        assert_eq!(show(bench.machine.phase()), "Suspending", "{station:?}");
    }
}

#[test]
fn a_person_makes_our_suspension_theirs() {
    for station in [Station::Suspended, Station::Suspending] {
        let mut bench = Bench::at(station);
        bench.person_suspends();
        let phase = show(bench.machine.phase());
        bench.call(1).is(&phase, "refuse 1 suspended_by_person");
    }
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.person_suspends().is("Suspended", "cancel turn, refuse 1 suspended_by_person");
}

#[test]
fn a_person_resumes_and_drowse_follows_without_writing() {
    for station in [Station::Suspended, Station::Suspending] {
        let mut bench = Bench::at(station);
        bench.runs();
        bench.calm();
        assert!(bench.gate.is_open(), "{station:?}");
        assert_eq!(bench.oracle.turns.under_way, 0);
    }
    let mut bench = Bench::at(Station::Suspended);
    bench.person_suspends().is("Suspended", "");
    bench.runs().is("Resuming AwaitingPod", "");
}

#[test]
fn the_policy_can_let_traffic_wake_what_a_person_suspended() {
    let mut bench = Bench::at(Station::Suspended);
    bench.person_suspends();
    bench.policy.resume_user_suspended = true;
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.calm();
    assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released));
}

#[test]
fn an_operators_demand_goes_past_a_persons_suspension() {
    let mut bench = Bench::at(Station::Suspended);
    bench.person_suspends();
    bench.demand().is("Resuming Paced", "ask for a late turn");
    bench.calm();
    assert!(bench.gate.is_open());
}

#[test]
fn a_suspension_that_comes_after_an_operators_demand_was_served_ends_it() {
    for station in [Station::AwaitingPod, Station::Probing] {
        let mut bench = Bench::at(station);
        assert!(bench.machine.demanded);
        bench.person_suspends();
        bench.calm();
        assert_eq!(show(bench.machine.phase()), "Suspended", "{station:?}");
    }
}

#[test]
fn an_unmanaged_agent_is_served_while_it_runs_and_never_written_to() {
    let unmanaged = || {
        let mut bench = Bench::new();
        (bench.policy.manage, bench.ever_managed) = (false, false);
        bench
    };
    // Asleep: nobody wakes it.
    let mut bench = unmanaged();
    bench.sleeps().is("Suspended", "");
    bench.call(1).is("Suspended", "refuse 1 not_managed");
    bench.demand().is("Suspended", "");
    bench.suspend_and_stay().is("Suspended", "");
    // Running: it is watched.
    bench.runs().is("Resuming AwaitingPod", "");
    bench.pod_up("p1");
    bench.answers("p1").is("Running p1", "");
    bench.after(LONG).is("Running p1", "");
    bench.suspend_now().is("Running p1", "");
    bench.asked().is("Running p1", "veto");
    // Failed: it is watched.
    bench.pod_fails("p1", FailureClass::Crash).is("Failed crash", "retire");
    bench.demand();
    bench.call(2);
    bench.suspend_now();
    bench.after(LONG);
    assert_eq!(bench.calls, []);
}

#[test]
fn an_unmanaged_agent_that_comes_up_after_all_is_served() {
    let mut bench = Bench::new();
    (bench.policy.manage, bench.ever_managed) = (false, false);
    bench.runs();
    bench.pod_starts("p1").is("Resuming AwaitingPod", "");
    bench.after(super::bench::START_WITHIN).is("Failed deadline", "");
    bench.pod_up("p1");
    bench.after(LONG);
    bench.call(1);
    bench.calm();
    assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released));
}

#[test]
fn an_agent_that_is_no_longer_managed_is_not_resumed_when_its_turn_comes() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.policy.manage = false;
    bench.granted().is("Suspended", "end turn, refuse 1 not_managed");
}

#[test]
fn dry_run_says_once_what_it_would_do_and_does_not() {
    let mut bench = Bench::at(Station::Running);
    bench.policy.dry_run = true;
    bench.after(IDLE).is("Running p1", "would suspend");
    bench.after(IDLE).is("Running p1", "");
    // After new activity it is news again.
    bench.gate.touch(bench.now);
    bench.after(IDLE / 2).is("Running p1", "");
    bench.after(IDLE).is("Running p1", "would suspend");
    assert!(!bench.records.iter().any(|record| matches!(record, Transition::Suspended(_))));
}

#[test]
fn dry_run_does_not_clear_away_what_failed_and_nobody_wants() {
    let mut bench = Bench::at(Station::FailedForGood);
    bench.policy.dry_run = true;
    bench.after(LONG).is("Failed image", "");
}

#[test]
fn the_one_switch_stops_every_suspension_and_resumes_go_on() {
    let mut bench = Bench::at(Station::Running);
    bench.policy.suspend = false;
    bench.after(LONG).is("Running p1", "");
    let mut bench = Bench::at(Station::FailedForGood);
    bench.policy.suspend = false;
    bench.after(LONG).is("Failed image", "");
    let mut bench = Bench::at(Station::Suspended);
    bench.policy.suspend = false;
    bench.call(1).is("Resuming Paced", "ask for a turn");
}

#[test]
fn a_changed_policy_applies_at_the_next_tick() {
    type Change = fn(&mut Policy);
    let table: [(&str, Change, &str, &str); 4] = [
        ("shorter", |p| p.idle_timeout = IDLE / 6, "Draining Writing", "suspend"),
        ("longer", |p| p.idle_timeout = LONG, "Running p1", ""),
        ("min_running", |p| (p.idle_timeout, p.min_running) = (IDLE / 6, LONG), "Running p1", ""),
        ("dry_run", |p| (p.idle_timeout, p.dry_run) = (IDLE / 6, true), "Running p1", "would suspend"),
    ];
    for (name, change, phase, effects) in table {
        let mut bench = Bench::at(Station::Running);
        bench.after(IDLE / 2).is("Running p1", "");
        change(&mut bench.policy);
        let did = bench.tick();
        did.is(phase, effects);
        assert!(bench.machine.next_deadline().is_some(), "{name}");
    }
}

#[test]
fn a_replica_that_is_told_to_wait_for_a_person_does_not_count_it_as_its_own_suspension() {
    let mut bench = Bench::at(Station::Running);
    bench.person_suspends();
    assert!(!bench.records.iter().any(|record| matches!(record, Transition::Suspended(_))));
    bench.feed(Event::Tick).is("Suspending", "");
}

#[test]
fn a_busy_lease_ends_the_drain_of_an_agent_that_was_idle_and_none_that_somebody_has_ordered() {
    Bench::at(Station::AskingPeers).feed(Event::Leased).is("Running p1", "mark wanted");
    Bench::at(Station::Fenced).feed(Event::Leased).is("Draining Settling", "mark wanted");
    Bench::at(Station::Joining).feed(Event::Leased).is("Draining Joining", "");

    let ordered = || {
        let mut bench = Bench::at(Station::Running);
        bench.alone = false;
        bench.noise();
        bench
    };
    let mut bench = ordered();
    bench.suspend_now().is("Draining AskingPeers", "ask peers to obey");
    bench.feed(Event::Leased).is("Draining AskingPeers", "");
    bench.acked().is("Draining Writing", "suspend");
    // And where it was not ordered, but asked for.
    let mut bench = ordered();
    bench.question(true).is("Draining Fenced", "acknowledge");
    bench.feed(Event::Leased).is("Draining Fenced", "");
}
