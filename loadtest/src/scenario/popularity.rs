//! Who is called: some agents more often than others, as in life.

use fastrand::Rng;

use super::file::Popularity;

/// Chooses agents, by number from 0.
#[derive(Debug)]
pub(super) enum Chooser {
    One,
    RoundRobin {
        agents: u32,
        next: u32,
    },
    Uniform {
        agents: u32,
        random: Rng,
    },
    /// The chances of each agent and all before it, in shares of one.
    Zipf {
        sums: Vec<f64>,
        random: Rng,
    },
}

impl Chooser {
    /// `agents` must be above zero. Where a trace says who is called, nobody is asked for.
    pub(super) fn new(popularity: Option<Popularity>, agents: u32, random: Rng) -> Self {
        match popularity {
            None | Some(Popularity::One) => Self::One,
            Some(Popularity::RoundRobin) => Self::RoundRobin { agents, next: 0 },
            Some(Popularity::Uniform) => Self::Uniform { agents, random },
            Some(Popularity::Zipf { exponent }) => Self::Zipf { sums: sums(agents, exponent), random },
        }
    }

    pub(super) fn next(&mut self) -> u32 {
        match self {
            Self::One => 0,
            Self::RoundRobin { agents, next } => {
                let chosen = *next;
                *next = (chosen + 1) % *agents;
                chosen
            }
            Self::Uniform { agents, random } => random.u32(0..*agents),
            Self::Zipf { sums, random } => {
                let chance = random.f64();
                let chosen = sums.partition_point(|sum| *sum <= chance).min(sums.len().saturating_sub(1));
                u32::try_from(chosen).unwrap_or_default()
            }
        }
    }
}

fn sums(agents: u32, exponent: f64) -> Vec<f64> {
    let weights = (1..=agents).map(|rank| f64::from(rank).powf(-exponent));
    let all: f64 = weights.clone().sum();
    let mut sum = 0.0;
    let sums = weights.map(|weight| {
        sum += weight / all;
        sum
    });
    sums.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of each of four agents in many choices.
    fn shares(popularity: Popularity) -> [f64; 4] {
        let mut chooser = Chooser::new(Some(popularity), 4, Rng::with_seed(3));
        let mut counts = [0.0; 4];
        for _ in 0..200_000 {
            counts[chooser.next() as usize] += 1.0 / 200_000.0;
        }
        counts
    }

    fn assert_near(shares: [f64; 4], expected: [f64; 4]) {
        let near = shares.iter().zip(expected).all(|(share, expected)| (share - expected).abs() < 0.006);
        assert!(near, "{shares:?}, not {expected:?}");
    }

    #[test]
    fn zipf_gives_each_rank_its_share() {
        // 1 + 1/2 + 1/3 + 1/4 = 25/12
        assert_near(shares(Popularity::Zipf { exponent: 1.0 }), [0.48, 0.24, 0.16, 0.12]);
        // 1 + 1/4 + 1/9 + 1/16 = 205/144
        let square = [144.0, 36.0, 16.0, 9.0].map(|part| part / 205.0);
        assert_near(shares(Popularity::Zipf { exponent: 2.0 }), square);
    }

    #[test]
    fn all_are_as_likely_or_come_in_turn_or_it_is_always_the_same() {
        assert_near(shares(Popularity::Uniform), [0.25; 4]);
        assert_near(shares(Popularity::RoundRobin), [0.25; 4]);
        assert_near(shares(Popularity::One), [1.0, 0.0, 0.0, 0.0]);
    }
}
