//! What a connected Drowse costs the messages of agents that are awake: the same load with Drowse and without it, on one
//! server, in rounds that alternate, so that what else the machine does hits both alike.

mod figures;
mod load;
mod reading;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::args;
use crate::drowse::{Drowse, Program};
use crate::loopback::Loopback;
use crate::metrics::counted;
use crate::nats::agents::{self, Alone};
use crate::nats::{Server, Talker, server};
pub(crate) use figures::Figures;
use figures::Laps;
use load::Load;
use reading::{Lap, Reading};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that must happen.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What a part of a round may take longer than it should.
const GRACE: Duration = Duration::from_secs(30);
/// How long Drowse may believe after a load that its agent has not answered all of it. It looks at counters every 5 s.
const OWES_LIMIT: Duration = Duration::from_secs(15);
/// Every kind of load has an agent of its own, so that Drowse finds each one idle before.
const LOADS: [(Load, &str); 2] = [(Load::Publish, "listener"), (Load::Request, "answerer")];

/// Runs all rounds.
pub(crate) async fn run(program: &Program, options: &args::Messages) -> anyhow::Result<Figures> {
    let server = Server::start(&server::find(options.nats_server.as_deref()).await?).await?;
    let talkers = LOADS.map(|(_, name)| name).into_iter().map(talker).collect::<anyhow::Result<Vec<_>>>()?;
    let bench = Bench { program, options, server, talkers, clock: Clock::start() };
    let mut figures = Figures::new(LOADS.map(|(load, _)| load.name(options.clients)));
    for round in 0..options.rounds {
        let (with, without) = if round % 2 == 0 {
            let without = bench.without().await.context("without Drowse")?;
            (bench.with().await.context("with Drowse")?, without)
        } else {
            (bench.with().await.context("with Drowse")?, bench.without().await.context("without Drowse")?)
        };
        eprintln!("round {} of {} is over", round + 1, options.rounds);
        figures.add(&without, &with);
    }
    bench.server.end().await?;
    figures.conclude();
    Ok(figures)
}

fn talker(name: &str) -> anyhow::Result<Talker> {
    let port = Loopback::free().context("failed to find a free port")?.address().port();
    Ok(Talker { name: name.to_owned(), port })
}

/// That the door was open and every agent up.
#[derive(Debug, PartialEq, Eq)]
struct Witness {
    /// The connection of the leaf-node link.
    link: u64,
    /// Since when each agent is up, as Drowse says.
    up_since: Vec<String>,
    suspends: u64,
    /// Messages that had to wait for their agents.
    held: u64,
}

/// Whether Drowse thinks that the agent has not answered a request.
fn is_owing(state: &Value) -> bool {
    let mut signals = state["signals"].as_array().into_iter().flatten();
    signals.any(|signal| signal["source"] == "unanswered" && signal["active"] == true)
}

struct Bench<'a> {
    program: &'a Program,
    options: &'a args::Messages,
    server: Server,
    talkers: Vec<Talker>,
    clock: Clock,
}

impl Bench<'_> {
    /// The agents run by themselves.
    async fn without(&self) -> anyhow::Result<Vec<Laps>> {
        ensure!(self.server.link().await?.is_none(), "a leaf-node link stands that is not ours");
        let start = |talker| Alone::start(self.program, talker, &self.server);
        let alone = self.talkers.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
        self.wake_all().await?;
        let laps = self.all_loads(None).await?;
        for agent in alone {
            agent.end().await?;
        }
        Ok(laps)
    }

    /// Drowse runs the agents, and is connected as it is by default.
    async fn with(&self) -> anyhow::Result<Vec<Laps>> {
        let config = agents::config(&self.talkers, &self.server, "");
        let drowse = Drowse::configured(self.program, &config, PATIENCE).await?;
        let registered = self.server.until_registered(u32::try_from(self.talkers.len())?);
        let Ok(registered) = tokio::time::timeout(PATIENCE, registered).await else {
            bail!("Drowse did not open its message door. Its log:\n{}", drowse.log());
        };
        registered?;
        self.wake_all().await?;
        let before = self.witness(&drowse).await?;
        let laps = self.all_loads(Some(&drowse)).await?;
        let after = self.witness(&drowse).await?;
        ensure!(
            before == after,
            "the door was not open, or an agent not up, all the time: {before:?}, then {after:?}. Drowse's log:\n{}",
            drowse.log()
        );
        drowse.end().await?;
        Ok(laps)
    }

    async fn wake_all(&self) -> anyhow::Result<()> {
        let client = self.server.connect().await?;
        for talker in &self.talkers {
            talker.until_up(&client).await?;
        }
        Ok(())
    }

    /// What must be the same before and after.
    async fn witness(&self, drowse: &Drowse) -> anyhow::Result<Witness> {
        let woken = self.talkers.len() as u64;
        let known = async {
            // Drowse learns a little later than the one who asked that a message has arrived.
            loop {
                let metrics = drowse.metrics().await?;
                if counted(&metrics, "drowse_messages_total") >= woken {
                    return anyhow::Ok(metrics);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let known = tokio::time::timeout(PATIENCE, known).await;
        let metrics = known.context("Drowse does not know what became of the messages that it held")??;
        let mut up_since = Vec::new();
        for talker in &self.talkers {
            let state = drowse.agent("default", &talker.name)?.state().await?;
            ensure!(state["phase"] == "Running", "{} is not up: {state}", talker.name);
            up_since.push(state["since"].to_string());
        }
        Ok(Witness {
            link: self.server.link().await?.context("Drowse has no leaf-node link")?.id,
            up_since,
            suspends: counted(&metrics, "drowse_suspends_total"),
            held: counted(&metrics, "drowse_messages_total"),
        })
    }

    async fn all_loads(&self, drowse: Option<&Drowse>) -> anyhow::Result<Vec<Laps>> {
        let mut all = Vec::new();
        for ((load, _), talker) in LOADS.into_iter().zip(&self.talkers) {
            all.push(self.one_load(load, talker, drowse).await.context(load.name(self.options.clients))?);
        }
        Ok(all)
    }

    /// One load without a pause: first while Drowse gets to know that there is one, then while it knows.
    async fn one_load(&self, load: Load, talker: &Talker, drowse: Option<&Drowse>) -> anyhow::Result<Laps> {
        let done = Arc::new(AtomicU64::new(0));
        let mut clients = Vec::new();
        for _ in 0..load.clients(self.options.clients) {
            clients.push(self.server.connect().await?);
        }
        // They stay connected to the end: an agent owes nothing to whoever is gone.
        let connected = clients.clone();
        let read = async || Reading::take(self.clock, &done, &self.server, drowse).await;
        let start = read().await?;
        let laps = async {
            tokio::time::sleep(Duration::from_secs(self.options.settle_secs)).await;
            let settled = read().await?;
            tokio::time::sleep(Duration::from_secs(self.options.round_secs)).await;
            let end = read().await?;
            anyhow::Ok((Lap::between(&start, &settled)?, Lap::between(&settled, &end)?))
        };
        let within = Duration::from_secs(self.options.settle_secs + self.options.round_secs) + GRACE;
        let (begin, steady) = tokio::select! {
            laps = tokio::time::timeout(within, laps) => laps.context("a round does not end")??,
            broken = load.run(clients, talker.subject().into(), Arc::clone(&done)) => match broken? {},
        };
        let owes_secs = match drowse {
            Some(drowse) => self.owes(drowse, talker).await?,
            None => 0.0,
        };
        drop(connected);
        Ok(Laps { begin, steady, owes_secs })
    }

    /// The agent has answered everything: how long it takes Drowse to know that, in seconds. At most so much is waited.
    async fn owes(&self, drowse: &Drowse, talker: &Talker) -> anyhow::Result<f64> {
        let agent = drowse.agent("default", &talker.name)?;
        let since = self.clock.now();
        let passed = || self.clock.now().since(since);
        while is_owing(&agent.state().await?) && passed() < OWES_LIMIT {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(passed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_owes_an_answer_while_that_keeps_it_up() {
        let state = |active| serde_json::json!({"signals": [{"source": "start"}, {"source": "unanswered", "active": active}]});
        assert_eq!(
            [state(true), state(false), Value::Null].map(|state| is_owing(&state)),
            [true, false, false]
        );
    }
}
