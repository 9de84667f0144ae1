//! A request whose agent moves before it is sent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;

use super::world::{Caller, LOCAL, Start, Toy, World, until};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

#[tokio::test]
async fn all_that_a_request_has_waited_for_is_told_although_its_agent_has_moved_meanwhile() {
    let late = TcpListener::bind((LOCAL, 0)).await.unwrap().local_addr().unwrap().port();
    let world = World::start(Toy::answering(OK).await, Start { asleep: true, ..Start::default() }).await;
    let attest = Duration::from_millis(30);
    world.backend.attest_ms.store(30, Ordering::Relaxed);
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\nHost: {late}--echo.default.agents.localhost\n\n")).await;
    // It was let in, and its port refuses it.
    until(|| world.in_flight() == 1).await;
    world.backend.attest_ms.store(0, Ordering::Relaxed);
    let start = world.backend.hold_next_start();
    world.backend.replace_pod();
    until(|| world.held() == 1).await;
    let listener = TcpListener::bind((LOCAL, late)).await.unwrap();
    start.send(()).unwrap();
    let mut agent = loop {
        let (stream, _) = listener.accept().await.unwrap();
        // The probe may have been here, too.
        if stream.peek(&mut [0]).await.unwrap() == 1 {
            break Caller { stream };
        }
    };
    agent.read_until("\n\n").await;
    agent.send(OK).await;
    let head = caller.head().await;
    assert!(head.contains("\ndrowse-start: cold\n"), "{head}");
    let told = head.split("attest;dur=").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    assert!(told.parse::<f64>().unwrap() >= attest.as_secs_f64() * 1000.0, "{head}");
}
