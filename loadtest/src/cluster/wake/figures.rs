//! The figures of all cycles, and whether the goals are met.

use std::time::Duration;

use serde::Serialize;

use super::cycle::Stages;
use crate::goal::Goal;
use crate::report::{Table, millis};
use crate::stats::{Quantiles, Recorder};
use crate::tally::Tally;

/// The response is to follow the port that takes connections by so much.
const RELEASE_P50_MS: f64 = 5.0;
const RELEASE_P99_MS: f64 = 15.0;
/// A caller is to wait so much of what waiting for the condition Ready takes, with a readiness probe.
const OF_READY: f64 = 0.4;

/// The cycles of one Sandbox.
#[derive(Debug, Serialize)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    what: &'static str,
    pub(super) cycles: Vec<Stages>,
}

/// The figures of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) answers: Tally,
    goals: Vec<Goal>,
    stages: Vec<(&'static str, Vec<(&'static str, Quantiles)>)>,
    kinds: Vec<Kind>,
}

/// The rows of the table.
type Row = (&'static str, fn(&Stages) -> f64);
const ROWS: [Row; 10] = [
    ("patch", |stages| stages.patch),
    ("controller -> pod object", |stages| stages.controller),
    ("schedule", |stages| stages.schedule),
    ("start -> address in pod.status", |stages| stages.start),
    ("probe -> port accepts", |stages| stages.probe),
    ("attest (IDENT)", |stages| stages.attest),
    ("release -> response", |stages| stages.release),
    ("WHOLE: request -> response", |stages| stages.whole),
    ("request -> pod Ready", |stages| stages.pod_ready),
    ("request -> Sandbox Ready", |stages| stages.sandbox_ready),
];

impl Kind {
    pub(super) const fn new(name: &'static str, what: &'static str) -> Self {
        Self { name, what, cycles: Vec::new() }
    }

    fn quantiles(&self, stage: fn(&Stages) -> f64) -> anyhow::Result<Quantiles> {
        let mut recorder = Recorder::new()?;
        for cycle in &self.cycles {
            recorder.record(Duration::from_secs_f64(stage(cycle) / 1000.0));
        }
        Ok(recorder.quantiles())
    }
}

impl Figures {
    pub(super) fn new(kinds: Vec<Kind>, answers: Tally) -> anyhow::Result<Self> {
        let mut stages = Vec::new();
        let mut goals = Vec::new();
        for kind in &kinds {
            let rows: anyhow::Result<Vec<_>> =
                ROWS.iter().map(|(row, stage)| Ok((*row, kind.quantiles(*stage)?))).collect();
            stages.push((kind.what, rows?));
            let release = kind.quantiles(|stages| stages.release)?;
            let [p50, p99] = goal_names(kind.name);
            goals.push(Goal::at_most(p50, release.p50_ms, RELEASE_P50_MS, " ms"));
            goals.push(Goal::at_most(p99, release.p99_ms, RELEASE_P99_MS, " ms"));
            if kind.name == "probed" {
                let whole = kind.quantiles(|stages| stages.whole)?;
                let ready = kind.quantiles(|stages| stages.sandbox_ready)?;
                let ratio = whole.p99_ms / ready.p99_ms.max(f64::EPSILON);
                goals.push(Goal::at_most("whole / Sandbox Ready, p99, with a probe", ratio, OF_READY, ""));
            }
        }
        Ok(Self { answers, goals, stages, kinds })
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (what, rows) in &self.stages {
            let title = format!("wake on a cluster, {what}, ms");
            let mut table = Table::new(&[&title, "p50", "p90", "p99", "max"]);
            for (name, quantiles) in rows {
                let values = [quantiles.p50_ms, quantiles.p90_ms, quantiles.p99_ms, quantiles.max_ms];
                table.row(std::iter::once((*name).to_owned()).chain(values.map(millis)));
            }
            text.push_str(&table.to_string());
            text.push('\n');
        }
        let goals: Vec<_> = self.goals.iter().map(Goal::text).collect();
        text + &goals.concat() + &format!("answers: {}\n", self.answers.text())
    }
}

fn goal_names(kind: &str) -> [&'static str; 2] {
    match kind {
        "plain" => ["release p50, without a probe", "release p99, without a probe"],
        "probed" => ["release p50, with a probe", "release p99, with a probe"],
        _ => ["release p50, slow to listen", "release p99, slow to listen"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &'static str, whole: f64, ready: f64, release: f64) -> Kind {
        let stages = Stages { whole, sandbox_ready: ready, release, ..Stages::default() };
        Kind { cycles: vec![stages; 3], ..Kind::new(name, "what") }
    }

    #[test]
    fn goals_compare_what_was_measured_in_the_same_run() {
        let kinds = vec![kind("plain", 200.0, 210.0, 20.0), kind("probed", 300.0, 1200.0, 2.0)];
        let figures = Figures::new(kinds, Tally::default()).unwrap();
        let table = figures.table();
        for part in [
            "MISSED: release p50, without a probe: 20.02 ms",
            "met: release p99, with a probe",
            "met: whole / Sandbox Ready, p99, with a probe: 0.25, goal at most 0.4\n",
            "WHOLE",
        ] {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
    }
}
