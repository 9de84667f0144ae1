//! The figures of the scenario, for people and programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::storm::Storms;
use super::{FEW, bytes_per_agent};
use crate::goal::Goal;
use crate::procfs::Memory;
use crate::report::{Table, millis};
use crate::stats::Quantiles;

/// So much memory for so many agents is the goal.
const GOAL_AGENTS: f64 = 100_000.0;
const GOAL_MB: f64 = 100.0;

/// The figures of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    sandboxes: u32,
    created_per_second: f64,
    /// From the start of the process until it knows everybody.
    ready_secs: f64,
    rss_few_kb: u64,
    rss_full_kb: u64,
    rss_peak_kb: u64,
    rss_after_storms_kb: u64,
    bytes_per_agent: f64,
    goals: Vec<Goal>,
    storms: Vec<Storms>,
}

impl Figures {
    pub(super) fn new(
        sandboxes: u32,
        create_secs: f64,
        ready_in: Duration,
        [few, full, after]: [Memory; 3],
        storms: Vec<Storms>,
    ) -> Self {
        let bytes = bytes_per_agent(few, full, sandboxes);
        let at_goal = (few.now_kb as f64 * 1024.0 + bytes * (GOAL_AGENTS - f64::from(FEW))) / 1e6;
        Self {
            sandboxes,
            created_per_second: f64::from(sandboxes.saturating_sub(FEW)) / create_secs.max(f64::EPSILON),
            ready_secs: ready_in.as_secs_f64(),
            rss_few_kb: few.now_kb,
            rss_full_kb: full.now_kb,
            rss_peak_kb: full.peak_kb,
            rss_after_storms_kb: after.now_kb,
            bytes_per_agent: bytes,
            goals: vec![Goal::at_most(goal_name(sandboxes), at_goal, GOAL_MB, " MB")],
            storms,
        }
    }

    /// Whether every request was answered, and every resume was one write.
    pub(crate) fn is_clean(&self) -> bool {
        self.storms.iter().all(|storm| {
            storm.resumes.answers.is_clean()
                && storm.suspends.answers.is_clean()
                && (storm.resumes.writes_per_resume - 1.0).abs() < f64::EPSILON
        })
    }

    pub(crate) fn table(&self) -> String {
        let mut table = Table::new(&["scale", ""]);
        let mb = |kb: u64| format!("{:.1} MB", kb as f64 * 1024.0 / 1e6);
        let rows = [
            ("Sandboxes, asleep", self.sandboxes.to_string()),
            ("made, a second", format!("{:.0}", self.created_per_second)),
            ("start of Drowse -> full table", format!("{:.2} s", self.ready_secs)),
            ("RSS with the first 500, at rest", mb(self.rss_few_kb)),
            ("RSS with the full table, at rest", mb(self.rss_full_kb)),
            ("RSS at its peak until then", mb(self.rss_peak_kb)),
            ("RSS after the storms, at rest", mb(self.rss_after_storms_kb)),
            ("bytes an agent", format!("{:.0}", self.bytes_per_agent)),
        ];
        for (name, value) in rows {
            table.row([name.to_owned(), value]);
        }
        let goals: Vec<_> = self.goals.iter().map(Goal::text).collect();
        let storms: Vec<_> = self.storms.iter().map(storm_table).collect();
        format!("{table}{}\n{}", goals.concat(), storms.join("\n"))
    }
}

fn goal_name(sandboxes: u32) -> String {
    let how = if f64::from(sandboxes) < GOAL_AGENTS { ", extrapolated" } else { "" };
    format!("RSS at 100,000 Sandboxes{how}")
}

fn storm_table(storm: &Storms) -> String {
    let Storms { rate, resumes, suspends } = storm;
    let pace = rate.map_or_else(|| "all at once".to_owned(), |rate| format!("{rate} a second"));
    let title = format!("storm, resumes {pace}, then suspensions, ms");
    let mut table = Table::new(&[&title, "p50", "p90", "p99", "max"]);
    let mut row = |name: &str, q: Quantiles| {
        let values = [q.p50_ms, q.p90_ms, q.p99_ms, q.max_ms].map(millis);
        table.row(std::iter::once(name.to_owned()).chain(values));
    };
    row("demand -> patch", resumes.demand_to_patch);
    row("demand -> Running", resumes.demand_to_up);
    row("suspension: demand -> written", suspends.demand_to_answer);
    format!(
        "{table}resumes: {}; a second: {:.1} patches, {:.1} pods, {:.1} agents up; {:.3} writes each; all PATCHes: {}\n\
         suspensions: {}; a second: {:.1} patches; all PATCHes: {}\n",
        resumes.answers.text(),
        resumes.patches_per_second,
        resumes.pods_per_second,
        resumes.up_per_second,
        resumes.writes_per_resume,
        by_status(&resumes.patch_requests),
        suspends.answers.text(),
        suspends.patches_per_second,
        by_status(&suspends.patch_requests),
    )
}

fn by_status(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(code, count)| format!("{code}: {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_extrapolated_from_what_an_agent_takes() {
        let memory = |now_kb| Memory { now_kb, peak_kb: now_kb };
        let all = [memory(10_000), memory(18_000), memory(19_000)];
        let figures = Figures::new(10_500, 50.0, Duration::from_secs(2), all, Vec::new());
        // However wide its columns are.
        let table = figures.table().split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["made, a second 200", "bytes an agent 819", "met: RSS"] {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
        assert!(figures.is_clean());
    }
}
