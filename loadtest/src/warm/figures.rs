//! What the rounds add up to.

use std::time::Duration;

use serde::Serialize;

use super::open::Latencies;
use crate::report::{Table, millis};
use crate::stats::{Quantiles, median};
use crate::tally::Tally;

/// One closed-loop round.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    answers: Tally,
    requests_per_second: f64,
    /// CPU time of the drowse process alone, for each request of the round.
    drowse_cpu_us_per_request: f64,
}

impl Round {
    pub(super) fn new(answers: Tally, took: Duration, cpu: Duration) -> Self {
        let good = answers.good() as f64;
        let micros = cpu.as_secs_f64() * 1e6;
        Self {
            requests_per_second: good / took.as_secs_f64().max(f64::EPSILON),
            drowse_cpu_us_per_request: micros / good.max(1.0),
            answers,
        }
    }
}

/// The medians over the closed-loop rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Medians {
    requests_per_second: f64,
    drowse_cpu_us_per_request: f64,
}

impl Medians {
    fn of(rounds: &[Round]) -> Self {
        Self {
            requests_per_second: median(rounds.iter().map(|round| round.requests_per_second))
                .unwrap_or_default(),
            drowse_cpu_us_per_request: median(rounds.iter().map(|round| round.drowse_cpu_us_per_request))
                .unwrap_or_default(),
        }
    }
}

/// Open-loop latencies of all rounds together.
#[derive(Debug, Serialize)]
struct Latency {
    answers: Tally,
    #[serde(flatten)]
    quantiles: Quantiles,
}

impl From<Latencies> for Latency {
    fn from(all: Latencies) -> Self {
        Self { answers: all.answers, quantiles: all.recorder.quantiles() }
    }
}

/// The figures of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    connections: u16,
    pub(super) direct: Vec<Round>,
    pub(super) through: Vec<Round>,
    /// Requests a second through Drowse over those straight to the agent, from the medians.
    ratio: f64,
    drowse_cpu_us_per_request: f64,
    rate: u32,
    latency_direct: Option<Latency>,
    latency_through: Option<Latency>,
}

impl Figures {
    pub(super) fn new(connections: u16, rate: u32) -> Self {
        Self {
            connections,
            direct: Vec::new(),
            through: Vec::new(),
            ratio: 0.0,
            drowse_cpu_us_per_request: 0.0,
            rate,
            latency_direct: None,
            latency_through: None,
        }
    }

    /// Sums up, when all rounds are there.
    pub(super) fn conclude(&mut self, direct: Latencies, through: Latencies) {
        let (to_agent, to_door) = (Medians::of(&self.direct), Medians::of(&self.through));
        self.ratio = to_door.requests_per_second / to_agent.requests_per_second.max(f64::EPSILON);
        self.drowse_cpu_us_per_request = to_door.drowse_cpu_us_per_request;
        self.latency_direct = Some(direct.into());
        self.latency_through = Some(through.into());
    }

    /// Whether every request was answered 200.
    pub(crate) fn is_clean(&self) -> bool {
        self.ends().all(Tally::is_clean)
    }

    fn ends(&self) -> impl Iterator<Item = &Tally> {
        let rounds = self.direct.iter().chain(&self.through).map(|round| &round.answers);
        rounds.chain(self.latency_direct.iter().chain(&self.latency_through).map(|latency| &latency.answers))
    }

    pub(crate) fn table(&self) -> String {
        format!("{}\n{}{}", self.closed_table(), self.open_table(), self.failures())
    }

    fn closed_table(&self) -> Table {
        let title = format!("warm, closed loop, {} connections", self.connections);
        let mut table = Table::new(&[&title, "direct req/s", "through req/s", "drowse CPU us/req"]);
        let line = |name: String, direct: f64, through: Medians| {
            [
                name,
                format!("{direct:.0}"),
                format!("{:.0}", through.requests_per_second),
                format!("{:.1}", through.drowse_cpu_us_per_request),
            ]
        };
        for (number, (direct, through)) in self.direct.iter().zip(&self.through).enumerate() {
            let through = Medians::of(std::slice::from_ref(through));
            table.row(line(format!("round {}", number + 1), direct.requests_per_second, through));
        }
        let medians = (Medians::of(&self.direct), Medians::of(&self.through));
        table.row(line("median".to_owned(), medians.0.requests_per_second, medians.1));
        table.row(["through / direct".to_owned(), String::new(), format!("{:.3}", self.ratio)]);
        table
    }

    fn open_table(&self) -> Table {
        let title = format!("warm, open loop, {} req/s, ms", self.rate);
        let mut table = Table::new(&[&title, "p50", "p99", "p99.9", "max"]);
        for (name, latency) in [("direct", &self.latency_direct), ("through", &self.latency_through)] {
            if let Some(Latency { quantiles, .. }) = latency {
                let values = [quantiles.p50_ms, quantiles.p99_ms, quantiles.p999_ms, quantiles.max_ms];
                table.row(std::iter::once(name.to_owned()).chain(values.map(millis)));
            }
        }
        table
    }

    /// What was not answered 200, if anything.
    fn failures(&self) -> String {
        let unclean = self.ends().filter(|tally| !tally.is_clean());
        let lines: Vec<_> = unclean.map(|tally| format!("answers of a round: {}\n", tally.text())).collect();
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(good: u64, cpu_ms: u64) -> Round {
        let mut answers = Tally::default();
        answers.count("200".to_owned(), good);
        Round::new(answers, Duration::from_secs(2), Duration::from_millis(cpu_ms))
    }

    fn latencies(took_ms: &[u64]) -> Latencies {
        let mut all = Latencies::new().unwrap();
        for took in took_ms {
            all.recorder.record(Duration::from_millis(*took));
            all.answers.count("200".to_owned(), 1);
        }
        all
    }

    fn figures() -> Figures {
        let mut figures = Figures::new(64, 2000);
        figures.direct.extend([round(1000, 0), round(2000, 0), round(9000, 0)]);
        figures.through.extend([round(500, 5), round(1000, 20), round(800, 80)]);
        figures.conclude(latencies(&[1, 1]), latencies(&[2, 2]));
        figures
    }

    #[test]
    fn medians_are_compared_not_single_rounds() {
        let figures = figures();
        assert!((figures.ratio - 0.4).abs() < 1e-9, "{figures:?}");
        assert!((figures.drowse_cpu_us_per_request - 20.0).abs() < 1e-9, "{figures:?}");
        assert!(figures.is_clean());
    }

    #[test]
    fn a_round_without_an_answer_has_figures_and_is_not_clean() {
        let mut figures = figures();
        figures.through.push(Round::new(Tally::default(), Duration::ZERO, Duration::ZERO));
        assert!(figures.through.iter().all(|round| round.requests_per_second.is_finite()));
        assert!(!figures.is_clean());
        assert!(figures.table().ends_with("answers of a round: none\n"), "{}", figures.table());
    }

    #[test]
    fn the_table_has_every_round() {
        let table = figures().table();
        for part in ["round 3", "median", "through / direct", "0.400", "open loop, 2000 req/s"] {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
    }
}
