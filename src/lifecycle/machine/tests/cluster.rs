//! What a cluster adds: an object whose controller cannot make a pod, writes that never left, agents that must not be
//! suspended for what they are.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::AgentUid;
use crate::lifecycle::{
    Abandoned, Activity, Effect, Event, Failure, FailureClass, PodSeen, PodState, Readiness, SuspendedBy,
    Transition, WriteError,
};
use crate::time::Moment;

use super::bench::{Bench, IDLE, LONG, START_WITHIN, up};
use super::station::Station;

fn trouble(bench: &mut Bench, class: FailureClass) {
    bench.object.trouble = Some(Failure::new(class, "as the controller says").into());
    bench.noise();
}

#[test]
fn a_suspension_that_never_left_reopens_the_gate_at_once() {
    let mut bench = Bench::at(Station::Writing);
    bench.fails(WriteError::NotSent("refused".into())).is("Running p1", "");
    assert!(bench.records.contains(&Transition::SuspendAbandoned(Abandoned::NoAnswer)));
    assert_eq!(bench.calls, [], "nothing has to be settled");
    // Not tried again at once: an API that is down stays down for a while.
    bench.after(std::time::Duration::from_secs(10)).is("Running p1", "");
    bench.after(IDLE + std::time::Duration::from_mins(1)).is("Draining Writing", "suspend");
}

#[test]
fn a_settling_write_that_never_left_is_repeated() {
    let mut bench = Bench::at(Station::Writing);
    bench.lost().is("Draining Settling", "mark wanted");
    bench.fails(WriteError::NotSent("refused".into())).is("Draining Settling", "");
    bench.at_deadline().is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "");
}

#[test]
fn a_resume_that_never_left_is_repeated() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming Writing", "resume");
    bench.fails(WriteError::NotSent("refused".into()));
    bench.at_deadline().is("Resuming Writing", "resume");
    bench.done().is("Resuming AwaitingPod", "");
}

#[test]
fn callers_are_told_at_once_when_there_will_be_no_pod() {
    for class in [FailureClass::Quota, FailureClass::Admission, FailureClass::Expired] {
        let mut bench = Bench::at(Station::Suspended);
        bench.call(1);
        bench.granted();
        bench.done().is("Resuming AwaitingPod", "");
        trouble(&mut bench, class);
        assert_eq!(bench.machine.last_failure().map(|(failure, _)| failure.class), Some(class));
        assert_eq!(bench.machine.held(), 0, "{class:?}");
    }
}

#[test]
fn trouble_that_may_pass_is_waited_for_and_told_in_the_end() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1);
    bench.granted();
    bench.done();
    trouble(&mut bench, FailureClass::Scheduling);
    bench.demand().is("Resuming AwaitingPod", "");
    bench.after(START_WITHIN);
    let (failure, _) = bench.machine.last_failure().unwrap();
    assert_eq!(failure.class, FailureClass::Scheduling);
    assert!(failure.detail.contains("as the controller says"), "{}", failure.detail);
}

#[test]
fn what_held_a_pod_up_is_told_when_time_is_up() {
    let mut bench = Bench::at(Station::Suspended);
    bench.demand();
    bench.granted();
    bench.done();
    let mut seen = bench.set_pod("p1", false, PodState::Starting);
    seen.hindrance = Some(Failure::new(FailureClass::Volume, "no such volume"));
    bench.feed(Event::Pod(seen)).is("Resuming AwaitingPod", "");
    assert_eq!(bench.machine.waiting_for(), "waiting for the pod to start (volume: no such volume)");
    bench.after(START_WITHIN);
    let (failure, _) = bench.machine.last_failure().unwrap();
    assert_eq!((failure.class, failure.detail.contains("no such volume")), (FailureClass::Volume, true));
}

#[test]
fn an_agent_with_an_obstacle_stays_up_and_that_is_told_once() {
    let mut bench = Bench::at(Station::Running);
    bench.policy.obstacle = Some("its claim expires".into());
    bench.after(IDLE).is("Running p1", "");
    bench.after(IDLE).is("Running p1", "");
    let told = bench.records.iter().filter(|record| matches!(record, Transition::Obstructed(_))).count();
    assert_eq!(told, 1);
    bench.suspend_now().is("Running p1", "");
    bench.feed(Event::SuspendNow(SuspendedBy::Person)).is("Running p1", "");
    bench.policy.obstacle = None;
    bench.after(IDLE).is("Draining Writing", "suspend");
}

#[test]
fn an_agent_that_ran_before_drowse_did_was_not_started_for_its_callers() {
    let mut bench = Bench::new();
    bench.runs().is("Resuming AwaitingPod", "");
    bench.call(1);
    bench.pod_up("p1");
    bench.answers("p1").is("Running p1", "release 1");
    let started = bench.records.iter().find_map(|record| match record {
        Transition::Resumed(start) => Some(start.cold),
        _ => None,
    });
    assert_eq!(started, Some(false));
}

#[test]
fn a_pod_is_probed_as_it_wants_to_be_asked() {
    let mut bench = Bench::at(Station::Suspended);
    bench.demand();
    bench.granted();
    bench.done();
    let mut seen = bench.set_pod("p1", false, super::bench::up());
    let readiness = Arc::new(Readiness::Tcp { port: 7 });
    seen.readiness = Some(Arc::clone(&readiness));
    let (mut effects, policy) = (Vec::new(), bench.policy.clone());
    let ctx = crate::lifecycle::Context { policy: &policy, ..bench.context() };
    bench.machine.handle(Event::Pod(seen), ctx, &mut effects);
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Probe { readiness, .. } => readiness.clone(),
        _ => None,
    });
    assert_eq!(asked, Some(readiness));
}

#[test]
fn a_pod_that_its_node_has_rebuilt_elsewhere_is_found_anew_before_anything_is_sent_there() {
    let elsewhere = PodState::Up([127, 0, 0, 9].into());
    let mut bench = Bench::at(Station::Running);
    let seen = bench.set_pod("p1", false, elsewhere.clone());
    bench.feed(Event::Pod(seen)).is("Resuming Probing p1", "retire, probe p1");
    assert!(!bench.awaits(&bench.life("p1")), "an answer from the old address comes too late");
    bench.answers("p1").is("Running p1", "");

    let mut bench = Bench::at(Station::Probing);
    let seen = bench.set_pod("p1", false, elsewhere);
    bench.feed(Event::Pod(seen)).is("Resuming Probing p1", "probe p1");
}

#[test]
fn a_pod_that_its_node_calls_ready_is_not_asked_any_more() {
    let mut bench = Bench::at(Station::AwaitingPod);
    let mut seen = bench.set_pod("p1", false, up());
    seen.readiness = Some(Arc::new(Readiness::Tcp { port: 7 }));
    bench.feed(Event::Pod(seen.clone())).is("Resuming Probing p1", "probe p1");
    seen.revision.0 += 1;
    bench.feed(Event::Pod(seen.clone())).is("Resuming Probing p1", "");
    seen.revision.0 += 1;
    seen.ready = true;
    bench.feed(Event::Pod(seen.clone())).is("Resuming Probing p1", "probe p1");
    seen.revision.0 += 1;
    bench.feed(Event::Pod(seen)).is("Resuming Probing p1", "");
}

#[test]
fn an_agent_that_was_up_and_cannot_be_reached_is_looked_at_again_until_its_idle_timeout_is_over() {
    let mut bench = Bench::new();
    bench.policy.idle_timeout = LONG * 10;
    bench.runs();
    bench.pod_up("p1").is("Resuming Probing p1", "probe p1");
    // It may be at work for somebody who reaches it by another way.
    for _ in 0..5 {
        bench.at_deadline().is("Failed deadline", "stop probe");
        bench.at_deadline().is("Resuming Probing p1", "probe p1");
    }
    bench.call(1);
    bench.at_deadline();
    bench.after(LONG);
    assert_eq!(bench.calls, [], "not even for a caller");
    bench.policy.idle_timeout = IDLE;
    while bench.calls.is_empty() {
        bench.at_deadline();
    }
    assert_eq!(super::show::show(bench.machine.phase()), "Draining Writing");
}

#[test]
fn what_keeps_an_agent_up_keeps_up_one_that_cannot_be_reached() {
    type Keep = fn(&Activity, Moment);
    let signals: [(&str, Duration, Keep); 3] = [
        ("a lease", IDLE, |activity, end| activity.set_leased_until(end)),
        ("what it owes", Duration::ZERO, |activity, end| activity.set_unanswered_until(end)),
        ("another replica", IDLE, |activity, end| activity.set_used_elsewhere_until(end)),
    ];
    for (name, and_then, keep) in signals {
        let mut bench = Bench::new();
        bench.runs();
        bench.pod_up("p1").is("Resuming Probing p1", "probe p1");
        let end = bench.now + LONG * 5;
        keep(bench.machine.activity(), end);
        while bench.calls.is_empty() {
            bench.at_deadline();
        }
        assert!(bench.now >= end + and_then, "{name}");
    }
}

#[test]
fn a_start_that_failed_is_not_cleared_away_while_somebody_has_a_busy_lease_for_it() {
    let mut bench = Bench::at(Station::Probing);
    bench.at_deadline();
    let end = bench.now + LONG * 2;
    bench.machine.activity().set_leased_until(end);
    while bench.calls.is_empty() {
        bench.at_deadline();
    }
    assert!(bench.now >= end + IDLE);
}

#[test]
fn what_no_rule_names_is_not_even_dialled_until_one_does() {
    let mut bench = Bench::new();
    (bench.policy.route, bench.policy.manage) = (false, false);
    bench.runs().is("Unknown", "");
    bench.pod_up("p1").is("Unknown", "");
    assert_eq!(bench.machine.next_deadline(), None);
    bench.policy.route = true;
    bench.tick().is("Resuming Probing p1", "probe p1");
}

#[test]
fn a_dead_pod_is_not_cleared_away_where_nothing_may_be_suspended() {
    type Forbid = fn(&mut Bench);
    let forbid: [Forbid; 2] =
        [|b| b.policy.obstacle = Some("its claim expires".into()), |b| b.policy.dry_run = true];
    for forbid in forbid {
        let mut bench = Bench::at(Station::Running);
        bench.pod_fails("p1", FailureClass::Crash);
        forbid(&mut bench);
        bench.call(1);
        bench.after(LONG);
        assert_eq!(bench.calls, []);
    }
}

#[test]
fn an_idle_agent_waits_for_its_place_among_the_suspensions() {
    let mut bench = Bench::at(Station::Running);
    bench.crowded = true;
    bench.after(IDLE).is("Running p1", "");
    bench.at_deadline().is("Running p1", "");
    bench.crowded = false;
    bench.at_deadline().is("Draining Writing", "suspend");
}

#[test]
fn a_pod_that_is_given_to_another_object_of_the_same_name_is_served_no_more() {
    let mut bench = Bench::at(Station::Running);
    let pod = bench.set_pod("p1", false, up());
    let given = PodSeen { owner: AgentUid("another".into()), ..pod };
    bench.feed(Event::Pod(given)).is("Resuming AwaitingPod", "retire");
}

#[test]
fn an_agent_that_was_just_vetoed_is_not_asked_about_again_whoever_looks_at_it() {
    let mut bench = Bench::at(Station::AskingPeers);
    bench.vetoed().is("Running p1", "mark wanted");
    bench.tick().is("Running p1", "");
    bench.after(std::time::Duration::from_secs(4)).is("Running p1", "");
    bench.after(std::time::Duration::from_secs(1)).is("Draining AskingPeers", "ask peers");
}
