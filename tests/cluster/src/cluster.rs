//! A cluster: coming up, being found again by its folder, being used, and going down.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::component::Component;
use crate::kubectl::Kubectl;
use crate::options::Options;
use crate::state::State;
use crate::wait::Stopwatch;
use crate::{
    certificates, cleanup, command, components, debian, kernel, network, objects, parts, pause, wait,
};

/// How long the controllers may take to make what every pod needs.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(60);

/// A running cluster. Dropping it leaves it running: it is ended by [`Cluster::down`].
#[derive(Debug)]
pub struct Cluster {
    kubectl: Kubectl,
    /// None for a cluster that is not ours.
    state: Option<State>,
}

impl Cluster {
    /// Starts a cluster, or finds the one that runs in this folder and starts what of it does not run. With
    /// `DROWSE_TEST_CLUSTER=existing`, uses the one that `KUBECONFIG` names, and starts nothing.
    pub fn start(options: &Options) -> Result<Self> {
        Self::start_as(options, false)
    }

    pub(crate) fn start_as(options: &Options, transient: bool) -> Result<Self> {
        if Self::is_existing() {
            return Self::existing();
        }
        if options.with_node {
            debian::provide()?;
        }
        let programs = parts::provide(options)?;
        let options = Options { dir: make_folder(&options.dir)?, ..options.clone() };
        let _lock = lock(&options.dir)?;
        if let Some(state) = State::read(&options.dir)? {
            let running = components::names(&state);
            let cluster = Self::of(state);
            let alive = |name: &&str| cluster.component(name).is_ok_and(|component| component.is_alive());
            if running.iter().any(alive) && cluster.state()?.complete {
                ensure!(
                    cluster.state()?.options == options,
                    "the cluster in {} runs with other options; end it first: drowse-cluster down",
                    options.dir.display()
                );
                cluster.launch()?;
                return Ok(cluster);
            }
        }
        // Whatever a killed run left.
        cleanup::end(&options.dir)?;
        Self::create(&options, programs, transient)
    }

    fn create(options: &Options, programs: parts::Programs, transient: bool) -> Result<Self> {
        let watch = Stopwatch::start();
        for folder in ["bin", "pids", "logs", "volumes", "kubelet"] {
            let folder = options.dir.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        ensure!(
            !options.with_node || options.dir.as_os_str().len() <= 75,
            "the path {} is too long for the kubelet's sockets; name a shorter one with --dir",
            options.dir.display()
        );
        let mut state = State::plan(options, programs, transient)?;
        state.save()?;
        for (name, program) in &state.programs {
            symlink(program, state.file("bin").join(name))
                .with_context(|| format!("failed to link {name}"))?;
        }
        certificates::write(&state.file("pki"), &state.server(), &server_names(&state))?;
        if let Some(namespace) = state.namespace() {
            fs::create_dir_all(state.short()).context("failed to make a folder in /run")?;
            kernel::remember(&state.id)?;
            network::make(&namespace, state.block)?;
            components::write_files(&state)?;
        }
        let cluster = Self::of(state.clone());
        cluster.launch()?;
        state.complete = true;
        state.save()?;
        eprintln!("the cluster is up after {:.1} s", watch.seconds());
        Ok(Self::of(state))
    }

    fn of(state: State) -> Self {
        let program = state.file("bin/kubectl");
        let kubectl = Kubectl { program, kubeconfig: state.kubeconfig("admin") };
        Self { kubectl, state: Some(state) }
    }

    /// Starts what does not run, and waits until all of it works.
    fn launch(&self) -> Result<()> {
        let state = self.state()?;
        let first: Vec<_> = ["containerd", "etcd", "kube-apiserver"]
            .into_iter()
            .filter(|name| components::names(state).contains(name))
            .map(|name| self.component(name))
            .collect::<Result<_>>()?;
        first.iter().try_for_each(Component::launch)?;
        first.iter().try_for_each(Component::wait_ready)?;
        if !state.complete {
            if state.options.with_node {
                self.load_image(&pause::write(state)?)?;
            }
            objects::create(state, &self.kubectl)?;
        }
        let all = components::names(state)
            .into_iter()
            .map(|name| self.component(name))
            .collect::<Result<Vec<_>>>()?;
        all.iter().try_for_each(Component::launch)?;
        all.iter().try_for_each(Component::wait_ready)?;
        // Pods are refused before these are there.
        wait::until("the service account of the namespace default", ACCOUNT_LIMIT, || {
            Ok(self.kubectl.succeeds(&["get", "serviceaccount/default"]).then_some(()))
        })
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

    fn existing() -> Result<Self> {
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

    fn state(&self) -> Result<&State> {
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

/// Makes the folder for nobody else to read, since it has keys, and returns its one true path.
fn make_folder(dir: &Path) -> Result<PathBuf> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| fs::canonicalize(dir)).with_context(|| format!("failed to make {}", dir.display()))
}

/// Two runs do not start or end the same cluster at once. The file is beside the folder, which goes.
fn lock(dir: &Path) -> Result<File> {
    parts::lock(&dir.with_extension("lock"))
}

/// The names by which the API server is called: from the machine, and from pods.
fn server_names(state: &State) -> Vec<String> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let addresses = [state.node(), std::net::Ipv4Addr::LOCALHOST, state.block.first_service()];
    let long = ["kubernetes.default.svc.cluster.local"];
    let names = names.iter().chain(&long).map(|name| (*name).to_owned());
    names.chain(addresses.map(|address| address.to_string())).collect()
}
