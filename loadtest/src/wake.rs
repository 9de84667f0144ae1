//! What one caller of a sleeping agent waits, and which part of it is Drowse's own.

use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::Context as _;
use serde::Serialize;

use crate::args;
use crate::client::{Answer, ClientError, Connection};
use crate::drowse::{Drowse, Program, Setup};
use crate::report::{Table, millis};
use crate::server_timing::Waited;
use crate::stats::{Quantiles, Recorder};
use crate::tally::Tally;

/// How long one wake may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The figures of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) answers: Tally,
    /// What the caller sees, from sending to the last byte.
    whole: Quantiles,
    hold: Quantiles,
    resume: Quantiles,
    probe: Quantiles,
    /// What is left of the whole without resume and probe, cycle by cycle.
    ours: Quantiles,
}

#[derive(Debug)]
struct Recorders {
    answers: Tally,
    whole: Recorder,
    hold: Recorder,
    resume: Recorder,
    probe: Recorder,
    ours: Recorder,
}

/// Suspends and calls, again and again.
pub(crate) async fn run(program: &Program, options: &args::Wake) -> anyhow::Result<Figures> {
    let drowse = Drowse::start(program, &Setup::default()).await?;
    let mut recorders = Recorders::new()?;
    let call = drowse.through("/healthz");
    let mut connection = Connection::open(drowse.front).await?;
    let clock = Clock::start();
    // The first start of all makes the agent's folder and file, and warms the caches of the system.
    connection.send(&call).await.context("the agent does not start")?;
    for _ in 0..options.cycles {
        drowse.echo().suspend().await?;
        let sent = clock.now();
        let end = tokio::time::timeout(PATIENCE, connection.send(&call)).await.context("no answer")?;
        recorders.add(clock.now().since(sent), &end)?;
        if end.is_err() {
            connection = Connection::open(drowse.front).await?;
        }
    }
    drowse.end().await?;
    Ok(recorders.figures())
}

impl Recorders {
    fn new() -> anyhow::Result<Self> {
        let new = Recorder::new;
        let answers = Tally::default();
        Ok(Self { answers, whole: new()?, hold: new()?, resume: new()?, probe: new()?, ours: new()? })
    }

    fn add(&mut self, whole: Duration, end: &Result<Answer, ClientError>) -> anyhow::Result<()> {
        if !self.answers.add(end) {
            return Ok(());
        }
        let header = end.as_ref().map(|answer| answer.header("server-timing")).unwrap_or_default();
        let waited = Waited::parse(header)
            .with_context(|| format!("the answer tells of no wait; was the agent up? {header:?}"))?;
        self.whole.record(whole);
        self.hold.record(waited.hold);
        self.resume.record(waited.resume);
        self.probe.record(waited.probe);
        self.ours.record(whole.saturating_sub(waited.resume + waited.probe));
        Ok(())
    }

    fn figures(self) -> Figures {
        Figures {
            answers: self.answers,
            whole: self.whole.quantiles(),
            hold: self.hold.quantiles(),
            resume: self.resume.quantiles(),
            probe: self.probe.quantiles(),
            ours: self.ours.quantiles(),
        }
    }
}

impl Figures {
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new(&["wake, ms", "p50", "p99", "max"]);
        let parts = [
            ("whole", self.whole),
            ("hold", self.hold),
            ("resume", self.resume),
            ("probe", self.probe),
            ("ours", self.ours),
        ];
        for (name, part) in parts {
            table.row([name.to_owned(), millis(part.p50_ms), millis(part.p99_ms), millis(part.max_ms)]);
        }
        format!("{table}answers: {}\n", self.answers.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn answer(status: StatusCode, timing: &'static str) -> Answer {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("server-timing"),
            HeaderValue::from_static(timing),
        )]);
        Answer { status, headers, body: bytes::Bytes::new() }
    }

    #[test]
    fn ours_is_what_resume_and_probe_leave() {
        let mut recorders = Recorders::new().unwrap();
        let good = Ok(answer(StatusCode::OK, "hold;dur=24, resume;dur=5, probe;dur=18"));
        recorders.add(Duration::from_millis(25), &good).unwrap();
        let figures = recorders.figures();
        assert!((figures.ours.p50_ms - 2.0).abs() < 0.01, "{figures:?}");
        assert!(figures.table().contains("\nours"), "{}", figures.table());
    }

    #[test]
    fn a_refusal_is_counted_and_not_timed_and_a_warm_answer_is_an_error() {
        let mut recorders = Recorders::new().unwrap();
        let timed_out = Ok(answer(StatusCode::GATEWAY_TIMEOUT, "hold;dur=55000"));
        recorders.add(Duration::from_secs(55), &timed_out).unwrap();
        assert!(recorders.add(Duration::from_millis(1), &Ok(answer(StatusCode::OK, ""))).is_err());
        let figures = recorders.figures();
        assert_eq!((figures.whole.count, figures.answers.is_clean()), (0, false));
    }
}
