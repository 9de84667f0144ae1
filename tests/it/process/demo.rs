//! The demo agent, as a program of its own.

use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::http::{get, post, send};
use crate::support::{PROGRAM, eventually, free_port, signal};

struct Demo {
    at: SocketAddr,
    child: Child,
    _dir: TempDir,
}

fn command(dir: &TempDir, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["demo-agent", "--port", &port.to_string()]).args(more).current_dir(dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Demo {
    async fn start() -> Self {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let at = ([127, 0, 0, 1], port).into();
        let child = command(&dir, port, &[]).spawn().unwrap();
        eventually("it answers", async || get(at, "x", "/healthz").await.is_ok()).await;
        Self { at, child, _dir: dir }
    }
}

#[tokio::test]
async fn echo_shows_the_request_as_it_came() {
    let demo = Demo::start().await;
    let request = Request::put("/echo?a=%2f%20b&&c=+")
        .header("host", "x")
        .header("x-twice", "one")
        .header("x-twice", "two")
        .body(Full::from("body"))
        .unwrap();
    let shown = send(demo.at, request).await.unwrap().json();
    assert_eq!(shown["method"], "PUT");
    assert_eq!(shown["target"], "/echo?a=%2f%20b&&c=+");
    assert_eq!(shown["body"], "body");
    let headers = shown["headers"].to_string();
    assert!(headers.contains(r#"["x-twice","one"],["x-twice","two"]"#), "{headers}");
}

#[tokio::test]
async fn echo_body_gives_back_body_and_trailers_as_they_come() {
    let demo = Demo::start().await;
    let stream = tokio::net::TcpStream::connect(demo.at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (pieces, come) = tokio::sync::mpsc::channel::<Frame<Bytes>>(1);
    let body = futures_util::stream::unfold(come, async |mut come| {
        come.recv().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), come))
    });
    let body = UnsyncBoxBody::new(StreamBody::new(body));
    let request = Request::post("/echo/body")
        .header("host", "x")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(body)
        .unwrap();
    let mut answer = sender.send_request(request).await.unwrap().into_body();
    for piece in ["one", "two"] {
        pieces.send(Frame::data(piece.into())).await.unwrap();
        let echoed = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(echoed, piece, "it comes back before the next is sent");
    }
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("2"))]);
    pieces.send(Frame::trailers(trailers.clone())).await.unwrap();
    drop(pieces);
    let last = answer.frame().await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap(), trailers);
}

#[tokio::test]
async fn an_upload_is_counted_and_hashed() {
    let demo = Demo::start().await;
    let small = post(demo.at, "x", "/upload", Bytes::from_static(b"foobar")).await.unwrap().json();
    assert_eq!((small["bytes"].as_u64(), small["fnv1a"].as_str()), (Some(6), Some("85944171f73967e8")));
    let large = post(demo.at, "x", "/upload", Bytes::from(vec![7; 20 << 20])).await.unwrap().json();
    assert_eq!(large["bytes"], 20 << 20);
}

#[tokio::test]
async fn every_path_gives_what_it_says() {
    let demo = Demo::start().await;
    for (path, status, part) in [
        ("/", 200, "\"visits\": 1"),
        ("/healthz", 200, "ok"),
        ("/slow?for=20ms&chunks=2", 200, "chunk 2 of 2\ndone\n"),
        ("/sse?every=1ms&count=2", 200, "data: tick 2\n\n"),
        ("/status/503", 503, ""),
        ("/status/x", 400, "200 to 999"),
        ("/slow?for=2h", 400, "at most 1h"),
        ("/nothing", 404, "/upload"),
    ] {
        let answer = get(demo.at, "x", path).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(part), "{path}: {}", answer.text());
    }
    let bytes = get(demo.at, "x", "/bytes/200000").await.unwrap();
    assert_eq!((bytes.body.len(), bytes.header("content-length")), (200_000, "200000"));
}

#[tokio::test]
async fn a_head_request_gets_the_head_of_the_answer_and_no_body() {
    let demo = Demo::start().await;
    let head = Request::head("/bytes/1000").header("host", "x").body(Full::default()).unwrap();
    let answer = send(demo.at, head).await.unwrap();
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, "1000", 0));
}

#[tokio::test]
async fn requests_are_counted_but_not_the_question_how_many() {
    let demo = Demo::start().await;
    let before = get(demo.at, "x", "/requests").await.unwrap().json()["requests"].as_u64().unwrap();
    get(demo.at, "x", "/echo").await.unwrap();
    let after = get(demo.at, "x", "/requests").await.unwrap().json()["requests"].as_u64().unwrap();
    assert_eq!(after, before + 1);
}

#[tokio::test]
async fn close_gives_no_answer_and_the_agent_goes_on() {
    let demo = Demo::start().await;
    assert!(get(demo.at, "x", "/close").await.is_err());
    assert_eq!(get(demo.at, "x", "/healthz").await.unwrap().status, 200);
}

#[tokio::test]
async fn sigterm_ends_it_well_even_while_it_answers() {
    let mut demo = Demo::start().await;
    let slow = tokio::spawn(get_slow(demo.at));
    eventually("it answers", async || {
        get(demo.at, "x", "/requests").await.unwrap().json()["requests"].as_u64() > Some(1)
    })
    .await;
    signal(demo.child.id().unwrap(), Signal::TERM);
    assert_eq!(demo.child.wait().await.unwrap().code(), Some(0));
    assert!(slow.await.unwrap().is_err());
}

async fn get_slow(at: SocketAddr) -> Result<u16, String> {
    get(at, "x", "/slow?for=1h").await.map(|answer| answer.status).map_err(|error| error.to_string())
}

#[tokio::test]
async fn starts_fail_as_often_as_asked_and_each_is_remembered() {
    let (dir, port) = (TempDir::new().unwrap(), free_port());
    for start in 1..=2 {
        let failed = command(&dir, port, &["--fail-starts", "2"]).output().await.unwrap();
        let text = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(1));
        assert!(text.contains(&format!("asked to fail the first 2 starts; this is start {start}")), "{text}");
    }
    let _third = command(&dir, port, &["--fail-starts", "2"]).spawn().unwrap();
    let at = ([127, 0, 0, 1], port).into();
    eventually("the third answers", async || get(at, "x", "/").await.is_ok()).await;
    assert_eq!(get(at, "x", "/").await.unwrap().json()["starts"], 3);
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_ends_it() {
    let demo = Demo::start().await;
    let dir = TempDir::new().unwrap();
    let second = command(&dir, demo.at.port(), &[]).output().await.unwrap();
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(text.contains(&format!("cannot listen on {}", demo.at)), "{text}");
}
