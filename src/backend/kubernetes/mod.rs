//! Agents as Agent Sandboxes on a Kubernetes cluster (kubernetes-sigs/agent-sandbox, `agents.x-k8s.io/v1beta1`).
//!
//! The watches feed an index, the index feeds the core. Nothing is decided here: a write carries the preconditions
//! that the core decided on, and its answer is an observation like any other.

mod claim;
mod error;
mod events;
mod facts;
mod index;
mod marks;
mod options;
mod pod;
mod sandbox;
mod suspicion;
#[cfg(test)]
mod testing;
pub mod token_review;
mod watch;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Backend, BackendEvent};
use crate::agent::{AgentKey, AgentUid, Generation, Life, Revision};
use crate::lifecycle::{AgentSeen, Mode, SuspendedBy, Transition, WriteError};
use crate::time::Clock;

pub use options::Options;

use events::Announcer;
use index::Index;
use suspicion::Suspicion;
use watch::{Told, Watch};

/// Events that may wait for the core, and reports that may wait for the index: a full channel makes the watches
/// wait, and those the API server.
const MAX_REPORTS: usize = 1024;
/// How long a connection to the API server may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Which pod this is, if it is one; from the environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl OwnPod {
    /// What `POD_NAMESPACE` and `POD_NAME` say; `None` outside of a cluster.
    pub fn from_env() -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(Self { namespace: variable("POD_NAMESPACE")?, name: variable("POD_NAME")? })
    }
}

/// Sandboxes of a cluster.
pub struct KubernetesBackend {
    client: Client,
    namespaces: Vec<String>,
    index: Arc<Mutex<Index>>,
    announcer: Announcer,
    suspicion: Suspicion,
    clock: Clock,
    ending: CancellationToken,
}

/// Why there is no way to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file, or the context in it.
    #[error("failed to read the kubeconfig: {0}; see backend.kubernetes.kubeconfig and .context")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither in a pod nor with a kubeconfig.
    #[error(
        "there is no cluster to connect to: {0}; run Drowse in a pod, or set backend.kubernetes.kubeconfig"
    )]
    Infer(#[from] kube::config::InferConfigError),
    /// In a pod that does not say which.
    #[error(
        "in a pod, Drowse must know which one it is, to be one of the replicas there: set POD_NAME and \
         POD_NAMESPACE from the fields metadata.name and metadata.namespace, as deploy/kustomize/base does"
    )]
    Nameless,
    /// Certificates or credentials.
    #[error("failed to set up the connection to the cluster: {0}")]
    Client(#[from] kube::Error),
}

/// A client of the cluster that the options name. Connects to nothing yet.
pub async fn connect(options: &Options) -> Result<Client, ConnectError> {
    let mut config = match &options.kubeconfig {
        Some(path) => {
            let context =
                KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &context).await?
        }
        None if options.context.is_some() => {
            let context =
                KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&context).await?
        }
        None => Config::infer().await?,
    };
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && OwnPod::from_env().is_none() {
        return Err(ConnectError::Nameless);
    }
    config.connect_timeout = Some(CONNECT_LIMIT);
    // The core repeats what failed, and knows whether it is still wanted.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

impl KubernetesBackend {
    /// A backend that looks at these namespaces, or with none at all of them.
    pub fn new(client: Client, namespaces: Vec<String>, clock: Clock) -> Self {
        let instance = OwnPod::from_env().map(|pod| pod.name);
        let (announcer, announcements) = events::channel();
        let index = Arc::new(Mutex::new(Index::new(0)));
        let ending = CancellationToken::new();
        tokio::spawn(ending.clone().run_until_cancelled_owned(events::publish(
            client.clone(),
            instance,
            announcements,
        )));
        let suspicion = Suspicion::default();
        Self { client, namespaces, index, announcer, suspicion, clock, ending }
    }

    /// The way to the cluster, for what is no part of running agents.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Starts every watch, each a task of its own that ends when nobody listens; gives how many there are.
    fn start_watches(&self, reports: &mpsc::Sender<Told>) -> index::Source {
        let mut source = 0;
        let mut next = || {
            source += 1;
            source - 1
        };
        let all: &[Option<&str>] = &[None];
        let some: Vec<_> = self.namespaces.iter().map(|name| Some(name.as_str())).collect();
        for namespace in if some.is_empty() { all } else { &some } {
            self.start(*namespace, "sandboxes", None, next(), facts::sandbox, reports);
            self.start(*namespace, "pods", Some(pod::SELECTOR.to_owned()), next(), facts::pod, reports);
            self.start(*namespace, "sandboxclaims", None, next(), facts::claim, reports);
        }
        let anywhere = match some.first() {
            Some(Some(namespace)) => Api::namespaced(self.client.clone(), namespace),
            _ => Api::all(self.client.clone()),
        };
        let looking = self.suspicion.clone().look(anywhere, next(), reports.clone());
        tokio::spawn(self.ending.clone().run_until_cancelled_owned(looking));
        source
    }

    fn start<K>(
        &self,
        namespace: Option<&str>,
        what: &str,
        selector: Option<String>,
        source: index::Source,
        facts: fn(&K) -> Option<index::Object>,
        reports: &mpsc::Sender<Told>,
    ) where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let api = match namespace {
            Some(namespace) => Api::<K>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let place = namespace.map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
        let name = format!("{what} in {place}");
        // Claims are an extension of agent-sandbox that a cluster need not have.
        let optional = what == "sandboxclaims";
        let watch = Watch {
            api,
            name,
            selector,
            source,
            optional,
            facts,
            clock: self.clock,
            reports: reports.clone(),
        };
        tokio::spawn(self.ending.clone().run_until_cancelled_owned(watch.run()));
    }

    fn now(&self) -> jiff::Timestamp {
        self.clock.wall(self.clock.now())
    }
}

/// Feeds the index, and the core with what follows.
async fn feed(
    index: Arc<Mutex<Index>>,
    mut reports: mpsc::Receiver<Told>,
    events: mpsc::Sender<BackendEvent>,
) {
    let mut out = Vec::new();
    while let Some((origin, report)) = reports.recv().await {
        index.lock().apply(origin, report, &mut out);
        for event in out.drain(..) {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

impl Backend for KubernetesBackend {
    fn watch(&self) -> mpsc::Receiver<BackendEvent> {
        let (reports, told) = mpsc::channel(MAX_REPORTS);
        let (events, receiver) = mpsc::channel(MAX_REPORTS);
        let mut index = self.index.lock();
        *index = Index::new(self.start_watches(&reports));
        drop(index);
        let feed = feed(Arc::clone(&self.index), told, events);
        tokio::spawn(self.ending.clone().run_until_cancelled_owned(feed));
        receiver
    }

    fn suspend(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.suspicion.over(write::suspend(
            self.client.clone(),
            key.clone(),
            uid.clone(),
            revision,
            by,
            self.now(),
        ))
    }

    fn resume(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        generation: Generation,
        from: Mode,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.suspicion.over(write::resume(
            self.client.clone(),
            key.clone(),
            uid.clone(),
            generation,
            from,
            self.now(),
        ))
    }

    fn read(&self, key: &AgentKey) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.suspicion.over(write::read(self.client.clone(), key.clone()))
    }

    fn attest(
        &self,
        key: &AgentKey,
        life: &Life,
        at: SocketAddr,
    ) -> BoxFuture<'static, Result<bool, String>> {
        let name = self.index.lock().pod_name(key);
        let Some(name) = name else { return async { Ok(false) }.boxed() };
        write::attest(self.client.clone(), key.clone(), name, life.clone(), at.ip()).boxed()
    }

    fn last_log_lines(&self, _key: &AgentKey) -> Vec<String> {
        // `kubectl logs` has them; reading them would take a permission that Drowse does not need otherwise.
        Vec::new()
    }

    fn announce(&self, key: &AgentKey, transition: &Transition) {
        let Some(note) = events::note(transition) else { return };
        if let Some(uid) = self.index.lock().uid(key) {
            self.announcer.announce(key, &uid, note);
        }
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        // The Sandboxes go on as they are: another replica, or the next run, looks after them.
        self.ending.cancel();
        async {}.boxed()
    }
}
