//! A cluster coming up.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, lock};
use crate::component::Component;
use crate::options::Options;
use crate::parts::Programs;
use crate::state::{self, State};
use crate::wait::Stopwatch;
use crate::{
    certificates, cleanup, components, debian, interrupt, kernel, network, objects, parts, pause, wait,
};

/// How long the controllers may take to make what every pod needs.
const ACCOUNT_LIMIT: Duration = Duration::from_mins(1);
/// The kubelet's sockets are below the folder; their paths may have 107 bytes.
const LONGEST_FOLDER: usize = 75;

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
        let created = Self::create(&options, programs, transient);
        if created.is_err() {
            interrupt::ignore();
            cleanup::end(&options.dir)?;
        }
        created
    }

    fn create(options: &Options, programs: Programs, transient: bool) -> Result<Self> {
        let watch = Stopwatch::start();
        make_folders(options)?;
        let mut state = claim_addresses(options, programs, transient)?;
        for (name, program) in &state.programs {
            symlink(program, state.file("bin").join(name))
                .with_context(|| format!("failed to link {name}"))?;
        }
        certificates::write(&state.file("pki"), &state.server(), &server_names(&state))?;
        if options.with_node {
            components::write_files(&state)?;
        }
        let cluster = Self::of(state.clone());
        cluster.launch()?;
        state.complete = true;
        state.save()?;
        eprintln!("the cluster is up after {:.1} s", watch.seconds());
        Ok(Self::of(state))
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
}

/// Makes the folder for nobody else to read, since it has keys, and returns its one true path.
fn make_folder(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir)
        .and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o700)))
        .and_then(|()| fs::canonicalize(dir))
        .with_context(|| format!("failed to make {}", dir.display()))
}

/// Makes the folder, and those in it that components write to.
fn make_folders(options: &Options) -> Result<()> {
    let dir = make_folder(&options.dir)?;
    ensure!(
        !options.with_node || dir.as_os_str().len() <= LONGEST_FOLDER,
        "the path {} is too long for the kubelet's sockets; name a shorter one with --dir",
        dir.display()
    );
    // The words of the cluster before are of no use beside those of this one.
    let _ = fs::remove_dir_all(dir.join("logs"));
    for name in ["bin", "pids", "logs", "volumes", "kubelet"] {
        let folder = dir.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    Ok(())
}

/// Chooses the cluster's addresses, and makes its network, while no other cluster does the same.
fn claim_addresses(options: &Options, programs: Programs, transient: bool) -> Result<State> {
    if !options.with_node {
        let state = State::plan(options, programs, transient)?;
        state.save()?;
        return Ok(state);
    }
    let all = state::short("");
    fs::create_dir_all(&all).with_context(|| format!("failed to make {}", all.display()))?;
    let folder = File::open(&all).with_context(|| format!("failed to open {}", all.display()))?;
    folder.lock().with_context(|| format!("failed to lock {}", all.display()))?;
    let state = State::plan(options, programs, transient)?;
    state.save()?;
    fs::create_dir_all(state.short()).context("failed to make a folder in /run")?;
    kernel::remember(&state.id)?;
    network::make(&state::namespace(&state.id), state.block)?;
    Ok(state)
}

/// The names by which the API server is called: from the machine, and from pods.
fn server_names(state: &State) -> Vec<String> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let addresses = [state.node(), std::net::Ipv4Addr::LOCALHOST, state.block.first_service()];
    let long = ["kubernetes.default.svc.cluster.local"];
    let names = names.iter().chain(&long).map(|name| (*name).to_owned());
    names.chain(addresses.map(|address| address.to_string())).collect()
}
