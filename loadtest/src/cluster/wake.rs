//! What one caller of a sleeping Sandbox waits, stage by stage: in cycles of suspend and call, one Sandbox with a
//! readiness probe and one without taking turns, so that what else the machine does hits both alike.

mod cycle;
mod figures;

use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use anyhow::{Context as _, ensure};
use kube::api::PostParams;
use tokio::sync::mpsc;

use super::sight::{Seen, Sight};
use super::{Ground, accept, objects, sight};
use crate::agent::Agent;
use crate::args;
use crate::client::{Answer, ClientError, Connection};
use crate::drowse::{Drowse, Program};
use crate::server_timing::Waited;
use crate::tally::Tally;
use cycle::{Cycle, Stages};
pub(crate) use figures::Figures;
use figures::Kind;

/// How long one cycle may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// The rest of the configuration of Drowse.
const CONFIG: &str = "telemetry: {log: {level: info}}\n";

/// The Sandboxes: name, what is special, delay before they listen, readiness probe.
const KINDS: [(&str, &str, u16, bool); 3] = [
    ("plain", "no readiness probe", 0, false),
    ("probed", "readiness probe, period 1 s", 0, true),
    ("slow", "no readiness probe, listens 700 ms after its start", 700, false),
];

/// Runs all cycles.
pub(crate) async fn run(program: &Program, options: &args::ClusterWake) -> anyhow::Result<Figures> {
    let ground = Ground::prepare().await?;
    let figures = measure(program, options, &ground).await;
    ground.clear().await?;
    figures
}

async fn measure(program: &Program, options: &args::ClusterWake, ground: &Ground) -> anyhow::Result<Figures> {
    for (name, _, delay_ms, readiness) in KINDS {
        let pod = objects::demo_pod(&options.image, delay_ms, readiness);
        let object = objects::sandbox(name, &pod)?;
        ground
            .sandboxes()
            .create(&PostParams::default(), &object)
            .await
            .context("failed to make a Sandbox")?;
    }
    let drowse = Drowse::before_cluster(program, &ground.namespace, CONFIG, PATIENCE).await?;
    let clock = Clock::start();
    let sights = sight::watch(ground, clock).await?;
    let mut bench = Bench { clock, sights, answers: Tally::default() };
    let mut kinds = Vec::new();
    for (name, what, ..) in KINDS {
        let agent = drowse.agent(&ground.namespace, name)?;
        // The first start of all warms the caches of the node.
        let first = tokio::time::timeout(PATIENCE, agent.call("/healthz").once()).await;
        first.context("no answer")?.context("the first start failed")?;
        kinds.push((agent, Kind::new(name, what)));
    }
    for _ in 0..options.cycles {
        for (agent, kind) in &mut kinds {
            let cycle = bench.cycle(agent, kind.name, &drowse);
            let stages = tokio::time::timeout(PATIENCE, cycle).await.context("a cycle does not end")??;
            kind.cycles.extend(stages);
        }
    }
    drowse.end().await?;
    Figures::new(kinds.into_iter().map(|(_, kind)| kind).collect(), bench.answers)
}

struct Bench {
    clock: Clock,
    sights: mpsc::Receiver<anyhow::Result<Sight>>,
    answers: Tally,
}

type End = Result<(Answer, Moment), ClientError>;

impl Bench {
    /// Suspends, calls, and watches until everybody has seen that the agent is up. `None` if it was not answered 200.
    async fn cycle(&mut self, agent: &Agent, name: &str, drowse: &Drowse) -> anyhow::Result<Option<Stages>> {
        agent.suspend().await?;
        // Drowse has seen the pod go; what the watch here still has to tell is of the life before.
        while let Ok(sight) = self.sights.try_recv() {
            sight?;
        }
        let mut cycle = Cycle::new(name);
        let mut connection = Connection::open(drowse.front).await?;
        let call = agent.call("/healthz");
        let clock = self.clock;
        let sent = clock.now();
        let mut answer = std::pin::pin!(connection.send_and_note(&call, move || clock.now()));
        let mut end: Option<End> = None;
        let mut accepts: futures_util::future::BoxFuture<'static, anyhow::Result<Moment>> =
            Box::pin(std::future::pending());
        let mut accepted = None;
        while end.is_none() || accepted.is_none() || !cycle.is_over() {
            tokio::select! {
                done = &mut answer, if end.is_none() => end = Some(done),
                done = &mut accepts, if accepted.is_none() => accepted = Some(done?),
                sight = self.sights.recv() => {
                    let Sight { at, seen } = sight.context("nothing more is seen of the cluster")??;
                    if let Some(address) = cycle.see(at, &seen) {
                        accepts = Box::pin(accept::first(clock, address, objects::PORT));
                    }
                }
            }
            if matches!(&end, Some(Err(_))) {
                break;
            }
        }
        let (answered, end) = match end.context("no answer")? {
            Ok((answer, at)) => (at, Ok(answer)),
            Err(error) => (sent, Err(error)),
        };
        if !self.answers.add(&end) {
            return Ok(None);
        }
        let header = end.as_ref().map(|answer| answer.header("server-timing")).unwrap_or_default();
        let waited =
            Waited::parse(header).with_context(|| format!("the answer tells of no wait: {header:?}"))?;
        let accepted = accepted.context("nobody saw the port accept")?;
        ensure!(waited.hold > Duration::ZERO, "the agent was not asleep");
        cycle.stages(sent, accepted, answered, waited).map(Some)
    }
}

/// Whether this sight is of this Sandbox.
fn is_of(seen: &Seen, name: &str) -> bool {
    match seen {
        Seen::Sandbox(sandbox) => sandbox.name == name,
        Seen::Pod(pod) => pod.name == name,
    }
}
