//! The program under load: starts the real `drowse run` on a temporary configuration, with one demo agent, before a
//! cluster or beside a NATS server, and ends it by its process id.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::agent::Agent;
use crate::client::Call;
use crate::loopback::Loopback;
use crate::process;

const LOCAL: &str = "127.0.0.1";

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that must happen.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Connections that Drowse allows by itself.
const DEFAULT_CONNECTIONS: u32 = 10_000;
/// Connections beside those of callers: ones that are about to close.
const SPARE_CONNECTIONS: u32 = 100;

/// More keys of `front_door`: room for so many callers at once, and never less than Drowse has by itself.
pub(crate) fn room_for(callers: u32) -> String {
    format!(", max_connections: {}", callers.max(DEFAULT_CONNECTIONS) + SPARE_CONNECTIONS)
}

/// Where the program is.
#[derive(Debug)]
pub(crate) struct Program(pub(crate) PathBuf);

impl Program {
    /// The one that was named, or the one beside this very program.
    pub(crate) fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => std::env::current_exe().context("failed to find this program")?.with_file_name("drowse"),
        };
        ensure!(path.is_file(), "{} is no program; build drowse, or name it with --drowse", path.display());
        Ok(Self(path))
    }
}

/// What differs between scenarios with a demo agent.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// How long the agent takes to start, in seconds.
    pub(crate) start_delay_secs: u8,
    /// Callers at once, if more than Drowse allows by itself.
    pub(crate) callers: Option<u32>,
    /// Requests that the agent gets at once.
    pub(crate) max_in_flight: Option<u32>,
}

/// A running Drowse. Killed when dropped; its agents notice and end too.
#[derive(Debug)]
pub(crate) struct Drowse {
    pub(crate) pid: u32,
    /// Its front door.
    pub(crate) front: Loopback,
    /// Where the demo agent listens.
    pub(crate) agent: Loopback,
    /// The demo agent.
    echo: Agent,
    admin: Loopback,
    health: Loopback,
    child: Child,
    dir: TempDir,
}

impl Drowse {
    /// Starts it, and waits until it is ready. The agent has never been started then.
    pub(crate) async fn start(program: &Program, setup: &Setup) -> anyhow::Result<Self> {
        Self::start_with(Command::new(&program.0), PATIENCE, |ports| config(ports, setup)).await
    }

    /// Starts it before the Sandboxes of one namespace of the cluster that the environment names. `rest` is the rest of
    /// its configuration.
    pub(crate) async fn before_cluster(
        program: &Program,
        namespace: &str,
        rest: &str,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let command = Command::new(&program.0);
        Self::start_with(command, patience, |ports| cluster_config(ports, namespace, rest)).await
    }

    /// Starts it with a configuration of which only the addresses are missing.
    pub(crate) async fn configured(
        program: &Program,
        rest: &str,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        Self::by(Command::new(&program.0), "", rest, patience).await
    }

    /// The same by another command, and with more keys of `front_door`, each after a comma.
    pub(crate) async fn by(
        command: Command,
        front_door: &str,
        rest: &str,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        Self::start_with(command, patience, |ports| ports.listen(front_door) + rest).await
    }

    async fn start_with(
        command: Command,
        patience: Duration,
        config: impl FnOnce(&Ports) -> String,
    ) -> anyhow::Result<Self> {
        let dir = TempDir::new().context("failed to make a temporary folder")?;
        let ports = Ports::free().context("failed to find free ports")?;
        std::fs::write(dir.path().join("drowse.yaml"), config(&ports)).context("failed to configure")?;
        let child = spawn(command, dir.path())?;
        let pid = child.id().context("drowse has ended already")?;
        let Ports { front, agent, admin, health } = ports;
        let echo = Agent::new(front, admin, "default", "echo")?;
        let mut drowse = Self { pid, front, agent, echo, admin, health, child, dir };
        drowse.wait_until_ready(patience).await?;
        Ok(drowse)
    }

    async fn wait_until_ready(&mut self, patience: Duration) -> anyhow::Result<()> {
        let ready = Call::get(self.health, LOCAL, "/readyz");
        let clock = Clock::start();
        let deadline = clock.now() + patience;
        while !ready.once().await.is_ok_and(|answer| answer.status.is_success()) {
            let ended = self.child.try_wait().context("failed to look after drowse")?;
            if ended.is_some() || clock.now() > deadline {
                bail!("drowse did not get ready. Its log:\n{}", self.log());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("drowse.log")).unwrap_or_default()
    }

    /// The demo agent.
    pub(crate) const fn echo(&self) -> &Agent {
        &self.echo
    }

    /// Another agent.
    pub(crate) fn agent(&self, namespace: &str, name: &str) -> anyhow::Result<Agent> {
        Agent::new(self.front, self.admin, namespace, name)
    }

    /// A request to the demo agent through the front door.
    pub(crate) fn through(&self, path: &'static str) -> Call {
        self.echo.call(path)
    }

    /// Its metrics.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        let answer = Call::get(self.health, LOCAL, "/metrics").once().await.context("no metrics")?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// All agents in a phase, as the admin API lists them.
    pub(crate) async fn agents_in(&self, phase: &str) -> anyhow::Result<serde_json::Value> {
        let path = http::Uri::try_from(format!("/api/v1/agents?phase={phase}"))?;
        let host = http::HeaderValue::from_static(LOCAL);
        let answer = Call::new(http::Method::GET, self.admin, host, path).once().await;
        Ok(answer.context("the admin API does not answer")?.json())
    }

    /// Asks it to end, and kills it if it does not.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        process::end(&mut self.child, "drowse").await
    }
}

fn spawn(mut command: Command, dir: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::create(dir.join("drowse.log")).context("failed to make a log")?;
    let errors = log.try_clone().context("failed to make a log")?;
    command.args(["run", "--config"]).arg(dir.join("drowse.yaml"));
    command.stdin(Stdio::null()).stdout(log).stderr(errors).kill_on_drop(true);
    let program = command.as_std().get_program().to_owned();
    command.spawn().with_context(|| format!("failed to start {}", program.display()))
}

/// Where everything listens.
struct Ports {
    front: Loopback,
    agent: Loopback,
    admin: Loopback,
    health: Loopback,
}

impl Ports {
    fn free() -> std::io::Result<Self> {
        let free = Loopback::free;
        Ok(Self { front: free()?, agent: free()?, admin: free()?, health: free()? })
    }

    /// The addresses of a Drowse that runs its agents itself, and more keys of `front_door`.
    fn listen(&self, front_door: &str) -> String {
        let Self { front, admin, health, .. } = self;
        let [front, admin, health] = [front, admin, health].map(|port| port.address());
        format!(
            "front_door: {{listen: \"{front}\"{front_door}}}\nadmin: {{listen: \"{admin}\"}}\nhealth: {{listen: \"{health}\"}}\n"
        )
    }
}

/// All that is not written has the default of Drowse.
fn config(ports: &Ports, setup: &Setup) -> String {
    let (port, delay) = (ports.agent.address().port(), setup.start_delay_secs);
    let limits = setup.callers.map(|callers| format!("limits: {{held: {callers}}}\n"));
    let max_held = setup.callers.map(|callers| format!(", max_held: {callers}"));
    let max_in_flight = setup.max_in_flight.map(|number| format!(", max_in_flight: {number}"));
    format!(
        "backend:\n  process:\n    state_dir: state\n    agents:\n      - name: echo\n        port: {port}\n        \
         command: [drowse, demo-agent, --port, \"{{port}}\", --start-delay, {delay}s]\n\
         front_door: {{listen: \"{}\"{}}}\nadmin: {{listen: \"{}\"}}\nhealth: {{listen: \"{}\"}}\n\
         {}defaults: {{idle_timeout: 1h, min_running: 0s{}{}}}\n",
        ports.front.address(),
        setup.callers.map(room_for).unwrap_or_default(),
        ports.admin.address(),
        ports.health.address(),
        limits.unwrap_or_default(),
        max_held.unwrap_or_default(),
        max_in_flight.unwrap_or_default(),
    )
}

/// Agents of one namespace, opted in.
fn cluster_config(ports: &Ports, namespace: &str, rest: &str) -> String {
    format!(
        "backend: {{kubernetes: {{namespaces: [{namespace}]}}}}\n\
         front_door: {{listen: \"{}\", auth: none}}\nadmin: {{listen: \"{}\"}}\nhealth: {{listen: \"{}\"}}\n\
         defaults: {{route: true, manage: true, idle_timeout: 1h, min_running: 0s}}\n{rest}",
        ports.front.address(),
        ports.admin.address(),
        ports.health.address(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drowse_understands_the_configuration() {
        let ports = Ports::free().unwrap();
        let storm = Setup { start_delay_secs: 2, callers: Some(25_000), max_in_flight: Some(7) };
        let mut texts = [Setup::default(), storm].map(|setup| config(&ports, &setup)).to_vec();
        texts.push(cluster_config(&ports, "bench", "telemetry: {log: {level: debug}}\n"));
        texts.push(ports.listen("") + "backend: {process: {agents: []}}\n");
        let crowd = ports.listen(&room_for(20_000)) + "backend: {process: {agents: []}}\n";
        assert!(crowd.contains("max_connections: 20100"), "{crowd}");
        texts.push(crowd);
        for text in texts {
            if let Err(error) = ::drowse::config::parse(&text, Path::new("drowse.yaml")) {
                panic!("{error}\n{text}");
            }
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_said_so() {
        let error = Program::find(Some(Path::new("/no/such/drowse"))).unwrap_err();
        assert!(error.to_string().contains("--drowse"), "{error}");
    }
}
