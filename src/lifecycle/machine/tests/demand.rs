//! Somebody wants the agent, at every moment of its life. Nobody is forgotten.

use crate::lifecycle::Event;

use super::bench::Bench;
use super::oracle::Ended;
use super::show::show;
use super::station::Station;

#[test]
fn a_call_at_every_moment_ends_in_a_release() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        bench.call(1);
        bench.calm();
        let expected = match station {
            // Another attempt at once would fail alike.
            Station::FailedForGood => Ended::Refused("resume_failed"),
            _ => Ended::Released,
        };
        assert_eq!(bench.oracle.ended.get(&1), Some(&expected), "{station:?}");
        bench.expect_nothing_owed();
    }
}

#[test]
fn an_operators_demand_at_every_moment_brings_the_agent_up() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        bench.demand();
        bench.calm();
        assert!(bench.gate.is_open(), "{station:?} led to {}", show(bench.machine.phase()));
        bench.expect_nothing_owed();
    }
}

#[test]
fn a_call_that_must_not_wake_is_served_or_refused_at_every_moment_and_wakes_nobody() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        bench.machine.demanded = false;
        let asleep = matches!(station, Station::Suspended | Station::Suspending);
        bench.peek(1);
        if asleep {
            assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Refused("asleep")), "{station:?}");
            assert!(bench.oracle.turns.queued == 0 && bench.calls.is_empty(), "{station:?}");
        }
        bench.calm();
        bench.expect_nothing_owed();
    }
}

#[test]
fn a_call_and_a_peek_together_are_both_served_by_one_start() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.peek(2).is("Resuming Paced", "");
    bench.granted().is("Resuming Writing", "resume");
    bench.done().is("Resuming AwaitingPod", "");
    bench.pod_up("p1").is("Resuming Probing p1", "probe p1");
    bench.answers("p1").is("Running p1", "end turn, release 1, release 2");
}

#[test]
fn a_call_during_suspending_resumes_at_once_without_waiting_for_the_pod_to_go() {
    let mut bench = Bench::at(Station::Suspending);
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming Writing", "resume");
    bench.done().is("Resuming Probing p1", "probe p1");
    // It was dying after all.
    bench.pod_terminates("p1").is("Resuming AwaitingPod", "stop probe");
    bench.pod_gone("p1").is("Resuming AwaitingPod", "");
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
    bench.answers("p2").is("Running p2", "end turn, release 1");
}

#[test]
fn a_call_while_the_suspension_is_written_waits_for_the_answer_and_is_served_either_way() {
    let mut bench = Bench::at(Station::Writing);
    bench.call(1).is("Draining Writing", "");
    bench.done().is("Resuming Paced", "retire, ask for a turn");

    let mut bench = Bench::at(Station::Writing);
    bench.call(1).is("Draining Writing", "");
    bench.fails(super::bench::refused()).is("Running p1", "release 1");
}

#[test]
fn a_thousand_callers_cost_one_turn_and_one_write() {
    let mut bench = Bench::at(Station::Suspended);
    bench.policy.max_held = 1_000;
    bench.most_held = 1_000;
    bench.call(0).is("Resuming Paced", "ask for a turn");
    for caller in 1..1_000 {
        bench.call(caller).is("Resuming Paced", "");
    }
    bench.granted().is("Resuming Writing", "resume");
    bench.call(1_000).is("Resuming Writing", "refuse 1000 queue_full");
    bench.calm();
    assert_eq!(bench.oracle.ended.values().filter(|how| **how == Ended::Released).count(), 1_000);
    bench.expect_nothing_owed();
}

#[test]
fn a_demand_that_stopped_a_suspension_is_spent() {
    for station in [Station::AskingPeers, Station::Writing, Station::Fenced, Station::Settling] {
        let mut bench = Bench::at(station);
        bench.demand();
        bench.calm();
        bench.alone = true;
        bench.may_suspend = true;
        bench.suspend_now();
        bench.calm();
        assert_eq!(show(bench.machine.phase()), "Suspended", "woken for nothing after {station:?}");
    }
}

#[test]
fn a_demand_for_an_agent_that_does_not_exist_asks_for_nothing() {
    let mut bench = Bench::at(Station::Suspended);
    bench.gone().is("Unknown", "");
    bench.demand().is("Unknown", "");
    bench.call(1).is("Unknown", "refuse 1 gone");
}

#[test]
fn a_free_place_where_nobody_waits_is_no_event() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        let phase = show(bench.machine.phase());
        bench.feed(Event::PlaceFreed).is(&phase, "");
    }
}
