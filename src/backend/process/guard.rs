//! The guard of one agent: a small process between Drowse and the agent, whose standard input is its lifeline.
//!
//! When that closes, because Drowse stops the agent or because Drowse itself was killed, the guard ends the agent and
//! all its children. So no agent outlives Drowse, whatever happens to it, and without any unsafe code.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::oneshot;

use super::logs;

/// The arguments of the hidden command `process-guard`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Between SIGTERM and SIGKILL.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// Where the output of the agent goes.
    #[arg(long)]
    pub log: PathBuf,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// The one line that a guard writes on its standard output.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// The process id of the agent, which leads a group of its own.
    Started(u32),
    /// Why it could not be started.
    Failed(String),
}

impl Report {
    pub(super) fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ')? {
            ("started", pid) => pid.parse().ok().map(Self::Started),
            ("failed", reason) => Some(Self::Failed(reason.to_owned())),
            _ => None,
        }
    }
}

/// Runs the agent until it ends or the lifeline closes. The exit code is the agent's, 128 + n for signal n.
pub fn run(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the guard process cannot run: {error}")),
    };
    runtime.block_on(guard(args))
}

async fn guard(args: &Args) -> ExitCode {
    let mut agent = match logs::open(&args.log).and_then(|log| spawn(&args.command, &log)) {
        Ok(agent) => agent,
        Err(error) => return failed(&format!("cannot start {}: {error}", args.command[0])),
    };
    let Some(pid) = agent.id() else { return failed("the agent ended at once") };
    let _caught = catch_signals();
    say(&format!("started {pid}"));
    let status = tokio::select! {
        status = agent.wait() => status,
        () = lifeline_closes() => stop(&mut agent, pid, args.grace).await,
    };
    // Its children die with it.
    kill_group(pid);
    ExitCode::from(status.map_or(1, exit_code))
}

fn spawn(command: &[String], log: &File) -> io::Result<Child> {
    Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .process_group(0)
        .spawn()
}

/// Nothing is ever written to it: it ends when its other end is closed, also by the death of Drowse. Read in a thread
/// that the end of the process does not wait for.
async fn lifeline_closes() {
    let (closed, told) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        closed.send(())
    });
    let _ = told.await;
}

/// Signals are Drowse's to act on, and it acts by the lifeline: caught as long as the result lives, and ignored.
fn catch_signals() -> Vec<Signals> {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect()
}

async fn stop(agent: &mut Child, pid: u32, grace: Duration) -> io::Result<ExitStatus> {
    signal_group(pid, Signal::TERM);
    if let Ok(status) = tokio::time::timeout(grace, agent.wait()).await {
        return status;
    }
    kill_group(pid);
    agent.wait().await
}

/// Ends a whole group at once. One that is gone already is fine.
pub(super) fn kill_group(pid: u32) {
    signal_group(pid, Signal::KILL);
}

fn signal_group(pid: u32, signal: Signal) {
    if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn failed(reason: &str) -> ExitCode {
    say(&format!("failed {}", reason.replace('\n', " ")));
    ExitCode::FAILURE
}

fn say(line: &str) {
    // If nobody reads it any more, the lifeline is closed too.
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_is_written() {
        assert_eq!(Report::parse("started 42"), Some(Report::Started(42)));
        assert_eq!(Report::parse("failed no such file"), Some(Report::Failed("no such file".into())));
        for other in ["", "started", "started x", "hello 1"] {
            assert_eq!(Report::parse(other), None, "{other:?}");
        }
    }
}
