//! What the rounds add up to, and what is to come of it.

use serde::Serialize;

use std::time::Duration;

use super::contender::Name;
use super::held::Held;
use super::idle::Idle;
use super::placement::Placement;
use super::streams::Streams;
use crate::goal::Row;
use crate::open_loop::Latencies;
use crate::report::{Table, millis};
use crate::stats::{Quantiles, median};
use crate::tally::Tally;

const ALL: [Name; 5] = [Name::Direct, Name::Nginx, Name::Haproxy, Name::Hyper, Name::Drowse];

/// One contender in one closed-loop round.
#[derive(Debug, Serialize)]
pub(super) struct Closed {
    name: Name,
    answers: Tally,
    requests_per_second: f64,
    /// Of its own processes alone, for each request.
    cpu_us_per_request: f64,
}

impl Closed {
    pub(super) fn new(name: Name, answers: Tally, took: Duration, cpu: Duration) -> Self {
        let good = answers.good() as f64;
        Self {
            name,
            requests_per_second: good / took.as_secs_f64().max(f64::EPSILON),
            cpu_us_per_request: cpu.as_secs_f64() * 1e6 / good.max(1.0),
            answers,
        }
    }
}

/// One contender in one open-loop round.
#[derive(Debug, Serialize)]
pub(super) struct Open {
    name: Name,
    answers: Tally,
    #[serde(flatten)]
    quantiles: Quantiles,
}

impl Open {
    pub(super) fn new(name: Name, latencies: &Latencies) -> Self {
        Self { name, answers: latencies.answers.clone(), quantiles: latencies.recorder.quantiles() }
    }
}

/// Rounds under the same conditions, by what these are called.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Rounds<T>(Vec<(String, Vec<T>)>);

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Rounds<T> {
    fn add(&mut self, condition: String, round: Vec<T>) {
        match self.0.iter_mut().find(|(name, _)| *name == condition) {
            Some((_, all)) => all.extend(round),
            None => self.0.push((condition, round)),
        }
    }

    /// The median of something over the rounds that are to be counted; zero of none.
    fn median(&self, condition: &str, of: impl Fn(&T) -> Option<f64>) -> f64 {
        let all = self.0.iter().filter(|(name, _)| name == condition).flat_map(|(_, all)| all);
        median(all.filter_map(of)).unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|(_, all)| all)
    }
}

impl Rounds<Closed> {
    pub(super) fn push(&mut self, placement: Placement, round: Vec<Closed>) {
        self.add(placement.text().to_owned(), round);
    }

    fn rate(&self, condition: &str, name: Name) -> f64 {
        self.median(condition, |round| (round.name == name).then_some(round.requests_per_second))
    }

    fn cpu(&self, condition: &str, name: Name) -> f64 {
        self.median(condition, |round| (round.name == name).then_some(round.cpu_us_per_request))
    }
}

/// One of the quantiles.
type Part = fn(&Quantiles) -> f64;

impl Rounds<Open> {
    pub(super) fn push(&mut self, rate: u32, round: Vec<Open>) {
        self.add(rate.to_string(), round);
    }

    fn at(&self, condition: &str, name: Name, of: Part) -> f64 {
        self.median(condition, |round| (round.name == name).then(|| of(&round.quantiles)))
    }

    /// What a contender adds to the way straight to the upstream.
    fn added(&self, condition: &str, name: Name, of: Part) -> f64 {
        self.at(condition, name, of) - self.at(condition, Name::Direct, of)
    }
}

/// All figures, and what is to come of them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(super) closed: Rounds<Closed>,
    pub(super) open: Rounds<Open>,
    pub(super) idle: Vec<Idle>,
    pub(super) held: Vec<Held>,
    pub(super) streams: Vec<Streams>,
    rows: Vec<Row>,
}

impl Figures {
    /// Sums up, when all rounds are there.
    pub(super) fn conclude(&mut self) {
        let mut rows = self.cpu_rows();
        rows.extend(self.latency_rows());
        rows.extend(self.memory_rows());
        self.rows = rows;
    }

    fn cpu_rows(&self) -> Vec<Row> {
        let pinned = super::placement::PINNED;
        let over = |name| self.closed.cpu(pinned, Name::Drowse) / self.closed.cpu(pinned, name);
        let free = super::placement::FREE;
        let free_over = |name| self.closed.cpu(free, Name::Drowse) / self.closed.cpu(free, name);
        vec![
            Row::must("CPU per warm request / bare hyper, one thread", over(Name::Hyper), 1.15, "x"),
            Row::aim("CPU per warm request / haproxy, one thread", over(Name::Haproxy), 1.0, "x"),
            Row::must("CPU per warm request / bare hyper, two threads", free_over(Name::Hyper), 1.15, "x"),
        ]
    }

    fn latency_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (rate, _) in &self.open.0 {
            let ratio = |of, name| {
                let theirs = self.open.added(rate, name, of);
                // What is not above zero has no multiple.
                if theirs > 0.0 { self.open.added(rate, Name::Drowse, of) / theirs } else { f64::NAN }
            };
            let (p50, p99): (Part, Part) = (|all| all.p50_ms, |all| all.p99_ms);
            rows.push(Row::must(
                format!("added p50 at {rate}/s / nginx"),
                ratio(p50, Name::Nginx),
                1.15,
                "x",
            ));
            rows.push(Row::aim(
                format!("added p50 at {rate}/s / haproxy"),
                ratio(p50, Name::Haproxy),
                1.0,
                "x",
            ));
            let to_haproxy = ratio(p99, Name::Haproxy);
            rows.push(Row::both(format!("added p99 at {rate}/s / haproxy"), to_haproxy, 1.5, 1.0, "x"));
        }
        rows
    }

    fn memory_rows(&self) -> Vec<Row> {
        let idle = self.idle.iter().find(|idle| idle.name == Name::Drowse).map_or(0.0, |idle| idle.kb_each);
        let (ours, bare) = (self.held_kb(Name::Drowse), self.held_kb(Name::Hyper));
        let stream =
            |name| self.streams.iter().find(|stream| stream.name == name).map_or(0.0, |it| it.kb_each);
        let last = |name| self.held_median(name, |held| held.served.max_ms);
        let unserved: u64 = self
            .held
            .iter()
            .filter(|held| held.name == Name::Drowse)
            .map(|held| held.answers.total() - held.answers.good())
            .sum();
        vec![
            Row::both("memory of an idle connection", idle, 12.0, 4.0, " kB"),
            Row::must("memory of a held request / bare hyper", ours / bare, 1.1, "x"),
            Row::aim("memory of a held request", ours, 6.0, " kB"),
            Row::aim("memory of a held stream of HTTP/2", stream(Name::Drowse), 4.0, " kB"),
            Row::must(
                "last of the held that is served / bare hyper",
                last(Name::Drowse) / last(Name::Hyper),
                1.2,
                "x",
            ),
            Row::must("held callers that are lost", unserved as f64, 0.0, ""),
        ]
    }

    fn held_median(&self, name: Name, of: fn(&Held) -> f64) -> f64 {
        median(self.held.iter().filter(|held| held.name == name).map(of)).unwrap_or_default()
    }

    fn held_kb(&self, name: Name) -> f64 {
        self.held_median(name, |held| held.kb_each)
    }

    /// Whether every request was answered 200.
    pub(crate) fn is_clean(&self) -> bool {
        self.tallies().all(Tally::is_clean)
    }

    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        let closed = self.closed.all().map(|round| &round.answers);
        let held = self.held.iter().map(|held| &held.answers);
        closed.chain(self.open.all().map(|round| &round.answers)).chain(held)
    }

    pub(crate) fn table(&self) -> String {
        let (memory, held) = (self.memory_table().to_string(), self.held_table().to_string());
        let parts = [self.closed_tables(), self.open_tables(), memory, held];
        let unclean = self.tallies().filter(|tally| !tally.is_clean());
        let failures: Vec<_> =
            unclean.map(|tally| format!("answers of a round: {}\n", tally.text())).collect();
        let failures = failures.concat();
        format!("{}\n{}{failures}", parts.join("\n"), Row::table(&self.rows))
    }

    fn closed_tables(&self) -> String {
        let tables = self.closed.0.iter().map(|(condition, _)| {
            let title = format!("closed loop, {condition}");
            let mut table = Table::new(&[&title, "req/s", "CPU us/req", "/ bare hyper", "/ haproxy"]);
            for name in ALL {
                let cpu = self.closed.cpu(condition, name);
                let ratio = |to| format!("{:.2}", cpu / self.closed.cpu(condition, to));
                let rate = format!("{:.0}", self.closed.rate(condition, name));
                let figures = if name == Name::Direct {
                    [rate, String::new(), String::new(), String::new()]
                } else {
                    [rate, format!("{cpu:.1}"), ratio(Name::Hyper), ratio(Name::Haproxy)]
                };
                table.row(std::iter::once(name.to_string()).chain(figures));
            }
            table.to_string()
        });
        tables.collect::<Vec<_>>().join("\n")
    }

    fn open_tables(&self) -> String {
        let columns: [Part; 3] = [|all| all.p50_ms, |all| all.p99_ms, |all| all.p999_ms];
        let tables = self.open.0.iter().map(|(rate, _)| {
            let title = format!("open loop, {rate} req/s, ms");
            let mut table =
                Table::new(&[&title, "p50", "p99", "p99.9", "added p50", "added p99", "added p99.9"]);
            for name in ALL {
                let whole = columns.map(|of| millis(self.open.at(rate, name, of)));
                let added = columns.map(|of| {
                    if name == Name::Direct { String::new() } else { millis(self.open.added(rate, name, of)) }
                });
                table.row(std::iter::once(name.to_string()).chain(whole).chain(added));
            }
            table.to_string()
        });
        tables.collect::<Vec<_>>().join("\n")
    }

    fn memory_table(&self) -> Table {
        let mut table = Table::new(&["memory, kB", "idle connection", "held request", "held stream, HTTP/2"]);
        let text = |kb: Option<f64>| kb.map(|kb| format!("{kb:.1}")).unwrap_or_default();
        for name in &ALL[1..] {
            let idle = self.idle.iter().find(|idle| idle.name == *name).map(|idle| idle.kb_each);
            let held = self.held.iter().any(|held| held.name == *name).then(|| self.held_kb(*name));
            let stream = self.streams.iter().find(|stream| stream.name == *name).map(|stream| stream.kb_each);
            table.row([name.to_string(), text(idle), text(held), text(stream)]);
        }
        table
    }

    fn held_table(&self) -> Table {
        let mut table = Table::new(&["held and let go, ms", "first", "p50", "last"]);
        for name in [Name::Hyper, Name::Drowse] {
            let columns: [fn(&Held) -> f64; 3] =
                [|held| held.served.min_ms, |held| held.served.p50_ms, |held| held.served.max_ms];
            let figures = columns.map(|of| millis(self.held_median(name, of)));
            table.row(std::iter::once(name.to_string()).chain(figures));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Recorder;

    fn tally(good: u64) -> Tally {
        let mut tally = Tally::default();
        tally.count("200".to_owned(), good);
        tally
    }

    fn closed(name: Name, cpu_ms: u64) -> Closed {
        Closed::new(name, tally(1000), Duration::from_secs(2), Duration::from_millis(cpu_ms))
    }

    fn quantiles(ms: u64) -> Quantiles {
        let mut recorder = Recorder::new().unwrap();
        recorder.record(Duration::from_millis(ms));
        recorder.quantiles()
    }

    fn figures() -> Figures {
        let mut figures = Figures::default();
        for drowse in [10, 12, 99] {
            let round = [(Name::Haproxy, 12), (Name::Hyper, 10), (Name::Drowse, drowse)];
            let round = round.map(|(name, cpu)| closed(name, cpu));
            figures.closed.push(Placement::Pinned { measured: 0, others: 1 }, round.into());
        }
        let ms = [(Name::Direct, 1), (Name::Nginx, 3), (Name::Haproxy, 5), (Name::Drowse, 4)];
        let open = ms.map(|(name, ms)| Open { name, answers: tally(1), quantiles: quantiles(ms) });
        figures.open.push(2000, open.into());
        figures.idle.push(Idle { name: Name::Drowse, connections: 5, kb_each: 7.5 });
        for (name, ms) in [(Name::Hyper, 100), (Name::Drowse, 150)] {
            let (answers, served) = (tally(5), quantiles(ms));
            figures.held.push(Held { name, callers: 5, kb_each: 10.0, answers, served });
        }
        figures.conclude();
        figures
    }

    #[test]
    fn ratios_are_those_of_medians_and_of_what_is_added() {
        let table = figures().table();
        for line in [
            "CPU per warm request / bare hyper, one thread",
            "added p50 at 2000/s / nginx",
            "memory of an idle connection",
            "last of the held that is served / bare hyper",
        ] {
            assert!(table.contains(line), "{line} is missing:\n{table}");
        }
        let value = |what: &str| {
            let figures = figures();
            figures.rows.iter().find(|row| row.what() == what).map(Row::value).unwrap()
        };
        let near =
            |what, expected: f64| assert!((value(what) - expected).abs() < 0.01, "{what}: {}", value(what));
        near("CPU per warm request / bare hyper, one thread", 1.2);
        near("CPU per warm request / haproxy, one thread", 1.0);
        near("added p50 at 2000/s / nginx", 1.5);
        near("added p99 at 2000/s / haproxy", 0.75);
        near("last of the held that is served / bare hyper", 1.5);
    }

    #[test]
    fn a_caller_that_is_lost_is_a_goal_that_is_missed() {
        let mut figures = figures();
        figures.held[1].answers.count("504".to_owned(), 2);
        figures.conclude();
        assert!(!figures.is_clean());
        assert!(figures.table().contains("answers of a round: 200: 5, 504: 2"), "{}", figures.table());
    }
}
