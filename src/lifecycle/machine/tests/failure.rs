//! A pod that is lost, a start that fails, and how the agent comes back from either.

use std::time::Duration;

use crate::lifecycle::{Entry, Event, FailureClass, PodState, Transition};

use super::bench::{Bench, HOLD, LONG, START_WITHIN, refused, up};
use super::oracle::Ended;
use super::show::show;
use super::station::Station;

#[test]
fn a_pod_that_is_lost_while_running_is_waited_for_without_writing_anything() {
    type Loss = fn(&mut Bench);
    let losses: [(&str, Loss, &str, &str); 4] = [
        ("gone", |b| drop(b.pod_gone("p1")), "Resuming AwaitingPod", ""),
        ("terminating", |b| drop(b.pod_terminates("p1")), "Resuming AwaitingPod", ""),
        ("replaced", |b| drop(b.pod_up("p2")), "Resuming Probing p2", ""),
        ("without address", |b| drop(b.pod_starts("p1")), "Resuming AwaitingPod", ""),
    ];
    for (name, loss, phase, _) in losses {
        let mut bench = Bench::at(Station::Running);
        loss(&mut bench);
        assert_eq!(show(bench.machine.phase()), phase, "{name}");
        assert_eq!(bench.calls, [], "{name}");
        // Those who come now wait for the next one.
        bench.call(1).is(phase, "");
        bench.pod_up("p3").is("Resuming Probing p3", "probe p3");
        bench.answers("p3").is("Running p3", "release 1");
        bench.expect_nothing_owed();
    }
}

#[test]
fn requests_in_flight_to_a_lost_pod_do_not_keep_the_next_one_from_serving() {
    let mut bench = Bench::at(Station::Running);
    assert_eq!(bench.enter(), Entry::Admitted);
    bench.pod_gone("p1").is("Resuming AwaitingPod", "retire");
    bench.pod_up("p2");
    bench.answers("p2").is("Running p2", "");
    assert!(!bench.leave_gate());
    assert_eq!(bench.gate.in_flight(), 0);
}

#[test]
fn a_pod_that_fails_while_running_is_a_failure_that_is_classified() {
    let mut bench = Bench::at(Station::Running);
    bench.pod_fails("p1", FailureClass::Crash).is("Failed crash", "retire");
    let failed = bench.records.iter().any(|record| matches!(record, Transition::Failed { took: None, .. }));
    assert!(failed, "{:?}", bench.records);
    assert_eq!(
        bench.machine.last_failure().map(|(failure, n)| (failure.class, n)),
        Some((FailureClass::Crash, 1))
    );
}

#[test]
fn a_pod_lost_while_probing_is_a_failed_start_only_if_it_failed() {
    let mut bench = Bench::at(Station::Probing);
    bench.pod_gone("p1").is("Resuming AwaitingPod", "stop probe");
    let mut bench = Bench::at(Station::Probing);
    bench.pod_fails("p1", FailureClass::Crash).is("Failed crash", "stop probe, end turn");
}

#[test]
fn callers_are_held_through_a_passing_failure_and_refused_at_once_for_a_lasting_one() {
    let refused_at_once = |class: FailureClass| !class.is_transient();
    for class in FailureClass::ALL {
        let mut bench = Bench::at(Station::AwaitingPod);
        bench.call(1);
        bench.pod_fails("p1", class);
        let ended = bench.oracle.ended.get(&1).cloned();
        assert_eq!(ended, refused_at_once(class).then_some(Ended::Refused("resume_failed")), "{class:?}");
        // Whoever comes before the next attempt fares alike.
        bench.call(2);
        assert_eq!(bench.oracle.ended.contains_key(&2), refused_at_once(class), "{class:?}");
    }
}

#[test]
fn a_caller_that_cannot_wait_for_the_next_attempt_is_refused_now() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.arrive(1, Duration::from_millis(1), true).is("Failed crash", "refuse 1 resume_failed");
    bench.call(2).is("Failed crash", "");
}

#[test]
fn after_some_failures_in_a_row_callers_are_no_longer_held_through_them() {
    let mut bench = Bench::at(Station::Suspended);
    for attempt in 1..=4 {
        bench.demand();
        bench.granted().is("Resuming Writing", "resume");
        bench.done();
        bench.call(attempt);
        let pod = format!("p{attempt}");
        bench.pod_fails(&pod, FailureClass::Crash);
        assert_eq!(bench.oracle.ended.contains_key(&attempt), attempt == 4, "attempt {attempt}");
        bench.leaves(attempt);
        bench.sleeps();
        bench.pod_gone(&pod);
        bench.machine.demanded = false;
        bench.after(LONG).is("Suspended", "");
    }
}

#[test]
fn a_run_of_failures_is_over_once_the_agent_has_run_well() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.demand();
    bench.calm();
    assert_eq!(bench.machine.last_failure(), None);
    bench.after(Duration::from_secs(30));
    bench.suspend_now();
    bench.calm();
    bench.demand();
    bench.granted();
    bench.done();
    bench.pod_fails("p9", FailureClass::Crash).is("Failed crash", "end turn");
    assert_eq!(bench.machine.last_failure().map(|(_, failures)| failures), Some(1));
}

#[test]
fn an_agent_that_dies_right_after_each_start_is_retried_less_and_less_often() {
    let mut bench = Bench::at(Station::Running);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let pod = bench.pod.as_ref().unwrap().uid.0.to_string();
        bench.after(Duration::from_secs(1));
        bench.pod_fails(&pod, FailureClass::Crash).is("Failed crash", "retire");
        waits.push(bench.machine.next_deadline().unwrap().since(bench.now));
        bench.demand();
        bench.calm();
    }
    assert!(waits[7] > waits[0] * 16, "{waits:?}");
}

#[test]
fn the_next_attempt_comes_by_itself_when_somebody_waits_and_is_made_by_the_next_demand_otherwise() {
    let mut bench = Bench::at(Station::WritingResume);
    bench.machine.demanded = false;
    bench.call(1);
    bench.after(START_WITHIN).is("Failed unreachable", "refuse 1 hold_timed_out, end turn");
    bench.call(2).is("Failed unreachable", "");
    bench.at_deadline().is("Resuming Paced", "ask for a turn");

    let mut bench = Bench::at(Station::WritingResume);
    bench.machine.demanded = false;
    bench.fails(refused()).is("Failed admission", "end turn");
    bench.call(3).is("Failed admission", "refuse 3 resume_failed");
    bench.now = bench.now + LONG;
    bench.call(4).is("Resuming Paced", "ask for a turn");
}

#[test]
fn a_failed_start_of_which_nothing_is_left_goes_back_to_sleep() {
    let mut bench = Bench::at(Station::WritingResume);
    bench.fails(refused()).is("Failed admission", "end turn");
    bench.at_deadline().is("Suspended", "");
    assert_eq!(bench.machine.next_deadline(), None);
}

#[test]
fn a_start_that_takes_too_long_says_what_it_was_waiting_for() {
    let table = [
        (Station::WritingResume, FailureClass::Unreachable, "accepted"),
        (Station::AwaitingPod, FailureClass::Deadline, "pod to start"),
        (Station::Probing, FailureClass::Deadline, "answer on its port"),
    ];
    for (station, class, words) in table {
        let mut bench = Bench::at(station);
        bench.after(START_WITHIN);
        let (failure, _) = bench.machine.last_failure().expect("a failure");
        assert_eq!(failure.class, class, "{station:?}");
        assert!(failure.detail.contains(words), "{station:?}: {}", failure.detail);
    }
}

#[test]
fn a_failed_pod_is_cleared_away_by_a_suspension_and_a_resume() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.call(1).is("Failed crash", "");
    bench.at_deadline().is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming ClearingFailedPod", "suspend");
    bench.done().is("Resuming ClearingFailedPod", "");
    bench.pod_gone("p1").is("Resuming Writing", "resume");
    bench.done().is("Resuming AwaitingPod", "");
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
    bench.answers("p2").is("Running p2", "end turn, release 1");
    bench.expect_nothing_owed();
}

#[test]
fn a_failed_pod_that_may_not_be_cleared_away_is_as_soon_as_it_may() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.call(1).is("Failed crash", "");
    // The watch is broken, as it is when the API server was away.
    bench.may_suspend = false;
    bench.at_deadline().is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming AwaitingPod", "");
    bench.after(Duration::from_secs(1)).is("Resuming AwaitingPod", "");
    bench.may_suspend = true;
    bench.after(Duration::from_secs(1)).is("Resuming ClearingFailedPod", "suspend");
    bench.calm();
    assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released));
}

#[test]
fn whoever_waits_for_a_failed_pod_to_be_cleared_away_hears_why_it_failed() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.call(1);
    bench.may_suspend = false;
    bench.at_deadline();
    bench.granted().is("Resuming AwaitingPod", "");
    let told = bench.machine.waiting_for();
    assert!(told.contains("cleared away") && told.contains("crash: as the test wants"), "{told}");
    bench.after(START_WITHIN);
    assert_eq!(bench.machine.last_failure().map(|(failure, _)| failure.class), Some(FailureClass::Crash));
}

#[test]
fn a_failed_pod_that_is_never_cleared_away_is_not_waited_for() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.call(1);
    bench.policy.dry_run = true;
    bench.at_deadline().is("Resuming Paced", "ask for a turn");
    bench.granted().is("Failed crash", "end turn");
}

#[test]
fn a_pod_that_does_not_answer_and_may_not_be_cleared_away_is_as_soon_as_it_may() {
    let mut bench = Bench::wedged();
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.may_suspend = false;
    bench.granted().is("Resuming Probing p1", "probe p1");
    bench.may_suspend = true;
    bench.after(Duration::from_secs(1)).is("Resuming ClearingFailedPod", "stop probe, suspend");
}

#[test]
fn a_pod_that_is_on_its_way_out_is_not_cleared_away_again() {
    let mut bench = Bench::wedged();
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming ClearingFailedPod", "suspend");
    bench.done().is("Resuming ClearingFailedPod", "");
    bench.pod_terminates("p1").is("Resuming Writing", "resume");
    bench.done().is("Resuming AwaitingPod", "");
    assert!(bench.machine.waiting_for().contains("pod before to end"));
    bench.after(Duration::from_secs(2)).is("Resuming AwaitingPod", "");
    bench.pod_gone("p1").is("Resuming AwaitingPod", "");
    // From here on a controller has its time.
    assert_eq!(bench.machine.next_deadline().unwrap().since(bench.now), Duration::from_secs(20));
}

#[test]
fn a_health_check_neither_waits_at_a_failed_agent_nor_keeps_its_pod_there() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.now = bench.now + LONG;
    bench.peek(1).is("Draining Writing", "refuse 1 resume_failed, suspend");

    let mut bench = Bench::at(Station::FailedForNow);
    bench.may_suspend = false;
    bench.now = bench.now + LONG;
    bench.peek(1).is("Failed crash", "refuse 1 resume_failed");
}

#[test]
fn news_that_change_nothing_do_not_put_off_the_clearing_of_a_failed_pod() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.call(1);
    bench.may_suspend = false;
    bench.at_deadline();
    bench.granted().is("Resuming AwaitingPod", "");
    bench.may_suspend = true;
    let often = Duration::from_millis(600);
    bench.now = bench.now + often;
    bench.noise().is("Resuming AwaitingPod", "");
    bench.after(often).is("Resuming ClearingFailedPod", "suspend");
}

#[test]
fn the_resume_after_a_clearing_waits_until_the_controller_has_begun_to_delete_the_pod() {
    // Written sooner, the controller would find the agent running, as before, and keep the dead pod.
    let mut bench = Bench::at(Station::Clearing);
    bench.done().is("Resuming ClearingFailedPod", "");
    bench.noise().is("Resuming ClearingFailedPod", "");
    bench.tick().is("Resuming ClearingFailedPod", "");
    bench.pod_terminates("p1").is("Resuming Writing", "resume");
}

#[test]
fn with_peers_a_failed_pod_is_cleared_away_only_when_all_have_acknowledged() {
    let mut bench = Bench::at(Station::AskingToClear);
    bench.vetoed().is("Resuming Retrying", "");
    bench.at_deadline().is("Resuming AskingPeers", "ask peers");
    bench.noise().is("Resuming Retrying", "");
    bench.at_deadline().is("Resuming AskingPeers", "ask peers");
    bench.acked().is("Resuming ClearingFailedPod", "suspend");
}

#[test]
fn callers_at_several_replicas_do_not_keep_each_other_from_clearing_a_failed_pod_away() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.alone = false;
    bench.call(1).is("Failed crash", "");
    bench.asked().is("Draining Fenced", "acknowledge");
    // Whoever comes now wants the same, and must not make the suspension fail.
    bench.call(2).is("Draining Fenced", "");
    bench.sleeps();
    bench.calm();
    for caller in [1, 2] {
        assert_eq!(bench.oracle.ended.get(&caller), Some(&Ended::Released));
    }
}

#[test]
fn of_two_that_ask_to_clear_a_failed_pod_away_the_leader_does_it() {
    let mut leader = Bench::at(Station::AskingToClear);
    leader.asked().is("Resuming AskingPeers", "veto");
    let mut other = Bench::at(Station::AskingToClear);
    (other.may_suspend, other.may_order) = (false, Some(true));
    other.asked().is("Draining Fenced", "end turn, acknowledge");
    // It asked, too, and what it hears now is too late to act on.
    other.acked().is("Draining Fenced", "");
    other.sleeps();
    other.calm();
    other.expect_nothing_owed();
}

#[test]
fn who_lost_the_leadership_while_asking_does_not_clear_away() {
    let mut bench = Bench::at(Station::AskingToClear);
    bench.may_suspend = false;
    bench.acked().is("Resuming Retrying", "");
}

#[test]
fn a_replica_that_may_not_suspend_waits_for_the_leader_to_clear_away() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.may_suspend = false;
    bench.call(1);
    bench.at_deadline().is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming AwaitingPod", "");
    bench.sleeps();
    bench.calm();
    assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released));
}

#[test]
fn a_failed_agent_that_nobody_wants_is_put_to_sleep_by_the_leader() {
    let mut bench = Bench::at(Station::FailedForGood);
    bench.at_deadline().is("Draining Writing", "suspend");
    bench.done().is("Suspending", "retire");

    let mut bench = Bench::at(Station::FailedForGood);
    bench.may_suspend = false;
    bench.at_deadline().is("Failed image", "");
    bench.at_deadline().is("Failed image", "");
}

#[test]
fn a_clearing_that_comes_to_nothing_can_be_tried_again_at_once() {
    type Way = fn(&mut Bench);
    let ways: [(&str, Way); 3] = [
        ("a conflict", |b| {
            b.object.revision.0 += 1;
            b.revision += 1;
            b.done().is("Draining Settling", "read");
            drop(b.done());
        }),
        ("refused", |b| drop(b.fails(refused()))),
        ("lost", |b| {
            b.lost().is("Draining Settling", "mark wanted");
            drop(b.done());
        }),
    ];
    for (name, way) in ways {
        let mut bench = Bench::at(Station::FailedForGood);
        bench.at_deadline().is("Draining Writing", "suspend");
        way(&mut bench);
        assert_eq!(show(bench.machine.phase()), "Failed image", "{name}");
        bench.now = bench.now + LONG;
        bench.call(1);
        bench.calm();
        assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released), "{name}");
    }
}

#[test]
fn a_pod_that_is_up_but_does_not_answer_gets_a_second_chance_and_is_then_cleared_away() {
    let mut bench = Bench::wedged();
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming ClearingFailedPod", "suspend");
    let clears = bench.records.iter().filter(|record| matches!(record, Transition::Clearing)).count();
    assert_eq!(clears, 1, "{:?}", bench.records);
    bench.calm();
    assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released));
}

#[test]
fn a_failed_agent_whose_pod_is_replaced_comes_back_by_itself() {
    let mut bench = Bench::at(Station::FailedForGood);
    bench.pod_gone("p1").is("Failed image", "");
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
    bench.answers("p2").is("Running p2", "");
}

#[test]
fn a_recovery_that_nobody_wants_any_more_is_taken_back() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.call(1);
    bench.at_deadline().is("Resuming Paced", "ask for a turn");
    bench.leaves(1).is("Failed crash", "cancel turn");
    bench.at_deadline().is("Draining Writing", "suspend");
}

#[test]
fn a_failure_that_was_dealt_with_is_not_a_new_one() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.pod_fails("p1", FailureClass::Crash).is("Failed crash", "");
    bench.demand();
    bench.granted();
    bench.done();
    bench.pod_fails("p1", FailureClass::Crash).is("Resuming ClearingFailedPod", "");
}

#[test]
fn late_news_of_a_pod_that_is_gone_are_no_news() {
    let mut bench = Bench::at(Station::AwaitingPod);
    let late = bench.set_pod("p1", false, up());
    bench.pod_gone("p1").is("Resuming AwaitingPod", "");
    bench.feed(Event::Pod(late)).is("Resuming AwaitingPod", "");
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
    bench.pod_gone("p1").is("Resuming Probing p2", "");
}

#[test]
fn the_failed_pod_of_somebody_else_is_nothing_to_us() {
    let mut bench = Bench::at(Station::AwaitingPod);
    let failed = PodState::Failed(crate::lifecycle::Failure::new(FailureClass::Crash, "not ours"));
    let mut pod = bench.set_pod("p1", false, failed);
    pod.owner = crate::agent::AgentUid("other".into());
    bench.feed(Event::Pod(pod)).is("Resuming AwaitingPod", "");
    bench.after(HOLD).is("Resuming AwaitingPod", "mark wanted");
    // Nor is it a reason to clear our agent away.
    bench.after(START_WITHIN).is("Failed deadline", "end turn");
    bench.now = bench.now + LONG;
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming AwaitingPod", "");
}

#[test]
fn a_pod_that_fails_while_it_is_suspended_does_not_fail_the_next_start() {
    let mut bench = Bench::at(Station::Suspending);
    bench.pod_fails("p1", FailureClass::Image).is("Suspending", "");
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming ClearingFailedPod", "");
    bench.pod_terminates("p1").is("Resuming Writing", "resume");
    bench.calm();
    assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released));
}
