//! agent-sandbox's Python SDK, as programs use it, through the front door to an agent that sleeps.

use std::path::Path;
use std::process::Output;

use tokio::process::Command;

use crate::support::{Agent, Drowse, PATIENCE};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The python that has the SDK.
async fn python() -> String {
    let output = Command::new(root().join("scripts/sdk-venv")).output().await.unwrap();
    assert!(output.status.success(), "scripts/sdk-venv: {}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs `tests/sdk/sdk.py` against an agent of namespace `default`.
async fn sdk(python: &str, drowse: &Drowse, agent: &str, port: u16) -> Output {
    let (url, port) = (format!("http://{}", drowse.front), port.to_string());
    let run = Command::new(python)
        .arg(root().join("tests/sdk/sdk.py"))
        .args(["--api-url", &url, "--sandbox", agent, "--server-port", &port])
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(PATIENCE, run).await.expect("the SDK ends").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_the_python_sdk_wakes_a_sleeping_agent_and_finds_its_files_after_it_slept() {
    let python = python().await;
    let agent = Agent::demo("echo").with(&["--start-delay", "500ms"]);
    let port = agent.port;
    let drowse = Drowse::start(&[agent], "idle_timeout: 1h").await;
    assert_eq!(drowse.phase("echo").await, "Suspended");
    let output = sdk(&python, &drowse, "echo", port).await;
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(drowse.get("echo", "/").await.json()["starts"], 1, "all its calls cost one start");

    let (message, code) = drowse.command(&["suspend", "default/echo"]).await;
    assert_eq!(code, 0, "{message}");
    drowse.wait_for_phase("echo", "Suspended").await;
    let note = drowse.get("echo", "/download/sdk%20test%2Fnote").await;
    assert_eq!((note.status, note.text().as_str()), (200, "from a stream"), "what it wrote is still there");
    assert_eq!(note.header("drowse-start"), "cold");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_the_python_sdk_is_told_what_is_wrong() {
    let python = python().await;
    let agent = Agent::demo("echo");
    let port = agent.port;
    let drowse = Drowse::start(&[agent], "idle_timeout: 1h").await;
    let output = sdk(&python, &drowse, "nobody", port).await;
    assert!(!output.status.success() && text(&output).contains("502 Server Error"), "{}", text(&output));
    assert_eq!(drowse.phase("echo").await, "Suspended");
}
