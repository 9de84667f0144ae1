//! The end of a front door: for a while it serves whoever comes and asks to go elsewhere, then it takes nobody new, and lets end
//! what it has.

use std::io::Write as _;
use std::time::Duration;

use drowse::engine::Hold;
use drowse::lifecycle::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::{Caller, PATIENCE, Start, Toy, World, key, until};

const HOST: &str = "Host: echo.default.agents.localhost";
const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
/// Longer than any test: what happens while nobody new is sent any more.
const FOR_EVER: Duration = Duration::from_hours(1);

fn leaving_for(shutdown_delay: Duration) -> Start {
    let mut start = Start::default();
    start.settings.shutdown_delay = shutdown_delay;
    start
}

fn request() -> String {
    format!("GET / HTTP/1.1\n{HOST}\n\n")
}

impl World {
    fn begin_to_end(&self) {
        self.engine.begin_shutdown();
        self.shutdown.cancel();
    }

    /// Nobody new is taken any more.
    async fn until_closed(&self) {
        let waiting = async { while TcpStream::connect(self.address).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it still listens");
    }

    async fn has_ended(self) {
        tokio::time::timeout(PATIENCE, self.serving).await.expect("it ends").unwrap();
    }
}

impl Caller {
    /// Asks, and gives the head of the answer in lower case.
    async fn asks(&mut self) -> String {
        self.send(&request()).await;
        let head = self.head().await;
        self.read_until("ok").await;
        head
    }
}

#[tokio::test]
async fn who_comes_while_drowse_leaves_is_served_and_asked_to_connect_anew() {
    let world = World::start(Toy::answering(OK).await, leaving_for(FOR_EVER)).await;
    world.until_running().await;
    let (mut kept, mut idle) = (world.caller().await, world.caller().await);
    for caller in [&mut kept, &mut idle] {
        let head = caller.asks().await;
        assert!(!head.contains("\nconnection:"), "{head}");
    }
    world.begin_to_end();
    let mut new = world.caller().await;
    for caller in [&mut kept, &mut new] {
        let head = caller.asks().await;
        assert!(head.starts_with("http/1.1 200 ok\n") && head.contains("\nconnection: close\n"), "{head}");
        assert_eq!(caller.rest().await, "", "it closes");
    }
    // What we answer ourselves, too.
    let health = world.ask("GET /healthz HTTP/1.1\nHost: drowse.example\n\n").await;
    assert!(health.to_lowercase().contains("\nconnection: close\n"), "{health}");
    let head = idle.asks().await;
    assert!(
        head.contains("\nconnection: close\n"),
        "it was not closed under the hands of its caller: {head}"
    );
    assert!(!world.serving.is_finished());
}

#[tokio::test]
async fn an_upgrade_while_drowse_leaves_is_not_told_to_close() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, leaving_for(FOR_EVER)).await;
    world.until_running().await;
    world.begin_to_end();
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\nConnection: Upgrade\nUpgrade: toy\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: toy\n\n").await;
    let head = caller.head().await;
    assert!(head.starts_with("http/1.1 101 ") && head.contains("\nconnection: upgrade\n"), "{head}");
    agent.caller.send("hello").await;
    caller.read_until("hello").await;
}

#[tokio::test]
async fn who_has_to_wait_while_drowse_leaves_is_served_after_it_has_closed() {
    let mut start = leaving_for(Duration::from_millis(300));
    start.asleep = true;
    let world = World::start(Toy::answering(OK).await, start).await;
    let begin = world.backend.hold_next_start();
    world.begin_to_end();
    let mut caller = world.caller().await;
    caller.send(&request()).await;
    until(|| world.held() == 1).await;
    world.until_closed().await;
    assert_eq!(world.held(), 1);
    begin.send(()).unwrap();
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n") && answer.ends_with("\n\nok"), "{answer}");
    world.has_ended().await;
}

#[tokio::test]
async fn a_head_that_is_on_its_way_when_the_door_closes_is_served_even_if_it_has_to_wait() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    let (head, mut agent) = tokio::join!(caller.asks(), async {
        let mut agent = toy.accept().await;
        agent.head().await;
        agent.caller.send(OK).await;
        agent
    });
    assert!(head.starts_with("http/1.1 200 ok\n"), "{head}");
    caller.send("GET / HTTP/1.1\nHost: echo.def").await;
    // Served behind it, so the half head was read.
    let health = world.ask("GET /healthz HTTP/1.1\nHost: drowse.example\nConnection: close\n\n").await;
    assert!(health.starts_with("HTTP/1.1 200 OK\n"), "{health}");
    let begin = world.backend.hold_next_start();
    world.backend.replace_pod();
    assert!(agent.is_closed().await);
    world.begin_to_end();
    world.until_closed().await;
    caller.send("ault.agents.localhost\n\n").await;
    until(|| world.held() == 1).await;
    begin.send(()).unwrap();
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send(OK).await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    assert!(answer.to_lowercase().contains("\nconnection: close\n"), "{answer}");
    world.has_ended().await;
}

#[tokio::test]
async fn whom_the_system_has_connected_when_the_door_closes_is_served() {
    let world = World::awake(Toy::answering(OK).await).await;
    // Nothing else runs meanwhile, so none of them is taken.
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(world.address).unwrap();
            stream.write_all(request().replace('\n', "\r\n").as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    world.begin_to_end();
    for stream in callers {
        let mut caller = Caller { stream: TcpStream::from_std(stream).unwrap() };
        let answer = caller.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer:?}");
    }
    world.has_ended().await;
}

#[tokio::test]
async fn whoever_would_have_to_wait_when_time_is_up_is_refused_and_nobody_before() {
    let world = World::start(1, Start { asleep: true, ..Start::default() }).await;
    let slot = world.engine.slot(&key()).unwrap();
    let deadline = world.engine.clock().now() + PATIENCE;
    let hold = || world.engine.hold(&slot, Hold { port: None, wakes: true, deadline });
    let _begin = world.backend.hold_next_start();
    world.engine.begin_shutdown();
    let waiting = hold().expect("a place");
    world.engine.refuse_held();
    assert_eq!(waiting.await.err(), Some(Refusal::ShuttingDown));
    assert_eq!(hold().err(), Some(Refusal::ShuttingDown));
}

/// A caller who writes and reads frames of HTTP/2 (RFC 9113 §4.1).
struct Frames(TcpStream);

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

impl Frames {
    async fn connect(world: &World) -> Self {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut frames = Self(stream);
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// `GET /` from the agent, in the static table of RFC 7541 as far as it goes.
    async fn get(&mut self, stream: u32) {
        let host = b"echo.default.agents.localhost";
        let mut fields = vec![0x82, 0x86, 0x84, 0x01, u8::try_from(host.len()).unwrap()];
        fields.extend(host);
        // END_STREAM and END_HEADERS.
        self.send(HEADERS, 0x5, stream, &fields).await;
    }

    /// The next frame that is neither one of SETTINGS nor one of `WINDOW_UPDATE`; `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            let reading = tokio::time::timeout(PATIENCE, self.0.read_exact(&mut head));
            if reading.await.expect("silence").is_err() {
                return None;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match head[3] {
                SETTINGS if head[4] == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
                SETTINGS | 8 => {}
                kind => return Some(Frame { kind, flags: head[4], stream, payload }),
            }
        }
    }

    /// GOAWAY without an error, with this last stream.
    async fn is_told_to_go(&mut self, last: u32) {
        let frame = self.next().await.expect("a frame");
        assert_eq!((frame.kind, frame.stream), (GOAWAY, 0), "{frame:?}");
        assert_eq!(frame.payload[..8], [last.to_be_bytes(), 0_u32.to_be_bytes()].concat(), "{frame:?}");
    }

    /// The question whether the first GOAWAY was seen.
    async fn ping(&mut self) -> Vec<u8> {
        let frame = self.next().await.expect("a frame");
        assert_eq!((frame.kind, frame.flags & ACK), (PING, 0), "{frame:?}");
        frame.payload
    }

    /// The whole answer on this stream: a head with the status 200 of the static table, and `ok`.
    async fn is_answered(&mut self, stream: u32) {
        let head = self.next().await.expect("a frame");
        assert_eq!((head.kind, head.stream, head.payload[0]), (HEADERS, stream, 0x88), "{head:?}");
        let mut body = Vec::new();
        loop {
            let frame = self.next().await.expect("a frame");
            assert_eq!((frame.kind, frame.stream), (DATA, stream), "{frame:?}");
            body.extend(frame.payload);
            if frame.flags & 1 != 0 {
                break;
            }
        }
        assert_eq!(body, b"ok");
    }
}

#[tokio::test]
async fn http2_is_told_to_go_in_two_steps_and_what_is_asked_between_them_is_served() {
    const ANY: u32 = (1 << 31) - 1;
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, leaving_for(FOR_EVER)).await;
    world.until_running().await;
    let mut caller = Frames::connect(&world).await;
    caller.get(1).await;
    let mut first = toy.accept().await;
    first.head().await;
    world.begin_to_end();
    caller.is_told_to_go(ANY).await;
    let ping = caller.ping().await;
    // Sent before the caller knew.
    caller.get(3).await;
    let mut second = toy.accept().await;
    second.head().await;
    caller.send(PING, ACK, 0, &ping).await;
    caller.is_told_to_go(3).await;
    second.caller.send(OK).await;
    caller.is_answered(3).await;
    first.caller.send(OK).await;
    caller.is_answered(1).await;
    assert!(caller.next().await.is_none(), "it closes when both are answered");
}

#[tokio::test]
async fn http2_that_connects_while_drowse_leaves_is_served_before_it_is_told_to_go() {
    let world = World::start(Toy::answering(OK).await, leaving_for(FOR_EVER)).await;
    world.until_running().await;
    world.begin_to_end();
    let mut caller = Frames::connect(&world).await;
    // What is said after the first round would come before the second one ends.
    for question in [b"are you?", b"and now?"] {
        caller.send(PING, 0, 0, question).await;
        let frame = caller.next().await.expect("a frame");
        assert_eq!((frame.kind, frame.flags), (PING, ACK), "{frame:?}");
    }
    caller.get(1).await;
    let mut told = false;
    let mut answered = false;
    // In either order; it may be answered first.
    while let Some(frame) = caller.next().await {
        match frame.kind {
            GOAWAY => told = true,
            PING => caller.send(PING, ACK, 0, &frame.payload).await,
            DATA => answered |= frame.payload == b"ok",
            HEADERS => assert_eq!(frame.payload[0], 0x88, "{frame:?}"),
            _ => panic!("{frame:?}"),
        }
    }
    assert!(told && answered);
}
