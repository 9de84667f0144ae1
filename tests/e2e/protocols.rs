//! What is no plain request, to a Sandbox that sleeps.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Request;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::http2::{Http2, full, uri};
use crate::support::{Agent, PATIENCE, World};

/// An agent that sleeps, and its host.
async fn asleep(name: &str) -> (World, String) {
    let world = World::new(name, "idle_timeout: 2s\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    world.wait_until_asleep("echo").await;
    let host = format!("echo.{}.agents.localhost", world.namespace);
    (world, host)
}

#[tokio::test]
async fn a_websocket_wakes_a_sandbox_keeps_it_up_while_data_moves_and_is_closed_when_it_sleeps() {
    let (world, host) = asleep("socket").await;
    let stream = TcpStream::connect(world.drowse.front).await.unwrap();
    let opening = tokio_tungstenite::client_async(format!("ws://{host}/ws"), stream);
    let (mut socket, response) = tokio::time::timeout(PATIENCE, opening).await.expect("an answer").unwrap();
    assert_eq!(response.headers()["drowse-start"], "cold");
    let pod = world.pod_uid("echo").await;
    // Twice its idle timeout.
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..8 {
        ticks.tick().await;
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    }
    assert_eq!(world.pod_uid("echo").await, pod, "it was up all the time");
    let last = tokio::time::timeout(PATIENCE, socket.next()).await.expect("it is closed");
    match last {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("no close frame: {other:?}"),
    }
    world.wait_until_asleep("echo").await;
}

#[tokio::test]
async fn a_call_of_grpc_wakes_a_sandbox_and_ends_with_trailers() {
    let (world, host) = asleep("grpc").await;
    let caller = Http2::connect(world.drowse.front).await;
    for start in ["cold", "warm"] {
        let call = Request::post(uri(&host, "/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(full(Bytes::from_static(&[0; 5])))
            .unwrap();
        let answered = tokio::time::timeout(PATIENCE, caller.ask(call)).await.expect("an answer").unwrap();
        assert_eq!((answered.answer.status, answered.answer.header("drowse-start")), (200, start));
        assert_eq!(answered.answer.body, [0, 0, 0, 0, 2, 8, 1], "SERVING");
        assert_eq!(answered.trailers["grpc-status"], "0");
    }
}
