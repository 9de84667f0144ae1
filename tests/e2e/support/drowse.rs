//! The program under test, outside of the cluster, with a service account's permissions.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::http;
use super::ports::free_address;
use super::{PATIENCE, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drowse");

/// A running Drowse; ended when dropped.
pub(crate) struct Drowse {
    pub(crate) front: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) health: SocketAddr,
    dir: TempDir,
    child: Child,
}

impl Drowse {
    /// Starts it on a namespace, with this kubeconfig and these sections of the configuration.
    pub(crate) async fn start(namespace: &str, kubeconfig: &Value, more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let (front, admin, health) = (free_address(), free_address(), free_address());
        std::fs::write(dir.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        let config = format!(
            "backend: {{kubernetes: {{namespaces: [{namespace}], kubeconfig: kubeconfig, trust_stale_for: 15s}}}}\n\
             front_door: {{listen: \"{front}\", auth: none}}\nadmin: {{listen: \"{admin}\"}}\nhealth: {{listen: \"{health}\"}}\n\
             telemetry: {{log: {{level: \"info,drowse=debug\"}}}}\n{more}"
        );
        std::fs::write(dir.path().join("drowse.yaml"), config).unwrap();
        let child = spawn(&dir);
        let drowse = Self { front, admin, health, dir, child };
        drowse.ready().await;
        drowse
    }

    async fn ready(&self) {
        eventually("Drowse is ready", async || {
            http::get(self.health, "x", "/readyz").await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// Kills it, and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.child.kill().await.unwrap();
        self.child = spawn(&self.dir);
        self.ready().await;
    }

    /// Starts it again with something in its configuration replaced.
    pub(crate) async fn restart_with(&mut self, written: &str, instead: &str) {
        let file = self.dir.path().join("drowse.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(written), "{text}");
        std::fs::write(&file, text.replace(written, instead)).unwrap();
        self.restart().await;
    }

    /// One agent as the API shows it; nothing if it does not know it.
    pub(crate) async fn agent(&self, namespace: &str, name: &str) -> Value {
        let path = format!("/api/v1/agents/{namespace}/{name}");
        let answer = http::get(self.admin, "127.0.0.1", &path).await.expect("an answer of the API");
        if answer.status == 404 { Value::Null } else { answer.json() }
    }

    /// A command of the program against it.
    pub(crate) async fn command(&self, arguments: &[&str]) -> (String, i32) {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("DROWSE_ADMIN", format!("http://{}", self.admin))
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").unwrap();
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap_or(-1))
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("drowse.log")).unwrap_or_default()
    }
}

impl Drop for Drowse {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            eprintln!("log of Drowse:\n{}", self.log());
        }
    }
}

fn spawn(dir: &TempDir) -> Child {
    let path = dir.path();
    let log = std::fs::File::options().create(true).append(true).open(path.join("drowse.log")).unwrap();
    Command::new(PROGRAM)
        .args(["run", "--config"])
        .arg(path.join("drowse.yaml"))
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
