//! Messages that cannot be sent on, and senders that wake too many: an answer, and nobody is woken for it.

use std::time::Duration;

use async_nats::{Client, HeaderMap};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::servers::{NEWEST, Servers};
use super::world::{QUICK, SHORT, World, talker};
use crate::support::{PATIENCE, eventually};

const ASK: &str = "agents.default.echo.ask";

async fn asleep(world: &World, agent: &str) {
    world.drowse.wait_for_phase(agent, "Suspended").await;
}

/// The code of the error that a request gets.
async fn refused(client: &Client, payload: Vec<u8>) -> String {
    let answer = client.request(ASK, payload.into()).await.unwrap();
    let headers = answer.headers.unwrap_or_else(HeaderMap::new);
    headers.get("Nats-Service-Error-Code").map(ToString::to_string).unwrap_or_default()
}

/// Sends a request with these bytes as its headers, as no client library would, and gives the headers of its reply.
async fn ask_with_headers(world: &World, headers: &[u8]) -> String {
    let stream = TcpStream::connect(("127.0.0.1", world.servers.nodes[0].client)).await.unwrap();
    let mut stream = BufReader::new(stream);
    let hello = "CONNECT {\"verbose\":false,\"headers\":true,\"protocol\":1}\r\nSUB _INBOX.raw 1\r\n";
    let length = headers.len();
    let mut sent = format!("{hello}HPUB {ASK} _INBOX.raw {length} {length}\r\n").into_bytes();
    sent.extend_from_slice(headers);
    sent.extend_from_slice(b"\r\n");
    stream.write_all(&sent).await.unwrap();
    let reading = async {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            if line.starts_with("HMSG") {
                let length = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
                let mut reply = vec![0; length];
                stream.read_exact(&mut reply).await.unwrap();
                return String::from_utf8(reply).unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a reply")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_on_is_answered_and_wakes_nobody() {
    let world = World::new(Servers::single(NEWEST).await, SHORT).await;
    asleep(&world, "echo").await;
    let client = async_nats::connect(world.servers.urls()).await.unwrap();
    let most = client.server_info().max_payload;
    assert_eq!(refused(&client, vec![b'x'; most]).await, "413", "there is no room for what Drowse adds");
    for headers in
        [&b"NATS/1.0\r\nno colon\r\n\r\n"[..], b"NATS/1.0\r\nA: \xff\r\n\r\n", b"\x00\x01\x02\r\n\r\n"]
    {
        let reply = ask_with_headers(&world, headers).await;
        assert!(reply.contains("Nats-Service-Error-Code: 400"), "{reply}");
    }
    assert_eq!(world.drowse.phase("echo").await, "Suspended");
    assert!(world.drowse.metric("drowse_resumes_total", "").await < 1.0, "nobody was woken");
    assert_eq!(refused(&client, vec![b'x'; most - 200]).await, "", "one that fits is answered by the agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_wakes_too_many_is_told_or_put_off_and_harms_no_other() {
    let talkers = ["one", "two", "three"].map(talker);
    let settings = format!("{QUICK}  wakes_per_minute: 1\n");
    let world = World::with(Servers::single(NEWEST).await, &talkers, SHORT, &settings).await;
    for agent in ["one", "two", "three"] {
        asleep(&world, agent).await;
    }
    // All who want no reply are one sender.
    world.publish("one", "a", 0, 1, 1_000).await;
    world.publish("two", "a", 0, 1, 1_000).await;
    assert_eq!(world.received_all("one", 1).await.len(), 1);
    assert_eq!(world.drowse.phase("two").await, "Suspended");
    eventually("it waits", async || world.drowse.metric("drowse_held_messages", "").await > 0.5).await;

    let client = async_nats::connect(world.servers.urls()).await.unwrap();
    client.request("agents.default.two.ask", "".into()).await.unwrap();
    assert_eq!(
        world.received_all("two", 2).await.len(),
        2,
        "with the other sender's request, it is delivered"
    );
    let limited = client.request("agents.default.three.ask", "".into()).await.unwrap();
    let headers = limited.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "429");
    assert_eq!(world.drowse.phase("three").await, "Suspended");
    let other = async_nats::connect(world.servers.urls()).await.unwrap();
    assert!(
        other
            .request("agents.default.three.ask", "".into())
            .await
            .unwrap()
            .headers
            .is_none_or(|headers| { headers.get("Nats-Service-Error-Code").is_none() })
    );
}

/// An agent that does not come up before the test is over.
fn late() -> [super::world::Talker<'static>; 1] {
    [talker("echo").with(&["--delay", "1h"])]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_when_drowse_ends_learns_that_nobody_is_there() {
    let memory = format!("{QUICK}  hold: {{store: memory}}\n");
    let mut world = World::with(Servers::single(NEWEST).await, &late(), SHORT, &memory).await;
    let client = async_nats::connect(world.servers.urls()).await.unwrap();
    let asking = tokio::spawn(async move {
        let request = async_nats::Request::new().timeout(Some(PATIENCE));
        client.send_request(ASK, request).await.unwrap()
    });
    eventually("it waits", async || world.drowse.metric("drowse_held_messages", "").await > 0.5).await;
    assert_eq!(world.drowse.terminate().await, 0);
    let told =
        tokio::time::timeout(Duration::from_secs(5), asking).await.expect("an answer at once").unwrap();
    assert_eq!(told.headers.unwrap().get("Nats-Service-Error-Code").unwrap().as_str(), "503");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_drowse_ends_stays_in_the_stream_for_the_next() {
    let mut world = World::with(Servers::single(NEWEST).await, &late(), SHORT, QUICK).await;
    world.publish("echo", "a", 0, 20, 1_000).await;
    eventually("all are stored", async || world.stored().await == 20).await;
    assert_eq!(world.drowse.terminate().await, 0);
    assert_eq!(world.stored().await, 20);
}
