//! The host of the API: calls, watches that lag and break and go back in time, the controller that acts on stale reads, and
//! what becomes of pods.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lifecycle::WriteError;
use crate::net::TcpStream;

use super::cluster::Acted;
use super::oracle::{Fault, now};
use super::plan::{CHAOS, LONGEST_CUT, LONGEST_LAG};
use super::wire::{self, Message};
use super::world::{CALLS, WATCHES, World};

/// How long who leads does so after it last asked.
const LEADS_FOR: Duration = Duration::from_millis(1_500);
/// The address of a pod that ended by itself is kept until every front door has been told of that. This is what Drowse
/// relies on (the README of `tests/model`).
const KEPT_AFTER_DEATH: Duration = Duration::from_secs(6);
/// How late a late call is applied.
const LATE: Duration = Duration::from_secs(2);

const _: () = assert!(KEPT_AFTER_DEATH.as_millis() > LONGEST_CUT.as_millis() + 2 * LONGEST_LAG.as_millis());

pub async fn run(world: Arc<World>) -> turmoil::Result {
    for agent in 0..world.plan.agents {
        tokio::spawn(control(Arc::clone(&world), agent));
    }
    tokio::spawn(let_pods_die(Arc::clone(&world)));
    for (log, port) in WATCHES.into_iter().enumerate() {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let watched = |stream| watch(Arc::clone(&world), log, stream);
            wire::serve(port, watched).await
        });
    }
    wire::serve(CALLS, |stream| call(Arc::clone(&world), stream)).await?;
    Ok(())
}

async fn call(world: Arc<World>, mut stream: TcpStream) {
    let Ok(message) = wire::hear(&world.said, &mut stream).await else { return };
    let lossy = !matches!(message, Message::Lead(_));
    let (lost, silent, late) = (
        lossy && world.strikes(world.plan.lost_calls),
        lossy && world.strikes(world.plan.lost_calls),
        lossy && world.strikes(world.plan.lost_calls),
    );
    if lost {
        return;
    }
    if late {
        tokio::time::sleep(world.up_to(LATE)).await;
    }
    let answer = apply(&world, message);
    if !silent {
        let _gone = wire::answer(&world.said, &mut stream, answer).await;
    }
}

fn apply(world: &World, message: Message) -> Message {
    let seen = |name: &str, seen: Result<_, WriteError>| {
        world.oracle.note(now(), || format!("{name}: {seen:?}"));
        Message::Seen(seen)
    };
    match message {
        Message::Suspend { key, uid, revision, by } => {
            let written = world.change(|cluster| cluster.suspend(&key, &uid, revision, by));
            seen(&format!("suspend {key} at {}", revision.0), written)
        }
        Message::Resume { key, uid, generation, from } => {
            let written = world.change(|cluster| cluster.resume(&key, &uid, generation, from));
            seen(&format!("resume {key} from {from:?}"), written)
        }
        Message::Read { key } => Message::Seen(Ok(world.cluster.lock().read(&key))),
        Message::Attest { key, life, at } => {
            Message::Attested(world.cluster.lock().attest(&key, &life, at.ip()))
        }
        Message::Lead(door) => Message::LeadsFor(world.cluster.lock().lead(door, now(), LEADS_FOR)),
        other => other,
    }
}

/// One watch: the number of the log's length at its list, then of each event. A new one may begin with an older list.
async fn watch(world: Arc<World>, log: usize, mut stream: TcpStream) {
    let Ok(door) = stream.read_u64().await else { return };
    let length = world.cluster.lock().logs[log].len();
    // Not to a time when an agent was not there yet.
    let most = length.saturating_sub(if log == 0 { world.plan.agents } else { 0 });
    let back = if world.strikes(30) { world.pick(most.min(8) + 1) } else { 0 };
    let mut told = length - back;
    world.oracle.note(now(), || format!("door {door} lists log {log} as it was {back} events ago"));
    let cut_after =
        if world.strikes(world.plan.watch_cuts * 10) { world.up_to(CHAOS / 3) } else { Duration::MAX };
    let telling = async {
        stream.write_u64(told as u64).await?;
        loop {
            let news = world.logged.notified();
            if told == world.cluster.lock().logs[log].len() {
                news.await;
            }
            if !world.is_calm() {
                tokio::time::sleep(world.up_to(world.plan.lag)).await;
            }
            let length = world.cluster.lock().logs[log].len();
            while told < length {
                stream.write_u64(told as u64).await?;
                told += 1;
            }
        }
    };
    let told: Result<std::io::Result<()>, _> = tokio::time::timeout(cut_after, telling).await;
    if told.is_err() {
        world.oracle.note(now(), || format!("the watch of log {log} by door {door} breaks"));
    }
}

async fn control(world: Arc<World>, agent: usize) {
    loop {
        let read = world.cluster.lock().controller_reads(agent);
        tokio::time::sleep(world.up_to(world.plan.slowest_controller)).await;
        let next = world.next_pod();
        let acted = world.change(|cluster| cluster.controller_acts(agent, read, next));
        if acted != Acted::Nothing {
            world.oracle.note(now(), || format!("controller of agent {agent}: {acted:?}"));
        }
        match acted {
            Acted::Nothing => {
                let now = world.cluster.lock().controller_reads(agent);
                if now == read {
                    world.changed[agent].notified().await;
                }
            }
            Acted::Created(pod) => {
                tokio::spawn(start(Arc::clone(&world), pod));
            }
            Acted::Ending(pod) => {
                tokio::spawn(end(Arc::clone(&world), pod));
            }
        }
    }
}

/// It gets an address when there is one.
async fn start(world: Arc<World>, pod: u64) {
    tokio::time::sleep(world.up_to(world.plan.slowest_start)).await;
    loop {
        let waits = world.cluster.lock().pods.get(&pod).is_some_and(|pod| !pod.terminating);
        if !waits {
            return;
        }
        if let Some(node) = world.change(|cluster| cluster.place(pod, now())) {
            world.oracle.note(now(), || format!("pod {pod} is on node {node}"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Its process is told, and ends; then it is gone, and its address free.
async fn end(world: Arc<World>, pod: u64) {
    tokio::time::sleep(world.up_to(world.plan.slowest_end) + Duration::from_millis(50)).await;
    world.change(|cluster| cluster.gone(pod, now()));
    world.oracle.note(now(), || format!("pod {pod} is gone"));
}

/// Pods end that nobody wanted to end.
async fn let_pods_die(world: Arc<World>) {
    for _ in 0..world.plan.deaths {
        tokio::time::sleep(world.up_to(CHAOS * 2 / world.plan.deaths.max(1))).await;
        if world.is_calm() {
            return;
        }
        let running: Vec<_> = {
            let cluster = world.cluster.lock();
            let running = cluster.pods.iter().filter(|(_, pod)| pod.node.is_some() && !pod.terminating);
            running.map(|(number, pod)| (*number, pod.agent)).collect()
        };
        if running.is_empty() {
            continue;
        }
        let (pod, agent) = running[world.pick(running.len())];
        world.oracle.fault(now(), Fault::PodDied { agent });
        if world.strikes(50) {
            world.change(|cluster| cluster.crashed(pod));
        } else {
            world.change(|cluster| cluster.gone(pod, now() + KEPT_AFTER_DEATH));
        }
    }
}
