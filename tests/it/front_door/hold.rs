//! Requests for a sleeping agent wait for it, within bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drowse::lifecycle::PhaseName;
use drowse::policy::Policy;
use drowse::upstream::Upstream;
use tokio::net::TcpListener;

use super::world::{Caller, LOCAL, Start, Toy, World, key, pattern, until};

const HOST: &str = "Host: echo.default.agents.localhost";
const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

fn asleep() -> Start {
    Start { asleep: true, ..Start::default() }
}

fn asleep_with(change: impl FnOnce(&mut Policy)) -> Start {
    let mut start = asleep();
    change(&mut start.policy);
    start
}

async fn send(world: &World, request: &str) -> Caller {
    let mut caller = world.caller().await;
    caller.send(request).await;
    caller
}

#[tokio::test]
async fn a_request_for_a_sleeping_agent_wakes_it_and_is_told_what_it_waited_for() {
    let world = World::start(Toy::answering(OK).await, asleep()).await;
    let mut caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let head = caller.head().await;
    assert!(head.starts_with("http/1.1 200 ok\n") && head.contains("\ndrowse-start: cold\n"), "{head}");
    let timing = head.lines().find(|line| line.starts_with("server-timing: ")).unwrap();
    for part in ["hold;dur=", "resume;dur=", "probe;dur=", "attest;dur="] {
        assert!(timing.contains(part), "{timing}");
    }
    assert_eq!(world.backend.resumes(), 1);
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    caller.read_until("ok").await;
    assert!(caller.head().await.contains("\ndrowse-start: warm\n"));
}

#[tokio::test]
async fn a_caller_is_told_how_long_it_took_to_know_who_answers() {
    let world = World::start(Toy::answering(OK).await, asleep()).await;
    world.backend.attest_ms.store(30, Ordering::Relaxed);
    let mut caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let head = caller.head().await;
    let dur = |name: &str| -> f64 {
        let rest = head.split(&format!("{name};dur=")).nth(1).unwrap();
        rest.split([',', '\n']).next().unwrap().trim().parse().unwrap()
    };
    assert!(dur("attest") >= 30.0 && dur("attest") <= dur("probe"), "{head}");
}

#[tokio::test]
async fn the_connection_of_the_probe_carries_the_first_request() {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let world = World::start(listener.local_addr().unwrap().port(), asleep()).await;
    let _caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let (stream, _) = listener.accept().await.unwrap();
    Caller { stream }.read_until("\n\n").await;
}

#[tokio::test]
async fn many_callers_cost_one_start_and_all_are_served() {
    let world = World::start(Toy::answering(OK).await, asleep()).await;
    let start = world.backend.hold_next_start();
    let mut callers = Vec::new();
    for _ in 0..200 {
        callers.push(send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await);
    }
    until(|| world.held() == 200).await;
    start.send(()).unwrap();
    for mut caller in callers {
        assert!(caller.head().await.starts_with("http/1.1 200 ok\n"));
        caller.read_until("ok").await;
    }
    assert_eq!(world.backend.resumes(), 1);
}

#[tokio::test]
async fn a_held_caller_that_leaves_frees_its_place_at_once() {
    let world = World::start(Toy::answering(OK).await, asleep()).await;
    let start = world.backend.hold_next_start();
    let mut stays = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let without_body = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let with_body = send(&world, &format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 3\n\nabc")).await;
    let within_body = send(&world, &format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 3\n\na")).await;
    until(|| world.held() == 4).await;
    until(|| world.engine.held_bytes().used() > 0).await;
    drop((without_body, with_body, within_body));
    until(|| world.held() == 1).await;
    until(|| world.engine.held_bytes().used() == 0).await;
    start.send(()).unwrap();
    assert!(stays.head().await.starts_with("http/1.1 200 ok\n"));
}

#[tokio::test]
async fn a_held_body_is_read_ahead_within_its_bound_and_arrives_whole() {
    const SIZE: usize = 5 << 20;
    let mut toy = Toy::new().await;
    let mut start = asleep();
    start.settings.held_body_bytes = 1000;
    let world = World::start(toy.port, start).await;
    let start = world.backend.hold_next_start();
    let mut caller = send(&world, &format!("POST / HTTP/1.1\n{HOST}\nContent-Length: {SIZE}\n\n")).await;
    let body = pattern(SIZE);
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut caller.stream, &sent).await.unwrap();
        caller
    });
    until(|| world.engine.held_bytes().used() >= 1000).await;
    let read_ahead = world.engine.held_bytes().used();
    assert!(read_ahead < 200_000, "{read_ahead} bytes of a body that may have 1000 and a frame");
    start.send(()).unwrap();
    let mut agent = toy.accept().await;
    assert!(agent.head().await.contains(&format!("\ncontent-length: {SIZE}\n")));
    assert!(agent.read(SIZE).await == body, "the agent got something else");
    agent.caller.send(OK).await;
    let mut caller = sending.await.unwrap();
    assert!(caller.head().await.contains("drowse-start: cold"));
    until(|| world.engine.held_bytes().used() == 0).await;
}

#[tokio::test]
async fn a_chunked_body_with_trailers_survives_being_held() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, asleep()).await;
    let start = world.backend.hold_next_start();
    let fields = "Transfer-Encoding: chunked\nTrailer: X-Sum";
    let body = "3\nabc\n2\nde\n0\nX-Sum: 1\n\n";
    let _caller = send(&world, &format!("POST / HTTP/1.1\n{HOST}\n{fields}\n\n{body}")).await;
    until(|| world.engine.held_bytes().used() > 0).await;
    start.send(()).unwrap();
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.read_until("de\n0\nx-sum: 1\n\n").await;
}

#[tokio::test]
async fn when_the_budget_of_held_bodies_is_used_up_bodies_stay_in_their_sockets() {
    let mut toy = Toy::new().await;
    let mut start = asleep();
    start.limits.held_body_bytes = 10;
    let world = World::start(toy.port, start).await;
    let start = world.backend.hold_next_start();
    let _caller =
        send(&world, &format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 20\n\n{}", "x".repeat(20))).await;
    until(|| world.held() == 1).await;
    start.send(()).unwrap();
    let mut agent = toy.accept().await;
    agent.head().await;
    assert_eq!(agent.read(20).await, [b'x'; 20]);
    assert_eq!(world.engine.held_bytes().used(), 0);
}

#[tokio::test]
async fn a_held_caller_that_expects_continue_is_not_asked_for_its_body_before_the_agent_wants_it() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, asleep()).await;
    let start = world.backend.hold_next_start();
    let mut caller =
        send(&world, &format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 2\nExpect: 100-continue\n\n")).await;
    until(|| world.held() == 1).await;
    start.send(()).unwrap();
    let mut agent = toy.accept().await;
    agent.head().await;
    assert!(caller.stream.try_read(&mut [0]).is_err(), "nothing was said to the caller yet");
    agent.caller.send("HTTP/1.1 100 Continue\n\n").await;
    assert_eq!(caller.head().await, "http/1.1 100 continue\n\n");
    caller.send("hi").await;
    assert_eq!(agent.read(2).await, b"hi");
}

#[tokio::test]
async fn a_hold_that_takes_too_long_is_504_in_the_form_of_the_caller() {
    let world = World::start(1, asleep_with(|policy| policy.hold_timeout = Duration::from_millis(50))).await;
    let _start = world.backend.hold_next_start();
    let mut caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let head = caller.head().await;
    assert!(head.starts_with("http/1.1 504 gateway timeout\n"), "{head}");
    assert!(head.contains("\nretry-after: ") && head.contains("\nserver-timing: hold;dur="), "{head}");
    let body = caller.read_until("}").await;
    assert!(body.contains("drowse explain default/echo") && body.contains("\"status\":504"), "{body}");

    let request = "GET / HTTP/1.1\nHost: r\nX-Sandbox-ID: echo\nConnection: close\n\n";
    let answer = world.ask(request).await;
    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\n"), "{answer}");
    assert!(
        answer.ends_with("{\"detail\":\"Timed out waiting for the backend sandbox: echo\"}\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_caller_may_shorten_its_own_wait() {
    let world = World::start(1, asleep()).await;
    let _start = world.backend.hold_next_start();
    let fields = "Host: r\nX-Sandbox-ID: echo\nX-Sandbox-Timeout: 0.05\nConnection: close";
    let answer = world.ask(&format!("GET / HTTP/1.1\n{fields}\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

#[tokio::test]
async fn a_full_queue_is_429_and_wakes_nobody_twice() {
    let world = World::start(Toy::answering(OK).await, asleep_with(|policy| policy.max_held = 1)).await;
    let start = world.backend.hold_next_start();
    let mut first = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    until(|| world.held() == 1).await;
    let answer = world.ask(&format!("GET / HTTP/1.1\n{HOST}\nConnection: close\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\n"), "{answer}");
    assert!(answer.contains("\nretry-after: 1\n"), "{answer}");
    start.send(()).unwrap();
    assert!(first.head().await.starts_with("http/1.1 200 ok\n"));
}

#[tokio::test]
async fn what_a_person_suspended_stays_suspended() {
    let world = World::awake(Toy::answering(OK).await).await;
    world.backend.suspend_by_person();
    until(|| world.view().phase == PhaseName::Suspended).await;
    let answer = world.ask(&format!("GET / HTTP/1.1\n{HOST}\nConnection: close\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 409 Conflict\n"), "{answer}");
    assert!(answer.contains("drowse resume default/echo"), "{answer}");
    assert_eq!(world.backend.resumes(), 0);
}

#[tokio::test]
async fn a_path_that_must_not_wake_does_not_wake() {
    let health = |policy: &mut Policy| policy.must_not_wake = vec!["/health*".to_owned()];
    let world = World::start(Toy::answering(OK).await, asleep_with(health)).await;
    let answer = world.ask(&format!("GET /healthz?x HTTP/1.1\n{HOST}\nConnection: close\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\n"), "{answer}");
    assert_eq!(world.backend.resumes(), 0);
}

#[tokio::test]
async fn only_answers_that_count_renew_the_agents_time() {
    let health =
        Policy { must_not_wake: vec!["/health".to_owned()], route: true, manage: true, ..Policy::default() };
    for (path, answer, counts) in [
        ("/", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", true),
        ("/", "HTTP/1.1 404 Not Found\nContent-Length: 2\n\nok", true),
        ("/", "HTTP/1.1 500 Oops\nContent-Length: 2\n\nok", false),
        ("/health", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", false),
    ] {
        let start = Start { policy: health.clone(), ..Start::default() };
        let world = World::start(Toy::answering(answer).await, start).await;
        world.until_running().await;
        let before = world.view().last_activity;
        let mut caller = send(&world, &format!("GET {path} HTTP/1.1\n{HOST}\n\n")).await;
        caller.read_until("ok").await;
        until(|| world.in_flight() == 0).await;
        assert_eq!(world.view().last_activity != before, counts, "{path} {answer:?}");
    }
}

#[tokio::test]
async fn a_refused_port_fails_its_own_request_and_not_the_agent() {
    let port = Toy::answering(OK).await;
    let start = Start {
        policy: Policy {
            route: true,
            manage: true,
            hold_timeout: Duration::from_millis(200),
            ..Policy::default()
        },
        ..Start::default()
    };
    let world = World::start(port, start).await;
    world.until_running().await;
    let refused = "Host: 1--echo.default.agents.localhost";
    let answer = world.ask(&format!("GET / HTTP/1.1\n{refused}\nConnection: close\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\n"), "{answer}");
    assert!(answer.contains("port 1 does not take connections"), "{answer}");
    assert_eq!(world.view().phase, PhaseName::Running);
    let answer = world.ask(&format!("GET / HTTP/1.1\n{HOST}\nConnection: close\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
}

#[tokio::test]
async fn a_port_that_opens_late_is_waited_for() {
    let late = {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let world = World::awake(Toy::answering(OK).await).await;
    let _caller =
        send(&world, &format!("GET /late HTTP/1.1\nHost: {late}--echo.default.agents.localhost\n\n")).await;
    until(|| world.in_flight() == 1).await;
    let listener = TcpListener::bind((LOCAL, late)).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(Caller { stream }.read_until("\n\n").await.starts_with("GET /late "));
}

#[tokio::test]
async fn a_request_that_was_not_sent_goes_to_the_next_life_of_the_agent() {
    let late = {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let world = World::awake(Toy::answering(OK).await).await;
    let mut caller = send(
        &world,
        &format!("POST / HTTP/1.1\nHost: {late}--echo.default.agents.localhost\nContent-Length: 2\n\nhi"),
    )
    .await;
    until(|| world.in_flight() == 1).await;
    let start = world.backend.hold_next_start();
    world.backend.replace_pod();
    until(|| world.held() == 1).await;
    let listener = TcpListener::bind((LOCAL, late)).await.unwrap();
    start.send(()).unwrap();
    let agent = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // The probe may have been here, too.
            if stream.peek(&mut [0]).await.unwrap() == 1 {
                break Caller { stream };
            }
        }
    };
    let mut agent = agent.await;
    agent.read_until("\n\nhi").await;
    agent.send(OK).await;
    assert!(caller.head().await.contains("\nserver-timing: hold;dur="));
}

#[tokio::test]
async fn a_request_that_waited_for_its_turn_to_connect_is_not_sent_to_a_life_that_is_over() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let request = format!("GET / HTTP/1.1\n{HOST}\n\n");
    // It has the connection of the probe.
    let _other = send(&world, &request).await;
    let _busy = toy.accept().await;
    let upstream = upstream(&world);
    let places = upstream.dials.acquire_many(PLACES).await.unwrap();
    let mut caller = send(&world, &request).await;
    until(|| world.in_flight() == 2).await;
    let start = world.backend.hold_next_start();
    world.backend.replace_pod();
    until(|| upstream.ended.is_cancelled()).await;
    // Somebody answers at the address still.
    drop(places);
    until(|| world.held() == 1).await;
    start.send(()).unwrap();
    toy.accept().await.caller.send(OK).await;
    assert!(caller.head().await.contains("\nserver-timing: hold;dur="));
}

#[tokio::test]
async fn a_request_whose_turn_to_connect_has_come_takes_a_connection_that_is_free_by_then() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let upstream = upstream(&world);
    let request = format!("GET / HTTP/1.1\n{HOST}\n\n");
    let mut one = send(&world, &request).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    let places = upstream.dials.acquire_many(PLACES).await.unwrap();
    let mut other = send(&world, &request).await;
    until(|| world.in_flight() == 2).await;
    agent.caller.send(OK).await;
    one.read_until("ok").await;
    until(|| world.in_flight() == 1).await;
    drop(places);
    agent.head().await;
    agent.caller.send(OK).await;
    other.read_until("ok").await;
    assert!(!toy.was_called(), "one connection was enough");
}

/// All places to connect that there are.
const PLACES: u32 = 64;

fn upstream(world: &World) -> Arc<Upstream> {
    let permit = world.engine.slot(&key()).unwrap().enter(&world.engine).expect("it is up");
    Arc::clone(permit.upstream())
}

#[tokio::test]
async fn idle_connections_close_when_the_life_of_the_agent_ends() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send(OK).await;
    caller.read_until("ok").await;
    until(|| world.in_flight() == 0).await;
    world.backend.suspend_by_person();
    assert!(agent.is_closed().await);
}

#[tokio::test]
async fn idle_connections_close_soon_by_themselves() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send(OK).await;
    caller.read_until("ok").await;
    assert!(agent.is_closed().await);
    assert_eq!(world.view().phase, PhaseName::Running);
}

#[tokio::test]
async fn a_request_in_flight_ends_although_the_life_of_the_agent_does() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    world.backend.suspend_by_person();
    until(|| world.view().phase != PhaseName::Running).await;
    agent.caller.send(OK).await;
    caller.read_until("ok").await;
    assert!(agent.is_closed().await, "and its connection is not kept");
}

#[tokio::test]
async fn an_agent_that_is_not_routed_is_unknown() {
    let start = asleep_with(|policy| policy.route = false);
    let world = World::start(1, start).await;
    let answer = world.ask(&format!("GET / HTTP/1.1\n{HOST}\nConnection: close\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\n"), "{answer}");
    assert_eq!(world.backend.resumes(), 0);
}

#[tokio::test]
async fn a_shutdown_lets_requests_in_flight_and_held_ones_end() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, asleep()).await;
    let start = world.backend.hold_next_start();
    let mut held = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut silent = world.caller().await;
    until(|| world.held() == 1).await;
    world.shutdown.cancel();
    assert_eq!(silent.rest().await, "", "a connection without a request is closed");
    assert!(tokio::net::TcpStream::connect(world.address).await.is_err(), "no new ones are taken");
    start.send(()).unwrap();
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send(OK).await;
    let answer = held.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n") && answer.ends_with("\n\nok"), "{answer}");
    assert!(answer.contains("\nconnection: close\n"), "{answer}");
    tokio::time::timeout(super::world::PATIENCE, world.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_was_under_way_when_the_shutdown_began_is_served() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    let world = World::awake(port).await;
    let mut caller = world.caller().await;
    until(|| world.metrics.render().contains("drowse_connections 1\n")).await;
    world.shutdown.cancel();
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_shutdown_cuts_what_does_not_end_in_time() {
    let mut toy = Toy::new().await;
    let mut start = Start::default();
    start.settings.drain_timeout = Duration::from_millis(50);
    let world = World::start(toy.port, start).await;
    world.until_running().await;
    let mut caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    world.shutdown.cancel();
    assert_eq!(caller.rest().await, "");
    assert!(agent.is_closed().await);
    tokio::time::timeout(super::world::PATIENCE, world.serving).await.unwrap().unwrap();
    assert_eq!(world.engine.detail(&key()).unwrap().agent.in_flight, 0);
}

#[tokio::test]
async fn who_waits_while_the_cluster_cannot_be_seen_is_served_and_a_metric_says_that_it_cannot() {
    let world = World::start(Toy::answering(OK).await, asleep()).await;
    let says = |value: u8| world.metrics.render().contains(&format!("\ndrowse_backend_synced {value}\n"));
    until(|| world.engine.is_synced()).await;
    assert!(says(1));
    world.backend.break_watch();
    until(|| !world.engine.is_synced()).await;
    assert!(says(0));
    let mut caller = send(&world, &format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    assert!(caller.head().await.starts_with("http/1.1 200 ok\n"));
}
