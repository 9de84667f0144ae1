//! Server-sent events, byte for byte: what counts as data, and how a stream ends.

use std::time::Duration;

use drowse::lifecycle::PhaseName;
use drowse::policy::{OpenConnections, Policy};
use drowse::proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{Caller, PATIENCE, Played, Start, Toy, World, key, until};

const HOST: &str = "Host: echo.default.agents.localhost";
const GET: &str = "GET /events HTTP/1.1\nHost: echo.default.agents.localhost\n\n";
const STREAM: &str = "HTTP/1.1 200 OK\nContent-Type: text/event-stream\nTransfer-Encoding: chunked\n\n";
const IDLE: Duration = Duration::from_millis(600);
const EVENT: &str = "data: x\n\n";
const COMMENT: &str = ": still here\n\n";
const HALF: &str = "id: 7\ndata: first half\n";
/// The end of a body in chunks.
const END: &str = "0\r\n\r\n";

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

/// An agent that falls asleep soon, and sleeps.
async fn idle_soon(toy: &Toy, open_connections: OpenConnections) -> World {
    let start = Start { policy: policy(open_connections), asleep: true, ..Start::default() };
    World::start(toy.port, start).await
}

/// Asks, and is answered by this head: the caller's end and the agent's.
async fn answered(world: &World, toy: &mut Toy, request: &str, head: &str) -> (Caller, Played) {
    let mut caller = world.caller().await;
    caller.send(request).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send(head).await;
    let head = caller.head().await;
    assert!(head.contains(" 200 ok\n"), "{head}");
    (caller, agent)
}

async fn stream(world: &World, toy: &mut Toy) -> (Caller, Played) {
    answered(world, toy, GET, STREAM).await
}

fn open_connections(world: &World) -> u32 {
    world.engine.detail(&key()).unwrap().open_connections
}

fn event_streams(world: &World) -> String {
    let metrics = world.metrics.render();
    metrics.lines().find(|line| line.starts_with("drowse_event_streams ")).unwrap().to_owned()
}

fn chunk(text: &str) -> String {
    format!("{:X}\r\n{text}\r\n", text.len())
}

impl Played {
    async fn chunk(&mut self, text: &str) {
        self.caller.stream.write_all(chunk(text).as_bytes()).await.unwrap();
    }
}

impl Caller {
    /// The next bytes are one chunk of this.
    async fn gets(&mut self, text: &str) {
        let expected = chunk(text);
        let mut read = vec![0; expected.len()];
        tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut read)).await.expect("silence").unwrap();
        assert_eq!(String::from_utf8_lossy(&read), expected);
    }

    /// All that comes until the connection is closed, as it is.
    async fn all(&mut self) -> String {
        let mut read = Vec::new();
        let reading = self.stream.read_to_end(&mut read);
        let _end = tokio::time::timeout(PATIENCE, reading).await.expect("the connection stays open");
        String::from_utf8(read).unwrap()
    }

    /// What comes until the stream ends as it should.
    async fn until_end(&mut self) -> String {
        let mut read = Vec::new();
        while !read.ends_with(END.as_bytes()) {
            let byte = tokio::time::timeout(PATIENCE, self.stream.read_u8()).await.expect("silence");
            read.push(
                byte.unwrap_or_else(|_| panic!("broke off after {:?}", String::from_utf8_lossy(&read))),
            );
        }
        String::from_utf8(read).unwrap()
    }
}

#[tokio::test]
async fn a_stream_is_an_open_connection_and_no_request_in_flight() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = stream(&world, &mut toy).await;
    agent.chunk(EVENT).await;
    caller.gets(EVENT).await;
    assert_eq!((world.in_flight(), open_connections(&world)), (0, 1));
    assert_eq!(event_streams(&world), "drowse_event_streams 1");
    assert!(world.engine.detail(&key()).unwrap().last_data.is_some());
    drop(caller);
    assert!(agent.is_closed().await, "a caller that leaves frees everything at once");
    until(|| open_connections(&world) == 0 && event_streams(&world) == "drowse_event_streams 0").await;
}

#[tokio::test]
async fn events_keep_the_agent_up_through_a_wake_and_comments_do_not() {
    let mut toy = Toy::new().await;
    let world = idle_soon(&toy, OpenConnections::Traffic).await;
    let (mut caller, mut agent) = stream(&world, &mut toy).await;
    assert_eq!(world.backend.resumes(), 1);
    for turn in 0..12 {
        tokio::time::sleep(IDLE / 4).await;
        agent.chunk(EVENT).await;
        caller.gets(EVENT).await;
        let view = world.view();
        assert_eq!((view.phase, view.in_flight), (PhaseName::Running, 0), "turn {turn}");
    }
    let view = world.view();
    assert!(view.reason.contains("data moved on an open connection"), "{}", view.reason);
    let commenting = async {
        loop {
            agent.chunk(COMMENT).await;
            tokio::time::sleep(IDLE / 10).await;
        }
    };
    let read = tokio::select! {
        () = commenting => unreachable!(),
        read = caller.until_end() => read,
    };
    assert_eq!(read, chunk(COMMENT).repeat(read.matches("still").count()) + END);
    assert_ne!(world.view().phase, PhaseName::Running);
    assert!(agent.is_closed().await);
}

#[tokio::test]
async fn a_comment_that_comes_in_two_parts_is_one_comment() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = stream(&world, &mut toy).await;
    for part in ["\u{feff}:", "still ", "here: data\r", "\n\r\n"] {
        agent.chunk(part).await;
        caller.gets(part).await;
    }
    assert_eq!(world.engine.detail(&key()).unwrap().last_data, None);
}

#[tokio::test]
async fn a_stream_ends_with_its_agent_where_no_event_is_cut_in_two() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = stream(&world, &mut toy).await;
    agent.chunk(EVENT).await;
    caller.gets(EVENT).await;
    world.backend.suspend_by_person();
    assert_eq!(caller.until_end().await, END);
    assert!(agent.is_closed().await);
    // The caller's connection is as good as new.
    caller.send(GET).await;
    assert!(caller.head().await.starts_with("http/1.1 409 "));
}

#[tokio::test]
async fn a_stream_that_ends_with_its_agent_in_the_middle_of_an_event_breaks_off() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = stream(&world, &mut toy).await;
    agent.chunk(HALF).await;
    caller.gets(HALF).await;
    world.backend.suspend_by_person();
    assert_eq!(caller.all().await, "", "no end that makes it look whole");
    assert!(agent.is_closed().await);
}

#[tokio::test]
async fn a_stream_that_its_agent_ends_leaves_both_connections_for_the_next_request() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = stream(&world, &mut toy).await;
    agent.chunk(EVENT).await;
    agent.caller.stream.write_all(END.as_bytes()).await.unwrap();
    assert_eq!(caller.until_end().await, chunk(EVENT) + END);
    until(|| open_connections(&world) == 0).await;
    caller.send(GET).await;
    agent.head().await;
    assert!(!toy.was_called(), "one connection carried both");
}

#[tokio::test]
async fn an_agent_that_breaks_off_while_it_is_up_breaks_the_stream_off() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = stream(&world, &mut toy).await;
    agent.chunk(EVENT).await;
    drop(agent);
    assert_eq!(caller.all().await, chunk(EVENT));
    until(|| open_connections(&world) == 0).await;
}

#[tokio::test]
async fn where_only_the_close_says_that_a_stream_ends_half_an_event_is_not_the_end() {
    for (sent, whole) in [(EVENT, true), (HALF, false)] {
        let mut toy = Toy::new().await;
        let world = World::awake(toy.port).await;
        let head = "HTTP/1.1 200 OK\nContent-Type: text/event-stream\n\n";
        let (mut caller, mut agent) = answered(&world, &mut toy, GET, head).await;
        agent.caller.stream.write_all(sent.as_bytes()).await.unwrap();
        drop(agent);
        let expected = chunk(sent);
        caller.gets(sent).await;
        if whole {
            assert_eq!(caller.until_end().await, END, "{expected}");
        } else {
            assert_eq!(caller.all().await, "", "{expected}");
        }
    }
}

#[tokio::test]
async fn all_of_a_compressed_stream_is_data_and_where_it_stands_nobody_knows() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let head = STREAM.replace("Content-Type", "Content-Encoding: gzip\nContent-Type");
    let (mut caller, mut agent) = answered(&world, &mut toy, GET, &head).await;
    agent.chunk(COMMENT).await;
    caller.gets(COMMENT).await;
    assert!(world.engine.detail(&key()).unwrap().last_data.is_some());
    world.backend.suspend_by_person();
    assert_eq!(caller.all().await, "");
}

#[tokio::test]
async fn what_its_caller_does_not_take_is_not_read_from_the_agent() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = stream(&world, &mut toy).await;
    let (sending, bound) = (chunk(&format!("data: {}\n\n", "x".repeat(60_000))), 64 << 20);
    let mut sent = 0;
    // What the sockets of this machine hold is some megabytes.
    while let Ok(written) = tokio::time::timeout(
        Duration::from_millis(500),
        agent.caller.stream.write(&sending.as_bytes()[sent % sending.len()..]),
    )
    .await
    {
        sent += written.unwrap();
        assert!(sent < bound, "it takes everything");
    }
    let mut read = vec![0; sent];
    tokio::time::timeout(PATIENCE, caller.stream.read_exact(&mut read)).await.expect("it is stuck").unwrap();
}

#[tokio::test]
async fn when_drowse_ends_a_stream_goes_on_for_the_drain_timeout_and_then_ends() {
    for (last, end) in [(EVENT, END), (HALF, "")] {
        let mut toy = Toy::new().await;
        let mut start = Start::default();
        start.settings = Settings { drain_timeout: Duration::from_millis(500), ..start.settings };
        let world = World::start(toy.port, start).await;
        let (mut caller, mut agent) = stream(&world, &mut toy).await;
        world.shutdown.cancel();
        agent.chunk(last).await;
        caller.gets(last).await;
        assert_eq!(caller.all().await, end);
        tokio::time::timeout(PATIENCE, world.serving).await.expect("it ends").unwrap();
    }
}

#[tokio::test]
async fn of_two_streams_one_may_leave_and_both_end_with_the_agent() {
    let mut toy = Toy::new().await;
    let world = idle_soon(&toy, OpenConnections::Traffic).await;
    let (first, mut first_agent) = stream(&world, &mut toy).await;
    let (mut second, mut second_agent) = stream(&world, &mut toy).await;
    let (mut third, _third_agent) = stream(&world, &mut toy).await;
    assert_eq!(open_connections(&world), 3);
    drop(first);
    assert!(first_agent.is_closed().await);
    until(|| open_connections(&world) == 2).await;
    second_agent.chunk(EVENT).await;
    second.gets(EVENT).await;
    assert_eq!((second.until_end().await, third.until_end().await), (END.to_owned(), END.to_owned()));
    assert_eq!(world.backend.resumes(), 1);
}

#[tokio::test]
async fn a_caller_with_http_1_0_gets_a_stream_that_ends_with_its_connection() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let request = GET.replace("HTTP/1.1", "HTTP/1.0");
    let (mut caller, mut agent) = answered(&world, &mut toy, &request, STREAM).await;
    assert_eq!((world.in_flight(), open_connections(&world)), (0, 1));
    agent.chunk(EVENT).await;
    let mut read = vec![0; EVENT.len()];
    tokio::time::timeout(PATIENCE, caller.stream.read_exact(&mut read)).await.expect("silence").unwrap();
    assert_eq!(read, EVENT.as_bytes());
    world.backend.suspend_by_person();
    assert_eq!(caller.all().await, "");
}

#[tokio::test]
async fn a_head_request_opens_no_stream() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, mut agent) = answered(&world, &mut toy, &GET.replace("GET", "HEAD"), STREAM).await;
    until(|| world.in_flight() == 0).await;
    assert_eq!(open_connections(&world), 0);
    caller.send(GET).await;
    agent.head().await;
}

#[tokio::test]
async fn what_is_no_stream_stays_in_flight_until_its_last_byte() {
    let post = format!("POST /events HTTP/1.1\n{HOST}\nContent-Length: 0\n\n");
    let measured = "HTTP/1.1 200 OK\nContent-Type: text/event-stream\nContent-Length: 9\n\n";
    let lines = STREAM.replace("text/event-stream", "application/x-ndjson");
    for (request, head) in [(post.as_str(), STREAM), (GET, measured), (GET, &lines)] {
        let mut toy = Toy::new().await;
        let world = World::awake(toy.port).await;
        let (mut caller, mut agent) = answered(&world, &mut toy, request, head).await;
        assert_eq!((world.in_flight(), open_connections(&world)), (1, 0), "{request}{head}");
        let rest = if head == measured { EVENT.to_owned() } else { chunk(EVENT) + END };
        agent.caller.stream.write_all(rest.as_bytes()).await.unwrap();
        until(|| world.in_flight() == 0).await;
        let mut read = vec![0; rest.len()];
        tokio::time::timeout(PATIENCE, caller.stream.read_exact(&mut read)).await.expect("silence").unwrap();
        assert_eq!(read, rest.as_bytes());
    }
}

#[tokio::test]
async fn events_that_are_ignored_or_must_not_wake_keep_nobody_up() {
    let ignored = policy(OpenConnections::Ignore);
    let quiet = Policy { must_not_wake: vec!["/events".to_owned()], ..policy(OpenConnections::Keep) };
    for policy in [ignored, quiet] {
        let mut toy = Toy::new().await;
        let world = World::start(toy.port, Start { policy, ..Start::default() }).await;
        world.until_running().await;
        let (mut caller, mut agent) = stream(&world, &mut toy).await;
        let sending = async {
            loop {
                agent.chunk(EVENT).await;
                tokio::time::sleep(IDLE / 10).await;
            }
        };
        let read = tokio::select! {
            () = sending => unreachable!(),
            read = caller.until_end() => read,
        };
        assert!(read.starts_with(&chunk(EVENT)), "{read}");
        assert_eq!(world.backend.resumes(), 0);
    }
}

#[tokio::test]
async fn a_stream_that_is_kept_without_data_counts_for_the_busy_cap() {
    let mut toy = Toy::new().await;
    let policy = Policy { busy_cap: IDLE * 3, ..policy(OpenConnections::Keep) };
    let world = World::start(toy.port, Start { policy, asleep: true, ..Start::default() }).await;
    let (mut caller, _agent) = stream(&world, &mut toy).await;
    tokio::time::sleep(IDLE * 2).await;
    let view = world.view();
    assert_eq!(view.phase, PhaseName::Running, "{}", view.reason);
    assert!(view.reason.contains("without data, for "), "{}", view.reason);
    assert_eq!(caller.until_end().await, END);
    assert_ne!(world.view().phase, PhaseName::Running);
}
