//! The demo agent over real connections.

use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{Args, live, run, serve, start};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    args: Args,
}

fn args(dir: &TempDir, more: &[&str]) -> Args {
    let fixed = ["demo-agent", "--port", "0", "--namespace", "default", "--name", "echo"];
    let mut args = Program::parse_from(fixed.iter().chain(more)).args;
    args.state_file = dir.path().join("state.json");
    args
}

/// A running agent. Ends when dropped, as its process would.
pub(super) struct Running {
    pub(super) address: std::net::SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) async fn start(dir: &TempDir) -> Self {
        Self::start_with(dir, &[]).await
    }

    pub(super) async fn start_with(dir: &TempDir, more: &[&str]) -> Self {
        let (listener, _, agent) = start(&args(dir, more)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, task: tokio::spawn(serve::serve(listener, agent)) }
    }

    pub(super) async fn send<B>(&self, request: Request<B>) -> hyper::Result<Response<Incoming>>
    where
        B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
    {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await
    }

    pub(super) async fn call(&self, method: &str, path: &str) -> (u16, HeaderMap, String) {
        let request = Request::builder().method(method).uri(path).header("host", "x").body(Empty::new());
        read(self.send(request.unwrap()).await.unwrap()).await
    }

    pub(super) async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.call("GET", path).await.2).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn read(response: Response<Incoming>) -> (u16, HeaderMap, String) {
    let (head, body) = response.into_parts();
    let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
    (head.status.as_u16(), head.headers, text)
}

#[tokio::test]
async fn visits_and_starts_survive_a_restart_and_boots_differ() {
    let dir = TempDir::new().unwrap();
    let first = Running::start(&dir).await;
    let one = first.json("/").await;
    assert_eq!(
        (&one["agent"], &one["starts"], &one["visits"]),
        (&json!("default/echo"), &json!(1), &json!(1))
    );
    assert_eq!(one["pid"], std::process::id());
    first.call("HEAD", "/").await;
    first.call("POST", "/").await;
    assert_eq!(first.json("/").await["visits"], 2, "only GET is a visit");
    drop(first);
    let two = Running::start(&dir).await.json("/").await;
    assert_eq!((&two["starts"], &two["visits"]), (&json!(2), &json!(3)));
    assert_ne!(one["boot"], two["boot"]);
}

#[tokio::test]
async fn visits_made_at_once_are_all_counted() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    futures_util::future::join_all((0..50).map(|_| agent.call("GET", "/"))).await;
    assert_eq!(agent.json("/").await["visits"], 51);
}

#[tokio::test]
async fn a_visit_that_cannot_be_kept_is_an_error() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    drop(dir);
    let (status, _, text) = agent.call("GET", "/").await;
    assert!(status == 500 && text.contains("failed to write the state file"), "{status} {text}");
}

#[tokio::test]
async fn the_first_starts_fail_as_asked_and_count() {
    let dir = TempDir::new().unwrap();
    let failing = args(&dir, &["--fail-starts", "2"]);
    for n in 1..=2 {
        let error = start(&failing).await.err().expect("a failed start");
        assert_eq!(error.to_string(), format!("asked to fail: start {n} of the first 2"));
    }
    start(&failing).await.unwrap();
    assert_eq!(Running::start(&dir).await.json("/").await["starts"], 4);
}

#[tokio::test(start_paused = true)]
async fn it_listens_only_after_its_delay() {
    let dir = TempDir::new().unwrap();
    let clock = crate::time::Clock::start();
    start(&args(&dir, &["--start-delay", "1m 30s"])).await.unwrap();
    assert!(clock.now() >= crate::time::Moment::START + Duration::from_secs(90));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let mut args = args(&dir, &[]);
    args.port = agent.address.port();
    let error = run(args).await.unwrap_err();
    assert!(error.to_string().ends_with("choose another with --port"), "{error}");
}

#[tokio::test]
async fn asked_to_crash_it_ends_with_an_error_and_no_answer() {
    let dir = TempDir::new().unwrap();
    let mut args = args(&dir, &[]);
    args.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = (args.host, args.port);
    let life = tokio::spawn(async move { live(&args).await });
    let stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder().uri("/crash").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
    let answer = tokio::spawn(async move { sender.send_request(request).await });
    assert_eq!(life.await.unwrap().unwrap_err().to_string(), "asked to crash");
    assert!(!answer.is_finished());
    connection.abort();
}

#[tokio::test]
async fn an_echo_shows_the_target_as_it_was_received() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let target = "/echo?a=%2F&b=//../x&&c";
    let request = Request::builder().method("PROPFIND").uri(target).header("x-two", "1").header("x-two", "2");
    let (status, headers, text) =
        read(agent.send(request.body(Full::from("body")).unwrap()).await.unwrap()).await;
    let echo: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &headers["content-type"]), (200, &HeaderValue::from_static("application/json")));
    assert_eq!((&echo["method"], &echo["target"]), (&json!("PROPFIND"), &json!(target)));
    assert_eq!(echo["headers"], json!([["x-two", "1"], ["x-two", "2"], ["content-length", "4"]]));
}

#[tokio::test]
async fn an_echoed_body_comes_back_while_it_is_sent_with_its_trailers() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let (frames, source) = tokio::sync::mpsc::channel::<Frame<Bytes>>(1);
    let source = futures_util::stream::unfold(source, |mut source| async {
        source.recv().await.map(|frame| (Ok(frame), source))
    });
    let request = Request::post("/echo/body").header("content-type", "x/y").header("trailer", "x-sum");
    let request = request.header("te", "trailers").body(StreamBody::new(Box::pin(source))).unwrap();
    let response = agent.send(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "x/y");
    let mut body = response.into_body();
    for part in ["one", "two"] {
        frames.send(Frame::data(part.into())).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), part);
    }
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("6"))]);
    frames.send(Frame::trailers(trailers.clone())).await.unwrap();
    drop(frames);
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
}

#[tokio::test]
async fn an_upload_is_counted_and_summed() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let request = Request::post("/checksum").body(Full::from("foobar")).unwrap();
    let (_, _, text) = read(agent.send(request).await.unwrap()).await;
    assert_eq!(text, "{\"bytes\":6,\"checksum\":\"85944171f73967e8\"}\n");
    let request = Request::post("/checksum").body(Full::from(vec![7; 5 << 20])).unwrap();
    let (_, _, text) = read(agent.send(request).await.unwrap()).await;
    assert!(text.starts_with("{\"bytes\":5242880,"), "{text}");
}

#[tokio::test]
async fn a_body_that_nobody_wants_does_not_cost_the_connection() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let stream = TcpStream::connect(agent.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let request = Request::post("/status/200").body(Full::<Bytes>::from(vec![0; 1 << 20])).unwrap();
        let (status, _, _) = read(sender.send_request(request).await.unwrap()).await;
        assert_eq!(status, 200);
        sender.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_status_is_sent_as_asked_and_without_a_body_where_there_can_be_none() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    for (path, code, body) in [
        ("/status/200", 200, "200 OK\n"),
        ("/status/418", 418, "418 I'm a teapot\n"),
        ("/status/503", 503, "503 Service Unavailable\n"),
        ("/status/204", 204, ""),
        ("/status/304", 304, ""),
    ] {
        let (status, headers, text) = agent.call("GET", path).await;
        assert_eq!((status, text.as_str()), (code, body));
        assert!(code != 204 || !headers.contains_key("content-length"));
    }
}

#[tokio::test]
async fn head_is_answered_like_get_but_without_a_body() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    for path in ["/", "/echo", "/slow?for=1h", "/sse", "/checksum", "/bytes/1000", "/healthz", "/requests"] {
        let (status, _, text) = agent.call("HEAD", path).await;
        assert_eq!((status, text.as_str()), (200, ""), "{path}");
    }
    assert_eq!(agent.call("HEAD", "/bytes/1000").await.1["content-length"], "1000");
}

#[tokio::test]
async fn streams_arrive_whole_and_with_their_type() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let (_, headers, text) = agent.call("GET", "/sse?every=10ms&count=2").await;
    assert_eq!(
        (headers["content-type"].to_str().unwrap(), text.matches("event: tick").count()),
        ("text/event-stream", 2)
    );
    let (_, _, text) = agent.call("GET", "/slow?for=0s").await;
    assert_eq!(text, "line 1\ndone\n");
    let (_, headers, text) = agent.call("GET", "/bytes/100").await;
    assert_eq!((headers["content-length"].to_str().unwrap(), text.len()), ("100", 100));
}

#[tokio::test]
async fn close_ends_the_connection_without_an_answer() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let request = Request::get("/close").body(Empty::new()).unwrap();
    assert!(agent.send(request).await.unwrap_err().is_incomplete_message());
    assert_eq!(agent.call("GET", "/healthz").await.0, 200, "and that connection alone");
}

#[tokio::test]
async fn the_journal_has_every_request_but_not_health_checks() {
    let dir = TempDir::new().unwrap();
    let journal = dir.path().join("journal");
    let agent = Running::start_with(&dir, &["--journal", journal.to_str().unwrap()]).await;
    for path in ["/healthz", "/whoami?id=1", "/nowhere?id=2"] {
        agent.call("POST", path).await;
    }
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), "/whoami?id=1\n/nowhere?id=2\n");
}

#[tokio::test]
async fn requests_are_counted_but_not_health_checks() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    assert_eq!(agent.call("GET", "/healthz").await.2, "ok\n");
    assert_eq!(agent.call("GET", "/readyz").await.2, "ready\n");
    agent.call("GET", "/nope").await;
    assert_eq!(agent.json("/requests").await, json!({"requests": 2}), "the one that asks is one of them");
}

#[tokio::test]
async fn it_says_for_as_long_as_it_is_told_that_it_is_at_work() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    assert_eq!(agent.json("/ping").await["status"], "Healthy");
    let busy = agent.json("/busy?for=1h").await;
    assert_eq!(busy["status"], "HealthyBusy");
    assert!(busy["time_of_last_update"].as_i64().is_some_and(|seconds| seconds > 1_700_000_000), "{busy}");
    assert_eq!(agent.json("/ping").await, busy);
    assert_eq!(agent.json("/busy?for=0s").await["status"], "Healthy");
    assert_eq!(agent.json("/ping").await["status"], "Healthy");
    assert_eq!(agent.json("/requests").await, json!({"requests": 3}), "a ping is none");
}

#[tokio::test]
async fn wrong_requests_are_told_what_to_write() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let (status, _, text) = agent.call("GET", "/nope").await;
    assert!(status == 404 && text.contains("\"/echo/body\""), "{status} {text}");
    let (status, _, text) = agent.call("GET", "/slow?for=3").await;
    assert!(status == 400 && text.contains("write 3s"), "{status} {text}");
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_only_after_its_time_but_alive_before() {
    let dir = TempDir::new().unwrap();
    let (_listener, _, agent) =
        start(&args(&dir, &["--start-delay", "1h", "--ready-after", "2s"])).await.unwrap();
    tokio::time::advance(Duration::from_millis(1_999)).await;
    assert!(!agent.is_ready());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(agent.is_ready());
}

#[tokio::test]
async fn while_it_is_not_ready_a_readiness_probe_fails_and_a_health_check_does_not() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start_with(&dir, &["--ready-after", "1h"]).await;
    assert_eq!(agent.call("GET", "/readyz").await.0, 503);
    assert_eq!(agent.call("GET", "/healthz").await.0, 200);
    assert_eq!(agent.call("GET", "/").await.0, 200);
}

#[tokio::test]
async fn it_tells_who_answers() {
    let dir = TempDir::new().unwrap();
    let agent = Running::start(&dir).await;
    let who = agent.json("/whoami").await;
    assert_eq!((&who["agent"], &who["pid"]), (&json!("default/echo"), &json!(std::process::id())));
    assert_eq!(who["hostname"], std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end());
    assert!(who.get("pod_name").is_some() && who.get("pod_uid").is_some(), "{who}");
    assert_eq!(agent.json("/").await["visits"], 1, "asking is no visit");
}

#[tokio::test]
async fn it_fetches_for_others_only_if_it_was_told_to() {
    let dir = TempDir::new().unwrap();
    let other = Running::start(&dir).await;
    let path = format!("/relay?to=http://{}/status/418", other.address);
    let dir = TempDir::new().unwrap();
    let (status, _, text) = Running::start(&dir).await.call("GET", &path).await;
    assert!(status == 403 && text.contains("--relay"), "{status} {text}");
    let dir = TempDir::new().unwrap();
    assert_eq!(Running::start_with(&dir, &["--relay"]).await.call("GET", &path).await.0, 418);
}
