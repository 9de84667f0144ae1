//! Anything may happen at any time, twice, late or never: `oracle` holds after every step, and in the end nothing
//! is owed to anybody.

use std::time::Duration;

use proptest::prelude::*;

use crate::lifecycle::Entry;
use crate::lifecycle::phase::{DrainStep, Phase};

use super::bench::{Bench, LONG};
use super::chance::{News, station, steps};
use super::oracle::Ended;
use super::show::show;
use super::station::Station;

impl Bench {
    /// However often the machine is ticked when it wants to be, it wants to be later and later.
    pub(super) fn expect_time_goes_on(&mut self, ticks: u32) {
        for _ in 0..ticks {
            let Some(at) = self.machine.next_deadline() else { return };
            self.now = self.now.max(at);
            self.tick();
            if self.machine.next_deadline().is_some_and(|next| next <= self.now) {
                self.tick();
            }
            let next = self.machine.next_deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "{} is in a hot loop",
                show(self.machine.phase())
            );
        }
    }

    /// Nobody disturbs it any more, and nothing goes wrong.
    fn come_to_rest(&mut self) {
        let manage = self.ever_managed;
        self.may_suspend = true;
        self.policy.manage = manage;
        (self.policy.suspend, self.policy.dry_run) = (true, false);
        self.calm();
        self.expect_nothing_owed();
        let phase = self.machine.phase();
        let at_rest = match phase {
            Phase::Running { .. } | Phase::Suspended | Phase::Failed { .. } => true,
            // Until somebody calls.
            Phase::Draining(drain) => drain.step == DrainStep::Joining,
            Phase::Unknown => self.machine.agent().is_none() || self.machine.is_gone(),
            _ => false,
        };
        assert!(at_rest, "at rest in {}", show(phase));
    }
}

/// `PROPTEST_CASES` asks for more than the usual number.
fn config() -> ProptestConfig {
    let defaults = ProptestConfig::default();
    ProptestConfig {
        cases: defaults.cases.max(2_000),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..defaults
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_everybody_is_answered_once_and_nothing_is_kept(
        station in station(),
        alone in any::<bool>(),
        steps in steps(),
    ) {
        let (mut bench, mut news) = (Bench::at(station), News::default());
        bench.alone = alone;
        for step in steps {
            bench.happen(step, &mut news);
        }
        bench.come_to_rest();
    }

    #[test]
    fn whatever_happens_and_whoever_is_silent_every_caller_is_answered_by_the_clock_alone(
        station in station(),
        steps in steps(),
    ) {
        let (mut bench, mut news) = (Bench::at(station), News::default());
        for step in steps {
            bench.happen(step, &mut news);
        }
        let patience = bench.now + Duration::from_secs(100);
        while bench.machine.next_deadline().is_some_and(|at| at <= patience) {
            bench.at_deadline();
        }
        prop_assert_eq!(bench.machine.held(), 0);
        for caller in &bench.arrived {
            prop_assert!(bench.oracle.ended.contains_key(caller), "caller {} was forgotten", caller);
        }
    }

    #[test]
    fn whatever_happens_an_unmanaged_agent_is_never_written_to(steps in steps()) {
        let (mut bench, mut news) = (Bench::new(), News::default());
        (bench.policy.manage, bench.ever_managed) = (false, false);
        for step in steps {
            bench.happen(step, &mut news);
        }
        bench.come_to_rest();
        prop_assert_eq!(bench.calls.len(), 0);
    }

    #[test]
    fn whatever_happened_a_healthy_agent_serves_the_next_caller(station in station(), steps in steps()) {
        let (mut bench, mut news) = (Bench::at(station), News::default());
        for step in steps {
            bench.happen(step, &mut news);
        }
        bench.come_to_rest();
        bench.policy.resume_user_suspended = true;
        bench.policy.max_in_flight = None;
        if bench.machine.is_gone() || bench.machine.agent().is_none() {
            bench.seen();
            bench.come_to_rest();
        }
        bench.now = bench.now + LONG;
        let caller = u32::try_from(bench.arrived.len()).unwrap();
        if bench.enter() != Entry::Admitted {
            bench.call(caller);
        }
        bench.calm();
        let ended = bench.oracle.ended.get(&caller);
        prop_assert!(ended.is_none_or(|how| *how == Ended::Released), "{:?}", ended);
    }
}

#[test]
fn ten_thousand_ticks_at_the_machines_own_deadlines_take_their_time() {
    for station in Station::ALL {
        for silent in [false, true] {
            let mut bench = Bench::at(station);
            bench.may_suspend = !silent;
            let begun = bench.now;
            bench.expect_time_goes_on(10_000);
            let spent = bench.now.since(begun);
            let ended = bench.machine.next_deadline().is_none();
            assert!(ended || spent > LONG * 10, "{station:?}: {spent:?} for 10,000 ticks");
        }
    }
}
