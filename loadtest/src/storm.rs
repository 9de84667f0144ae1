//! Many callers at one sleeping agent, all at once: is everybody served by one start, how fast, and at what memory?

use std::cell::Cell;
use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use anyhow::Context as _;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::args;
use crate::client::{Answer, Call, ClientError};
use crate::drowse::{Drowse, Program, Setup};
use crate::open_files;
use crate::procfs::{self, Memory};
use crate::report::{Table, millis};
use crate::stats::{Quantiles, Recorder};
use crate::tally::Tally;

/// How long the whole storm may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at whether the agent listens: what the release figures may be too long by.
const KNOCK_EVERY: Duration = Duration::from_millis(2);
/// Between two looks at callers and memory.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The figures of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    callers: u32,
    max_in_flight: u32,
    pub(crate) answers: Tally,
    /// How often the agent was started, as it says itself.
    pub(crate) starts: u64,
    /// The most callers that Drowse held at once, as seen.
    held_peak: u64,
    /// From the moment the agent listens to each good answer, its last byte read.
    released: Quantiles,
    rss_before_kb: u64,
    /// The most that was seen while callers were held.
    rss_held_kb: u64,
    /// The most that ever was, answering included.
    rss_peak_kb: u64,
    held_kb_per_caller: f64,
    peak_kb_per_caller: f64,
}

/// Sends all callers, and watches.
pub(crate) async fn run(program: &Program, options: &args::Storm) -> anyhow::Result<Figures> {
    // In Drowse, a caller is a connection here, and perhaps one to the agent.
    open_files::allow(u64::from(options.callers) + u64::from(options.max_in_flight.min(options.callers)))?;
    let setup = Setup {
        start_delay_secs: options.start_delay_secs,
        callers: Some(options.callers),
        max_in_flight: Some(options.max_in_flight),
    };
    let drowse = Drowse::start(program, &setup).await?;
    let before = procfs::memory(drowse.pid)?;
    let clock = Clock::start();
    let listens = Cell::new(None);
    let call = drowse.through("/healthz");
    let storm = async {
        tokio::join!(
            call_all(clock, &call, options.callers),
            knock(clock, &drowse, &listens),
            watch(&drowse, &listens),
        )
    };
    let (ends, (), held) =
        tokio::time::timeout(PATIENCE, storm).await.context("not all callers were answered")?;
    let peak_kb = procfs::memory(drowse.pid)?.peak_kb;
    let starts = drowse.through("/").once().await?.json()["starts"].as_u64().unwrap_or_default();
    drowse.end().await?;
    let listens = listens.get().context("nobody saw the agent listen")?;
    let (answers, released) = sum(&ends, listens)?;
    let held = held?;
    let per_caller = |kb: u64, callers: u64| kb.saturating_sub(before.now_kb) as f64 / callers.max(1) as f64;
    Ok(Figures {
        callers: options.callers,
        max_in_flight: options.max_in_flight,
        answers,
        starts,
        held_peak: held.callers,
        released,
        rss_before_kb: before.now_kb,
        rss_held_kb: held.rss_kb,
        rss_peak_kb: peak_kb,
        held_kb_per_caller: per_caller(held.rss_kb, held.callers),
        peak_kb_per_caller: per_caller(peak_kb, options.callers.into()),
    })
}

/// How one caller ended, and when.
type End = (Moment, Result<Answer, ClientError>);

async fn call_all(clock: Clock, call: &Call, callers: u32) -> Vec<End> {
    let mut calls = JoinSet::new();
    for _ in 0..callers {
        let call = call.clone();
        calls.spawn(async move {
            let end = call.once().await;
            (clock.now(), end)
        });
    }
    calls.join_all().await
}

/// Finds out by itself when the agent begins to listen.
async fn knock(clock: Clock, drowse: &Drowse, listens: &Cell<Option<Moment>>) {
    while TcpStream::connect(drowse.agent.address()).await.is_err() {
        tokio::time::sleep(KNOCK_EVERY).await;
    }
    listens.set(Some(clock.now()));
}

/// The most that was seen while callers were held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    callers: u64,
    rss_kb: u64,
}

impl Held {
    fn see(&mut self, callers: u64, memory: Memory) {
        self.callers = self.callers.max(callers);
        self.rss_kb = self.rss_kb.max(memory.now_kb);
    }
}

/// Looks until the agent listens.
async fn watch(drowse: &Drowse, listens: &Cell<Option<Moment>>) -> anyhow::Result<Held> {
    let mut held = Held::default();
    while listens.get().is_none() {
        let memory = procfs::memory(drowse.pid)?;
        held.see(drowse.echo().state().await?["held"].as_u64().unwrap_or_default(), memory);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(held)
}

fn sum(ends: &[End], listens: Moment) -> anyhow::Result<(Tally, Quantiles)> {
    let mut answers = Tally::default();
    let mut released = Recorder::new()?;
    for (at, end) in ends {
        if answers.add(end) {
            released.record(at.since(listens));
        }
    }
    Ok((answers, released.quantiles()))
}

impl Figures {
    /// Whether all were served by one start.
    pub(crate) fn is_clean(&self) -> bool {
        self.answers.is_clean() && self.starts == 1
    }

    pub(crate) fn table(&self) -> String {
        let mut table = Table::new(&["storm", ""]);
        let mb = |kb: u64| format!("{:.1} MB", kb as f64 / 1000.0);
        let rows = [
            ("callers at once", self.callers.to_string()),
            ("max_in_flight", self.max_in_flight.to_string()),
            ("answers", self.answers.text()),
            ("starts of the agent", self.starts.to_string()),
            ("held at once, as seen", self.held_peak.to_string()),
            ("agent listens -> first answer", format!("{} ms", millis(self.released.min_ms))),
            ("agent listens -> answer, p50", format!("{} ms", millis(self.released.p50_ms))),
            ("agent listens -> last answer", format!("{} ms", millis(self.released.max_ms))),
            ("RSS of Drowse before", mb(self.rss_before_kb)),
            (
                "RSS while held",
                format!("{}, {:.1} kB a caller", mb(self.rss_held_kb), self.held_kb_per_caller),
            ),
            (
                "RSS at its peak",
                format!("{}, {:.1} kB a caller", mb(self.rss_peak_kb), self.peak_kb_per_caller),
            ),
        ];
        for (name, value) in rows {
            table.row([name.to_owned(), value]);
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn end(at_ms: u64, status: StatusCode) -> End {
        let answer = Answer { status, headers: http::HeaderMap::new(), body: bytes::Bytes::new() };
        (Moment::from_micros(at_ms * 1000), Ok(answer))
    }

    #[test]
    fn answers_are_timed_from_when_the_agent_listens_and_refusals_are_not() {
        let ends =
            [end(2010, StatusCode::OK), end(2040, StatusCode::OK), end(5, StatusCode::TOO_MANY_REQUESTS)];
        let (answers, released) = sum(&ends, Moment::from_micros(2_000_000)).unwrap();
        assert_eq!((answers.text().as_str(), released.count), ("200: 2, 429: 1", 2));
        assert!((released.max_ms - 40.0).abs() < 0.1, "{released:?}");
    }

    #[test]
    fn the_most_that_was_seen_is_kept() {
        let mut held = Held::default();
        held.see(7, Memory { now_kb: 300, peak_kb: 900 });
        held.see(5, Memory { now_kb: 200, peak_kb: 900 });
        assert_eq!(held, Held { callers: 7, rss_kb: 300 });
    }
}
