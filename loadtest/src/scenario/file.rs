//! A scenario as it is written: a YAML file such as those in loadtest/scenarios. Reads it, and the trace that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::drowse::units::HumanDuration;
use anyhow::{Context as _, anyhow, ensure};
use serde::Deserialize;

use super::bounds;
use super::trace::Trace;

/// Larger than any good file.
const MAX_BYTES: u64 = 64 * 1024;

/// Agents, and traffic for a while.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// The file's, without its ending.
    #[serde(skip)]
    pub(super) name: String,
    /// What it shows, for people.
    pub(super) about: String,
    pub(super) agents: Agents,
    /// For how long calls are made.
    pub(super) length: HumanDuration,
    pub(super) traffic: Vec<Part>,
    #[serde(default)]
    pub(super) goals: RunGoals,
}

/// Demo agents, a process each while it is up. All else has the default of Drowse.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agents {
    pub(super) count: u32,
    #[serde(default)]
    pub(super) start: Start,
    /// How long an agent takes to start, besides what a process takes.
    #[serde(default = "zero")]
    pub(super) start_delay: HumanDuration,
    #[serde(default = "hour")]
    pub(super) idle_timeout: HumanDuration,
    /// Requests that one agent gets at once.
    pub(super) max_in_flight: Option<u32>,
}

/// How agents are when the traffic begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start {
    /// They have never been started.
    #[default]
    Asleep,
    /// Each has been called once.
    Awake,
}

/// A part of the traffic: calls of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// How long the agent works on a call.
    #[serde(default = "zero")]
    pub(super) takes: HumanDuration,
    /// Of a stream: the time between two events.
    pub(super) every: Option<HumanDuration>,
    pub(super) arrivals: Arrivals,
    /// Who is called. A trace says so itself.
    pub(super) popularity: Option<Popularity>,
    pub(super) hang_up: Option<HangUp>,
    /// Keep-alive connections at most. Who finds all of them busy waits for one, and the wait counts.
    #[serde(default = "connections")]
    pub(super) connections: u32,
    #[serde(default)]
    pub(super) goals: PartGoals,
    /// What `arrivals` has read.
    #[serde(skip)]
    pub(super) trace: Option<Arc<Trace>>,
}

/// What a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A request over HTTP with one answer.
    Request,
    /// A request over HTTP that is answered by server-sent events.
    Stream,
    /// A message over NATS that asks for a reply.
    Message,
}

/// When calls are made, whatever becomes of those before.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Arrivals {
    /// So many a second, evenly.
    Constant { rate: f64 },
    /// So many a second on average, each by chance: as of many callers who do not know of each other.
    Poisson { rate: f64 },
    /// All at once, so long after the beginning.
    Burst {
        callers: u32,
        #[serde(default = "zero")]
        at: HumanDuration,
    },
    /// As somebody has recorded them: a file with calls of each function in each minute.
    Trace {
        /// Relative to the folder of the scenario.
        file: PathBuf,
        /// How much faster than it was: 60 makes a second of a minute.
        speed: f64,
        spread: Spread,
        /// Calls of one function in one minute of the trace. What is more is cut, and counted.
        at_most: Option<u32>,
    },
}

/// Where the calls of one minute of a trace are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Spread {
    /// At even distances.
    Even,
    /// Anywhere, by chance.
    Poisson,
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Popularity {
    /// Always the same agent.
    One,
    /// One after the other.
    RoundRobin,
    /// Anyone, by chance.
    Uniform,
    /// By chance, the n-th agent as often as `1 / n^exponent`.
    Zipf { exponent: f64 },
}

/// Callers that leave if they are not answered soon.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HangUp {
    /// How many of all, from 0 to 1.
    pub(super) share: f64,
    pub(super) after: HumanDuration,
}

/// What a part must reach.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartGoals {
    /// Calls that failed, at most.
    #[serde(default)]
    pub(super) failed: u64,
    /// Of those whose agent was up.
    pub(super) warm_p99: Option<HumanDuration>,
    /// Of those whose agent had to be woken.
    pub(super) woken_p99: Option<HumanDuration>,
}

/// What the whole run must reach.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunGoals {
    /// Resident memory of Drowse in the last tenth of the time over that in the second tenth, in percent, at most.
    pub(super) memory_growth: Option<f64>,
    /// Starts of agents at most.
    pub(super) starts: Option<u64>,
}

fn zero() -> HumanDuration {
    HumanDuration::from_secs(0)
}

fn hour() -> HumanDuration {
    HumanDuration::from_secs(3600)
}

const fn connections() -> u32 {
    256
}

impl Scenario {
    /// Reads a file. `scale` is how much more traffic there is, `length` replaces what is written there.
    pub(super) fn read(file: &Path, scale: f64, length: Option<HumanDuration>) -> anyhow::Result<Self> {
        let shown = file.display();
        let size = std::fs::metadata(file).with_context(|| format!("failed to read {shown}"))?.len();
        ensure!(size <= MAX_BYTES, "{shown} has {size} bytes; a scenario has at most {MAX_BYTES}");
        let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {shown}"))?;
        let mut scenario = Self::parse(&text).map_err(|error| {
            let line = error.location().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or_default();
            let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
            anyhow!("{shown}: {error}: {written}")
        })?;
        scenario.name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        scenario.traffic.iter_mut().for_each(|part| part.arrivals.scale(scale));
        scenario.length = length.unwrap_or(scenario.length);
        let folder = file.parent().unwrap_or(Path::new(""));
        let problems = scenario.problems(folder)?;
        ensure!(
            problems.is_empty(),
            "{}",
            problems.iter().map(|problem| format!("{shown}: {problem}")).collect::<Vec<_>>().join("\n")
        );
        Ok(scenario)
    }

    fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false })
    }

    /// Reads traces, too, unless something is wrong before.
    fn problems(&mut self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let problems = bounds::problems(self);
        if !problems.is_empty() {
            return Ok(problems);
        }
        for part in &mut self.traffic {
            if let Arrivals::Trace { file, .. } = &part.arrivals {
                part.trace = Some(Arc::new(Trace::read(&folder.join(file))?));
            }
        }
        Ok(bounds::problems_with_traces(self))
    }

    /// As the rest of the program uses it.
    pub(super) fn length(&self) -> Duration {
        self.length.get()
    }

    /// Whether anybody sends messages.
    pub(super) fn has_messages(&self) -> bool {
        self.traffic.iter().any(|part| part.kind == Kind::Message)
    }

    /// Connections over HTTP at once, at most.
    pub(super) fn connections(&self) -> u32 {
        let parts = self.traffic.iter().filter(|part| part.kind != Kind::Message);
        parts.fold(0, |sum, part| sum.saturating_add(part.connections))
    }
}

impl Arrivals {
    fn scale(&mut self, by: f64) {
        match self {
            Self::Constant { rate } | Self::Poisson { rate } | Self::Trace { speed: rate, .. } => *rate *= by,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, and is above zero"
            )]
            Self::Burst { callers, .. } => *callers = (f64::from(*callers) * by).round().max(1.0) as u32,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Constant { rate } => format!("{rate} a second"),
            Self::Poisson { rate } => format!("{rate} a second, Poisson"),
            Self::Burst { callers, at } => format!("{callers} at once after {at}"),
            Self::Trace { file, speed, .. } => {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                format!("{name}, {speed} times as fast")
            }
        }
    }
}

impl Popularity {
    /// For people.
    pub(super) fn text(self) -> String {
        match self {
            Self::One => "one agent".to_owned(),
            Self::RoundRobin => "round robin".to_owned(),
            Self::Uniform => "uniform".to_owned(),
            Self::Zipf { exponent } => format!("Zipf {exponent}"),
        }
    }
}

impl Kind {
    /// For people.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Stream => "stream",
            Self::Message => "message",
        }
    }
}

#[cfg(test)]
mod tests;
