//! Starts the real program on a configuration of its own, and talks to it.

pub(crate) mod balancer;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod load;
mod ports;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) use ports::{free_address, free_port};

/// A program that is built from a pinned source, once.
pub(crate) async fn program(name: &str) -> String {
    let name = name.to_owned();
    let built = tokio::task::spawn_blocking(move || drowse_cluster::program(&name).unwrap());
    built.await.unwrap().to_str().unwrap().to_owned()
}

/// How long anything that must happen may take before a test gives up. Long, since machines are slow at times.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_drowse");

/// A running Drowse. Ended when dropped, with its agents.
pub(crate) struct Drowse {
    pub(crate) front: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) dir: TempDir,
    agents: String,
    /// More keys of its front door.
    door: String,
    /// Other sections of its configuration.
    more: String,
    child: Child,
}

/// An agent of the configuration.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) arguments: Vec<String>,
    /// Its namespace; `default` if there is none.
    pub(crate) namespace: Option<String>,
    /// What it is, instead of the demo agent.
    pub(crate) program: Option<String>,
    /// How it is suspended.
    pub(crate) suspend: &'static str,
}

impl Agent {
    /// A demo agent on a free port.
    pub(crate) fn demo(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            port: free_port(),
            arguments: Vec::new(),
            namespace: None,
            program: None,
            suspend: "stop",
        }
    }

    /// With more arguments.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Suspended by being frozen.
    pub(crate) fn frozen(mut self) -> Self {
        self.suspend = "freeze";
        self
    }

    fn yaml(&self) -> String {
        let demo = ["drowse", "demo-agent", "--port", "{port}"].map(str::to_owned).to_vec();
        let mut command = self.program.as_ref().map_or(demo, |program| vec![program.clone()]);
        command.extend(self.arguments.iter().cloned());
        let namespace = self.namespace.as_deref().unwrap_or("default");
        format!(
            "      - {{name: {}, namespace: {namespace}, port: {}, suspend: {}, command: {command:?}}}\n",
            self.name, self.port, self.suspend
        )
    }
}

impl Drowse {
    /// Starts it with these agents and this `defaults:` section, and waits until it is ready.
    pub(crate) async fn start(agents: &[Agent], defaults: &str) -> Self {
        Self::start_by(Command::new(PROGRAM), agents, defaults).await
    }

    /// The same by another command, which ends by executing the program with the arguments that it is given.
    pub(crate) async fn start_by(command: Command, agents: &[Agent], defaults: &str) -> Self {
        Self::begin(command, agents, defaults, ("", String::new())).await
    }

    /// The same with more sections in its configuration.
    pub(crate) async fn start_with(agents: &[Agent], defaults: &str, more: String) -> Self {
        Self::begin(Command::new(PROGRAM), agents, defaults, ("", more)).await
    }

    /// The same with more keys of its front door: `key: value, `.
    pub(crate) async fn start_door(agents: &[Agent], defaults: &str, door: &str) -> Self {
        Self::begin(Command::new(PROGRAM), agents, defaults, (door, String::new())).await
    }

    /// The same with both.
    pub(crate) async fn start_door_with(agents: &[Agent], defaults: &str, door: &str, more: String) -> Self {
        Self::begin(Command::new(PROGRAM), agents, defaults, (door, more)).await
    }

    async fn begin(command: Command, agents: &[Agent], defaults: &str, (door, more): (&str, String)) -> Self {
        let dir = TempDir::new().unwrap();
        let (front, admin, health) = (free_address(), free_address(), free_address());
        let agents: String = agents.iter().map(Agent::yaml).collect();
        let listens = [front, admin, health];
        let config = config(listens, door, &agents, defaults) + &more;
        std::fs::write(dir.path().join("drowse.yaml"), config).unwrap();
        let child = spawn(command, dir.path());
        let drowse = Self { front, admin, health, dir, agents, door: door.to_owned(), more, child };
        drowse.ready().await;
        drowse
    }

    async fn ready(&self) {
        eventually("Drowse is ready", async || {
            http::get(self.health, "x", "/readyz").await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// Kills it without warning, and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.kill().await;
        self.start_again().await;
    }

    /// Kills it without warning.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again after it has ended.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(Command::new(PROGRAM), self.dir.path());
        self.ready().await;
    }

    /// The path of its configuration.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.dir.path().join("drowse.yaml")
    }

    /// Replaces the `defaults:` section of its configuration.
    pub(crate) fn edit_defaults(&self, defaults: &str) {
        self.edit_defaults_and(defaults, "");
    }

    /// The same, and adds sections.
    pub(crate) fn edit_defaults_and(&self, defaults: &str, sections: &str) {
        let listens = [self.front, self.admin, self.health];
        let text = config(listens, &self.door, &self.agents, defaults) + &self.more + sections;
        std::fs::write(self.config_path(), text).unwrap();
    }

    /// `GET` to an agent of namespace `default`.
    pub(crate) async fn get(&self, agent: &str, path: &str) -> http::Answer {
        http::get(self.front, &host(agent), path).await.expect("an answer")
    }

    /// One agent as the API shows it.
    pub(crate) async fn agent(&self, agent: &str) -> Value {
        let path = format!("/api/v1/agents/default/{agent}");
        let answer = http::get(self.admin, "127.0.0.1", &path).await.expect("an answer of the API");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// Its phase.
    pub(crate) async fn phase(&self, agent: &str) -> String {
        self.agent(agent).await["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until it is in this phase.
    pub(crate) async fn wait_for_phase(&self, agent: &str, phase: &str) {
        eventually(&format!("{agent} is {phase}"), async || self.phase(agent).await == phase).await;
    }

    /// One number of `/metrics`, summed over all labels that contain the text.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> f64 {
        let answer = http::get(self.health, "x", "/metrics").await.expect("metrics");
        let text = String::from_utf8(answer.body).unwrap();
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        let named = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels))
        };
        text.lines().filter(named).filter_map(value).sum()
    }

    /// Runs a command of the program against this Drowse, and gives its output and exit code.
    pub(crate) async fn command(&self, arguments: &[&str]) -> (String, i32) {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("DROWSE_ADMIN", format!("http://{}", self.admin))
            .env("DROWSE_CONFIG", self.config_path())
            .output()
            .await
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (text, output.status.code().unwrap_or(-1))
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        read(&self.dir.path().join("drowse.log"))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> i32 {
        signal(self.pid(), rustix::process::Signal::TERM);
        self.end().await
    }

    /// Waits until it has ended.
    pub(crate) async fn end(&mut self) -> i32 {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        status.code().unwrap_or(-1)
    }
}

impl Drop for Drowse {
    fn drop(&mut self) {
        // Its agents end with it: their guards notice.
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            eprintln!("log of Drowse:\n{}", self.log());
        }
    }
}

fn spawn(mut command: Command, dir: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("drowse.log")).unwrap();
    command
        .args(["run", "--config"])
        .arg(dir.join("drowse.yaml"))
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn config([front, admin, health]: [SocketAddr; 3], door: &str, agents: &str, defaults: &str) -> String {
    let defaults: Vec<_> = defaults.lines().map(|line| format!("  {}\n", line.trim())).collect();
    let defaults = defaults.concat();
    format!(
        "backend:\n  process:\n    state_dir: state\n    agents:\n{agents}\
         front_door: {{{door}listen: \"{front}\"}}\nadmin: {{listen: \"{admin}\"}}\nhealth: {{listen: \"{health}\"}}\n\
         defaults:\n{defaults}"
    )
}

/// The host under which an agent of namespace `default` is found.
pub(crate) fn host(agent: &str) -> String {
    format!("{agent}.default.agents.localhost")
}

/// Waits for a condition, never for a duration.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never happened: {what}");
}

/// Whether a process exists (a zombie does not count).
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")));
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Whether a process was stopped and did not go on.
pub(crate) fn stands_still(pid: u32) -> bool {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")));
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}

/// Sends a signal to a process that the test started.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The text of a file; empty if there is none.
pub(crate) fn read(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let _ = file.read_to_string(&mut text);
    }
    text
}
