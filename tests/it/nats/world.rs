//! Servers, Drowse, and agents that talk over NATS with the client library for Go.

use std::collections::HashMap;
use std::path::PathBuf;

use tokio::process::Command;

use super::servers::Servers;
use crate::support::{Agent, Drowse, PATIENCE, eventually, program, read};

/// Sleeps soon after it was used.
pub(super) const SHORT: &str = "messages: subject\nidle_timeout: 300ms\nmin_running: 0s";

/// Looks often at the servers' counters, as it must where agents sleep within a second.
pub(super) const QUICK: &str = "  poll_every: 100ms\n";

pub(super) struct World {
    pub(super) servers: Servers,
    pub(super) drowse: Drowse,
    go_agent: String,
    files: tempfile::TempDir,
}

/// An agent and how it is started.
pub(super) struct Talker<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: Vec<String>,
}

/// An agent that answers at once.
pub(super) fn talker(name: &str) -> Talker<'_> {
    Talker { name, arguments: Vec::new() }
}

impl Talker<'_> {
    pub(super) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }
}

impl World {
    /// One agent, `echo`.
    pub(super) async fn new(servers: Servers, defaults: &str) -> Self {
        Self::with(servers, &[talker("echo")], defaults, QUICK).await
    }

    pub(super) async fn with(servers: Servers, talkers: &[Talker<'_>], defaults: &str, nats: &str) -> Self {
        let world = Self::start(servers, talkers, defaults, nats).await;
        world.wait_until_open(1).await;
        world
    }

    /// The same, whether the message door opens or not.
    pub(super) async fn start(servers: Servers, talkers: &[Talker<'_>], defaults: &str, nats: &str) -> Self {
        let go_agent = program("nats-agent").await;
        let files = tempfile::TempDir::new().unwrap();
        let agent = |talker: &Talker<'_>| {
            let mut agent = Agent::demo(talker.name);
            let subject = format!("agents.default.{}.>", talker.name);
            let file = files.path().join(talker.name);
            let (port, urls) = (agent.port.to_string(), servers.urls());
            let own = [
                "agent",
                "--url",
                &urls,
                "--subject",
                &subject,
                "--port",
                &port,
                "--file",
                file.to_str().unwrap(),
            ];
            agent.program = Some(go_agent.clone());
            agent.arguments = own.map(str::to_owned).to_vec();
            agent.arguments.extend(talker.arguments.iter().chain(&servers.guest).cloned());
            agent
        };
        let agents: Vec<_> = talkers.iter().map(agent).collect();
        let drowse = Drowse::start_with(&agents, defaults, servers.section(nats)).await;
        Self { servers, drowse, go_agent, files }
    }

    /// Waits until the message door has opened for so many times.
    pub(super) async fn wait_until_open(&self, times: usize) {
        eventually("the message door is open", async || {
            self.drowse.log().matches("the message door is open").count() >= times
        })
        .await;
    }

    /// Runs the client, and gives what it prints.
    pub(super) async fn client(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.go_agent)
            .args(arguments)
            .args(["--url", &self.servers.urls()])
            .args(&self.servers.guest)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    }

    /// A request to an agent, and what comes of it.
    pub(super) async fn request(&self, agent: &str) -> String {
        self.client(&["request", "--subject", &format!("agents.default.{agent}.ask")]).await
    }

    /// Numbered messages to an agent.
    pub(super) async fn publish(&self, agent: &str, sender: &str, first: usize, count: usize, rate: usize) {
        let subject = format!("agents.default.{agent}.note");
        let (first, number, rate) = (first.to_string(), count.to_string(), rate.to_string());
        let printed = self
            .client(&[
                "publish",
                "--subject",
                &subject,
                "--sender",
                sender,
                "--first",
                &first,
                "--count",
                &number,
                "--rate",
                &rate,
            ])
            .await;
        assert_eq!(printed.trim(), count.to_string(), "they were sent");
    }

    fn file(&self, agent: &str) -> PathBuf {
        self.files.path().join(agent)
    }

    /// How often an agent has received each message. It writes them down when it ends.
    pub(super) async fn received(&self, agent: &str) -> HashMap<String, usize> {
        self.drowse.wait_for_phase(agent, "Suspended").await;
        let mut counts = HashMap::new();
        for line in read(&self.file(agent)).lines() {
            *counts.entry(line.trim().to_owned()).or_default() += 1;
        }
        counts
    }
}

impl World {
    /// How often an agent has received each message, once it has received so many.
    pub(super) async fn received_all(&self, agent: &str, count: usize) -> HashMap<String, usize> {
        eventually("the agent has received all", async || read(&self.file(agent)).lines().count() >= count)
            .await;
        self.received(agent).await
    }

    /// How many messages are in the hold stream.
    pub(super) async fn stored(&self) -> u64 {
        let client = async_nats::connect(self.servers.urls()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        let mut stream = jetstream.get_stream("DROWSE_HOLD").await.unwrap();
        stream.info().await.unwrap().state.messages
    }
}
