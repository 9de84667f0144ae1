//! Has an agent's processes stand still, and go on: SIGSTOP, which no program can refuse, and SIGCONT.
//!
//! A signal to a process group reaches everybody in it, whoever is just being forked too, but they stop one after
//! another and tell nobody. So all are looked at until none runs. Those that have left the group are stopped one by
//! one, and one look is not enough for them: it may miss a process that is forked behind its back.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use super::guarded::Pids;
use super::procfs::members::{Member, members, stands_still};

/// A process stops as soon as it leaves the kernel. One that has just called vfork(2) does not before its child has
/// executed a program; the child may be stopped before that, and then only another try helps.
const STOPS_WITHIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 4;
/// How long all go on between two tries.
const PAUSE: Duration = Duration::from_millis(10);
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// What the first look missed was forked by a process that ran then, and is there for the second one.
const LOOKS: u32 = 2;

/// Processes that stand still, in whatever state they were.
#[derive(Debug)]
pub(super) struct Frozen {
    group: Pid,
    /// Those that have left the group.
    outside: Vec<Pid>,
}

impl Frozen {
    /// Stops all processes of an agent. An error says which one went on running for two seconds; then all go on.
    pub(super) async fn freeze(pids: Pids) -> Result<Self, String> {
        let mut tries = 1;
        loop {
            let mut frozen = Self { group: pids.agent, outside: Vec::new() };
            let Err(failure) = frozen.stop_all(pids).await else { return Ok(frozen) };
            frozen.thaw();
            if tries == TRIES {
                return Err(failure);
            }
            tries += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether anybody of the group is left to go on.
    pub(super) fn exists(&self) -> bool {
        test_kill_process_group(self.group).is_ok()
    }

    /// Has them go on.
    pub(super) fn thaw(self) {
        let _ = kill_process_group(self.group, Signal::CONT);
        for pid in self.outside {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    /// Ends those that have left the group, if they still stand still: their guard has ended, and the rest with it.
    pub(super) fn end(self) {
        for pid in self.outside.into_iter().filter(|pid| stands_still(*pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    async fn stop_all(&mut self, pids: Pids) -> Result<(), String> {
        let mut running = None;
        // If there is no such group any more, there is nothing to stop.
        let _ = kill_process_group(self.group, Signal::STOP);
        match tokio::time::timeout(STOPS_WITHIN, self.until_still(pids, &mut running)).await {
            Ok(result) => result,
            Err(_) => Err(match running {
                Some(Member { pid, name, .. }) => format!("its process {pid} ({name}) does not stop"),
                None => "looking at its processes takes too long".to_owned(),
            }),
        }
    }

    /// `running` is the one that the last look has seen running.
    async fn until_still(&mut self, pids: Pids, running: &mut Option<Member>) -> Result<(), String> {
        let mut still = 0;
        while still < LOOKS {
            let look = tokio::task::spawn_blocking(move || members(pids.agent, pids.guard));
            let seen = look.await.map_err(|error| format!("cannot look at its processes: {error}"))?;
            *running = self.stop_running(seen);
            if running.is_none() {
                still += 1;
            } else {
                still = 0;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Stops whoever runs, and gives one of them.
    fn stop_running(&mut self, seen: Vec<Member>) -> Option<Member> {
        let mut running = None;
        for member in seen.into_iter().filter(|member| !member.still) {
            let _ = kill_process(member.pid, Signal::STOP);
            if !member.in_group && !self.outside.contains(&member.pid) {
                self.outside.push(member.pid);
            }
            running = Some(member);
        }
        running
    }
}
