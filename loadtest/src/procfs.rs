//! What the system knows of a process: its CPU time and its memory, from `/proc/<pid>/`.

use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use anyhow::Context as _;
use serde::Serialize;

/// jemalloc gives memory back within ten seconds of when it was freed.
const GIVEN_BACK: Duration = Duration::from_secs(12);
const GIVEN_BACK_LIMIT: Duration = Duration::from_mins(1);
/// Less than this is not shrinking.
const SHRUNK_KB: u64 = 64;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// User and system time of all threads of a process so far; not that of its children. Steps of a clock tick, mostly
/// 10 ms.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let text = read(pid, "stat")?;
    let ticks = cpu_ticks(&text).with_context(|| format!("/proc/{pid}/stat is not as expected: {text}"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The machine's load average over the last minute; 0 if it does not say.
pub(crate) fn load_average() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// Memory of a process, in kB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) now_kb: u64,
    /// The most that ever was.
    pub(crate) peak_kb: u64,
}

/// The resident memory of a process.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    parse_memory(&read(pid, "status")?)
        .with_context(|| format!("/proc/{pid}/status names no VmRSS and VmHWM"))
}

/// The resident memory of a process that has nothing to do, once its allocator has given back what it does not need any more: when
/// it has not shrunk for [`GIVEN_BACK`], or after a minute.
pub(crate) async fn memory_at_rest(pid: u32) -> anyhow::Result<Memory> {
    let clock = Clock::start();
    let mut least = memory(pid)?;
    let mut since = clock.now();
    while clock.now().since(since) < GIVEN_BACK && clock.now().since(Moment::START) < GIVEN_BACK_LIMIT {
        tokio::time::sleep(LOOK_EVERY).await;
        let seen = memory(pid)?;
        if seen.now_kb + SHRUNK_KB <= least.now_kb {
            (least, since) = (seen, clock.now());
        }
    }
    memory(pid)
}

/// The processes that a process has started and that still run.
pub(crate) fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc").context("failed to list /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that ends while we look is no child any more.
    Ok(pids.filter(|child| read(*child, "stat").is_ok_and(|stat| parent(&stat) == Some(pid))).collect())
}

/// Field 4 of proc(5) `stat`.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
}

/// Fields 14 and 15 of proc(5) `stat`. The name in field 2 may hold blanks and brackets, so count after its last.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn parse_memory(status: &str) -> Option<Memory> {
    let value = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory { now_kb: value("VmRSS:")?, peak_kb: value("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_ticks_are_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 250 17 9999 9999 20 0 5 0 100";
        assert_eq!(cpu_ticks(&format!("42 (drowse) {rest}")), Some(267));
        assert_eq!(cpu_ticks(&format!("42 (a) b) (c 1 2) {rest}")), Some(267));
    }

    #[test]
    fn a_stat_that_is_cut_short_is_none() {
        for bad in ["", "42 (drowse)", "42 (drowse) S 1 2 3 4 5 6 7 8 9 10 250", "42 drowse S 1"] {
            assert_eq!(cpu_ticks(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_child_is_found_by_its_parent() {
        assert_eq!(parent("42 (a) b) (c 1 2) S 7 2 3"), Some(7));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(std::process::id()).unwrap().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn memory_is_read_by_name() {
        let status = "Name:\tdrowse\nVmPeak:\t  999 kB\nVmHWM:\t   812 kB\nVmRSS:\t   700 kB\n";
        assert_eq!(parse_memory(status), Some(Memory { now_kb: 700, peak_kb: 812 }));
        assert_eq!(parse_memory("Name:\tzombie\n"), None);
        assert_eq!(parse_memory("VmHWM:\t8 MB\nVmRSS:\t7 MB\n"), None);
    }

    #[test]
    fn this_very_process_has_used_some() {
        let pid = std::process::id();
        assert!(cpu_time(pid).is_ok());
        assert!(memory(pid).unwrap().now_kb > 0);
        assert!(cpu_time(u32::MAX).is_err());
    }
}
