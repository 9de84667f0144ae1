//! Addresses of pods: each new pod gets the lowest one that is free, which is one that another pod had a moment ago. A node
//! usually hands them out in turn, so that each rests for an hour or two.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::agents::cluster_folder;
use super::fleet::Replica;
use super::let_pass;

/// A pod takes longer to start and end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A network that gives an address away at once must tell everybody. Here a replica asks again who has it after a second, and not
/// after a minute, for which it would talk to nobody.
const FORGETFUL: [&str; 4] = [
    "net.ipv4.neigh.eth0.base_reachable_time_ms=500",
    "net.ipv4.neigh.eth0.delay_first_probe_time=0",
    "net.ipv4.neigh.eth0.retrans_time_ms=50",
    "net.ipv4.neigh.eth0.ucast_solicit=1",
];

/// Goes on until it is stopped.
pub(super) struct Reuse {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Reuse {
    pub(super) fn start(replicas: &[Replica]) -> Self {
        for replica in replicas {
            assert!(replica.in_its_network(&[&["sysctl", "-qw"], &FORGETFUL[..]].concat()), "sysctl works");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || run(&stop)
        });
        Self { stop, thread: Some(thread) }
    }

    /// How often an address had an owner before.
    pub(super) fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("it ends")
    }
}

impl Drop for Reuse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn run(stop: &AtomicBool) -> usize {
    let folder = addresses();
    let (mut owners, mut reused): (HashMap<String, HashSet<String>>, _) = (HashMap::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        // The plugin host-local has a file for each address in use, which names its owner, and begins its search after
        // the address that is written here.
        let _ = fs::remove_file(folder.join("last_reserved_ip.0"));
        for file in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let address = file.file_name().to_string_lossy().into_owned();
            let Ok(owner) = fs::read_to_string(file.path()) else { continue };
            if !address.starts_with(|first: char| first.is_ascii_digit()) || owner.is_empty() {
                continue;
            }
            let before = owners.entry(address).or_default();
            reused += usize::from(before.insert(owner) && before.len() > 1);
        }
        let_pass(LOOK_EVERY);
    }
    reused
}

/// Of the network of all usual pods.
fn addresses() -> PathBuf {
    let networks = fs::read_dir(cluster_folder().join("addresses")).expect("addresses of pods").flatten();
    let is_it = |folder: &PathBuf| folder.to_string_lossy().ends_with("-pods");
    networks.map(|entry| entry.path()).find(is_it).expect("the network of pods")
}
