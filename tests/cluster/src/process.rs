//! A process that we started: its pid together with the moment it began, so that no signal of ours ever reaches
//! another process that was given the same pid later.

use std::fs;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpgid, getpgrp, kill_process_group, pidfd_open,
    pidfd_send_signal, waitpid,
};
use serde::{Deserialize, Serialize};

use crate::wait;

/// How long a process may take to be gone after SIGKILL: the kernel frees its memory first.
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// A process, and no other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it began, in clock ticks since the machine started: field 22 of proc(5)'s stat.
    pub started_ticks: u64,
}

impl Process {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        let (_, started_ticks) = stat(pid)?;
        Some(Self { pid, started_ticks })
    }

    /// Whether it runs, or is stopped. One that ended and was not waited for does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|(state, started)| started == self.started_ticks && !"ZX".contains(state))
    }

    /// Sends it a signal; nothing happens if it is gone.
    pub fn signal(self, signal: Signal) {
        // The descriptor first, then the look: it stays with the process that we looked at.
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if self.is_alive() {
            let _ = pidfd_send_signal(descriptor, signal);
        }
    }

    /// Tells it to end, and kills it when it has not after `grace`. Whether it is gone.
    pub fn end(self, grace: Duration) -> bool {
        self.signal(Signal::TERM);
        // One that was stopped hears nothing but this.
        self.signal(Signal::CONT);
        if self.is_gone_within(grace) {
            return true;
        }
        self.kill()
    }

    /// Kills it. Whether it is gone.
    pub fn kill(self) -> bool {
        self.signal(Signal::KILL);
        self.is_gone_within(KILL_LIMIT)
    }

    /// Kills it together with its process group, if it leads one that we are not in.
    pub(crate) fn kill_group(self) {
        let leads = |pid: &Pid| getpgid(Some(*pid)) == Ok(*pid) && getpgrp() != *pid;
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid).filter(leads)
        {
            let _ = kill_process_group(pid, Signal::KILL);
            self.is_gone_within(KILL_LIMIT);
        }
    }

    fn is_gone_within(self, limit: Duration) -> bool {
        let gone = wait::whether(limit, || !self.is_alive());
        // If it was a child of ours, its entry goes too.
        if gone && let Some(pid) = Pid::from_raw(self.pid) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        gone
    }
}

fn stat(pid: i32) -> Option<(char, u64)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// State and start. The name, in parentheses, may hold spaces and parentheses itself.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3, the start field 22.
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_may_look_like_the_fields_after_it() {
        let text = "42 (a) R 1 (b) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000";
        assert_eq!(parse_stat(text), Some(('S', 98765)));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn a_pid_that_somebody_else_has_now_gets_no_signal() {
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        let later = Process { started_ticks: process.started_ticks + 1, ..process };
        assert!(process.is_alive() && !later.is_alive());
        later.signal(Signal::KILL);
        assert!(later.kill(), "it is gone, as far as we know");
        assert!(process.is_alive());
        assert!(process.end(Duration::from_secs(10)));
        assert!(child.wait().is_err(), "it was waited for");
    }
}
