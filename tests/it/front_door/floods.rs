//! Floods of HTTP/2, written frame by frame: each ends its connection or costs little, others are served meanwhile, and
//! nothing of it is left.

use std::net::{Ipv4Addr, SocketAddr};

use drowse::proxy::Settings;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::frames::{
    BEGIN, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, next,
};
use super::world::{PATIENCE, Start, Toy, World, until};

const HOST: &str = "echo.default.agents.localhost";
const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

/// The fields of a request without Huffman's code and without a table (RFC 7541 §6).
fn head(method: u8, flags: u8, stream: u32) -> Vec<u8> {
    let mut fields = vec![method, 0x84, 0x86, 0x01, u8::try_from(HOST.len()).unwrap()];
    fields.extend(HOST.as_bytes());
    frame(HEADERS, flags, stream, &fields)
}

fn get(stream: u32) -> Vec<u8> {
    head(0x82, END_STREAM | END_HEADERS, stream)
}

/// The beginning of a request whose body does not come.
fn post(stream: u32) -> Vec<u8> {
    head(0x83, END_HEADERS, stream)
}

/// Numbers of requests on a connection.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// More than any connection may send in vain.
const MOST_BYTES: usize = 32 << 20;

/// Sends this, and then a block after another until the front door has had enough: its connection is cut, some time after its caller
/// was told to calm down, which only the bytes that it took show.
async fn flood(world: &World, opening: Vec<u8>, mut block: impl FnMut() -> Vec<u8>) {
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let writing = async {
        let mut sent = 0;
        writer.write_all(&[BEGIN, &opening].concat()).await?;
        while sent < MOST_BYTES {
            let block = block();
            sent += block.len();
            writer.write_all(&block).await?;
        }
        panic!("it takes everything");
    };
    let reading = async {
        let mut answers = vec![0; 64 * 1024];
        while reader.read(&mut answers).await? > 0 {}
        std::io::Result::Ok(())
    };
    let ended = async {
        tokio::select! {
            end = writing => end,
            end = reading => end,
        }
    };
    // Closed or reset is the same.
    let _end = tokio::time::timeout(PATIENCE, ended).await.expect("it never has enough");
}

async fn asleep() -> (World, Toy) {
    let toy = Toy::new().await;
    let world = World::start(toy.port, Start { asleep: true, ..Start::default() }).await;
    (world, toy)
}

fn cut_for_chatter(world: &World) -> bool {
    world.metrics.render().contains("drowse_bounds_hit_total{bound=\"idle_frames\"} 1\n")
}

#[tokio::test]
async fn frames_that_move_no_request_ahead_end_their_connection_and_wake_nobody() {
    let unknown = 0xff;
    let kinds = [
        (PING, 0, &[7; 8][..]),
        (SETTINGS, 0, &[]),
        (PRIORITY, 1, &[0, 0, 0, 3, 1]),
        (WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
        (unknown, 0, b"grease"),
    ];
    let floods = kinds.map(|(kind, stream, payload)| async move {
        let (world, mut toy) = asleep().await;
        let block = frame(kind, 0, stream, payload).repeat(100);
        flood(&world, Vec::new(), || block.clone()).await;
        until(|| cut_for_chatter(&world)).await;
        assert_eq!(world.backend.resumes(), 0);
        assert!(!toy.was_called());
    });
    join_all(floods).await;
}

/// By HTTP/2's own bounds as well as by ours.
#[tokio::test]
async fn who_floods_is_told_to_calm_down_and_then_neither_read_nor_hung_up_on() {
    let port = Toy::answering(OK).await;
    let world = World::awake(port).await;
    for is_ours in [true, false] {
        let stream = TcpStream::connect(world.address).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let writing = tokio::spawn(async move {
            writer.write_all(BEGIN).await.unwrap();
            let mut streams = streams();
            loop {
                let stream = streams.next().unwrap();
                let cancelled = [get(stream), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat();
                let block = if is_ours { frame(PING, 0, 0, &[7; 8]).repeat(100) } else { cancelled };
                if writer.write_all(&block).await.is_err() {
                    return;
                }
            }
        });
        let (reason, text) = last_word(&mut reader).await;
        assert_eq!((reason, text.contains("move no request ahead")), (ENHANCE_YOUR_CALM, is_ours), "{text}");
        assert!(reader.try_read(&mut [0]).is_err(), "it is closed at once");
        assert!(!writing.is_finished(), "it is cut at once");
        // In the end it is cut.
        tokio::time::timeout(PATIENCE, writing).await.expect("it is left for ever").unwrap();
    }
    assert!(world.metrics.render().contains("drowse_bounds_hit_total{bound=\"resets\"} 1\n"));
}

/// The reason and the text of the GOAWAY that comes sooner or later.
async fn last_word(reader: &mut OwnedReadHalf) -> (u32, String) {
    let reading = async {
        loop {
            let frame = next(reader).await.unwrap().expect("it ends without a word");
            if frame.kind == GOAWAY {
                return (frame.reason(), String::from_utf8_lossy(&frame.payload[8..]).into_owned());
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("it is not told")
}

#[tokio::test]
async fn empty_data_on_a_request_that_is_held_ends_it_and_leaves_the_others() {
    let (world, _toy) = asleep().await;
    let _start = world.backend.hold_next_start();
    let mut other = world.caller().await;
    other.send(&format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).await;
    until(|| world.held() == 1).await;
    let block = frame(DATA, 0, 1, &[]).repeat(100);
    flood(&world, post(1), || block.clone()).await;
    until(|| world.held() == 1).await;
    assert!(other.stream.try_read(&mut [0]).is_err(), "it still waits");
}

#[tokio::test]
async fn a_head_without_an_end_is_bounded_and_wakes_nobody() {
    let (world, mut toy) = asleep().await;
    let floods = [&[][..], &[0x10, 1, b'x', 1, b'y']].map(|field| {
        let block = frame(CONTINUATION, 0, 1, field).repeat(100);
        flood(&world, head(0x82, END_STREAM, 1), move || block.clone())
    });
    join_all(floods).await;
    assert_eq!(world.backend.resumes(), 0);
    assert!(!toy.was_called());
}

#[tokio::test]
async fn a_head_that_a_few_bytes_make_huge_is_bounded_and_wakes_nobody() {
    let (world, mut toy) = asleep().await;
    let mut bomb = vec![0x82, 0x84, 0x86, 0x01, u8::try_from(HOST.len()).unwrap()];
    bomb.extend(HOST.as_bytes());
    // A field of almost 4 KiB goes into the table (127 + 3873), and is then named again and again.
    let mut first = bomb.clone();
    first.extend([0x40, 1, b'x', 127, 0xa1, 0x1e]);
    first.extend([b'a'; 4000]);
    bomb.extend([0xbe; 10_000]);
    let mut streams = streams().skip(1);
    let opening = frame(HEADERS, END_STREAM | END_HEADERS, 1, &[first, vec![0xbe; 1000]].concat());
    flood(&world, opening, || frame(HEADERS, END_STREAM | END_HEADERS, streams.next().unwrap(), &bomb)).await;
    assert_eq!(world.backend.resumes(), 0);
    assert!(!toy.was_called());
}

/// Requests that are reset, by their caller or because they break a rule.
#[tokio::test]
async fn requests_that_are_reset_again_and_again_end_their_connection_and_leave_nothing() {
    let cancel = 8_u32.to_be_bytes();
    let too_much = 0x7fff_ffff_u32.to_be_bytes();
    let kinds =
        [(RST_STREAM, &cancel[..]), (DATA, b"late"), (WINDOW_UPDATE, &too_much), (WINDOW_UPDATE, &[0; 4])];
    let floods = kinds.map(|(kind, payload)| async move {
        let port = Toy::answering(OK).await;
        let world = World::awake(port).await;
        let mut streams = streams();
        flood(&world, Vec::new(), || {
            let mut block = Vec::new();
            for stream in streams.by_ref().take(100) {
                block.extend([get(stream), frame(kind, 0, stream, payload)].concat());
            }
            block
        })
        .await;
        until(|| world.in_flight() == 0 && world.held() == 0).await;
        let answer = world.ask(&format!("GET / HTTP/1.1\nHost: {HOST}\nConnection: close\n\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    });
    join_all(floods).await;
}

/// One at a time, so that none of them is a burst.
#[tokio::test]
async fn few_requests_that_break_a_rule_end_their_connection() {
    let port = Toy::answering(OK).await;
    let world = World::awake(port).await;
    let mut connection = TcpStream::connect(world.address).await.unwrap();
    connection.write_all(BEGIN).await.unwrap();
    let mut broken = 0;
    'requests: for stream in streams().take(200) {
        let too_much = frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
        if connection.write_all(&[post(stream), too_much].concat()).await.is_err() {
            break;
        }
        // Nobody tells of the last one: the connection has ended, though it is read on for a while.
        loop {
            match next_frame(&mut connection).await {
                None => break 'requests,
                Some(reset) if reset == (RST_STREAM, stream) => break,
                Some(_) => {}
            }
        }
        broken += 1;
    }
    assert!((10..100).contains(&broken), "{broken} were taken on");
    until(|| world.in_flight() == 0 && world.held() == 0).await;
}

/// Kind and stream of what comes next, unless the connection ends.
async fn next_frame(connection: &mut TcpStream) -> Option<(u8, u32)> {
    let reading = next(connection);
    let frame = tokio::time::timeout(PATIENCE, reading).await.expect("silence").ok()??;
    Some((frame.kind, frame.stream))
}

/// As clients measure the way, and say what they have taken, each time that they get data.
#[tokio::test]
async fn a_caller_with_much_to_say_about_a_long_answer_is_no_flood() {
    const PARTS: usize = 2000;
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&[BEGIN, &get(1)].concat()).await.unwrap();
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n").await;
    let mut remarks = frame(PING, 0, 0, &[7; 8]);
    remarks.extend(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    remarks.extend(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
    let mut got = 0;
    while got < PARTS {
        agent.caller.send("1\nx\n").await;
        loop {
            let next = next_frame(&mut stream).await;
            let (kind, _) = next.unwrap_or_else(|| panic!("cut after {got} parts"));
            if kind == DATA {
                break;
            }
        }
        stream.write_all(&remarks).await.unwrap();
        got += 1;
    }
    assert!(!cut_for_chatter(&world));
}

#[tokio::test]
async fn connections_that_say_nothing_are_bounded_and_make_room_in_time() {
    let port = Toy::answering(OK).await;
    let settings = Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        max_connections: 50,
        idle_connection_timeout: std::time::Duration::from_millis(500),
        ..Settings::default()
    };
    let world = World::start(port, Start { settings, ..Start::default() }).await;
    world.until_running().await;
    let request = format!("GET / HTTP/1.1\nHost: {HOST}\n\n");
    let mut before = world.caller().await;
    before.send(&request).await;
    before.read_until("ok").await;
    let mut crowd = Vec::new();
    for _ in 0..120 {
        crowd.push(world.caller().await);
    }
    until(|| !world.metrics.render().contains("drowse_bounds_hit_total{bound=\"connections\"} 0\n")).await;
    before.send(&request).await;
    before.read_until("ok").await;
    // Behind all of them.
    let mut after = world.caller().await;
    after.send(&request).await;
    after.read_until("ok").await;
}
