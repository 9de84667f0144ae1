//! Queue groups: the agent's own is learned, also when it subscribed before it was known; that of others is not, and nothing is
//! handled twice without a mark.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::servers::{NEWEST, Servers};
use super::world::{QUICK, SHORT, World};
use crate::support::{Agent, Drowse, PATIENCE, eventually};

const ALL: &str = "agents.default.echo.>";
const NOTE: &str = "agents.default.echo.note";

/// An agent whose messages the test takes itself.
async fn drowse(servers: &Servers, messages: &str) -> (Drowse, Client) {
    let defaults = format!("messages: {messages}\nidle_timeout: 1h\nmin_running: 0s");
    let drowse = Drowse::start_with(&[Agent::demo("echo")], &defaults, servers.section(QUICK)).await;
    eventually("the door is open", async || drowse.log().contains("the message door is open")).await;
    (drowse, async_nats::connect(servers.urls()).await.unwrap())
}

async fn subscribe(client: &Client, queue: &str) -> Subscriber {
    let subscriber = client.queue_subscribe(ALL, queue.to_owned()).await.unwrap();
    client.flush().await.unwrap();
    subscriber
}

fn learned(drowse: &Drowse, queue: &str) -> bool {
    let log = drowse.log();
    let mut lines = log.lines().filter(|line| line.contains("in another queue group than was thought"));
    lines.any(|line| line.contains(queue))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_group_is_learned_of_an_agent_that_subscribed_before_messages_woke_it() {
    let servers = Servers::single(NEWEST).await;
    let (drowse, client) = drowse(&servers, "\"off\"").await;
    let (text, code) = drowse.command(&["resume", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    drowse.wait_for_phase("echo", "Running").await;
    let _subscribed = subscribe(&client, "workers").await;
    // The server has told of the first when it tells of the second: of this one Drowse knows the agent.
    drowse.edit_defaults("messages: subject\nidle_timeout: 1h\nmin_running: 0s");
    eventually("it is learned", async || learned(&drowse, "workers")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_in_another_queue_group_does_not_take_the_place_of_an_agent_that_sleeps() {
    let world = World::new(Servers::single(NEWEST).await, SHORT).await;
    let client = async_nats::connect(world.servers.urls()).await.unwrap();
    let _audit = subscribe(&client, "audit").await;
    for _ in 0..2 {
        let answer = world.request("echo").await;
        assert!(answer.starts_with("0: r:0 "), "{answer}");
        world.drowse.wait_for_phase("echo", "Suspended").await;
    }
    assert!(!learned(&world.drowse, "audit"), "{}", world.drowse.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_queue_group_is_learned_nothing_comes_twice_without_a_mark() {
    let servers = Servers::single(NEWEST).await;
    let (drowse, client) = drowse(&servers, "subject\nmax_messages: 100000").await;
    let (stop, caller) = (CancellationToken::new(), async_nats::connect(servers.urls()).await.unwrap());
    let sending = tokio::spawn(send_until(stop.clone(), caller));
    let held = async || drowse.metric("drowse_held_messages", "").await;
    eventually("messages wait", async || held().await > 100.0).await;
    drowse.wait_for_phase("echo", "Running").await;
    let mut agent = subscribe(&client, "workers").await;
    let mut unmarked: HashMap<String, usize> = HashMap::new();
    let mut take = |message: &async_nats::Message| {
        let number = String::from_utf8_lossy(&message.payload).into_owned();
        let headers = message.headers.as_ref();
        let is_marked = headers.is_some_and(|headers| headers.get("Drowse-Redelivered").is_some());
        let times = unmarked.entry(number).or_default();
        *times += usize::from(!is_marked);
        assert!(*times < 2, "it came twice, and nothing says so");
        unmarked.len()
    };
    let all = async {
        let mut seen = 0;
        while seen < 2_000 {
            seen = take(&agent.next().await.unwrap());
        }
        stop.cancel();
        let count = sending.await.unwrap();
        while seen < count {
            seen = take(&agent.next().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all come");
    eventually("nothing waits any more", async || held().await < 0.5).await;
    // Behind whatever was sent on until now.
    client.publish(NOTE, "end".into()).await.unwrap();
    let rest = async {
        loop {
            let message = agent.next().await.unwrap();
            if *message.payload == *b"end" {
                return;
            }
            take(&message);
        }
    };
    tokio::time::timeout(PATIENCE, rest).await.expect("the end comes");
}

/// Numbered messages, some thousands a second; how many.
async fn send_until(stop: CancellationToken, caller: Client) -> usize {
    let mut count = 0;
    while !stop.is_cancelled() {
        for _ in 0..20 {
            caller.publish(NOTE, count.to_string().into()).await.unwrap();
            count += 1;
        }
        caller.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    count
}
