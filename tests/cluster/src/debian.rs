//! What a node needs of the machine: root, and a few programs that come with Debian and are installed when missing.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::command;

/// Programs, and the package that has each.
const PROGRAMS: [(&str, &str); 7] = [
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("socat", "socat"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
];
/// Where the plugins are that connect a pod to the network, and the package that has them.
const PLUGIN_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
const PLUGINS: [&str; 3] = ["bridge", "host-local", "loopback"];
const PLUGIN_PACKAGE: &str = "containernetworking-plugins";

/// Makes the machine fit for a node, or says what it lacks.
pub(crate) fn provide() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a node needs root (containerd and the kubelet mount file systems): run this as root, or with --no-node for \
         a cluster that runs no pods"
    );
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if command::find("apt-get").is_none() {
        bail!("a node needs what Debian calls {packages}; install that");
    }
    eprintln!("installing {packages} ...");
    command::output("apt-get", ["update", "-qq"])?;
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    command::output("apt-get", install.iter().copied().chain(missing.iter().copied()))?;
    let still = self::missing();
    ensure!(still.is_empty(), "installed {packages}, and still there is no {}", still.join(" "));
    Ok(())
}

fn missing() -> Vec<&'static str> {
    let programs = PROGRAMS.iter().filter(|(program, _)| command::find(program).is_none());
    let mut missing: Vec<_> = programs.map(|(_, package)| *package).collect();
    if plugins().is_none() {
        missing.push(PLUGIN_PACKAGE);
    }
    missing
}

/// The folder with the network plugins.
pub(crate) fn plugins() -> Option<PathBuf> {
    let has_all = |folder: &&str| PLUGINS.iter().all(|plugin| Path::new(folder).join(plugin).is_file());
    PLUGIN_FOLDERS.iter().copied().find(|folder| has_all(folder)).map(PathBuf::from)
}
