//! Busy leases over HTTP: who may take one for which agent, and what comes of orders that are huge, slow or broken.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use drowse::agent::PodUid;
use drowse::engine::snapshot::LeaseView;
use drowse::lifecycle::PhaseName;
use drowse::proxy::auth::{Authenticator, BoundPod, Unavailable, Verdict};
use drowse::proxy::{LeaseHolders, Settings};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use super::world::{Caller, Start, Toy, World, key, until};

const HOST: &str = "Host: drowse.agents.localhost";

/// Judges tokens by their names: `pod-1@default/echo` is the token of that pod.
struct Pods;

impl Authenticator for Pods {
    fn authenticate(&self, token: &str) -> BoxFuture<'static, Result<Verdict, Unavailable>> {
        let pod = token.split_once('@').and_then(|(uid, name)| Some((uid, name.split_once('/')?)));
        let verdict = match (token, pod) {
            (_, Some((uid, (namespace, name)))) => Ok(Verdict::AllowedPod(Arc::new(BoundPod {
                namespace: namespace.into(),
                name: name.into(),
                uid: PodUid(uid.into()),
            }))),
            ("person", _) => Ok(Verdict::Allowed),
            ("other-audience", _) => Ok(Verdict::Forbidden),
            ("down", _) => Err(Unavailable::new("the API server at 10.0.0.1 is down")),
            _ => Ok(Verdict::Unauthenticated),
        };
        async { verdict }.boxed()
    }
}

/// A front door whose agents prove who they are by tokens.
async fn with_tokens(toy: &Toy, asleep: bool) -> World {
    let lease_holders = LeaseHolders::Pods(Arc::new(Pods));
    let world = World::start(toy.port, Start { asleep, lease_holders, ..Start::default() }).await;
    if !asleep {
        world.until_running().await;
    }
    world
}

fn post(fields: &str, body: &str) -> String {
    format!(
        "POST /v1/leases HTTP/1.1\n{fields}\nContent-Type: application/json\nContent-Length: {}\nConnection: close\n\n{body}",
        body.len()
    )
}

impl World {
    async fn order(&self, token: &str, body: &str) -> String {
        self.ask(&post(&format!("{HOST}\nAuthorization: Bearer {token}"), body)).await
    }

    fn leases(&self) -> Vec<LeaseView> {
        self.engine.detail(&key()).unwrap().leases
    }
}

#[track_caller]
fn assert_problem(answer: &str, status: &str, slug: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("\ncontent-type: application/problem+json\n"), "{answer}");
    assert!(answer.contains(&format!("\"type\":\"https://drowse.dev/problems/{slug}\"")), "{answer}");
}

#[tokio::test]
async fn a_pod_takes_leases_for_the_agent_that_it_is_and_need_not_name_it() {
    let mut toy = Toy::new().await;
    let world = with_tokens(&toy, false).await;
    let taken = world.order("pod-1@default/echo", r#"{"id": "job", "reason": "thinks"}"#).await;
    assert!(taken.starts_with("HTTP/1.1 200 OK\n") && taken.contains("\"id\":\"job\""), "{taken}");
    assert!(taken.contains("\ncontent-type: application/json\n"), "{taken}");
    assert_eq!(world.leases()[0].reason, "thinks");

    let named = world.order("pod-1@default/echo", r#"{"agent": "default/echo", "action": "list"}"#).await;
    assert!(named.ends_with(&taken[taken.find("{\"leases\"").unwrap()..]), "{named}");
    let adopted = world.order("pod-1@default/warm-7", r#"{"agent": "default/echo", "id": "two"}"#).await;
    assert!(adopted.starts_with("HTTP/1.1 200 "), "a pod of another name: {adopted}");
    assert!(!toy.was_called(), "nothing of this is the agent's to hear");
}

#[tokio::test]
async fn who_is_not_the_agent_takes_no_lease_and_learns_nothing() {
    let toy = Toy::new().await;
    let world = with_tokens(&toy, false).await;
    let echo = r#"{"agent": "default/echo"}"#;
    for (token, body, status, slug) in [
        ("nobody", "", "401", "unauthenticated"),
        ("other-audience", "", "403", "forbidden"),
        ("person", echo, "403", "not-bound"),
        ("pod-0@default/echo", "", "403", "not-the-agent"),
        ("pod-9@default/other", echo, "403", "not-the-agent"),
        ("pod-1@elsewhere/echo", "", "403", "not-the-agent"),
        ("pod-1@elsewhere/echo", echo, "403", "not-the-agent"),
        ("pod-1@default/echo", r#"{"agent": "default/other"}"#, "403", "not-the-agent"),
    ] {
        assert_problem(&world.order(token, body).await, status, slug);
    }
    let about = async |name: &str| {
        let answer = world.order("pod-9@default/other", &format!("{{\"agent\": \"default/{name}\"}}")).await;
        let lines = answer.lines().filter(|line| !line.starts_with("date: "));
        lines.map(|line| line.replace(name, "…")).collect::<Vec<_>>()
    };
    assert_eq!(about("echo").await, about("gone").await);
    let nameless = world.ask(&post(HOST, "")).await;
    assert_problem(&nameless, "401", "unauthenticated");
    assert!(nameless.contains("\nwww-authenticate: Bearer\n"), "{nameless}");
    assert_eq!(world.leases(), []);
    let counted = "drowse_authentications_total{outcome=\"unauthenticated\"} 2\n";
    assert!(world.metrics.render().contains(counted), "{counted}");
}

#[tokio::test]
async fn when_nobody_can_say_who_it_is_the_caller_is_told_to_come_back() {
    let toy = Toy::new().await;
    let world = with_tokens(&toy, false).await;
    let unreviewed = world.order("down", "").await;
    assert_problem(&unreviewed, "503", "unreviewed");
    assert!(unreviewed.contains("\nretry-after: 1\n") && !unreviewed.contains("10.0.0.1"), "{unreviewed}");

    // A pod that nobody could be told of yet.
    world.backend.break_watch();
    until(|| !world.engine.is_synced()).await;
    let unsure = world.order("pod-2@default/echo", "").await;
    assert_problem(&unsure, "503", "unsure");
    assert!(unsure.contains("\nretry-after: 1\n"), "{unsure}");
    assert!(world.order("pod-1@default/echo", "").await.starts_with("HTTP/1.1 200 "), "this one is known");
}

#[tokio::test]
async fn an_older_pod_of_the_agent_is_not_the_agent() {
    let toy = Toy::new().await;
    let world = with_tokens(&toy, false).await;
    assert!(world.order("pod-1@default/echo", "").await.starts_with("HTTP/1.1 200 "));
    world.backend.replace_pod();
    until(|| world.engine.slot(&key()).unwrap().has_pod(&PodUid("pod-2".into()))).await;
    assert_problem(&world.order("pod-1@default/echo", "").await, "403", "not-the-agent");
    assert!(world.order("pod-2@default/echo", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_lease_wakes_nobody() {
    let mut toy = Toy::new().await;
    let world = with_tokens(&toy, true).await;
    assert_problem(&world.order("pod-0@default/echo", "").await, "403", "not-the-agent");
    let local = World::start(toy.port, Start { asleep: true, ..Start::default() }).await;
    let taken = local.ask(&post(HOST, r#"{"agent": "default/echo"}"#)).await;
    assert!(taken.starts_with("HTTP/1.1 200 "), "{taken}");
    for world in [&world, &local] {
        assert_eq!((world.backend.resumes(), world.view().phase), (0, PhaseName::Suspended));
    }
    assert!(!toy.was_called());
}

#[tokio::test]
async fn the_callers_token_and_the_agents_are_asked_for_apart() {
    let toy = Toy::new().await;
    let authenticator: Arc<dyn Authenticator> = Arc::new(Pods);
    let start = Start { authenticator: Some(authenticator), ..Start::default() };
    let world = World::start(toy.port, start).await;
    // Leases are for whoever is on this machine here, and calls for whoever has a token.
    let taken = world.ask(&post(HOST, r#"{"agent": "default/echo"}"#)).await;
    assert!(taken.starts_with("HTTP/1.1 200 "), "{taken}");
    let call = world.ask(&post("Host: echo.default.agents.localhost", "")).await;
    assert_problem(&call, "401", "unauthenticated");
}

#[tokio::test]
async fn processes_take_leases_on_their_own_machine_only() {
    let toy = Toy::new().await;
    let settings = Settings { listen: "0.0.0.0:0".parse().unwrap(), ..Settings::default() };
    let world = World::start(toy.port, Start { settings, ..Start::default() }).await;
    let port = world.address.port();
    let order = post(HOST, r#"{"agent": "default/echo"}"#);
    let ask = async |address: IpAddr, request: &str| {
        let stream = TcpStream::connect(SocketAddr::new(address, port)).await.unwrap();
        let mut caller = Caller { stream };
        caller.send(request).await;
        caller.rest().await
    };
    assert_problem(&ask(outside(), &order).await, "403", "not-local");
    let passed_on = order.replace(HOST, &format!("{HOST}\nX-Forwarded-For: 127.0.0.1"));
    assert_problem(&ask([127, 0, 0, 1].into(), &passed_on).await, "403", "not-local");
    assert_eq!(world.leases(), []);
    assert!(ask([127, 0, 0, 1].into(), &order).await.starts_with("HTTP/1.1 200 "));
}

/// An address of this machine that is not loopback. Nothing is sent.
fn outside() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("a machine with an address besides loopback");
    socket.local_addr().unwrap().ip()
}

#[tokio::test]
async fn an_order_that_is_too_long_or_too_slow_is_cut_off() {
    let toy = Toy::new().await;
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        head_timeout: Duration::from_millis(300),
        ..Settings::default()
    };
    let world = World::start(toy.port, Start { settings, ..Start::default() }).await;
    let head = format!("POST /v1/leases HTTP/1.1\n{HOST}\nContent-Type: application/json\n");
    let announced = world.ask(&format!("{head}Content-Length: 1000000000\n\n")).await;
    assert_problem(&announced, "413", "body-too-large");
    let chunk = "x".repeat(0x800);
    let unannounced = format!("{head}Transfer-Encoding: chunked\n\n{}", format!("800\n{chunk}\n").repeat(3));
    assert_problem(&world.ask(&unannounced).await, "413", "body-too-large");
    let slow = world.ask(&format!("{head}Content-Length: 30\n\n{{\"agent\": ")).await;
    assert_problem(&slow, "408", "slow-body");
    assert!(slow.contains("\nconnection: close\n"), "{slow}");
    assert_eq!(world.leases(), []);
}

#[tokio::test]
async fn a_connection_may_be_used_for_leases_and_for_calls() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    let order = post(HOST, r#"{"agent": "default/echo"}"#).replace("Connection: close\n", "");
    for _ in 0..2 {
        caller.send(&order).await;
        assert!(caller.head().await.starts_with("http/1.1 200 ok\n"));
        caller.read_until("\"Running\"}").await;
    }
    caller.send("GET / HTTP/1.1\nHost: echo.default.agents.localhost\n\n").await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 204 No Content\n\n").await;
    assert!(caller.head().await.starts_with("http/1.1 204 "));
    assert_eq!(world.leases().len(), 2);
}

#[tokio::test]
async fn a_request_at_the_host_of_drowse_that_names_an_agent_besides_is_refused() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let both = world.ask(&post(&format!("{HOST}\nX-Sandbox-ID: echo"), r#"{"agent": "default/echo"}"#)).await;
    assert!(both.starts_with("HTTP/1.1 400 ") && both.contains("name one"), "{both}");
    assert_eq!((world.leases(), toy.was_called()), (vec![], false));
}
