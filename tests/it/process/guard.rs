//! The guard alone: whoever starts it may die at any moment.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::failures::parent;
use super::world::{World, demo, pid};
use crate::support::{PROGRAM, eventually, free_port, http, is_alive, read, signal, stands_still};

/// A process that holds the leash of a guard, as Drowse does.
struct Owner {
    process: Child,
    guard: Child,
    dir: TempDir,
}

impl Owner {
    fn of(command: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut process = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().unwrap();
        let leash = process.stdout.take().unwrap();
        let guard = Command::new(PROGRAM)
            .args(["process-guard", "--grace-ms", "200", "--log"])
            .arg(dir.path().join("logs/agent.log"))
            .arg("--working-dir")
            .arg(dir.path().join("work"))
            .arg("--")
            .args(command)
            .stdin(leash)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, guard, dir }
    }

    fn log(&self) -> String {
        read(&self.dir.path().join("logs/agent.log"))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.guard.wait();
    }
}

#[tokio::test]
async fn killing_the_owner_of_a_guard_leaves_no_process_and_a_free_port() {
    let port = free_port();
    let mut owner = Owner::of(&[PROGRAM, "demo-agent", "--port", &port.to_string()]);
    let mut agent = 0;
    eventually("it answers", async || {
        let answer = http::get(([127, 0, 0, 1], port).into(), "x", "/").await;
        answer.is_ok_and(|answer| {
            agent = pid(&answer.json());
            true
        })
    })
    .await;
    signal(owner.process.id(), Signal::KILL);
    eventually("the agent is gone", async || !is_alive(agent)).await;
    let status = owner.guard.wait().unwrap();
    assert_eq!(status.code(), Some(0), "the demo agent ends well when asked to");
    drop(TcpListener::bind(("127.0.0.1", port)).expect("the port is free"));
}

#[tokio::test]
async fn a_frozen_agent_of_a_killed_owner_ends_as_well_as_it_can() {
    let script =
        "trap 'echo asked; exit 3' TERM; setsid sh -c 'echo moved $$; exec sleep 1000' & echo self $$
        while :; do sleep 0.05; done";
    let mut owner = Owner::of(&["sh", "-c", script]);
    let told = |text: &str| owner.log().lines().find_map(|line| line.strip_prefix(text)?.parse::<u32>().ok());
    eventually("both run", async || told("self ").is_some() && told("moved ").is_some()).await;
    let (agent, moved) = (told("self ").unwrap(), told("moved ").unwrap());
    for pid in [agent, moved] {
        signal(pid, Signal::STOP);
        eventually("it stands still", async || stands_still(pid)).await;
    }
    signal(owner.process.id(), Signal::KILL);
    assert_eq!(owner.guard.wait().unwrap().code(), Some(3), "not killed after its grace: {}", owner.log());
    assert!(owner.log().contains("asked") && !is_alive(moved));
}

#[tokio::test]
async fn a_deaf_agent_of_a_killed_owner_is_killed_after_its_grace() {
    let mut owner = Owner::of(&["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"]);
    eventually("it is deaf", async || owner.log().contains("deaf")).await;
    signal(owner.process.id(), Signal::KILL);
    assert_eq!(owner.guard.wait().unwrap().code(), Some(128 + 9));
}

#[test]
fn the_exit_code_is_the_agents_and_its_output_is_in_the_log() {
    let mut owner = Owner::of(&["sh", "-c", "echo out; echo err >&2; pwd; exit 7"]);
    assert_eq!(owner.guard.wait().unwrap().code(), Some(7));
    let work = owner.dir.path().join("work");
    assert_eq!(owner.log(), format!("out\nerr\n{}\n", work.canonicalize().unwrap().display()));
}

#[test]
fn what_a_guard_tells_is_one_line() {
    let told = |command: &[&str]| {
        let mut owner = Owner::of(command);
        let mut line = String::new();
        let mut out = owner.guard.stdout.take().unwrap();
        std::io::Read::read_to_string(&mut out, &mut line).unwrap();
        line
    };
    let started = told(&["true"]);
    let pid = started.strip_prefix("started ").and_then(|rest| rest.strip_suffix('\n')).unwrap();
    assert!(pid.parse::<u32>().is_ok(), "{started:?}");
    assert_eq!(told(&["/no/such"]), "failed program the program \"/no/such\" was not found\n");
}

#[tokio::test]
async fn a_guard_is_deaf_to_the_signals_of_a_terminal() {
    let spec = demo("echo", &[]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let agent = pid(&world.resume_and_greet(&spec).await);
    let guard = parent(agent);
    for name in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        signal(guard, name);
    }
    assert_eq!(pid(&super::world::greet(&spec).await), agent);
    assert!(is_alive(guard));
    world.suspend("echo").await;
    assert!(!is_alive(guard) && !is_alive(agent));
}
