//! Upgraded connections, byte for byte: what passes, in which order, and how they end.

use std::time::Duration;

use drowse::lifecycle::PhaseName;
use drowse::policy::rules::{Layer, RuleSet};
use drowse::policy::{OpenConnections, Policy};
use drowse::proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{Caller, PATIENCE, Played, Start, Toy, World, key, pattern, until};
use crate::support::http2::Http2;

const HOST: &str = "Host: echo.default.agents.localhost";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: ";
const IDLE: Duration = Duration::from_millis(600);

/// A masked text frame, a masked ping, and the close frame that Drowse sends.
const TEXT: [u8; 8] = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

fn asking(protocol: &str) -> String {
    format!("GET /t HTTP/1.1\n{HOST}\nConnection: keep-alive, Upgrade\nUpgrade: {protocol}\n\n")
}

fn policy(open_connections: OpenConnections) -> Policy {
    Policy {
        route: true,
        manage: true,
        idle_timeout: IDLE,
        min_running: Duration::ZERO,
        open_connections,
        ..Policy::default()
    }
}

/// A tunnel of this protocol: the caller's end and the agent's.
async fn tunnel(world: &World, toy: &mut Toy, protocol: &str) -> (Caller, Played) {
    let mut caller = world.caller().await;
    caller.send(&asking(protocol)).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send(&format!("{SWITCHED}{protocol}\n\n")).await;
    let head = caller.head().await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    (caller, agent)
}

/// An agent that falls asleep soon, with a WebSocket.
async fn idle_soon(open_connections: OpenConnections) -> (World, Caller, Played) {
    let mut toy = Toy::new().await;
    let start = Start { policy: policy(open_connections), asleep: true, ..Start::default() };
    let world = World::start(toy.port, start).await;
    let (caller, agent) = tunnel(&world, &mut toy, "websocket").await;
    (world, caller, agent)
}

impl Caller {
    async fn bytes(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        let reading = self.stream.read_to_end(&mut read);
        tokio::time::timeout(PATIENCE, reading).await.expect("the connection stays open").unwrap();
        read
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut read = vec![0; count];
        tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut read)).await.expect("silence").unwrap();
        read
    }
}

#[tokio::test]
async fn an_upgrade_reaches_its_agent_and_what_was_sent_early_only_after_the_101() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&(asking("Chat/1") + "early")).await;
    let mut agent = toy.accept().await;
    let head = agent.head().await;
    assert!(head.contains("\nupgrade: Chat/1\n") && head.contains("\nconnection: upgrade\n"), "{head}");
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    let before = agent.caller.stream.try_read(&mut [0; 8]);
    assert!(before.is_err(), "nothing follows the head before the 101: {before:?}");

    agent.caller.send(&format!("{SWITCHED}chat/1\nX-Theirs: 1\n\nfirst")).await;
    let head = caller.head().await;
    assert!(head.starts_with("http/1.1 101 switching protocols\n"), "{head}");
    for line in
        ["\nconnection: upgrade\n", "\nupgrade: chat/1\n", "\nx-theirs: 1\n", "\ndrowse-start: warm\n"]
    {
        assert!(head.contains(line), "{line:?} in {head}");
    }
    assert!(!head.contains("content-length"), "{head}");
    assert_eq!(caller.exactly(5).await, b"first");
    assert_eq!(agent.read(5).await, b"early");
    assert_eq!(world.in_flight(), 0, "a tunnel is no request in flight");
}

#[tokio::test]
async fn many_bytes_pass_in_both_directions_at_once_unharmed() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (caller, agent) = tunnel(&world, &mut toy, "raw").await;
    let sent = pattern(5_000_000);
    let pass = |stream: tokio::net::TcpStream| {
        let sent = sent.clone();
        async move {
            let (mut reader, mut writer) = stream.into_split();
            let mut read = Vec::new();
            let writing = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let ((), end) = tokio::join!(writing, reader.read_to_end(&mut read));
            end.unwrap();
            read
        }
    };
    let both = async { tokio::join!(pass(caller.stream), pass(agent.caller.stream)) };
    let (one, two) = tokio::time::timeout(PATIENCE, both).await.expect("it is stuck");
    assert!(one == sent && two == sent, "{} and {} bytes", one.len(), two.len());
}

#[tokio::test]
async fn a_side_that_has_nothing_more_to_say_may_still_listen() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = tunnel(&world, &mut toy, "raw").await;
    caller.stream.write_all(b"last").await.unwrap();
    caller.stream.shutdown().await.unwrap();
    assert_eq!(agent.caller.bytes().await, b"last");
    agent.caller.stream.write_all(b"answer").await.unwrap();
    assert_eq!(caller.exactly(6).await, b"answer");
    drop(agent);
    assert_eq!(caller.bytes().await, b"");
    until(|| world.engine.detail(&key()).unwrap().open_connections == 0).await;
}

#[tokio::test]
async fn either_side_that_leaves_ends_the_other() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, agent) = tunnel(&world, &mut toy, "websocket").await;
    drop(agent);
    assert_eq!(caller.bytes().await, b"");
    let (caller, mut agent) = tunnel(&world, &mut toy, "websocket").await;
    drop(caller);
    assert!(agent.is_closed().await);
}

#[tokio::test]
async fn another_answer_than_101_is_an_ordinary_one_and_keeps_both_connections() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&asking("websocket")).await;
    let mut agent = toy.accept().await;
    for _ in 0..2 {
        agent.head().await;
        agent.caller.send("HTTP/1.1 403 Forbidden\nContent-Length: 2\n\nno").await;
        assert!(caller.head().await.starts_with("http/1.1 403 forbidden\n"));
        caller.read_until("no").await;
        caller.send(&asking("websocket")).await;
    }
    agent.head().await;
    assert!(!toy.was_called(), "one connection carried all");
}

#[tokio::test]
async fn an_agent_that_switches_to_something_else_gets_no_tunnel() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&asking("websocket")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send(&format!("{SWITCHED}h2c\n\n")).await;
    assert!(caller.head().await.starts_with("http/1.1 502 "));
    assert!(agent.is_closed().await);
}

#[tokio::test]
async fn an_ambiguous_upgrade_is_refused_and_wakes_nobody() {
    let toy = Toy::new().await;
    let world = World::start(toy.port, Start { asleep: true, ..Start::default() }).await;
    let answer = world.ask(&asking("websocket\nUpgrade: h2c")).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\n"), "{answer}");
    assert!(answer.contains("one Upgrade field"), "{answer}");
    assert_eq!(world.backend.resumes(), 0);
}

#[tokio::test]
async fn an_idle_websocket_is_closed_with_1001_when_its_agent_is_suspended() {
    let (world, mut caller, _agent) = idle_soon(OpenConnections::Traffic).await;
    assert_eq!(world.backend.resumes(), 1);
    assert_eq!(caller.bytes().await, GOING_AWAY);
    assert_ne!(world.view().phase, PhaseName::Running);
}

#[tokio::test]
async fn in_the_middle_of_a_frame_or_after_a_close_frame_nothing_is_put_in() {
    for last in [&[0x82, 5, b'h'][..], &[0x88, 2, 0x03, 0xe8]] {
        let (_world, mut caller, mut agent) = idle_soon(OpenConnections::Traffic).await;
        agent.caller.stream.write_all(last).await.unwrap();
        assert_eq!(caller.bytes().await, last);
    }
}

#[tokio::test]
async fn another_protocol_is_closed_without_a_word() {
    let mut toy = Toy::new().await;
    let start = Start { policy: policy(OpenConnections::Traffic), asleep: true, ..Start::default() };
    let world = World::start(toy.port, start).await;
    let (mut caller, _agent) = tunnel(&world, &mut toy, "raw").await;
    assert_eq!(caller.bytes().await, b"");
}

#[tokio::test]
async fn data_from_either_side_keeps_the_agent_up_and_pings_do_not() {
    let (world, mut caller, mut agent) = idle_soon(OpenConnections::Traffic).await;
    for turn in 0..12 {
        tokio::time::sleep(IDLE / 4).await;
        let (from, to) =
            if turn % 2 == 0 { (&mut caller, &mut agent.caller) } else { (&mut agent.caller, &mut caller) };
        from.stream.write_all(&TEXT).await.unwrap();
        assert_eq!(to.exactly(TEXT.len()).await, TEXT);
        assert_eq!(world.view().phase, PhaseName::Running, "turn {turn}");
    }
    let (mut reader, mut writer) = caller.stream.into_split();
    let pinging = async {
        while writer.write_all(&PING).await.is_ok() {
            tokio::time::sleep(IDLE / 10).await;
        }
    };
    let mut read = Vec::new();
    let end = async {
        tokio::select! {
            () = pinging => panic!("it broke off"),
            end = reader.read_to_end(&mut read) => end,
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("pings keep it up").unwrap();
    assert_eq!(read, GOING_AWAY);
}

/// A WebSocket whose caller has sent something while the suspension of its agent was being written.
async fn sent_too_late() -> (World, tokio::sync::oneshot::Sender<()>, Caller, Played) {
    let mut toy = Toy::new().await;
    let start = Start { policy: policy(OpenConnections::Traffic), asleep: true, ..Start::default() };
    let world = World::start(toy.port, start).await;
    let suspension = world.backend.hold_next_suspend();
    let (mut caller, agent) = tunnel(&world, &mut toy, "websocket").await;
    until(|| world.view().phase == PhaseName::Draining).await;
    caller.stream.write_all(&TEXT).await.unwrap();
    until(|| world.engine.detail(&key()).unwrap().last_data.is_some()).await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    let early = agent.caller.stream.try_read(&mut [0; 8]);
    assert!(early.is_err(), "nothing is sent to an agent that falls asleep: {early:?}");
    (world, suspension, caller, agent)
}

#[tokio::test]
async fn what_is_sent_while_a_suspension_is_written_arrives_if_that_comes_to_nothing() {
    let (world, suspension, mut caller, mut agent) = sent_too_late().await;
    suspension.send(()).unwrap();
    assert_eq!(agent.read(TEXT.len()).await, TEXT);
    assert_eq!(world.view().phase, PhaseName::Running);
    agent.caller.stream.write_all(&TEXT).await.unwrap();
    assert_eq!(caller.exactly(TEXT.len()).await, TEXT);
}

#[tokio::test]
async fn what_is_sent_while_a_suspension_is_written_reaches_nobody_if_it_is_done() {
    let (world, _suspension, mut caller, mut agent) = sent_too_late().await;
    world.backend.suspend_by_person();
    assert_eq!(caller.bytes().await, GOING_AWAY);
    assert_eq!(agent.caller.bytes().await, b"");
    assert_eq!(world.backend.resumes(), 1, "it wakes nobody");
}

#[tokio::test]
async fn what_one_side_does_not_take_is_not_read_from_the_other() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = tunnel(&world, &mut toy, "raw").await;
    let (chunk, bound) = (pattern(251 * 1024), 128 << 20);
    let mut sent = 0;
    // What the sockets of this machine hold is some megabytes.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), caller.stream.write(&chunk[sent % chunk.len()..]))
            .await
    {
        sent += written.unwrap();
        assert!(sent < bound, "it takes everything");
    }
    caller.stream.shutdown().await.unwrap();
    let read = agent.caller.bytes().await;
    assert!(read == pattern(sent), "{} of {sent} bytes", read.len());
}

#[tokio::test]
async fn kept_connections_keep_the_agent_up_until_the_rule_is_another() {
    let (world, mut caller, _agent) = idle_soon(OpenConnections::Keep).await;
    tokio::time::sleep(IDLE * 3).await;
    let view = world.view();
    assert_eq!(view.phase, PhaseName::Running, "{}", view.reason);
    assert!(view.idle_deadline > Some(view.since + Policy::default().busy_cap), "{view:?}");
    assert!(view.reason.contains("open connections keep it up"), "{}", view.reason);
    let refused = world.engine.suspend(&key(), false).await.unwrap_err().to_string();
    assert!(refused.contains("open connections keep it up"), "{refused}");

    let rules = RuleSet::new(policy(OpenConnections::Ignore), Layer::default(), Vec::new());
    world.engine.reconfigure(rules, &Start::default().limits);
    assert_eq!(caller.bytes().await, GOING_AWAY);
}

#[tokio::test]
async fn ignored_connections_do_not_keep_the_agent_up_whatever_moves_on_them() {
    let (_world, mut caller, _agent) = idle_soon(OpenConnections::Ignore).await;
    let (mut reader, mut writer) = caller.stream.split();
    let sending = async {
        while writer.write_all(&TEXT).await.is_ok() {
            tokio::time::sleep(IDLE / 10).await;
        }
    };
    let mut read = Vec::new();
    let end = async {
        tokio::select! {
            () = sending => panic!("it broke off"),
            end = reader.read_to_end(&mut read) => end,
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("data keeps it up").unwrap();
    assert_eq!(read, GOING_AWAY);
}

#[tokio::test]
async fn a_tunnel_ends_with_the_life_that_it_leads_to() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = tunnel(&world, &mut toy, "websocket").await;
    world.backend.replace_pod();
    assert_eq!(caller.bytes().await, GOING_AWAY);
    assert!(agent.is_closed().await);
}

#[tokio::test]
async fn when_drowse_ends_a_tunnel_goes_on_for_the_drain_timeout_and_is_told() {
    let mut toy = Toy::new().await;
    let mut start = Start::default();
    start.settings = Settings { drain_timeout: Duration::from_millis(500), ..start.settings };
    let world = World::start(toy.port, start).await;
    let (mut caller, mut agent) = tunnel(&world, &mut toy, "websocket").await;
    world.shutdown.cancel();
    caller.stream.write_all(&TEXT).await.unwrap();
    assert_eq!(agent.read(TEXT.len()).await, TEXT);
    assert_eq!(caller.bytes().await, GOING_AWAY);
    drop(caller);
    tokio::time::timeout(PATIENCE, world.serving).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn an_answer_that_asks_for_another_protocol_says_which() {
    let fields =
        "Connection: Upgrade, X-Hop\nUpgrade: websocket\nUpgrade: foo/2\nX-Hop: 1\nContent-Length: 0";
    for (status, says) in [("426 Upgrade Required", true), ("400 Bad Request", false)] {
        let answer = format!("HTTP/1.1 {status}\n{fields}\n\n");
        let world = World::awake(Toy::answering(answer.leak()).await).await;
        let mut caller = world.caller().await;
        caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
        let head = caller.head().await;
        let said: Vec<_> = head
            .lines()
            .filter(|line| ["connection", "upgrade", "x-hop"].iter().any(|name| line.starts_with(name)))
            .collect();
        let expected = ["connection: upgrade", "upgrade: websocket", "upgrade: foo/2"];
        assert_eq!(said, if says { &expected[..] } else { &[] }, "{head}");
        let by_http2 = Http2::connect(world.address).await;
        let answer = by_http2.get("echo.default.agents.localhost", "/").await.unwrap().answer;
        assert_eq!(answer.status.to_string(), status[..3]);
        assert!(answer.header("connection").is_empty() && answer.header("upgrade").is_empty());
    }
}
