//! Running another program to its end, with an error that says what it said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Where programs for the administrator are, which a person's `PATH` often lacks.
const ADMIN_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The `PATH` for what we start: `first`, the one we have, and the administrator's.
pub(crate) fn search_path(first: Option<&Path>) -> String {
    let ours = std::env::var("PATH").unwrap_or_default();
    let folders = first.into_iter().map(|folder| folder.display().to_string());
    let all = folders.chain([ours]).chain(ADMIN_FOLDERS.map(str::to_owned));
    all.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(":")
}

/// The path of a program, if the machine has it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = search_path(None);
    path.split(':').map(|folder| Path::new(folder).join(program)).find(|file| file.is_file())
}

/// Runs a program and returns what it wrote. Fails when it does, with its words.
pub(crate) fn output<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).env("PATH", search_path(None));
    finish(command)
}

/// Runs a command and returns what it wrote. Fails when it does, with its words.
pub(crate) fn finish(mut command: Command) -> Result<String> {
    command.stdin(Stdio::null());
    let output = command.output().with_context(|| format!("failed to run {}", shown(&command)))?;
    checked(&command, &output)
}

/// What a command wrote. Fails when it did, with its words.
pub(crate) fn checked(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", shown(command), output.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
