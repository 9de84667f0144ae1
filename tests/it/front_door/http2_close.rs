//! How a connection of HTTP/2 ends: what was said last arrives, and what was asked before that is answered. The caller is played
//! frame by frame (RFC 9113 §4.1).

use std::time::Duration;

use drowse::proxy::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::frames::{
    ACK, BEGIN, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PROTOCOL_ERROR, frame, next,
};
use super::world::{PATIENCE, Start, Toy, World, until};

/// `END_STREAM` and `END_HEADERS`.
const WHOLE: u8 = END_STREAM | END_HEADERS;
/// GET, http, `/`, and an authority as it is (RFC 7541 §6.1 and §6.2.1).
const GET: &[u8] = b"\x82\x86\x84\x41\x1decho.default.agents.localhost";
/// `:status: 200`.
const OK: u8 = 0x88;

/// A caller's end of a connection.
struct Frames(TcpStream);

impl Frames {
    async fn connect(world: &World) -> Self {
        let mut caller = Self(TcpStream::connect(world.address).await.unwrap());
        caller.0.write_all(BEGIN).await.unwrap();
        caller
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0.write_all(&frame(kind, flags, stream, payload)).await.unwrap();
    }

    /// The next frame of this kind.
    async fn next(&mut self, wanted: u8) -> Frame {
        let reading = async {
            loop {
                let frame = next(&mut self.0).await.unwrap().expect("it ends without such a frame");
                if frame.kind == wanted {
                    return frame;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("no such frame comes")
    }

    /// Reads to the end.
    async fn end(&mut self) {
        let mut rest = Vec::new();
        let reading = self.0.read_to_end(&mut rest);
        tokio::time::timeout(PATIENCE, reading).await.expect("it does not end").expect("a reset");
    }
}

async fn world(toy: &Toy) -> World {
    let start = Start::default();
    let settings = Settings { idle_connection_timeout: Duration::from_millis(400), ..start.settings };
    let world = World::start(toy.port, Start { settings, ..Start::default() }).await;
    world.until_running().await;
    world
}

#[tokio::test]
async fn who_breaks_the_rules_and_goes_on_sending_is_told_why_it_ends() {
    let toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = Frames::connect(&world).await;
    // A PING is about the connection and no stream (RFC 9113 §6.7).
    caller.send(PING, 0, 1, &[0; 8]).await;
    caller.0.write_all(&vec![0; 128 * 1024]).await.unwrap();
    let why = caller.next(GOAWAY).await;
    assert_eq!(why.reason(), PROTOCOL_ERROR);
    // A reset at once would have had its system forget what it has not read yet; in the end it may come.
    let end = tokio::time::timeout(PATIENCE, caller.0.read(&mut [0])).await.expect("it is left for ever");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn a_request_that_crosses_the_end_of_an_idle_connection_is_answered_however_long_it_takes() {
    let mut toy = Toy::new().await;
    let world = world(&toy).await;
    let mut caller = Frames::connect(&world).await;
    let last = caller.next(GOAWAY).await;
    assert_eq!(last.payload[..4], [0x7f, 0xff, 0xff, 0xff], "what has been sent is served");
    caller.send(HEADERS, WHOLE, 1, GET).await;
    let ping = caller.next(PING).await;
    caller.send(PING, ACK, 0, &ping.payload).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    // Longer than an idle caller has to hear of the end.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 0\n\n").await;
    assert_eq!(caller.next(HEADERS).await.payload[0], OK);
    caller.end().await;
    until(|| world.in_flight() == 0).await;
}
