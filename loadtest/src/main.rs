//! Measures Drowse under load: starts the real program with a demo agent, and calls it over loopback.
//!
//! Every run is bounded in requests and time, and ends what it started. README.md says what the figures mean.

mod abuse;
mod agent;
mod args;
mod client;
mod closed_loop;
mod cluster;
mod drowse;
mod exchange;
mod goal;
mod loopback;
mod messages;
mod metrics;
mod nats;
mod open_files;
mod open_loop;
mod peers;
mod process;
mod procfs;
mod report;
mod scenario;
mod server_timing;
mod sleepers;
mod stats;
mod storm;
mod tally;
mod ticker;
mod wake;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use args::{Args, Scenario};
use drowse::Program;
use report::Report;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Scenario::Bare(options) = &args.scenario {
        // It has a runtime of its own, of the flavour that is asked for.
        return peers::bare::run(options).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS);
    }
    // One thread: the generator shares the machine with what it measures, and must not crowd it out.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime.context("failed to start") {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    // Whoever starts these ends them, too.
    let part = match &args.scenario {
        Scenario::Abuser(options) => Some(runtime.block_on(abuse::abuser::run(options))),
        Scenario::Responder(options) => Some(runtime.block_on(peers::responder::run(options))),
        _ => None,
    };
    if let Some(ended) = part {
        return ended.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS);
    }
    match runtime.block_on(run(&args)) {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("some requests failed, or a goal was missed: do not use these figures");
            ExitCode::FAILURE
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// Runs what was asked for, unless a signal ends it first. Either way Drowse ends too.
async fn run(args: &Args) -> anyhow::Result<Report> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    tokio::select! {
        report = measure(args) => report,
        _ = terminate.recv() => anyhow::bail!("ended by SIGTERM"),
        _ = interrupt.recv() => anyhow::bail!("ended by SIGINT"),
    }
}

async fn measure(args: &Args) -> anyhow::Result<Report> {
    let program = Program::find(args.drowse.as_deref())?;
    let mut report = Report::new(&program);
    print!("{}", report.head());
    let (peers, wake, storm) = match &args.scenario {
        Scenario::All(all) => (Some(&all.peers), Some(&all.wake), Some(&all.storm)),
        Scenario::Peers(peers) => (Some(peers), None, None),
        Scenario::Wake(wake) => (None, Some(wake), None),
        Scenario::Storm(storm) => (None, None, Some(storm)),
        _ => (None, None, None),
    };
    if let Some(options) = peers {
        let figures = peers::run(&program, options).await.context("peers")?;
        println!("{}", figures.table());
        report.peers = Some(figures);
    }
    if let Some(options) = wake {
        let figures = wake::run(&program, options).await.context("wake")?;
        println!("{}", figures.table());
        report.wake = Some(figures);
    }
    if let Some(options) = storm {
        let figures = storm::run(&program, options).await.context("storm")?;
        println!("{}", figures.table());
        report.storm = Some(figures);
    }
    if let Scenario::Run(options) = &args.scenario {
        report.scenarios = scenario::run(&program, options).await?;
    }
    if let Scenario::Abuse(options) = &args.scenario {
        let figures = abuse::run(&program, options).await.context("abuse")?;
        println!("{}", figures.table());
        report.abuse = Some(figures);
    }
    if let Scenario::Messages(options) = &args.scenario {
        let figures = messages::run(&program, options).await.context("messages")?;
        println!("{}", figures.table());
        report.messages = Some(figures);
    }
    if let Scenario::Sleepers(options) = &args.scenario {
        let figures = sleepers::run(&program, options).await.context("sleepers")?;
        println!("{}", figures.table());
        report.sleepers = Some(figures);
    }
    if let Scenario::ClusterWake(options) = &args.scenario {
        let figures = cluster::wake::run(&program, options).await.context("cluster-wake")?;
        println!("{}", figures.table());
        report.cluster_wake = Some(figures);
    }
    if let Scenario::ClusterScale(options) = &args.scenario {
        let figures = cluster::scale::run(&program, options).await.context("cluster-scale")?;
        println!("{}", figures.table());
        report.cluster_scale = Some(figures);
    }
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    Ok(report)
}
