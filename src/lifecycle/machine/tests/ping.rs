//! An agent that is asked whether it is at work before it is suspended.

use std::time::Duration;

use crate::lifecycle::{Entry, Event, SuspendedBy, Transition};
use crate::policy::Policy;
use crate::policy::idle::{Says, Signal, Source};
use crate::policy::ping::{PingAnswer, PingFault, PingFaultKind, Said};
use crate::units::{Ping, Written};

use super::bench::{Did, IDLE, LONG};
use super::{Bench, Station};

const CAP: Duration = Duration::from_mins(10);
const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
/// A second less than the idle timeout.
const ALMOST: Duration = Duration::from_secs(IDLE.as_secs() - 1);

/// It is idle and is being asked.
fn asked() -> Bench {
    let mut bench = Bench::at(Station::Asked);
    bench.policy.busy_cap = CAP;
    bench
}

fn broken(kind: PingFaultKind) -> PingAnswer {
    PingAnswer::Failed(PingFault::new(kind, "as the test wants"))
}

impl Bench {
    /// The answer to the newest question.
    #[track_caller]
    fn says(&mut self, answer: PingAnswer) -> Did {
        let id = *self.pings.last().expect("a question");
        self.feed(Event::Pinged { id, answer })
    }

    /// The time has come at which it is asked again.
    #[track_caller]
    fn asked_again(&mut self) {
        self.at_deadline().is("Running p1", "ping p1");
    }

    fn own_word(&self) -> Option<Says> {
        let signals = self.machine.signals(&self.policy, self.now, self.calendar());
        signals.into_iter().find_map(|Signal { source, says }| (source == Source::Ping).then_some(says))
    }

    fn told(&self, what: impl Fn(&Transition) -> bool) -> usize {
        self.records.iter().filter(|record| what(record)).count()
    }

    fn failures_told(&self) -> usize {
        self.told(|record| matches!(record, Transition::PingFailed(_)))
    }

    fn overruled(&self) -> usize {
        self.told(|record| matches!(record, Transition::PingOverruled(_)))
    }
}

#[test]
fn an_idle_agent_is_asked_with_its_gate_open_and_suspended_when_it_says_healthy() {
    let mut bench = asked();
    assert!(bench.gate.is_open());
    bench.says(PingAnswer::Healthy).is("Draining Writing", "suspend");
    bench.done().is("Suspending", "retire");
    assert_eq!((bench.overruled(), bench.machine.overruled()), (0, None));
}

#[test]
fn it_is_asked_one_question_at_a_time() {
    let mut bench = asked();
    for _ in 0..10 {
        bench.after(SECOND).is("Running p1", "");
    }
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.says(PingAnswer::Healthy).is("Running p1", "");
    assert_eq!(bench.pings.len(), 1, "the answer counts once");
}

#[test]
fn who_says_busy_stays_up_for_another_idle_timeout_and_is_asked_again() {
    let mut bench = asked();
    bench.says(PingAnswer::Busy).is("Running p1", "");
    assert_eq!(bench.own_word(), Some(Says::BusyUntil(bench.now + IDLE)));
    bench.after(ALMOST).is("Running p1", "");
    bench.asked_again();
    bench.says(PingAnswer::Healthy).is("Draining Writing", "suspend");
}

#[test]
fn who_says_busy_for_as_long_as_it_may_is_suspended_all_the_same_and_that_is_told_once() {
    let mut bench = asked();
    let begun = bench.now;
    for _ in 0..10 {
        bench.says(PingAnswer::Busy).is("Running p1", "");
        if bench.now.since(begun) + IDLE < CAP {
            bench.asked_again();
        }
        if bench.own_word() == Some(Says::BusyUntil(begun + CAP)) {
            break;
        }
    }
    bench.at_deadline().is("Draining Writing", "suspend");
    assert_eq!(bench.now.since(begun), CAP);
    assert_eq!(bench.overruled(), 0, "it is not written yet");
    bench.done().is("Suspending", "retire");
    assert_eq!((bench.overruled(), bench.machine.overruled()), (1, Some(&Said::Busy)));
    bench.pod_gone("p1").is("Suspended", "");
    assert_eq!(bench.machine.overruled(), Some(&Said::Busy), "for whoever asks why it sleeps");
    bench.call(1);
    bench.calm();
    assert_eq!((bench.overruled(), bench.machine.overruled()), (1, None), "another life");
}

#[test]
fn a_suspension_over_its_word_that_comes_to_nothing_is_not_told_and_tried_again_without_a_question() {
    let mut bench = asked();
    bench.policy.busy_cap = IDLE;
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.at_deadline().is("Draining Writing", "suspend");
    bench.noise().is("Running p1", "");
    assert_eq!(bench.overruled(), 0);
    bench.at_deadline().is("Draining Writing", "suspend");
}

#[test]
fn a_caller_ends_the_spell_and_the_cap_begins_anew() {
    let mut bench = asked();
    bench.policy.busy_cap = IDLE + SECOND;
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.now = bench.now + IDLE;
    assert_eq!(bench.enter(), Entry::Admitted);
    assert!(!bench.leave_gate());
    bench.after(SECOND).is("Running p1", "");
    bench.at_deadline().is("Running p1", "ping p1");
    bench.says(PingAnswer::Busy).is("Running p1", "");
    assert_eq!(bench.own_word(), Some(Says::BusyUntil(bench.now + IDLE)));
}

#[test]
fn a_caller_during_the_suspension_over_its_word_has_it_asked_again_later() {
    let mut bench = asked();
    (bench.policy.busy_cap, bench.alone) = (IDLE, false);
    bench.noise();
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.at_deadline().is("Draining AskingPeers", "ask peers");
    bench.call(1).is("Running p1", "release 1, mark wanted");
    bench.done();
    assert!(!bench.leave_gate());
    bench.after(IDLE).is("Running p1", "ping p1");
}

#[test]
fn who_was_not_asked_for_long_begins_a_new_spell() {
    let mut bench = asked();
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.policy.suspend = false;
    bench.after(LONG).is("Running p1", "");
    bench.policy.suspend = true;
    bench.tick().is("Running p1", "ping p1");
    bench.says(PingAnswer::Busy).is("Running p1", "");
    assert_eq!(bench.own_word(), Some(Says::BusyUntil(bench.now + IDLE)));
}

#[test]
fn a_broken_ping_keeps_it_up_until_the_cap_and_is_told_once_for_each_kind() {
    let mut bench = Bench::at(Station::Running);
    bench.policy.ping = Ping::read("/ping").unwrap();
    (bench.policy.idle_timeout, bench.policy.busy_cap) = (5 * MINUTE, CAP);
    bench.after(5 * MINUTE).is("Running p1", "ping p1");
    let begun = bench.now;
    bench.says(broken(PingFaultKind::TimedOut)).is("Running p1", "");
    assert_eq!(bench.own_word(), Some(Says::BusyUntil(bench.now + MINUTE)), "it is asked again soon");
    let mut asked = 1;
    while bench.gate.is_open() {
        bench.at_deadline();
        if bench.gate.is_open() {
            asked += 1;
            let kind = if asked < 5 { PingFaultKind::TimedOut } else { PingFaultKind::NoSuchPath };
            bench.says(broken(kind)).is("Running p1", "");
        }
    }
    assert_eq!((bench.now.since(begun), bench.failures_told()), (CAP, 2));
    bench.done().is("Suspending", "retire");
    assert!(matches!(bench.machine.overruled(), Some(Said::Nothing(_))));
    assert_eq!(bench.overruled(), 1);
}

#[test]
fn busy_and_broken_are_one_spell_and_healthy_ends_it() {
    let mut bench = asked();
    let begun = bench.now;
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.asked_again();
    bench.says(broken(PingFaultKind::Status)).is("Running p1", "");
    assert_eq!(bench.machine.word(&bench.policy).unwrap().since, begun);
    bench.asked_again();
    bench.says(PingAnswer::Busy).is("Running p1", "");
    assert_eq!(bench.machine.word(&bench.policy).unwrap().since, begun);
    bench.asked_again();
    bench.says(PingAnswer::Healthy).is("Draining Writing", "suspend");
    bench.noise().is("Running p1", "");
    bench.asked_again();
    bench.says(PingAnswer::Busy).is("Running p1", "");
    assert_eq!(bench.machine.word(&bench.policy).unwrap().since, bench.now);
}

#[test]
fn a_request_that_comes_during_the_question_stops_the_suspension_whether_it_has_ended_or_not() {
    for ended in [false, true] {
        let mut bench = asked();
        assert_eq!(bench.enter(), Entry::Admitted, "callers notice nothing");
        if ended {
            assert!(!bench.leave_gate());
        }
        bench.says(PingAnswer::Healthy).is("Running p1", "");
        bench.after(ALMOST).is("Running p1", "");
    }
}

#[test]
fn a_question_that_nobody_answers_counts_as_broken() {
    let mut bench = asked();
    bench.at_deadline().is("Running p1", "");
    assert_eq!(bench.failures_told(), 1);
    bench.says(PingAnswer::Healthy).is("Running p1", "");
    bench.asked_again();
}

#[test]
fn an_answer_that_is_later_than_that_is_not_used() {
    let mut bench = asked();
    bench.now = bench.now + MINUTE;
    bench.says(PingAnswer::Healthy).is("Running p1", "ping p1");
    assert_eq!(bench.failures_told(), 0);
}

#[test]
fn what_an_earlier_life_said_or_says_late_is_of_no_account() {
    let mut bench = asked();
    bench.pod_gone("p1").is("Resuming AwaitingPod", "retire");
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
    bench.answers("p2").is("Running p2", "");
    bench.now = bench.now + IDLE;
    bench.says(PingAnswer::Healthy).is("Running p2", "");
    bench.tick().is("Running p2", "ping p2");
    bench.says(PingAnswer::Healthy).is("Draining Writing", "suspend");

    let mut bench = asked();
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.pod_gone("p1").is("Resuming AwaitingPod", "retire");
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
    bench.answers("p2").is("Running p2", "");
    assert_eq!(bench.own_word(), None);
}

#[test]
fn who_could_not_be_asked_for_want_of_a_turn_is_asked_soon() {
    let mut bench = asked();
    bench.says(PingAnswer::NotAsked).is("Running p1", "");
    assert_eq!((bench.own_word(), bench.failures_told()), (None, 0));
    let before = bench.now;
    bench.asked_again();
    assert!(bench.now.since(before) <= 5 * SECOND);
}

#[test]
fn nobody_is_asked_who_would_not_be_suspended() {
    type Change = fn(&mut Bench);
    let changes: [(&str, Change); 5] = [
        ("suspend: off", |bench| bench.policy.suspend = false),
        ("manage: false", |bench| bench.policy.manage = false),
        ("not the leader", |bench| bench.may_suspend = false),
        ("an obstacle", |bench| bench.policy.obstacle = Some("a claim".into())),
        ("many are being suspended", |bench| bench.crowded = true),
    ];
    for (name, change) in changes {
        let mut bench = Bench::at(Station::Running);
        bench.policy.ping = Ping::read("/ping").unwrap();
        change(&mut bench);
        bench.after(IDLE).is("Running p1", "");
        assert_eq!(bench.pings, [], "{name}");
    }
}

#[test]
fn permission_that_ends_during_the_question_suspends_nobody() {
    type Change = fn(&mut Policy);
    let changes: [Change; 3] = [|p| p.suspend = false, |p| p.manage = false, |p| p.dry_run = true];
    for change in changes {
        let mut bench = asked();
        change(&mut bench.policy);
        bench.says(PingAnswer::Healthy);
        assert!(bench.gate.is_open() && bench.calls.is_empty());
    }
    let mut bench = asked();
    bench.may_suspend = false;
    bench.says(PingAnswer::Healthy).is("Running p1", "");
}

#[test]
fn with_dry_run_it_is_asked_too_so_that_what_is_said_is_true() {
    let mut bench = Bench::at(Station::Running);
    bench.policy.ping = Ping::read("/ping").unwrap();
    bench.policy.dry_run = true;
    bench.after(IDLE).is("Running p1", "ping p1");
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.asked_again();
    bench.says(PingAnswer::Healthy).is("Running p1", "would suspend");
    let before = bench.now;
    bench.asked_again();
    assert!(bench.now.since(before) >= IDLE, "and no more often than others");
    bench.says(PingAnswer::Healthy).is("Running p1", "");
}

#[test]
fn a_rule_that_asks_elsewhere_is_followed_at_once() {
    let elsewhere = Ping::read(":9000/ping").unwrap();
    let mut bench = asked();
    bench.policy.ping = elsewhere.clone();
    bench.says(PingAnswer::Healthy).is("Running p1", "ping p1");

    let mut bench = asked();
    bench.says(broken(PingFaultKind::NoSuchPath)).is("Running p1", "");
    bench.policy.ping = elsewhere;
    bench.tick().is("Running p1", "ping p1");

    let mut bench = asked();
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.policy.ping = Ping::Off;
    bench.tick().is("Draining Writing", "suspend");
}

#[test]
fn what_somebody_orders_asks_nobody() {
    let mut bench = asked();
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.suspend_now().is("Draining Writing", "suspend");
    bench.done().is("Suspending", "retire");
    assert!(bench.records.contains(&Transition::Suspended(SuspendedBy::Idle)));
    assert_eq!(bench.overruled(), 0);

    let mut bench = asked();
    bench.suspend_now().is("Draining Writing", "suspend");
    bench.says(PingAnswer::Busy).is("Draining Writing", "");
}

#[test]
fn messages_are_listened_for_after_it_has_said_healthy() {
    let mut bench = asked();
    bench.listens = true;
    bench.says(PingAnswer::Healthy).is("Draining Listening", "listen");
    bench.quiet().is("Draining Writing", "suspend");
}

#[test]
fn a_replica_that_has_heard_busy_does_not_acknowledge_another_leaders_suspension() {
    let mut bench = asked();
    bench.alone = false;
    bench.says(PingAnswer::Busy).is("Running p1", "");
    bench.may_suspend = false;
    bench.asked().is("Running p1", "veto");
    bench.now = bench.now + IDLE;
    bench.asked().is("Draining Fenced", "acknowledge");
}
