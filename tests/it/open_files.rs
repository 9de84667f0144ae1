//! The limit of open files, as Drowse and its agents have it.

use tokio::process::Command;

use crate::support::{Agent, Drowse, PROGRAM, read};

/// The soft limit that the test gives, and the hard one.
const SOFT: u64 = 200;
const HARD: u64 = 400;

/// The soft limit of a process.
fn limit(pid: u64) -> u64 {
    let limits = read(format!("/proc/{pid}/limits").as_ref());
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no limit in {limits:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn drowse_takes_all_that_it_may_and_its_agents_get_what_it_was_given() {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -Sn {SOFT} && ulimit -Hn {HARD} && exec \"$@\""), "sh", PROGRAM]);
    let drowse = Drowse::start_by(shell, &[Agent::demo("echo")], "idle_timeout: 1h").await;
    assert_eq!(limit(drowse.pid().into()), HARD);
    let agent = drowse.get("echo", "/").await.json();
    assert_eq!(limit(agent["pid"].as_u64().unwrap()), SOFT, "some programs cannot do with more than 1,024");
    assert!(drowse.log().contains("fewer files may be open"), "10,000 connections take more");
}
