//! The guard: one small process between Drowse and one agent, so that no agent outlives Drowse.
//!
//! Drowse holds the other end of the guard's standard input and never writes to it. When that end closes, because
//! Drowse wants the agent stopped or because Drowse was killed, the guard stops the agent. The guard says in one
//! line on standard output how the start went, and its exit code is the agent's.

mod init;
pub(super) mod report;
mod start;

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::log_file;
use super::procfs::members::members;
use crate::open_files;
use init::{End, Init};
use report::{Refused, Report};

/// Start a program and end it, with everything that it started, when standard input closes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that the program's output is appended to. Of a large one the end is put aside, as `<file>.1`.
    #[arg(long)]
    log: PathBuf,
    /// The folder that the program starts in; made if it does not exist.
    #[arg(long)]
    working_dir: PathBuf,
    /// Milliseconds between SIGTERM and SIGKILL.
    #[arg(long, default_value_t = 5_000)]
    grace_ms: u64,
    /// How many files the program may have open; if left out, as many as the guard may.
    #[arg(long)]
    open_files: Option<u64>,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Guards one program until it has ended. The exit code is the program's; 128 and the number of the signal if one
/// ended it; 1 if it could not be started.
pub fn run(args: &Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime
        .map_err(|error| Refused::by_system(&error))
        .and_then(|runtime| runtime.block_on(guard(args)))
    {
        Ok(end) => ExitCode::from(end.code()),
        Err(refused) => {
            tell(&Report::Refused(refused));
            ExitCode::FAILURE
        }
    }
}

async fn guard(args: &Args) -> Result<End, Refused> {
    let system = |error: io::Error| Refused::by_system(&error);
    // From here on only the pipe ends the guard: a guard that dies of a signal would leave the agent behind.
    let _deaf = deaf_to_signals().map_err(system)?;
    let stop = closed(stdin().map_err(system)?);
    let mut init = Init::new().map_err(system)?;
    if let Some(limit) = args.open_files {
        open_files::lower(limit).map_err(system)?;
    }
    let agent = start::start(args)?;
    tell(&Report::Started(agent.as_raw_nonzero().get()));
    let end = tokio::select! {
        end = init.ended(agent) => end,
        () = stop => stop_agent(agent, Duration::from_millis(args.grace_ms), &mut init).await,
        never = log_file::keep_small(&args.log) => match never {},
    };
    init.clear_up(agent).await;
    end.map_err(system)
}

/// If nobody listens any more, the pipe of standard input is closed as well, and that is what counts.
fn tell(report: &Report) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{report}").and_then(|()| out.flush());
}

/// Handlers that do nothing. Unlike ignored signals they are not passed on to the agent.
fn deaf_to_signals() -> io::Result<Vec<SignalStream>> {
    [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()]
        .into_iter()
        .map(signal)
        .collect()
}

fn stdin() -> io::Result<pipe::Receiver> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    pipe::Receiver::from_owned_fd(stdin)
        .map_err(|error| io::Error::new(error.kind(), format!("standard input must be a pipe: {error}")))
}

/// Until the other end is closed.
async fn closed(mut pipe: pipe::Receiver) {
    let mut ignored = [0; 64];
    while matches!(pipe.read(&mut ignored).await, Ok(1..)) {}
}

async fn stop_agent(agent: Pid, grace: Duration, init: &mut Init) -> io::Result<End> {
    // Not reaped yet, so the group is still the agent's.
    let _ = kill_process_group(agent, Signal::TERM);
    // What is frozen hears of it only when it goes on.
    go_on(agent);
    if let Ok(end) = tokio::time::timeout(grace, init.ended(agent)).await {
        return end;
    }
    let _ = kill_process_group(agent, Signal::KILL);
    init.ended(agent).await
}

/// Also what has left the group, since the agent may wait for it.
fn go_on(agent: Pid) {
    let _ = kill_process_group(agent, Signal::CONT);
    for outside in members(agent, getpid()).into_iter().filter(|member| !member.in_group && member.still) {
        let _ = kill_process(outside.pid, Signal::CONT);
    }
}
