//! A cluster: being found again by its folder, being used, and going down.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::component::Component;
use crate::kubectl::Kubectl;
use crate::state::State;
use crate::{cleanup, command, components, objects, parts};

/// A running cluster. Dropping it leaves it running: it is ended by [`Cluster::down`].
#[derive(Debug)]
pub struct Cluster {
    pub(crate) kubectl: Kubectl,
    /// None for a cluster that is not ours.
    state: Option<State>,
}

impl Cluster {
    pub(crate) fn of(state: State) -> Self {
        let program = state.file("bin/kubectl");
        let kubectl = Kubectl { program, kubeconfig: state.kubeconfig("admin") };
        Self { kubectl, state: Some(state) }
    }

    /// The cluster that runs in this folder.
    pub fn attach(dir: &Path) -> Result<Self> {
        let state = match fs::canonicalize(dir) {
            Ok(dir) => State::read(&dir)?,
            Err(_) => None,
        };
        let state = state.filter(|state| state.complete);
        let none = || format!("no cluster runs in {}; start one: drowse-cluster up", dir.display());
        Ok(Self::of(state.with_context(none)?))
    }

    pub(crate) fn is_existing() -> bool {
        std::env::var_os("DROWSE_TEST_CLUSTER").is_some_and(|which| which == "existing")
    }

    pub(crate) fn existing() -> Result<Self> {
        let kubeconfig = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let kubeconfig =
            kubeconfig.context("DROWSE_TEST_CLUSTER=existing needs KUBECONFIG to name a cluster")?;
        let program = command::find("kubectl");
        let program = program.context("DROWSE_TEST_CLUSTER=existing needs a kubectl in PATH")?;
        let kubectl = Kubectl { program, kubeconfig };
        kubectl.run(&["get", "crd/sandboxes.agents.x-k8s.io", "--request-timeout=10s"]).context(
            "the existing cluster does not answer, or has no Agent Sandboxes; install those first",
        )?;
        Ok(Self { kubectl, state: None })
    }

    /// Ends what a killed run left in this folder. Fails if the cluster there was meant to stay.
    pub(crate) fn clear(dir: &Path) -> Result<()> {
        let stays =
            Self::attach(dir).is_ok_and(|cluster| cluster.state.is_some_and(|state| !state.transient));
        ensure!(!stays, "a cluster is kept up in {}; end it first, or name another", dir.display());
        Self::down(dir)
    }

    /// Ends the cluster in this folder, whatever is left of it, and removes all that it had but its logs.
    pub fn down(dir: &Path) -> Result<()> {
        // Its id follows from its path; a folder that is gone may have left a namespace.
        let dir = fs::canonicalize(dir).or_else(|_| std::path::absolute(dir))?;
        let _lock = if dir.exists() { Some(lock(&dir)?) } else { None };
        cleanup::end(&dir)
    }

    pub(crate) fn state(&self) -> Result<&State> {
        self.state.as_ref().context("this is not a cluster of ours (DROWSE_TEST_CLUSTER=existing)")
    }

    /// One of its components. Fails if it has no such one, or is not ours.
    pub fn component(&self, name: &str) -> Result<Component<'_>> {
        Component::of(self.state()?, &self.kubectl, name)
    }

    /// The names of its components.
    pub fn components(&self) -> Result<Vec<&'static str>> {
        Ok(components::names(self.state()?))
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubectl.kubeconfig
    }

    /// Gives the node an image, from an archive as `docker save` writes it.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let state = self.state()?;
        ensure!(state.options.with_node, "this cluster has no node to load an image into");
        let (socket, archive) = (state.containerd().display().to_string(), archive.display().to_string());
        let ctr = state.file("bin/ctr").display().to_string();
        command::output(&ctr, ["--address", &socket, "--namespace", "k8s.io", "image", "import", &archive])
            .map(drop)
    }

    /// Makes this many volumes of the storage class `local`, each a folder on this machine.
    pub fn create_volumes(&self, count: u32) -> Result<()> {
        objects::create_volumes(self.state()?, &self.kubectl, count)
    }

    /// Makes this many nodes that do not exist.
    pub fn create_fake_nodes(&self, count: u32) -> Result<()> {
        if !self.state()?.options.kwok {
            bail!("nobody acts for fake nodes in this cluster; start it with --kwok");
        }
        objects::create_fake_nodes(&self.kubectl, count)
    }

    /// What a program needs in its environment to use the cluster.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let shown = |path: &Path| path.display().to_string();
        let mut all = vec![("KUBECONFIG", shown(self.kubeconfig()))];
        if let Some(state) = &self.state {
            all.extend([
                ("DROWSE_CLUSTER_DIR", shown(state.dir())),
                ("NODE_ADDRESS", state.node().to_string()),
                ("HOST_ADDRESS", state.host().to_string()),
                ("PATH", command::search_path(Some(&state.file("bin")))),
            ]);
            if state.options.with_node {
                // What ctr looks for.
                all.push(("CONTAINERD_ADDRESS", shown(&state.containerd())));
                all.push(("CONTAINERD_NAMESPACE", "k8s.io".to_owned()));
            }
        }
        all
    }
}

/// Two runs do not start or end the same cluster at once. The file is beside the folder, which goes.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    parts::lock(&dir.with_extension("lock"))
}
