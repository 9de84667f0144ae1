//! What many sleeping agents on one leaf-node link cost, and what a caller of one of them waits: a few and many in one
//! run, each with a nats-server and a Drowse of its own.

mod figures;

use std::path::Path;
use std::time::Duration;

use ::drowse::time::Clock;
use anyhow::{Context as _, bail};

use crate::args;
use crate::drowse::{Drowse, Program};
use crate::nats::{Server, Talker, agents, server};
use crate::procfs;
use crate::stats::Recorder;
pub(crate) use figures::Figures;
use figures::{Asleep, Memories, Shares};

/// How long Drowse may take until all are registered.
const START_LIMIT: Duration = Duration::from_mins(5);
/// Agents listen from here on, below the ports that systems give out by themselves.
const FIRST_PORT: u32 = 20_000;
/// As docs/nats.md has it for agents that are called by messages alone.
const RULE: &str = ", ready: messages";

/// Measures both numbers of agents.
pub(crate) async fn run(program: &Program, options: &args::Sleepers) -> anyhow::Result<Figures> {
    let nats_server = server::find(options.nats_server.as_deref()).await?;
    let mut all = Vec::new();
    for agents in [options.few.min(options.agents), options.agents] {
        eprintln!("{agents} agents ...");
        let measured = measure(program, &nats_server, options, agents).await;
        all.push(measured.with_context(|| format!("{agents} agents"))?);
    }
    Ok(Figures::new(all))
}

async fn measure(
    program: &Program,
    nats_server: &Path,
    options: &args::Sleepers,
    agents: u32,
) -> anyhow::Result<Asleep> {
    let server = Server::start(nats_server).await?;
    let server_before = procfs::memory(server.pid)?;
    let talkers = (0..agents).map(talker).collect::<anyhow::Result<Vec<_>>>()?;
    let clock = Clock::start();
    let (drowse, [ready, registered]) = start(program, &server, &talkers, clock).await?;
    let rest = Duration::from_secs(options.rest_secs);
    let cpu_before = [procfs::cpu_time(drowse.pid)?, procfs::cpu_time(server.pid)?];
    tokio::time::sleep(rest).await;
    let cpu_after = [procfs::cpu_time(drowse.pid)?, procfs::cpu_time(server.pid)?];
    let (drowse_memory, server_memory) = (procfs::memory(drowse.pid)?, procfs::memory(server.pid)?);
    let wakes = wake(&server, &talkers, options.wakes, clock).await?;
    let drowse_after_wakes = procfs::memory(drowse.pid)?;
    drowse.end().await?;
    server.end().await?;
    Ok(Asleep {
        agents,
        ready_secs: ready.as_secs_f64(),
        registered_secs: registered.as_secs_f64(),
        memory: Memories { drowse: drowse_memory, drowse_after_wakes, server_before, server: server_memory },
        at_rest: Shares::new(cpu_before, cpu_after, rest),
        wakes: wakes.quantiles(),
    })
}

fn talker(number: u32) -> anyhow::Result<Talker> {
    let port = u16::try_from(FIRST_PORT + number).context("there are no more ports")?;
    Ok(Talker { name: format!("a{number:05}"), port })
}

/// Starts Drowse, and waits until the server has all agents registered. Gives how long it took until Drowse said that it
/// is ready, and until then.
async fn start(
    program: &Program,
    server: &Server,
    talkers: &[Talker],
    clock: Clock,
) -> anyhow::Result<(Drowse, [Duration; 2])> {
    let config = agents::config(talkers, server, RULE);
    let agents = u32::try_from(talkers.len())?;
    let began = clock.now();
    let ready = async {
        let drowse = Drowse::configured(program, &config, START_LIMIT).await?;
        anyhow::Ok((drowse, clock.now().since(began)))
    };
    let registered = async {
        let registered = tokio::time::timeout(START_LIMIT, server.until_registered(agents)).await;
        anyhow::Ok(registered.ok().transpose()?.map(|()| clock.now().since(began)))
    };
    let ((drowse, ready), registered) = tokio::try_join!(ready, registered)?;
    match registered {
        Some(registered) => Ok((drowse, [ready, registered])),
        None => bail!("not all agents were registered in time. Drowse's log:\n{}", drowse.log()),
    }
}

/// Calls sleeping agents, one after the other, each one once.
async fn wake(server: &Server, talkers: &[Talker], wakes: u16, clock: Clock) -> anyhow::Result<Recorder> {
    let client = server.connect().await?;
    let mut took = Recorder::new()?;
    // The first start of all makes folders, and warms the caches of the system.
    for (nth, number) in spread(talkers.len(), usize::from(wakes) + 1).enumerate() {
        let talker = &talkers[number];
        let asked = clock.now();
        talker.ask(&client).await?.with_context(|| format!("nobody takes messages for {}", talker.name))?;
        if nth > 0 {
            took.record(clock.now().since(asked));
        }
    }
    Ok(took)
}

/// So many different ones of all, evenly; all of them if there are not so many.
fn spread(of: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let wanted = wanted.min(of);
    (0..wanted).map(move |nth| nth * of / wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_called_is_spread_evenly_and_called_once() {
        assert_eq!(spread(10_000, 4).collect::<Vec<_>>(), [0, 2500, 5000, 7500]);
        assert_eq!(spread(7, 3).collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(spread(3, 51).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn every_agent_has_a_port_of_its_own() {
        let last = talker(args::MAX_SLEEPERS - 1).unwrap();
        assert_eq!((last.name.as_str(), last.port), ("a10999", 30_999));
        assert!(talker(60_000).is_err());
    }
}
