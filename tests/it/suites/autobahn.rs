//! The Autobahn Testsuite: `WebSocket`s to the demo agent, which echoes. `tests/autobahn` runs the suite's cases; left out are those of
//! compression, which the demo agent does not offer, and some of the limits, which are slow.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::Start;
use crate::support::{Agent, Drowse, host};

/// Seconds as a rule; what hangs takes the suite's own time-outs.
const LIMIT: Duration = Duration::from_mins(5);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The python that has the suite.
async fn python() -> String {
    let output = Command::new(root().join("scripts/autobahn-venv")).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs cases against an echo at this port, and gives what was found of each.
async fn cases(host: &str, port: u16, arguments: &[&str]) -> Vec<Value> {
    let url = format!("ws://{host}:{port}/ws");
    let run = Command::new(python().await)
        // Leaves no compiled files beside the sources.
        .arg("-B")
        .arg(root().join("tests/autobahn/client.py"))
        .args(["--url", &url, "--port", &port.to_string()])
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, run).await.expect("the suite ends").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}\n{errors}", output.status);
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// As the suite's own report has it: what is green there, and what is only told.
fn passed(case: &Value) -> bool {
    let is = |key: &str, good: &[&str]| good.contains(&case[key].as_str().unwrap_or_default());
    case["opened"] == true
        && is("behavior", &["OK", "NON-STRICT", "INFORMATIONAL"])
        && is("behaviorClose", &["OK", "INFORMATIONAL"])
}

async fn suite(start: Start, arguments: &[&str], count: usize) {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h").await;
    let begun = start.begin(&drowse, "echo").await;
    let found = cases(&host("echo"), drowse.front.port(), arguments).await;
    let failed: Vec<_> = found.iter().filter(|case| !passed(case)).map(|case| format!("{case:#}")).collect();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), found.len(), failed.join("\n"));
    assert_eq!(found.len(), count, "cases");
    begun.cost(&drowse).await;
}

/// Everything but limits and performance.
const RULES: &[&str] = &["--without", "9."];
/// Messages of up to 16 MiB, and a thousand there and back. The 30 others of the kind cut 1 and 4 MiB into small pieces, which takes
/// the suite itself a minute.
const LIMITS: &[&str] =
    &["--only", "9.1.", "--only", "9.2.", "--only", "9.7.", "--only", "9.8.", "--at-once", "4"];

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_finds_no_fault_in_websockets_to_an_agent_that_is_up() {
    suite(Start::Warm, RULES, 247).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_finds_no_fault_in_websockets_to_an_agent_that_sleeps_at_first() {
    suite(Start::Asleep, RULES, 247).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_finds_no_limit_that_is_too_low() {
    suite(Start::Asleep, LIMITS, 24).await;
}
