//! A steady load of every kind on a front door, or on many behind one address, by callers who are not to notice that replicas come
//! and go. A caller does what the protocols ask of it, and no more: it connects anew when it is told to, and asks again only what
//! reached nobody by the protocol's own word.

mod http2;
mod kept;
mod open;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::http::Failure;
pub(crate) use report::{Kind, Report};

/// How long anything may take before it is taken for a failure. Longer than any hold.
const PATIENCE: Duration = Duration::from_mins(1);

/// Requests on connections of their own at once at most. More would mean that nobody answers.
const MAX_AT_ONCE: usize = 1_000;

/// Which load.
pub(crate) struct Plan {
    /// Where callers connect.
    pub(crate) to: SocketAddr,
    /// The host of an agent that stays up.
    pub(crate) awake: String,
    /// Hosts of agents that fall asleep soon, so that their callers are held. They share the callers.
    pub(crate) sleepers: Vec<String>,
    /// Requests a second to the agent that is up: a third each on connections of their own, on kept ones of HTTP/1.1, and on
    /// those of HTTP/2.
    pub(crate) per_second: u32,
    /// Kept connections of HTTP/1.1, and connections of HTTP/2.
    pub(crate) connections: u32,
    /// Callers of sleeping agents. Each asks again when its agent had `pause` to fall asleep.
    pub(crate) held: usize,
    pub(crate) pause: Duration,
    /// Streams of events, and as many web sockets.
    pub(crate) streams: usize,
}

/// What all callers share.
pub(crate) struct Callers {
    plan: Plan,
    report: Report,
    stop: CancellationToken,
}

/// A load that is under way.
pub(crate) struct Load {
    callers: Arc<Callers>,
    tasks: TaskTracker,
}

impl Load {
    pub(crate) fn start(plan: Plan) -> Self {
        let callers = Callers { plan, report: Report::default(), stop: CancellationToken::new() };
        let (callers, tasks) = (Arc::new(callers), TaskTracker::new());
        tasks.spawn(new_ones(Arc::clone(&callers), tasks.clone()));
        for _ in 0..callers.plan.connections {
            tasks.spawn(kept::run(Arc::clone(&callers)));
            tasks.spawn(http2::run(Arc::clone(&callers), tasks.clone()));
        }
        for number in 0..callers.plan.held {
            tasks.spawn(held(Arc::clone(&callers), number));
        }
        // One after the other, so that each replica in turn gets some of both.
        for _ in 0..callers.plan.streams {
            tasks.spawn(open::events(Arc::clone(&callers)));
        }
        for _ in 0..callers.plan.streams {
            tasks.spawn(open::websocket(Arc::clone(&callers)));
        }
        Self { callers, tasks }
    }

    pub(crate) fn report(&self) -> &Report {
        &self.callers.report
    }

    /// Lets everybody end what they have begun, and tells how it was.
    pub(crate) async fn stop(self) -> Arc<Callers> {
        self.callers.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.callers
    }
}

impl Callers {
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// From one request to the next of a third of the load, spread over so many connections.
    fn pace(&self, connections: u32) -> tokio::time::Interval {
        let mut ticks = tokio::time::interval(Duration::from_secs(3) * connections / self.plan.per_second);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    }

    /// Waits for its next turn; false when it is all over.
    async fn goes_on(&self, pace: &mut tokio::time::Interval) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            _ = pace.tick() => true,
        }
    }
}

/// Bounds what may hang.
async fn within<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err("it takes for ever".into()))
}

/// A connection of HTTP/1.1 that ends when the second part is dropped.
async fn connect(
    to: SocketAddr,
) -> Result<(http1::SendRequest<Full<Bytes>>, AbortOnDropHandle<()>), Failure> {
    let stream = TcpStream::connect(to).await.map_err(|error| format!("it cannot connect: {error}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok((sender, AbortOnDropHandle::new(driver)))
}

fn get(host: &str, path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", host).body(Full::default()).unwrap()
}

/// Reads a whole answer, which must be a good one; tells whether it had to wait for its agent.
async fn finish(response: Response<hyper::body::Incoming>) -> Result<bool, Failure> {
    let status = response.status();
    let cold = response.headers().get("drowse-start").is_some_and(|start| start == "cold");
    let body = response.into_body().collect().await?.to_bytes();
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(cold)
}

/// Requests at a steady rate, whatever becomes of them, each on a connection of its own.
async fn new_ones(callers: Arc<Callers>, tasks: TaskTracker) {
    let (mut pace, places) = (callers.pace(1), Arc::new(Semaphore::new(MAX_AT_ONCE)));
    while callers.goes_on(&mut pace).await {
        let Ok(one) = Arc::clone(&places).try_acquire_owned() else {
            callers.report.failed(Kind::New, &"too many are under way");
            continue;
        };
        let callers = Arc::clone(&callers);
        tasks.spawn(async move {
            let _one = one;
            let asked = within(async {
                let (mut sender, _driver) = connect(callers.plan.to).await?;
                finish(sender.send_request(get(&callers.plan.awake, "/")).await?).await
            });
            callers.report.note(Kind::New, asked.await.map(drop));
        });
    }
}

/// Calls an agent again and again, each time when it may have fallen asleep.
async fn held(callers: Arc<Callers>, number: usize) {
    let host = &callers.plan.sleepers[number % callers.plan.sleepers.len()];
    let mut pace = tokio::time::interval(callers.plan.pause);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while callers.goes_on(&mut pace).await {
        let asked = within(async {
            let (mut sender, _driver) = connect(callers.plan.to).await?;
            finish(sender.send_request(get(host, "/")).await?).await
        });
        let asked = asked.await;
        let kind = if matches!(asked, Ok(true)) { Kind::Held } else { Kind::New };
        callers.report.note(kind, asked.map(drop));
        // So long after the answer.
        pace.reset();
    }
}
