//! Reaps what the agent leaves, as the first process of a container does.
//!
//! The guard is the "subreaper" of everything below it: a process that the agent started and lost, even one that
//! has moved to a process group or session of its own as browsers do, becomes a child of the guard. So when the
//! agent has ended, whatever is left of it can be found and killed.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::backend::process::procfs;

/// How long what is left of an agent may take to die of SIGKILL. It is instant unless the disk hangs.
const CLEAR_UP_WITHIN: Duration = Duration::from_secs(2);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited(i32),
    Signalled(i32),
}

impl End {
    fn of(status: WaitStatus) -> Option<Self> {
        status.exit_status().map(Self::Exited).or_else(|| status.terminating_signal().map(Self::Signalled))
    }

    /// As shells say it.
    pub(super) fn code(self) -> u8 {
        let code = match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => 128 + signal,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

/// Waits for children, its own and adopted ones.
pub(super) struct Init {
    deaths: SignalStream,
}

impl Init {
    /// To be made before the first child is.
    pub(super) fn new() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(getpid()))?;
        Ok(Self { deaths: signal(SignalKind::child())? })
    }

    /// Until this child has ended. Reaps all others that end meanwhile. Cancel-safe.
    pub(super) async fn ended(&mut self, child: Pid) -> io::Result<End> {
        loop {
            while let Some((pid, status)) = retry_interrupted(|| wait(WaitOptions::NOHANG))? {
                if let (true, Some(end)) = (pid == child, End::of(status)) {
                    return Ok(end);
                }
            }
            self.deaths.recv().await;
        }
    }

    /// Kills and reaps everything that is left below the guard, so that it holds no port any more.
    pub(super) async fn clear_up(&mut self, agent: Pid) {
        let _ = tokio::time::timeout(CLEAR_UP_WITHIN, async {
            while reap_all() {
                // Whoever is left keeps its group from being used anew.
                let _ = kill_process_group(agent, Signal::KILL);
                for child in procfs::children_of(getpid()) {
                    let _ = kill_process(child, Signal::KILL);
                }
                self.deaths.recv().await;
            }
        })
        .await;
    }
}

/// Whether children are left that have not ended.
fn reap_all() -> bool {
    loop {
        match retry_interrupted(|| wait(WaitOptions::NOHANG)) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn retry_interrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_programs_or_tells_the_signal() {
        assert_eq!(End::Exited(0).code(), 0);
        assert_eq!(End::Exited(3).code(), 3);
        assert_eq!(End::Signalled(9).code(), 137);
    }
}
