//! Running one command with a cluster that is there for it alone.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use crate::cluster::Cluster;
use crate::options::Options;
use crate::process::Process;
use crate::{interrupt, spawn, wait};

/// How long a command may take to end when we are told to.
const GRACE: Duration = Duration::from_secs(30);
/// No test run takes longer; one that does hangs.
const COMMAND_LIMIT: Duration = Duration::from_hours(12);

/// The name under which the command's process is written down, for a run that is killed.
pub(crate) const COMMAND: &str = "command";

/// Starts a new cluster, gives it the images, runs the command in its environment, and ends the cluster whatever
/// happens. Returns how the command ended.
pub fn run(options: &Options, images: &[impl AsRef<Path>], command: &[String]) -> Result<ExitStatus> {
    interrupt::listen().context("failed to listen for signals")?;
    if !Cluster::is_existing() {
        Cluster::clear(&options.dir)?;
    }
    let result = start_and_run(options, images, command);
    interrupt::ignore();
    let ended = if Cluster::is_existing() { Ok(()) } else { Cluster::down(&options.dir) };
    let status = result?;
    ended?;
    Ok(status)
}

fn start_and_run(options: &Options, images: &[impl AsRef<Path>], command: &[String]) -> Result<ExitStatus> {
    let cluster = Cluster::start_as(options, true)?;
    for image in images {
        cluster.load_image(image.as_ref())?;
    }
    let (program, args) = command.split_first().context("there is no command to run")?;
    let mut command = Command::new(program);
    command.args(args).envs(cluster.environment());
    // So that what it starts ends with it. In a terminal, a group of its own could not read from it.
    let alone = !std::io::stdin().is_terminal();
    if alone {
        command.process_group(0);
    }
    let mut child = command.spawn().with_context(|| format!("failed to run {program}"))?;
    if !Cluster::is_existing()
        && let Some(process) = i32::try_from(child.id()).ok().and_then(Process::of)
    {
        spawn::write_down(&options.dir, COMMAND, process)?;
    }
    let ended = wait::until(&format!("{program} to end"), COMMAND_LIMIT, || {
        child.try_wait().context("failed to wait for the command")
    });
    if ended.is_err() {
        end(&mut child, alone)?;
    }
    ended
}

/// Passes on that it is to end. A terminal has told it already, which does no harm.
fn end(child: &mut Child, alone: bool) -> Result<()> {
    // Nobody waited for it yet, so that the pid is still its own, and the group's.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| {
        let Some(pid) = pid else { return };
        let _ = if alone { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    };
    signal(Signal::TERM);
    let exits = || {
        waitid(
            WaitId::Pid(pid.unwrap_or(Pid::INIT)),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
        )
    };
    wait::whether(GRACE, || exits().is_ok_and(|status| status.is_some()));
    signal(Signal::KILL);
    child.wait().map(drop).context("failed to wait for the command")
}
