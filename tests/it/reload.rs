//! Editing the configuration while it runs.

use crate::support::{Agent, Drowse, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_idle_timeout_reaches_an_agent_that_already_runs() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h\nmin_running: 0s").await;
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    assert_eq!(drowse.phase("echo").await, "Running");
    drowse.edit_defaults("idle_timeout: 100ms\nmin_running: 0s");
    drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_edit_changes_nothing_and_is_reported_with_its_line() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h\nmin_running: 0s").await;
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    drowse.edit_defaults("idle_timeout: soon\nmin_running: 0s");
    eventually("the refusal is in the log", async || drowse.log().contains("drowse.yaml:10:")).await;
    eventually("the refusal is in the metrics", async || {
        drowse.metric("drowse_config_last_reload_successful", "").await == 0.0
    })
    .await;
    assert_eq!(drowse.phase("echo").await, "Running");
    let idle = drowse.agent("echo").await["policy"].to_string();
    assert!(idle.contains("1h"), "the old value still holds: {idle}");

    drowse.edit_defaults("idle_timeout: 100ms\nmin_running: 0s");
    drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_messages_need_a_restart_stays_up_and_says_so() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h\nmin_running: 0s").await;
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    let defaults = "idle_timeout: 100ms\nmin_running: 0s\nmessages: subject\nready: messages";
    drowse.edit_defaults_and(defaults, "nats: {servers: [nats://127.0.0.1:1]}\n");
    eventually("it is idle and stays up", async || {
        drowse.log().contains("idle, but not suspended") && drowse.log().contains("restart Drowse")
    })
    .await;
    assert_eq!(drowse.phase("echo").await, "Running");
    let (explained, _) = drowse.command(&["explain", "default/echo"]).await;
    assert!(
        explained.contains("restart Drowse") && explained.contains("wait for a restart: nats"),
        "{explained}"
    );
    // Nobody could ever be seen to subscribe.
    assert_eq!(drowse.command(&["suspend", "default/echo"]).await.1, 1);
    assert_eq!(drowse.get("echo", "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_agent_that_sleeps_and_is_not_managed_any_more_nobody_promises_that_a_call_resumes_it() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h\nmin_running: 0s").await;
    drowse.wait_for_phase("echo", "Suspended").await;
    let (explained, _) = drowse.command(&["explain", "default/echo"]).await;
    assert!(explained.contains("the next call resumes it"), "{explained}");
    drowse.edit_defaults("idle_timeout: 1h\nmin_running: 0s\nmanage: false");
    eventually("it says so", async || {
        drowse.command(&["explain", "default/echo"]).await.0.contains("no rule has manage: true for it")
    })
    .await;
    assert_eq!(drowse.get("echo", "/").await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_agent_that_has_died_and_is_not_managed_any_more_nobody_promises_that_a_call_starts_it() {
    // Switched off, it is not cleared away.
    let (defaults, off) = ("idle_timeout: 1h\nmin_running: 0s", "suspend: off\n".to_owned());
    let drowse = Drowse::start_with(&[Agent::demo("echo")], defaults, off).await;
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    assert_eq!(drowse.get("echo", "/crash").await.status, 502);
    drowse.wait_for_phase("echo", "Failed").await;
    let (explained, _) = drowse.command(&["explain", "default/echo"]).await;
    assert!(explained.contains("the next call starts it again"), "{explained}");
    drowse.edit_defaults(&format!("{defaults}\nmanage: false"));
    eventually("it says so", async || {
        let (explained, _) = drowse.command(&["explain", "default/echo"]).await;
        explained.contains("calls do not start it again") && !explained.contains("the next call")
    })
    .await;
}
