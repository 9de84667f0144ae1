//! What agents and operators ask Drowse itself, over NATS.

use async_nats::{Client, HeaderMap};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::servers::{NEWEST, Servers};
use super::world::{QUICK, World, talker};
use crate::support::eventually;

struct Answer {
    code: String,
    body: Value,
}

async fn ask(client: &Client, subject: &str, body: &str) -> Answer {
    let answer = client.request(subject.to_owned(), body.to_owned().into()).await.unwrap();
    let headers = answer.headers.unwrap_or_else(HeaderMap::new);
    let code = headers.get("Nats-Service-Error-Code").map(ToString::to_string).unwrap_or_default();
    Answer { code, body: serde_json::from_slice(&answer.payload).unwrap() }
}

async fn world(defaults: &str) -> (World, Client) {
    let defaults = format!("messages: subject\nmin_running: 0s\n{defaults}");
    let world = World::with(Servers::single(NEWEST).await, &[talker("echo")], &defaults, QUICK).await;
    let client = async_nats::connect(world.servers.urls()).await.unwrap();
    (world, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_lease_keeps_an_agent_up_until_it_ends_or_reaches_its_cap() {
    let (world, client) = world("idle_timeout: 300ms\nbusy_cap: 3s").await;
    ask(&client, "drowse.resume.default.echo", "").await;
    let taken =
        ask(&client, "drowse.lease.default.echo", r#"{"id": "job", "reason": "thinks", "ttl": "1h"}"#).await;
    assert_eq!(
        (taken.code.as_str(), taken.body["leases"][0]["id"].as_str()),
        ("", Some("job")),
        "{}",
        taken.body
    );
    world.drowse.wait_for_phase("echo", "Running").await;
    let (explained, _) = world.drowse.command(&["explain", "default/echo"]).await;
    assert!(explained.contains("busy lease") && explained.contains("thinks"), "{explained}");
    assert!(explained.contains("agents.default.echo.>"), "{explained}");

    // Its hour is cut at the cap, so it sleeps though nobody ends the lease.
    world.drowse.wait_for_phase("echo", "Suspended").await;
    let late = ask(&client, "drowse.lease.default.echo", r#"{"action": "renew", "id": "job"}"#).await;
    assert_eq!(late.code, "409", "{}", late.body);

    ask(&client, "drowse.resume.default.echo", "").await;
    let other = ask(&client, "drowse.lease.default.echo", r#"{"reason": "more", "ttl": "1h"}"#).await;
    let id = other.body["leases"][0]["id"].as_str().unwrap().to_owned();
    world.drowse.wait_for_phase("echo", "Running").await;
    let ended =
        ask(&client, "drowse.lease.default.echo", &json!({"action": "end", "id": id}).to_string()).await;
    assert_eq!(ended.code, "", "{}", ended.body);
    world.drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_told_and_wakes_nobody() {
    let (world, client) = world("idle_timeout: 1h").await;
    for (subject, body, code) in [
        ("drowse.lease.default.echo", "take it", "400"),
        ("drowse.lease.default.echo", r#"{"action": "steal"}"#, "400"),
        ("drowse.lease.default.echo", r#"{"action": "end"}"#, "400"),
        ("drowse.lease.default.echo", r#"{"ttl": "soon"}"#, "400"),
        ("drowse.lease.default.echo", r#"{"agent": "default/relay"}"#, "400"),
        ("drowse.lease.default.echo", r#"{"action": "renew", "id": "none"}"#, "404"),
        ("drowse.lease.default.stranger", "", "404"),
        ("drowse.resume.default.stranger", "", "404"),
        ("drowse.status.default.stranger", "", "404"),
        ("drowse.activity.Default.echo", "", "404"),
    ] {
        let answer = ask(&client, subject, body).await;
        assert_eq!(answer.code, code, "{subject} {body}: {}", answer.body);
        assert!(answer.body["error"].is_string(), "{}", answer.body);
    }
    let long = ask(&client, "drowse.lease.default.echo", &"x".repeat(5_000)).await;
    assert_eq!(long.code, "413");
    assert_eq!(world.drowse.phase("echo").await, "Suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn transitions_are_told_and_an_operator_resumes_and_asks() {
    let (world, client) = world("idle_timeout: 300ms").await;
    let mut events = client.subscribe("drowse.events.>").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(ask(&client, "drowse.status.default.echo", "").await.body["phase"], "Suspended");
    let resumed = ask(&client, "drowse.resume.default.echo", "").await;
    assert_eq!(resumed.code, "", "{}", resumed.body);
    world.drowse.wait_for_phase("echo", "Running").await;
    world.drowse.wait_for_phase("echo", "Suspended").await;
    let mut phases = Vec::new();
    while phases.last().is_none_or(|phase| phase != "Suspended") {
        let event = events.next().await.unwrap();
        assert_eq!(event.subject.as_str(), "drowse.events.default.echo");
        let event: Value = serde_json::from_slice(&event.payload).unwrap();
        phases.push(event["phase"].as_str().unwrap().to_owned());
    }
    let up = phases.iter().position(|phase| phase == "Running");
    assert!(up.is_some(), "{phases:?}");

    // Whoever says so keeps it up.
    ask(&client, "drowse.resume.default.echo", "").await;
    world.drowse.wait_for_phase("echo", "Running").await;
    let before = world.drowse.metric("drowse_suspends_total", "suspended").await;
    for _ in 0..20 {
        client.publish("drowse.activity.default.echo", "".into()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(world.drowse.metric("drowse_suspends_total", "suspended").await - before < 1.0);
    eventually("it sleeps", async || world.drowse.phase("echo").await == "Suspended").await;
}
