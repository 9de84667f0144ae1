//! Drowse in the cluster, by `kubectl apply -k` as docs/install.md says.

use std::net::{IpAddr, SocketAddr};

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use super::http::{Answer, Call};
use super::kubectl::{eventually, get, kubectl, list, try_kubectl};
use super::sandbox::Sandbox;

/// One at a time: they would all manage the same Sandboxes.
static ALONE: Mutex<()> = parking_lot::const_mutex(());

/// An installed Drowse. Uninstalled when dropped.
pub(super) struct Installation {
    folder: String,
    namespace: &'static str,
    service: &'static str,
    installed: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Installation {
    /// The overlay of this name, in a namespace of its own.
    pub(super) fn of(overlay: &str) -> Self {
        Self::in_namespace(overlay, "drowse-system", "drowse")
    }

    /// The overlay in the place of agent-sandbox's router.
    pub(super) fn as_sandbox_router() -> Self {
        Self::in_namespace("sandbox-router", "agent-sandbox-system", "sandbox-router-svc")
    }

    fn in_namespace(overlay: &str, namespace: &'static str, service: &'static str) -> Self {
        let alone = ALONE.lock();
        let folder = format!("tests/e2e/deploy/{overlay}");
        let installation = Self { folder, namespace, service, installed: true, _alone: alone };
        kubectl(&["apply", "-k", &installation.folder]);
        installation.wait_until_rolled_out();
        installation
    }

    /// Waits until the newest version of the Deployment is the only one, and ready.
    #[track_caller]
    pub(super) fn wait_until_rolled_out(&self) {
        self.drowse(&["rollout", "status", "deployment/drowse", "--timeout=180s"]);
        // It says so while old pods are still on their way out.
        let replicas = self.deployment()["spec"]["replicas"].as_u64().unwrap();
        eventually("old pods of Drowse are gone", || (self.pods().len() as u64 == replicas).then_some(()));
        // The node learns of it a little later.
        let address = self.address();
        eventually("the Service leads to it", || std::net::TcpStream::connect(address).ok());
    }

    /// `kubectl` in the namespace of Drowse.
    #[track_caller]
    pub(super) fn drowse(&self, arguments: &[&str]) -> String {
        kubectl(&[&["-n", self.namespace], arguments].concat())
    }

    /// A command of the program, run in the pod.
    #[track_caller]
    pub(super) fn command(&self, arguments: &[&str]) -> String {
        self.drowse(&[&["exec", "deployment/drowse", "--", "/drowse"], arguments].concat())
    }

    #[track_caller]
    fn deployment(&self) -> Value {
        get(self.namespace, "deployment/drowse").expect("the Deployment")
    }

    /// Its pods.
    #[track_caller]
    pub(super) fn pods(&self) -> Vec<Value> {
        list(self.namespace, "pods", &["-l", "app.kubernetes.io/name=drowse"])
    }

    /// Where its Service is.
    #[track_caller]
    pub(super) fn address(&self) -> SocketAddr {
        let service = get(self.namespace, &format!("service/{}", self.service)).expect("the Service");
        let address: IpAddr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
        SocketAddr::new(address, 8080)
    }

    /// Sends `GET` to an agent through the front door.
    #[track_caller]
    pub(super) fn call(&self, agent: &Sandbox, path: &str) -> Call {
        let host = format!("{}.{}.agents.test", agent.name, agent.namespace);
        Call::new(self.address(), path, &[("Host", &host)])
    }

    /// The same, with its answer.
    #[track_caller]
    pub(super) fn get(&self, agent: &Sandbox, path: &str) -> Answer {
        let answer = self.call(agent, path).answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// Everything that its pods have logged.
    #[track_caller]
    pub(super) fn log(&self) -> String {
        self.drowse(&["logs", "-l", "app.kubernetes.io/name=drowse", "--tail=-1", "--prefix"])
    }

    /// Fails if it was restarted, or missed a permission.
    #[track_caller]
    pub(super) fn assert_well(&self) {
        for pod in self.pods() {
            assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{pod:#}");
        }
        let log = self.log();
        assert!(log.contains("listening"), "{log}");
        // "forbidden" alone is also said of a namespace that is being deleted, as that of the test before may be.
        for word in ["forbidden: User", "\"level\":\"ERROR\"", "panicked", "notify"] {
            assert!(!log.contains(word), "{word:?} is in the log:\n{log}");
        }
    }

    /// Takes it away, and waits until it is gone.
    pub(super) fn uninstall(mut self) {
        self.delete().unwrap();
    }

    /// Leaves it to the next test that wants the same overlay, which must be the next one of all.
    pub(super) fn keep(mut self) {
        self.installed = false;
    }

    fn delete(&mut self) -> Result<(), String> {
        if !std::mem::replace(&mut self.installed, false) {
            return Ok(());
        }
        try_kubectl(&["delete", "-k", &self.folder, "--ignore-not-found", "--timeout=180s"]).map(drop)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = try_kubectl(&["-n", self.namespace, "logs", "deployment/drowse", "--tail=100"]);
            eprintln!("log of Drowse:\n{}", log.unwrap_or_else(|error| error));
        }
        if let Err(error) = self.delete() {
            eprintln!("failed to uninstall: {error}");
        }
    }
}
