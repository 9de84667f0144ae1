//! The figures of the scenario, for people and programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::procfs::Memory;
use crate::report::{Table, millis};
use crate::stats::Quantiles;

/// What so many sleeping agents took.
#[derive(Debug, Serialize)]
pub(super) struct Asleep {
    pub(super) agents: u32,
    /// From the start of the process until it said that it is ready.
    pub(super) ready_secs: f64,
    /// From the start of the process until the server had every agent registered.
    pub(super) registered_secs: f64,
    pub(super) memory: Memories,
    pub(super) at_rest: Shares,
    /// From a request to a sleeping agent to its reply.
    pub(super) wakes: Quantiles,
}

/// Resident memory.
#[derive(Debug, Serialize)]
pub(super) struct Memories {
    /// While all sleep.
    pub(super) drowse: Memory,
    pub(super) drowse_after_wakes: Memory,
    /// Before there was a Drowse.
    pub(super) server_before: Memory,
    /// While all sleep.
    pub(super) server: Memory,
}

/// CPU time in percent of one CPU, while all sleep and nobody calls.
#[derive(Debug, Serialize)]
pub(super) struct Shares {
    drowse: f64,
    server: f64,
}

impl Shares {
    /// From the CPU times of `[drowse, server]`.
    pub(super) fn new(before: [Duration; 2], after: [Duration; 2], during: Duration) -> Self {
        let share = |at: usize| {
            let used = after[at].saturating_sub(before[at]).as_secs_f64();
            100.0 * used / during.as_secs_f64().max(f64::EPSILON)
        };
        Self { drowse: share(0), server: share(1) }
    }
}

/// The figures of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    runs: Vec<Asleep>,
    /// Of each agent beyond the first few.
    drowse_bytes_per_agent: f64,
    server_bytes_per_agent: f64,
}

impl Figures {
    /// Of a few agents, and of many.
    pub(super) fn new(runs: Vec<Asleep>) -> Self {
        let drowse_bytes_per_agent = bytes_per_agent(&runs, |memory| memory.drowse.now_kb);
        let server_bytes_per_agent = bytes_per_agent(&runs, |memory| memory.server.now_kb);
        Self { runs, drowse_bytes_per_agent, server_bytes_per_agent }
    }

    fn rows(&self) -> Vec<[String; 3]> {
        let row = |name: &str, cell: fn(&Asleep) -> String| {
            let mut cells = self.runs.iter().map(cell);
            [name.to_owned(), cells.next().unwrap_or_default(), cells.next().unwrap_or_default()]
        };
        vec![
            row("start of Drowse -> it is ready", |run| secs(run.ready_secs)),
            row("start of Drowse -> all registered", |run| secs(run.registered_secs)),
            row("RSS of Drowse", |run| mb(run.memory.drowse.now_kb)),
            row("RSS of Drowse at its peak", |run| mb(run.memory.drowse.peak_kb)),
            row("RSS of Drowse after the wakes", |run| mb(run.memory.drowse_after_wakes.now_kb)),
            row("RSS of nats-server before", |run| mb(run.memory.server_before.now_kb)),
            row("RSS of nats-server", |run| mb(run.memory.server.now_kb)),
            row("CPU of Drowse at rest", |run| percent(run.at_rest.drowse)),
            row("CPU of nats-server at rest", |run| percent(run.at_rest.server)),
            row("request -> reply of a sleeping agent, p50 / p99 / max", |run| {
                let Quantiles { p50_ms, p99_ms, max_ms, .. } = run.wakes;
                format!("{} / {} / {} ms", millis(p50_ms), millis(p99_ms), millis(max_ms))
            }),
        ]
    }

    fn heads(&self) -> Vec<String> {
        self.runs.iter().map(|run| format!("{} agents", run.agents)).collect()
    }

    pub(crate) fn table(&self) -> String {
        let heads = self.heads();
        let mut heads: Vec<_> = heads.iter().map(String::as_str).collect();
        heads.insert(0, "sleepers on one leaf-node link");
        let mut table = Table::new(&heads);
        for row in self.rows() {
            table.row(row);
        }
        let wakes: Vec<_> = self.runs.iter().map(|run| run.wakes.count.to_string()).collect();
        format!(
            "{table}bytes an agent: Drowse {:.0}, nats-server {:.0}; wakes: {}\n\n{}",
            self.drowse_bytes_per_agent,
            self.server_bytes_per_agent,
            wakes.join(" and "),
            self.markdown()
        )
    }

    /// As README.md has them.
    fn markdown(&self) -> String {
        let mut text = format!(
            "| agents asleep on one leaf-node link | {} |\n|---|---|---|\n",
            self.heads().join(" | ")
        );
        for row in self.rows() {
            _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

/// What each agent takes, of those of the second run beyond those of the first.
fn bytes_per_agent(runs: &[Asleep], of: impl Fn(&Memories) -> u64) -> f64 {
    let [few, many] = runs else { return 0.0 };
    let kb = of(&many.memory).saturating_sub(of(&few.memory));
    kb as f64 * 1024.0 / f64::from(many.agents.saturating_sub(few.agents).max(1))
}

fn secs(secs: f64) -> String {
    format!("{secs:.2} s")
}

fn mb(kb: u64) -> String {
    format!("{:.1} MB", kb as f64 * 1024.0 / 1e6)
}

fn percent(share: f64) -> String {
    format!("{share:.1}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Recorder;

    fn asleep(agents: u32, kb: u64) -> Asleep {
        let memory = |now_kb| Memory { now_kb, peak_kb: now_kb * 2 };
        let [before, after] = [1, 2].map(Duration::from_secs);
        Asleep {
            agents,
            ready_secs: 0.5,
            registered_secs: 1.25,
            memory: Memories {
                drowse: memory(kb),
                drowse_after_wakes: memory(kb),
                server_before: memory(9000),
                server: memory(kb * 3),
            },
            at_rest: Shares::new([before; 2], [after, before], Duration::from_secs(10)),
            wakes: Recorder::new().unwrap().quantiles(),
        }
    }

    #[test]
    fn an_agent_takes_what_many_take_more_than_a_few() {
        let figures = Figures::new(vec![asleep(100, 10_000), asleep(10_100, 20_000)]);
        assert!((figures.drowse_bytes_per_agent - 1024.0).abs() < 1e-9, "{figures:?}");
        assert!((figures.server_bytes_per_agent - 3072.0).abs() < 1e-9, "{figures:?}");
    }

    #[test]
    fn time_at_rest_is_a_share_of_one_cpu() {
        let shares = asleep(1, 1).at_rest;
        assert_eq!((shares.drowse, shares.server), (10.0, 0.0));
    }

    #[test]
    fn the_rows_for_the_readme_are_those_of_the_table() {
        let table = Figures::new(vec![asleep(100, 10_000), asleep(10_000, 20_000)]).table();
        for part in [
            "100 agents",
            "| start of Drowse -> all registered | 1.25 s | 1.25 s |",
            "| CPU of Drowse at rest | 10.0% | 10.0% |",
        ] {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
    }
}
