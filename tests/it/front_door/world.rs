//! What the front door needs around it: an engine, a backend that does what the test says, and a toy agent.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use drowse::agent::{AgentKey, AgentUid, Generation, Life, PodUid, Revision};
use drowse::backend::{Backend, BackendEvent, Profile};
use drowse::engine::snapshot::AgentView;
use drowse::engine::{Engine, Limits};
use drowse::lifecycle::{AgentSeen, Mode, PhaseName, PodSeen, PodState, SuspendedBy, WriteError};
use drowse::metrics::Metrics;
use drowse::policy::Policy;
use drowse::policy::rules::{Layer, RuleSet};
use drowse::proxy::auth::Authenticator;
use drowse::proxy::{FrontDoor, LeaseHolders, Settings};
use drowse::time::Clock;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A test that waits longer than this for something has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A front door before one agent, `default/echo`, on this machine.
pub(super) struct World {
    pub(super) address: SocketAddr,
    pub(super) engine: Arc<Engine>,
    pub(super) backend: Arc<FakeBackend>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: CancellationToken,
    pub(super) serving: JoinHandle<()>,
}

/// How a world begins.
pub(super) struct Start {
    pub(super) policy: Policy,
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) asleep: bool,
    /// Not all agents are known until [`FakeBackend::sync`].
    pub(super) unsynced: bool,
    pub(super) authenticator: Option<Arc<dyn Authenticator>>,
    pub(super) lease_holders: LeaseHolders,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            policy: Policy { route: true, manage: true, ..Policy::default() },
            settings: Settings {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                // So that a connection has mostly rested before the next request.
                rest_after: Duration::from_millis(1),
                ..Settings::default()
            },
            limits: Limits {
                held: 1000,
                held_body_bytes: 1 << 20,
                starts_in_flight: 10,
                starts_per_namespace: 10,
                starts_per_second: 1000,
                trust_stale_for: Duration::MAX,
            },
            asleep: false,
            unsynced: false,
            authenticator: None,
            lease_holders: LeaseHolders::OnThisMachine,
        }
    }
}

impl World {
    /// The agent is at this port, and up.
    pub(super) async fn awake(port: u16) -> Self {
        let world = Self::start(port, Start::default()).await;
        world.until_running().await;
        world
    }

    pub(super) async fn start(port: u16, mut start: Start) -> Self {
        start.policy.port = Some(port);
        let clock = Clock::start();
        let backend = Arc::new(FakeBackend::new(start.asleep, !start.unsynced));
        let metrics = Arc::new(Metrics::new());
        let rules = RuleSet::new(start.policy, Layer::default(), Vec::new());
        let engine = Engine::new(
            Arc::clone(&backend) as Arc<dyn Backend>,
            rules,
            &start.limits,
            Arc::clone(&metrics),
            clock,
        );
        tokio::spawn(Arc::clone(&engine).run());
        let settings = Arc::new(ArcSwap::from_pointee(start.settings));
        let mut door =
            FrontDoor::bind(Arc::clone(&settings), Arc::clone(&engine), Arc::clone(&metrics)).unwrap();
        door = door.leases_for(start.lease_holders);
        if let Some(authenticator) = start.authenticator {
            door = door.authenticated_by(authenticator);
        }
        let (address, shutdown) = (door.address(), CancellationToken::new());
        let serving = tokio::spawn(door.run(shutdown.clone()));
        until(|| engine.is_synced() != start.unsynced).await;
        Self { address, engine, backend, settings, metrics, shutdown, serving }
    }

    pub(super) async fn until_running(&self) {
        until(|| self.view().phase == PhaseName::Running).await;
    }

    /// Callers that wait for the agent.
    pub(super) fn held(&self) -> u32 {
        self.view().held
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.view().in_flight
    }

    pub(super) fn view(&self) -> AgentView {
        self.engine.detail(&key()).unwrap().agent
    }

    /// A connection to the front door.
    pub(super) async fn caller(&self) -> Caller {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Caller { stream }
    }

    /// One request on a connection of its own, written as it is (with `\n` for line ends), and all that comes
    /// back until the front door closes.
    pub(super) async fn ask(&self, request: &str) -> String {
        let mut caller = self.caller().await;
        caller.send(request).await;
        caller.rest().await
    }
}

pub(super) fn key() -> AgentKey {
    AgentKey::new("default", "echo")
}

/// A body in which a byte that is lost, doubled or moved shows.
pub(super) fn pattern(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// Waits until something is so.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it did not come about");
}

/// A caller who writes bytes.
pub(super) struct Caller {
    pub(super) stream: TcpStream,
}

impl Caller {
    /// Lines end in `\n` here and in CRLF on the wire.
    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
    }

    /// Reads until the text ends in this.
    pub(super) async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        let end = end.replace('\n', "\r\n");
        while !read.ends_with(end.as_bytes()) {
            let byte = tokio::time::timeout(PATIENCE, self.stream.read_u8()).await.expect("silence");
            let Ok(byte) = byte else {
                panic!("closed after {:?}, before {end:?}", String::from_utf8_lossy(&read));
            };
            read.push(byte);
        }
        String::from_utf8_lossy(&read).replace("\r\n", "\n")
    }

    /// An answer's head, in lower case.
    pub(super) async fn head(&mut self) -> String {
        self.read_until("\n\n").await.to_lowercase()
    }

    /// All that comes until the front door closes.
    pub(super) async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        let reading = self.stream.read_to_end(&mut read);
        // A reset after the answer is an end, too.
        let _end = tokio::time::timeout(PATIENCE, reading).await.expect("the connection stays open");
        String::from_utf8_lossy(&read).replace("\r\n", "\n")
    }
}

/// An agent whose every connection is played by the test.
pub(super) struct Toy {
    pub(super) port: u16,
    connections: mpsc::UnboundedReceiver<Played>,
}

/// The agent's end of one connection, from its first byte on.
pub(super) struct Played {
    pub(super) caller: Caller,
}

impl Toy {
    /// Connections on which nothing is ever said (such as a probe's) do not show.
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut byte = [0];
                    if matches!(stream.peek(&mut byte).await, Ok(1)) {
                        let _test_over = sender.send(Played { caller: Caller { stream } });
                    }
                });
            }
        });
        Self { port, connections }
    }

    /// An agent that answers every request by this.
    pub(super) async fn answering(answer: &'static str) -> u16 {
        let mut toy = Self::new().await;
        let port = toy.port;
        tokio::spawn(async move {
            while let Some(mut played) = toy.connections.recv().await {
                tokio::spawn(async move {
                    while played.try_head().await.is_some() {
                        played.caller.send(answer).await;
                    }
                });
            }
        });
        port
    }

    /// The next connection on which something is said.
    pub(super) async fn accept(&mut self) -> Played {
        let played = tokio::time::timeout(PATIENCE, self.connections.recv()).await;
        played.expect("nobody called the agent").unwrap()
    }

    /// Whether somebody has called since.
    pub(super) fn was_called(&mut self) -> bool {
        self.connections.try_recv().is_ok()
    }
}

impl Played {
    /// A request's head, as it is.
    pub(super) async fn head(&mut self) -> String {
        self.caller.read_until("\n\n").await
    }

    async fn try_head(&mut self) -> Option<()> {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(self.caller.stream.read_u8().await.ok()?);
        }
        Some(())
    }

    pub(super) async fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        tokio::time::timeout(PATIENCE, self.caller.stream.read_exact(&mut bytes)).await.unwrap().unwrap();
        bytes
    }

    /// Whether the front door closes this connection.
    pub(super) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.caller.stream.read(&mut byte)).await.unwrap();
        !matches!(read, Ok(1))
    }
}

/// Runs one agent at this machine's address. Starts end at once, or when the test says.
pub(super) struct FakeBackend {
    state: Mutex<State>,
    pub(super) resumes: AtomicU64,
    /// How long a read takes that says who answers.
    pub(super) attest_ms: AtomicU64,
}

struct State {
    events: Option<mpsc::Sender<BackendEvent>>,
    seen: AgentSeen,
    synced: bool,
    pods: u64,
    /// Pods wait for this.
    starts: Option<oneshot::Receiver<()>>,
    /// The next suspension waits for this, and is then not written.
    suspends: Option<oneshot::Receiver<()>>,
}

impl FakeBackend {
    fn new(asleep: bool, synced: bool) -> Self {
        let seen = AgentSeen {
            uid: AgentUid("agent-1".into()),
            revision: Revision(1),
            generation: Generation(1),
            observed: Generation(1),
            mode: if asleep { Mode::Suspended } else { Mode::Running },
            suspended_by: SuspendedBy::Idle,
            trouble: None,
        };
        let state = State { events: None, seen, synced, pods: 0, starts: None, suspends: None };
        Self { state: Mutex::new(state), resumes: AtomicU64::new(0), attest_ms: AtomicU64::new(0) }
    }

    /// From here on all agents are known.
    pub(super) fn sync(&self) {
        let mut state = self.state.lock();
        state.synced = true;
        state.tell(BackendEvent::Synced);
    }

    /// The next start ends only when what this gives is sent to.
    pub(super) fn hold_next_start(&self) -> oneshot::Sender<()> {
        let (sender, receiver) = oneshot::channel();
        self.state.lock().starts = Some(receiver);
        sender
    }

    /// The next suspension is under way until what this gives is sent to, and then comes to nothing.
    pub(super) fn hold_next_suspend(&self) -> oneshot::Sender<()> {
        let (sender, receiver) = oneshot::channel();
        self.state.lock().suspends = Some(receiver);
        sender
    }

    /// A person suspends the agent.
    pub(super) fn suspend_by_person(&self) {
        let mut state = self.state.lock();
        state.write(Mode::Suspended, SuspendedBy::Person);
        state.end_pod();
    }

    /// The watch breaks.
    pub(super) fn break_watch(&self) {
        self.state.lock().tell(BackendEvent::Stale);
    }

    /// The agent is deleted and made anew, up at once; of the deletion nobody hears.
    pub(super) fn make_anew(&self) {
        let mut state = self.state.lock();
        state.seen.uid = AgentUid("agent-2".into());
        state.write(Mode::Running, SuspendedBy::Idle);
        state.start_pod();
    }

    /// The pod vanishes, and another one takes its place.
    pub(super) fn replace_pod(&self) {
        let mut state = self.state.lock();
        state.end_pod();
        state.start_pod();
    }

    pub(super) fn resumes(&self) -> u64 {
        self.resumes.load(Ordering::Relaxed)
    }
}

impl State {
    fn tell(&self, event: BackendEvent) {
        if let Some(events) = &self.events {
            events.try_send(event).unwrap();
        }
    }

    fn tell_agent(&self) {
        let profile = Arc::new(Profile::default());
        self.tell(BackendEvent::Agent { key: key(), seen: self.seen.clone(), profile });
    }

    fn write(&mut self, mode: Mode, by: SuspendedBy) -> AgentSeen {
        self.seen.revision.0 += 1;
        self.seen.generation.0 += 1;
        self.seen.observed = self.seen.generation;
        self.seen.mode = mode;
        self.seen.suspended_by = by;
        self.tell_agent();
        self.seen.clone()
    }

    /// Changes nothing but the revision.
    fn mark(&mut self) -> AgentSeen {
        self.seen.revision.0 += 1;
        self.tell_agent();
        self.seen.clone()
    }

    fn pod(&mut self, state: PodState) -> BackendEvent {
        self.seen.revision.0 += 1;
        let seen = PodSeen {
            uid: PodUid(format!("pod-{}", self.pods).into()),
            owner: self.seen.uid.clone(),
            revision: self.seen.revision,
            terminating: false,
            state,
            ready: false,
            hindrance: None,
            readiness: None,
        };
        BackendEvent::Pod { key: key(), seen }
    }

    fn start_pod(&mut self) {
        self.pods += 1;
        let up = self.pod(PodState::Up(LOCAL));
        match (self.starts.take(), self.events.clone()) {
            (Some(starts), Some(events)) => {
                tokio::spawn(async move {
                    if starts.await.is_ok() {
                        events.send(up).await.unwrap();
                    }
                });
            }
            _ => self.tell(up),
        }
    }

    fn end_pod(&mut self) {
        self.seen.revision.0 += 1;
        let pod = PodUid(format!("pod-{}", self.pods).into());
        self.tell(BackendEvent::PodGone { key: key(), pod, revision: self.seen.revision });
    }
}

impl Backend for FakeBackend {
    fn outlives_us(&self) -> bool {
        false
    }

    fn watch(&self) -> mpsc::Receiver<BackendEvent> {
        let (sender, receiver) = mpsc::channel(1000);
        let mut state = self.state.lock();
        state.events = Some(sender);
        state.tell_agent();
        if state.seen.mode == Mode::Running {
            state.start_pod();
        }
        if state.synced {
            state.tell(BackendEvent::Synced);
        }
        receiver
    }

    fn suspend(
        &self,
        _key: &AgentKey,
        _uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let mut state = self.state.lock();
        if state.seen.revision < revision {
            return async { Err(WriteError::Conflict) }.boxed();
        }
        if let Some(suspends) = state.suspends.take() {
            return async {
                let _told = suspends.await;
                Err(WriteError::NotSent("the test says so".into()))
            }
            .boxed();
        }
        let seen = state.write(Mode::Suspended, by);
        state.end_pod();
        async { Ok(seen) }.boxed()
    }

    fn resume(
        &self,
        _key: &AgentKey,
        _uid: &AgentUid,
        _generation: Generation,
        from: Mode,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.resumes.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        if from == Mode::Running {
            let seen = state.mark();
            return async { Ok(seen) }.boxed();
        }
        let seen = state.write(Mode::Running, SuspendedBy::Idle);
        state.start_pod();
        async { Ok(seen) }.boxed()
    }

    fn read(&self, _key: &AgentKey) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        let seen = self.state.lock().seen.clone();
        async { Ok(seen) }.boxed()
    }

    fn attest(
        &self,
        _key: &AgentKey,
        _life: &Life,
        _at: SocketAddr,
    ) -> BoxFuture<'static, Result<bool, String>> {
        let takes = Duration::from_millis(self.attest_ms.load(Ordering::Relaxed));
        async move {
            tokio::time::sleep(takes).await;
            Ok(true)
        }
        .boxed()
    }

    fn last_log_lines(&self, _key: &AgentKey) -> Vec<String> {
        Vec::new()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}
