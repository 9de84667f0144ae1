//! Drowse's end of a guard: start it, hear how the start went, have the agent stopped, learn how it ended.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Take};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Sleep;

use super::guard::report::Report;
use super::procfs;
use super::procfs::members::members;
use super::spec::{AgentSpec, is_inherited};
use crate::lifecycle::{Failure, FailureClass};
use crate::open_files;
use crate::time::{Clock, Moment};

/// The command that makes this program a guard.
const COMMAND: &str = "process-guard";
/// A guard makes two folders, opens a file and starts a program. Longer than that takes on a slow disk.
const REPORTS_WITHIN: Duration = Duration::from_secs(10);
/// A guard that has not ended this long after the agent's grace is not trusted to do so any more. It may take two seconds to clear
/// up, and the system some time to take a large process apart.
const STOPS_AFTER_GRACE: Duration = Duration::from_secs(5);
/// More than any line that a guard writes.
const MAX_REPORT_BYTES: u64 = 4 * 1024;
/// How long a killed process group may take to be gone, and how often that is looked at: nothing tells.
const GROUP_GONE_WITHIN: Duration = Duration::from_secs(2);
const GROUP_POLL: Duration = Duration::from_millis(5);

/// The processes of one life of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pids {
    pub(super) guard: Pid,
    /// Also the id of its process group.
    pub(super) agent: Pid,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum News {
    /// The program runs.
    Started(Pids),
    /// It has ended, or never started; nothing of it is left.
    Ended(Failure),
}

/// An agent with its guard. Dropping it has the agent stopped, but does not wait for that.
pub(super) struct Guarded {
    guard: Child,
    guard_pid: Pid,
    /// Closing it stops the agent.
    leash: Option<ChildStdin>,
    report: BufReader<Take<ChildStdout>>,
    line: Vec<u8>,
    reported: bool,
    agent: Option<Pid>,
    refused: Option<Failure>,
    /// When the guard must have done what it is at.
    overdue: Option<Pin<Box<Sleep>>>,
    grace: Duration,
    log: PathBuf,
    clock: Clock,
    began: Moment,
}

impl Guarded {
    /// Starts the guard, which starts the agent.
    pub(super) fn start(
        drowse: &Path,
        spec: &AgentSpec,
        log: PathBuf,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::new(
                FailureClass::Quota,
                format!("cannot start a guard process ({}): {error}", drowse.display()),
            )
        };
        let mut guard = guard_command(drowse, spec, &log).spawn().map_err(|error| refused(&error))?;
        let pid = guard.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (Some(guard_pid), Some(leash), Some(report)) = (pid, guard.stdin.take(), guard.stdout.take())
        else {
            return Err(refused(&"it has no pipes"));
        };
        Ok(Self {
            guard,
            guard_pid,
            leash: Some(leash),
            report: BufReader::new(report.take(MAX_REPORT_BYTES)),
            line: Vec::new(),
            reported: false,
            agent: None,
            refused: None,
            overdue: Some(Box::pin(tokio::time::sleep(REPORTS_WITHIN))),
            grace: spec.stop_grace,
            log,
            clock,
            began: clock.now(),
        })
    }

    /// Has the agent stopped: SIGTERM, grace, SIGKILL. Returns at once.
    pub(super) fn stop(&mut self) {
        if self.leash.take().is_some() {
            self.overdue = Some(Box::pin(tokio::time::sleep(self.grace + STOPS_AFTER_GRACE)));
        }
    }

    /// The next thing that happens. Cancel-safe; not to be called again after [`News::Ended`].
    pub(super) async fn next(&mut self) -> News {
        loop {
            tokio::select! {
                biased;
                read = self.report.read_until(b'\n', &mut self.line), if !self.reported => {
                    self.note_report(&read);
                    if let Some(agent) = self.agent {
                        return News::Started(Pids { guard: self.guard_pid, agent });
                    }
                }
                status = self.guard.wait() => return News::Ended(self.ended(status).await),
                () = elapsed(&mut self.overdue) => self.kill(),
            }
        }
    }

    fn note_report(&mut self, read: &io::Result<usize>) {
        self.reported = true;
        if self.leash.is_some() {
            self.overdue = None;
        }
        let line = String::from_utf8_lossy(&self.line);
        match Report::parse(&line) {
            Some(Report::Started(agent)) => self.agent = Pid::from_raw(agent),
            Some(Report::Refused(refused)) => self.refused = Some(refused.into()),
            None => {
                tracing::warn!(guard = %self.guard_pid, ?read, %line, "a guard process did not report");
            }
        }
    }

    fn kill(&mut self) {
        self.overdue = None;
        tracing::warn!(guard = %self.guard_pid, "a guard process hangs; killing it and its agent");
        if let Some(agent) = self.agent {
            // While the guard lives, what has left the group can still be told from others.
            for outside in members(agent, self.guard_pid).into_iter().filter(|member| !member.in_group) {
                let _ = kill_process(outside.pid, Signal::KILL);
            }
            let _ = kill_process_group(agent, Signal::KILL);
        }
        let _ = self.guard.start_kill();
    }

    async fn ended(&mut self, status: io::Result<ExitStatus>) -> Failure {
        if !self.reported {
            // It is gone, so its line is complete, or will never be.
            let read = self.report.read_until(b'\n', &mut self.line).await;
            self.note_report(&read);
        }
        let left_behind = self.clear_group().await;
        if let Some(refused) = self.refused.take() {
            return refused;
        }
        let how = match status.map(|status| (status, status.code())) {
            Ok((_, Some(code))) if self.agent.is_some() && !left_behind => how_it_ended(code),
            Ok((status, _)) => format!("was ended because its guard process was ({status})"),
            Err(error) => format!("was lost: its guard process cannot be waited for ({error})"),
        };
        let lived = lived(self.clock.now().since(self.began));
        Failure::new(FailureClass::Crash, format!("{how} after {lived}; see {}", self.log.display()))
    }

    /// Kills what a guard that was itself killed has left behind. Whether there was anything.
    async fn clear_group(&self) -> bool {
        let Some(agent) = self.agent.filter(|agent| test_kill_process_group(*agent).is_ok()) else {
            return false;
        };
        let _ = kill_process_group(agent, Signal::KILL);
        let gone = async {
            while procfs::group_exists(agent) {
                tokio::time::sleep(GROUP_POLL).await;
            }
        };
        if tokio::time::timeout(GROUP_GONE_WITHIN, gone).await.is_err() {
            tracing::warn!(%agent, "a process group does not die of SIGKILL");
        }
        true
    }
}

fn guard_command(drowse: &Path, spec: &AgentSpec, log: &Path) -> Command {
    let mut command = Command::new(drowse);
    command.arg(COMMAND).arg("--log").arg(log).arg("--working-dir").arg(&spec.working_dir);
    command.arg("--grace-ms").arg(spec.stop_grace.as_millis().to_string());
    if let Some(limit) = open_files::given() {
        command.arg("--open-files").arg(limit.to_string());
    }
    command.arg("--").args(spec.words(drowse));
    for (name, _) in std::env::vars_os().filter(|(name, _)| !is_inherited(name)) {
        command.env_remove(name);
    }
    command.envs(spec.variables());
    // A group of its own, so that Ctrl-C in a terminal is Drowse's to handle.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    command
}

async fn elapsed(sleep: &mut Option<Pin<Box<Sleep>>>) {
    match sleep {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

/// From the exit code of a guard.
fn how_it_ended(code: i32) -> String {
    match code {
        // As the standard library prints it: `signal: 9 (SIGKILL)`.
        129..=192 => {
            format!("was ended by {}", ExitStatus::from_raw(code - 128)).replace("signal: ", "signal ")
        }
        _ => format!("exited with status {code}"),
    }
}

fn lived(time: Duration) -> String {
    if time < Duration::from_mins(1) {
        format!("{:.1}s", time.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_reads_as_what_happened() {
        for (code, expected) in [
            (0, "exited with status 0"),
            (1, "exited with status 1"),
            (128, "exited with status 128"),
            (137, "was ended by signal 9 (SIGKILL)"),
            (139, "was ended by signal 11 (SIGSEGV)"),
            (255, "exited with status 255"),
        ] {
            assert_eq!(how_it_ended(code), expected);
        }
    }

    #[test]
    fn a_life_is_told_as_precisely_as_it_matters() {
        for (millis, expected) in [(0, "0.0s"), (249, "0.2s"), (59_900, "59.9s"), (3_605_200, "1h 5s")] {
            assert_eq!(lived(Duration::from_millis(millis)), expected);
        }
    }
}
