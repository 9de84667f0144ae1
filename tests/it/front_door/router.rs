//! The contract of agent-sandbox's own router (Go, v1.0.3), request by request. Where a row says `ours`, the front door
//! differs on purpose, and src/proxy/route/mod.rs or ARCHITECTURE.md says why.

use std::collections::BTreeSet;

use drowse::agent::AgentKey;
use drowse::proxy::{Settings, Style};

use super::world::{Start, Toy, World, until};

/// All that the router has, and nothing else.
fn router() -> Start {
    let mut start = Start::default();
    start.settings = Settings {
        find_by: BTreeSet::from([Style::Header, Style::Path]),
        path_prefix: Some("/agents".to_owned()),
        ..start.settings
    };
    start
}

/// The status, the media type and the body of an answer.
fn answer(text: &str) -> (u16, String, String) {
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let field =
        |name: &str| head.lines().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, field("content-type: ").unwrap_or_default(), body.to_owned())
}

fn detail(text: &str) -> String {
    format!("{{\"detail\":\"{text}\"}}\n")
}

const FORM: &str = "Path-routed request must have the form <prefix>/<namespace>/<id>/<port>/...";
const NO_ID: &str = "X-Sandbox-ID header is required.";
const BAD_ID: &str = "Invalid sandbox ID format.";
const BAD_NAMESPACE: &str = "Invalid namespace format.";
const BAD_PORT: &str = "Invalid port format.";
const BAD_ADDRESS: &str = "Invalid target IP address.";
const NOBODY: &str = "Could not connect to the backend sandbox: nobody";
const ECHO: &str = "Could not connect to the backend sandbox: echo";

/// First line and fields, the file of the rule, status, detail.
const REFUSED: &[(&str, &str, u16, &str)] = &[
    ("GET /", "proxy/headers.go", 400, NO_ID),
    ("GET /\nX-Sandbox-ID: ", "proxy/headers.go", 400, NO_ID),
    ("GET /\nX-Sandbox-Namespace: default\nX-Sandbox-Port: 1", "proxy/headers.go", 400, NO_ID),
    ("GET /\nX-Sandbox-UID: agent-1", "proxy/headers.go", 400, NO_ID),
    ("GET /\nX-Sandbox-Pod-IP: 10.0.0.1", "proxy/headers.go", 400, NO_ID),
    ("GET /\nX-Sandbox-ID: Echo", "proxy/headers.go", 400, BAD_ID),
    ("GET /\nX-Sandbox-ID: echo.evil.example", "proxy/headers.go", 400, BAD_ID),
    ("GET /\nX-Sandbox-ID: Echo\nX-Sandbox-Namespace: A", "proxy/headers.go", 400, BAD_ID),
    (
        "GET /\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: a.b\nX-Sandbox-Port: 0",
        "proxy/headers.go",
        400,
        BAD_NAMESPACE,
    ),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Port: 0\nX-Sandbox-Pod-IP: x", "proxy/headers.go", 400, BAD_PORT),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Port: 65536", "proxy/headers.go", 400, BAD_PORT),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Port: http", "proxy/headers.go", 400, BAD_PORT),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: x", "proxy/headers.go", 400, BAD_ADDRESS),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 169.254.169.254", "proxy/headers.go", 400, BAD_ADDRESS),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 127.0.0.1", "proxy/headers.go", 400, BAD_ADDRESS),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: ::ffff:127.0.0.1", "proxy/headers.go", 400, BAD_ADDRESS),
    ("GET /agents/", "proxy/pathroute.go", 400, FORM),
    ("GET /agents/default/echo", "proxy/pathroute.go", 400, FORM),
    ("GET /agents/default/echo/", "proxy/pathroute.go", 400, FORM),
    ("GET /agents/Default/Echo/0/", "proxy/pathroute.go", 400, BAD_NAMESPACE),
    ("GET /agents/default/Echo/0/", "proxy/pathroute.go", 400, BAD_ID),
    ("GET /agents/default/echo/0/", "proxy/pathroute.go", 400, BAD_PORT),
    // A path that is the prefix alone, or only begins like it, is left to the headers.
    ("GET /agents", "proxy/pathroute.go", 400, NO_ID),
    ("GET /agentsx/default/echo/80/", "proxy/pathroute.go", 400, NO_ID),
    // An agent that is not there cannot be told from one that does not answer.
    ("GET /\nX-Sandbox-ID: nobody", "proxy/proxy.go", 502, NOBODY),
    ("GET /agents/default/nobody/80/", "proxy/proxy.go", 502, NOBODY),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: other", "proxy/proxy.go", 502, ECHO),
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-Port: 1\nX-Sandbox-Timeout: 0.1", "proxy/proxy.go", 502, ECHO),
    // ours: a uid that is not the agent's is not taken for absent.
    ("GET /\nX-Sandbox-ID: echo\nX-Sandbox-UID: agent-0", "proxy/resolve.go", 502, ECHO),
    // ours: what is given twice is refused, where the router takes the first.
    (
        "GET /\nX-Sandbox-ID: echo\nX-Sandbox-ID: other",
        "proxy/headers.go",
        400,
        "X-Sandbox-ID is given more than once.",
    ),
    // ours: a path and fields that name two agents are refused, where the router takes the path.
    (
        "GET /agents/default/echo/80/\nX-Sandbox-ID: other",
        "proxy/proxy.go",
        400,
        "the request names two agents: default/other by its X-Sandbox headers and default/echo by its path; name one",
    ),
];

#[tokio::test]
async fn what_the_router_refuses_is_refused_in_its_words() {
    let toy = Toy::new().await;
    let world = World::start(toy.port, router()).await;
    world.until_running().await;
    for (request, rule, status, text) in REFUSED {
        let (first, fields) = request.split_once('\n').unwrap_or((request, ""));
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
        let got = world.ask(&format!("{first} HTTP/1.1\nHost: r\n{fields}Connection: close\n\n")).await;
        let expected = (*status, "application/json".to_owned(), detail(text));
        assert_eq!(answer(&got), expected, "{request:?} ({rule})");
    }
}

#[tokio::test]
async fn the_health_check_of_the_router_is_answered_where_no_agent_is_named() {
    // proxy/server.go, server/probes.go; ours: with X-Sandbox-ID, it is a path of the agent's like any other.
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 6\n\nagents").await;
    let world = World::start(port, router()).await;
    world.until_running().await;
    let got = world.ask("GET /healthz HTTP/1.1\nHost: r\nConnection: close\n\n").await;
    assert_eq!(answer(&got), (200, "application/json".to_owned(), "{\"status\":\"ok\"}".to_owned()));
    let got = world.ask("HEAD /healthz HTTP/1.1\nHost: r\nConnection: close\n\n").await;
    assert_eq!(answer(&got), (200, "application/json".to_owned(), String::new()));
    let got = world.ask("GET /healthz HTTP/1.1\nHost: r\nX-Sandbox-ID: echo\nConnection: close\n\n").await;
    assert_eq!(answer(&got).2, "agents");
}

/// What a caller may say about itself; the same for both styles.
const FIELDS: &str = "X-Sandbox-UID: agent-1
X-Sandbox-Timeout: 5
Authorization: Bearer secret
Cookie: a=b
Origin: http://o
X-Request-ID: 7
Forwarded: for=evil
X-Forwarded-For: evil
X-Forwarded-Host: evil
X-Forwarded-Proto: evil
Proxy-Authorization: secret
Connection: x-hop
X-Hop: 1
";

#[tokio::test]
async fn an_agent_sees_of_a_request_what_the_router_lets_through() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, router()).await;
    world.until_running().await;
    let port = toy.port;
    for (first, fields, target) in [
        // proxy/proxy.go; ours: the target is passed on as it is, where the router decodes it, merges slashes and
        // resolves dots.
        (
            "GET /a%2Fb/../c//d?x=%20",
            "X-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 10.9.9.9\n",
            "/a%2Fb/../c//d?x=%20",
        ),
        ("GET /agents", "X-Sandbox-ID: echo\nX-Sandbox-Namespace: default\n", "/agents"),
        // proxy/pathroute.go. Fields of the other style mean nothing without X-Sandbox-ID; ours: they are not passed on, since
        // nobody has checked them.
        (
            &format!("GET /agents/default/echo/{port}/a%2Fb?x=%20"),
            "X-Sandbox-Pod-IP: nonsense\n",
            "/a%2Fb?x=%20",
        ),
        (&format!("GET /agents/def%61ult/echo/+{port}?q"), "X-Sandbox-Pod-IP: nonsense\n", "/?q"),
        (&format!("GET /agents/default/echo/0{port}"), "X-Sandbox-Port: 80\n", "/"),
    ] {
        let mut caller = world.caller().await;
        caller.send(&format!("{first} HTTP/1.1\nHost: router:80\n{fields}{FIELDS}\n")).await;
        let mut agent = toy.accept().await;
        let head = agent.head().await;
        assert!(head.starts_with(&format!("GET {target} HTTP/1.1\n")), "{first}: {head}");
        let by_header = fields.contains("X-Sandbox-ID");
        let own = fields.lines().chain(["X-Sandbox-UID: agent-1"]).map(|line| {
            line.replacen(line.split(':').next().unwrap(), &line.split(':').next().unwrap().to_lowercase(), 1)
        });
        let (own, not_checked): (Vec<_>, Vec<_>) = own.partition(|_| by_header);
        assert!(!not_checked.iter().any(|line| head.contains(line)), "{head}");
        let kept = [
            &format!("host: 127.0.0.1:{port}"),
            "x-sandbox-timeout: 5",
            "cookie: a=b",
            "origin: http://o",
            "x-request-id: 7",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: router:80",
            "x-forwarded-proto: http",
        ];
        for line in kept.into_iter().map(str::to_owned).chain(own) {
            assert_eq!(head.matches(&format!("\n{line}\n")).count(), 1, "{line:?} in {head}");
        }
        for gone in ["secret", "evil", "x-hop"] {
            assert!(!head.contains(gone), "{gone} in {head}");
        }
        agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n").await;
        caller.head().await;
    }
}

#[tokio::test]
async fn a_uid_that_is_not_the_agents_reaches_nobody_and_wakes_nobody() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, Start { asleep: true, ..router() }).await;
    let ask = |uid: &str| {
        format!("GET / HTTP/1.1\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-UID: {uid}\nConnection: close\n\n")
    };
    let refused = world.ask(&ask("agent-0")).await;
    assert_eq!(answer(&refused), (502, "application/json".to_owned(), detail(ECHO)));
    assert_eq!((world.backend.resumes(), toy.was_called()), (0, false));

    let mut caller = world.caller().await;
    caller.send(&ask("agent-1")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 204 No Content\n\n").await;
    assert!(caller.rest().await.starts_with("HTTP/1.1 204 "));
}

#[tokio::test]
async fn a_caller_that_waits_for_one_object_does_not_get_into_the_next_of_that_name() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, Start { asleep: true, ..router() }).await;
    let starts = world.backend.hold_next_start();
    let mut caller = world.caller().await;
    caller
        .send("GET / HTTP/1.1\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-UID: agent-1\nConnection: close\n\n")
        .await;
    until(|| world.held() == 1).await;
    world.backend.make_anew();
    assert_eq!(answer(&caller.rest().await), (502, "application/json".to_owned(), detail(ECHO)));
    assert!(!toy.was_called());
    drop(starts);

    let slot = world.engine.slot(&AgentKey::new("default", "echo")).unwrap();
    assert_eq!(slot.uid().unwrap().0.as_ref(), "agent-2");
}
