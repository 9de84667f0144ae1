//! Agents that do not start, crash or are killed: what is reported, and the way back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use drowse::lifecycle::{FailureClass, PodState};
use rustix::process::Signal;

use super::world::{World, agent, demo, greet, pid, shell};
use crate::support::{http, is_alive, signal};

#[tokio::test]
async fn a_crash_is_told_with_its_status_its_log_and_the_last_lines() {
    let mut world = World::new(&[demo("echo", &["--fail-starts", "1"])]).await;
    let failure = world.resume_to_fail("echo").await;
    assert_eq!(failure.class, FailureClass::Crash);
    let log = world.dir.path().join("state/default/echo/agent.log");
    for part in ["exited with status 1 after ", "s; see ", log.to_str().unwrap()] {
        assert!(failure.detail.contains(part), "{part:?} is not in {:?}", failure.detail);
    }
    assert!(world.log("echo").contains("asked to fail"), "{}", world.log("echo"));
}

#[tokio::test]
async fn a_failed_start_is_not_repeated_but_replaced_by_a_suspend_and_a_resume() {
    let spec = demo("echo", &["--fail-starts", "1"]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume_to_fail("echo").await;
    let failed = world.life("echo").pod;
    // As the core does it: one right after the other.
    world.write_suspend("echo").await;
    world.write_resume("echo").await;
    world.until("there is a new pod", |world| world.pod("echo").is_some_and(|pod| pod.uid != failed)).await;
    world.until("it is up", |world| matches!(world.pod("echo").unwrap().state, PodState::Up(_))).await;
    assert_eq!(greet(&spec).await["starts"], 2);
}

#[tokio::test]
async fn a_crash_while_it_runs_is_reported_and_disturbs_no_other() {
    let (one, two) = (demo("one", &[]), demo("two", &[]));
    let mut world = World::new(&[one.clone(), two.clone()]).await;
    let (first, second) = (world.resume_and_greet(&one).await, world.resume_and_greet(&two).await);
    assert!(http::get(([127, 0, 0, 1], one.port).into(), "x", "/crash").await.is_err());
    world.until("it failed", |world| world.failure("one").is_some()).await;
    assert_eq!(world.failure("one").unwrap().class, FailureClass::Crash);
    assert!(world.log("one").contains("asked to crash"));
    assert!(!is_alive(pid(&first)));
    assert_eq!(pid(&greet(&two).await), pid(&second));
    assert!(world.failure("two").is_none());
}

#[tokio::test]
async fn an_agent_that_is_killed_is_told_with_the_signal() {
    let spec = demo("echo", &[]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let greeting = world.resume_and_greet(&spec).await;
    signal(pid(&greeting), Signal::KILL);
    world.until("it failed", |world| world.failure("echo").is_some()).await;
    let failure = world.failure("echo").unwrap();
    assert_eq!(failure.class, FailureClass::Crash);
    assert!(failure.detail.contains("was ended by signal 9 (SIGKILL) after "), "{}", failure.detail);
}

#[tokio::test]
async fn a_program_that_cannot_be_had_is_of_class_image() {
    let mut world = World::new(&[agent("missing", &["/no/such/program"])]).await;
    let script = world.dir.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o600)).unwrap();
    world.apply(&[agent("missing", &["/no/such/program"]), agent("locked", &[script.to_str().unwrap()])]);
    world.until("it is known", |world| world.known.len() == 2).await;

    for (name, text) in [("missing", "was not found"), ("locked", "is not executable")] {
        let failure = world.resume_to_fail(name).await;
        assert_eq!(failure.class, FailureClass::Image, "{}", failure.detail);
        assert!(failure.detail.contains(text), "{}", failure.detail);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_of_class_volume() {
    let mut spec = demo("echo", &[]);
    spec.working_dir = "/dev/null/echo".into();
    let mut world = World::new(&[spec]).await;
    let failure = world.resume_to_fail("echo").await;
    assert_eq!(failure.class, FailureClass::Volume, "{}", failure.detail);
    assert!(failure.detail.contains("/dev/null/echo"), "{}", failure.detail);
}

#[tokio::test]
async fn a_failed_start_that_is_suspended_is_gone_at_once() {
    let mut world = World::new(&[agent("missing", &["/no/such/program"])]).await;
    world.resume_to_fail("missing").await;
    world.suspend("missing").await;
    assert!(world.pod("missing").is_none());
}

#[tokio::test]
async fn an_agent_whose_guard_is_killed_is_ended_and_reported() {
    let mut world = World::new(&[shell("echo", "sleep 1000 & echo child $!; echo self $$; wait")]).await;
    world.resume("echo").await;
    let process = world.logged_pid("echo", "self ").await;
    let child = world.logged_pid("echo", "child ").await;
    signal(parent(process), Signal::KILL);
    world.until("it failed", |world| world.failure("echo").is_some()).await;
    let failure = world.failure("echo").unwrap();
    assert_eq!(failure.class, FailureClass::Crash);
    assert!(failure.detail.contains("guard process was (signal: 9 (SIGKILL))"), "{}", failure.detail);
    assert!(!is_alive(process) && !is_alive(child));
}

/// The guard of an agent.
pub(super) fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}
