//! Clients as people have them, unchanged, across sleep and wake: the nats command, nats-py and its micro services, and the SDKs of
//! the Synadia Agent Protocol. The one for Go is in `hand_over`, the one for Rust in `demo`.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use super::servers::{NEWEST, Servers};
use super::world::QUICK;
use crate::support::{Agent, Drowse, PATIENCE, eventually, program};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The python that has the clients.
async fn python() -> String {
    let output = Command::new(root().join("scripts/nats-clients-venv")).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

struct World {
    servers: Servers,
    drowse: Drowse,
    python: String,
}

impl World {
    /// One agent, `echo`, that is one of `tests/nats-clients`.
    async fn new(preset: &str, agent: &str, arguments: &[&str]) -> Self {
        let (servers, python) = (Servers::single(NEWEST).await, python().await);
        let mut echo = Agent::demo("echo");
        let (port, url) = (echo.port.to_string(), servers.urls());
        let file = root().join("tests/nats-clients").join(agent);
        echo.program = Some(python.clone());
        let own = [file.to_str().unwrap(), "--server", &url, "--port", &port];
        echo.arguments = own.iter().chain(arguments).map(ToString::to_string).collect();
        let defaults = format!("messages: {preset}\nidle_timeout: 500ms\nmin_running: 0s");
        let drowse = Drowse::start_with(&[echo], &defaults, servers.section(QUICK)).await;
        eventually("the message door is open", async || drowse.log().contains("the message door is open"))
            .await;
        Self { servers, drowse, python }
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> String {
        let run = Command::new(program).args(arguments).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE * 2, run).await.expect("it ends").unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Runs a caller of `tests/nats-clients`, which prints a line of JSON.
    async fn call(&self, caller: &str, arguments: &[&str]) -> Value {
        let file = root().join("tests/nats-clients").join(caller);
        let url = self.servers.urls();
        let mut all = vec![file.to_str().unwrap(), "--server", &url];
        all.extend(arguments);
        let printed = self.run(&self.python, &all).await;
        serde_json::from_str(printed.lines().last().unwrap_or_default())
            .unwrap_or_else(|_| panic!("{printed}"))
    }

    async fn asleep(&self) {
        self.drowse.wait_for_phase("echo", "Suspended").await;
    }
}

const PROMPT: &str = "agents.prompt.demo.default.echo";

#[tokio::test(flavor = "multi_thread")]
async fn a_micro_service_of_nats_py_is_called_by_the_nats_command_and_by_nats_py() {
    let world = World::new("micro", "micro_agent.py", &[]).await;
    let nats = program("nats").await;
    for _ in 0..2 {
        world.asleep().await;
        let url = world.servers.urls();
        let ask =
            ["-s", &url, "req", "agents.default.echo.ask", "hello", "--timeout", "30s", "-H", "A:b", "--raw"];
        let answer: Value = serde_json::from_str(&world.run(&nats, &ask).await).unwrap();
        assert_eq!((&answer["body"], &answer["headers"]["A"]), (&"hello".into(), &"b".into()), "{answer}");
        assert!(answer["headers"]["Drowse-Hold-Id"].is_string(), "it waited: {answer}");
    }
    world.asleep().await;
    for arguments in [&["--many", "200"][..], &["--many", "20", "--request"]] {
        let told = world.call("ask.py", arguments).await;
        assert_eq!((&told["good"], &told["lives"]), (&told["sent"], &1.into()), "{told}");
        assert!(told["bad"].as_array().unwrap().is_empty(), "{told}");
        world.asleep().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_for_services_is_no_work_and_no_answer() {
    let world = World::new("micro", "micro_agent.py", &["--work", "4"]).await;
    let nats = program("nats").await;
    let url = world.servers.urls();
    let asking = world.call("ask.py", &["--many", "1"]);
    let looking = async {
        world.drowse.wait_for_phase("echo", "Running").await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        world.run(&nats, &["-s", &url, "req", "$SRV.PING", "", "--replies", "0", "--timeout", "1s"]).await
    };
    let (told, found) = tokio::join!(asking, looking);
    assert_eq!(found.matches("ping_response").count(), 1, "Drowse says nothing for one that is up: {found}");
    assert!(!found.contains("drowse.phase"), "{found}");
    assert_eq!(told["good"], 1, "{told}");
    assert!(world.drowse.metric("drowse_suspends_total", "suspended").await < 1.5, "not while it worked");
    world.asleep().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_the_synadia_protocol_streams_its_answers_through_a_sleep() {
    let world = World::new("synadia", "synadia_agent.py", &[]).await;
    for _ in 0..2 {
        world.asleep().await;
        let told = world.call("synadia_caller.py", &["--subject", PROMPT, "--many", "5"]).await;
        let prompts = told["prompts"].as_array().unwrap();
        assert_eq!(prompts.len(), 5, "{told}");
        for prompt in prompts {
            assert!(prompt["text"].as_str().unwrap().starts_with("echo: hello"), "{told}");
            assert_eq!(prompt["statuses"][0][0], "ack", "it is told that it waits: {told}");
        }
    }
    world.asleep().await;
    // Not a stream: the word for "still waiting" would be taken for the answer.
    for _ in 0..2 {
        let told = world.call("synadia_caller.py", &["--subject", PROMPT, "--status"]).await;
        assert!(told.get("error").is_none(), "{told}");
        world.asleep().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_the_synadia_protocol_is_not_suspended_while_it_works_on_a_prompt() {
    let world = World::new("synadia", "synadia_agent.py", &["--work", "4"]).await;
    for _ in 0..2 {
        world.asleep().await;
        let told = world.call("synadia_caller.py", &["--subject", PROMPT]).await;
        assert!(told["prompts"][0]["text"].as_str().unwrap_or_default().starts_with("echo: hello"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_for_agents_finds_one_that_sleeps_also_after_a_restart_of_drowse() {
    let mut world = World::new("synadia", "synadia_agent.py", &[]).await;
    world.asleep().await;
    let told = world.call("synadia_caller.py", &["--subject", PROMPT]).await;
    assert!(told.get("error").is_none(), "{told}");
    world.asleep().await;
    let resumes = world.drowse.metric("drowse_resumes_total", "").await;
    let nats = program("nats").await;
    let url = world.servers.urls();
    for restarted in [false, true] {
        if restarted {
            world.drowse.crash().await;
            eventually("the message door is open", async || {
                world.drowse.log().matches("the message door is open").count() == 2
            })
            .await;
        }
        for (verb, kind) in
            [("PING", "ping_response"), ("INFO.agents", "info_response"), ("STATS", "stats_response")]
        {
            let subject = format!("$SRV.{verb}");
            let ask = ["-s", &url, "req", &subject, "", "--replies", "0", "--timeout", "1s"];
            eventually("it is answered for, once", async || {
                let found = world.run(&nats, &ask).await;
                found.matches(kind).count() == 1 && found.contains("\"drowse.phase\":\"Suspended\"")
            })
            .await;
        }
        let now = world.drowse.metric("drowse_resumes_total", "").await;
        assert!(restarted || (now - resumes).abs() < 0.5, "nobody is woken for it");
        // The SDK finds it, asks whether it is there, and prompts it.
        let told = world.call("synadia_caller.py", &[]).await;
        assert_eq!(told["discovered"].as_array().unwrap().len(), 1, "{told}");
        assert_eq!(
            (&told["answers_ping"], &told["metadata"]["drowse.phase"]),
            (&true.into(), &"Suspended".into()),
            "{told}"
        );
        assert!(told["prompts"][0]["text"].as_str().unwrap_or_default().starts_with("echo: hello"), "{told}");
        world.asleep().await;
    }
}
