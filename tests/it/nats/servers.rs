//! Real NATS servers, alone or three together, that can be killed and started again.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{eventually, free_port, program, read, signal};

/// The newest of each line that is tried, and before them the one that Debian 12 has.
pub(super) const VERSIONS: [&str; 5] = ["2.9", "2.10", "2.11", "2.12", "2.15"];
/// The oldest line whose clusters give a leaf node nothing that an agent is there to take.
pub(super) const OLDEST_CLUSTER: &str = "2.10";
pub(crate) const NEWEST: &str = "2.15";

/// The users of `deploy/nats/accounts.conf`.
const USERS: [&str; 5] = ["drowse", "drowse-leaf", "team-a-echo", "team-a-writer", "caller"];

/// Theirs, where a test uses them.
pub(super) fn password(user: &str) -> String {
    format!("secret-of-{user}")
}

/// One server.
pub(crate) struct Node {
    pub(crate) client: u16,
    pub(crate) leaf: u16,
    cluster: u16,
    child: Option<Child>,
}

/// Servers of one cluster.
pub(crate) struct Servers {
    program: String,
    dir: TempDir,
    pub(crate) nodes: Vec<Node>,
    /// What their addresses begin with.
    pub(super) scheme: &'static str,
    /// How clients of the tests sign in: arguments of `nats-agent`.
    pub(super) guest: Vec<String>,
}

impl Servers {
    pub(crate) async fn single(version: &str) -> Self {
        Self::start(version, 1, "").await
    }

    pub(super) async fn cluster(version: &str) -> Self {
        Self::start(version, 3, "").await
    }

    /// Servers with something more in their configuration.
    pub(super) async fn start(version: &str, count: usize, more: &str) -> Self {
        let program = program(&format!("nats-server-{version}")).await;
        let node = |_| Node { client: free_port(), leaf: free_port(), cluster: free_port(), child: None };
        let nodes: Vec<_> = (0..count).map(node).collect();
        let dir = TempDir::new().unwrap();
        let mut servers = Self { program, dir, nodes, scheme: "nats", guest: Vec::new() };
        for index in 0..count {
            servers.configure(index, more);
            servers.launch(index);
        }
        for index in 0..count {
            servers.wait_until_ready(index).await;
        }
        servers
    }

    /// Writes the configuration of one, which counts from its next start or reload on.
    pub(super) fn configure(&self, index: usize, more: &str) {
        std::fs::write(self.config(index), self.text(index, more)).unwrap();
    }

    /// Gives one another configuration while it runs.
    pub(super) async fn reload(&self, index: usize, more: &str) {
        let count = || self.log(index).matches("Reloaded server configuration").count();
        let before = count();
        self.configure(index, more);
        self.signal(index, rustix::process::Signal::HUP);
        eventually("it is reloaded", async || count() > before).await;
    }

    /// Everything that one has logged.
    pub(super) fn log(&self, index: usize) -> String {
        read(&self.dir.path().join(format!("{index}.log")))
    }

    fn signal(&self, index: usize, which: rustix::process::Signal) {
        let pid = self.nodes[index].child.as_ref().and_then(Child::id).unwrap();
        signal(pid, which);
    }

    fn config(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("{index}.conf"))
    }

    fn text(&self, index: usize, more: &str) -> String {
        let Node { client, leaf, cluster, .. } = &self.nodes[index];
        let store = self.dir.path().join(format!("store-{index}"));
        let mut text = format!(
            "server_name: n{index}\nlisten: 127.0.0.1:{client}\nping_interval: 2s\nlame_duck_duration: 30s\n\
             lame_duck_grace_period: 1s\njetstream {{ store_dir: \"{}\" }}\n{more}\n",
            store.display()
        );
        if !more.contains("leafnodes") {
            writeln!(text, "leafnodes {{ listen: 127.0.0.1:{leaf} }}").unwrap();
        }
        if self.nodes.len() > 1 {
            let routes: Vec<_> =
                self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.cluster)).collect();
            let routes = routes.join(", ");
            writeln!(text, "cluster {{ name: c, listen: 127.0.0.1:{cluster}, routes: [{routes}] }}").unwrap();
        }
        text.replace("LEAF_PORT", &leaf.to_string())
    }

    fn launch(&mut self, index: usize) {
        let log = self.dir.path().join(format!("{index}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let child =
            Command::new(&self.program)
                .arg("-c")
                .arg(self.config(index))
                // For the users of deploy/nats.
                .envs(USERS.map(|user| {
                    (format!("{}_PASSWORD", user.to_uppercase().replace('-', "_")), password(user))
                }))
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
                .unwrap();
        self.nodes[index].child = Some(child);
    }

    async fn wait_until_ready(&self, index: usize) {
        let count = self.nodes.len();
        eventually("the server is ready", async || {
            let text = self.log(index);
            let since = text.rfind("Starting nats-server").map_or("", |at| &text[at..]);
            since.contains("Server is ready") && (count == 1 || since.contains("Route connection created"))
        })
        .await;
    }

    /// Kills one without warning.
    pub(crate) async fn kill(&mut self, index: usize) {
        self.nodes[index].child.take().unwrap().kill().await.unwrap();
    }

    /// Starts one that was killed or has ended.
    pub(crate) async fn restart(&mut self, index: usize) {
        self.launch(index);
        self.wait_until_ready(index).await;
    }

    /// Lets one ask its clients to leave, as before an upgrade.
    pub(super) fn lame_duck(&self, index: usize) {
        self.signal(index, rustix::process::Signal::USR2);
    }

    /// Lets one neither answer nor end.
    pub(super) fn pause(&self, index: usize) {
        self.signal(index, rustix::process::Signal::STOP);
    }

    /// Ends [`Servers::pause`].
    pub(super) fn resume(&self, index: usize) {
        self.signal(index, rustix::process::Signal::CONT);
    }

    /// All of them, as clients name them.
    pub(crate) fn urls(&self) -> String {
        let urls: Vec<_> =
            self.nodes.iter().map(|node| format!("{}://127.0.0.1:{}", self.scheme, node.client)).collect();
        urls.join(",")
    }

    /// The section `nats` of Drowse's configuration.
    pub(super) fn section(&self, more: &str) -> String {
        self.section_at(0, more)
    }

    /// The same for a replica that takes this server first.
    pub(super) fn section_at(&self, first: usize, more: &str) -> String {
        let list = |port: fn(&Node) -> u16| {
            let ports = self.nodes.iter().cycle().skip(first).take(self.nodes.len()).map(port);
            let all: Vec<_> = ports.map(|port| format!("\"{}://127.0.0.1:{port}\"", self.scheme)).collect();
            all.join(", ")
        };
        let (servers, leaves) = (list(|node| node.client), list(|node| node.leaf));
        format!("nats:\n  servers: [{servers}]\n  leaf_servers: [{leaves}]\n{more}")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for index in 0..self.nodes.len() {
                let log = self.log(index);
                let last: Vec<_> = log.lines().rev().take(15).collect();
                eprintln!("log of server {index}, last first:\n{}", last.join("\n"));
            }
        }
    }
}
