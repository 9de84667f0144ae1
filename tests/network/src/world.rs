//! What all hosts of the simulation share, and the way that they find each other.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::cluster::Cluster;
use super::oracle::Oracle;
use super::plan::{Plan, Sabotage};
use super::wire::Said;

pub const API: &str = "api";
pub const CALLERS: &str = "callers";

/// Calls to the API.
pub const CALLS: u16 = 1;
/// The watches of objects and of pods.
pub const WATCHES: [u16; 2] = [2, 3];
/// Questions between replicas.
pub const QUESTIONS: u16 = 7000;
/// The front door.
pub const FRONT_DOOR: u16 = 8080;

pub struct World {
    pub plan: Plan,
    pub sabotage: Option<Sabotage>,
    pub cluster: Mutex<Cluster>,
    pub oracle: Oracle,
    pub said: Said,
    rng: Mutex<Rng>,
    /// Something is new in a log.
    pub logged: Notify,
    /// For the controller of each agent.
    pub changed: Vec<Notify>,
    /// For each node: its pod is another.
    pub placed: Vec<Notify>,
    pods_made: AtomicU64,
    /// Which front doors callers are sent to: those that were ready once, whatever became of them.
    pub ready: Vec<AtomicBool>,
    /// Nothing goes wrong from here on.
    calm: AtomicBool,
    /// The last requests may be made.
    pub last_calls: Notify,
    /// All callers have gone, and so has the last one.
    pub callers_ended: AtomicBool,
    pub last_calls_ended: AtomicBool,
}

pub fn door(number: usize) -> String {
    format!("door-{number}")
}

pub fn node(number: usize) -> String {
    format!("node-{number}")
}

/// Where a host is, from inside of another.
pub fn at(host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(turmoil::lookup(host), port)
}

impl World {
    pub fn new(plan: Plan, sabotage: Option<Sabotage>, rng: Rng, nodes: Vec<IpAddr>, trace: bool) -> Self {
        let notifies = |count: usize| (0..count).map(|_| Notify::new()).collect();
        Self {
            cluster: Mutex::new(Cluster::new(plan.agents, nodes, sabotage)),
            oracle: Oracle::new(plan.doors, trace),
            said: Said::default(),
            rng: Mutex::new(rng),
            logged: Notify::new(),
            changed: notifies(plan.agents),
            placed: notifies(plan.nodes),
            pods_made: AtomicU64::new(0),
            ready: (0..plan.doors).map(|_| AtomicBool::new(false)).collect(),
            calm: AtomicBool::new(false),
            last_calls: Notify::new(),
            callers_ended: AtomicBool::new(false),
            last_calls_ended: AtomicBool::new(false),
            plan,
            sabotage,
        }
    }

    pub fn fork_rng(&self) -> Rng {
        self.rng.lock().fork()
    }

    /// A time between these, in milliseconds.
    pub fn millis(&self, between: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.rng.lock().u64(between))
    }

    pub fn up_to(&self, most: Duration) -> Duration {
        self.millis(0..=most.as_millis() as u64)
    }

    pub fn pick(&self, count: usize) -> usize {
        self.rng.lock().usize(0..count)
    }

    /// Whether something happens that happens to so many of a hundred, while things go wrong.
    pub fn strikes(&self, of_hundred: u32) -> bool {
        !self.is_calm() && self.rng.lock().u32(0..100) < of_hundred
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub fn next_pod(&self) -> u64 {
        self.pods_made.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Changes the cluster, and wakes whoever waits for that.
    pub fn change<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let mut cluster = self.cluster.lock();
        let before = cluster.logs.each_ref().map(Vec::len);
        let result = change(&mut cluster);
        if cluster.logs.each_ref().map(Vec::len) == before {
            return result;
        }
        drop(cluster);
        self.logged.notify_waiters();
        self.changed.iter().for_each(Notify::notify_one);
        self.placed.iter().for_each(Notify::notify_one);
        result
    }

    /// Whether this sabotage is on.
    pub fn has(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }
}
