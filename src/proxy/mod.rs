//! The front door: takes callers' HTTP/1.1 requests and passes each to its agent, waking it if need be.
//!
//! `listener` accepts, `connection` serves one caller, `request` answers one request: `route` says where it goes,
//! `auth` whether it may, `activate` gets it in, `forward` sends it. `upgrade` says which of them may leave HTTP behind, and
//! `tunnel` is what then passes bytes. `stream` is for answers that are no request any more. `lease` is what agents ask Drowse itself.

mod activate;
mod activity;
pub mod auth;
mod body;
mod connection;
pub mod error;
mod events;
mod forward;
mod frames;
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
mod tunnel;
mod upgrade;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::metrics::Metrics;

use activity::Activity;
use auth::Authenticator;
use stage::{Stage, Stages};
use tunnel::Tunnel;

pub use lease::LeaseHolders;
pub use settings::{Settings, Style};

/// How long the last refusals may take to reach their callers.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The front door, listening but not yet serving.
pub struct FrontDoor {
    listener: TcpListener,
    address: SocketAddr,
    door: Door,
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
#[error("cannot listen on {address} (front_door.listen): {source}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl FrontDoor {
    /// Listens on `settings.listen`. Whatever is stored in `settings` later applies as [`Settings`] says.
    pub fn bind(
        settings: Arc<ArcSwap<Settings>>,
        engine: Arc<Engine>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BindError> {
        let wanted = settings.load().listen;
        let failed = |source| BindError { address: wanted, source };
        let listener = listener::bind(wanted).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let door = Door {
            engine,
            metrics,
            settings,
            authenticator: None,
            lease_holders: LeaseHolders::OnThisMachine,
            stages: Stages::default(),
            connections: AtomicUsize::new(0),
            connection_ended: Notify::new(),
        };
        Ok(Self { listener, address, door })
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

    /// Where it listens: the port is the real one even where 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`; then takes no more connections, lets the requests that are in flight or held
    /// end within `drain_timeout`, and cuts the rest.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listener, door, .. } = self;
        let door = Arc::new(door);
        let connections = TaskTracker::new();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = listener::accept(&listener, &door, &connections) => {}
        }
        drop(listener);
        door.stages.advance(Stage::Draining);
        connections.close();
        let drain_timeout = door.settings.load().drain_timeout;
        if tokio::time::timeout(drain_timeout, connections.wait()).await.is_ok() {
            return;
        }
        // Whoever still waits for an agent is told so before its connection is cut (invariant 6), and whoever has a
        // tunnel, too.
        door.engine.refuse_held();
        door.stages.advance(Stage::LastWords);
        if tokio::time::timeout(LAST_WORDS, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "cutting connections that did not end in time");
            door.stages.advance(Stage::Cut);
            connections.wait().await;
        }
    }
}
