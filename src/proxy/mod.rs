//! The front door: takes callers' requests, of HTTP/1.1 and HTTP/2, and passes each to its agent, waking it if need be.
//!
//! `listener` accepts, one of the `workers` serves, `connection` is one caller, `request` answers one request: `route` says where it goes,
//! `auth` whether it may, `activate` gets it in, `forward` sends it. `upgrade` says which of them may leave HTTP behind, and
//! `tunnel` is what then passes bytes. `stream` is for answers that are no request any more. `lease` is what agents ask Drowse itself.

mod activate;
mod activity;
pub mod auth;
mod body;
mod chatter;
mod connection;
mod drive;
pub mod error;
mod events;
mod forward;
mod frames;
mod grpc;
pub mod headers;
mod lease;
mod listener;
mod request;
pub mod route;
mod settings;
mod silence;
mod stage;
mod stream;
mod switched;
mod timing;
mod tls;
mod transport;
mod tunnel;
mod unread;
mod upgrade;
mod watched;
pub mod workers;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::net::{self, TcpListener};

use activity::Activity;
use auth::Authenticator;
use stage::{Stage, Stages};
use tls::Certificate;
use tunnel::Tunnel;
use workers::Workers;

pub use lease::LeaseHolders;
pub use settings::{Settings, Style};
pub use tls::CertificateFiles;

/// How long the last refusals may take to reach their callers.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The front door, listening but not yet serving.
pub struct FrontDoor {
    listener: TcpListener,
    address: SocketAddr,
    secure: Option<Secure>,
    door: Door,
}

/// The listener for callers that speak TLS.
struct Secure {
    listener: TcpListener,
    address: SocketAddr,
    certificate: Certificate,
    acceptor: Arc<TlsAcceptor>,
}

/// What all connections share.
struct Door {
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    settings: Arc<ArcSwap<Settings>>,
    /// Without one, whoever reaches the front door may call.
    authenticator: Option<Arc<dyn Authenticator>>,
    lease_holders: LeaseHolders,
    stages: Stages,
    /// Those of connections and of what they carry.
    tasks: TaskTracker,
    /// Where connections are served; here, if there are none.
    workers: Option<Arc<Workers>>,
    connections: AtomicUsize,
    connection_ended: Notify,
}

/// What all requests of one connection share.
struct Caller {
    peer: headers::Peer,
    address: IpAddr,
    activity: Arc<Activity>,
    door: Arc<Door>,
    /// What the connection becomes once hyper is through with it.
    tunnel: Mutex<Option<Box<Tunnel>>>,
}

/// Why the front door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// What was wanted.
        address: SocketAddr,
        /// Where the configuration says so.
        key: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Its certificate cannot be used.
    #[error("cannot use the certificate of front_door.tls: {0}")]
    Certificate(String),
}

impl FrontDoor {
    /// Listens on `settings.listen`. Whatever is stored in `settings` later applies as [`Settings`] says.
    pub fn bind(
        settings: Arc<ArcSwap<Settings>>,
        engine: Arc<Engine>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BindError> {
        let (listener, address) = bind(settings.load().listen, "front_door.listen")?;
        let door = Door {
            engine,
            metrics,
            settings,
            authenticator: None,
            lease_holders: LeaseHolders::OnThisMachine,
            stages: Stages::default(),
            tasks: TaskTracker::new(),
            workers: None,
            connections: AtomicUsize::new(0),
            connection_ended: Notify::new(),
        };
        Ok(Self { listener, address, secure: None, door })
    }

    /// Lets in only whom this lets in.
    #[must_use]
    pub fn authenticated_by(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.door.authenticator = Some(authenticator);
        self
    }

    /// Lets these take busy leases; without this, whoever is on this machine.
    #[must_use]
    pub fn leases_for(mut self, holders: LeaseHolders) -> Self {
        self.door.lease_holders = holders;
        self
    }

    /// Serves connections by these, which must outlive it.
    #[must_use]
    pub fn served_by(mut self, workers: Arc<Workers>) -> Self {
        self.door.workers = Some(workers);
        self
    }

    /// Takes callers that speak TLS at this address, too.
    pub fn secured(mut self, at: SocketAddr, files: CertificateFiles) -> Result<Self, BindError> {
        let certificate = Certificate::load(files).map_err(BindError::Certificate)?;
        let acceptor = Arc::new(certificate.acceptor().map_err(BindError::Certificate)?);
        let (listener, address) = bind(at, "front_door.tls.listen")?;
        self.secure = Some(Secure { listener, address, certificate, acceptor });
        Ok(self)
    }

    /// Where it takes callers that speak TLS.
    pub fn secure_address(&self) -> Option<SocketAddr> {
        self.secure.as_ref().map(|secure| secure.address)
    }

    /// Where it listens: the port is the real one even where 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, and for `shutdown_delay` more; then takes no more connections, lets the requests that are in
    /// flight or held end within `drain_timeout`, and cuts the rest.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listener, secure, door, .. } = self;
        let door = Arc::new(door);
        tokio::select! {
            biased;
            () = time_to_close(&door, &shutdown) => {}
            () = listener::accept(&listener, None, &door) => {}
            () = accept_secure(secure.as_ref(), &door) => {}
        }
        listener::close(listener, None, &door);
        if let Some(Secure { listener, acceptor, .. }) = secure {
            listener::close(listener, Some(&acceptor), &door);
        }
        door.stages.advance(Stage::Draining);
        door.tasks.close();
        let drain_timeout = door.settings.load().drain_timeout;
        if tokio::time::timeout(drain_timeout, door.tasks.wait()).await.is_ok() {
            return;
        }
        // Whoever still waits for an agent is told so before its connection is cut (invariant 6), and whoever has a
        // tunnel, too.
        door.engine.refuse_held();
        door.stages.advance(Stage::LastWords);
        if tokio::time::timeout(LAST_WORDS, door.tasks.wait()).await.is_err() {
            tracing::warn!(connections = door.tasks.len(), "cutting connections that did not end in time");
            door.stages.advance(Stage::Cut);
            door.tasks.wait().await;
        }
    }
}

fn bind(wanted: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError::Listen { address: wanted, key, source };
    let listener = net::listen(wanted).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Who sends callers here hears of `shutdown` too, and takes some time to send none any more.
async fn time_to_close(door: &Door, shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    let delay = door.settings.load().shutdown_delay;
    // Before it was ready nobody was sent here.
    if delay.is_zero() || !door.engine.is_ready() {
        return;
    }
    door.stages.advance(Stage::Leaving);
    tokio::time::sleep(delay).await;
}

/// For ever.
async fn accept_secure(secure: Option<&Secure>, door: &Arc<Door>) {
    match secure {
        Some(Secure { listener, certificate, acceptor, .. }) => {
            let accepting = listener::accept(listener, Some(acceptor), door);
            tokio::join!(accepting, certificate.follow(&door.metrics));
        }
        None => std::future::pending().await,
    }
}
