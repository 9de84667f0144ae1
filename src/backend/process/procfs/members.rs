//! The processes of one agent: its group and everything below its guard, and which of them stand still.

use std::fs;

use rustix::process::Pid;

use super::{belongs, processes, state_of};

/// One process of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend::process) struct Member {
    pub(in crate::backend::process) pid: Pid,
    pub(in crate::backend::process) name: String,
    /// It is in the agent's process group.
    pub(in crate::backend::process) in_group: bool,
    /// None of its threads runs.
    pub(in crate::backend::process) still: bool,
}

/// Whoever is in this process group or descends from this guard, without the guard. Reads all of `/proc`: some
/// milliseconds.
pub(in crate::backend::process) fn members(group: Pid, guard: Pid) -> Vec<Member> {
    let (group, guard) = (group.as_raw_nonzero().get(), guard.as_raw_nonzero().get());
    let all = processes();
    let own = all.iter().filter(|process| process.pid != guard && belongs(process, group, guard, &all));
    own.filter_map(|process| {
        let pid = Pid::from_raw(process.pid)?;
        let (name, in_group) = (process.name.clone(), process.group == group);
        Some(Member { pid, name, in_group, still: stands_still(pid) })
    })
    .collect()
}

/// Whether every thread of a process is stopped or has ended. The threads of a process stop one after another, and its
/// first one may have ended before the others.
pub(in crate::backend::process) fn stands_still(pid: Pid) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok()).all(|stat| {
        // Not `t`: what a debugger holds goes on when the debugger wants it to.
        matches!(state_of(&stat), Some("T" | "Z" | "X"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use rustix::process::{Signal, WaitOptions, getpid, kill_process, waitpid};

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_member_is_found_in_its_group_and_stands_still_only_when_it_was_stopped() {
        let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let member = |group| members(group, getpid()).into_iter().find(|member| member.pid == pid);
        let running = Member { pid, name: "sleep".into(), in_group: true, still: false };
        assert_eq!(member(pid), Some(running));

        kill_process(pid, Signal::STOP).unwrap();
        waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
        let outside = member(getpid()).unwrap();
        assert!(outside.still && !outside.in_group, "{outside:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(member(pid), None);
    }
}
