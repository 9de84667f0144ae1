//! What keeps an agent up that talks over NATS, and what does not.

use futures_util::StreamExt as _;

use super::servers::{NEWEST, Servers};
use super::world::{QUICK, World, talker};
use crate::support::{Agent, Drowse, PATIENCE, eventually};

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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_life_got_before_it_was_ready_is_its_own() {
    let servers = Servers::single(NEWEST).await;
    let agent = Agent::demo("echo").with(&["--start-delay", "2s"]);
    // What the life before has not answered its sender would be told, and this can be seen.
    let defaults = "messages: subject\nidle_timeout: 1s\nmin_running: 0s\nredeliver: never";
    let drowse = Drowse::start_with(&[agent], defaults, servers.section(QUICK)).await;
    eventually("the door is open", async || drowse.log().contains("the message door is open")).await;
    let client = async_nats::connect(servers.urls()).await.unwrap();
    // Told when the door has done what a phase asks for.
    let mut events = client.subscribe("drowse.events.default.echo").await.unwrap();
    let mut comes = async |phase: &str| {
        let coming = async {
            while !String::from_utf8_lossy(&events.next().await.unwrap().payload).contains(phase) {}
        };
        tokio::time::timeout(PATIENCE, coming).await.expect(phase);
    };
    let phase = |name: &str| format!("\"phase\":\"{name}\"");
    client.flush().await.unwrap();
    client.request("drowse.resume.default.echo", "".into()).await.unwrap();
    comes(&phase("Running")).await;
    comes(&phase("Suspended")).await;

    client.request("drowse.resume.default.echo", "".into()).await.unwrap();
    comes(&phase("Resuming")).await;
    let mut agent = client.queue_subscribe("agents.default.echo.>", "q".to_owned()).await.unwrap();
    client.flush().await.unwrap();
    let caller = async_nats::connect(servers.urls()).await.unwrap();
    let asking = tokio::spawn(async move { caller.request("agents.default.echo.ask", "?".into()).await });
    let request = tokio::time::timeout(PATIENCE, agent.next()).await.expect("it is asked").unwrap();
    comes(&phase("Running")).await;
    client.publish(request.reply.unwrap(), "!".into()).await.unwrap();
    let answer = asking.await.unwrap().unwrap();
    assert_eq!((&*answer.payload, answer.headers), (&b"!"[..], None));
}
