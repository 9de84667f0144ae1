//! What the rounds of each mode add up to, and whether the goals are met.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::abuser::Done;
use super::modes::Mode;
use crate::args;
use crate::open_loop::Latencies;
use crate::report::{Table, millis};
use crate::stats::Quantiles;
use crate::tally::Tally;

/// Honest callers' p99 with abuse over that without it, at most: the median of all rounds, in each of which one follows the other.
/// One pause of the machine is a whole round's p99, and there are times with more of them and with less.
const RATIO: f64 = 1.2;
/// What abuse adds to the memory of Drowse, in kB, at most.
const MEMORY_KB: u64 = 64_000;

/// The figures of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    rate: u32,
    callers: u16,
    answer_ms: u16,
    rounds: u16,
    pub(super) modes: Vec<Abused>,
}

/// One kind of abuse.
#[derive(Debug, Serialize)]
pub(super) struct Abused {
    mode: Mode,
    /// That the abuser wanted to have open.
    connections: u32,
    abuser: Done,
    /// Of the honest callers, in all rounds.
    answers: Tally,
    without: Quantiles,
    during: Quantiles,
    /// The median of the rounds, and so on for the others.
    p99_without_ms: f64,
    p99_during_ms: f64,
    ratio: f64,
    /// Between these are the ratios of half of the rounds.
    ratio_quartiles: [f64; 2],
    /// CPU time of the drowse process, in percent of one CPU.
    cpu_without: f64,
    cpu_during: f64,
    rss_before_kb: u64,
    /// The most that was seen.
    rss_most_kb: u64,
    /// How often which bound of Drowse was hit.
    bounds_hit: BTreeMap<String, u64>,
    goal_met: bool,
}

/// Of honest callers.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) latencies: Latencies,
    /// Of the drowse process.
    pub(super) cpu: Duration,
    pub(super) length: Duration,
}

/// Of honest callers, in all rounds of a kind.
#[derive(Debug)]
pub(super) struct Rounds {
    all: Load,
    p99s_ms: Vec<f64>,
}

impl Rounds {
    pub(super) fn new() -> anyhow::Result<Self> {
        let all = Load { latencies: Latencies::new()?, cpu: Duration::ZERO, length: Duration::ZERO };
        Ok(Self { all, p99s_ms: Vec::new() })
    }

    pub(super) fn add(&mut self, round: Load) -> anyhow::Result<()> {
        self.p99s_ms.push(round.latencies.recorder.quantiles().p99_ms);
        self.all.cpu += round.cpu;
        self.all.length += round.length;
        self.all.latencies.merge(round.latencies)
    }

    fn median_p99_ms(&self) -> f64 {
        quartile(2, &self.p99s_ms)
    }

    /// What the p99 of each round is to that of the one beside it.
    fn ratios(&self, without: &Self) -> Vec<f64> {
        self.p99s_ms.iter().zip(&without.p99s_ms).map(|(with, without)| with / without.max(0.001)).collect()
    }

    fn cpu_percent(&self) -> f64 {
        100.0 * self.all.cpu.as_secs_f64() / self.all.length.as_secs_f64().max(f64::EPSILON)
    }
}

/// The lower one of two; 0 without any.
fn quartile(number: usize, of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(number * sorted.len().saturating_sub(1) / 4).copied().unwrap_or_default()
}

impl Done {
    pub(super) fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.peak = self.peak.max(other.peak);
        self.ended += other.ended;
        self.frames += other.frames;
    }
}

impl Abused {
    pub(super) fn new(
        mode: Mode,
        options: &args::Abuse,
        without: Rounds,
        during: Rounds,
        [rss_before_kb, rss_most_kb]: [u64; 2],
        abuser: Done,
        bounds_hit: BTreeMap<String, u64>,
    ) -> Self {
        let [cpu_without, cpu_during] = [&without, &during].map(Rounds::cpu_percent);
        let ratios = during.ratios(&without);
        let [low, ratio, high] = [1, 2, 3].map(|number| quartile(number, &ratios));
        let [p99_without_ms, p99_during_ms] = [&without, &during].map(Rounds::median_p99_ms);
        let [before, after] = [&without, &during].map(|rounds| rounds.all.latencies.recorder.quantiles());
        let mut answers = without.all.latencies.answers;
        answers.merge(during.all.latencies.answers);
        let grown_kb = rss_most_kb.saturating_sub(rss_before_kb);
        Self {
            mode,
            connections: if mode.is_slow() { options.connections } else { options.floods },
            abuser,
            goal_met: ratio <= RATIO && grown_kb <= MEMORY_KB && answers.is_clean(),
            answers,
            without: before,
            during: after,
            p99_without_ms,
            p99_during_ms,
            ratio,
            ratio_quartiles: [low, high],
            cpu_without,
            cpu_during,
            rss_before_kb,
            rss_most_kb,
            bounds_hit,
        }
    }

    fn memory(&self) -> String {
        format!("+{:.1}", self.rss_most_kb.saturating_sub(self.rss_before_kb) as f64 / 1000.0)
    }
}

impl Figures {
    pub(super) const fn new(options: &args::Abuse) -> Self {
        let args::Abuse { rate, callers, answer_ms, rounds, .. } = *options;
        Self { rate, callers, answer_ms, rounds, modes: Vec::new() }
    }

    /// Whether every honest request was answered 200.
    pub(crate) fn is_clean(&self) -> bool {
        self.modes.iter().all(|mode| mode.answers.is_clean())
    }

    pub(crate) fn table(&self) -> String {
        let title = format!("abuse, {} honest req/s of {} ms", self.rate, self.answer_ms);
        let mut table = Table::new(&[
            &title,
            "connections",
            "p99 without, ms",
            "p99 with, ms",
            "ratio",
            "of half the rounds",
            "memory, MB",
            "CPU without, %",
            "CPU with, %",
            "goal met",
        ]);
        for mode in &self.modes {
            table.row([
                mode.mode.name(),
                mode.connections.to_string(),
                millis(mode.p99_without_ms),
                millis(mode.p99_during_ms),
                format!("{:.2}", mode.ratio),
                format!("{:.2} to {:.2}", mode.ratio_quartiles[0], mode.ratio_quartiles[1]),
                mode.memory(),
                format!("{:.1}", mode.cpu_without),
                format!("{:.1}", mode.cpu_during),
                if mode.goal_met { "yes" } else { "NO" }.to_owned(),
            ]);
        }
        let mut did = Table::new(&[
            "what the abusers did",
            "opened",
            "at once",
            "ended by Drowse",
            "frames",
            "bounds hit",
        ]);
        for mode in &self.modes {
            let Done { opened, peak, ended, frames } = mode.abuser;
            let bounds: Vec<_> =
                mode.bounds_hit.iter().map(|(bound, hits)| format!("{bound}: {hits}")).collect();
            let counts = [opened, peak, ended, frames].map(|count| count.to_string());
            did.row(std::iter::once(mode.mode.name()).chain(counts).chain([bounds.join(", ")]));
        }
        format!("{table}\n{did}{}", self.failures())
    }

    /// What was not answered 200, if anything.
    fn failures(&self) -> String {
        let failed = self.modes.iter().filter(|mode| !mode.answers.is_clean());
        let lines =
            failed.map(|mode| format!("answers with {}: {}\n", mode.mode.name(), mode.answers.text()));
        lines.collect::<Vec<_>>().concat()
    }
}

/// The bounds that were hit, as the metrics of Drowse have them.
pub(super) fn bounds_hit(metrics: &str) -> BTreeMap<String, u64> {
    let bounds = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("drowse_bounds_hit_total{bound=\"")?;
        let (bound, hits) = rest.split_once("\"} ")?;
        Some((bound.to_owned(), hits.trim().parse().ok()?))
    });
    bounds.filter(|(_, hits)| *hits > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> args::Abuse {
        args::Abuse {
            only: Vec::new(),
            connections: 1000,
            floods: 10,
            callers: 64,
            rate: 1000,
            answer_ms: 20,
            rounds: 2,
            slow_secs: 8,
            flood_secs: 3,
        }
    }

    fn load(took_ms: u64, status: &str) -> Load {
        let mut latencies = Latencies::new().unwrap();
        latencies.recorder.record(Duration::from_millis(took_ms));
        latencies.answers.count(status.to_owned(), 1);
        Load { latencies, cpu: Duration::from_millis(100), length: Duration::from_secs(1) }
    }

    fn rounds(loads: Vec<Load>) -> Rounds {
        let mut rounds = Rounds::new().unwrap();
        for load in loads {
            rounds.add(load).unwrap();
        }
        rounds
    }

    fn abused(during: Load, most_kb: u64) -> Abused {
        let bounds = bounds_hit("drowse_bounds_hit_total{bound=\"head\"} 7\n");
        Abused::new(
            Mode::RapidReset,
            &options(),
            rounds(vec![load(10, "200")]),
            rounds(vec![during]),
            [1000, most_kb],
            Done::default(),
            bounds,
        )
    }

    #[test]
    fn the_goal_is_missed_by_latency_by_memory_and_by_an_answer() {
        assert!(abused(load(12, "200"), 65_000).goal_met);
        assert!(!abused(load(13, "200"), 65_000).goal_met);
        assert!(!abused(load(12, "200"), 65_001).goal_met);
        assert!(!abused(load(12, "503"), 65_000).goal_met);
    }

    #[test]
    fn one_round_of_several_in_which_the_machine_paused_says_nothing() {
        let took = |all: &[u64]| rounds(all.iter().map(|ms| load(*ms, "200")).collect()).median_p99_ms();
        let [one, three, two] = [&[10][..], &[10, 500, 10], &[12, 10]].map(took);
        assert!([one, three, two].iter().all(|ms| (9.9..10.1).contains(ms)), "{one} {three} {two}");
    }

    #[test]
    fn rounds_are_compared_with_those_beside_them() {
        let took = |all: &[u64]| rounds(all.iter().map(|ms| load(*ms, "200")).collect());
        // A machine that gets slower and slower, and one pause.
        let ratios = took(&[11, 22, 44, 900, 176]).ratios(&took(&[10, 20, 40, 80, 160]));
        let [low, median, high] = [1, 2, 3].map(|number| quartile(number, &ratios));
        assert!([low, median, high].iter().all(|ratio| (1.05..1.15).contains(ratio)), "{ratios:?}");
    }

    #[test]
    fn the_table_has_every_mode_and_what_its_abusers_did() {
        let mut figures = Figures::new(&options());
        figures.modes.push(abused(load(12, "200"), 65_000));
        assert!(figures.is_clean());
        figures.modes.push(abused(load(12, "503"), 65_000));
        let table = figures.table();
        for part in ["rapid-reset", "1.20", "+64.0", "10.0", "yes", "NO", "head: 7", "503: 1"] {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
        assert!(!figures.is_clean());
    }

    #[test]
    fn bounds_that_were_not_hit_are_left_out() {
        let metrics = "# TYPE x\ndrowse_bounds_hit_total{bound=\"head\"} 0\ndrowse_bounds_hit_total{bound=\"held\"} 3\n";
        assert_eq!(bounds_hit(metrics), BTreeMap::from([("held".to_owned(), 3)]));
    }
}
