//! Which process runs on which CPU, so that what is compared has one of its own and the load does not take it away.

use std::ffi::OsStr;

use anyhow::{Context as _, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::process::Command;

/// Where what is measured runs, and where all else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// On one CPU; load and upstream share another.
    Pinned { measured: usize, others: usize },
    /// Wherever the system likes, with two threads.
    Free,
}

/// What a table calls the placements.
pub(super) const PINNED: &str = "one thread on a CPU of its own";
pub(super) const FREE: &str = "two threads, CPUs shared";

impl Placement {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Pinned { .. } => PINNED,
            Self::Free => FREE,
        }
    }

    /// On the first two CPUs that this process may use.
    pub(super) fn pinned() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None).context("failed to ask for the CPUs")?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let pair = cpus.next().zip(cpus.next());
        let (measured, others) = pair.context("a comparison needs two CPUs")?;
        Ok(Self::Pinned { measured, others })
    }

    /// How many threads work.
    pub(super) const fn workers(self) -> u8 {
        match self {
            Self::Pinned { .. } => 1,
            Self::Free => 2,
        }
    }

    /// With several threads bare hyper needs a runtime with work stealing.
    pub(super) const fn flavour(self) -> &'static [&'static str] {
        match self {
            Self::Pinned { .. } => &[],
            Self::Free => &["--workers", "2"],
        }
    }

    /// A program to be measured.
    pub(super) fn measured(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Pinned { measured, .. } => on(measured, program),
            Self::Free => Command::new(program),
        }
    }

    /// The words with which the upstream's command begins.
    pub(super) fn upstream(self) -> String {
        match self {
            Self::Pinned { others, .. } => format!("taskset, -c, \"{others}\", "),
            Self::Free => String::new(),
        }
    }

    /// Moves this very process. Its threads to come go with it.
    pub(super) fn take_place(self) -> anyhow::Result<()> {
        let mut cpus = CpuSet::new();
        match self {
            Self::Pinned { others, .. } => cpus.set(others),
            Self::Free => (0..CpuSet::MAX_CPU).for_each(|cpu| cpus.set(cpu)),
        }
        sched_setaffinity(None, &cpus).context("failed to move to a CPU")
    }
}

fn on(cpu: usize, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string()]).arg(program);
    command
}

/// A program of this machine that is to be compared.
pub(super) fn ensure_installed(program: &str, version: &str) -> anyhow::Result<()> {
    let found = std::process::Command::new(program).arg(version).output();
    ensure!(
        found.is_ok(),
        "{program} is not installed; `make bench` installs it (Debian calls the package {program})"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_program_begins_with_its_cpu() {
        let pinned = Placement::Pinned { measured: 3, others: 5 };
        let command = pinned.measured("nginx");
        let words: Vec<_> = command.as_std().get_args().collect();
        assert_eq!(
            (command.as_std().get_program(), &words[..]),
            (OsStr::new("taskset"), &["-c", "3", "nginx"].map(OsStr::new)[..])
        );
        assert_eq!(pinned.upstream(), "taskset, -c, \"5\", ");
        assert_eq!(Placement::Free.measured("nginx").as_std().get_program(), "nginx");
    }
}
