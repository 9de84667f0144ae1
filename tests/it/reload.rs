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
