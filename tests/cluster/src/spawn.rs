//! Starting a program that outlives us: in a session of its own, with its words in a file, in the cluster's network
//! namespace if there is one, and with its process written down.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::components::Spec;
use crate::process::Process;
use crate::state::State;
use crate::{command, network};

/// The variable that everything of a cluster has in its environment, with the cluster's id.
pub(crate) const MARK: &str = "DROWSE_CLUSTER_ID";

/// Starts a component, and writes its process down.
pub(crate) fn spawn(state: &State, name: &str, spec: &Spec) -> Result<Process> {
    let log = state.file("logs").join(format!("{name}.log"));
    let out = File::options().create(true).append(true).open(&log);
    let out = out.with_context(|| format!("failed to open {}", log.display()))?;
    let error = out.try_clone().context("failed to open a log twice")?;
    // Each of these becomes the next: the pid stays.
    let mut command = Command::new("setsid");
    if let Some(namespace) = state.namespace() {
        command.arg("nsenter").arg(format!("--net={}", network::place(&namespace).display()));
    }
    command.arg(&spec.program).args(&spec.args).current_dir(state.dir());
    command.env_clear().env(MARK, &state.id).env("PATH", command::search_path(Some(&state.file("bin"))));
    command.env("HOME", state.dir()).stdin(Stdio::null()).stdout(out).stderr(error);
    let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
    let pid = i32::try_from(child.id()).context("a pid that is no pid")?;
    let process = Process::of(pid).with_context(|| format!("{name} ended at once; see {}", log.display()))?;
    write_down(state.dir(), name, process)?;
    Ok(process)
}

/// Writes a process down, for `written_down`.
pub(crate) fn write_down(dir: &Path, name: &str, process: Process) -> Result<()> {
    let file = pid_file(dir, name);
    fs::write(&file, format!("{} {}\n", process.pid, process.started_ticks))
        .with_context(|| format!("failed to write {}", file.display()))
}

/// The process of a component as it was last started, dead or alive; none if it never was.
pub(crate) fn written_down(dir: &Path, name: &str) -> Option<Process> {
    let text = fs::read_to_string(pid_file(dir, name)).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    Some(Process { pid: pid.parse().ok()?, started_ticks: started.parse().ok()? })
}

fn pid_file(dir: &Path, name: &str) -> PathBuf {
    dir.join("pids").join(name)
}

/// Every process that has the mark of this cluster in its environment.
pub(crate) fn marked(id: &str) -> Vec<Process> {
    let mark = format!("{MARK}={id}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let of = |pid: i32| {
        let process = Process::of(pid)?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        environment.split(|byte| *byte == 0).any(|part| part == mark.as_bytes()).then_some(process)
    };
    pids.filter_map(of).collect()
}
