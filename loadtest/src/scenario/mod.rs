//! Scenarios from files: agents, and traffic that does not wait for answers (*open loop*), of several kinds at once.
//!
//! A latency counts from when the call should have been made, not from when it was: a stall counts for all who would
//! have called in it. Without that, figures are the better the longer the stall is (*coordinated omission*).

mod arrivals;
mod book;
mod bounds;
mod caller;
mod figures;
mod file;
mod html;
mod machine;
mod pool;
mod popularity;
mod progress;
mod setup;
mod trace;
mod trend;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::drowse::time::Moment;
use anyhow::Context as _;
use futures_util::future::try_join_all;

use crate::args;
use crate::drowse::Program;
use crate::metrics::{counted, series};
use arrivals::Plan;
use caller::Caller;
pub(crate) use figures::Figures;
use figures::Seen;
use file::Scenario;
use machine::Machine;
use progress::Progress;
use setup::World;
use watch::Watch;

/// Suspensions that were carried out; others were given up, since somebody called.
const SUSPENDED: &str = r#"drowse_suspends_total{outcome="suspended"}"#;

/// Reads all files, and runs their scenarios, one after the other. All are read before the first one runs.
pub(crate) async fn run(program: &Program, options: &args::Run) -> anyhow::Result<Vec<Figures>> {
    let read = |file: &PathBuf| Scenario::read(file, options.scale, options.length);
    let scenarios = options.files.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let machine = Machine::read(program);
    let mut all = Vec::new();
    for scenario in &scenarios {
        let figures = one(program, scenario, options.nats_server.as_deref());
        let figures = figures.await.with_context(|| scenario.name.clone())?;
        println!("{}", figures.table());
        all.push(figures);
        // Again after each one, so that what took an hour is there even if the next one fails.
        if let Some(file) = &options.html {
            let page = html::page(&machine, &all);
            std::fs::write(file, page).with_context(|| format!("failed to write {}", file.display()))?;
        }
    }
    Ok(all)
}

async fn one(program: &Program, scenario: &Scenario, nats_server: Option<&Path>) -> anyhow::Result<Figures> {
    let world = World::start(program, scenario, nats_server).await?;
    let mut callers = Vec::new();
    for part in &scenario.traffic {
        callers.push(world.caller(part, scenario.agents.count).await?);
    }
    let before = world.drowse.metrics().await?;
    let start = world.clock.now();
    let progress = Progress::new(&scenario.name, scenario.length())?;
    let mut watch = Watch::new(&world.drowse, &callers, (world.clock, start), progress)?;
    let traffic = async {
        send_all(scenario, &callers, start).await?;
        // What comes after the calls is worth seeing, too: agents that fall asleep, memory that is given back.
        tokio::time::sleep_until(world.clock.instant(start + scenario.length())).await;
        anyhow::Ok(())
    };
    tokio::select! {
        sent = traffic => sent?,
        broken = watch.run() => match broken? {},
    }
    let looks = watch.end().await?;
    let after = world.drowse.metrics().await?;
    let peak_kb = crate::procfs::memory(world.drowse.pid)?.peak_kb;
    let grown = |count: fn(&str) -> u64| count(&after).saturating_sub(count(&before));
    let seen = Seen {
        looks,
        starts: grown(|metrics| counted(metrics, "drowse_resumes_total")),
        suspensions: grown(|metrics| series(metrics, SUSPENDED).unwrap_or_default()),
        peak_kb,
    };
    world.end().await?;
    Ok(Figures::new(scenario, &callers, seen))
}

async fn send_all(scenario: &Scenario, callers: &[Arc<Caller>], start: Moment) -> anyhow::Result<()> {
    let parts = (0..).zip(scenario.traffic.iter().zip(callers));
    let sends = parts.map(|(seed, (part, caller))| {
        let plan = Plan::new(part, scenario.agents.count, scenario.length(), seed);
        Arc::clone(caller).send(plan, start)
    });
    try_join_all(sends).await.map(drop)
}
