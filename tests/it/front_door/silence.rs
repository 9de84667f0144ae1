//! Requests in flight on which no byte moves: for how long they keep their agent up, and how they are ended.

use std::time::Duration;

use drowse::lifecycle::PhaseName;
use drowse::policy::Policy;
use drowse::time::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{Caller, Played, Start, Toy, World, until};

const HOST: &str = "Host: echo.default.agents.localhost";
const IDLE: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_millis(900);

fn policy(busy_cap: Duration) -> Policy {
    Policy {
        route: true,
        manage: true,
        idle_timeout: IDLE,
        min_running: Duration::ZERO,
        busy_cap,
        ..Policy::default()
    }
}

fn post() -> String {
    format!("POST /work HTTP/1.1\n{HOST}\nContent-Length: 2\n\nhi")
}

/// An agent that has the request, and does not answer yet.
async fn asked(busy_cap: Duration, request: &str) -> (World, Caller, Played) {
    let mut toy = Toy::new().await;
    let start = Start { policy: policy(busy_cap), asleep: true, ..Start::default() };
    let world = World::start(toy.port, start).await;
    let mut caller = world.caller().await;
    caller.send(request).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    (world, caller, agent)
}

fn bounds_hit(world: &World) -> bool {
    world.metrics.render().contains("drowse_bounds_hit_total{bound=\"silence\"} 1\n")
}

async fn falls_asleep(world: &World) {
    until(|| matches!(world.view().phase, PhaseName::Suspending | PhaseName::Suspended)).await;
    assert_eq!(world.in_flight(), 0);
}

#[tokio::test]
async fn a_request_that_gets_no_answer_is_given_up_at_the_busy_cap_and_its_agent_sleeps() {
    let clock = Clock::start();
    let (world, mut caller, mut agent) = asked(CAP, &post()).await;
    let answer = caller.head().await;
    assert!(answer.starts_with("http/1.1 504 gateway timeout\n"), "{answer}");
    assert!(clock.now().since(drowse::time::Moment::START) >= CAP, "not before the cap");
    assert!(answer.contains("application/problem+json"), "{answer}");
    let body = caller.rest().await;
    for part in ["/silent\"", "default/echo", "busy_cap", "900ms"] {
        assert!(body.contains(part), "{part} in {body}");
    }
    assert!(bounds_hit(&world) && world.metrics.render().contains("refusals_total{reason=\"silent\"} 1\n"));
    assert_eq!(agent.read(2).await, b"hi");
    assert!(agent.is_closed().await, "what it answers now would be taken for another answer");
    falls_asleep(&world).await;
}

#[tokio::test]
async fn a_caller_of_the_router_is_told_in_its_form() {
    let request =
        "POST /work HTTP/1.1\nHost: x\nX-Sandbox-ID: echo\nX-Sandbox-Port: PORT\nContent-Length: 0\n\n";
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, Start { policy: policy(CAP), ..Start::default() }).await;
    let mut caller = world.caller().await;
    caller.send(&request.replace("PORT", &toy.port.to_string())).await;
    let _agent = toy.accept().await;
    assert!(caller.head().await.starts_with("http/1.1 504 "));
    assert!(caller.read_until("}").await.starts_with("{\"detail\":"));
}

#[tokio::test]
async fn an_answer_that_gets_no_further_is_broken_off_at_the_busy_cap_and_its_agent_sleeps() {
    let (world, mut caller, mut agent) = asked(CAP, &post()).await;
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 10\n\nhalf").await;
    caller.head().await;
    assert_eq!(caller.rest().await, "half");
    assert!(bounds_hit(&world));
    falls_asleep(&world).await;
}

#[tokio::test]
async fn bytes_of_either_side_renew_a_request() {
    let upload = format!("POST /work HTTP/1.1\n{HOST}\nTransfer-Encoding: chunked\n\n");
    let (world, mut caller, mut agent) = asked(CAP, &upload).await;
    for _ in 0..5 {
        tokio::time::sleep(CAP / 3).await;
        caller.send("1\na\n").await;
        agent.caller.read_until("1\na\n").await;
    }
    caller.send("0\n\n").await;
    agent.caller.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n").await;
    caller.head().await;
    for _ in 0..5 {
        tokio::time::sleep(CAP / 3).await;
        agent.caller.send("1\nb\n").await;
        caller.read_until("1\nb\n").await;
    }
    agent.caller.send("0\n\n").await;
    caller.read_until("0\n\n").await;
    assert_eq!(world.backend.resumes(), 1);
}

#[tokio::test]
async fn a_request_that_is_silent_for_35_idle_timeouts_is_answered_whole() {
    let (world, mut caller, mut agent) = asked(Policy::default().busy_cap, &post()).await;
    for _ in 0..35 {
        tokio::time::sleep(IDLE).await;
        let view = world.view();
        assert_eq!((view.phase, view.in_flight), (PhaseName::Running, 1), "{}", view.reason);
    }
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 5\n\nwhole").await;
    assert!(caller.head().await.starts_with("http/1.1 200 ok\n"));
    caller.read_until("whole").await;
    assert_eq!(world.backend.resumes(), 1);
    falls_asleep(&world).await;
}

#[tokio::test]
async fn the_cap_runs_from_the_moment_at_which_the_agent_gets_the_request() {
    let mut toy = Toy::new().await;
    let start = Start { policy: policy(CAP), asleep: true, ..Start::default() };
    let world = World::start(toy.port, start).await;
    let started = world.backend.hold_next_start();
    let mut caller = world.caller().await;
    caller.send(&post()).await;
    until(|| world.held() == 1).await;
    tokio::time::sleep(CAP * 2).await;
    started.send(()).unwrap();
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    assert!(caller.head().await.starts_with("http/1.1 200 ok\n"));
}

#[tokio::test]
async fn the_next_request_of_a_connection_has_a_cap_of_its_own() {
    let (_world, mut caller, mut agent) = asked(CAP, &post()).await;
    for _ in 0..4 {
        tokio::time::sleep(CAP / 2).await;
        agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
        assert!(caller.head().await.starts_with("http/1.1 200 ok\n"));
        caller.read_until("ok").await;
        caller.send(&post()).await;
    }
    assert!(caller.head().await.starts_with("http/1.1 504 "));
}

#[tokio::test]
async fn a_health_check_every_100_ms_that_must_not_wake_neither_keeps_up_nor_wakes() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    let policy = Policy { must_not_wake: vec!["/healthz".to_owned()], idle_timeout: IDLE * 3, ..policy(CAP) };
    let world = World::start(port, Start { policy, ..Start::default() }).await;
    world.until_running().await;
    let mut caller = world.caller().await;
    let (mut served, mut refused) = (0, 0);
    while refused < 10 {
        caller.stream.write_all(format!("GET /healthz HTTP/1.1\r\n{HOST}\r\n\r\n").as_bytes()).await.unwrap();
        let head = caller.head().await;
        match head.get(9..12) {
            Some("200") => {
                caller.read_until("ok").await;
                served += 1;
            }
            Some("503") => {
                caller.read_until("}").await;
                // The end of its line.
                caller.stream.read_u8().await.unwrap();
                refused += 1;
            }
            _ => panic!("{head}"),
        }
        assert!(served < 100, "health checks keep it up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(served > 0, "they were served while it was up");
    assert_eq!((world.view().phase, world.backend.resumes()), (PhaseName::Suspended, 0));
}
