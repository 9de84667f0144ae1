//! Start, stop, start again: what a process goes through, and what a writer sees of it.

use std::net::TcpListener;
use std::time::Duration;

use drowse::agent::{Generation, Revision};
use drowse::backend::Backend as _;
use drowse::lifecycle::{Mode, PodState, SuspendedBy, WriteError};
use drowse::time::{Clock, Moment};

use super::world::{World, agent, demo, greet, key, pid, shell};
use crate::support::{eventually, is_alive};

/// Says so when it is deaf to SIGTERM. Sleeps in small pieces, since the shell itself does not sleep.
const DEAF: &str = "trap '' TERM; echo deaf $$; while :; do sleep 0.05; done";

#[tokio::test]
async fn agents_are_asleep_when_everything_is_reported() {
    let world = World::new(&[demo("one", &[]), demo("two", &[])]).await;
    assert_eq!(world.known.len(), 2);
    for known in world.known.values() {
        assert_eq!((known.agent.mode, known.agent.suspended_by), (Mode::Suspended, SuspendedBy::Idle));
        assert_eq!((known.agent.observed, known.pod.as_ref()), (known.agent.generation, None));
    }
    assert_ne!(world.agent("one").uid, world.agent("two").uid);
}

#[tokio::test]
async fn a_suspended_agent_leaves_a_free_port_and_its_next_life_remembers() {
    let spec = demo("echo", &[]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let first = world.resume_and_greet(&spec).await;
    let life = world.life("echo");
    assert_eq!((first["starts"].as_u64(), first["visits"].as_u64()), (Some(1), Some(1)));
    assert_eq!(first["agent"], "default/echo");
    assert_eq!(world.pod("echo").unwrap().state, PodState::Up([127, 0, 0, 1].into()));

    world.suspend("echo").await;
    assert!(!is_alive(pid(&first)));
    drop(TcpListener::bind(("127.0.0.1", spec.port)).expect("the port is free"));

    let second = world.resume_and_greet(&spec).await;
    assert_eq!((second["starts"].as_u64(), second["visits"].as_u64()), (Some(2), Some(2)));
    assert_ne!(second["boot"], first["boot"]);
    assert_ne!(world.life("echo").pod, life.pod);
    assert_eq!(world.life("echo").agent, life.agent);
}

#[tokio::test]
async fn an_agent_is_told_its_port_and_name_and_not_our_settings() {
    let mut spec =
        shell("echo", "echo $PORT $DROWSE_AGENT_NAMESPACE/$DROWSE_AGENT_NAME $URL; exec sleep 1000");
    spec.env.insert("URL".into(), "x:{port}".into());
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume("echo").await;
    let port = spec.port;
    world.logged("echo", &format!("{port} default/echo x:{port}")).await;
}

#[tokio::test]
async fn children_die_with_their_agent_wherever_they_have_moved() {
    let script = "sleep 1000 & echo child $!
        setsid sh -c 'echo moved $$; exec sleep 1000' &
        (setsid sh -c 'sleep 1000 & echo orphan $!' &)
        exec $PROGRAM demo-agent --port $PORT";
    let spec = shell("echo", script);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume_and_greet(&spec).await;
    let mut children = Vec::new();
    for text in ["child ", "moved ", "orphan "] {
        children.push(world.logged_pid("echo", text).await);
    }
    assert!(children.iter().all(|pid| is_alive(*pid)));
    world.suspend("echo").await;
    assert!(!children.iter().any(|pid| is_alive(*pid)), "{children:?}");
}

#[tokio::test]
async fn children_die_with_an_agent_that_ends_by_itself() {
    let mut world = World::new(&[shell("echo", "sleep 1000 & echo child $!; exit 3")]).await;
    let failure = world.resume_to_fail("echo").await;
    assert!(failure.detail.contains("exited with status 3"), "{}", failure.detail);
    assert!(!is_alive(world.logged_pid("echo", "child ").await));
}

#[tokio::test]
async fn an_agent_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
    let mut spec = shell("deaf", DEAF);
    spec.stop_grace = Duration::from_millis(300);
    let mut world = World::new(&[spec]).await;
    world.resume("deaf").await;
    let agent = world.logged_pid("deaf", "deaf ").await;
    let clock = Clock::start();
    world.suspend("deaf").await;
    assert!(clock.now().since(Moment::START) >= Duration::from_millis(300));
    assert!(!is_alive(agent));
}

#[tokio::test]
async fn a_pod_is_terminating_until_its_process_is_gone() {
    let mut spec = shell("deaf", DEAF);
    spec.stop_grace = Duration::from_millis(500);
    let mut world = World::new(&[spec]).await;
    world.resume("deaf").await;
    let agent = world.logged_pid("deaf", "deaf ").await;
    let written = world.write_suspend("deaf").await;
    assert_eq!((written.mode, written.observed), (Mode::Suspended, written.generation));
    world.until("it is terminating", |world| world.pod("deaf").is_some_and(|pod| pod.terminating)).await;
    assert!(is_alive(agent), "it was written before the process ended");
    world.until("it is gone", |world| world.pod("deaf").is_none()).await;
    assert!(!is_alive(agent));
}

#[tokio::test]
async fn a_resume_while_the_old_process_stops_waits_until_it_is_gone() {
    let mut spec = shell("deaf", DEAF);
    spec.stop_grace = Duration::from_millis(300);
    let mut world = World::new(&[spec]).await;
    world.resume("deaf").await;
    let old = world.life("deaf").pod;
    let process = world.logged_pid("deaf", "deaf ").await;
    world.write_suspend("deaf").await;
    let written = world.write_resume("deaf").await;
    assert!(written.observed < written.generation, "not acted on while the old process is there");
    world.until("there is a new pod", |world| world.pod("deaf").is_some_and(|pod| pod.uid != old)).await;
    assert!(world.gone.contains(&old) && !is_alive(process));
    world.until("it is up", |world| matches!(world.pod("deaf").unwrap().state, PodState::Up(_))).await;
}

#[tokio::test]
async fn a_suspension_of_an_older_revision_is_a_conflict() {
    let spec = demo("echo", &[]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let process = pid(&world.resume_and_greet(&spec).await);
    let read = world.backend.read(&key("echo")).await.unwrap();
    let suspend = |revision| world.backend.suspend(&key("echo"), &read.uid, revision, SuspendedBy::Idle);
    assert_eq!(suspend(Revision(read.revision.0 - 1)).await, Err(WriteError::Conflict));

    let marked = world.backend.resume(&key("echo"), &read.uid, read.generation, Mode::Running).await.unwrap();
    assert!(marked.revision > read.revision && marked.generation == read.generation);
    assert_eq!(suspend(read.revision).await, Err(WriteError::Conflict));
    assert_eq!(pid(&greet(&spec).await), process, "it went on");
    assert!(suspend(marked.revision).await.is_ok());
}

#[tokio::test]
async fn an_agent_that_does_not_exist_is_gone_to_every_call() {
    let world = World::new(&[demo("echo", &[])]).await;
    let uid = world.agent("echo").uid.clone();
    let nobody = key("nobody");
    assert_eq!(world.backend.read(&nobody).await, Err(WriteError::Gone));
    assert_eq!(
        world.backend.resume(&nobody, &uid, Generation(1), Mode::Suspended).await,
        Err(WriteError::Gone)
    );
    let suspended = world.backend.suspend(&nobody, &uid, Revision(1), SuspendedBy::Idle).await;
    assert_eq!(suspended, Err(WriteError::Gone));
    assert!(world.backend.last_log_lines(&nobody).is_empty());
}

#[tokio::test]
async fn two_agents_do_not_disturb_each_other() {
    let (one, two) = (demo("one", &[]), demo("two", &[]));
    let mut world = World::new(&[one.clone(), two.clone()]).await;
    let (first, second) = (world.resume_and_greet(&one).await, world.resume_and_greet(&two).await);
    world.suspend("one").await;
    assert!(!is_alive(pid(&first)));
    let again = greet(&two).await;
    assert_eq!((pid(&again), again["visits"].as_u64()), (pid(&second), Some(2)));
    assert_eq!(world.pod("two").unwrap().uid, world.life("two").pod);
}

#[tokio::test]
async fn nobody_who_reads_reports_slowly_stops_writes_or_misses_the_end() {
    let mut world = World::new(&[agent("echo", &["sleep", "1000"])]).await;
    world.resume("echo").await;
    // More than the channel takes, with nobody reading.
    let mut last = world.agent("echo").revision;
    for _ in 0..5_000 {
        last = world.write_resume("echo").await.revision;
        tokio::task::yield_now().await;
    }
    world.until("the newest is reported", |world| world.agent("echo").revision == last).await;
    world.suspend("echo").await;
}

#[tokio::test]
async fn shutdown_stops_everything_within_the_grace() {
    let (polite, mut deaf) = (demo("polite", &[]), shell("deaf", DEAF));
    deaf.stop_grace = Duration::from_millis(300);
    let mut world = World::new(&[polite.clone(), deaf, demo("asleep", &[])]).await;
    world.resume("deaf").await;
    let processes = [pid(&world.resume_and_greet(&polite).await), world.logged_pid("deaf", "deaf ").await];
    world.backend.shutdown().await;
    assert!(!processes.iter().any(|pid| is_alive(*pid)));
    drop(TcpListener::bind(("127.0.0.1", polite.port)).expect("the port is free"));
}

#[tokio::test]
async fn dropping_the_runtime_of_drowse_stops_the_agents_too() {
    let spec = demo("echo", &[]);
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(std::slice::from_ref(&spec)).await;
            pid(&world.resume_and_greet(&spec).await)
        })
    });
    let process = process.join().unwrap();
    eventually("it is gone", async || !is_alive(process)).await;
}
