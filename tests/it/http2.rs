//! HTTP/2 through the real program: with TLS and without, and gRPC, to agents that sleep.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::http2::{Body, Http2, empty, full, piecewise, tls, uri};
use crate::support::{Agent, Drowse, PROGRAM, eventually, free_address, host};

const SHORT: &str = "idle_timeout: 1s\nmin_running: 0s";
const LONG: &str = "idle_timeout: 1h\nmin_running: 0s";

/// A call of `grpc.health.v1.Health` with an empty message.
fn check(agent: &str) -> Request<Body> {
    Request::post(uri(&host(agent), "/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(full(Bytes::from_static(&[0; 5])))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_agent_is_woken_by_http2_and_gets_http_1_1() {
    let drowse = Drowse::start(&[Agent::demo("echo")], SHORT).await;
    let caller = Http2::connect(drowse.front).await;
    for start in ["cold", "warm"] {
        let answer = caller.get(&host("echo"), "/echo").await.unwrap().answer;
        assert_eq!((answer.status, answer.header("drowse-start")), (200, start));
        assert_eq!(answer.json()["target"], "/echo", "with HTTP/2 it would be a whole URL");
    }
    drowse.wait_for_phase("echo", "Suspended").await;
    assert_eq!(caller.get(&host("echo"), "/whoami").await.unwrap().answer.header("drowse-start"), "cold");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_grpc_wakes_its_agent_and_ends_with_trailers() {
    let drowse = Drowse::start(&[Agent::demo("echo")], SHORT).await;
    let caller = Http2::connect(drowse.front).await;
    for start in ["cold", "warm"] {
        let whole = caller.ask(check("echo")).await.unwrap();
        assert_eq!((whole.answer.status, whole.answer.header("drowse-start")), (200, start));
        assert_eq!(whole.answer.header("content-type"), "application/grpc");
        assert_eq!(whole.answer.body, [0, 0, 0, 0, 2, 8, 1]);
        assert_eq!(whole.trailers["grpc-status"], "0");
    }
    drowse.wait_for_phase("echo", "Suspended").await;
    assert_eq!(caller.ask(check("echo")).await.unwrap().trailers["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drowse_refuses_of_grpc_its_libraries_understand() {
    let slow = Agent::demo("slow").with(&["--ready-after", "1h"]);
    let defaults = "idle_timeout: 1h\nready: port\nhold_timeout: 30s";
    let drowse = Drowse::start(&[slow], defaults).await;
    let caller = Http2::connect(drowse.front).await;
    let unknown = caller.ask(check("nobody")).await.unwrap();
    assert_eq!(unknown.answer.status, 200);
    assert_eq!(unknown.answer.header("grpc-status"), "5");
    assert!(unknown.answer.header("grpc-message").contains("default/nobody does not exist"), "{unknown:?}");
    assert!(unknown.answer.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_grpc_waits_no_longer_than_its_deadline() {
    // It never listens.
    let mut mute = Agent::demo("mute");
    mute.program = Some("sleep".to_owned());
    mute.arguments = vec!["3600".to_owned()];
    let drowse = Drowse::start(&[mute], LONG).await;
    let caller = Http2::connect(drowse.front).await;
    let mut call = check("mute");
    call.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let answer = caller.ask(call).await.unwrap().answer;
    assert_eq!(answer.header("grpc-status"), "14", "{answer:?}");
    let waited = answer.header("server-timing");
    let ms: f64 =
        waited.split_once("hold;dur=").unwrap().1.split([',', ';']).next().unwrap().parse().unwrap();
    // The bound of the rule is 55 s.
    assert!((300.0..20_000.0).contains(&ms), "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_rule_an_agent_gets_http2_from_whomever() {
    let drowse = Drowse::start(&[Agent::demo("echo")], &format!("{SHORT}\nprotocol: h2c")).await;
    let answer = drowse.get("echo", "/echo").await;
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"));
    let authority = format!("http://{}", host("echo"));
    assert_eq!(answer.json()["target"], format!("{authority}/echo"));
    let caller = Http2::connect(drowse.front).await;
    let warm = caller.get(&host("echo"), "/echo?x").await.unwrap().answer;
    assert_eq!(warm.json()["target"], format!("{authority}/echo?x"));
    // Trailers pass if they were announced, and decide nothing.
    let (pieces, body) = piecewise();
    let request = Request::post(uri(&host("echo"), "/echo/body"))
        .header("trailer", "x-sum, x-sandbox-id")
        .header("te", "trailers");
    let asking = caller.ask(request.body(body).unwrap());
    let sending = async {
        pieces.send(Frame::data(Bytes::from_static(b"x"))).await.unwrap();
        let fields = [("x-sum", "1"), ("x-late", "2"), ("x-sandbox-id", "other")];
        let named = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pieces.send(Frame::trailers(HeaderMap::from_iter(named))).await.unwrap();
        drop(pieces);
    };
    let (echoed, ()) = tokio::join!(asking, sending);
    let trailers = echoed.unwrap().trailers;
    assert_eq!(trailers.keys().map(hyper::header::HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    // A body that is large, and comes back.
    let large = Bytes::from(vec![b'x'; 3 << 20]);
    let request = Request::post(uri(&host("echo"), "/echo/body")).body(full(large.clone())).unwrap();
    assert!(caller.ask(request).await.unwrap().answer.body == large);
}

/// An authority, its file, and where the certificate of Drowse is.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Self { dir, issuer: Issuer::new(params, key) };
        authority.renew();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Writes another certificate with another key. Gives the certificate.
    fn renew(&self) -> Vec<u8> {
        let names = ["agents.localhost".to_owned()];
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path("tls.key"), key.serialize_pem()).unwrap();
        std::fs::write(self.path("tls.crt"), signed.pem()).unwrap();
        signed.der().to_vec()
    }

    /// The keys of a front door that has it.
    fn door(&self, address: std::net::SocketAddr) -> String {
        let file = |name| self.path(name).display().to_string();
        format!(
            "tls: {{listen: \"{address}\", cert_file: {}, key_file: {}}}, ",
            file("tls.crt"),
            file("tls.key")
        )
    }
}

/// The certificate that callers get.
async fn certificate(at: std::net::SocketAddr, root: &Path) -> Vec<u8> {
    let stream = tls(at, root, &["h2"]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// The fields that an agent got of a request.
fn fields(echo: &Value) -> Vec<(String, String)> {
    serde_json::from_value(echo["headers"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tls_callers_get_what_alpn_agrees_on_and_agents_are_told() {
    let (authority, secure) = (Authority::new(), free_address());
    let drowse = Drowse::start_door(&[Agent::demo("echo")], SHORT, &authority.door(secure)).await;
    let https = ("x-forwarded-proto".to_owned(), "https".to_owned());

    let caller = Http2::secure(secure, &authority.root()).await;
    let answer = caller.get(&host("echo"), "/echo").await.unwrap().answer;
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"));
    assert!(fields(&answer.json()).contains(&https), "{}", answer.text());

    for protocols in [&["http/1.1"][..], &[]] {
        let stream = tls(secure, &authority.root(), protocols).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = Request::get("/bytes/300000").header("host", host("echo")).body(empty()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body.len(), 300_000, "{protocols:?}");
        driver.abort();
    }
    drowse.wait_for_phase("echo", "Suspended").await;
    // Without TLS, the other address is as it was.
    assert_eq!(drowse.get("echo", "/whoami").await.header("drowse-start"), "cold");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_without_a_restart_and_a_bad_one_is_not() {
    let (authority, secure) = (Authority::new(), free_address());
    let drowse = Drowse::start_door(&[Agent::demo("echo")], LONG, &authority.door(secure)).await;
    let root = authority.root();
    let caller = Http2::secure(secure, &root).await;
    let renewed = authority.renew();
    eventually("callers get the new one", async || certificate(secure, &root).await == renewed).await;
    assert_eq!(caller.get(&host("echo"), "/whoami").await.unwrap().answer.status, 200, "the old connection");

    std::fs::write(authority.path("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let reloads = "drowse_certificate_reloads_total";
    eventually("it is refused", async || drowse.metric(reloads, "failed").await > 0.0).await;
    assert!(drowse.log().contains("the new certificate is not used"), "{}", drowse.log());
    assert_eq!(certificate(secure, &root).await, renewed);
    let mended = authority.renew();
    eventually("it is taken", async || certificate(secure, &root).await == mended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_ends_its_handshake_is_cut_off() {
    let (authority, secure) = (Authority::new(), free_address());
    let door = authority.door(secure) + "head_timeout: 300ms, ";
    let drowse = Drowse::start_door(&[Agent::demo("echo")], LONG, &door).await;
    let mut silent = TcpStream::connect(secure).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(20), silent.read(&mut [0])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    let refused = drowse.metric("drowse_request_refusals_total", "tls_handshake").await;
    assert!(refused > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_that_can_be_used_nothing_starts_and_the_reason_is_told() {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("drowse.yaml");
    let [front, secure, admin, health] = std::array::from_fn(|_| free_address());
    let text = format!(
        "backend: {{process: {{}}}}\nadmin: {{listen: \"{admin}\"}}\nhealth: {{listen: \"{health}\"}}\n\
         front_door: {{listen: \"{front}\", tls: {{listen: \"{secure}\", cert_file: no.crt, key_file: no.key}}}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let output = Command::new(PROGRAM).args(["run", "--config"]).arg(&config).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("front_door.tls") && said.contains("no.crt"), "{said}");
}
