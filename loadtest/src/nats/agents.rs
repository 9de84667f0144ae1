//! Demo agents that talk over NATS: in the configuration of Drowse, which starts them when they are called, and alone.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::{Client, RequestErrorKind};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::Server;
use crate::drowse::Program;
use crate::process;

/// How long an agent may take to answer the first time.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two questions to an agent that is about to start.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// An agent, up or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Talker {
    pub(crate) name: String,
    /// It listens there, too.
    pub(crate) port: u16,
}

impl Talker {
    /// What it is asked by.
    pub(crate) fn subject(&self) -> String {
        format!("agents.default.{}.ask", self.name)
    }

    /// Asks it once, and makes sure who answered. What nobody takes is `None`.
    pub(crate) async fn ask(&self, client: &Client) -> anyhow::Result<Option<()>> {
        let asked = client.request(self.subject(), Bytes::new());
        let answer = tokio::time::timeout(PATIENCE, asked).await.context("no answer")?;
        match answer {
            Ok(answer) => {
                let payload: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
                let expected = format!("default/{}", self.name);
                ensure!(payload["agent"] == *expected, "{expected} did not answer, but: {answer:?}");
                Ok(Some(()))
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} does not answer", self.name)),
        }
    }

    /// Asks until it answers.
    pub(crate) async fn until_up(&self, client: &Client) -> anyhow::Result<()> {
        let up = async {
            while self.ask(client).await?.is_none() {
                tokio::time::sleep(ASK_EVERY).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, up).await.with_context(|| format!("{} does not start", self.name))?
    }
}

/// The configuration of a Drowse with these agents, without its addresses. `rule` is what holds for all of them besides
/// that messages wake them; all else has the default of Drowse.
pub(crate) fn config(talkers: &[Talker], server: &Server, rule: &str) -> String {
    write(talkers, &server.url(), rule) + &server.section()
}

fn write(talkers: &[Talker], url: &str, rule: &str) -> String {
    let mut text = format!(
        "defaults: {{messages: subject{rule}}}\nbackend:\n  process:\n    state_dir: state\n    agents:\n"
    );
    for Talker { name, port } in talkers {
        // Ten thousand of them must fit a file of 2 MiB.
        _ = writeln!(
            text,
            "    - {{name: {name}, port: {port}, command: [drowse, demo-agent, --port, \"{{port}}\", --nats, \"{url}\"]}}"
        );
    }
    text
}

/// An agent without a Drowse. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Alone {
    child: Child,
    /// Its files, which go with it.
    _dir: TempDir,
}

impl Alone {
    pub(crate) fn start(program: &Program, talker: &Talker, server: &Server) -> anyhow::Result<Self> {
        let dir = TempDir::new().context("failed to make a temporary folder")?;
        let child =
            spawn(&program.0, talker, &server.url(), dir.path()).context("failed to start an agent")?;
        Ok(Self { child, _dir: dir })
    }

    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        process::end(&mut self.child, "an agent").await
    }
}

fn spawn(program: &Path, talker: &Talker, url: &str, dir: &Path) -> anyhow::Result<Child> {
    let program = program.canonicalize()?;
    let mut command = Command::new(program);
    command.args(["demo-agent", "--name", &talker.name, "--port", &talker.port.to_string(), "--nats", url]);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.kill_on_drop(true).spawn()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drowse_understands_the_configuration_with_as_many_agents_as_may_be() {
        let talker = |number| Talker { name: format!("a{number:05}"), port: 20_000 + number };
        let talkers: Vec<_> =
            (0..crate::args::MAX_SLEEPERS).map(|number| talker(u16::try_from(number).unwrap())).collect();
        let text = write(&talkers, "nats://127.0.0.1:65535", ", ready: messages")
            + "front_door: {listen: \"127.0.0.1:0\"}\nnats: {servers: [\"nats://127.0.0.1:65535\"]}\n";
        if let Err(error) = ::drowse::config::parse(&text, Path::new("drowse.yaml")) {
            panic!("{error}");
        }
    }

    #[test]
    fn an_agent_is_asked_below_its_own_subject() {
        let talker = Talker { name: "echo".to_owned(), port: 1 };
        assert_eq!(talker.subject(), "agents.default.echo.ask");
    }
}
