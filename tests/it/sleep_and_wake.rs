//! The main job: an idle agent sleeps, a request wakes it, and what it had on disk is still there.

use crate::support::{Agent, Drowse, eventually, free_port, http, is_alive, read};

/// Sleeps soon after it was used.
const SHORT: &str = "idle_timeout: 300ms\nmin_running: 0s";

fn pid(answer: &http::Answer) -> u32 {
    answer.json()["pid"].as_u64().expect("a pid").try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_wakes_a_sleeping_agent_which_sleeps_again_and_keeps_its_state() {
    let drowse = Drowse::start(&[Agent::demo("echo")], SHORT).await;
    assert_eq!(drowse.phase("echo").await, "Suspended");

    let first = drowse.get("echo", "/").await;
    assert_eq!((first.status, first.header("drowse-start")), (200, "cold"), "{}", first.text());
    for part in ["hold;dur=", "resume;dur=", "probe;dur="] {
        assert!(first.header("server-timing").contains(part), "{:?}", first.headers);
    }
    let warm = drowse.get("echo", "/").await;
    assert_eq!((warm.header("drowse-start"), pid(&warm)), ("warm", pid(&first)));

    drowse.wait_for_phase("echo", "Suspended").await;
    assert!(!is_alive(pid(&first)), "a suspended agent has no process");
    let (status, code) = drowse.command(&["status"]).await;
    assert!(code == 0 && status.contains("Suspended"), "{status}");

    let again = drowse.get("echo", "/").await;
    assert_eq!(again.header("drowse-start"), "cold");
    assert_ne!(pid(&again), pid(&first));
    assert_eq!((again.json()["visits"].as_u64(), again.json()["starts"].as_u64()), (Some(3), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_not_cut_however_short_the_idle_timeout() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1s\nmin_running: 0s").await;
    let slow = drowse.get("echo", "/slow?for=3m").await;
    assert_eq!(slow.status, 200);
    assert!(slow.text().ends_with("done\n"), "{}", slow.text());
    drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_sleeping_or_crashing_does_not_disturb_another() {
    let agents = [Agent::demo("one"), Agent::demo("two").with(&["--fail-starts", "99"])];
    let drowse = Drowse::start(&agents, SHORT).await;
    let (good, bad) = tokio::join!(drowse.get("one", "/"), drowse.get("two", "/"));
    assert_eq!((good.status, bad.status), (200, 503), "{}", bad.text());
    assert!(bad.header("retry-after").parse::<u64>().is_ok(), "{:?}", bad.headers);
    assert!(bad.text().contains("crash"), "{}", bad.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_why_an_agent_does_not_start_with_its_last_log_lines() {
    let drowse = Drowse::start(&[Agent::demo("echo").with(&["--fail-starts", "99"])], SHORT).await;
    assert_eq!(drowse.get("echo", "/").await.status, 503);
    let (explained, code) = drowse.command(&["explain", "default/echo"]).await;
    assert_eq!(code, 0, "{explained}");
    for part in ["crash", "exited with status 1", "asked to fail"] {
        assert!(explained.contains(part), "{part:?} is not in:\n{explained}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_crashes_while_it_runs_is_started_again_by_the_next_call() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h").await;
    let first = drowse.get("echo", "/").await;
    let crashed = drowse.get("echo", "/crash").await;
    assert_eq!(crashed.status, 502, "the request that killed it fails: {}", crashed.text());
    eventually("its process is gone", async || !is_alive(pid(&first))).await;
    let next = drowse.get("echo", "/").await;
    assert_eq!((next.status, next.header("drowse-start")), (200, "cold"), "{}", next.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_suspends_and_resumes_and_a_stay_is_not_ended_by_traffic() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h").await;
    assert_eq!(drowse.command(&["resume", "default/echo"]).await.1, 0);
    drowse.wait_for_phase("echo", "Running").await;

    let (text, code) = drowse.command(&["suspend", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    drowse.wait_for_phase("echo", "Suspended").await;
    assert_eq!(drowse.get("echo", "/").await.status, 200, "traffic wakes it");

    let (text, code) = drowse.command(&["suspend", "--stay", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    let refused = drowse.get("echo", "/").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(refused.header("content-type"), "application/problem+json");

    assert_eq!(drowse.command(&["resume", "default/echo"]).await.1, 0);
    drowse.wait_for_phase("echo", "Running").await;
    assert_eq!(drowse.get("echo", "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_use_is_not_suspended_by_an_operator_either() {
    let drowse = Drowse::start(&[Agent::demo("echo")], SHORT).await;
    let slow = drowse.get("echo", "/slow?for=3s");
    let refused = async {
        eventually("the request is in flight", async || drowse.agent("echo").await["inFlight"] == 1).await;
        drowse.command(&["suspend", "default/echo"]).await
    };
    let (slow, (text, code)) = tokio::join!(slow, refused);
    assert!(code == 1 && text.contains("1 request in flight"), "{code}: {text}");
    assert_eq!(slow.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_neither_wakes_an_agent_nor_keeps_it_up() {
    let defaults = format!("{SHORT}\nmust_not_wake: [/healthz]");
    let drowse = Drowse::start(&[Agent::demo("echo")], &defaults).await;
    assert_eq!(drowse.get("echo", "/healthz").await.status, 503);
    assert_eq!(drowse.phase("echo").await, "Suspended");
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    assert_eq!(drowse.get("echo", "/healthz").await.status, 200);
    eventually("it sleeps although it is checked all the time", async || {
        drowse.get("echo", "/healthz").await.status == 503
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_run_says_what_it_would_suspend_and_suspends_nothing() {
    let defaults = format!("{SHORT}\ndry_run: true");
    let drowse = Drowse::start(&[Agent::demo("echo")], &defaults).await;
    let first = drowse.get("echo", "/").await;
    eventually("it says so", async || drowse.log().contains("would be suspended")).await;
    assert!(is_alive(pid(&first)));
    assert_eq!(drowse.phase("echo").await, "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cannot_reach_another_agent_or_the_admin_api_by_naming_its_port() {
    let agents = [Agent::demo("echo"), Agent::demo("other")];
    let (own, other) = (agents[0].port, agents[1].port);
    let drowse = Drowse::start(&agents, "idle_timeout: 1h").await;
    assert_eq!(drowse.get("other", "/").await.status, 200, "it is up");
    for port in [other, drowse.admin.port(), drowse.health.port(), free_port()] {
        let answer =
            http::get(drowse.front, &format!("{port}--{}", crate::support::host("echo")), "/").await.unwrap();
        assert_eq!(answer.status, 502, "port {port}: {}", answer.text());
    }
    assert_eq!(drowse.phase("echo").await, "Suspended", "none of them woke it");
    let answer =
        http::get(drowse.front, &format!("{own}--{}", crate::support::host("echo")), "/").await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_gives_up_on_an_answer_leaves_the_agent_its_idle_timeout_to_finish() {
    let drowse =
        Drowse::start(&[Agent::demo("echo").with(&["--start-delay", "0s"])], "idle_timeout: 1h").await;
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    let before = drowse.agent("echo").await["lastActivity"].clone();
    let front = drowse.front;
    // Its body never ends, so the agent never answers.
    let caller = tokio::spawn(async move {
        let mut stream = tokio::net::TcpStream::connect(front).await.unwrap();
        let head =
            "POST /checksum HTTP/1.1\r\nHost: echo.default.agents.localhost\r\nContent-Length: 9\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    eventually("it is in flight", async || drowse.agent("echo").await["inFlight"] == 1).await;
    caller.abort();
    eventually("it has ended", async || drowse.agent("echo").await["inFlight"] == 0).await;
    assert_ne!(drowse.agent("echo").await["lastActivity"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_still_held_when_drowse_ends_is_told_so() {
    let mut drowse =
        Drowse::start(&[Agent::demo("echo").with(&["--start-delay", "1h"])], "idle_timeout: 1h").await;
    let path = drowse.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("front_door: {", "front_door: {drain_timeout: 100ms, ")).unwrap();
    eventually("the edit is applied", async || drowse.metric("drowse_config_reloads_total", "").await > 0.0)
        .await;
    let front = drowse.front;
    let held = tokio::spawn(async move { http::get(front, "echo.default.agents.localhost", "/").await });
    eventually("it waits", async || drowse.agent("echo").await["held"] == 1).await;
    drowse.terminate().await;
    let answer = held.await.unwrap().expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn terminating_drowse_finishes_what_is_in_flight_and_takes_its_agents_along() {
    let mut drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h").await;
    let agent = pid(&drowse.get("echo", "/").await);
    let front = drowse.front;
    let slow =
        tokio::spawn(async move { http::get(front, "echo.default.agents.localhost", "/slow?for=2s").await });
    eventually("the request is in flight", async || drowse.agent("echo").await["inFlight"] == 1).await;
    assert_eq!(drowse.terminate().await, 0);
    let slow = slow.await.unwrap().expect("an answer");
    assert!(slow.text().ends_with("done\n"), "{}", slow.text());
    assert!(!is_alive(agent));
    let state = drowse.dir.path().join("state/default/echo");
    assert!(!read(&state.join("agent.log")).is_empty(), "each agent has a log file");
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_drowse_leaves_no_orphan_behind() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h").await;
    let agent = pid(&drowse.get("echo", "/").await);
    crate::support::signal(drowse.pid(), rustix::process::Signal::KILL);
    eventually("the agent ends too", async || !is_alive(agent)).await;
}
