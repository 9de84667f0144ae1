//! Exhausts the setups, and switches each guard off to see it missed. For each the states, the depth and the time are printed.

#![allow(missing_docs, clippy::expect_used, reason = "a test program")]

mod setups;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use drowse_model::setup::{Feature, Guard, SMALLEST, Setup};
use drowse_model::{NOT_ASTRAY, NOT_STUCK, Protocol, RESUMED_ONCE, UNHARMED};
use setups::ALL;
use stateright::{Checker, HasDiscoveries, Model};

/// Past the test harness, which shows only what failed tests print.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Steps, of which some eight lead to the same state. A setup with more does not end in time, or takes all the memory there is.
const MOST_STEPS: usize = 150_000_000;

/// Every state of a setup.
fn exhaust(name: &str) {
    let setup = *ALL.iter().find(|setup| setup.name == name).expect("it is listed");
    let took = stopwatch();
    let checker = Protocol::new(setup)
        .checker()
        .target_state_count(MOST_STEPS)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    say(&format!("{name}: {states} states, depth {depth}, {:.1} s", took()));
    if let Some((property, steps)) = counterexample(&checker) {
        panic!("{name}: not so: {property}, after{steps}");
    }
    assert!(
        checker.state_count() < MOST_STEPS,
        "{name} does not end: does the machine count something that makes no difference?"
    );
}

/// How many steps it takes to break this without that guard, at the least.
fn breaks(setup: Setup, guard: Option<Guard>, broken: &str) {
    let setup = Setup { without: guard, ..setup };
    let took = stopwatch();
    // One step deeper each time: what is found first in one search need not be the shortest.
    for depth in 1..40 {
        let checker = Protocol::new(setup)
            .checker()
            .target_max_depth(depth + 1)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        if let Some((property, steps)) = counterexample(&checker) {
            assert_eq!(property, broken, "without {guard:?}:{steps}");
            let count = depth - 1;
            say(&format!(
                "without {guard:?}: {property}: not so after {count} steps, {:.1} s{steps}",
                took()
            ));
            return;
        }
    }
    panic!("without {guard:?} nothing goes wrong");
}

/// The property that does not hold, and how it came to that.
fn counterexample(checker: &impl Checker<Protocol>) -> Option<(&'static str, String)> {
    let (property, path) = checker.discoveries().into_iter().next()?;
    let mut steps = String::new();
    for action in path.into_actions() {
        let _ = write!(steps, "\n    {action:?}");
    }
    Some((property, steps))
}

#[allow(clippy::disallowed_methods, reason = "how long it took is for people")]
fn stopwatch() -> impl Fn() -> f64 {
    let began = Instant::now();
    move || began.elapsed().as_secs_f64()
}

#[test]
fn every_pair_of_features_is_together_in_some_setup() {
    let mut missing = Vec::new();
    for (n, one) in Feature::ALL.iter().enumerate() {
        for other in &Feature::ALL[n + 1..] {
            let both = |setup: &Setup| setup.features().contains(one) && setup.features().contains(other);
            if !ALL.iter().any(both) {
                missing.push((one, other));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn without_acknowledgements_a_request_suffers() {
    breaks(SMALLEST, Some(Guard::Ack), UNHARMED);
}

#[test]
fn without_the_fence_a_request_suffers() {
    breaks(SMALLEST, Some(Guard::Fence), UNHARMED);
}

#[test]
fn without_a_look_at_the_observed_generation_a_request_suffers() {
    breaks(SMALLEST, Some(Guard::Obs), UNHARMED);
}

#[test]
fn without_a_read_past_the_caches_a_request_goes_astray() {
    let setup = Setup { deaths: 1, reuses: 1, requests: 1, ..SMALLEST };
    breaks(setup, Some(Guard::Ident), NOT_ASTRAY);
}

#[test]
fn without_the_wait_of_one_that_has_just_started_a_request_suffers() {
    breaks(Setup { crashes: 1, ..SMALLEST }, Some(Guard::Join), UNHARMED);
}

#[test]
fn without_the_fence_of_one_that_is_counted_out_a_request_suffers() {
    breaks(Setup { cuts: 1, count_outs: 1, requests: 1, ..SMALLEST }, Some(Guard::Rejoin), UNHARMED);
}

#[test]
fn where_what_one_that_is_back_is_shown_late_passes_for_new_a_request_suffers() {
    let setup = Setup { cuts: 1, count_outs: 1, requests: 1, ..SMALLEST };
    breaks(setup, Some(Guard::FoundUntil), UNHARMED);
}

#[test]
fn without_preconditions_an_agent_is_resumed_twice() {
    breaks(SMALLEST, Some(Guard::Precondition), RESUMED_ONCE);
}

#[test]
fn without_deadlines_a_caller_is_stuck() {
    breaks(Setup { losses: 1, ..SMALLEST }, Some(Guard::Deadline), NOT_STUCK);
}

/// The limit of trusting a watch that stands: see the README.
#[test]
fn where_an_address_is_given_away_before_the_watch_tells_a_request_goes_astray() {
    breaks(Setup { deaths: 1, reuses: 1, address_reused_at_once: true, ..SMALLEST }, None, NOT_ASTRAY);
}
