//! Many agents at once: how many are asked whether they are at work, how many are marked, and how long the others wait for their
//! turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drowse::agent::{AgentKey, AgentUid, Generation, Life, PodUid, Revision};
use drowse::backend::{Backend, BackendEvent, Profile};
use drowse::engine::{Engine, Peers};
use drowse::lifecycle::{
    AgentSeen, DrainQuestion, Mode, PhaseName, PodSeen, PodState, SuspendedBy, WriteError,
};
use drowse::metrics::Metrics;
use drowse::policy::Policy;
use drowse::policy::rules::{Layer, RuleSet};
use drowse::time::{Clock, Moment};
use drowse::units::{Ping, Written};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::world::{LOCAL, PATIENCE, Start};

/// As many as are asked at once, twice, and some more.
const AT_ONCE: usize = 64;
const AGENTS: usize = 2 * AT_ONCE + 2;

const IDLE: Duration = Duration::from_millis(100);
const BUSY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"status\": \"HealthyBusy\"}";

/// As many suspensions are written at once.
const SUSPENDED_AT_ONCE: usize = 32;

/// That many agents, all of them up and at this machine's address.
#[derive(Default)]
struct Crowd {
    events: Mutex<Option<mpsc::Sender<BackendEvent>>>,
    /// Marks that were begun to be written. None is finished.
    marks: AtomicUsize,
}

/// Other replicas, which say nothing.
struct Silent;

impl Peers for Silent {
    fn ask(&self, _: &AgentKey, _: DrainQuestion) {}
}

fn seen(number: usize) -> AgentSeen {
    AgentSeen {
        uid: AgentUid(format!("agent-{number}").into()),
        revision: Revision(1),
        generation: Generation(1),
        observed: Generation(1),
        mode: Mode::Running,
        suspended_by: SuspendedBy::Idle,
        trouble: None,
    }
}

impl Backend for Crowd {
    fn outlives_us(&self) -> bool {
        false
    }

    fn watch(&self) -> mpsc::Receiver<BackendEvent> {
        let (sender, receiver) = mpsc::channel(2 * AGENTS + 1);
        for number in 0..AGENTS {
            let key = AgentKey::new("default", format!("agent-{number}"));
            let (seen, profile) = (seen(number), Arc::new(Profile::default()));
            let pod = PodSeen {
                uid: PodUid(format!("pod-{number}").into()),
                owner: seen.uid.clone(),
                revision: Revision(1),
                terminating: false,
                state: PodState::Up(LOCAL),
                ready: false,
                hindrance: None,
                readiness: None,
            };
            sender.try_send(BackendEvent::Agent { key: key.clone(), seen, profile }).unwrap();
            sender.try_send(BackendEvent::Pod { key, seen: pod }).unwrap();
        }
        sender.try_send(BackendEvent::Synced).unwrap();
        *self.events.lock() = Some(sender);
        receiver
    }

    fn suspend(
        &self,
        _key: &AgentKey,
        _uid: &AgentUid,
        _revision: Revision,
        _by: SuspendedBy,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        async { Err(WriteError::Conflict) }.boxed()
    }

    fn resume(
        &self,
        _key: &AgentKey,
        _uid: &AgentUid,
        _generation: Generation,
        from: Mode,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        assert_eq!(from, Mode::Running, "nobody sleeps");
        self.marks.fetch_add(1, Ordering::SeqCst);
        std::future::pending().boxed()
    }

    fn read(&self, _key: &AgentKey) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        async { Err(WriteError::Conflict) }.boxed()
    }

    fn attest(
        &self,
        _key: &AgentKey,
        _life: &Life,
        _at: std::net::SocketAddr,
    ) -> BoxFuture<'static, Result<bool, String>> {
        async { Ok(true) }.boxed()
    }

    fn last_log_lines(&self, _key: &AgentKey) -> Vec<String> {
        Vec::new()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// Where all of them answer, when the test says so.
#[derive(Default)]
struct Asked {
    count: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

async fn listen(asked: Arc<Asked>) -> u16 {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    // A probe says nothing.
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                asked.open.lock().push(stream);
                asked.count.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    port
}

/// Waits until something is so, while time stands still for everybody else.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let give_up = Clock::calendar() + PATIENCE;
    while !condition() {
        assert!(Clock::calendar() < give_up, "it did not come about: {what}");
        tokio::task::yield_now().await;
    }
}

fn are_up(engine: &Arc<Engine>) -> bool {
    let name = |number| AgentKey::new("default", format!("agent-{number}"));
    let phase = |number| engine.detail(&name(number)).map(|detail| detail.agent.phase);
    (0..AGENTS).all(|number| phase(number) == Some(PhaseName::Running))
}

#[tokio::test(start_paused = true)]
async fn so_many_agents_are_asked_at_once_and_the_others_wait_for_their_turn_a_while() {
    let asked = Arc::new(Asked::default());
    let policy = Policy {
        port: Some(listen(Arc::clone(&asked)).await),
        route: true,
        manage: true,
        idle_timeout: IDLE,
        min_running: Duration::ZERO,
        ping: Ping::read("/ping").unwrap(),
        ..Policy::default()
    };
    let metrics = Arc::new(Metrics::new());
    let rules = RuleSet::new(policy, Layer::default(), Vec::new());
    let backend = Arc::new(Crowd::default());
    let engine = Engine::new(backend, rules, &Start::default().limits, Arc::clone(&metrics), Clock::start());
    tokio::spawn(Arc::clone(&engine).run());
    until("all are up", || are_up(&engine)).await;
    let has = |line: String| metrics.render().lines().any(|other| other == line);
    let count = || asked.count.load(Ordering::SeqCst);

    tokio::time::advance(IDLE).await;
    let waiting = AGENTS - AT_ONCE;
    until("the others wait", || has(format!("drowse_bounds_hit_total{{bound=\"pings\"}} {waiting}"))).await;
    until("as many as may are asked", || count() == AT_ONCE).await;

    let mut first = asked.open.lock().remove(0);
    first.write_all(BUSY).await.unwrap();
    until("an answer makes room for one", || count() == AT_ONCE + 1).await;

    // Those that were asked have given no answer within five seconds.
    tokio::time::advance(Duration::from_millis(5_100)).await;
    until("the next are asked", || count() == 2 * AT_ONCE + 1).await;
    // The last has waited for ten seconds, and those before them for less than five for an answer.
    tokio::time::advance(Duration::from_millis(4_950)).await;
    let left = AGENTS - count();
    until("the last gives up", || has(format!("drowse_pings_total{{outcome=\"not_asked\"}} {left}"))).await;
    assert_eq!((left, count()), (1, 2 * AT_ONCE + 1));
}

/// Whoever was found running is marked before it is suspended (guard JOIN), which is a write as well.
#[tokio::test(start_paused = true)]
async fn no_more_agents_are_marked_at_once_than_are_suspended_at_once() {
    let policy = Policy {
        port: Some(listen(Arc::default()).await),
        route: true,
        manage: true,
        idle_timeout: IDLE,
        min_running: Duration::ZERO,
        ..Policy::default()
    };
    let (backend, rules) = (Arc::new(Crowd::default()), RuleSet::new(policy, Layer::default(), Vec::new()));
    let (limits, metrics) = (Start::default().limits, Arc::new(Metrics::new()));
    let engine = Engine::new(Arc::clone(&backend) as _, rules, &limits, metrics, Clock::start());
    engine.set_peers(Arc::new(Silent));
    engine.set_takes_part();
    tokio::spawn(Arc::clone(&engine).run());
    until("all are up", || are_up(&engine)).await;
    tokio::time::advance(IDLE).await;
    assert_eq!(backend.marks.load(Ordering::SeqCst), 0, "it does not lead");
    // It looks at all of them at once.
    engine.set_leads_until(Moment::from_micros(u64::MAX));
    assert_eq!(backend.marks.load(Ordering::SeqCst), SUSPENDED_AT_ONCE);
}
