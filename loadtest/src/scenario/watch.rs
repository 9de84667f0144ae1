//! Looks once a second while there is traffic: what became of calls, how many agents are up, and what Drowse takes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use anyhow::{Context as _, bail};
use serde::Serialize;

use super::book::Lately;
use super::caller::Caller;
use super::progress::Progress;
use crate::drowse::Drowse;
use crate::metrics;
use crate::procfs;

const EVERY: Duration = Duration::from_secs(1);
/// How long Drowse may take to tell how it is, before a look goes without.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one look has seen.
#[derive(Debug, Serialize)]
pub(super) struct Look {
    /// Seconds since the beginning.
    pub(super) at: f64,
    /// Seconds since the look before.
    pub(super) secs: f64,
    /// Of each part, in the order of the scenario.
    pub(super) parts: Vec<PartLook>,
    /// Agents that are up, as Drowse says; nothing if it did not say in time.
    pub(super) agents_up: Option<u64>,
    /// Resident memory of Drowse.
    pub(super) rss_kb: u64,
    /// CPU time of Drowse, in percent of one CPU.
    pub(super) cpu_percent: f64,
}

/// What happened to one part since the look before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct PartLook {
    /// Calls that were due.
    pub(super) calls: u64,
    pub(super) answered: u64,
    pub(super) hung_up: u64,
    pub(super) failed: u64,
    /// Of those that were answered.
    pub(super) p99_ms: Option<f64>,
}

impl From<Lately> for PartLook {
    fn from(lately: Lately) -> Self {
        let Lately { due, answered, hung_up, failed, p99_ms } = lately;
        Self { calls: due, answered, hung_up, failed, p99_ms }
    }
}

/// Watches one run.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    drowse: &'a Drowse,
    callers: &'a [Arc<Caller>],
    clock: Clock,
    start: Moment,
    last: Moment,
    cpu: Duration,
    progress: Progress,
    looks: Vec<Look>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        drowse: &'a Drowse,
        callers: &'a [Arc<Caller>],
        (clock, start): (Clock, Moment),
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let cpu = procfs::cpu_time(drowse.pid)?;
        Ok(Self { drowse, callers, clock, start, last: start, cpu, progress, looks: Vec::new() })
    }

    /// Looks until it is dropped. Fails if Drowse has ended.
    pub(super) async fn run(&mut self) -> anyhow::Result<Infallible> {
        loop {
            self.next().await?;
        }
    }

    /// One last look, and all of them.
    pub(super) async fn end(mut self) -> anyhow::Result<Vec<Look>> {
        self.next().await?;
        self.progress.end();
        Ok(self.looks)
    }

    /// Never sooner than after all of the time between two looks, even if the one before was late: rates over a moment
    /// say nothing.
    async fn next(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep_until(self.clock.instant(self.last + EVERY)).await;
        self.look().await
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let metrics = tokio::time::timeout(PATIENCE, self.drowse.metrics()).await;
        let metrics = metrics.ok().and_then(Result::ok);
        let Ok(cpu) = procfs::cpu_time(self.drowse.pid) else {
            bail!("drowse has ended. Its log:\n{}", self.drowse.log());
        };
        let memory = procfs::memory(self.drowse.pid).context("drowse has ended")?;
        // From here on nobody else has a turn: what is taken is kept.
        let now = self.clock.now();
        let secs = now.since(self.last).as_secs_f64().max(f64::EPSILON);
        let look = Look {
            at: now.since(self.start).as_secs_f64(),
            secs,
            parts: self.callers.iter().map(|caller| caller.book.take_lately().into()).collect(),
            agents_up: metrics.and_then(|text| metrics::series(&text, r#"drowse_agents{phase="Running"}"#)),
            rss_kb: memory.now_kb,
            cpu_percent: 100.0 * cpu.saturating_sub(self.cpu).as_secs_f64() / secs,
        };
        self.progress.show(&look);
        self.looks.push(look);
        (self.last, self.cpu) = (now, cpu);
        Ok(())
    }
}
