//! The hosts of pods. Each has one address, and one pod after another; an agent in a pod is a real HTTP server that says who it
//! is and counts what it executes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::lifecycle::PodState;
use crate::net::TcpListener;

use super::oracle::now;
use super::plan::Sabotage;
use super::world::World;

/// Where agents listen.
pub const PORT: u16 = 8888;

type Content = UnsyncBoxBody<Bytes, Infallible>;

/// What runs on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Occupant {
    pod: u64,
    agent: usize,
    /// Its process should run.
    runs: bool,
    ended_by_idle: bool,
}

/// The process of a pod.
struct Process {
    pod: u64,
    tasks: JoinSet<()>,
    at_work: Arc<Mutex<BTreeSet<usize>>>,
}

pub async fn run(world: Arc<World>, node: usize) -> turmoil::Result {
    let mut process: Option<Process> = None;
    loop {
        let occupant = occupant(&world, node);
        if let Some(running) = &process {
            let stays = occupant.is_some_and(|it| it.pod == running.pod && it.runs);
            if !stays {
                let by_suspension = occupant.is_some_and(|it| it.pod == running.pod && it.ended_by_idle);
                world.oracle.note(now(), || format!("the process of pod {} ends", running.pod));
                if by_suspension {
                    world.oracle.cut_by_suspension(&running.at_work.lock());
                }
                process = None;
            }
        }
        if let (None, Some(it)) = (&process, occupant.filter(|it| it.runs)) {
            process = Some(begin(&world, it));
        }
        world.placed[node].notified().await;
    }
}

fn occupant(world: &World, node: usize) -> Option<Occupant> {
    let cluster = world.cluster.lock();
    let pod = cluster.nodes[node].pod?;
    let it = cluster.pods.get(&pod)?;
    let runs = !it.terminating && matches!(it.state, PodState::Up(_));
    Some(Occupant { pod, agent: it.agent, runs, ended_by_idle: it.ended_by_idle })
}

fn begin(world: &Arc<World>, it: Occupant) -> Process {
    let at_work = Arc::new(Mutex::new(BTreeSet::new()));
    let agent =
        Agent { world: Arc::clone(world), number: it.agent, pod: it.pod, at_work: Arc::clone(&at_work) };
    let mut tasks = JoinSet::new();
    tasks.spawn(agent.listen());
    Process { pod: it.pod, tasks, at_work }
}

/// One life of an agent.
#[derive(Clone)]
struct Agent {
    world: Arc<World>,
    number: usize,
    pod: u64,
    at_work: Arc<Mutex<BTreeSet<usize>>>,
}

/// A request that is being worked on.
struct AtWork {
    at_work: Arc<Mutex<BTreeSet<usize>>>,
    id: usize,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.at_work.lock().remove(&self.id);
    }
}

impl Agent {
    /// Boots, and serves until it is dropped with all its connections.
    async fn listen(self) {
        tokio::time::sleep(self.world.up_to(self.world.plan.slowest_start / 2)).await;
        let Ok(listener) = TcpListener::bind(crate::net::anywhere(PORT)).await else { return };
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let agent = self.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| agent.clone().serve(request));
                let server = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                let _broken = server.await;
            });
        }
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
        let Some((id, chunks, pause)) = order(request.uri().path()) else {
            return Ok(Response::builder().status(404).body(nothing()).unwrap());
        };
        self.world.oracle.begun(id, self.number, self.pod);
        self.at_work.lock().insert(id);
        let working = AtWork { at_work: Arc::clone(&self.at_work), id };
        // The whole request first.
        let _broken = request.into_body().collect().await;
        if self.world.has(Sabotage::Mute) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(pause).await;
        let line = Bytes::from(format!("{id} by agent {} in pod {}\n", self.number, self.pod));
        // It is at work until the last line is out.
        let lines = futures_util::stream::unfold((chunks, working), move |(left, working)| {
            let line = line.clone();
            async move {
                if left == 0 {
                    return None;
                }
                if left < chunks {
                    tokio::time::sleep(pause).await;
                }
                Some((Ok(Frame::data(line)), (left - 1, working)))
            }
        });
        Ok(Response::new(StreamBody::new(lines).boxed_unsync()))
    }
}

/// What a request wants: `/<id>/<lines>/<milliseconds>`, so many lines, and so long before each.
fn order(path: &str) -> Option<(usize, usize, Duration)> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let mut next = || parts.next()?.parse::<u64>().ok();
    Some((next()? as usize, next()? as usize, Duration::from_millis(next()?)))
}

fn nothing() -> Content {
    Empty::new().boxed_unsync()
}
