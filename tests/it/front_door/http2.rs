//! Callers with HTTP/2: what their requests become, how many share a connection, and how each of them ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use drowse::lifecycle::PhaseName;
use drowse::policy::Policy;
use drowse::proxy::Settings;
use futures_util::future::join_all;
use hyper::body::Frame;
use hyper::ext::Protocol;
use hyper::{Method, Request, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::world::{PATIENCE, Played, Start, Toy, World, until};
use crate::support::http2::{Body, Http2, empty, frames, full, piecewise, uri, whole};

const HOST: &str = "echo.default.agents.localhost";
const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

fn get(path: &str) -> Request<Body> {
    Request::get(uri(HOST, path)).body(empty()).unwrap()
}

/// RFC 8441 §4.
fn connect(protocol: &'static str) -> Request<Body> {
    Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(uri(HOST, "/chat"))
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static(protocol))
        .body(empty())
        .unwrap()
}

fn asleep() -> Start {
    Start { asleep: true, ..Start::default() }
}

fn settings(idle: Duration) -> Settings {
    Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        idle_connection_timeout: idle,
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_request_becomes_one_of_http_1_1() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let caller = Http2::connect(world.address).await;
    let request = Request::post(uri(HOST, "/a%2fb?c"))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-proto", "gopher")
        .header("expect", "100-continue")
        .body(full("body"))
        .unwrap();
    let playing = async {
        let mut agent = toy.accept().await;
        let head = agent.head().await;
        assert_eq!(agent.read(4).await, b"body");
        agent.caller.send(OK).await;
        head
    };
    let (answer, head) = tokio::join!(caller.ask(request), playing);
    assert_eq!(answer.unwrap().answer.text(), "ok");
    let head = head.to_lowercase();
    assert!(head.starts_with("post /a%2fb?c http/1.1\n"), "{head}");
    for line in [
        "host: echo.default.agents.localhost",
        "cookie: a=1; b=2",
        "te: trailers",
        "connection: te",
        "via: 2.0 drowse",
        "x-forwarded-proto: http",
        "content-length: 4",
    ] {
        assert!(head.lines().any(|other| other == line), "{line} in {head}");
    }
    assert_eq!(head.matches("cookie:").count(), 1, "{head}");
    assert!(!head.contains("expect"), "nobody would answer it: {head}");
}

#[tokio::test]
async fn a_body_without_a_length_goes_on_in_chunks_as_it_comes() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let caller = Http2::connect(world.address).await;
    let (pieces, body) = piecewise();
    let sending = caller.send(Request::post(uri(HOST, "/")).body(body).unwrap());
    let playing = async {
        pieces.send(Frame::data(Bytes::from_static(b"one"))).await.unwrap();
        let mut agent = toy.accept().await;
        let head = agent.head().await.to_lowercase();
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        assert_eq!(agent.read(8).await, b"3\r\none\r\n");
        pieces.send(Frame::data(Bytes::from_static(b"four"))).await.unwrap();
        assert_eq!(agent.read(9).await, b"4\r\nfour\r\n");
        drop(pieces);
        assert_eq!(agent.read(5).await, b"0\r\n\r\n");
        agent.caller.send(OK).await;
    };
    let (response, ()) = tokio::join!(sending, playing);
    assert_eq!(whole(response.unwrap()).await.unwrap().answer.text(), "ok");
}

#[tokio::test]
async fn a_body_that_is_taken_back_half_way_is_no_whole_one_whatever_reason_is_given() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL] {
        let (mut sender, _driver) = frames(world.address).await;
        let request = Request::post(uri(HOST, "/")).body(()).unwrap();
        let (_answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"half"), false).unwrap();
        let mut agent = toy.accept().await;
        agent.head().await;
        assert_eq!(agent.read(9).await, b"4\r\nhalf\r\n");
        body.send_reset(reason);
        assert!(agent.is_closed().await, "an end by {reason:?}");
        until(|| world.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let caller = Http2::connect(world.address).await;
    let (pieces, body) = piecewise();
    let asking = caller.ask(Request::get(uri(HOST, "/")).body(body).unwrap());
    let playing = async {
        pieces.send(Frame::data(Bytes::from_static(b"body"))).await.unwrap();
        drop(pieces);
        let mut agent = toy.accept().await;
        agent.head().await;
        assert_eq!(agent.read(14).await, b"4\r\nbody\r\n0\r\n\r\n");
        agent.caller.send(OK).await;
    };
    let (answer, ()) = tokio::join!(asking, playing);
    assert_eq!(answer.unwrap().answer.status, 200);
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_and_reaches_nobody() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, asleep()).await;
    let caller = Http2::connect(world.address).await;
    let other = "other.default.agents.localhost";
    for (request, status) in [
        (Request::get(uri(HOST, "/")).header("host", other), 400),
        (Request::get(uri(HOST, "/")).header("host", HOST).header("host", HOST), 400),
        (Request::get(uri(HOST, "/")).header("x-sandbox-id", "other"), 400),
        (Request::get(uri(other, "/")), 404),
    ] {
        let answer = caller.ask(request.body(empty()).unwrap()).await.unwrap().answer;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.header("content-type").contains("json"));
    }
    assert_eq!(world.backend.resumes.load(Ordering::SeqCst), 0);
    assert!(!toy.was_called());
    let same = Request::get(uri(HOST, "/")).header("host", format!("{HOST}:80")).body(empty()).unwrap();
    let playing = async {
        let mut agent = toy.accept().await;
        agent.head().await;
        agent.caller.send(OK).await;
    };
    let (answer, ()) = tokio::join!(caller.ask(same), playing);
    assert_eq!(answer.unwrap().answer.status, 200, "the same host, with the port that it has anyway");
}

#[tokio::test]
async fn many_requests_of_one_connection_wait_for_one_start_and_are_all_served() {
    let port = Toy::answering(OK).await;
    let world = World::start(port, asleep()).await;
    let start = world.backend.hold_next_start();
    let caller = Http2::connect(world.address).await;
    let calls = (0..150).map(|_| caller.ask(get("/")));
    let begin = async {
        until(|| world.held() == 150).await;
        start.send(()).unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(calls), begin);
    for answer in answers {
        let answer = answer.unwrap().answer;
        assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"));
    }
    assert_eq!(world.backend.resumes.load(Ordering::SeqCst), 1);
    until(|| world.in_flight() == 0).await;
}

#[tokio::test]
async fn a_request_that_is_taken_back_frees_its_place_and_leaves_the_others() {
    let port = Toy::answering(OK).await;
    let world = World::start(port, asleep()).await;
    let start = world.backend.hold_next_start();
    let caller = Http2::connect(world.address).await;
    let mut staying = Box::pin(caller.ask(get("/")));
    let mut leaving = Box::pin(caller.ask(get("/")));
    tokio::select! {
        _ = &mut staying => panic!("it is held"),
        _ = &mut leaving => panic!("it is held"),
        () = until(|| world.held() == 2) => {}
    }
    drop(leaving);
    tokio::select! {
        _ = &mut staying => panic!("it is held"),
        () = until(|| world.held() == 1) => {}
    }
    start.send(()).unwrap();
    assert_eq!(staying.await.unwrap().answer.status, 200);
}

#[tokio::test]
async fn a_request_that_is_taken_back_in_flight_leaves_its_agent_at_once() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let caller = Http2::connect(world.address).await;
    let mut leaving = Box::pin(caller.ask(get("/")));
    let mut agent = tokio::select! {
        _ = &mut leaving => panic!("nobody has answered"),
        agent = toy.accept() => agent,
    };
    agent.head().await;
    assert_eq!(world.in_flight(), 1);
    drop(leaving);
    assert!(agent.is_closed().await);
    until(|| world.in_flight() == 0).await;
    assert!(!caller.is_over());
}

#[tokio::test]
async fn a_connection_that_breaks_takes_its_requests_with_it() {
    let port = Toy::answering(OK).await;
    let world = World::start(port, asleep()).await;
    let _start = world.backend.hold_next_start();
    let caller = Http2::connect(world.address).await;
    let mut held = Box::pin(caller.ask(get("/")));
    tokio::select! {
        _ = &mut held => panic!("it is held"),
        () = until(|| world.held() == 1) => {}
    }
    drop(held);
    drop(caller);
    until(|| world.held() == 0).await;
}

#[tokio::test]
async fn a_tunnel_to_anywhere_is_refused() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let caller = Http2::connect(world.address).await;
    let plain = Request::builder().method(Method::CONNECT).uri(format!("{HOST}:80")).body(empty()).unwrap();
    assert_eq!(caller.ask(plain).await.unwrap().answer.status, 405);
    let answer = caller.ask(connect("connect-udp")).await.unwrap().answer;
    assert_eq!(answer.status, 501, "{}", answer.text());
    assert!(!toy.was_called());
}

/// The agent's part of a handshake, and what it answers.
async fn handshake(toy: &mut Toy, accept: impl Fn(&str) -> String) -> Played {
    let mut agent = toy.accept().await;
    let head = agent.head().await.to_lowercase();
    assert!(head.starts_with("get /chat http/1.1\n"), "{head}");
    for line in ["upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13"] {
        assert!(head.lines().any(|other| other == line), "{line} in {head}");
    }
    let answer = accept(&key_of(&head));
    agent.caller.send(&answer).await;
    agent
}

/// What is sent in lower case is another key: the agent of these tests gets to see the one that was sent.
fn key_of(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
    line.expect("a key").to_owned()
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n";

#[tokio::test]
async fn a_websocket_of_one_stream_passes_bytes_both_ways_and_wakes_its_agent() {
    let mut toy = Toy::new().await;
    let policy = Policy {
        route: true,
        manage: true,
        idle_timeout: Duration::from_millis(600),
        min_running: Duration::ZERO,
        ..Policy::default()
    };
    let world = World::start(toy.port, Start { policy, ..asleep() }).await;
    let caller = Http2::connect(world.address).await;
    let playing = async {
        let mut agent = toy.accept().await;
        let head = agent.head().await;
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
        let accept = derive_accept_key(key.as_bytes());
        agent.caller.send(&format!("{SWITCHING}Sec-WebSocket-Accept: {accept}\n\nhi")).await;
        agent
    };
    let (response, mut agent) = tokio::join!(caller.send(connect("websocket")), playing);
    let mut response = response.unwrap();
    assert_eq!(response.status(), 200, "{response:?}");
    for field in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(field), "{response:?}");
    }
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let mut first = [0; 2];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"hi");
    stream.write_all(b"\x81\x82\0\0\0\0yo").await.unwrap();
    assert_eq!(agent.read(8).await, b"\x81\x82\0\0\0\0yo");
    assert_eq!(world.view().phase, PhaseName::Running);
    // It sleeps when nothing moves, and the stream ends; what the agent sent last was no frame, so no frame of ours follows.
    let mut rest = Vec::new();
    let reading = stream.read_to_end(&mut rest);
    tokio::time::timeout(PATIENCE, reading).await.expect("the stream ends").unwrap();
    until(|| world.view().phase == PhaseName::Suspended).await;
    assert!(!caller.is_over(), "the connection is that of others as well");
}

#[tokio::test]
async fn an_agent_that_does_not_do_the_handshake_is_not_taken_for_one_that_does() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let caller = Http2::connect(world.address).await;
    for (answer, status) in [
        (format!("{SWITCHING}Sec-WebSocket-Accept: bm9wZQ==\n\n"), 502),
        (format!("{SWITCHING}\n"), 502),
        (OK.to_owned(), 502),
        ("HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n".to_owned(), 403),
    ] {
        let playing = handshake(&mut toy, |_| answer.clone());
        let (response, _agent) = tokio::join!(caller.ask(connect("websocket")), playing);
        assert_eq!(response.unwrap().answer.status, status, "{answer}");
    }
    until(|| world.in_flight() == 0).await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_and_one_with_a_request_is_not() {
    let mut toy = Toy::new().await;
    let idle = Duration::from_millis(300);
    let world = World::start(toy.port, Start { settings: settings(idle), ..Start::default() }).await;
    world.until_running().await;
    let unused = Http2::connect(world.address).await;
    let used = Http2::connect(world.address).await;
    let playing = async {
        let mut agent = toy.accept().await;
        agent.head().await;
        until(|| unused.is_over()).await;
        // Longer than that one was open, which is longer than the limit.
        assert!(!used.is_over());
        agent.caller.send(OK).await;
    };
    let (answer, ()) = tokio::join!(used.ask(get("/")), playing);
    assert_eq!(answer.unwrap().answer.status, 200);
    until(|| used.is_over()).await;
}

#[tokio::test]
async fn a_caller_who_takes_nothing_of_its_answer_is_cut_off() {
    let mut toy = Toy::new().await;
    let idle = Duration::from_millis(300);
    let world = World::start(toy.port, Start { settings: settings(idle), ..Start::default() }).await;
    world.until_running().await;
    let caller = Http2::connect(world.address).await;
    let playing = async {
        let mut agent = toy.accept().await;
        agent.head().await;
        agent.caller.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n").await;
        agent
    };
    let (response, mut agent) = tokio::join!(caller.send(get("/")), playing);
    let _unread = response.unwrap();
    let block = [b"10000\r\n", &vec![b'x'; 0x10000][..], b"\r\n"].concat();
    let writing = async { while agent.caller.stream.write_all(&block).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, writing).await.expect("it waits for the caller for ever");
    until(|| world.in_flight() == 0).await;
    until(|| caller.is_over()).await;
}

#[tokio::test]
async fn at_the_end_requests_in_flight_end_and_new_ones_are_refused() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let caller = Http2::connect(world.address).await;
    let playing = async {
        let mut agent = toy.accept().await;
        agent.head().await;
        world.shutdown.cancel();
        // Told to go away, its connection takes no more; what is asked for before it hears that is served.
        let mut refused = Box::pin(async { while caller.ask(get("/")).await.is_ok() {} });
        loop {
            tokio::select! {
                () = &mut refused => break,
                mut early = toy.accept() => {
                    early.head().await;
                    early.caller.send(OK).await;
                }
            }
        }
        agent.caller.send(OK).await;
    };
    let (answer, ()) = tokio::join!(caller.ask(get("/")), playing);
    assert_eq!(answer.unwrap().answer.status, 200);
    tokio::time::timeout(PATIENCE, world.serving).await.expect("it ends").unwrap();
}
