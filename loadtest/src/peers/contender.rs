//! What is compared: each a process of its own with a configuration that does what is measured and no more.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::placement::Placement;
use crate::loopback::Loopback;
use crate::process;
use crate::procfs::{self, Memory};

/// How long one may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Name {
    /// Straight to the upstream.
    Direct,
    Nginx,
    Haproxy,
    /// hyper and a few lines, of the same runtime flavour as Drowse.
    Hyper,
    Drowse,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Hyper => "bare hyper",
            Self::Drowse => "drowse",
        })
    }
}

/// Where a contender listens, and which processes do its work.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) to: Loopback,
    pub(super) host: String,
    pub(super) pids: Vec<u32>,
}

impl Entry {
    /// CPU time of its processes so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        self.pids.iter().map(|pid| procfs::cpu_time(*pid)).sum()
    }

    /// Resident memory of its processes now, in kB.
    pub(super) fn rss_kb(&self) -> anyhow::Result<u64> {
        let memory = self.pids.iter().map(|pid| procfs::memory(*pid));
        memory.map(|memory| memory.map(|Memory { now_kb, .. }| now_kb)).sum()
    }
}

/// A process that was started for the comparison. Killed when dropped.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) entry: Entry,
    child: Child,
    _dir: TempDir,
}

impl Contender {
    pub(super) async fn nginx(placement: Placement, upstream: Loopback) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let to = Loopback::free()?;
        std::fs::write(dir.path().join("nginx.conf"), nginx(dir.path(), placement.workers(), to, upstream))?;
        let mut command = placement.measured("nginx");
        command.arg("-p").arg(dir.path()).arg("-c").arg(dir.path().join("nginx.conf"));
        let mut started = Self::start(Name::Nginx, command, to, dir).await?;
        // The master only looks after those that work.
        started.entry.pids = procfs::children(started.entry.pids[0])?;
        Ok(started)
    }

    pub(super) async fn haproxy(placement: Placement, upstream: Loopback) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let to = Loopback::free()?;
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, haproxy(placement.workers(), to, upstream))?;
        let mut command = placement.measured("haproxy");
        command.arg("-db").arg("-f").arg(file);
        Self::start(Name::Haproxy, command, to, dir).await
    }

    /// With a file, it holds everybody until that is there. What is said besides is its command line's.
    pub(super) async fn hyper(
        placement: Placement,
        upstream: Loopback,
        when: Option<&Path>,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let (dir, to) = (TempDir::new()?, Loopback::free()?);
        let mut command = placement.measured(std::env::current_exe().context("failed to find this program")?);
        command.args(["bare", "--port", &to.address().port().to_string()]);
        command.args(["--upstream", &upstream.address().port().to_string()]);
        command.args(options);
        if let Some(file) = when {
            command.arg("--when").arg(file);
        }
        Self::start(Name::Hyper, command, to, dir).await
    }

    async fn start(name: Name, mut command: Command, to: Loopback, dir: TempDir) -> anyhow::Result<Self> {
        let log = std::fs::File::create(dir.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let mut child =
            command.spawn().with_context(|| format!("failed to start {name} (it needs taskset)"))?;
        let pid = child.id().with_context(|| format!("{name} has ended already"))?;
        let listens = async {
            while TcpStream::connect(to.address()).await.is_err() {
                if child.try_wait()?.is_some() {
                    bail!("it has ended");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        let listens = tokio::time::timeout(PATIENCE, listens).await.context("it does not listen");
        if let Err(error) = listens.and_then(|listens| listens) {
            let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            bail!("{name} did not start: {error:#}. Its log:\n{log}");
        }
        let entry = Entry { name, to, host: "bench".to_owned(), pids: vec![pid] };
        Ok(Self { entry, child, _dir: dir })
    }

    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        process::end(&mut self.child, &self.entry.name.to_string()).await
    }
}

/// What a reverse proxy with keep-alive on both sides needs, and room for many callers, who count twice.
fn nginx(dir: &Path, workers: u8, to: Loopback, upstream: Loopback) -> String {
    let (dir, to, upstream) = (dir.display(), to.address(), upstream.address());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {dir}/{kind};\n"))
        .concat();
    format!(
        "daemon off;\nworker_processes {workers};\npid {dir}/pid;\nerror_log stderr;\n\
         events {{ worker_connections 19000; }}\nhttp {{\n  access_log off;\n{temporary}\
         \x20 keepalive_timeout 300s;\n  keepalive_requests 1000000000;\n\
         \x20 upstream agent {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}\n\
         \x20 server {{ listen {to} backlog=4096;\n    location / {{ proxy_pass http://agent; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; }}\n  }}\n}}\n"
    )
}

fn haproxy(workers: u8, to: Loopback, upstream: Loopback) -> String {
    let (to, upstream) = (to.address(), upstream.address());
    format!(
        "global\n  nbthread {workers}\n  maxconn 9500\ndefaults\n  mode http\n  http-reuse always\n  \
         timeout connect 10s\n  timeout client 300s\n  timeout server 300s\n  timeout http-keep-alive 300s\n\
         frontend in\n  bind {to} backlog 4096\n  default_backend agent\nbackend agent\n  server agent {upstream}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_name_both_ends() {
        let (to, upstream) = (Loopback::local(1001), Loopback::local(1002));
        let texts = [nginx(Path::new("/x"), 1, to, upstream), haproxy(1, to, upstream)];
        for text in texts {
            assert!(text.contains("127.0.0.1:1001") && text.contains("127.0.0.1:1002"), "{text}");
        }
    }
}
