//! Idle timeouts of milliseconds, and requests that come just then: tens of thousands of times, and none may fail.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::{Agent, Drowse, host, http};

/// Suspensions that requests must have run into, written or given up.
const COLLISIONS: f64 = 20_000.0;
const AGENTS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_collide_with_suspensions_never_fail() {
    let names: Vec<_> = (0..AGENTS).map(|n| format!("agent-{n}")).collect();
    let agents: Vec<_> = names.iter().map(|name| Agent::demo(name)).collect();
    let drowse = Drowse::start(&agents, "idle_timeout: 2ms\nmin_running: 0s").await;
    let mut callers = JoinSet::new();
    let done = tokio_util::sync::CancellationToken::new();
    for (n, name) in names.into_iter().enumerate() {
        callers.spawn(call_until(done.clone(), drowse.front, name, n as u64));
    }
    let mut collisions = 0.0;
    while collisions < COLLISIONS && callers.try_join_next().is_none() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        collisions = drowse.metric("drowse_suspends_total", "").await;
    }
    done.cancel();
    let served: u64 = callers.join_all().await.into_iter().sum();
    assert!(collisions >= COLLISIONS, "only {collisions} collisions");
    println!("{served} requests served through {collisions} suspensions");
}

/// Calls one agent again and again, each time about when it falls asleep. Panics at the first failure.
async fn call_until(
    done: tokio_util::sync::CancellationToken,
    front: std::net::SocketAddr,
    agent: String,
    seed: u64,
) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut served = 0;
    while !done.is_cancelled() {
        let answer = http::get(front, &host(&agent), "/status/200").await;
        match answer {
            Ok(answer) if answer.status == 200 => served += 1,
            other => {
                done.cancel();
                panic!("request {served} of {agent} failed: {other:?}");
            }
        }
        tokio::time::sleep(Duration::from_micros(rng.u64(1_500..3_500))).await;
    }
    served
}
