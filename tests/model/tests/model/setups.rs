//! The setups that are exhausted, each small enough for a test, which together have every pair of features.

use drowse_model::setup::{SMALLEST, Setup};

use super::exhaust;

macro_rules! setups {
    ($($name:ident { $($key:ident: $value:expr),* $(,)? })*) => {
        /// All of them.
        pub(super) const ALL: &[Setup] = &[$(Setup { name: stringify!($name), $($key: $value,)* ..SMALLEST }),*];

        $(#[test] fn $name() { exhaust(stringify!($name)); })*
    };
}

setups! {
    two_front_doors { requests: 3 }
    lost_and_late_calls { losses: 2 }
    controllers_are_reminded { losses: 1, reminders: 2, stale_pod_cache: true, time_travel: true }
    a_front_door_is_added { newcomer: true, front_doors: 3, requests: 1, losses: 1 }
    three_front_doors_two_leaders { front_doors: 3, leaders: 2, requests: 1, stale_pod_cache: true, time_travel: true }
    three_front_doors_one_cut_off { front_doors: 3, cuts: 1, requests: 1, prompt_answers: true }
    one_is_counted_out_and_two_suspends { cuts: 1, count_outs: 1, suspends: 2, prompt_answers: true }
    three_front_doors_a_crash { front_doors: 3, crashes: 1, requests: 1, prompt_answers: true }
    three_front_doors_a_death { front_doors: 3, deaths: 1, reuses: 1, requests: 1, prompt_answers: true }
    three_front_doors_two_suspends { front_doors: 3, suspends: 2, prompt_answers: true }
    two_leaders_two_suspends_a_crash { leaders: 2, suspends: 2, crashes: 1, stale_pod_cache: true, time_travel: true }
    two_leaders_cut_off_death { leaders: 2, cuts: 1, deaths: 1, reuses: 1, requests: 1 }
    two_suspends_a_death { suspends: 2, deaths: 1, reuses: 1, prompt_answers: true, stale_pod_cache: true, time_travel: true }
    two_suspends_one_cut_off { suspends: 2, cuts: 1, prompt_answers: true, stale_pod_cache: true, time_travel: true }
    a_crash_and_a_death { crashes: 1, deaths: 1, reuses: 1, requests: 1 }
    a_crash_and_one_cut_off { crashes: 1, cuts: 1, requests: 1 }
}
