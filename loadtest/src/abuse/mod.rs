//! What honest callers notice while others abuse the front door: the same load with the abuse and without it, in rounds that
//! alternate before one Drowse.
//!
//! The honest callers' agent is not the one that is abused. Abusers and the abused agent run only when the CPU is idle, so that
//! what slows honest callers down is the front door. What nobody wants of the CPU is used up all the time, with abuse and
//! without: a virtual CPU that was idle wakes up later than one that was not, and one that is never idle may be given less.

pub(crate) mod abuser;
mod figures;
mod floods;
mod modes;
mod slow;

use std::process::Stdio;
use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::{Context as _, ensure};
use http::Uri;
use tokio::process::{Child, Command};

use crate::args;
use crate::client::Call;
use crate::drowse::{Drowse, Program};
use crate::exchange::Asking;
use crate::loopback::Loopback;
use crate::open_files;
use crate::open_loop::{self, Latencies, Pace};
use crate::procfs;
use abuser::Done;
pub(crate) use figures::Figures;
use figures::{Abused, Load, Rounds};
pub(crate) use modes::Mode;

/// How long Drowse may take until it is ready, and a round beyond its end.
const PATIENCE: Duration = Duration::from_secs(30);
/// The unmeasured round before all others.
const WARM_UP: Duration = Duration::from_secs(1);
/// Between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// For a shell: takes all of a CPU until this program is gone.
const USE_UP_A_CPU: &str =
    "while kill -0 $PPID 2>/dev/null; do i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; done";
/// Until what an abuser has left behind is gone.
const REST: Duration = Duration::from_millis(500);

/// Runs all modes, each before a Drowse of its own.
pub(crate) async fn run(program: &Program, options: &args::Abuse) -> anyhow::Result<Figures> {
    // In Drowse, a slow caller is a connection here and one to the agent.
    open_files::allow(2 * u64::from(options.connections) + u64::from(options.callers))?;
    let _busy = use_up_what_is_idle()?;
    let modes = if options.only.is_empty() { Mode::ALL.to_vec() } else { options.only.clone() };
    let mut figures = Figures::new(options);
    for mode in modes {
        eprintln!("{} ...", mode.name());
        let abused = measure(program, options, mode).await;
        figures.modes.push(abused.with_context(|| mode.name())?);
    }
    Ok(figures)
}

async fn measure(program: &Program, options: &args::Abuse, mode: Mode) -> anyhow::Result<Abused> {
    let ports = [Loopback::free()?, Loopback::free()?];
    let drowse = Drowse::configured(program, &config(program, ports), PATIENCE).await?;
    let victim = drowse.agent("default", "abused")?.call("/healthz");
    victim.once().await.context("the agent that is abused does not start")?;
    let honest = drowse.agent("default", "honest")?.call("/healthz");
    let honest = match options.answer_ms {
        0 => honest,
        ms => honest.with_path(Uri::try_from(format!("/slow?for={ms}ms&every=1s"))?),
    };
    let round = Round { clock: Clock::start(), drowse: &drowse, honest: &honest, options };
    round.load(WARM_UP).await?;
    let rss_before_kb = procfs::memory(drowse.pid)?.now_kb;
    let (mut without, mut during) = (Rounds::new()?, Rounds::new()?);
    let (mut done, mut rss_most_kb) = (Done::default(), rss_before_kb);
    let length = Duration::from_secs(if mode.is_slow() { options.slow_secs } else { options.flood_secs });
    for _ in 0..options.rounds {
        without.add(round.load(length).await?)?;
        let ((load, most_kb), did) =
            tokio::try_join!(round.watched(length), round.abuse(mode, length.as_secs() + 1),)?;
        during.add(load)?;
        done.merge(&did);
        rss_most_kb = rss_most_kb.max(most_kb);
        tokio::time::sleep(REST).await;
    }
    let bounds = figures::bounds_hit(&drowse.metrics().await?);
    drowse.end().await?;
    Ok(Abused::new(mode, options, without, during, [rss_before_kb, rss_most_kb], done, bounds))
}

/// What all rounds of a mode have in common.
struct Round<'a> {
    clock: Clock,
    drowse: &'a Drowse,
    honest: &'a Call,
    options: &'a args::Abuse,
}

impl Round<'_> {
    /// The honest callers' load.
    async fn load(&self, length: Duration) -> anyhow::Result<Load> {
        let connections = Asking::open(self.honest, self.options.callers).await?;
        let cpu_before = procfs::cpu_time(self.drowse.pid)?;
        let load = open_loop::load(self.clock, connections, Pace::new(self.options.rate, length));
        let latencies: Latencies =
            tokio::time::timeout(length + PATIENCE, load).await.context("a round does not end")??;
        let cpu = procfs::cpu_time(self.drowse.pid)?.saturating_sub(cpu_before);
        Ok(Load { latencies, cpu, length })
    }

    /// The same, and the most memory that was seen meanwhile.
    async fn watched(&self, length: Duration) -> anyhow::Result<(Load, u64)> {
        let mut most_kb = 0;
        let mut load = std::pin::pin!(self.load(length));
        loop {
            tokio::select! {
                load = &mut load => return Ok((load?, most_kb)),
                () = tokio::time::sleep(LOOK_EVERY) => {
                    most_kb = most_kb.max(procfs::memory(self.drowse.pid)?.now_kb);
                }
            }
        }
    }

    /// Lets an abuser loose, for so long.
    async fn abuse(&self, mode: Mode, secs: u64) -> anyhow::Result<Done> {
        let number = if mode.is_slow() { self.options.connections } else { self.options.floods };
        let own = std::env::current_exe().context("failed to find this program")?;
        let port = self.honest.to.address().port().to_string();
        let mut command = only_when_idle(own.as_os_str());
        command.args(["abuser", "--mode", &mode.name(), "--port", &port, "--secs", &secs.to_string()]);
        command.args(["--connections", &number.to_string(), "--host", "abused.default.agents.localhost"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let output = command.output().await.context("failed to start an abuser (it needs chrt)")?;
        ensure!(output.status.success(), "the abuser failed: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("the abuser does not say what it did")
    }
}

/// A process for each CPU. They end when they are dropped, or this program ends.
fn use_up_what_is_idle() -> anyhow::Result<Vec<Child>> {
    let cpus = std::thread::available_parallelism().context("failed to count the CPUs")?;
    let start = |_| {
        let mut command = only_when_idle("sh".as_ref());
        command.args(["-c", USE_UP_A_CPU]).stdin(Stdio::null()).kill_on_drop(true);
        command.spawn().context("failed to keep a CPU busy (it needs chrt)")
    };
    (0..cpus.get()).map(start).collect()
}

/// A program that gets the CPU when nobody else wants it.
fn only_when_idle(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("chrt");
    command.args(["--idle", "0"]).arg(program);
    command
}

/// All that is not written has the default of Drowse.
fn config(program: &Program, [honest, abused]: [Loopback; 2]) -> String {
    let [honest, abused] = [honest, abused].map(|port| port.address().port());
    let program = program.0.display();
    format!(
        "backend:\n  process:\n    state_dir: state\n    agents:\n      - name: honest\n        port: {honest}\n        \
         command: [drowse, demo-agent, --port, \"{{port}}\"]\n      - name: abused\n        port: {abused}\n        \
         command: [chrt, --idle, \"0\", {program:?}, demo-agent, --port, \"{{port}}\"]\n\
         defaults: {{idle_timeout: 1h}}\n",
        program = program.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drowse_understands_the_configuration() {
        let program = Program("/a place/drowse".into());
        let text = config(&program, [Loopback::local(1001), Loopback::local(1002)]);
        if let Err(error) = ::drowse::config::parse(&text, std::path::Path::new("drowse.yaml")) {
            panic!("{error}\n{text}");
        }
    }
}
