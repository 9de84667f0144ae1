//! A nats-server as docs/nats.md wants it, for one run: on loopback addresses, with its files in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::loopback::Loopback;
use crate::process;

/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOG: &str = "nats-server.log";
/// The one that is pinned, built and kept where none is named.
const PINNED: &str = "nats-server-2.15";

/// The one that was named, or the pinned one, which is built the first time.
pub(crate) async fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => tokio::task::spawn_blocking(|| drowse_cluster::program(PINNED)).await??,
    };
    ensure!(path.is_file(), "{} is no program; name a nats-server with --nats-server", path.display());
    Ok(path)
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) pid: u32,
    /// Where it tells about itself over HTTP.
    pub(super) monitor: Loopback,
    clients: Loopback,
    leaves: Loopback,
    child: Child,
    dir: TempDir,
}

impl Server {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(program: &Path) -> anyhow::Result<Self> {
        let dir = TempDir::new().context("failed to make a temporary folder")?;
        let free = || Loopback::free().context("failed to find a free port");
        let (clients, leaves, monitor) = (free()?, free()?, free()?);
        let config = dir.path().join("nats-server.conf");
        std::fs::write(&config, text(clients, leaves, monitor, dir.path())).context("failed to configure")?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.arg("-l").arg(dir.path().join(LOG));
        let child = command.kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("failed to start {}", program.display()))?;
        let pid = child.id().context("nats-server has ended already")?;
        let mut server = Self { pid, monitor, clients, leaves, child, dir };
        let ready = server.wait_until_ready();
        tokio::time::timeout(PATIENCE, ready).await.context("nats-server does not get ready")??;
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        while !self.is_healthy().await {
            let ended = self.child.try_wait().context("failed to look after nats-server")?;
            let log = || std::fs::read_to_string(self.dir.path().join(LOG)).unwrap_or_default();
            ensure!(ended.is_none(), "nats-server has ended. Its log:\n{}", log());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// As clients name it.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.clients.address())
    }

    /// The section `nats` of Drowse's configuration, with all defaults of Drowse.
    pub(crate) fn section(&self) -> String {
        let [clients, leaves] = [self.clients, self.leaves].map(Loopback::address);
        format!("nats: {{servers: [\"nats://{clients}\"], leaf_servers: [\"nats://{leaves}\"]}}\n")
    }

    /// A client of its own connection.
    pub(crate) async fn connect(&self) -> anyhow::Result<async_nats::Client> {
        let options = async_nats::ConnectOptions::new().name("loadtest").request_timeout(Some(PATIENCE));
        options.connect(self.url()).await.context("failed to connect to nats-server")
    }

    /// Asks it to end, and kills it if it does not.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        process::end(&mut self.child, "nats-server").await
    }
}

fn text(clients: Loopback, leaves: Loopback, monitor: Loopback, dir: &Path) -> String {
    let [clients, leaves, monitor] = [clients, leaves, monitor].map(Loopback::address);
    format!(
        "server_name: loadtest\nlisten: \"{clients}\"\nhttp: \"{monitor}\"\nleafnodes {{ listen: \"{leaves}\" }}\n\
         ping_interval: 10s\nping_max: 2\njetstream {{ store_dir: \"{}\" }}\n",
        dir.join("jetstream").display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_not_there_is_said_so() {
        let error = find(Some(Path::new("/no/such/nats-server"))).await.unwrap_err();
        assert!(error.to_string().contains("--nats-server"), "{error}");
    }

    #[test]
    fn the_configuration_names_every_address() {
        let [clients, leaves, monitor] = [(); 3].map(|()| Loopback::free().unwrap());
        let text = text(clients, leaves, monitor, Path::new("/tmp/x"));
        for port in [clients, leaves, monitor] {
            assert!(text.contains(&format!("\"{}\"", port.address())), "{text}");
        }
    }
}
