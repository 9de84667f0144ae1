//! The rules, and the counts. Whatever a rule does not excuse is a failure.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use drowse::time::Moment;

use super::load::{Outcome, Record};

/// Failures of a kind that are shown. More say nothing new.
const MAX_SHOWN: usize = 5;

/// What may become of a request that was under way in a time of trouble.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Excuse {
    /// No answer: the process of its front door was killed.
    FrontDoorKilled,
    /// 502, or an answer that breaks off: the connection from its front door to the agent was cut when the request may have been
    /// on it.
    ConnectionCut,
    /// 502 for what never arrived: its front door could not connect to an agent that is up.
    CutOff,
    /// 503 or 504 with `Retry-After`: without the API server nobody can be woken, or be proven to be whom we mean.
    ApiServerAway,
    /// 504 with `Retry-After`: its front door stood still for most of the time for which it holds a caller.
    StoodStill,
}

/// A time of trouble.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) excuse: Excuse,
    /// The one replica that it is about; none stands for all.
    pub(super) replica: Option<usize>,
    pub(super) from: Moment,
    pub(super) until: Moment,
}

impl Trouble {
    fn excuses(&self, record: &Record, arrived: &[usize]) -> bool {
        let overlaps = record.began <= self.until && record.ended >= self.from;
        let here = self.replica.is_none_or(|replica| replica == record.replica);
        overlaps && here && self.excuse.covers(&record.outcome, !arrived.is_empty())
    }
}

impl Excuse {
    fn covers(self, outcome: &Outcome, has_arrived: bool) -> bool {
        match (self, outcome) {
            (Self::FrontDoorKilled, Outcome::NoAnswer(_) | Outcome::BrokenOff(_)) => true,
            (Self::ConnectionCut, Outcome::BrokenOff(_)) => true,
            (Self::ConnectionCut, Outcome::Refused { status, .. }) => *status == 502,
            (Self::CutOff, Outcome::Refused { status, .. }) => *status == 502 && !has_arrived,
            (Self::ApiServerAway, Outcome::Refused { status, retry_after, .. }) => {
                matches!(status, 503 | 504) && *retry_after
            }
            (Self::StoodStill, Outcome::Refused { status, retry_after, .. }) => {
                *status == 504 && *retry_after
            }
            _ => false,
        }
    }
}

/// How it went.
#[derive(Default)]
pub(super) struct Tally {
    requests: usize,
    served: usize,
    excused: BTreeMap<(Excuse, String), usize>,
    /// Requests with an excuse that arrived at their agent all the same.
    excused_but_arrived: usize,
    wrong_agent: usize,
    twice: usize,
    lost: usize,
    failed: usize,
    /// What those that are lost or failed got.
    broken: BTreeMap<String, usize>,
    /// By kind.
    shown: BTreeMap<String, Vec<String>>,
}

impl Tally {
    pub(super) fn of(
        records: &[Record],
        arrivals: &HashMap<String, Vec<usize>>,
        troubles: &[Trouble],
    ) -> Self {
        let mut tally = Self { requests: records.len(), ..Self::default() };
        for record in records {
            let arrived = arrivals.get(&record.id).map_or(&[][..], Vec::as_slice);
            tally.count(record, arrived, troubles);
        }
        tally
    }

    /// One request, and the agents at which it arrived.
    fn count(&mut self, record: &Record, arrived: &[usize], troubles: &[Trouble]) {
        if arrived.iter().any(|agent| *agent != record.agent) {
            self.wrong_agent += 1;
            self.show("wrong agent", record, &format!("it arrived at agents {arrived:?}"));
        }
        if arrived.len() > 1 {
            self.twice += 1;
            self.show("twice", record, "it arrived more than once");
        }
        match &record.outcome {
            Outcome::Served if arrived.is_empty() => {
                self.lost += 1;
                self.show("lost", record, "it was answered and never arrived");
            }
            Outcome::Served => self.served += 1,
            Outcome::Misled(text) => {
                self.wrong_agent += 1;
                self.show("wrong agent", record, text);
            }
            outcome => match troubles.iter().find(|trouble| trouble.excuses(record, arrived)) {
                Some(trouble) => {
                    *self.excused.entry((trouble.excuse, outcome.to_string())).or_default() += 1;
                    self.excused_but_arrived += usize::from(!arrived.is_empty());
                }
                None => {
                    // Lost is what nobody has answered.
                    let lost = matches!(outcome, Outcome::NoAnswer(_) | Outcome::BrokenOff(_));
                    *(if lost { &mut self.lost } else { &mut self.failed }) += 1;
                    *self.broken.entry(outcome.to_string()).or_default() += 1;
                    let what = format!("{outcome:#}; arrived: {}", arrived.len());
                    self.show(&outcome.to_string(), record, &what);
                }
            },
        }
    }

    fn show(&mut self, kind: &str, record: &Record, what: &str) {
        let shown = self.shown.entry(kind.to_owned()).or_default();
        if shown.len() < MAX_SHOWN {
            let Record { id, replica, began, ended, .. } = record;
            shown.push(format!("{id} by way of replica {replica}, {began:?} to {ended:?}: {what}"));
        }
    }

    /// Whether every rule was kept.
    pub(super) fn is_clean(&self) -> bool {
        self.wrong_agent + self.twice + self.lost + self.failed == 0
    }

    pub(super) fn served(&self) -> usize {
        self.served
    }
}

impl fmt::Display for Outcome {
    /// With `#`, all that is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served => write!(f, "200"),
            Self::Misled(_) => write!(f, "another agent"),
            Self::Refused { status, text, .. } if f.alternate() => write!(f, "{status}: {text}"),
            Self::Refused { status, .. } => write!(f, "{status}"),
            Self::NoAnswer(why) if f.alternate() => write!(f, "no answer: {why}"),
            Self::NoAnswer(_) => write!(f, "no answer"),
            Self::BrokenOff(why) if f.alternate() => write!(f, "it broke off: {why}"),
            Self::BrokenOff(_) => write!(f, "an answer that broke off"),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, served, wrong_agent, twice, lost, failed, .. } = self;
        writeln!(f, "{requests} requests, {served} served")?;
        for ((excuse, outcome), count) in &self.excused {
            writeln!(f, "  excused, {excuse:?}: {count} x {outcome}")?;
        }
        writeln!(f, "  excused, and arrived all the same: {}", self.excused_but_arrived)?;
        writeln!(f, "  wrong agent: {wrong_agent}, executed twice: {twice}, lost: {lost}, failed: {failed}")?;
        for (outcome, count) in &self.broken {
            writeln!(f, "  without an excuse: {count} x {outcome}")?;
        }
        self.shown.values().flatten().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
