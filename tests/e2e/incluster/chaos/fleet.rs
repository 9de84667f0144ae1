//! The replicas, each with its process and its network namespace, which this machine sees as it sees all of the cluster.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::incluster::installation::Installation;
use crate::incluster::kubectl::{eventually, get, is, try_kubectl};

/// One look at the health of a replica.
const LOOK: Duration = Duration::from_secs(2);

/// One replica: a pod that is not replaced while the test runs, only its process.
pub(super) struct Replica {
    pub(super) pod: String,
    pub(super) address: SocketAddr,
    /// Whether callers are sent to it, as a Service would.
    in_service: AtomicBool,
}

impl Replica {
    /// All that are ready.
    pub(super) fn all(drowse: &Installation) -> Vec<Self> {
        let ready = drowse.pods().into_iter().filter(|pod| is(pod, "Ready"));
        ready
            .map(|pod| Self {
                pod: pod["metadata"]["name"].as_str().unwrap().to_owned(),
                address: SocketAddr::new(pod["status"]["podIP"].as_str().unwrap().parse().unwrap(), 8080),
                in_service: AtomicBool::new(true),
            })
            .collect()
    }

    pub(super) fn is_in_service(&self) -> bool {
        self.in_service.load(Ordering::SeqCst)
    }

    /// Its process.
    fn process(&self) -> Pid {
        find_process(&format!("POD_NAME={}", self.pod)).expect("its process")
    }

    /// Kills its process, which nobody is sent to until the one after it is ready.
    pub(super) fn kill(&self) {
        let before = self.process();
        self.in_service.store(false, Ordering::SeqCst);
        kill_process(before, Signal::KILL).unwrap();
        eventually(&format!("{} has a new process that is ready", self.pod), || {
            let now = find_process(&format!("POD_NAME={}", self.pod))?;
            (now != before && self.is_ready()).then_some(())
        });
        self.in_service.store(true, Ordering::SeqCst);
    }

    /// Stops its process in its tracks until this is dropped.
    pub(super) fn freeze(&self) -> Frozen {
        let process = self.process();
        kill_process(process, Signal::STOP).unwrap();
        Frozen(process)
    }

    /// Runs a program of this machine in the network namespace of its pod.
    pub(super) fn in_its_network(&self, command: &[&str]) -> bool {
        let namespace = format!("--net=/proc/{}/ns/net", self.process().as_raw_nonzero());
        let output = Command::new("nsenter").arg(namespace).args(command).output().expect("nsenter on PATH");
        if !output.status.success() {
            eprintln!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    /// What it sends to these ports of TCP meets this target of iptables until the guard is dropped.
    pub(super) fn cut(&self, ports: &str, target: &[&'static str]) -> Cut<'_> {
        let rule = ["-p", "tcp", "-m", "multiport", "--dports", ports, "-j"].map(str::to_owned);
        let rule = rule.into_iter().chain(target.iter().map(ToString::to_string)).collect();
        let cut = Cut { replica: self, rule };
        assert!(cut.iptables("-I"), "iptables works in the pod of {}", self.pod);
        cut
    }

    /// The value of a metric without labels.
    #[track_caller]
    pub(super) fn metric(&self, name: &str) -> String {
        let text = self.health("/metrics").expect("its metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }

    fn is_ready(&self) -> bool {
        self.health("/readyz").is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
    }

    /// What its health server answers.
    fn health(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(self.address.ip(), 8081), LOOK)?;
        stream.set_read_timeout(Some(LOOK))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: drowse\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// Goes on when dropped.
pub(super) struct Frozen(Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// A rule of iptables in the network of a replica. Taken out when dropped.
pub(super) struct Cut<'a> {
    replica: &'a Replica,
    rule: Vec<String>,
}

impl Cut<'_> {
    fn iptables(&self, verb: &str) -> bool {
        let rule: Vec<_> = self.rule.iter().map(String::as_str).collect();
        self.replica.in_its_network(&[&["iptables", "-w", verb, "OUTPUT"], &rule[..]].concat())
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.iptables("-D");
    }
}

/// The pod that leads, by the Lease; none while the API server does not answer.
pub(super) fn leader() -> Option<String> {
    let text =
        try_kubectl(&["-n", "drowse-system", "get", "lease/drowse", "-o", "jsonpath={.spec.holderIdentity}"]);
    Some(text.ok()?.rsplit_once('_')?.0.to_owned())
}

/// Kills the process of the NATS server, which the node starts again.
pub(super) fn kill_nats() {
    let find = || find_process("E2E_PASSWORD=secretOfE2e");
    let before = find().expect("the server runs");
    kill_process(before, Signal::KILL).unwrap();
    eventually("NATS is there again", || {
        let now = find()?;
        let pod = get("nats", "pod/nats")?;
        (now != before && is(&pod, "Ready")).then_some(())
    });
}

/// The process of this cluster that has this in its environment.
fn find_process(variable: &str) -> Option<Pid> {
    let service = format!("KUBERNETES_SERVICE_HOST={}", service_of_the_api_server());
    let is_it = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has = |wanted: &str| environment.split(|byte| *byte == 0).any(|part| part == wanted.as_bytes());
        has(variable) && has(&service)
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(is_it).and_then(Pid::from_raw)
}

/// Differs from cluster to cluster on one machine.
fn service_of_the_api_server() -> &'static str {
    static ADDRESS: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ADDRESS.get_or_init(|| {
        let service = get("default", "service/kubernetes").expect("the Service of the API server");
        service["spec"]["clusterIP"].as_str().unwrap().to_owned()
    })
}
