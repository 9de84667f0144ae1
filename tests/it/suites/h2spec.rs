//! h2spec: the rules of HTTP/2 and of HPACK, for the front door with the demo agent behind it, with TLS and without.

use std::time::Duration;

use tokio::process::Command;

use super::{Start, Way, door};
use crate::support::{Agent, Drowse, program};

/// Seconds as a rule; what hangs takes the suite's own time-outs.
const LIMIT: Duration = Duration::from_mins(5);
/// What it tries, and its last line. Without TLS all but `http2/3.5/2`: bytes that begin neither version of HTTP are answered in
/// HTTP/1.1, which the same port speaks, before the connection is closed; the suite takes no bytes for an end.
const CLEAR: (&[&str], &str) = (
    &["generic", "hpack", "http2/3.5/1", "http2/4", "http2/5", "http2/6", "http2/7", "http2/8"],
    "144 tests, 144 passed, 0 skipped, 0 failed",
);
const TLS: (&[&str], &str) = (&[], "145 tests, 145 passed, 0 skipped, 0 failed");

async fn suite(start: Start, way: Way) {
    let h2spec = program("h2spec").await;
    let agent = Agent::demo("echo");
    // It can only call a host that it can find, and so names the agent by the path.
    let path = format!("/agents/default/echo/{}/", agent.port);
    let door = door(way);
    let drowse = Drowse::start_door(&[agent], "idle_timeout: 1h", &door.keys).await;
    let begun = start.begin(&drowse, "echo").await;
    let port = door.port(&drowse).to_string();
    // Ten seconds for an answer: the machine may be busy with other tests.
    let (rules, good) = if way == Way::Tls { TLS } else { CLEAR };
    let mut run = Command::new(h2spec);
    run.args(rules);
    run.args(["--host", "127.0.0.1", "--port", &port, "--path", &path, "--timeout", "10"]);
    if way == Way::Tls {
        run.args(["--tls", "--insecure"]);
    }
    let output = tokio::time::timeout(LIMIT, run.kill_on_drop(true).output()).await;
    let output = output.expect("the suite ends").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let failures = text.rfind("Failures:").map_or("", |at| &text[at..]);
    let last = text.lines().last().unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && last == good, "{last}\n{failures}\n{errors}");
    begun.cost(&drowse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2spec_finds_no_fault_before_an_agent_that_is_up() {
    suite(Start::Warm, Way::Clear).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2spec_finds_no_fault_before_an_agent_that_sleeps_at_first() {
    suite(Start::Asleep, Way::Clear).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2spec_finds_no_fault_over_tls_before_an_agent_that_is_up() {
    suite(Start::Warm, Way::Tls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2spec_finds_no_fault_over_tls_before_an_agent_that_sleeps_at_first() {
    suite(Start::Asleep, Way::Tls).await;
}
