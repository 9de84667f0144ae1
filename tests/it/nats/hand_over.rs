//! No message to a sleeping agent is lost or doubled, and nothing is in the way of one that is awake.

use std::collections::HashMap;

use super::servers::{NEWEST, Servers, VERSIONS};
use super::world::{QUICK, SHORT, World, talker};
use crate::support::{Agent, Drowse, PROGRAM, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_wakes_a_sleeping_agent_on_every_server() {
    for version in VERSIONS {
        let world = World::new(Servers::single(version).await, SHORT).await;
        for _ in 0..2 {
            world.drowse.wait_for_phase("echo", "Suspended").await;
            let answer = world.request("echo").await;
            assert!(answer.starts_with("0: r:0 "), "{version}: {answer}");
            assert!(answer.contains("Asked:[0]"), "its headers are as they were: {answer}");
            assert!(answer.contains("Subject:[agents.default.echo.ask]"), "{answer}");
        }
        let delivered = async || world.drowse.metric("drowse_messages_total", "delivered").await;
        eventually("both are known to have arrived", async || delivered().await > 1.5).await;
    }
}

/// How often the agent falls asleep among them: `DROWSE_CYCLES`, or so that it does not take long.
fn cycles() -> f64 {
    std::env::var("DROWSE_CYCLES").map_or(25.0, |cycles| cycles.parse().expect("DROWSE_CYCLES is a number"))
}

/// Bursts that begin about when the agent falls asleep, again and again.
async fn bursts(world: &World) {
    let cycles = cycles();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut sent = 0;
    let mut suspended = 0.0;
    while suspended < cycles {
        let count = rng.usize(200..2_500);
        world.publish("echo", "a", sent, count, 5_000).await;
        sent += count;
        // From well before the decision to well after it.
        tokio::time::sleep(std::time::Duration::from_millis(rng.u64(0..600))).await;
        suspended = world.drowse.metric("drowse_suspends_total", "suspended").await;
    }
    // It may sleep already while the last of them are yet to wake it. Marked as sent again or not, it is the same message.
    let mut counts = HashMap::new();
    for (message, count) in world.received_all("echo", sent).await {
        let number = message.split(' ').next().unwrap_or_default().to_owned();
        *counts.entry(number).or_insert(0) += count;
    }
    let lost = (0..sent).filter(|number| !counts.contains_key(&format!("a:{number}"))).count();
    let doubled = counts.values().filter(|count| **count > 1).count();
    assert_eq!((lost, doubled), (0, 0), "of {sent} messages in {suspended} suspensions");
    assert!(world.drowse.metric("drowse_messages_total", "delivered").await > 0.0);
    println!("{sent} messages through {suspended} suspensions");
}

/// An idle timeout that ends within the pauses between the bursts, and just after.
const BURSTS: &str = "messages: subject\nidle_timeout: 50ms\nmin_running: 0s\nmax_messages: 100000";

#[tokio::test(flavor = "multi_thread")]
async fn bursts_while_it_falls_asleep_are_neither_lost_nor_doubled() {
    let world = World::new(Servers::single(NEWEST).await, BURSTS).await;
    bursts(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_while_it_falls_asleep_are_neither_lost_nor_doubled_in_a_cluster() {
    let world = World::new(Servers::cluster(NEWEST).await, BURSTS).await;
    bursts(&world).await;
}

/// Another replica at the same servers, which resumes the agent and never suspends it: its own `echo` is a process that has
/// the first replica start the real one.
async fn follower(world: &World, link: usize) -> Drowse {
    let resume =
        format!("\"{PROGRAM}\" resume default/echo --admin http://{} && exec sleep 600", world.drowse.admin);
    let mut echo = Agent::demo("echo");
    echo.program = Some("sh".to_owned());
    echo.arguments = vec!["-c".to_owned(), resume];
    let defaults = format!("{BURSTS}\nready: messages");
    let other = Drowse::start_with(&[echo], &defaults, world.servers.section_at(link, QUICK)).await;
    eventually("its door is open", async || other.log().contains("the message door is open")).await;
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_that_two_replicas_hold_are_neither_lost_nor_doubled() {
    let world = World::new(Servers::single(NEWEST).await, BURSTS).await;
    let other = follower(&world, 0).await;
    bursts(&world).await;
    assert!(other.metric("drowse_messages_total", "delivered").await > 100.0, "it had its part");
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_that_two_replicas_hold_are_neither_lost_nor_doubled_in_a_cluster() {
    let world = World::new(Servers::cluster(NEWEST).await, BURSTS).await;
    let other = follower(&world, 1).await;
    bursts(&world).await;
    assert!(other.metric("drowse_messages_total", "delivered").await > 100.0, "it had its part");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_bounded_and_whoever_is_refused_is_told() {
    let slow = [talker("echo").with(&["--delay", "2s"])];
    let defaults = format!("{SHORT}\nmax_messages: 3");
    let world = World::with(Servers::single(NEWEST).await, &slow, &defaults, QUICK).await;
    world.publish("echo", "a", 0, 3, 1_000).await;
    let refused = world.request("echo").await;
    assert!(
        refused.contains("Nats-Service-Error-Code:[429]") && refused.contains("max_messages"),
        "{refused}"
    );
    assert_eq!(world.received("echo").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_start_and_one_that_a_person_suspended_are_told_at_once() {
    let broken = [talker("echo").with(&["--no-such-option"])];
    let world = World::with(Servers::single(NEWEST).await, &broken, SHORT, QUICK).await;
    let failed = world.request("echo").await;
    assert!(failed.contains("Nats-Service-Error-Code:[503]"), "{failed}");
    assert!(failed.contains("could not be resumed"), "{failed}");

    let world = World::new(Servers::single(NEWEST).await, SHORT).await;
    let (text, code) = world.drowse.command(&["suspend", "--stay", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    let refused = world.request("echo").await;
    assert!(refused.contains("Nats-Service-Error-Code:[409]"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_agent_keeps_the_answer_of_nats_itself() {
    let world = World::new(Servers::single(NEWEST).await, SHORT).await;
    let nobody = world.request("stranger").await;
    assert!(nobody.contains("no responders"), "{nobody}");
}
