//! `POST /execute`: one command, without a shell, within bounds.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::{Runtime, builtin};

/// How long a command may run, with its wait for a place: as long as agent-sandbox's runtime lets it.
const MAX_RUN: Duration = Duration::from_mins(5);
/// How much is kept of each of its two outputs. The rest is read and thrown away, so that the command can end.
pub(super) const MAX_OUTPUT: u64 = 1 << 20;
/// Programs that run at once; more wait.
pub(super) const MAX_PROGRAMS: usize = 64;

/// What a caller sends.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    command: String,
    timeout_seconds: Option<f64>,
}

/// What a caller gets.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) exit_code: i32,
    pub(super) timed_out: bool,
    /// Whether an output was longer than what is kept of it.
    pub(super) truncated: bool,
}

impl Outcome {
    /// With the exit codes of shells: 2 for a line that cannot be read, 127 for a command that is not there.
    pub(super) fn failure(exit_code: i32, stderr: impl Into<String>) -> Self {
        Self { stderr: stderr.into(), exit_code, ..Self::default() }
    }

    fn timed_out(limit: Duration) -> Self {
        let stderr = format!("the command was killed after {} seconds", limit.as_secs_f64());
        Self { timed_out: true, ..Self::failure(124, stderr) }
    }
}

/// Runs a command to its end. The error is what to write instead.
pub(super) async fn execute(runtime: &Runtime, order: &Order) -> Result<Outcome, &'static str> {
    let limit = match order.timeout_seconds.map(Duration::try_from_secs_f64) {
        None => MAX_RUN,
        Some(Ok(limit)) if !limit.is_zero() => limit.min(MAX_RUN),
        Some(_) => return Err("timeout_seconds is no time; write a number above 0"),
    };
    let outcome = tokio::time::timeout(limit, run(runtime, &order.command)).await;
    Ok(outcome.unwrap_or_else(|_| Outcome::timed_out(limit)))
}

async fn run(runtime: &Runtime, line: &str) -> Outcome {
    let Some(words) = shlex::split(line) else {
        return Outcome::failure(2, "a quote is not closed");
    };
    let Some((name, arguments)) = words.split_first() else {
        return Outcome::failure(2, "there is no command");
    };
    if runtime.programs {
        match program(runtime, name, arguments).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => {
                return outcome.unwrap_or_else(|error| Outcome::failure(126, format!("{name}: {error}")));
            }
        }
    }
    builtin::run(&runtime.folder, name, arguments).await
}

async fn program(runtime: &Runtime, name: &str, arguments: &[String]) -> io::Result<Outcome> {
    // Never closed.
    let _place = runtime.places.acquire().await.map_err(io::Error::other)?;
    let mut command = Command::new(name);
    command.args(arguments).current_dir(runtime.folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr, status) = tokio::try_join!(keep(stdout), keep(stderr), child.wait())?;
    // Its number may belong to somebody else from now on.
    group.0 = None;
    let truncated = stdout.1 || stderr.1;
    Ok(Outcome {
        stdout: stdout.0,
        stderr: stderr.0,
        exit_code: exit_code(status),
        truncated,
        ..Outcome::default()
    })
}

/// A command and all that it started: killed if the command is given up, as when its time is over or its caller left.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads an output to its end; tells what is kept, and whether that is not all.
async fn keep(output: Option<impl AsyncRead + Unpin>) -> io::Result<(String, bool)> {
    let Some(mut output) = output else { return Ok((String::new(), false)) };
    let mut kept = Vec::new();
    (&mut output).take(MAX_OUTPUT).read_to_end(&mut kept).await?;
    let lost = tokio::io::copy(&mut output, &mut tokio::io::sink()).await?;
    Ok((String::from_utf8_lossy(&kept).into_owned(), lost > 0))
}

/// The exit code; minus the signal if one killed it, as Python counts.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| -signal)).unwrap_or(-1)
}
