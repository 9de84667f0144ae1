//! Drowse dies, servers die, and all of them are upgraded: messages that wait are not lost, nothing hangs, and nobody is woken
//! or suspended for it.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::servers::{NEWEST, Servers, VERSIONS};
use super::world::{QUICK, SHORT, World, talker};

use crate::support::{Agent, Drowse, eventually, free_address};

/// An agent that takes so long to subscribe that whatever comes waits for a while.
fn slow() -> [super::world::Talker<'static>; 1] {
    [talker("echo").with(&["--delay", "3s"])]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_crash_of_drowse_in_the_hold_stream() {
    let mut world = World::with(Servers::single(NEWEST).await, &slow(), SHORT, QUICK).await;
    world.publish("echo", "a", 0, 500, 5_000).await;
    eventually("they wait", async || world.drowse.metric("drowse_held_messages", "").await > 499.0).await;
    // The last of them is in the stream a moment after it came.
    eventually("all are stored", async || world.stored().await == 500).await;
    world.drowse.crash().await;
    world.wait_until_open(2).await;
    let received = world.received_all("echo", 500).await;
    for number in 0..500 {
        assert_eq!(received.get(&format!("a:{number} 1")), Some(&1), "each once, and marked: {number}");
    }
    eventually("nothing is left in the stream", async || world.stored().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_stream_that_somebody_deletes_is_made_anew_with_what_waits() {
    let never = [talker("echo").with(&["--delay", "1h"])];
    let world = World::with(Servers::single(NEWEST).await, &never, SHORT, QUICK).await;
    world.publish("echo", "a", 0, 50, 5_000).await;
    eventually("all are stored", async || world.stored().await == 50).await;
    let client = async_nats::connect(world.servers.urls()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    for times in [1.0, 2.0] {
        jetstream.delete_stream("DROWSE_HOLD").await.unwrap();
        let lost = async || world.drowse.metric("drowse_hold_streams_lost_total", "").await;
        eventually("it is noticed", async || lost().await > times - 0.5).await;
        eventually("they are stored again", async || match jetstream.get_stream("DROWSE_HOLD").await {
            Ok(mut stream) => stream.info().await.unwrap().state.messages == 50,
            Err(_) => false,
        })
        .await;
    }
    // Their places are those in the new stream.
    world.publish("echo", "a", 50, 1, 5_000).await;
    eventually("and so is what comes", async || world.stored().await == 51).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_wakes_and_suspends_nobody_and_all_works_again() {
    let defaults = "messages: subject\nidle_timeout: 2s\nmin_running: 0s";
    let mut world =
        World::with(Servers::single(NEWEST).await, &[talker("echo"), talker("other")], defaults, QUICK).await;
    assert!(world.request("echo").await.starts_with("0: r:0 "));
    world.servers.kill(0).await;
    eventually("it is noticed", async || world.drowse.metric("drowse_nats_link_up", "").await < 1.0).await;
    // Longer than the idle timeout: whether messages come cannot be seen, so nobody is suspended.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert!(world.drowse.metric("drowse_suspends_total", "suspended").await < 1.0);
    assert_ne!(world.drowse.phase("echo").await, "Suspended");
    assert_eq!(world.drowse.phase("other").await, "Suspended");
    world.servers.restart(0).await;
    world.drowse.wait_for_phase("echo", "Suspended").await;
    assert_eq!(world.drowse.phase("other").await, "Suspended");
    assert!(world.request("other").await.starts_with("0: r:0 "));
    assert!(world.request("echo").await.starts_with("0: r:0 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_a_cluster_loses_no_request() {
    let mut world = World::new(Servers::cluster(NEWEST).await, SHORT).await;
    for node in 0..3 {
        world.servers.lame_duck(node);
        assert!(world.request("echo").await.starts_with("0: r:0 "), "one of the others answers");
        world.servers.kill(node).await;
        world.servers.restart(node).await;
        world.drowse.wait_for_phase("echo", "Suspended").await;
        let answer = world.request("echo").await;
        assert!(answer.starts_with("0: r:0 "), "after node {node}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_server_of_the_cluster_does_not_answer_nobody_is_suspended() {
    let world =
        World::new(Servers::cluster(NEWEST).await, "messages: subject\nidle_timeout: 1s\nmin_running: 0s")
            .await;
    world.drowse.wait_for_phase("echo", "Suspended").await;
    assert!(world.request("echo").await.starts_with("0: r:0 "));
    // Drowse and the agent may each be at this one or at another: it must be waited for in any case.
    world.servers.pause(2);
    // Longer than the idle timeout, and shorter than a server may be silent before it counts as gone.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_ne!(world.drowse.phase("echo").await, "Suspended");
    world.servers.resume(2);
    world.drowse.wait_for_phase("echo", "Suspended").await;
    // The servers find each other again in their own time.
    eventually("it is answered", async || world.request("echo").await.starts_with("0: r:0 ")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_gives_leaf_nodes_too_much_is_refused() {
    // The check of the server does not see it where both of our connections are to the same server.
    let servers = Servers::cluster(VERSIONS[0]).await;
    let world = World::start(servers, &[talker("echo")], SHORT, QUICK).await;
    eventually("it is refused", async || world.drowse.log().contains("must be 2.10.23 or newer")).await;
    assert!(world.drowse.metric("drowse_nats_link_up", "").await < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_for_clients_that_comes_after_the_link_is_waited_for() {
    let servers = Servers::single(NEWEST).await;
    let late = free_address();
    let server: SocketAddr = servers.urls().trim_start_matches("nats://").parse().unwrap();
    let section = servers.section(QUICK).replacen(&server.to_string(), &late.to_string(), 1);
    let drowse = Drowse::start_with(&[Agent::demo("echo")], SHORT, section).await;
    eventually("the link stands", async || drowse.log().contains("the leaf-node link is up")).await;

    let listener = TcpListener::bind(late).await.unwrap();
    let passing = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    eventually("the door opens", async || drowse.log().contains("the message door is open")).await;
    assert!(!drowse.log().contains("the message door stays closed"), "{}", drowse.log());
    passing.abort();
}
