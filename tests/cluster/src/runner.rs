//! Running one command with a cluster that is there for it alone.

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::options::Options;
use crate::process::Process;
use crate::{interrupt, wait};

/// How long a command may take to end when we are told to.
const GRACE: Duration = Duration::from_secs(30);
/// No test run takes longer; one that does hangs.
const COMMAND_LIMIT: Duration = Duration::from_hours(12);

/// Starts a new cluster, gives it the images, runs the command in its environment, and ends the cluster whatever
/// happens. Returns how the command ended.
pub fn run(options: &Options, images: &[impl AsRef<Path>], command: &[String]) -> Result<ExitStatus> {
    interrupt::listen().context("failed to listen for signals")?;
    let ours = std::env::var_os("DROWSE_TEST_CLUSTER").is_none_or(|which| which != "existing");
    if ours {
        Cluster::clear(&options.dir)?;
    }
    let result = start_and_run(options, images, command);
    interrupt::ignore();
    let ended = if ours { Cluster::down(&options.dir) } else { Ok(()) };
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
    let mut child = command.spawn().with_context(|| format!("failed to run {program}"))?;
    let ended = wait::until(&format!("{program} to end"), COMMAND_LIMIT, || {
        child.try_wait().context("failed to wait for the command")
    });
    if ended.is_err() {
        end(&mut child)?;
    }
    ended
}

/// Passes on that it is to end. A terminal has told it already, which does no harm.
fn end(child: &mut Child) -> Result<()> {
    let process = i32::try_from(child.id()).ok().and_then(Process::of);
    if let Some(process) = process {
        process.signal(Signal::TERM);
    }
    if !wait::whether(GRACE, || child.try_wait().is_ok_and(|status| status.is_some())) {
        child.kill().context("failed to kill the command")?;
    }
    child.wait().map(drop).context("failed to wait for the command")
}
