//! Agents that are frozen instead of stopped, as a writer sees them.

use std::path::Path;
use std::time::Duration;

use drowse::backend::Backend as _;
use drowse::backend::process::{AgentSpec, Suspend};
use drowse::lifecycle::{Mode, Readiness, SuspendedBy, WriteError};
use rustix::process::Signal;
use tokio::net::TcpStream;

use super::failures::parent;
use super::world::{World, demo, greet, key, pid, shell};
use crate::support::{eventually, free_port, http, is_alive, read, signal, stands_still};

fn freezing(spec: AgentSpec) -> AgentSpec {
    AgentSpec { suspend: Suspend::Freeze, ..spec }
}

/// Ticks of CPU that a process has used.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")));
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn a_frozen_agent_stands_still_and_goes_on_as_the_same_process_in_a_new_life() {
    let spec = freezing(demo("echo", &[]));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let first = world.resume_and_attest(&spec).await;
    let (process, life) = (pid(&first), world.life("echo"));
    assert_eq!(world.pod("echo").unwrap().readiness, None);

    world.write_suspend("echo").await;
    assert!(stands_still(process), "it was written only then");
    let suspended =
        |world: &World| world.agent("echo").mode == Mode::Suspended && world.pod("echo").is_none();
    world.until("it is suspended and its pod gone", suspended).await;
    assert!(world.gone.contains(&life.pod));
    let at = ([127, 0, 0, 1], spec.port).into();
    TcpStream::connect(at).await.expect("the kernel takes connections for it: they prove nothing");
    let asked = tokio::time::timeout(Duration::from_millis(100), http::get(at, "x", "/")).await;
    assert!(asked.is_err(), "nobody answers: {asked:?}");

    world.resume("echo").await;
    assert!(!stands_still(process));
    let any = Readiness::Answer { port: spec.port, path: "/".into() };
    assert_eq!(world.pod("echo").unwrap().readiness.as_deref(), Some(&any));
    let second = greet(&spec).await;
    assert_eq!((pid(&second), &second["boot"]), (process, &first["boot"]));
    assert!(second["visits"].as_u64() > first["visits"].as_u64());
    assert_ne!(world.life("echo").pod, life.pod);
}

#[tokio::test]
async fn everything_below_a_frozen_agent_stands_still_wherever_it_has_moved_and_uses_no_cpu() {
    let busy = "while :; do :; done";
    let script = format!(
        "sh -c 'echo child $$; {busy}' &
        setsid sh -c 'echo moved $$; {busy}' &
        setsid sh -c 'echo forks $$; while :; do /bin/true; done' &
        exec $PROGRAM demo-agent --port $PORT"
    );
    let spec = freezing(shell("echo", &script));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let mut processes = vec![pid(&world.resume_and_attest(&spec).await)];
    for text in ["child ", "moved ", "forks "] {
        processes.push(world.logged_pid("echo", text).await);
    }
    for _ in 0..3 {
        world.write_suspend("echo").await;
        assert!(processes.iter().all(|pid| stands_still(*pid)), "{processes:?}");
        let used = || processes.iter().map(|pid| cpu_ticks(*pid)).collect::<Vec<_>>();
        let before = used();
        // Time for some ticks, were it running.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(used(), before);
        world.resume("echo").await;
        eventually("all go on", async || !processes.iter().any(|pid| stands_still(*pid))).await;
        world.attest(&spec).await;
    }
    world.write_suspend("echo").await;
    world.backend.shutdown().await;
    assert!(!processes.iter().any(|pid| is_alive(*pid)), "{processes:?}");
}

#[tokio::test]
async fn an_agent_that_never_answered_is_ended_so_that_the_next_start_is_a_new_one() {
    let spec = freezing(shell("echo", "echo self $$; while :; do sleep 0.05; done"));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume("echo").await;
    let process = world.logged_pid("echo", "self ").await;
    world.suspend("echo").await;
    assert!(!is_alive(process));
}

#[tokio::test]
async fn an_agent_that_does_not_answer_after_it_was_frozen_is_ended_the_next_time() {
    let spec = freezing(demo("echo", &[]));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let process = pid(&world.resume_and_attest(&spec).await);
    world.suspend("echo").await;
    world.resume("echo").await;
    world.suspend("echo").await;
    assert!(!is_alive(process));
}

#[tokio::test]
async fn a_frozen_agent_that_is_killed_is_started_anew() {
    let spec = freezing(demo("echo", &[]));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let first = pid(&world.resume_and_attest(&spec).await);
    world.suspend("echo").await;
    let guard = parent(first);
    signal(first, Signal::KILL);
    eventually("it is gone, with its guard", async || !is_alive(first) && !is_alive(guard)).await;
    let second = world.resume_and_greet(&spec).await;
    assert_eq!(second["starts"], 2);
    assert_ne!(pid(&second), first);
}

#[tokio::test]
async fn a_process_that_does_not_stop_makes_the_suspension_fail_and_the_others_go_on() {
    // A debugger has the last word on the signals of what it holds.
    let script = "python3 -c '
import ctypes, os, time
if os.fork() == 0:
    assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0
    print(\"traced\", os.getpid(), flush=True)
time.sleep(1000)' &
        exec $PROGRAM demo-agent --port $PORT";
    let spec = freezing(shell("echo", script));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let process = pid(&world.resume_and_attest(&spec).await);
    let traced = world.logged_pid("echo", "traced ").await;
    let before = world.backend.read(&key("echo")).await.unwrap();
    let result = world.backend.suspend(&key("echo"), &before.uid, before.revision, SuspendedBy::Idle).await;
    let Err(WriteError::Refused(failure)) = result else { panic!("{result:?}") };
    assert!(failure.detail.contains(&format!("its process {traced} (")), "{}", failure.detail);
    assert_eq!(world.backend.read(&key("echo")).await, Ok(before));
    assert_eq!(pid(&greet(&spec).await), process);
}

#[tokio::test]
async fn a_write_that_overtakes_a_freeze_makes_it_fail_and_the_agent_go_on() {
    let spec = freezing(demo("echo", &[]));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let process = pid(&world.resume_and_attest(&spec).await);
    let echo = key("echo");
    let (mut overtaken, mut frozen) = (0, 0);
    for round in 0..1_000 {
        let read = world.backend.read(&echo).await.unwrap();
        let suspension = world.backend.suspend(&echo, &read.uid, read.revision, SuspendedBy::Idle);
        let mark = async {
            tokio::time::sleep(Duration::from_micros(round % 20 * 500)).await;
            world.backend.resume(&echo, &read.uid, read.generation, Mode::Running).await
        };
        match tokio::join!(suspension, mark) {
            (Err(WriteError::Conflict), Ok(_)) => overtaken += 1,
            (Ok(_), Err(WriteError::Conflict)) => {
                assert!(stands_still(process));
                frozen += 1;
                world.resume("echo").await;
            }
            other => panic!("one of the two is written: {other:?}"),
        }
        assert_eq!(pid(&greet(&spec).await), process, "it goes on");
        world.attest(&spec).await;
        if overtaken > 20 && frozen > 20 {
            return;
        }
    }
    panic!("{overtaken} overtaken, {frozen} frozen");
}

#[tokio::test]
async fn a_frozen_agent_that_is_to_be_stopped_or_started_differently_is_ended_at_once() {
    let mut spec = freezing(demo("echo", &[]));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let mut last = 0;
    for (change, frozen) in [("stop", true), ("freeze", false), ("port", true)] {
        let process = pid(&world.resume_and_attest(&spec).await);
        assert_ne!(process, last, "{change}: a new start");
        world.suspend("echo").await;
        match change {
            "stop" => spec.suspend = Suspend::Stop,
            "freeze" => spec.suspend = Suspend::Freeze,
            _ => spec.port = free_port(),
        }
        assert_eq!(is_alive(process), frozen, "before {change}");
        world.apply(std::slice::from_ref(&spec));
        eventually("it has ended", async || !is_alive(process)).await;
        last = process;
    }
    assert_eq!(world.resume_and_greet(&spec).await["starts"], 4);
}

#[tokio::test]
async fn a_change_while_it_runs_ends_it_at_the_next_suspension() {
    let mut spec = freezing(demo("echo", &[]));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let process = pid(&world.resume_and_attest(&spec).await);
    spec.env.insert("LEVEL".into(), "2".into());
    world.apply(std::slice::from_ref(&spec));
    assert!(is_alive(process), "it goes on as it was started");
    world.suspend("echo").await;
    assert!(!is_alive(process));
}

#[tokio::test]
async fn a_frozen_agent_that_is_removed_is_ended_and_gone() {
    let spec = freezing(demo("echo", &[]));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let process = pid(&world.resume_and_attest(&spec).await);
    let life = world.life("echo");
    world.suspend("echo").await;
    world.apply(&[]);
    world.until("it is gone", |world| world.deleted.contains(&life.agent)).await;
    eventually("its process is gone", async || !is_alive(process)).await;
}

#[tokio::test]
async fn of_a_frozen_agent_whose_guard_is_killed_nobody_is_left() {
    let script = "setsid sh -c 'echo outside $$; exec sleep 1000' & exec $PROGRAM demo-agent --port $PORT";
    let spec = freezing(shell("echo", script));
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let process = pid(&world.resume_and_attest(&spec).await);
    let outside = world.logged_pid("echo", "outside ").await;
    world.write_suspend("echo").await;
    assert!(stands_still(process) && stands_still(outside));
    signal(parent(process), Signal::KILL);
    eventually("all of it has ended", async || !is_alive(process) && !is_alive(outside)).await;
}
