//! The callers: for each agent, bursts of requests with pauses between them, most of which end just when the agent is about to be
//! suspended. Nobody waits for an answer before it sends the next request, and each request has an id that is sent once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use drowse::time::{Clock, Moment};
use fastrand::Rng;
use http_body_util::Full;
use hyper::{Method, Request};
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agents::Agents;
use super::fleet::Replica;
use crate::support::http;

/// How long an answer may take before it counts as lost: longer than a hold, and a freeze of the replica on top of it.
const PATIENCE: Duration = Duration::from_secs(90);
/// Requests under way at most: all that `make chaos` sends while a caller can be held. More would mean that nobody answers.
const MAX_AT_ONCE: usize = 8_000;
/// As in `tests/e2e/deploy/chaos`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// A burst is no longer.
const LONGEST_BURST: Duration = Duration::from_secs(3);
/// What a long request takes: longer than the idle timeout.
const LONG: &str = "/slow?for=2s&every=250ms";

/// How much.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Bursts a second, of all agents together.
    pub(super) bursts: f64,
    /// Requests a second in a burst.
    pub(super) rate: f64,
}

/// What became of a request.
pub(super) enum Outcome {
    Served,
    /// By another agent, who says this.
    Misled(String),
    /// Drowse answers by itself.
    Refused {
        status: u16,
        retry_after: bool,
        text: String,
    },
    /// The connection broke, or nothing came.
    NoAnswer(String),
    /// The answer began, and was cut.
    BrokenOff(String),
}

pub(super) struct Record {
    pub(super) id: String,
    pub(super) agent: usize,
    pub(super) replica: usize,
    pub(super) began: Moment,
    pub(super) ended: Moment,
    pub(super) outcome: Outcome,
}

/// What all callers share.
struct Callers {
    plan: Plan,
    clock: Clock,
    agents: Arc<Agents>,
    replicas: Arc<[Replica]>,
    records: Mutex<Vec<Record>>,
    sent: AtomicU64,
    places: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A load that is under way.
pub(super) struct Load {
    runtime: Runtime,
    callers: Arc<Callers>,
}

impl Load {
    pub(super) fn start(plan: Plan, clock: Clock, agents: &Arc<Agents>, replicas: &Arc<[Replica]>) -> Self {
        let runtime = Runtime::new().unwrap();
        let callers = Arc::new(Callers {
            plan,
            clock,
            agents: Arc::clone(agents),
            replicas: Arc::clone(replicas),
            records: Mutex::default(),
            sent: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        for agent in 0..agents.names.len() {
            callers.tasks.spawn_on(call(Arc::clone(&callers), agent), runtime.handle());
        }
        Self { runtime, callers }
    }

    /// Requests so far.
    pub(super) fn sent(&self) -> u64 {
        self.callers.sent.load(Ordering::Relaxed)
    }

    /// Waits for all answers, and gives them.
    pub(super) fn stop(self) -> Vec<Record> {
        self.callers.stop.cancel();
        self.callers.tasks.close();
        self.runtime.block_on(self.callers.tasks.wait());
        std::mem::take(&mut self.callers.records.lock())
    }
}

/// Calls an agent until the load ends.
async fn call(callers: Arc<Callers>, agent: usize) {
    let mut rng = Rng::with_seed(callers.plan.seed ^ (agent as u64) << 32);
    // So that not all begin at once.
    let mut pause = callers.plan.long_pause(&callers.agents).mul_f64(rng.f64());
    loop {
        if callers.is_over_after(pause).await {
            return;
        }
        let mut left = LONGEST_BURST.mul_f64(rng.f64());
        loop {
            callers.send(agent, &mut rng);
            let next = Duration::from_secs_f64(2.0 * rng.f64() / callers.plan.rate);
            if next > left {
                break;
            }
            left -= next;
            tokio::time::sleep(next).await;
        }
        // Half of them end about when the agent is suspended.
        let short = IDLE_TIMEOUT + Duration::from_secs(1).mul_f64(rng.f64());
        pause = if rng.bool() {
            short
        } else {
            callers.plan.long_pause(&callers.agents).mul_f64(2.0 * rng.f64())
        };
    }
}

impl Plan {
    /// The mean of the longer pauses, such that there are so many bursts a second.
    fn long_pause(&self, agents: &Agents) -> Duration {
        let from_burst_to_burst = agents.names.len() as f64 / self.bursts;
        let (burst, short) = (LONGEST_BURST.as_secs_f64() / 2.0, IDLE_TIMEOUT.as_secs_f64() + 0.5);
        Duration::from_secs_f64((2.0 * (from_burst_to_burst - burst) - short).max(1.0))
    }
}

impl Callers {
    async fn is_over_after(&self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        }
    }

    /// Sends a request by way of any replica.
    fn send(self: &Arc<Self>, agent: usize, rng: &mut Rng) {
        let serving: Vec<_> =
            (0..self.replicas.len()).filter(|nth| self.replicas[*nth].is_in_service()).collect();
        let replica = *rng.choice(&serving).expect("two of three are never taken out of service");
        let id = format!("{agent}-{}", self.sent.fetch_add(1, Ordering::Relaxed));
        let (method, path, body) = match rng.u8(0..20) {
            0..2 => (Method::GET, LONG, 0),
            2..5 => (Method::POST, "/whoami?", 2_000),
            _ => (Method::GET, "/whoami?", 0),
        };
        let request = Request::builder().method(method).uri(format!("{path}&id={id}"));
        let request =
            request.header("host", self.agents.host(agent)).body(Full::new(Bytes::from(vec![b'x'; body])));
        let (callers, is_long, begun) = (Arc::clone(self), path == LONG, self.clock.now());
        let place = Arc::clone(&self.places).try_acquire_owned().expect("somebody answers");
        self.tasks.spawn(async move {
            let to = callers.replicas[replica].address;
            let answer = tokio::time::timeout(PATIENCE, http::send(to, request.unwrap())).await;
            let outcome = match answer {
                Ok(Ok(answer)) => judge(&answer, is_long, &callers.agents.key(agent)),
                Ok(Err(error)) => broken(&*error),
                Err(_) => Outcome::NoAnswer(format!("nothing in {PATIENCE:?}")),
            };
            let ended = callers.clock.now();
            callers.records.lock().push(Record { id, agent, replica, began: begun, ended, outcome });
            drop(place);
        });
    }
}

fn broken(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Outcome {
    let text = error.to_string();
    // What hyper says of a connection that ends in a body, and of nothing else.
    if text.starts_with("error reading a body") { Outcome::BrokenOff(text) } else { Outcome::NoAnswer(text) }
}

fn judge(answer: &http::Answer, is_long: bool, key: &str) -> Outcome {
    let text = answer.text();
    match (answer.status, is_long) {
        (200, true) if text.contains("done") => Outcome::Served,
        (200, true) => Outcome::BrokenOff(format!("it ended early: {text:?}")),
        (200, false) if answer.json()["agent"] == key => Outcome::Served,
        (200, false) => Outcome::Misled(text),
        (status, _) => {
            Outcome::Refused { status, retry_after: !answer.header("retry-after").is_empty(), text }
        }
    }
}
