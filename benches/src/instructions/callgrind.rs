//! Runs this program under callgrind, and reads how many instructions it took.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// This program with these arguments, under callgrind.
pub(super) fn this_program<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(std::env::current_exe().unwrap_or_default()).args(arguments);
    command.stderr(Stdio::piped());
    command
}

/// How many instructions a program under callgrind takes in user space, from its start to its end.
pub(super) fn collected(command: &mut Command) -> anyhow::Result<u64> {
    let output = command.output().context("failed to run valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed:\n{said}");
    of_output(&said)
}

/// callgrind says it at the end: `==42== Collected : 12345`.
pub(super) fn of_output(said: &str) -> anyhow::Result<u64> {
    let count = said.lines().rev().find_map(|line| {
        let (_, count) = line.split_once("Collected : ")?;
        count.trim().parse().ok()
    });
    count.with_context(|| format!("callgrind does not say how many it has collected:\n{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_collected_is_in_the_last_line_that_says_so() {
        let said =
            "==7== Callgrind\nCollected : 3\n==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n";
        assert_eq!(of_output(said).unwrap(), 1_234_567);
        assert!(of_output("==7== Collected : many\n").is_err());
    }
}
