//! When calls should be made, and to whom: decided beforehand, whatever the answers do (*open loop*).

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::file::{Arrivals, Part, Spread};
use super::popularity::Chooser;
use super::trace::{Replay, Trace};

/// A call that should be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// After the beginning.
    pub(super) at: Duration,
    /// Which agent is called.
    pub(super) agent: u32,
    /// Whether the caller leaves if it is not answered soon.
    pub(super) hangs_up: bool,
}

/// All calls of a part, in order. The same seed gives the same ones.
#[derive(Debug)]
pub(super) struct Plan {
    times: Times,
    chooser: Chooser,
    /// The share of callers that hang up.
    hang_up: f64,
    random: Rng,
    length: Duration,
}

#[derive(Debug)]
enum Times {
    /// So many seconds apart.
    Constant {
        apart: f64,
        nth: u64,
    },
    Poisson {
        rate: f64,
        at: f64,
        random: Rng,
    },
    Burst {
        left: u32,
        at: Duration,
    },
    Replay(Replay),
    /// A trace that was not read.
    Nothing,
}

impl Plan {
    pub(super) fn new(part: &Part, agents: u32, length: Duration, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let times = Times::new(&part.arrivals, part.trace.clone(), agents, random.fork());
        let chooser = Chooser::new(part.popularity, agents, random.fork());
        let hang_up = part.hang_up.map_or(0.0, |hang_up| hang_up.share);
        Self { times, chooser, hang_up, random, length }
    }
}

impl Iterator for Plan {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let (at, named) = self.times.next().filter(|(at, _)| *at < self.length)?;
        let agent = named.unwrap_or_else(|| self.chooser.next());
        let hangs_up = self.hang_up > 0.0 && self.random.f64() < self.hang_up;
        Some(Due { at, agent, hangs_up })
    }
}

impl Times {
    fn new(arrivals: &Arrivals, trace: Option<Arc<Trace>>, agents: u32, random: Rng) -> Self {
        match (arrivals, trace) {
            (Arrivals::Constant { rate }, _) => Self::Constant { apart: 1.0 / rate, nth: 0 },
            (Arrivals::Poisson { rate }, _) => Self::Poisson { rate: *rate, at: 0.0, random },
            (Arrivals::Burst { callers, at }, _) => Self::Burst { left: *callers, at: at.get() },
            (Arrivals::Trace { speed, spread, at_most, .. }, Some(trace)) => {
                Self::replay(trace, agents, (*speed, *spread), *at_most, random)
            }
            (Arrivals::Trace { .. }, None) => Self::Nothing,
        }
    }

    fn replay(trace: Arc<Trace>, agents: u32, how: (f64, Spread), at_most: Option<u32>, random: Rng) -> Self {
        Self::Replay(Replay::new(trace, agents, how, at_most, random))
    }

    /// When, and who is called if that is said.
    fn next(&mut self) -> Option<(Duration, Option<u32>)> {
        match self {
            Self::Constant { apart, nth } => {
                let at = Duration::from_secs_f64(*nth as f64 * *apart);
                *nth += 1;
                Some((at, None))
            }
            Self::Poisson { rate, at, random } => {
                // Above zero, so that the logarithm is finite.
                *at -= (1.0 - random.f64()).ln() / *rate;
                Some((Duration::from_secs_f64(*at), None))
            }
            Self::Burst { left, at } => {
                *left = left.checked_sub(1)?;
                Some((*at, None))
            }
            Self::Replay(replay) => replay.next().map(|(at, agent)| (at, Some(agent))),
            Self::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::file::{HangUp, Kind, PartGoals, Popularity};

    fn part(arrivals: Arrivals) -> Part {
        Part {
            name: "a".to_owned(),
            kind: Kind::Request,
            takes: Duration::ZERO.into(),
            every: None,
            arrivals,
            popularity: Some(Popularity::RoundRobin),
            hang_up: None,
            connections: 1,
            goals: PartGoals::default(),
            trace: None,
        }
    }

    fn plan(part: &Part, secs: u64) -> Vec<Due> {
        Plan::new(part, 3, Duration::from_secs(secs), 7).collect()
    }

    #[test]
    fn constant_calls_are_even_and_end_with_the_time() {
        let calls = plan(&part(Arrivals::Constant { rate: 4.0 }), 2);
        let at: Vec<_> = calls.iter().map(|due| due.at.as_millis()).collect();
        assert_eq!(at, [0, 250, 500, 750, 1000, 1250, 1500, 1750]);
        let agents: Vec<_> = calls.iter().map(|due| due.agent).collect();
        assert_eq!(agents, [0, 1, 2, 0, 1, 2, 0, 1]);
    }

    #[test]
    fn poisson_calls_have_their_mean_and_its_variance() {
        let (rate, secs) = (50.0, 2000);
        let calls = plan(&part(Arrivals::Poisson { rate }), secs);
        assert!(calls.is_sorted_by_key(|due| due.at));
        let mut counts = vec![0.0_f64; usize::try_from(secs).unwrap()];
        for due in &calls {
            counts[usize::try_from(due.at.as_secs()).unwrap()] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / secs as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / secs as f64;
        // Five standard deviations of what chance does to so many.
        assert!((mean - rate).abs() < 0.8, "{mean}");
        assert!((variance - rate).abs() < 8.0, "{variance}");
    }

    #[test]
    fn a_burst_is_all_at_one_moment() {
        let at = Duration::from_millis(1500);
        let calls = plan(&part(Arrivals::Burst { callers: 5, at: at.into() }), 2);
        assert_eq!(calls.len(), 5);
        assert!(calls.iter().all(|due| due.at == at), "{calls:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_calls() {
        let mut part = part(Arrivals::Poisson { rate: 100.0 });
        part.popularity = Some(Popularity::Uniform);
        assert_eq!(plan(&part, 3), plan(&part, 3));
        let other: Vec<_> = Plan::new(&part, 3, Duration::from_secs(3), 8).collect();
        assert_ne!(plan(&part, 3), other);
    }

    #[test]
    fn as_many_callers_hang_up_as_are_asked_for() {
        let mut part = part(Arrivals::Constant { rate: 10_000.0 });
        assert!(plan(&part, 1).iter().all(|due| !due.hangs_up));
        part.hang_up = Some(HangUp { share: 0.05, after: Duration::from_millis(1).into() });
        let share = plan(&part, 10).iter().filter(|due| due.hangs_up).count() as f64 / 100_000.0;
        assert!((share - 0.05).abs() < 0.004, "{share}");
    }
}
