//! Keep-awake windows, with the real program and the real calendar.

use crate::support::{Agent, Drowse};

const QUICK: &str = "idle_timeout: 300ms\nmin_running: 0s";
/// Open whatever the time is.
const ALWAYS: &str = "0 * * * * for 2h Europe/Berlin";

/// `echo` has a window, `other` has none.
fn rules() -> String {
    format!("rules: [{{match: {{name: echo}}, keep_awake: [\"{ALWAYS}\"]}}]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_window_keeps_an_agent_up_while_another_sleeps_and_wakes_nobody() {
    let agents = [Agent::demo("echo"), Agent::demo("other")];
    let drowse = Drowse::start_with(&agents, QUICK, rules()).await;
    assert_eq!(drowse.phase("echo").await, "Suspended", "a window wakes nobody");
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    let before = drowse.agent("echo").await["lastActivity"].clone();

    // Called later, and asleep again: by then the one with the window would sleep, too, if it had none.
    assert_eq!(drowse.get("other", "/").await.status, 200);
    drowse.wait_for_phase("other", "Suspended").await;
    let echo = drowse.agent("echo").await;
    assert_eq!((&echo["phase"], &echo["lastActivity"]), (&"Running".into(), &before));
    let reason = format!("in a keep-awake window ({ALWAYS})");
    assert!(echo["reason"].as_str().is_some_and(|text| text.contains(&reason)), "{echo}");
    let (explained, _) = drowse.command(&["explain", "default/echo"]).await;
    let mut lines = explained.lines().map(str::trim);
    let signal = lines.find(|line| line.starts_with("keep_awake") && line.contains("yes, until"));
    assert!(signal.is_some_and(|line| line.ends_with(ALWAYS) && line.contains(":00:00Z)")), "{explained}");
    let (text, code) = drowse.command(&["suspend", "default/echo"]).await;
    assert_eq!(code, 0, "an operator may all the same: {text}");
    drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_taken_out_of_the_configuration_keeps_nobody_up() {
    let drowse = Drowse::start(&[Agent::demo("echo")], &format!("{QUICK}\nkeep_awake: [\"{ALWAYS}\"]")).await;
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    let reason = drowse.agent("echo").await["reason"].to_string();
    assert!(reason.contains("keep-awake"), "{reason}");
    drowse.edit_defaults(QUICK);
    drowse.wait_for_phase("echo", "Suspended").await;
}
