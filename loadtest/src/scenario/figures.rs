//! What a run has shown, for people and programs.

use std::fmt::Write as _;
use std::sync::Arc;

use ::drowse::units::HumanDuration;
use serde::Serialize;

use super::book::Page;
use super::caller::Caller;
use super::file::{Arrivals, Part, Scenario};
use super::trace::Cut;
use super::trend::Trend;
use super::watch::Look;
use crate::goal::Goal;
use crate::report::{Table, millis};
use crate::stats::{Quantiles, Recorder};
use crate::tally::Tally;

/// Points of a curve for each ten times as many calls.
const POINTS_PER_DECADE: f64 = 12.0;

/// The growth of memory is judged in runs of this length or more: in shorter ones, it is mostly that of starting up.
const FLAT_FROM_SECS: f64 = 600.0;

/// What was seen of a run from outside.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) looks: Vec<Look>,
    /// Of agents.
    pub(super) starts: u64,
    pub(super) suspensions: u64,
    pub(super) peak_kb: u64,
}

/// The figures of one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) agents: u32,
    pub(super) idle_timeout_secs: f64,
    pub(super) length_secs: f64,
    pub(super) parts: Vec<PartFigures>,
    /// Of agents.
    pub(super) starts: u64,
    pub(super) suspensions: u64,
    pub(super) agents_up_peak: u64,
    /// The most resident memory that Drowse ever had.
    pub(super) rss_peak_kb: u64,
    /// CPU time of Drowse over the whole run, in percent of one CPU.
    pub(super) cpu_percent: f64,
    pub(super) memory: Option<Trend>,
    pub(super) goals: Vec<Goal>,
    /// Once a second.
    pub(super) looks: Vec<Look>,
}

/// The figures of one part of the traffic.
#[derive(Debug, Serialize)]
pub(super) struct PartFigures {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) arrivals: String,
    /// Nothing where a trace says who is called.
    pub(super) popularity: Option<String>,
    /// Calls that should have been made.
    pub(super) calls: u64,
    pub(super) answered: u64,
    pub(super) hung_up: u64,
    pub(super) failed: u64,
    /// By what happened.
    pub(super) failures: Tally,
    /// What of a trace was replayed.
    pub(super) trace: Option<Cut>,
    /// How late the generator was. Latencies have it in them.
    pub(super) late: Quantiles,
    pub(super) warm: Latency,
    pub(super) woken: Latency,
}

/// Of the calls that were answered: from when they should have been made to the last byte, or the first event.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    #[serde(flatten)]
    pub(super) quantiles: Quantiles,
    /// Pairs: of so many calls one takes longer; longer than so many milliseconds.
    pub(super) curve: Vec<(f64, f64)>,
}

impl From<&Recorder> for Latency {
    fn from(recorder: &Recorder) -> Self {
        let most = recorder.count() as f64;
        let points = std::iter::successors(Some(0.0), |step: &f64| Some(step + 1.0));
        let points = points.map(|step: f64| 10_f64.powf(step / POINTS_PER_DECADE));
        let inner = points.take_while(|one_of| *one_of < most);
        let last = (most > 0.0).then_some(most);
        let curve = inner.chain(last).map(|one_of| (one_of, recorder.at(1.0 - 1.0 / one_of)));
        Self { quantiles: recorder.quantiles(), curve: curve.collect() }
    }
}

impl Figures {
    pub(super) fn new(scenario: &Scenario, callers: &[Arc<Caller>], seen: Seen) -> Self {
        let Seen { looks, starts, suspensions, peak_kb } = seen;
        let parts = scenario.traffic.iter().zip(callers);
        let parts: Vec<_> = parts
            .map(|(part, caller)| caller.book.read(|page| PartFigures::new(scenario, part, page)))
            .collect();
        let length_secs = scenario.length().as_secs_f64();
        let during: Vec<_> = looks.iter().filter(|look| look.at <= length_secs + 0.5).collect();
        let memory: Vec<_> = during.iter().map(|look| (look.at, look.rss_kb as f64)).collect();
        let secs: f64 = looks.iter().map(|look| look.secs).sum();
        let busy: f64 = looks.iter().map(|look| look.cpu_percent * look.secs).sum();
        let mut figures = Self {
            name: scenario.name.clone(),
            about: scenario.about.trim().to_owned(),
            agents: scenario.agents.count,
            idle_timeout_secs: scenario.agents.idle_timeout.get().as_secs_f64(),
            length_secs,
            parts,
            starts,
            suspensions,
            agents_up_peak: looks.iter().filter_map(|look| look.agents_up).max().unwrap_or_default(),
            rss_peak_kb: peak_kb,
            cpu_percent: busy / secs.max(f64::EPSILON),
            memory: Trend::of(&memory),
            goals: Vec::new(),
            looks,
        };
        figures.goals = figures.judge(scenario);
        figures
    }

    fn judge(&self, scenario: &Scenario) -> Vec<Goal> {
        let mut goals: Vec<_> = self
            .parts
            .iter()
            .zip(&scenario.traffic)
            .flat_map(|(figures, part)| figures.judge(part))
            .collect();
        if let Some(most) = scenario.goals.starts {
            goals.push(Goal::at_most("starts of agents", self.starts as f64, most as f64, ""));
        }
        let is_long = self.length_secs >= FLAT_FROM_SECS;
        if let Some(most) = scenario.goals.memory_growth.filter(|_| is_long) {
            // What nobody has looked at is not reached.
            let growth = self.memory.map_or(f64::INFINITY, |memory| memory.growth_percent);
            goals.push(Goal::at_most("memory, last tenth over second tenth", growth, most, " %"));
        }
        goals
    }

    /// Whether every goal is met.
    pub(crate) fn is_clean(&self) -> bool {
        self.goals.iter().all(Goal::is_met)
    }

    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}: {}\n\n", self.name, self.about);
        let mut table = Table::new(&["calls", "due", "answered", "hung up", "failed", "how often, to whom"]);
        for part in &self.parts {
            let numbers =
                [part.calls, part.answered, part.hung_up, part.failed].map(|count| count.to_string());
            let who = part.popularity.as_ref().map(|who| format!(", {who}")).unwrap_or_default();
            let row = std::iter::once(format!("{} ({})", part.name, part.kind)).chain(numbers);
            table.row(row.chain([format!("{}{who}", part.arrivals)]));
        }
        _ = writeln!(text, "{table}");
        let mut table = Table::new(&["latency, ms", "calls", "p50", "p90", "p99", "p99.9", "max"]);
        for part in &self.parts {
            for (name, Latency { quantiles, .. }) in part.latencies() {
                table.row([format!("{}, {name}", part.name)].into_iter().chain(cells(quantiles)));
            }
        }
        _ = writeln!(text, "{table}");
        for part in &self.parts {
            if part.failed > 0 {
                _ = writeln!(text, "failed, {}: {}", part.name, part.failures.text());
            }
            if let Some(cut) = &part.trace {
                _ = writeln!(text, "{}: {}", part.name, cut.text());
            }
        }
        for (name, value) in self.facts() {
            _ = writeln!(text, "{name}: {value}");
        }
        self.goals.iter().for_each(|goal| text += &goal.text());
        text
    }

    /// What there is to know besides calls.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mb = |kb: f64| format!("{:.1} MB", kb / 1000.0);
        let idle = HumanDuration::from(std::time::Duration::from_secs_f64(self.idle_timeout_secs));
        let late = |quantile: fn(&Quantiles) -> f64| {
            millis(self.parts.iter().map(|part| quantile(&part.late)).fold(0.0, f64::max))
        };
        let mut facts = vec![
            (
                "agents",
                format!(
                    "{}, idle timeout {idle}; started {} times, suspended {} times, at most {} up at once",
                    self.agents, self.starts, self.suspensions, self.agents_up_peak
                ),
            ),
            (
                "drowse",
                format!(
                    "{} of memory at its peak, {:.1} % of one CPU",
                    mb(self.rss_peak_kb as f64),
                    self.cpu_percent
                ),
            ),
            (
                "generator",
                format!(
                    "late by {} ms at p99, {} ms at most",
                    late(|late| late.p99_ms),
                    late(|late| late.max_ms)
                ),
            ),
        ];
        if let Some(Trend { slope_kb_per_hour, early_kb, late_kb, growth_percent }) = self.memory {
            let judged = if self.length_secs < FLAT_FROM_SECS { "; too short a run to judge it" } else { "" };
            facts.push((
                "its memory",
                format!(
                    "{} in the second tenth of the time, {} in the last ({growth_percent:+.1} %); over the second half \
                     {:+.2} MB an hour{judged}",
                    mb(early_kb),
                    mb(late_kb),
                    slope_kb_per_hour / 1000.0
                ),
            ));
        }
        facts
    }
}

/// As both tables have them.
pub(super) fn cells(quantiles: &Quantiles) -> [String; 6] {
    let Quantiles { count, p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = *quantiles;
    let [p50, p90, p99, p999, max] = [p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(millis);
    [count.to_string(), p50, p90, p99, p999, max]
}

impl PartFigures {
    fn new(scenario: &Scenario, part: &Part, page: &Page) -> Self {
        let trace = match (&part.arrivals, &part.trace) {
            (Arrivals::Trace { speed, at_most, .. }, Some(trace)) => {
                Some(trace.cut(scenario.agents.count, *at_most, *speed, scenario.length()))
            }
            _ => None,
        };
        Self {
            name: part.name.clone(),
            kind: part.kind.text(),
            arrivals: part.arrivals.text(),
            popularity: part.popularity.map(super::file::Popularity::text),
            calls: page.due,
            answered: page.answered(),
            hung_up: page.hung_up,
            failed: page.failures.total(),
            failures: page.failures.clone(),
            trace,
            late: page.late.quantiles(),
            warm: (&page.warm).into(),
            woken: (&page.woken).into(),
        }
    }

    /// Those that there are.
    pub(super) fn latencies(&self) -> impl Iterator<Item = (&'static str, &Latency)> {
        let both = [("warm", &self.warm), ("woken", &self.woken)];
        both.into_iter().filter(|(_, latency)| latency.quantiles.count > 0)
    }

    fn judge(&self, part: &Part) -> Vec<Goal> {
        let mut goals = vec![Goal::at_most(
            format!("{}, failed", self.name),
            self.failed as f64,
            part.goals.failed as f64,
            "",
        )];
        let latencies =
            [("warm", &self.warm, part.goals.warm_p99), ("woken", &self.woken, part.goals.woken_p99)];
        for (name, Latency { quantiles, .. }, most) in latencies {
            if let Some(most) = most {
                // Nothing at all is not fast.
                let p99 = if quantiles.count > 0 { quantiles.p99_ms } else { f64::INFINITY };
                let most_ms = most.get().as_secs_f64() * 1000.0;
                goals.push(Goal::at_most(format!("{}, {name}, p99", self.name), p99, most_ms, " ms"));
            }
        }
        goals
    }
}

#[cfg(test)]
pub(super) mod tests;
