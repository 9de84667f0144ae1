//! The windows of HTTP/2, one for each stream and one for all: who does not take what it asked for, and whose body is not read,
//! stands in nobody's way.

use std::time::Duration;

use bytes::Bytes;
use drowse::engine::Limits;
use drowse::lifecycle::PhaseName;
use drowse::policy::Policy;
use drowse::proxy::Settings;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::AbortOnDropHandle;

use super::world::{PATIENCE, Start, Toy, World, pattern, until};
use crate::support::http2::{Http2, WINDOW, frames, uri};

const HOST: &str = "echo.default.agents.localhost";
const IDLE: Duration = Duration::from_millis(400);

async fn world(toy: &Toy) -> World {
    let start = Start::default();
    let policy =
        Policy { idle_timeout: Duration::from_millis(200), min_running: Duration::ZERO, ..start.policy };
    let settings = Settings { idle_connection_timeout: IDLE, ..start.settings };
    let world = World::start(toy.port, Start { policy, settings, ..Start::default() }).await;
    world.until_running().await;
    world
}

fn get(host: &str) -> Request<()> {
    Request::get(uri(host, "/")).body(()).unwrap()
}

async fn answer(caller: &mut SendRequest<Bytes>, request: Request<()>) -> Response<RecvStream> {
    let (answer, _body) = caller.send_request(request, true).unwrap();
    tokio::time::timeout(PATIENCE, answer).await.expect("no answer").unwrap()
}

/// An answer that has no end, and the agent that sends it for as long as it can.
async fn endless(
    toy: &mut Toy,
    caller: &mut SendRequest<Bytes>,
) -> (Response<RecvStream>, AbortOnDropHandle<()>) {
    let playing = async {
        let mut agent = toy.accept().await;
        agent.head().await;
        agent.caller.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n").await;
        agent
    };
    let (answer, mut agent) = tokio::join!(answer(caller, get(HOST)), playing);
    let block = [b"40000\r\n", &vec![b'x'; 0x40000][..], b"\r\n"].concat();
    let sending = async move { while agent.caller.stream.write_all(&block).await.is_ok() {} };
    (answer, AbortOnDropHandle::new(tokio::spawn(sending)))
}

/// Why the front door took an answer back, once all is read that came of it.
async fn reset(mut body: RecvStream) -> Option<Reason> {
    let reading = async {
        while let Some(data) = body.data().await {
            if let Err(error) = data {
                return error.reason();
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("it is not reset")
}

#[tokio::test]
async fn an_answer_that_nobody_takes_keeps_its_agent_up_no_longer_though_its_neighbours_go_on() {
    let mut toy = Toy::new().await;
    let world = world(&toy).await;
    let (mut caller, _driver) = frames(world.address).await;
    let (untaken, _sending) = endless(&mut toy, &mut caller).await;
    let neighbours = async {
        while world.view().phase != PhaseName::Suspended {
            let other = answer(&mut caller, get("other.default.agents.localhost")).await;
            assert_eq!(other.status(), 404);
        }
    };
    tokio::time::timeout(PATIENCE, neighbours).await.expect("it keeps its agent up");
    assert_eq!(world.in_flight(), 0);
    assert_eq!(reset(untaken.into_body()).await, Some(Reason::CANCEL));
}

#[tokio::test]
async fn an_answer_that_nobody_takes_does_not_cut_off_one_that_takes_its_time() {
    let mut toy = Toy::new().await;
    let world = world(&toy).await;
    let (mut caller, _driver) = frames(world.address).await;
    let (silent, _body) = caller.send_request(get(HOST), true).unwrap();
    let mut agent = toy.accept().await;
    agent.head().await;
    let (untaken, _sending) = endless(&mut toy, &mut caller).await;
    assert_eq!(world.in_flight(), 2);
    assert_eq!(reset(untaken.into_body()).await, Some(Reason::CANCEL));
    until(|| world.in_flight() == 1).await;
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 0\n\n").await;
    assert_eq!(silent.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_large_answer_is_whole_however_it_is_cut_up() {
    const SIZE: usize = 1_000_000;
    let mut toy = Toy::new().await;
    let world = world(&toy).await;
    let caller = Http2::connect(world.address).await;
    for framing in
        [format!("Content-Length: {SIZE}\n\n"), format!("Transfer-Encoding: chunked\n\n{SIZE:x}\n")]
    {
        let playing = async {
            let mut agent = toy.accept().await;
            agent.head().await;
            agent.caller.send(&format!("HTTP/1.1 200 OK\nConnection: close\n{framing}")).await;
            agent.caller.stream.write_all(&pattern(SIZE)).await.unwrap();
            if framing.contains("chunked") {
                agent.caller.send("\n0\n\n").await;
            }
        };
        let (whole, ()) = tokio::join!(caller.get(HOST, "/"), playing);
        assert!(whole.unwrap().answer.body == pattern(SIZE), "{framing}");
    }
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_goes_on() {
    let mut toy = Toy::new().await;
    let world = world(&toy).await;
    let (mut caller, _driver) = frames(world.address).await;
    let (slow, _sending) = endless(&mut toy, &mut caller).await;
    let mut body = slow.into_body();
    for _ in 0..8 {
        tokio::time::sleep(IDLE / 3).await;
        let mut taken = 0;
        while taken < 32 * 1024 {
            let data = body.data().await.unwrap().expect("it goes on");
            taken += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
    }
    assert_eq!(world.in_flight(), 1);
}

/// The body of a request to the agent, of which as much is sent as may be on one stream before any of it is read.
async fn fill(caller: &mut SendRequest<Bytes>) -> (ResponseFuture, SendStream<Bytes>) {
    const ROOM: usize = 64 * 1024;
    let request = Request::post(uri(HOST, "/")).body(()).unwrap();
    let (answer, mut body) = caller.send_request(request, false).unwrap();
    body.reserve_capacity(ROOM);
    let waiting = async {
        while body.capacity() < ROOM {
            std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("other bodies are in its way");
    body.send_data(Bytes::from(vec![b'x'; ROOM]), false).unwrap();
    (answer, body)
}

#[tokio::test]
async fn bodies_that_are_held_do_not_stand_in_the_way_of_another_of_their_connection() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    let start = Start::default();
    let limits = Limits { held_body_bytes: 64 << 20, ..start.limits };
    let settings = Settings { held_body_bytes: 0, ..start.settings };
    let world = World::start(port, Start { limits, settings, asleep: true, ..Start::default() }).await;
    let _never = world.backend.hold_next_start();
    let (mut caller, _driver) = frames(world.address).await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(fill(&mut caller).await);
    }
    until(|| world.held() == 40).await;
    // Drowse itself reads what it is sent before it answers.
    let request = Request::post(uri("drowse.agents.localhost", "/v1/leases"));
    let request = request.header("content-type", "application/json").body(()).unwrap();
    let (answer, mut body) = caller.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"nonsense"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_star_is_no_path_of_an_agent() {
    let mut toy = Toy::new().await;
    let world = world(&toy).await;
    let (mut caller, _driver) = frames(world.address).await;
    let mut target = uri(HOST, "/").into_parts();
    target.path_and_query = Some("*".parse().unwrap());
    let uri = http::Uri::from_parts(target).unwrap();
    let request = Request::options(uri).body(()).unwrap();
    assert_eq!(answer(&mut caller, request).await.status(), 400);
    assert!(!toy.was_called());
}

#[tokio::test]
async fn a_tunnel_whose_end_its_caller_does_not_take_ends_all_the_same() {
    let mut toy = Toy::new().await;
    let start = Start::default();
    let settings = Settings { idle_connection_timeout: IDLE, ..start.settings };
    let world = World::start(toy.port, Start { settings, ..Start::default() }).await;
    world.until_running().await;
    let (mut caller, _driver) = frames(world.address).await;
    until(|| caller.is_extended_connect_protocol_enabled()).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(uri(HOST, "/chat"))
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"));
    let (answer, _up) = caller.send_request(request.body(()).unwrap(), false).unwrap();
    let mut agent = toy.accept().await;
    let head = agent.head().await;
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    let switching = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n";
    agent.caller.send(&format!("{switching}Sec-WebSocket-Accept: {accept}\n\n")).await;
    let mut down = answer.await.unwrap().into_body();
    // As much as may be sent before any of it is taken, and one byte that waits.
    agent.caller.stream.write_all(&vec![b'x'; WINDOW.into()]).await.unwrap();
    let mut got = 0;
    while got < usize::from(WINDOW) {
        got += down.data().await.unwrap().unwrap().len();
    }
    agent.caller.stream.write_all(b"y").await.unwrap();
    agent.caller.stream.shutdown().await.unwrap();
    assert!(agent.is_closed().await);
}
