//! Callers who leave while nothing is read of them, and how their places become free.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;

use super::world::{Caller, Start, World, until};

const HOST: &str = "Host: echo.default.agents.localhost";

/// Heads whose bodies hyper leaves alone: it is not asked for the first, and most of the second stays in its socket.
fn unread() -> [String; 2] {
    let post = |fields: &str| format!("POST / HTTP/1.1\n{HOST}\n{fields}\n\n");
    let upload = post("Content-Length: 100000") + &"x".repeat(50_000);
    [post("Content-Length: 2\nExpect: 100-continue"), upload]
}

/// An agent that sleeps on, and a caller who waits for it.
async fn held(world: &World, request: &str) -> Caller {
    let mut caller = world.caller().await;
    caller.send(request).await;
    until(|| world.held() == 1).await;
    caller
}

async fn world() -> World {
    let mut start = Start { asleep: true, ..Start::default() };
    start.settings.held_body_bytes = 1000;
    World::start(1, start).await
}

#[tokio::test]
async fn a_held_caller_whose_body_is_not_read_frees_its_place_when_it_leaves() {
    let world = world().await;
    let _start = world.backend.hold_next_start();
    for request in unread() {
        for by_reset in [false, true] {
            let caller = held(&world, &request).await;
            if by_reset {
                SockRef::from(&caller.stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(caller);
            until(|| world.held() == 0).await;
            until(|| world.engine.held_bytes().used() == 0).await;
        }
    }
}

#[tokio::test]
async fn a_held_caller_who_closes_its_side_alone_has_left_whatever_was_read_of_it() {
    let world = world().await;
    let _start = world.backend.hold_next_start();
    let get = format!("GET / HTTP/1.1\n{HOST}\n\n");
    // hyper reads nothing while it has bytes of what comes next.
    let pipelined = [get.clone() + "\r\n", get.clone() + &get];
    for request in unread().iter().chain([&get]).chain(&pipelined) {
        let mut caller = held(&world, request).await;
        caller.stream.shutdown().await.unwrap();
        assert_eq!(caller.rest().await, "");
        until(|| world.held() == 0).await;
    }
}
