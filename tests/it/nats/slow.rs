//! Whoever does not read is disconnected by the server (a slow consumer): be it Drowse or an agent, nothing hangs, and nobody is
//! woken or suspended for it.

use std::collections::HashMap;

use rustix::process::Signal;

use super::servers::{NEWEST, OLDEST_CLUSTER, Servers};
use super::world::{QUICK, World, talker};
use crate::support::{eventually, signal};

const DEFAULTS: &str = "messages: subject\nidle_timeout: 300ms\nmin_running: 0s\nmax_messages: 100000";
/// More than fits into the buffers of a connection.
const FLOOD: usize = 4_000;
const SIZE: &str = "8000";
/// A server that soon loses its patience.
const STRICT: &str = "write_deadline: 1s\nmax_pending: 1MB\nping_interval: 60s";

async fn world(version: &str, more: &str) -> World {
    let servers = Servers::start(version, 1, more).await;
    World::with(servers, &[talker("echo"), talker("other")], DEFAULTS, QUICK).await
}

impl World {
    /// Large messages `flood:0` and so on.
    async fn flood(&self) {
        let (subject, count) = ("agents.default.echo.note", FLOOD.to_string());
        let what =
            ["publish", "--subject", subject, "--sender", "flood", "--count", &count, "--rate", "5000"];
        let printed = self.client(&[&what[..], &["--size", SIZE]].concat()).await;
        assert_eq!(printed.trim(), count, "they were sent");
    }

    /// Puts the process of an agent that is up, or that this wakes, to a halt.
    async fn freeze(&self, agent: &str) -> u32 {
        let answer = self.request(agent).await;
        let pid = answer.split("Pid:[").nth(1).and_then(|rest| rest.split(']').next());
        let pid = pid.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("{answer}"));
        signal(pid, Signal::STOP);
        pid
    }

    async fn resumes(&self) -> f64 {
        self.drowse.metric("drowse_resumes_total", "").await
    }
}

/// How many messages of the flood have arrived. None came twice, and those that are lost are the last ones.
fn first_of_the_flood(received: &HashMap<String, usize>) -> usize {
    assert_eq!(received.values().find(|count| **count != 1), None, "doubled");
    let count = received.keys().filter(|message| message.starts_with("flood:")).count();
    let missing = (0..count).find(|number| !received.contains_key(&format!("flood:{number}")));
    assert_eq!(missing, None, "lost, though later ones arrived");
    count
}

fn has_all(received: &HashMap<String, usize>, sender: &str, count: usize) -> bool {
    (0..count).all(|number| received.contains_key(&format!("{sender}:{number}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_not_read_is_lost_and_made_anew() {
    for version in [OLDEST_CLUSTER, NEWEST] {
        let world = world(version, STRICT).await;
        for agent in ["echo", "other"] {
            world.drowse.wait_for_phase(agent, "Suspended").await;
        }
        let resumes = world.resumes().await;
        signal(world.drowse.pid(), Signal::STOP);
        world.flood().await;
        eventually("the server gives up", async || {
            world.servers.log(0).contains("Leafnode connection closed: Slow Consumer")
        })
        .await;
        signal(world.drowse.pid(), Signal::CONT);
        eventually("the link is up again", async || {
            world.drowse.log().matches("the leaf-node link is up").count() == 2
        })
        .await;
        world.publish("echo", "later", 0, 100, 5_000).await;
        assert!(world.request("echo").await.starts_with("0: r:0 "), "{version}");
        let received = world.received("echo").await;
        assert!(has_all(&received, "later", 100), "{version}: whatever is sent then arrives");
        let count = first_of_the_flood(&received);
        println!("{version}: {count} of {FLOOD} had been taken over the link");
        assert!(count < FLOOD, "{version}: the server dropped none");
        assert!(world.resumes().await <= resumes + 2.5, "{version}: echo alone was woken");
        assert_eq!(world.drowse.phase("other").await, "Suspended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_behind_is_not_suspended() {
    let world = world(NEWEST, "ping_interval: 60s\nwrite_deadline: 60s").await;
    let pid = world.freeze("echo").await;
    world.flood().await;
    // Others come and go meanwhile, as it would.
    for _ in 0..3 {
        assert!(world.request("other").await.starts_with("0: r:0 "));
        world.drowse.wait_for_phase("other", "Suspended").await;
    }
    // It may be about to be, and then be found to be behind.
    let phase = world.drowse.phase("echo").await;
    assert!(["Running", "Draining"].contains(&phase.as_str()), "{phase}");
    signal(pid, Signal::CONT);
    assert_eq!(first_of_the_flood(&world.received("echo").await), FLOOD);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_the_server_disconnects_gets_what_comes_later_once() {
    for version in [OLDEST_CLUSTER, NEWEST] {
        let world = world(version, STRICT).await;
        world.drowse.wait_for_phase("other", "Suspended").await;
        let pid = world.freeze("echo").await;
        let resumes = world.resumes().await;
        world.flood().await;
        eventually("the server gives up", async || world.servers.log(0).contains("Slow Consumer Detected"))
            .await;
        world.publish("echo", "later", 0, 100, 5_000).await;
        eventually("they wait", async || world.drowse.metric("drowse_held_messages", "").await > 99.0).await;
        assert_eq!(world.drowse.phase("echo").await, "Running");
        signal(pid, Signal::CONT);
        let received = world.received("echo").await;
        assert!(has_all(&received, "later", 100), "{version}: whatever is sent then arrives");
        assert_eq!(received.values().find(|count| **count != 1), None, "{version}: doubled");
        assert!(world.resumes().await < resumes + 0.5, "{version}: nobody was woken");
        assert_eq!(world.drowse.phase("other").await, "Suspended");
    }
}
