//! Between requests a connection of HTTP/1.1 rests: what hyper keeps for it is given back. Here that happens at once after each
//! answer (see `world`), so the first bytes of the next request always meet a connection at rest.

use std::time::Duration;

use super::world::{Start, Toy, World};

const HOST: &str = "Host: echo.default.agents.localhost";
const ANSWER: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

async fn awake(mut start: Start) -> World {
    start.settings.rest_after = Duration::ZERO;
    let port = Toy::answering(ANSWER).await;
    let world = World::start(port, start).await;
    world.until_running().await;
    world
}

fn request(nth: usize) -> String {
    format!("GET /{nth} HTTP/1.1\n{HOST}\nX-Filling: {}\n\n", "x".repeat(nth))
}

#[tokio::test]
async fn after_a_rest_a_request_is_served_whatever_part_of_it_comes_first() {
    let world = awake(Start::default()).await;
    let mut caller = world.caller().await;
    let text = request(1);
    for cut in 1..text.len() {
        // Written apart, they mostly arrive apart.
        caller.send(&text[..cut]).await;
        tokio::task::yield_now().await;
        caller.send(&text[cut..]).await;
        assert!(caller.read_until("\n\nok").await.starts_with("HTTP/1.1 200 OK\n"), "cut at {cut}");
    }
}

#[tokio::test]
async fn requests_that_come_in_one_piece_are_served_one_by_one() {
    let world = awake(Start::default()).await;
    let mut caller = world.caller().await;
    for count in 1..20 {
        caller.send(&(0..count).map(request).collect::<String>()).await;
        for _ in 0..count {
            assert!(caller.read_until("\n\nok").await.starts_with("HTTP/1.1 200 OK\n"), "one of {count}");
        }
    }
}

#[tokio::test]
async fn the_head_of_a_request_after_a_rest_must_be_complete_in_time() {
    let mut start = Start::default();
    start.settings.head_timeout = Duration::from_millis(100);
    let world = awake(start).await;
    let mut caller = world.caller().await;
    caller.send(&request(0)).await;
    caller.read_until("\n\nok").await;
    caller.send("G").await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\n"), "{answer}");
}

#[tokio::test]
async fn the_beginning_of_a_head_that_came_with_the_request_before_must_be_completed_in_time() {
    let mut start = Start::default();
    start.settings.head_timeout = Duration::from_millis(100);
    let world = awake(start).await;
    let mut caller = world.caller().await;
    caller.send(&(request(0) + "G")).await;
    caller.read_until("\n\nok").await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\n"), "{answer}");

    let world = awake(Start::default()).await;
    let mut caller = world.caller().await;
    let text = request(1);
    caller.send(&(request(0) + &text[..9])).await;
    caller.read_until("\n\nok").await;
    caller.send(&text[9..]).await;
    caller.read_until("\n\nok").await;
}

#[tokio::test]
async fn a_connection_at_rest_is_closed_when_it_was_idle_for_long_and_when_drowse_ends() {
    let mut start = Start::default();
    start.settings.idle_connection_timeout = Duration::from_millis(100);
    let world = awake(start).await;
    let mut caller = world.caller().await;
    caller.send(&request(0)).await;
    caller.read_until("\n\nok").await;
    assert_eq!(caller.rest().await, "");

    let world = awake(Start::default()).await;
    let mut caller = world.caller().await;
    caller.send(&request(0)).await;
    caller.read_until("\n\nok").await;
    world.shutdown.cancel();
    assert_eq!(caller.rest().await, "");
    // Who is not told until then may have sent another request, which nobody reads.
    assert!(world.metrics.render().contains("\ndrowse_connections 1\n"), "it was told before it was closed");
    drop(caller);
    world.serving.await.unwrap();
}

#[tokio::test]
async fn a_caller_that_leaves_while_its_connection_rests_leaves_nothing_behind() {
    let world = awake(Start::default()).await;
    let mut caller = world.caller().await;
    caller.send(&request(0)).await;
    caller.read_until("\n\nok").await;
    drop(caller);
    let open = || world.metrics.render().contains("\ndrowse_connections 0\n");
    super::world::until(open).await;
}
