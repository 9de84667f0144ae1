//! Drowse beside what people would use instead: nginx, haproxy, and a proxy of a few lines on hyper. All before one upstream, in
//! one run, in rounds that alternate, so that what else the machine does hits all alike.

pub(crate) mod bare;
mod contender;
mod drowse;
mod figures;
mod held;
mod idle;
mod placement;
mod raw;
pub(crate) mod responder;
mod streams;

use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::Context as _;

use crate::args;
use crate::closed_loop;
use crate::drowse::Program;
use crate::open_files;
use crate::open_loop::{self, Latencies, Pace};
use contender::{Contender, Entry, Name};
use drowse::Fronted;
pub(crate) use figures::Figures;
use figures::{Closed, Open};
use placement::Placement;
use raw::Raw;

/// What a round may take longer than it should.
const GRACE: Duration = Duration::from_secs(30);
/// The unmeasured round before all others.
const WARM_UP: Duration = Duration::from_secs(1);

/// Runs all comparisons.
pub(crate) async fn run(program: &Program, options: &args::Peers) -> anyhow::Result<Figures> {
    placement::ensure_installed("nginx", "-v")?;
    placement::ensure_installed("haproxy", "-v")?;
    // In a proxy, a caller may be two.
    open_files::allow(2 * u64::from(options.held_callers) + 1000)?;
    let mut figures = Figures::default();
    let pinned = Placement::pinned()?;
    for placement in [pinned, Placement::Free] {
        eprintln!("requests to an agent that is up, {} ...", placement.text());
        let field = Field::start(program, placement).await?;
        field.warm_up(options).await?;
        for round in 0..options.rounds {
            figures.closed.push(placement, field.closed(options, round.into()).await?);
        }
        if placement == Placement::Free {
            for rate in options.rates() {
                for round in 0..options.rounds {
                    figures.open.push(rate, field.open(options, rate, round.into()).await?);
                }
            }
        }
        field.end().await?;
    }
    pinned.take_place()?;
    eprintln!("idle connections ...");
    figures.idle = idle::measure(program, pinned, options.held_callers).await?;
    eprintln!("callers that are held ...");
    figures.held = held::measure(program, pinned, options).await?;
    eprintln!("streams of HTTP/2 that are held ...");
    figures.streams = streams::measure(program, pinned, options.held_callers).await?;
    Placement::Free.take_place()?;
    figures.conclude();
    Ok(figures)
}

/// All contenders, before one upstream.
struct Field {
    drowse: Fronted,
    others: Vec<Contender>,
    entries: Vec<Entry>,
    clock: Clock,
}

impl Field {
    async fn start(program: &Program, placement: Placement) -> anyhow::Result<Self> {
        placement.take_place()?;
        let drowse = Fronted::start(program, placement, None, None).await?;
        drowse.wake().await?;
        let upstream = drowse.upstream();
        let others = vec![
            Contender::nginx(placement, upstream).await?,
            Contender::haproxy(placement, upstream).await?,
            Contender::hyper(placement, upstream, None, placement.flavour()).await?,
        ];
        let direct = Entry { name: Name::Direct, to: upstream, host: "bench".to_owned(), pids: Vec::new() };
        let mut entries = vec![direct];
        entries.extend(others.iter().map(|other| other.entry.clone()));
        entries.push(drowse.entry());
        Ok(Self { drowse, others, entries, clock: Clock::start() })
    }

    async fn warm_up(&self, options: &args::Peers) -> anyhow::Result<()> {
        for entry in &self.entries {
            self.closed_round(entry, options.connections, WARM_UP).await?;
        }
        Ok(())
    }

    /// All once, each time another one first.
    fn in_turn(&self, round: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().cycle().skip(round % self.entries.len()).take(self.entries.len())
    }

    async fn closed(&self, options: &args::Peers, round: usize) -> anyhow::Result<Vec<Closed>> {
        let length = Duration::from_secs(options.round_secs);
        let mut all = Vec::new();
        for entry in self.in_turn(round) {
            all.push(self.closed_round(entry, options.connections, length).await?);
        }
        Ok(all)
    }

    async fn closed_round(&self, entry: &Entry, number: u16, length: Duration) -> anyhow::Result<Closed> {
        let connections = self.connect(entry, number).await?;
        let (cpu, start) = (entry.cpu()?, self.clock.now());
        let load = closed_loop::load(self.clock, connections, start + length);
        let answers = tokio::time::timeout(length + GRACE, load).await.context("a round does not end")?;
        let took = self.clock.now().since(start);
        Ok(Closed::new(entry.name, answers, took, entry.cpu()?.saturating_sub(cpu)))
    }

    async fn open(&self, options: &args::Peers, rate: u32, round: usize) -> anyhow::Result<Vec<Open>> {
        let pace = Pace::new(rate, Duration::from_secs(options.round_secs));
        let mut all = Vec::new();
        for entry in self.in_turn(round) {
            let connections = self.connect(entry, options.connections).await?;
            let load = open_loop::load(self.clock, connections, pace);
            let load = tokio::time::timeout(pace.length() + GRACE, load).await;
            let latencies: Latencies = load.context("a round does not end")??;
            all.push(Open::new(entry.name, &latencies));
        }
        Ok(all)
    }

    async fn connect(&self, entry: &Entry, number: u16) -> anyhow::Result<Vec<Raw>> {
        let opened = Raw::open_all(entry.to, &raw::get(&entry.host), number.into()).await;
        opened.with_context(|| format!("failed to connect to {}", entry.name))
    }

    async fn end(self) -> anyhow::Result<()> {
        for other in self.others {
            other.end().await?;
        }
        self.drowse.end().await
    }
}
