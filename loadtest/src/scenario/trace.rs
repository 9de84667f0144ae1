//! A recorded trace: how often each function was called in each minute, as Microsoft has published them for Azure
//! Functions (see loadtest/data). Replays it, faster than it was.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fastrand::Rng;
use flate2::read::MultiGzDecoder;
use serde::Serialize;

use super::file::Spread;

/// Unpacked.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
const MINUTE_SECS: f64 = 60.0;

/// Calls by function and minute.
#[derive(Debug)]
pub(super) struct Trace {
    functions: Vec<Vec<u32>>,
    minutes: usize,
}

/// What of a trace is replayed, and what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cut {
    /// In the trace.
    pub(super) functions: usize,
    /// An agent for each of these.
    pub(super) functions_taken: usize,
    /// In the trace.
    pub(super) minutes: usize,
    /// Fit the length of the run.
    pub(super) minutes_taken: usize,
    /// Of the functions and the minutes that are taken.
    pub(super) calls: u64,
    /// More than `at_most` in a minute.
    pub(super) left_out: u64,
    /// Calls that are left in it.
    pub(super) busiest_minute: u32,
}

impl Cut {
    pub(super) const fn kept(&self) -> u64 {
        self.calls - self.left_out
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Self { functions, functions_taken, minutes, minutes_taken, calls, left_out, .. } = self;
        let share = 100.0 * *left_out as f64 / (*calls).max(1) as f64;
        format!(
            "{functions_taken} of {functions} functions and {minutes_taken} of {minutes} minutes of the trace; of their {calls} \
             calls, {left_out} are cut ({share:.1} %)"
        )
    }
}

impl Trace {
    /// Reads a file, which may be packed with gzip.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("failed to open the trace {shown}"))?;
        let packed = path.extension().is_some_and(|ending| ending == "gz");
        let bytes: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Self::parse(BufReader::new(bytes.take(MAX_BYTES))).with_context(|| format!("the trace {shown}"))
    }

    /// A line for each function, below one with the names of the columns. Minutes have a number, or end in `_minute`
    /// behind one; what else there is does not matter.
    fn parse(text: impl BufRead) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let head = lines.next().context("it is empty")??;
        let minutes: Vec<_> = head.split(',').map(is_minute).collect();
        let number = minutes.iter().filter(|minute| **minute).count();
        ensure!(number > 0, "no column of its first line is a minute, such as 1 or 1_minute");
        let mut functions = Vec::new();
        for (at, line) in lines.enumerate() {
            let line = line?;
            let fields: Vec<_> = line.split(',').collect();
            ensure!(
                fields.len() == minutes.len(),
                "line {} has {} columns, not {}",
                at + 2,
                fields.len(),
                minutes.len()
            );
            let calls = fields.iter().zip(&minutes).filter(|(_, minute)| **minute);
            let calls = calls.map(|(field, _)| field.trim().parse::<u32>()).collect::<Result<Vec<_>, _>>();
            functions.push(calls.with_context(|| format!("line {} has a number that is none", at + 2))?);
        }
        if functions.is_empty() {
            bail!("it has no functions");
        }
        Ok(Self { functions, minutes: number })
    }

    pub(super) fn functions(&self) -> usize {
        self.functions.len()
    }

    /// How many minutes there are in a run of that length.
    fn minutes_in(&self, speed: f64, length: Duration) -> usize {
        let minutes = (length.as_secs_f64() * speed / MINUTE_SECS).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is above zero"
        )]
        let minutes = minutes as usize;
        minutes.min(self.minutes)
    }

    /// What is left of the first `functions`.
    pub(super) fn cut(&self, functions: u32, at_most: Option<u32>, speed: f64, length: Duration) -> Cut {
        let minutes = self.minutes_in(speed, length);
        let taken = &self.functions[..self.functions.len().min(functions as usize)];
        let (mut calls, mut kept, mut busiest) = (0, 0, 0);
        for minute in 0..minutes {
            let all = taken.iter().map(|function| u64::from(function[minute])).sum::<u64>();
            let left = taken.iter().map(|function| u64::from(capped(function[minute], at_most))).sum::<u64>();
            calls += all;
            kept += left;
            busiest = busiest.max(left);
        }
        Cut {
            functions: self.functions.len(),
            functions_taken: taken.len(),
            minutes: self.minutes,
            minutes_taken: minutes,
            calls,
            left_out: calls - kept,
            busiest_minute: u32::try_from(busiest).unwrap_or(u32::MAX),
        }
    }
}

fn is_minute(column: &str) -> bool {
    let name = column.trim();
    name.strip_suffix("_minute").unwrap_or(name).parse::<u32>().is_ok()
}

fn capped(calls: u32, at_most: Option<u32>) -> u32 {
    at_most.map_or(calls, |most| calls.min(most))
}

/// The calls of a trace in order, minute by minute.
#[derive(Debug)]
pub(super) struct Replay {
    trace: Arc<Trace>,
    agents: u32,
    at_most: Option<u32>,
    speed: f64,
    spread: Spread,
    random: Rng,
    /// Where in its distance a function calls, from 0 to 1: who calls once a minute does so at the same second of each.
    phases: Vec<f64>,
    minute: usize,
    /// Of this minute, the last call first: in seconds of the trace, and who is called.
    calls: Vec<(f64, u32)>,
}

impl Replay {
    /// The first functions of a trace are the agents.
    pub(super) fn new(
        trace: Arc<Trace>,
        agents: u32,
        (speed, spread): (f64, Spread),
        at_most: Option<u32>,
        mut random: Rng,
    ) -> Self {
        let phases = (0..agents).map(|_| random.f64()).collect();
        Self { trace, agents, at_most, speed, spread, random, phases, minute: 0, calls: Vec::new() }
    }

    fn fill(&mut self) {
        for agent in 0..self.agents {
            let Some(function) = self.trace.functions.get(agent as usize) else { break };
            let calls = capped(function[self.minute], self.at_most);
            for nth in 0..calls {
                let part = match self.spread {
                    Spread::Even => (f64::from(nth) + self.phases[agent as usize]) / f64::from(calls),
                    // Of a Poisson process whose calls were counted, any moment is as likely for each as any other.
                    Spread::Poisson => self.random.f64(),
                };
                self.calls.push(((self.minute as f64 + part) * MINUTE_SECS, agent));
            }
        }
        self.calls.sort_by(|a, b| b.0.total_cmp(&a.0));
    }
}

impl Iterator for Replay {
    /// When, and who is called.
    type Item = (Duration, u32);

    fn next(&mut self) -> Option<Self::Item> {
        while self.calls.is_empty() {
            if self.minute >= self.trace.minutes {
                return None;
            }
            self.fill();
            self.minute += 1;
        }
        let (at, agent) = self.calls.pop()?;
        Some((Duration::from_secs_f64(at / self.speed), agent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TEXT: &str = "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,2,0,1\no,a,g,timer,1,1,1\no,b,h,queue,0,60,0\n";

    fn trace() -> Trace {
        Trace::parse(TEXT.as_bytes()).unwrap()
    }

    fn replay(spread: Spread, at_most: Option<u32>) -> Vec<(Duration, u32)> {
        Replay::new(Arc::new(trace()), 3, (60.0, spread), at_most, Rng::with_seed(1)).collect()
    }

    #[test]
    fn minutes_are_found_among_other_columns_in_either_form() {
        assert_eq!(trace().functions, [vec![2, 0, 1], vec![1, 1, 1], vec![0, 60, 0]]);
        let other =
            Trace::parse(&b"HashFunction,HashOwner,HashApp,1_minute,2_minute\nf,o,a,7,8\n"[..]).unwrap();
        assert_eq!((other.functions, other.minutes), (vec![vec![7, 8]], 2));
    }

    #[test]
    fn a_bad_trace_says_where() {
        let bad = [
            ("", "it is empty"),
            ("a,b\n1,2\n", "no column of its first line is a minute"),
            ("a,1\n", "it has no functions"),
            ("a,1\nf,2\ng\n", "line 3 has 1 columns, not 2"),
            ("a,1\nf,many\n", "line 2 has a number that is none"),
        ];
        for (text, message) in bad {
            let error = Trace::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_packed_trace_is_unpacked() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("x.csv.gz");
        let mut packer =
            flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        packer.write_all(TEXT.as_bytes()).unwrap();
        packer.finish().unwrap();
        assert_eq!(Trace::read(&path).unwrap().functions, trace().functions);
    }

    #[test]
    fn time_is_compressed_and_calls_stay_in_their_minute_and_in_order() {
        for spread in [Spread::Even, Spread::Poisson] {
            let calls = replay(spread, None);
            assert_eq!(calls.len(), 66);
            assert!(calls.is_sorted_by_key(|(at, _)| *at), "{calls:?}");
            // A minute is a second here.
            let in_second = |second, agent| {
                calls.iter().filter(|(at, who)| at.as_secs() == second && *who == agent).count()
            };
            assert_eq!([0, 1, 2].map(|second| in_second(second, 0)), [2, 0, 1]);
            assert_eq!([0, 1, 2].map(|second| in_second(second, 2)), [0, 60, 0]);
        }
    }

    #[test]
    fn even_calls_have_even_distances() {
        let calls = replay(Spread::Even, None);
        let at: Vec<_> = calls.iter().filter(|(_, who)| *who == 2).map(|(at, _)| at.as_secs_f64()).collect();
        assert!(at.windows(2).all(|pair| (pair[1] - pair[0] - 1.0 / 60.0).abs() < 1e-6), "{at:?}");
        let timer: Vec<_> =
            calls.iter().filter(|(_, who)| *who == 1).map(|(at, _)| at.as_secs_f64()).collect();
        assert!(timer.windows(2).all(|pair| (pair[1] - pair[0] - 1.0).abs() < 1e-6), "{timer:?}");
    }

    #[test]
    fn what_is_cut_is_counted() {
        let cut = trace().cut(3, Some(10), 60.0, Duration::from_secs(2));
        let expected = Cut {
            functions: 3,
            functions_taken: 3,
            minutes: 3,
            minutes_taken: 2,
            calls: 64,
            left_out: 50,
            busiest_minute: 11,
        };
        assert_eq!(cut, expected);
        assert_eq!(replay(Spread::Poisson, Some(10)).len(), 16);
        assert_eq!(trace().cut(1, None, 60.0, Duration::from_hours(1)).calls, 3);
        assert!(cut.text().contains("of their 64 calls, 50 are cut (78.1 %)"), "{}", cut.text());
    }
}
