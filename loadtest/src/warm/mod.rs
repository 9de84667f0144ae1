//! What Drowse costs a request to an agent that is up: the same requests straight to the agent and through Drowse,
//! in rounds that alternate, so that what else the machine does hits both alike.

mod closed;
mod figures;
pub(crate) mod open;

use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::Context as _;

use crate::args;
use crate::client::{Call, Connection};
use crate::drowse::{Drowse, Program, Setup};
use crate::procfs;
pub(crate) use figures::Figures;
use figures::Round;

/// What a round may take longer than it should.
const GRACE: Duration = Duration::from_secs(30);
/// The unmeasured round before all others.
const WARM_UP: Duration = Duration::from_secs(1);

/// Runs all rounds.
pub(crate) async fn run(program: &Program, options: &args::Warm) -> anyhow::Result<Figures> {
    let drowse = Drowse::start(program, &Setup::default()).await?;
    let clock = Clock::start();
    // The agent's smallest answer: what is measured is the way to it.
    let (direct, through) = (drowse.direct("/healthz"), drowse.through("/healthz"));
    through.once().await.context("the agent does not start")?;
    for call in [&through, &direct] {
        closed_round(clock, &drowse, call, options.connections, WARM_UP).await?;
    }
    let length = Duration::from_secs(options.round_secs);
    let mut figures = Figures::new(options.connections, options.rate);
    for _ in 0..options.rounds {
        figures.direct.push(closed_round(clock, &drowse, &direct, options.connections, length).await?);
        figures.through.push(closed_round(clock, &drowse, &through, options.connections, length).await?);
    }
    let pace = open::Pace::new(options.rate, length);
    let (mut to_agent, mut to_door) = (open::Latencies::new()?, open::Latencies::new()?);
    for _ in 0..options.rounds {
        to_agent.merge(open_round(clock, &direct, options.connections, pace).await?)?;
        to_door.merge(open_round(clock, &through, options.connections, pace).await?)?;
    }
    drowse.end().await?;
    figures.conclude(to_agent, to_door);
    Ok(figures)
}

async fn connect(call: &Call, number: u16) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(number.into());
    for _ in 0..number {
        connections.push(Connection::open(call.to).await?);
    }
    Ok(connections)
}

async fn closed_round(
    clock: Clock,
    drowse: &Drowse,
    call: &Call,
    connections: u16,
    length: Duration,
) -> anyhow::Result<Round> {
    let connections = connect(call, connections).await?;
    let cpu_before = procfs::cpu_time(drowse.pid)?;
    let start = clock.now();
    let load = closed::load(clock, connections, call, start + length);
    let answers = tokio::time::timeout(length + GRACE, load).await.context("a round does not end")?;
    let took = clock.now().since(start);
    let cpu = procfs::cpu_time(drowse.pid)?.saturating_sub(cpu_before);
    Ok(Round::new(answers, took, cpu))
}

async fn open_round(
    clock: Clock,
    call: &Call,
    connections: u16,
    pace: open::Pace,
) -> anyhow::Result<open::Latencies> {
    let connections = connect(call, connections).await?;
    let load = open::load(clock, connections, call, pace);
    tokio::time::timeout(pace.length() + GRACE, load).await.context("a round does not end")?
}
