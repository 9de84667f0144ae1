//! Many callers of one agent that sleeps, let go at one moment: what each costs while it waits, and when the last is served.

use std::path::Path;
use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::Context as _;
use serde::Serialize;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::contender::{Contender, Entry, Name};
use super::drowse::Fronted;
use super::placement::Placement;
use super::raw::{self, Raw};
use crate::args;
use crate::drowse::Program;
use crate::stats::{Quantiles, Recorder};
use crate::tally::Tally;

/// From the last request to the look at the memory.
const REST: Duration = Duration::from_secs(2);
/// How long all may take to be served.
const PATIENCE: Duration = Duration::from_mins(1);
/// What each sends, unread while it waits.
pub(super) const BODY_BYTES: usize = 200;

/// One round of one contender.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Held {
    pub(super) name: Name,
    pub(super) callers: u32,
    pub(super) kb_each: f64,
    pub(super) answers: Tally,
    /// From when the upstream may listen until a caller has its answer.
    pub(super) served: Quantiles,
}

/// Drowse and bare hyper, in rounds that alternate.
pub(super) async fn measure(
    program: &Program,
    placement: Placement,
    options: &args::Peers,
) -> anyhow::Result<Vec<Held>> {
    let mut all = Vec::new();
    for _ in 0..options.rounds {
        let dir = TempDir::new()?;
        let go = dir.path().join("drowse");
        let drowse = Fronted::start(program, placement, Some(&go), Some(options.held_callers)).await?;
        all.push(hold(&drowse.entry(), &go, options.held_callers).await?);
        // Its agent is up from here on, and is the upstream of the other one.
        let go = dir.path().join("hyper");
        let hyper = Contender::hyper(placement, drowse.upstream(), Some(&go), &[]).await?;
        all.push(hold(&hyper.entry, &go, options.held_callers).await?);
        hyper.end().await?;
        drowse.end().await?;
    }
    Ok(all)
}

async fn hold(entry: &Entry, go: &Path, number: u32) -> anyhow::Result<Held> {
    let before = entry.rss_kb()?;
    let mut callers = Raw::open_all(entry.to, &raw::post(&entry.host, BODY_BYTES), number).await?;
    for caller in &mut callers {
        caller.send().await?;
    }
    tokio::time::sleep(REST).await;
    let kb = entry.rss_kb()?.saturating_sub(before);
    let clock = Clock::start();
    let mut waiting = JoinSet::new();
    for mut caller in callers {
        waiting.spawn(async move { (caller.receive().await, clock.now()) });
    }
    // All wait when it begins.
    tokio::task::yield_now().await;
    let start = clock.now();
    std::fs::write(go, "").context("failed to let them go")?;
    let ends = tokio::time::timeout(PATIENCE, waiting.join_all()).await;
    let ends = ends.with_context(|| format!("{} does not serve all callers", entry.name))?;
    let (mut answers, mut served) = (Tally::default(), Recorder::new()?);
    for (end, at) in ends {
        answers
            .count(end.map_or_else(|error| error.kind().to_string(), |status| status.as_str().to_owned()), 1);
        served.record(at.since(start));
    }
    let kb_each = kb as f64 / f64::from(number);
    Ok(Held { name: entry.name, callers: number, kb_each, answers, served: served.quantiles() })
}
