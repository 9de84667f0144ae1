//! Agents that are frozen while nobody calls: the real program, and what callers and operators see of it.

use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Agent, Drowse, PROGRAM, eventually, host, http, is_alive, read, signal, stands_still};

const LONG: &str = "idle_timeout: 1h";
const SHORT: &str = "idle_timeout: 200ms\nmin_running: 0s";
const CALLERS: usize = 200;

/// Suspensions that callers must have run into.
const FREEZES: f64 = 2_000.0;
const AGENTS: usize = 8;

fn pid(answer: &http::Answer) -> u32 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["pid"].as_u64().expect("a pid").try_into().unwrap()
}

/// An agent that runs and was then frozen by an operator, and its process.
async fn frozen(drowse: &Drowse) -> u32 {
    let process = pid(&drowse.get("echo", "/").await);
    let (text, code) = drowse.command(&["suspend", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    drowse.wait_for_phase("echo", "Suspended").await;
    assert!(stands_still(process));
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_is_frozen_and_a_request_has_it_go_on_with_its_memory() {
    let drowse = Drowse::start(&[Agent::demo("echo").frozen()], SHORT).await;
    let first = drowse.get("echo", "/").await;
    drowse.wait_for_phase("echo", "Suspended").await;
    assert!(stands_still(pid(&first)));
    let again = drowse.get("echo", "/").await;
    assert_eq!((pid(&again), again.header("drowse-start")), (pid(&first), "cold"));
    assert_eq!((&again.json()["starts"], &again.json()["boot"]), (&1.into(), &first.json()["boot"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_a_frozen_agent_cost_one_thaw() {
    let script = format!(
        "trap 'echo thawed' CONT; '{PROGRAM}' demo-agent --port $PORT & echo ready; while :; do wait; done"
    );
    let mut agent = Agent::demo("echo").frozen().with(&["-c", &script]);
    agent.program = Some("sh".to_owned());
    let drowse = Drowse::start(&[agent], LONG).await;
    let process = frozen(&drowse).await;
    let mut calls = JoinSet::new();
    for n in 0..CALLERS {
        let front = drowse.front;
        calls.spawn(async move { http::get(front, &host("echo"), &format!("/echo?n={n}")).await });
    }
    let answers = calls.join_all().await;
    let good = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200));
    assert_eq!(good.count(), CALLERS);
    assert_eq!(pid(&drowse.get("echo", "/").await), process);
    let log = || read(&drowse.dir.path().join("state/default/echo/agent.log"));
    eventually("it was told to go on", async || log().contains("thawed")).await;
    assert_eq!(log().matches("thawed").count(), 1);
    assert!((drowse.metric("drowse_resumes_total", "outcome=\"ok\"").await - 2.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_about_when_an_agent_freezes_never_fail() {
    let names: Vec<_> = (0..AGENTS).map(|n| format!("agent-{n}")).collect();
    let agents: Vec<_> = names.iter().map(|name| Agent::demo(name).frozen()).collect();
    let drowse = Drowse::start(&agents, "idle_timeout: 5ms\nmin_running: 0s").await;
    let (mut callers, done) = (JoinSet::new(), CancellationToken::new());
    for (n, name) in names.into_iter().enumerate() {
        callers.spawn(call_until(done.clone(), drowse.front, name, n as u64));
    }
    let mut freezes = 0.0;
    while freezes < FREEZES && callers.try_join_next().is_none() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        freezes = drowse.metric("drowse_suspends_total", "outcome=\"suspended\"").await;
    }
    done.cancel();
    let served: usize = callers.join_all().await.into_iter().sum();
    assert!(freezes >= FREEZES, "only {freezes} suspensions");
    println!("{served} requests served through {freezes} suspensions");
    for n in 0..AGENTS {
        assert_eq!(
            drowse.get(&format!("agent-{n}"), "/").await.json()["starts"],
            1,
            "one process all the time"
        );
    }
}

/// Calls one agent again and again, each time about when it freezes. Panics at the first failure.
async fn call_until(done: CancellationToken, front: std::net::SocketAddr, agent: String, seed: u64) -> usize {
    let _stops_all = done.clone().drop_guard();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut served = 0;
    while !done.is_cancelled() {
        let answer = http::get(front, &host(&agent), "/status/200").await;
        assert!(
            answer.as_ref().is_ok_and(|answer| answer.status == 200),
            "request {served} of {agent}: {answer:?}"
        );
        served += 1;
        tokio::time::sleep(Duration::from_micros(rng.u64(1_000..30_000))).await;
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_agent_that_is_killed_is_started_anew_by_the_next_call() {
    let drowse = Drowse::start(&[Agent::demo("echo").frozen()], LONG).await;
    let process = frozen(&drowse).await;
    signal(process, Signal::KILL);
    eventually("it is gone", async || !is_alive(process)).await;
    let next = drowse.get("echo", "/").await;
    assert_ne!(pid(&next), process);
    assert_eq!(next.json()["starts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_stay_freezes_too_and_is_ended_by_a_resume_alone() {
    let drowse = Drowse::start(&[Agent::demo("echo").frozen()], LONG).await;
    let process = pid(&drowse.get("echo", "/").await);
    assert_eq!(drowse.command(&["suspend", "--stay", "default/echo"]).await.1, 0);
    drowse.wait_for_phase("echo", "Suspended").await;
    assert_eq!(drowse.get("echo", "/").await.status, 409);
    assert!(stands_still(process));
    assert_eq!(drowse.command(&["resume", "default/echo"]).await.1, 0);
    drowse.wait_for_phase("echo", "Running").await;
    assert_eq!(pid(&drowse.get("echo", "/").await), process);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_to_be_stopped_from_now_on_does_not_stay_frozen() {
    let drowse = Drowse::start(&[Agent::demo("echo").frozen()], LONG).await;
    let process = frozen(&drowse).await;
    let text = read(&drowse.config_path());
    std::fs::write(drowse.config_path(), text.replace("suspend: freeze", "suspend: stop")).unwrap();
    eventually("it has ended", async || !is_alive(process)).await;
    let next = drowse.get("echo", "/").await;
    assert_ne!(pid(&next), process);
    std::fs::write(drowse.config_path(), text).unwrap();
    let applied = async || drowse.metric("drowse_config_reloads_total", "outcome=\"ok\"").await > 1.0;
    eventually("both edits are applied", applied).await;
    assert_eq!(frozen(&drowse).await, pid(&next), "from now on it is frozen");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_frozen_agent_outlives_drowse_however_that_ends() {
    let mut drowse = Drowse::start(&[Agent::demo("echo").frozen()], LONG).await;
    let process = frozen(&drowse).await;
    drowse.crash().await;
    eventually("it is gone", async || !is_alive(process)).await;
    let process = frozen(&drowse).await;
    assert_eq!(drowse.terminate().await, 0);
    assert!(!is_alive(process));
}
