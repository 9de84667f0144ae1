//! Callers with HTTP/2 who do not take what they asked for: each answer has a window of its own, and one that nobody takes is
//! ended alone.

use std::time::Duration;

use bytes::Bytes;
use drowse::lifecycle::PhaseName;
use drowse::policy::Policy;
use drowse::proxy::Settings;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::AsyncWriteExt as _;
use tokio_util::task::AbortOnDropHandle;

use super::world::{PATIENCE, Start, Toy, World, until};
use crate::support::http2::{frames, uri};

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
        let block = [b"40000\r\n", &vec![b'x'; 0x40000][..], b"\r\n"].concat();
        let sending = async move { while agent.caller.stream.write_all(&block).await.is_ok() {} };
        AbortOnDropHandle::new(tokio::spawn(sending))
    };
    tokio::join!(answer(caller, get(HOST)), playing)
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
