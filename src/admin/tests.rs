//! The two servers against real listeners, over a fleet that is only a table.

mod page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config_state::tests::config;
use super::server::Handler;
use super::*;
use crate::agent::AgentKey;
use crate::engine::CommandError;
use crate::engine::overview::Query;
use crate::engine::snapshot::{AgentDetail, AgentRow, AgentView, Overview, WakesView};
use crate::lifecycle::PhaseName;
use crate::metrics::Metrics;
use crate::telemetry::{Format, LogControl, build};

/// Agents `default/echo` (running) and `team-a/notes` (suspended), and what was done to them.
#[derive(Default)]
struct Table {
    synced: AtomicBool,
    ending: AtomicBool,
    done: Mutex<Vec<String>>,
    refuse: Mutex<Option<CommandError>>,
    stuck: AtomicBool,
}

impl Table {
    fn command(&self, what: String) -> Result<(), CommandError> {
        self.done.lock().push(what);
        self.refuse.lock().clone().map_or(Ok(()), Err)
    }
}

fn view(namespace: &str, name: &str, phase: PhaseName) -> AgentView {
    AgentView {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        phase,
        since: Timestamp::UNIX_EPOCH,
        last_activity: None,
        in_flight: 0,
        held: 0,
        messages_waiting: 0,
        idle_deadline: None,
        reason: "because".to_owned(),
        managed: true,
    }
}

fn views() -> [AgentView; 2] {
    [view("default", "echo", PhaseName::Running), view("team-a", "notes", PhaseName::Suspended)]
}

impl Fleet for Table {
    fn is_ready(&self) -> bool {
        self.synced.load(Ordering::SeqCst)
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    fn held_body_bytes(&self) -> u64 {
        17
    }

    fn overview(&self, query: &Query) -> Overview {
        let wanted = |agent: &AgentView| {
            query.phase.is_none_or(|phase| phase == agent.phase)
                && query.namespace.as_ref().is_none_or(|namespace| *namespace == agent.namespace)
        };
        let agents: Vec<_> = views()
            .into_iter()
            .filter(wanted)
            .take(query.limit.unwrap_or(usize::MAX))
            .map(|agent| AgentRow { agent, last_wake_ms: None })
            .collect();
        let wakes =
            WakesView { count: 0, failed: 0, p50_ms: None, p90_ms: None, p99_ms: None, last: Vec::new() };
        Overview {
            now: Timestamp::UNIX_EPOCH,
            started: Timestamp::UNIX_EPOCH,
            version: "1".to_owned(),
            notices: Vec::new(),
            total: 2,
            phases: Vec::new(),
            held: 0,
            messages_waiting: 0,
            in_flight: 0,
            namespaces: Vec::new(),
            wakes,
            matched: agents.len(),
            // So that the limit that was applied is seen.
            offset: query.limit.unwrap_or(usize::MAX),
            agents,
        }
    }

    fn detail(&self, key: &AgentKey) -> Option<AgentDetail> {
        let is = |agent: &AgentView| agent.namespace == key.namespace() && agent.name == key.name();
        let agent = views().into_iter().find(is)?;
        let (signals, policy, log) = (Vec::new(), Vec::new(), Vec::new());
        let (leases, subjects) = (Vec::new(), Vec::new());
        Some(AgentDetail {
            agent,
            signals,
            leases,
            subjects,
            subscribed: true,
            open_connections: 0,
            last_data: None,
            elsewhere: Vec::new(),
            silent: Vec::new(),
            failure: None,
            address: None,
            log,
            policy,
            decided_by: None,
            recent: Vec::new(),
            refusals: Vec::new(),
        })
    }

    fn suspend(&self, key: &AgentKey, stay: bool) -> BoxFuture<'static, Result<(), CommandError>> {
        let result = self.command(format!("suspend {key} stay={stay}"));
        if self.stuck.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(result))
    }

    fn resume(&self, key: &AgentKey) -> Result<(), CommandError> {
        self.command(format!("resume {key}"))
    }

    fn resume_all(&self) -> usize {
        self.done.lock().push("resume all".to_owned());
        2
    }
}

/// A server that ends with the test.
struct Server {
    at: SocketAddr,
    table: Arc<Table>,
    board: Arc<ConfigBoard>,
    metrics: Arc<Metrics>,
    _log: Box<dyn std::any::Any>,
    _stop: DropGuard,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

async fn listen<H: Handler>(handler: Arc<H>) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(serve(listener, handler, stop.clone()));
    (at, stop.drop_guard())
}

fn log() -> (Box<dyn std::any::Any>, LogControl) {
    let (subscriber, control) = build(Format::Text, "info", false, std::io::sink).unwrap();
    (Box::new(subscriber), control)
}

impl Server {
    async fn api(token: Option<&str>) -> Self {
        let (table, metrics) = (Arc::new(Table::default()), Arc::new(Metrics::new()));
        let board = ConfigBoard::new(&config("on"), Timestamp::UNIX_EPOCH);
        let (board, (keep, control)) = (Arc::new(board), log());
        let token = token.map(|text| Token::new(text).unwrap());
        let access = Access::new("127.0.0.1:9090".parse().unwrap(), token).unwrap();
        let fleet: Arc<dyn Fleet> = table.clone();
        let (at, stop) = listen(Arc::new(Api::new(fleet, Arc::clone(&board), control, access))).await;
        Self { at, table, board, metrics, _log: keep, _stop: stop }
    }

    async fn health() -> Self {
        let (table, metrics) = (Arc::new(Table::default()), Arc::new(Metrics::new()));
        let board = Arc::new(ConfigBoard::new(&config("on"), Timestamp::UNIX_EPOCH));
        let fleet: Arc<dyn Fleet> = table.clone();
        let (at, stop) = listen(Arc::new(Health::new(fleet, Arc::clone(&metrics)))).await;
        Self { at, table, board, metrics, _log: Box::new(()), _stop: stop }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.at).await.unwrap();
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (head, body) = send.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", self.at.to_string());
        self.send(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut *self.table.done.lock())
    }
}

#[tokio::test]
async fn agents_are_listed_and_filtered() {
    let server = Server::api(None).await;
    let names = |answer: Answer| -> Vec<String> {
        let list = answer.json();
        list.as_array().unwrap().iter().map(|agent| agent["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = server.get("/api/v1/agents").await;
    assert_eq!((all.status, all.header("content-type")), (200, "application/json"));
    assert_eq!(names(all), ["echo", "notes"]);
    assert_eq!(names(server.get("/api/v1/agents?phase=suspended").await), ["notes"]);
    assert_eq!(names(server.get("/api/v1/agents?namespace=default").await), ["echo"]);
    assert_eq!(names(server.get("/api/v1/agents?namespace=default&phase=Suspended").await), [""; 0]);
    assert_eq!(server.get("/api/v1/agents?phase=Asleep").await.status, 400);
}

#[tokio::test]
async fn one_agent_is_explained_and_has_the_fields_of_the_contract() {
    let server = Server::api(None).await;
    let answer = server.get("/api/v1/agents/default/echo").await;
    assert_eq!(answer.status, 200);
    let agent = answer.json();
    for field in [
        "namespace",
        "name",
        "phase",
        "since",
        "lastActivity",
        "inFlight",
        "held",
        "idleDeadline",
        "reason",
        "signals",
        "policy",
    ] {
        assert!(agent.get(field).is_some(), "{field} in {agent}");
    }
}

#[tokio::test]
async fn an_unknown_agent_is_a_problem_in_the_form_of_rfc_9457() {
    let answer = Server::api(None).await.get("/api/v1/agents/default/nobody").await;
    assert_eq!((answer.status, answer.header("content-type")), (404, "application/problem+json"));
    let problem = answer.json();
    assert_eq!(
        (&problem["type"], &problem["title"], &problem["status"]),
        (&json!("about:blank"), &json!("Not Found"), &json!(404))
    );
    assert!(problem["detail"].as_str().unwrap().contains("drowse status"), "{problem}");
}

#[tokio::test]
async fn commands_reach_the_agent_and_answer_how_it_stands() {
    let server = Server::api(None).await;
    let answer = server.call("POST", "/api/v1/agents/default/echo/suspend", "").await;
    assert_eq!((answer.status, &answer.json()["phase"]), (200, &json!("Running")));
    server.call("POST", "/api/v1/agents/default/echo/suspend", r#"{"stay":true}"#).await;
    server.call("POST", "/api/v1/agents/team-a/notes/resume", "").await;
    let all = server.call("POST", "/api/v1/resume-all", "").await;
    assert_eq!(all.json(), json!({"agents": 2}));
    assert_eq!(
        server.done(),
        [
            "suspend default/echo stay=false",
            "suspend default/echo stay=true",
            "resume team-a/notes",
            "resume all"
        ]
    );
}

#[tokio::test]
async fn a_command_that_fails_says_why_with_a_status_that_fits() {
    let server = Server::api(None).await;
    let detail = || "2 requests in flight".to_owned();
    let cases = [
        (CommandError::NotFound, 404, "no agent"),
        (CommandError::NotManaged, 409, "manage: true"),
        (CommandError::Busy { detail: detail() }, 409, "2 requests in flight"),
        (CommandError::Refused { detail: detail() }, 502, "2 requests in flight"),
    ];
    for (error, status, text) in cases {
        *server.table.refuse.lock() = Some(error);
        for verb in ["suspend", "resume"] {
            let answer = server.call("POST", &format!("/api/v1/agents/default/echo/{verb}"), "").await;
            assert_eq!(answer.status, status);
            assert!(answer.body.contains(text), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_understood_or_too_long_commands_nothing() {
    let server = Server::api(None).await;
    let suspend = |body: String| {
        let server = &server;
        async move { server.call("POST", "/api/v1/agents/default/echo/suspend", &body).await }
    };
    for bad in ["{", "7", r#"{"stay":"yes"}"#, r#"{"forever":true}"#] {
        let answer = suspend(bad.to_owned()).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.body);
    }
    assert_eq!(suspend(format!("{{{}}}", " ".repeat(17 * 1024))).await.status, 413);
    assert_eq!(server.done(), [""; 0]);
}

#[tokio::test]
async fn the_log_filter_can_be_read_and_changed_and_a_bad_one_is_refused() {
    let server = Server::api(None).await;
    assert_eq!(server.get("/api/v1/log-level").await.json(), json!({"filter": "info"}));
    let answer = server.call("PUT", "/api/v1/log-level", r#"{"filter":"debug"}"#).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"filter": "debug"})));
    for bad in ["", "{}", r#"{"filter":"drowse=loud"}"#] {
        let answer = server.call("PUT", "/api/v1/log-level", bad).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.body);
    }
    assert_eq!(server.get("/api/v1/log-level").await.json(), json!({"filter": "debug"}));
}

#[tokio::test]
async fn the_configuration_is_shown_with_what_was_refused() {
    let server = Server::api(None).await;
    server.board.refused("line 3: idle_timeout", Timestamp::UNIX_EPOCH);
    let state = server.get("/api/v1/config").await.json();
    assert!(state["path"].as_str().unwrap().ends_with("drowse.yaml"), "{state}");
    assert_eq!(state["inForce"]["suspend"], json!(true));
    assert_eq!(state["refused"]["error"], "line 3: idle_timeout");
}

#[tokio::test]
async fn keys_that_wait_for_a_restart_are_shown() {
    let server = Server::api(None).await;
    server.board.applied(&config("on"), &["nats", "admin.listen"], Timestamp::UNIX_EPOCH);
    let state = server.get("/api/v1/config").await.json();
    assert_eq!(state["needsRestart"], json!(["nats", "admin.listen"]));
    let overview = server.get("/api/v1/overview").await.json();
    let notice = overview["notices"][0].as_str().unwrap();
    assert!(notice.contains("nats, admin.listen"), "{overview}");
}

#[tokio::test]
async fn the_wrong_method_is_405_and_a_wrong_path_is_told_what_there_is() {
    let server = Server::api(None).await;
    let wrong = server.get("/api/v1/agents/default/echo/suspend").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, "POST"));
    let nothing = server.get("/api").await;
    assert_eq!(nothing.status, 404);
    assert!(nothing.body.contains("/api/v1/agents"), "{}", nothing.body);
    assert_eq!(server.call("POST", "/", "").await.status, 405);
    assert_eq!(server.done(), [""; 0]);
}

#[tokio::test]
async fn strangers_are_refused_before_anything_is_read_or_done() {
    let server = Server::api(None).await;
    let post = |fields: &[(&str, &str)]| {
        let mut request = Request::post("/api/v1/resume-all");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Full::default()).unwrap()
    };
    assert_eq!(server.send(post(&[("host", "rebound.example:9090")])).await.status, 403);
    let cross = post(&[("host", "localhost:9090"), ("origin", "https://evil.example")]);
    assert_eq!(server.send(cross).await.status, 403);
    assert_eq!(server.done(), [""; 0]);
}

#[tokio::test]
async fn with_a_token_only_the_token_lets_in() {
    let server = Server::api(Some("0123456789abcdef")).await;
    let without = server.get("/api/v1/agents").await;
    assert_eq!((without.status, without.header("www-authenticate")), (401, "Bearer"));
    let request = Request::get("/api/v1/agents")
        .header("host", "drowse.example")
        .header("authorization", "Bearer 0123456789abcdef");
    assert_eq!(server.send(request.body(Full::default()).unwrap()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_ends_is_answered_with_504() {
    // Not over a socket: time is paused.
    let table = Table::default();
    table.stuck.store(true, Ordering::SeqCst);
    let (client, server) = tokio::io::duplex(4096);
    let (_keep, control) = log();
    let board = Arc::new(ConfigBoard::new(&config("on"), Timestamp::UNIX_EPOCH));
    let access = Access::new("127.0.0.1:9090".parse().unwrap(), None).unwrap();
    let api = Arc::new(Api::new(Arc::new(table), board, control, access));
    tokio::spawn(super::server::connection(server, api, place(), CancellationToken::new()));
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/api/v1/agents/default/echo/suspend").header("host", "localhost");
    let response = send.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 504);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_no_head_is_closed() {
    let (mut client, server) = tokio::io::duplex(4096);
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::new(Arc::new(Table::default()), metrics));
    tokio::spawn(super::server::connection(server, health, place(), CancellationToken::new()));
    client.write_all(b"GET /healthz HTT").await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("200"), "{rest:?}");
}

/// Of a server with one.
fn place() -> super::guests::Place {
    super::guests::Guests::new(1).enter().unwrap()
}

#[tokio::test]
async fn who_takes_all_places_keeps_nobody_out() {
    let server = Server::health().await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(server.at).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        idle.push(stream);
    }
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(idle[0].read(&mut [0; 1]).await.unwrap(), 0, "the first one had to go");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_431() {
    let server = Server::health().await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "x".repeat(32 * 1024));
    // The server may answer and close before it has read all of it.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = vec![0; 64];
    let n = stream.read(&mut answer).await.unwrap_or(0);
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    assert!(n == 0 || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn readiness_follows_the_fleet_and_says_what_is_missing() {
    let server = Server::health().await;
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: not all agents are known yet\n"));
    server.table.synced.store(true, Ordering::SeqCst);
    assert_eq!(server.get("/readyz").await.status, 200);
    server.table.ending.store(true, Ordering::SeqCst);
    let ending = server.get("/readyz").await;
    assert_eq!((ending.status, ending.body.as_str()), (503, "not ready: Drowse is shutting down\n"));
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn metrics_are_served_in_the_exposition_format_and_nothing_else_is() {
    let server = Server::health().await;
    server.metrics.connection_opened();
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.body.contains("\ndrowse_connections 1\n"), "{}", metrics.body);
    assert!(metrics.body.contains("\ndrowse_held_body_bytes 17\n"), "as it is now: {}", metrics.body);
    assert_eq!(server.call("HEAD", "/metrics", "").await.body, "");
    assert_eq!(server.call("POST", "/metrics", "").await.status, 405);
    assert_eq!(server.get("/api/v1/agents").await.status, 404);
}

#[tokio::test]
async fn serving_ends_when_it_is_told_to_even_with_an_idle_connection_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let health = Arc::new(Health::new(Arc::new(Table::default()), Arc::new(Metrics::new())));
    let serving = tokio::spawn(serve(listener, health, stop.clone()));
    let mut idle = TcpStream::connect(at).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 512]).await.unwrap() > 0);
    stop.cancel();
    serving.await.unwrap();
}
