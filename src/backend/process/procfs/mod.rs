//! Reads `/proc`: who exists, who descends from whom, and who holds a socket. See proc(5).
//!
//! Nothing here fails: what cannot be read is not known. Where there is no `/proc`, nothing is.

pub(super) mod members;
pub(super) mod sockets;

use std::fs;
use std::path::Path;

use rustix::process::Pid;

use sockets::Inode;

/// One process, from `/proc/<pid>/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// It has ended and was not reaped: it holds nothing any more.
    pub(super) zombie: bool,
}

impl Process {
    /// `4242 (name, which may have spaces and parentheses) S 1 4242 …`
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            zombie: matches!(fields.next()?, "Z" | "X"),
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    }
}

/// The state in a stat line: one letter.
fn state_of(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ")?.1.split(' ').next()
}

/// All processes that can be seen, in the order of the directory.
pub(super) fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_number(name))
        .filter_map(|pid| Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// The children of a process that have not ended.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().get();
    let children = processes().into_iter().filter(|process| process.parent == parent && !process.zombie);
    children.filter_map(|child| Pid::from_raw(child.pid)).collect()
}

/// Whether anybody in this process group is still there.
pub(super) fn group_exists(group: Pid) -> bool {
    let group = group.as_raw_nonzero().get();
    processes().iter().any(|process| process.group == group && !process.zombie)
}

/// Whether a process is one of the group, the ancestor itself, or descends from it.
pub(super) fn belongs(process: &Process, group: i32, ancestor: i32, all: &[Process]) -> bool {
    let mut current = Some(process);
    // A snapshot that was not taken in one instant may have circles.
    for _ in 0..=all.len() {
        match current {
            Some(process) if process.group == group || process.pid == ancestor => return true,
            Some(process) => current = all.iter().find(|other| other.pid == process.parent),
            None => return false,
        }
    }
    false
}

/// The sockets among these that a process has open. Empty if it may not be looked into.
pub(super) fn sockets_of(pid: i32, wanted: &[Inode]) -> Vec<Inode> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let held = |link: &Path| Inode::parse_link(link.to_str()?).filter(|inode| wanted.contains(inode));
    entries.filter_map(|entry| held(&fs::read_link(entry.ok()?.path()).ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, group: i32) -> Process {
        Process { pid, name: "x".into(), parent, group, zombie: false }
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_name_of_the_program() {
        let rest = "1 4242 4242 0 -1 4194304 0 0";
        for (line, name, zombie) in [
            (format!("4242 (nginx) S {rest}"), "nginx", false),
            (format!("4242 (a b) c) R {rest}"), "a b) c", false),
            (format!("4242 () S {rest}"), "", false),
            (format!("4242 (gone) Z {rest}"), "gone", true),
        ] {
            let expected = Process { zombie, name: name.into(), ..process(4242, 1, 4242) };
            assert_eq!(Process::parse(&line), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_a_stat_line_is_no_process() {
        for line in ["", "4242", "4242 (x", "4242 (x) S", "4242 (x) S 1", "x (x) S 1 1", "4242 (x) S a b"] {
            assert_eq!(Process::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn members_of_the_group_and_descendants_belong_and_nobody_else() {
        let all = [
            process(1, 0, 1),
            process(10, 1, 10),  // the ancestor
            process(20, 10, 20), // leads the group
            process(21, 20, 20),
            process(22, 21, 22), // moved to a group of its own
            process(23, 10, 23), // was adopted by the ancestor
            process(24, 1, 20),  // of the group, though its ancestors are gone
            process(30, 1, 30),
            process(31, 30, 30),
            process(40, 41, 40),
            process(41, 40, 40),
        ];
        let of = |pid| belongs(all.iter().find(|p| p.pid == pid).unwrap(), 20, 10, &all);
        for pid in [10, 20, 21, 22, 23, 24] {
            assert!(of(pid), "{pid}");
        }
        for pid in [1, 30, 31, 40, 41] {
            assert!(!of(pid), "{pid}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found_with_the_socket_that_it_listens_on() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(processes().iter().any(|process| process.pid == me && !process.zombie));

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inodes = sockets::listening_at(listener.local_addr().unwrap());
        assert_eq!(inodes.len(), 1);
        assert_eq!(sockets_of(me, &inodes), inodes);
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(sockets::listening_at(address).is_empty());
    }
}
