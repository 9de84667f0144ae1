//! Ending a cluster, whatever is left of it: nothing here needs the cluster to work, or its state to be complete.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::Process;
use crate::{containers, kernel, network, runner, spawn, state, wait};

/// How long a process may take to end by itself. Nothing of a test cluster is worth more.
const GRACE: Duration = Duration::from_secs(3);
/// How long mounts may stay busy after the last process is gone.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(10);

/// Ends the cluster in this folder, and removes all that it had but its logs.
pub(crate) fn end(dir: &Path) -> Result<()> {
    let id = state::id(dir);
    let short = state::short(&id);
    // A run that was killed left its command.
    if let Some(command) = spawn::written_down(dir, runner::COMMAND) {
        command.kill_group();
    }
    // First what starts others, so that nothing is started any more.
    for name in ["kubelet", "kube-controller-manager", "agent-sandbox-controller", "kwok"] {
        if let Some(process) = spawn::written_down(dir, name) {
            process.kill();
        }
    }
    containers::end(&short);
    end_all(&spawn::marked(&id));
    // One may have been born between the look and the end of its shim.
    containers::end(&short);
    let left = spawn::marked(&id);
    ensure!(left.is_empty(), "failed to end {left:?}; they are waiting for the kernel: try again later");
    containers::remove_traces(&short);
    unmount(&[dir, &short])?;
    network::remove(&state::namespace(&id))?;
    remove_traces(dir, &id);
    if short.exists() {
        remove_kubelet_socket();
    }
    kernel::restore(&short);
    remove_folder(&short, |_| false)?;
    remove_folder(dir, |name| name == "logs")
}

/// Asks all of them to end, and kills those that have not.
fn end_all(processes: &[Process]) {
    for process in processes {
        process.signal(rustix::process::Signal::TERM);
        process.signal(rustix::process::Signal::CONT);
    }
    wait::whether(GRACE, || !processes.iter().any(|process| process.is_alive()));
    for process in processes {
        process.kill();
    }
}

/// Unmounts everything below these folders.
fn unmount(folders: &[&Path]) -> Result<()> {
    let done = wait::whether(UNMOUNT_LIMIT, || {
        let mounts = mounts(folders);
        for mount in mounts.iter().rev() {
            let _ = crate::command::output("umount", [mount.as_os_str()]);
        }
        mounts.is_empty()
    });
    ensure!(done, "{:?} stay mounted; find out who uses them (fuser -m), and try again", mounts(folders));
    Ok(())
}

fn mounts(folders: &[&Path]) -> Vec<PathBuf> {
    mounts_in(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(), folders)
}

/// The mount points in proc(5)'s mountinfo that are below one of the folders, in the order of mounting.
fn mounts_in(mountinfo: &str, folders: &[&Path]) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(point.replace("\\040", " ")));
    points.filter(|point| folders.iter().any(|folder| point.starts_with(folder))).collect()
}

/// Removes what libraries of others keep in places of their own.
fn remove_traces(dir: &Path, id: &str) {
    let results = Path::new("/var/lib/cni/results");
    let entries = fs::read_dir(results).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| name.starts_with(&format!("drowse-{id}-"))) {
        let _ = fs::remove_file(results.join(&name));
        // Every container also has one for its loopback, whose name does not tell whose it is.
        if let Some(container) = name.strip_suffix("-eth0").and_then(|name| name.rsplit('-').next()) {
            let _ = fs::remove_file(results.join(format!("cni-loopback-{container}-lo")));
        }
    }
    for entry in fs::read_dir("/var/log/containers").into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(dir)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The kubelet offers device plugins a socket in a fixed place, whatever its folder is.
fn remove_kubelet_socket() {
    let folder = Path::new("/var/lib/kubelet/device-plugins");
    let socket = folder.join("kubelet.sock");
    // One that somebody listens at is another kubelet's.
    if UnixStream::connect(&socket).is_err() {
        let _ = fs::remove_file(&socket);
        // Neither goes while there is anything in it.
        let _ = fs::remove_dir(folder);
        let _ = folder.parent().map(fs::remove_dir);
    }
}

/// Removes a folder with all that is in it, but for the names to keep.
fn remove_folder(folder: &Path, keep: impl Fn(&str) -> bool) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut kept = false;
    for entry in entries {
        let entry = entry?;
        if keep(&entry.file_name().to_string_lossy()) {
            kept = true;
            continue;
        }
        let path = entry.path();
        // A link is removed, not what it leads to.
        let removed =
            if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("failed to remove {}", path.display()))?;
    }
    if !kept {
        fs::remove_dir(folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_folders_are_ours() {
        let text = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                    30 22 0:40 / /a/b\\040c/d rw shared:1 - tmpfs tmpfs rw\n\
                    31 22 0:41 / /a/bc rw - tmpfs tmpfs rw\n";
        assert_eq!(mounts_in(text, &[Path::new("/a/b c")]), [PathBuf::from("/a/b c/d")]);
    }

    #[test]
    fn removing_a_folder_follows_no_link() {
        let root = tempfile::tempdir().unwrap();
        let (inside, outside) = (root.path().join("inside"), root.path().join("outside"));
        fs::create_dir_all(inside.join("logs")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        remove_folder(&inside, |name| name == "logs").unwrap();
        assert!(outside.join("kept").exists() && inside.join("logs").exists());
        assert!(!inside.join("link").exists());
        remove_folder(&inside, |_| false).unwrap();
        assert!(!inside.exists());
    }
}
