//! What keeps an agent up that talks over NATS, and what does not.

use super::servers::{NEWEST, Servers};
use super::world::{QUICK, World, talker};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_works_silently_on_a_request_is_not_suspended() {
    let slow = [talker("echo").with(&["--work", "4s"])];
    let defaults = "messages: subject\nidle_timeout: 500ms\nmin_running: 0s";
    let world = World::with(Servers::single(NEWEST).await, &slow, defaults, QUICK).await;
    for _ in 0..2 {
        let answer = world.request("echo").await;
        assert!(answer.starts_with("0: r:0 "), "{answer}");
        world.drowse.wait_for_phase("echo", "Suspended").await;
    }
    let suspended = world.drowse.metric("drowse_suspends_total", "suspended").await;
    assert!((suspended - 2.0).abs() < 0.5, "none while it worked: {suspended}");
    let received = world.received("echo").await;
    assert_eq!(received.get("r:0"), Some(&2), "each request once: {received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_an_agent_up_and_heartbeats_do_not() {
    let beating = [talker("echo").with(&["--beat", "agents.hb.go.default.echo", "--queue", "agents"])];
    let defaults = "messages: synadia\nidle_timeout: 1s\nmin_running: 0s";
    let world = World::with(Servers::single(NEWEST).await, &beating, defaults, QUICK).await;
    let (text, code) = world.drowse.command(&["resume", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    world.drowse.wait_for_phase("echo", "Running").await;
    world.drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_never_answered_is_sent_once_more_and_then_its_sender_is_told() {
    for (redeliver, lives) in [("requests", 2.0), ("never", 1.0)] {
        let stuck = [talker("echo").with(&["--work", "1h"])];
        let defaults = format!(
            "messages: subject\nidle_timeout: 300ms\nmin_running: 0s\nbusy_cap: 1s\nredeliver: {redeliver}"
        );
        let world = World::with(Servers::single(NEWEST).await, &stuck, &defaults, QUICK).await;
        let answer = world.request("echo").await;
        assert!(answer.contains("Nats-Service-Error-Code:[503]"), "{redeliver}: {answer}");
        assert!(answer.contains("before it had answered"), "{redeliver}: {answer}");
        world.drowse.wait_for_phase("echo", "Suspended").await;
        let suspended = world.drowse.metric("drowse_suspends_total", "suspended").await;
        assert!((suspended - lives).abs() < 0.5, "{redeliver}: {suspended} suspensions");
    }
}
