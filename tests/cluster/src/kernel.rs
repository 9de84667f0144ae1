//! The kernel values of the machine that a kubelet changes, which are given back when the cluster goes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::state;

/// What `kubelet` sets when it starts: `setupKernelTunables` in its container manager.
const VALUES: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
const FILE: &str = "kernel";

/// Writes down the values as they were before any cluster.
pub(crate) fn remember(id: &str) -> Result<()> {
    let file = state::short(id).join(FILE);
    let text = of_another().unwrap_or_else(|| {
        let value = |name: &&str| Some(format!("{name} {}\n", fs::read_to_string(place(name)).ok()?.trim()));
        VALUES.iter().filter_map(value).collect()
    });
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}

/// What another cluster wrote down: it may have changed them already.
fn of_another() -> Option<String> {
    let mut folders = fs::read_dir(state::short("").as_path()).ok()?.flatten();
    folders.find_map(|folder| fs::read_to_string(folder.path().join(FILE)).ok())
}

/// Gives back what was written down, if anything was.
pub(crate) fn restore(short: &Path) {
    let text = fs::read_to_string(short.join(FILE)).unwrap_or_default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        if VALUES.contains(&name) {
            // One that this kernel refuses cannot have been changed either.
            let _ = fs::write(place(name), value);
        }
    }
}

fn place(name: &str) -> std::path::PathBuf {
    Path::new("/proc/sys").join(name)
}
