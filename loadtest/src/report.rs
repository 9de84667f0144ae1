//! The figures as a table for people and as JSON for programs.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::cluster::{scale, wake as cluster_wake};
use crate::drowse::Program;
use crate::{abuse, messages, peers, procfs, scenario, sleepers, storm, wake};

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    program: String,
    cpus: usize,
    /// Whether the generator was built with optimisation.
    optimised: bool,
    /// The machine's load average over a minute before the run; above zero, others worked too.
    load_before: f64,
    pub(crate) peers: Option<peers::Figures>,
    pub(crate) wake: Option<wake::Figures>,
    pub(crate) storm: Option<storm::Figures>,
    pub(crate) abuse: Option<abuse::Figures>,
    pub(crate) messages: Option<messages::Figures>,
    pub(crate) sleepers: Option<sleepers::Figures>,
    pub(crate) cluster_wake: Option<cluster_wake::Figures>,
    pub(crate) cluster_scale: Option<scale::Figures>,
    /// From files.
    pub(crate) scenarios: Vec<scenario::Figures>,
}

impl Report {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            program: program.0.display().to_string(),
            cpus: std::thread::available_parallelism().map_or(0, Into::into),
            optimised: !cfg!(debug_assertions),
            load_before: procfs::load_average(),
            peers: None,
            wake: None,
            storm: None,
            abuse: None,
            messages: None,
            sleepers: None,
            cluster_wake: None,
            cluster_scale: None,
            scenarios: Vec::new(),
        }
    }

    /// What to know before reading the figures.
    pub(crate) fn head(&self) -> String {
        let note = if self.optimised { "" } else { "built without optimisation: the figures mean nothing\n" };
        format!("{}, {} CPUs, load average before {:.2}\n{note}\n", self.program, self.cpus, self.load_before)
    }

    /// Whether every request was answered as it must be. Scenarios with messages end at once where one is not.
    pub(crate) fn is_clean(&self) -> bool {
        self.peers.as_ref().is_none_or(peers::Figures::is_clean)
            && self.wake.as_ref().is_none_or(|wake| wake.answers.is_clean())
            && self.storm.as_ref().is_none_or(storm::Figures::is_clean)
            && self.abuse.as_ref().is_none_or(abuse::Figures::is_clean)
            && self.cluster_wake.as_ref().is_none_or(|wake| wake.answers.is_clean())
            && self.cluster_scale.as_ref().is_none_or(scale::Figures::is_clean)
            && self.scenarios.iter().all(scenario::Figures::is_clean)
    }

    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
    }
}

/// Milliseconds with as many digits as are worth reading.
pub(crate) fn millis(value: f64) -> String {
    match value {
        small if small < 10.0 => format!("{small:.3}"),
        middle if middle < 1000.0 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    }
}

/// Aligned columns: the first to the left, the others to the right.
#[derive(Debug)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(ToString::to_string).collect()])
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    fn width(&self, column: usize) -> usize {
        self.0.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.0 {
            let cells = row.iter().enumerate().map(|(column, cell)| match self.width(column) {
                width if column == 0 => format!("{cell:<width$}"),
                width => format!("  {cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().concat().trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["x", "p50", ""]);
        table.row(["long".into(), "1".into(), "22".into()]);
        assert_eq!(table.to_string(), "x     p50\nlong    1  22\n");
    }

    #[test]
    fn large_times_lose_their_fractions() {
        assert_eq!([0.0521, 22.25, 16_136.4].map(millis), ["0.052", "22.2", "16136"]);
    }
}
