//! One agent's actor: makes the process what the object says, one step after the other.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::object::{LOCAL, Object};
use super::{Agent, AgentSpec, Shared, guard, logs};
use crate::agent::Generation;
use crate::lifecycle::{Failure, FailureClass};

/// How long a guard may take to start its agent, or to end beyond the agent's grace.
const GUARD_SLACK: Duration = Duration::from_secs(5);

/// A process with its guard.
struct Process {
    guard: Child,
    /// Closed to stop the agent, and by the kernel when Drowse dies.
    lifeline: ChildStdin,
    pid: u32,
}

/// Until the agent is removed and its process is gone.
pub(super) async fn run(shared: Arc<Shared>, agent: Arc<Agent>) {
    loop {
        if has_pod(&agent) {
            // A failed start or a crash: nothing more happens until somebody suspends it.
            wait_while_wanted(&agent).await;
            shared.change(&agent, |object, shared| object.pod_gone(&shared.revisions));
            continue;
        }
        let generation = shared.settle(&agent);
        if agent.object.lock().removed {
            shared.reports.dirty(&agent);
            return;
        }
        if generation.is_none() {
            agent.changed.notified().await;
            continue;
        }
        shared.change(&agent, |object, shared| object.pod_created(&shared.revisions));
        match start(&shared, &agent).await {
            Ok(process) => live(&shared, &agent, process).await,
            Err(failure) => {
                shared.change(&agent, |object, shared| object.pod_failed(failure, &shared.revisions))
            }
        }
    }
}

fn has_pod(agent: &Agent) -> bool {
    agent.object.lock().pod().is_some()
}

impl Shared {
    /// Says that the newest spec is acted on; the generation if a process should run.
    fn settle(&self, agent: &Arc<Agent>) -> Option<Generation> {
        let mut object = agent.object.lock();
        let generation = object.seen().generation;
        object.observed(generation, &self.revisions);
        let wanted = object.wants_process();
        drop(object);
        self.reports.dirty(agent);
        wanted.then_some(generation)
    }

    fn change(&self, agent: &Arc<Agent>, change: impl FnOnce(&mut Object, &Self)) {
        change(&mut agent.object.lock(), self);
        self.reports.dirty(agent);
    }
}

/// From the start of the process to its end.
async fn live(shared: &Arc<Shared>, agent: &Arc<Agent>, mut process: Process) {
    let (pid, began) = (process.pid, shared.clock.now());
    shared.change(agent, |object, shared| object.pod_up(&shared.revisions));
    let crashed = tokio::select! {
        status = process.guard.wait() => Some(status),
        () = wait_while_wanted(agent) => None,
    };
    match crashed {
        Some(status) => {
            kill_group_if_guard_was_killed(status.as_ref().ok(), pid);
            let detail = format!(
                "{} after {}; its log is {}",
                status.map_or_else(|error| error.to_string(), how_it_ended),
                humantime::format_duration(Duration::from_millis(
                    u64::try_from(shared.clock.now().since(began).as_millis()).unwrap_or(u64::MAX)
                )),
                logs::path(&shared.state_dir, &agent.key).display(),
            );
            let failure = Failure::new(FailureClass::Crash, detail);
            shared.change(agent, |object, shared| object.pod_failed(failure, &shared.revisions));
        }
        None => {
            shared.change(agent, |object, shared| object.pod_terminating(&shared.revisions));
            let grace = agent.object.lock().spec.stop_grace;
            stop(process, grace).await;
            shared.change(agent, |object, shared| object.pod_gone(&shared.revisions));
        }
    }
}

/// Until the object no longer wants the process. A mode that went there and back is a change of generation: the
/// process of the generation before ends all the same.
async fn wait_while_wanted(agent: &Agent) {
    let began = agent.object.lock().seen().observed;
    let wanted = |object: &Object| object.wants_process() && object.seen().generation == began;
    while wanted(&agent.object.lock()) {
        agent.changed.notified().await;
    }
}

/// Starts the guard, which starts the agent. Before that, nobody may listen on the agent's port: a forgotten process
/// from yesterday would answer just as well (guard IDENT).
async fn start(shared: &Shared, agent: &Agent) -> Result<Process, Failure> {
    let spec = agent.object.lock().spec.clone();
    let log = logs::path(&shared.state_dir, &agent.key);
    std::net::TcpListener::bind((LOCAL, spec.port)).map_err(|error| port_is_taken(spec.port, &error))?;
    prepare(&spec, &log).map_err(|error| Failure::new(FailureClass::Volume, error))?;
    let cannot = |error: std::io::Error| {
        Failure::new(FailureClass::Image, format!("cannot start {}: {error}", shared.program.display()))
    };
    let mut guard = command(shared, &spec, &log).spawn().map_err(cannot)?;
    let (Some(lifeline), Some(stdout)) = (guard.stdin.take(), guard.stdout.take()) else {
        return Err(Failure::new(FailureClass::Image, "the guard process has no pipes"));
    };
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    let read = tokio::time::timeout(GUARD_SLACK, stdout.read_line(&mut line)).await;
    match (read, guard::Report::parse(line.trim())) {
        (Ok(Ok(_)), Some(guard::Report::Started(pid))) => Ok(Process { guard, lifeline, pid }),
        (Ok(Ok(_)), Some(guard::Report::Failed(reason))) => Err(Failure::new(FailureClass::Image, reason)),
        _ => {
            let _ = guard.start_kill();
            let _ = guard.wait().await;
            Err(Failure::new(FailureClass::Crash, "the guard process did not start the agent in time"))
        }
    }
}

fn port_is_taken(port: u16, error: &std::io::Error) -> Failure {
    let detail =
        format!("port {port} of this agent is taken ({error}); `ss -ltnp 'sport = :{port}'` shows by whom");
    Failure::new(FailureClass::Scheduling, detail)
}

fn prepare(spec: &AgentSpec, log: &std::path::Path) -> Result<(), String> {
    let make = |dir: &std::path::Path| {
        std::fs::create_dir_all(dir)
            .map_err(|error| format!("cannot make the folder {}: {error}", dir.display()))
    };
    make(&spec.working_dir)?;
    log.parent().map_or(Ok(()), make)
}

fn command(shared: &Shared, spec: &AgentSpec, log: &std::path::Path) -> Command {
    let mut command = Command::new(&shared.program);
    command
        .arg("process-guard")
        .arg("--grace")
        .arg(humantime::format_duration(spec.stop_grace).to_string())
        .arg("--log")
        .arg(log)
        .arg("--")
        .args(&spec.command)
        .current_dir(&spec.working_dir)
        .envs(&spec.env)
        .env("PORT", spec.port.to_string())
        .env("DROWSE_AGENT_NAMESPACE", spec.key.namespace())
        .env("DROWSE_AGENT_NAME", spec.key.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // A Ctrl-C in the terminal is for Drowse alone.
        .process_group(0);
    command
}

/// Closes the lifeline and waits for the guard to end the agent's group; then makes sure.
async fn stop(mut process: Process, grace: Duration) {
    drop(process.lifeline);
    if tokio::time::timeout(grace + GUARD_SLACK, process.guard.wait()).await.is_err() {
        guard::kill_group(process.pid);
        let _ = process.guard.start_kill();
        let _ = process.guard.wait().await;
    }
}

/// The guard ends the agent's group before itself, unless somebody killed it.
fn kill_group_if_guard_was_killed(status: Option<&ExitStatus>, pid: u32) {
    if status.is_none_or(|status| status.signal().is_some()) {
        guard::kill_group(pid);
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) if code > 128 => format!("ended by signal {}", code - 128),
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("its guard process was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
