//! Ten thousand sleeping Sandboxes: what they cost Drowse in memory and time, and how it gets through a storm of resumes
//! and suspensions. kwok acts for nodes and pods.
//!
//! Pods share the address of their node, which is this machine's, and an agent answers there. So every resume goes all
//! the way: demand, turn, patch, pod, address, probe, attestation, Running.

mod figures;
mod storm;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use kube::api::PostParams;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::sight::{Seen, Sight};
use super::{Ground, objects, sight};
use crate::args;
use crate::drowse::{Drowse, Program};
use crate::open_files;
use crate::procfs::{self, Memory};
pub(crate) use figures::Figures;
use storm::Storm;

/// How long Drowse may take to know everybody.
const READY_LIMIT: Duration = Duration::from_mins(5);
/// How long the controller may take until it has looked at everybody.
const CONTROLLER_LIMIT: Duration = Duration::from_mins(30);
/// With so many, Drowse has listed a whole page: what it takes for that does not grow with their number.
const FEW: u32 = 500;
/// Writes at once while Sandboxes are made.
const WRITES_AT_ONCE: usize = 32;

/// Runs all of it.
pub(crate) async fn run(program: &Program, options: &args::ClusterScale) -> anyhow::Result<Figures> {
    // An accepted connection for each agent that is up, here and in Drowse.
    open_files::allow(2 * u64::from(options.storm))?;
    let ground = Ground::prepare().await?;
    let figures = measure(program, options, &ground).await;
    ground.clear().await?;
    figures
}

async fn measure(
    program: &Program,
    options: &args::ClusterScale,
    ground: &Ground,
) -> anyhow::Result<Figures> {
    let port = answer_for_all().await?;
    let config = format!("rules:\n  - {{match: {{namespace: \"*\"}}, port: {port}}}\n");
    let start = async || Drowse::before_cluster(program, &ground.namespace, &config, READY_LIMIT).await;
    let clock = Clock::start();
    let mut sights = sight::watch(ground, clock).await?;
    populate(ground, clock, &mut sights, 0..FEW.min(options.sandboxes)).await?;
    let few = start().await?;
    let rss_few = procfs::memory_at_rest(few.pid).await?;
    few.end().await?;
    let rest = FEW.min(options.sandboxes)..options.sandboxes;
    let create_secs = populate(ground, clock, &mut sights, rest).await?;

    let began = clock.now();
    let drowse = start().await?;
    let ready_in = clock.now().since(began);
    let rss_full = procfs::memory_at_rest(drowse.pid).await?;
    let names: Vec<_> = (0..options.storm.min(options.sandboxes)).map(name).collect();
    let mut storms = Vec::new();
    for rate in [Some(options.rate), None] {
        let storm = Storm { ground, drowse: &drowse, clock, sights: &mut sights, names: &names };
        storms.push(storm.run(rate).await.context("storm")?);
    }
    let rss_after = procfs::memory_at_rest(drowse.pid).await?;
    drowse.end().await?;
    let memory = [rss_few, rss_full, rss_after];
    Ok(Figures::new(options.sandboxes, create_secs, ready_in, memory, storms))
}

fn name(number: u32) -> String {
    format!("agent-{number:06}")
}

/// Makes these Sandboxes, and waits until the controller has looked at each. Gives the seconds that making them took.
async fn populate(
    ground: &Ground,
    clock: Clock,
    sights: &mut mpsc::Receiver<anyhow::Result<Sight>>,
    numbers: Range<u32>,
) -> anyhow::Result<f64> {
    eprintln!("making {} Sandboxes ...", numbers.len());
    let began = clock.now();
    let pod = objects::fake_pod();
    let api = ground.sandboxes();
    // In the name of Drowse, which then takes the suspensions for its own.
    let params = PostParams { field_manager: Some("drowse".to_owned()), ..PostParams::default() };
    let make_one = async |number| {
        let object = objects::suspended_sandbox(&name(number), &pod)?;
        api.create(&params, &object).await.map(|_| ()).context("failed to make a Sandbox")
    };
    let made = async {
        let writes =
            futures_util::stream::iter(numbers.clone().map(make_one)).buffer_unordered(WRITES_AT_ONCE);
        writes.try_for_each(async |()| Ok(())).await?;
        anyhow::Ok(clock.now().since(began).as_secs_f64())
    };
    let observed = async {
        let mut left: HashSet<_> = numbers.clone().map(name).collect();
        while !left.is_empty() {
            let Sight { seen, .. } = sights.recv().await.context("nothing more is seen")??;
            if let Seen::Sandbox(sandbox) = seen
                && sandbox.observed
            {
                left.remove(&sandbox.name);
            }
        }
        Ok(())
    };
    let both = async { tokio::try_join!(made, observed) };
    let (secs, ()) =
        tokio::time::timeout(CONTROLLER_LIMIT, both).await.context("the cluster is too slow")??;
    Ok(secs)
}

/// The agent of all of them: takes connections, and keeps them until they are closed. Gives its port.
async fn answer_for_all() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to listen")?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Nobody asks it anything.
            tokio::spawn(async move { stream.read_u8().await.unwrap_or_default() });
        }
    });
    Ok(port)
}

/// Bytes that each agent takes, of those beyond the first few.
fn bytes_per_agent(few: Memory, full: Memory, agents: u32) -> f64 {
    full.now_kb.saturating_sub(few.now_kb) as f64 * 1024.0 / f64::from(agents.saturating_sub(FEW).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_costs_what_a_full_table_has_beyond_a_small_one() {
        let memory = |now_kb| Memory { now_kb, peak_kb: 0 };
        assert!((bytes_per_agent(memory(1000), memory(3000), 2548) - 1000.0).abs() < 1e-9);
        assert!(bytes_per_agent(memory(3000), memory(1000), 1) < 1.0);
    }
}
