//! The demo agent as a process of its own, as a pod has it.

use std::net::SocketAddr;

use drowse::time::{Clock, Moment};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{PATIENCE, PROGRAM, eventually, free_port, http, signal};

/// One that answers on all addresses.
async fn start(dir: &TempDir, options: &[&str]) -> (Child, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let agent = Command::new(PROGRAM)
        .args(["demo-agent", "--host", "0.0.0.0", "--port", &address.port().to_string()])
        .args(options)
        .env("POD_NAME", "echo-0")
        .env("POD_UID", "0f1e")
        .current_dir(dir)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("it answers", async || http::get(address, "x", "/healthz").await.is_ok()).await;
    (agent, address)
}

async fn ends(agent: &mut Child) -> Option<i32> {
    tokio::time::timeout(PATIENCE, agent.wait()).await.expect("it ends").unwrap().code()
}

#[tokio::test]
async fn a_demo_agent_tells_its_pod_and_ends_at_sigterm() {
    let dir = TempDir::new().unwrap();
    let (mut agent, address) = start(&dir, &["--listen-after", "10ms"]).await;
    let who = http::get(address, "x", "/whoami").await.unwrap().json();
    assert_eq!((who["pod_name"].as_str(), who["pod_uid"].as_str()), (Some("echo-0"), Some("0f1e")), "{who}");
    signal(agent.id().unwrap(), Signal::TERM);
    assert_eq!(ends(&mut agent).await, Some(0));
    assert!(dir.path().join("files").is_dir(), "its files are below its working directory");
}

#[tokio::test]
async fn a_demo_agent_that_stops_slowly_serves_on_after_sigterm_and_ends_in_its_time() {
    let dir = TempDir::new().unwrap();
    let (mut agent, address) = start(&dir, &["--stop-after", "700ms"]).await;
    let clock = Clock::start();
    signal(agent.id().unwrap(), Signal::TERM);
    assert_eq!(http::get(address, "x", "/").await.unwrap().status, 200);
    assert_eq!(ends(&mut agent).await, Some(0));
    let took = clock.now().since(Moment::START).as_millis();
    assert!(took >= 700, "{took} ms");

    let (mut agent, _) = start(&dir, &["--stop-after", "1h"]).await;
    signal(agent.id().unwrap(), Signal::TERM);
    signal(agent.id().unwrap(), Signal::INT);
    assert_eq!(ends(&mut agent).await, Some(0), "Ctrl-C does not wait");
}
