//! What a cluster is, written down in its folder so that another run can find, use and end it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::network::Block;
use crate::options::Options;
use crate::parts::Programs;
use crate::ports::Ports;

/// Where the short folders are: a Unix socket's path has at most 107 bytes, a checkout's may have more.
const SHORT: &str = "/run/drowse-cluster";

/// A cluster, as its folder tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) options: Options,
    /// Eight hexadecimal digits, from the folder's path.
    pub(crate) id: String,
    pub(crate) block: Block,
    pub(crate) ports: Ports,
    pub(crate) programs: Programs,
    /// Whether it is there for one command alone, and of no use without it.
    pub(crate) transient: bool,
    /// Whether all of it once came up.
    pub(crate) complete: bool,
}

/// The id of the cluster whose folder this is.
pub(crate) fn id(dir: &Path) -> String {
    let hash = hex(&Sha256::digest(dir.as_os_str().as_encoded_bytes()));
    hash.chars().take(8).collect()
}

impl State {
    /// What a cluster will be. Nothing is made yet.
    pub(crate) fn plan(options: &Options, programs: Programs, transient: bool) -> Result<Self> {
        let id = id(&options.dir);
        let seed = u8::from_str_radix(id.get(..2).unwrap_or_default(), 16).unwrap_or_default();
        let ports = if options.with_node { Ports::fixed() } else { Ports::free(seed)? };
        let block = Block::choose(seed)?;
        Ok(Self { options: options.clone(), id, block, ports, programs, transient, complete: false })
    }

    /// What the folder says; none if it has no cluster.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let file = dir.join("state.json");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(format!("failed to read {}", file.display())),
        };
        match serde_json::from_str(&text) {
            Ok(state) => Ok(Some(state)),
            Err(error) => bail!(
                "{} is not from this version ({error}); end that cluster: drowse-cluster --dir {} down",
                file.display(),
                dir.display()
            ),
        }
    }

    /// Writes it down.
    pub(crate) fn save(&self) -> Result<()> {
        let file = self.dir().join("state.json");
        let text = serde_json::to_string_pretty(self)?;
        // Renamed, so that a killed run leaves no half of it.
        let unfinished = self.dir().join("state.json.unfinished");
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, &file))
            .with_context(|| format!("failed to write {}", file.display()))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.options.dir
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The short folder, for sockets.
    pub(crate) fn short(&self) -> PathBuf {
        short(&self.id)
    }

    /// The socket of containerd.
    pub(crate) fn containerd(&self) -> PathBuf {
        self.short().join("containerd.sock")
    }

    /// The network namespace, if it has one.
    pub(crate) fn namespace(&self) -> Option<String> {
        self.options.with_node.then(|| namespace(&self.id))
    }

    /// The address that the cluster is reached at.
    pub(crate) fn node(&self) -> Ipv4Addr {
        if self.options.with_node { self.block.node() } else { Ipv4Addr::LOCALHOST }
    }

    /// The address that pods reach the machine at.
    pub(crate) fn host(&self) -> Ipv4Addr {
        if self.options.with_node { self.block.host() } else { Ipv4Addr::LOCALHOST }
    }

    pub(crate) fn server(&self) -> String {
        format!("https://{}:{}", self.node(), self.ports.apiserver)
    }

    /// The kubeconfig of one of the clients in `certificates`.
    pub(crate) fn kubeconfig(&self, client: &str) -> PathBuf {
        self.dir().join("pki").join(format!("{client}.kubeconfig"))
    }
}

/// The short folder of a cluster, by id.
pub(crate) fn short(id: &str) -> PathBuf {
    Path::new(SHORT).join(id)
}

/// The network namespace of a cluster, by id; also the name of the machine's link to it, which has at most 15 bytes.
pub(crate) fn namespace(id: &str) -> String {
    format!("drowse{id}")
}
