//! The agent as a server: connections, each with its bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::Args;
use super::handlers;
use super::identity::Identity;
use super::journal::Journal;
use super::runtime::Runtime;
use super::state::StateFile;
use crate::net;
use crate::time::{Clock, Moment};

/// A caller may take this long for the head of a request, and leave a connection unused for as long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// More callers wait in the backlog. Far above any test, far below the limit of open files of most machines.
const MAX_CONNECTIONS: usize = 4_096;
/// Between tries to accept when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The agent, as all its connections see it.
pub(super) type Shared = Arc<Agent>;

/// One life of the agent.
pub(super) struct Agent {
    pub(super) identity: Identity,
    pub(super) runtime: Runtime,
    /// Held while the file is written: a few microseconds.
    pub(super) state: Mutex<StateFile>,
    pub(super) journal: Option<Journal>,
    /// It fetches what a caller names.
    pub(super) relays: bool,
    clock: Clock,
    ready: Moment,
    /// It says that it is at work from the one until the other.
    work: Mutex<(Moment, Moment)>,
    requests: AtomicU64,
    crash: Notify,
}

impl Agent {
    /// It is ready as long from now as the arguments say.
    pub(super) fn new(
        identity: Identity,
        runtime: Runtime,
        state: StateFile,
        journal: Option<Journal>,
        clock: Clock,
        args: &Args,
    ) -> Shared {
        Arc::new(Self {
            identity,
            runtime,
            state: Mutex::new(state),
            journal,
            clock,
            ready: clock.now() + args.ready_after.get(),
            relays: args.relay,
            work: Mutex::new((clock.now(), clock.now())),
            requests: AtomicU64::new(0),
            crash: Notify::new(),
        })
    }

    /// Whether it says that it is.
    pub(super) fn is_ready(&self) -> bool {
        self.clock.now() >= self.ready
    }

    /// From now on it says for so long that it is at work. Zero ends that.
    pub(super) fn work_for(&self, length: Duration) {
        let now = self.clock.now();
        *self.work.lock() = (now, now + length);
    }

    /// Whether it says that it is at work, and since when it says what it says.
    pub(super) fn work(&self) -> (bool, Timestamp) {
        let (from, until) = *self.work.lock();
        let busy = self.clock.now() < until;
        (busy, self.clock.wall(if busy { from } else { until }))
    }

    /// Adds a request to the count.
    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests since the start.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Ends the agent. Returns never: the process ends meanwhile.
    pub(super) async fn crash<T>(&self) -> T {
        self.crash.notify_one();
        std::future::pending().await
    }

    /// Waits until somebody asks for a crash.
    pub(super) async fn crashed(&self) {
        self.crash.notified().await;
    }
}

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, agent: Shared) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("failed to accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let agent = agent.clone();
        tokio::spawn(async move {
            connection(stream, agent).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, agent: Shared) {
    let service = service_fn(move |request| {
        let agent = agent.clone();
        async move { handlers::answer(&agent, request).await }
    });
    // Errors mean a caller that left, one that wrote no HTTP, or `/close`: nobody is left to tell.
    let _ = stream.set_nodelay(true);
    // By loopback, with its huge packets, the system would take 2.5 MiB at once for whoever does not read.
    let _ = net::keep_little_unsent(&stream);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEADER_TIMEOUT);
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}
