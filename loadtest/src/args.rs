//! The command line. Every number has a bound, so that no run can go on for ever or flood the machine.

use std::path::PathBuf;

use ::drowse::units::{HumanDuration, Written as _};
use clap::value_parser;

use crate::abuse::Mode;

/// Measure Drowse under load, on this machine alone
#[derive(Debug, clap::Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The drowse program to measure; if left out, the one beside this program
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) drowse: Option<PathBuf>,
    /// Also write the figures as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Scenario {
    /// The scenarios over HTTP on this machine, one after the other
    All(All),
    /// Requests to an agent that is up, idle connections and held requests: Drowse beside nginx, haproxy and bare hyper
    Peers(Peers),
    /// Scenarios from files, such as those in loadtest/scenarios
    Run(Run),
    /// One request to a sleeping agent, again and again
    Wake(Wake),
    /// Many callers at one sleeping agent, all at once
    Storm(Storm),
    /// Honest callers while others abuse the front door, and while nobody does
    Abuse(Abuse),
    /// Abuse the front door of this machine; for `abuse`, which starts it
    #[command(hide = true)]
    Abuser(Abuser),
    /// Answer every request alike; for `peers`, which starts it
    #[command(hide = true)]
    Responder(Responder),
    /// A reverse proxy of a few lines on hyper; for `peers`, which starts it
    #[command(hide = true)]
    Bare(Bare),
    /// Messages over NATS to agents that are awake: with Drowse connected, and without it
    Messages(Messages),
    /// Many sleeping agents on one leaf-node link of NATS: time, memory, and one request to one of them
    Sleepers(Sleepers),
    /// On a cluster (KUBECONFIG) with a real node: one request to a sleeping Sandbox, again and again
    ClusterWake(ClusterWake),
    /// On a cluster (KUBECONFIG) with kwok: many sleeping Sandboxes, and storms of resumes and suspensions
    ClusterScale(ClusterScale),
}

#[derive(Debug, clap::Args)]
pub(crate) struct All {
    #[command(flatten)]
    pub(crate) peers: Peers,
    #[command(flatten)]
    pub(crate) wake: Wake,
    #[command(flatten)]
    pub(crate) storm: Storm,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// What agents there are, and what traffic
    #[arg(required = true, value_name = "FILE", num_args = 1..=20)]
    pub(crate) files: Vec<PathBuf>,
    /// Also write the figures as a page with plots, which needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// So many times the traffic of the files; a trace is replayed as much faster
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = scale)]
    pub(crate) scale: f64,
    /// How long each scenario takes, instead of what its file says
    #[arg(long, value_name = "DURATION", value_parser = HumanDuration::read)]
    pub(crate) length: Option<HumanDuration>,
    /// The nats-server program, for messages; if left out, a pinned one, which is built the first time (needs Go)
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_server: Option<PathBuf>,
}

/// What comes of it has the bounds of a scenario, too.
fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.001..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("write a number from 0.001 to 1000".to_owned()),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Peers {
    /// Keep-alive connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) connections: u16,
    /// How long a round takes
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = value_parser!(u64).range(1..=60))]
    pub(crate) round_secs: u64,
    /// Rounds of each kind
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..=20))]
    pub(crate) rounds: u16,
    /// Requests a second in the rounds that measure latency; may be given several times (2000 and 5000 if left out)
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: Vec<u32>,
    /// Idle connections, and callers that are held
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = value_parser!(u32).range(100..=9000))]
    pub(crate) held_callers: u32,
}

impl Peers {
    /// Those of the rounds that measure latency.
    pub(crate) fn rates(&self) -> Vec<u32> {
        if self.rate.is_empty() { vec![2000, 5000] } else { self.rate.clone() }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Responder {
    #[arg(long)]
    pub(crate) port: u16,
    /// Listen only when this file is there
    #[arg(long)]
    pub(crate) when: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Bare {
    #[arg(long)]
    pub(crate) port: u16,
    /// The port of the upstream, on this machine
    #[arg(long)]
    pub(crate) upstream: u16,
    /// Threads that steal work from each other; one without that if left out
    #[arg(long, value_parser = value_parser!(u8).range(1..=16))]
    pub(crate) workers: Option<u8>,
    /// Callers speak HTTP/2, and not HTTP/1.1
    #[arg(long)]
    pub(crate) http2: bool,
    /// Hold all requests until this file is there
    #[arg(long)]
    pub(crate) when: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Wake {
    /// How often the agent is suspended and called
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u16).range(1..=1000))]
    pub(crate) cycles: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Storm {
    /// Callers, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=25_000))]
    pub(crate) callers: u32,
    /// How long the agent takes to start
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = value_parser!(u8).range(0..=30))]
    pub(crate) start_delay_secs: u8,
    /// Requests that Drowse may give to the agent at once, at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=25_000))]
    pub(crate) max_in_flight: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Abuse {
    /// Only this kind of abuse; may be given several times
    #[arg(long, value_name = "MODE")]
    pub(crate) only: Vec<Mode>,
    /// Connections of a slow attack
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Connections of a flood
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) floods: u32,
    /// Keep-alive connections of honest callers: more than there are answers under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) callers: u16,
    /// Requests a second of honest callers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// What their agent takes for an answer; with 0, the ratio is one of fractions of a millisecond
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 20, value_parser = value_parser!(u16).range(0..=1000))]
    pub(crate) answer_ms: u16,
    /// Rounds, each without abuse and with it
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..=50))]
    pub(crate) rounds: u16,
    /// How long a slow attack takes: it opens 200 connections a second
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = value_parser!(u64).range(1..=60))]
    pub(crate) slow_secs: u64,
    /// How long a flood takes; whoever is shut out for it is back after five seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = value_parser!(u64).range(1..=60))]
    pub(crate) flood_secs: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Abuser {
    #[arg(long)]
    pub(crate) mode: Mode,
    /// Of the front door, on this machine
    #[arg(long)]
    pub(crate) port: u16,
    /// Of an agent
    #[arg(long, value_parser = host)]
    pub(crate) host: String,
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    #[arg(long, value_parser = value_parser!(u64).range(1..=120))]
    pub(crate) secs: u64,
}

/// Short enough for one byte of length.
fn host(text: &str) -> Result<String, String> {
    if text.len() < 127 { Ok(text.to_owned()) } else { Err("it is too long".to_owned()) }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Messages {
    /// The nats-server program; if left out, a pinned one, which is built the first time (needs Go)
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_server: Option<PathBuf>,
    /// Rounds, each with Drowse and without it
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..=20))]
    pub(crate) rounds: u16,
    /// How long each load is measured in a round, with Drowse and without it
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = value_parser!(u64).range(1..=60))]
    pub(crate) round_secs: u64,
    /// How long it runs before that, measured apart: longer than `nats.poll_every` of Drowse, which is 5 s
    #[arg(long, value_name = "SECONDS", default_value_t = 6, value_parser = value_parser!(u64).range(1..=60))]
    pub(crate) settle_secs: u64,
    /// Clients that ask at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u16).range(1..=64))]
    pub(crate) clients: u16,
}

/// As many as fit the configuration of Drowse, and their ports below those that systems give out.
pub(crate) const MAX_SLEEPERS: u32 = 11_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Sleepers {
    /// The nats-server program; if left out, a pinned one, which is built the first time (needs Go)
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_server: Option<PathBuf>,
    /// Agents that sleep
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(2..=i64::from(MAX_SLEEPERS)))]
    pub(crate) agents: u32,
    /// Agents in the run that it is compared with
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(2..=1000))]
    pub(crate) few: u32,
    /// How many of them are called, one after the other; in either run as many as there are, less one, at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u16).range(1..=200))]
    pub(crate) wakes: u16,
    /// How long nobody is called before that
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = value_parser!(u64).range(1..=60))]
    pub(crate) rest_secs: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ClusterWake {
    /// How often each Sandbox is suspended and called
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u16).range(1..=1000))]
    pub(crate) cycles: u16,
    /// The image of Drowse that the node has; its demo agent is what is called
    #[arg(long, default_value = "drowse:dev")]
    pub(crate) image: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ClusterScale {
    /// Sandboxes that sleep
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=200_000))]
    pub(crate) sandboxes: u32,
    /// How many of them are resumed and suspended in a storm
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = value_parser!(u32).range(1..=5000))]
    pub(crate) storm: u32,
    /// Resumes a second in the first storm; in the second, all are asked for at once
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_would_flood_the_machine_is_refused() {
        let refused = [
            ["peers", "--connections", "1025"],
            ["peers", "--round-secs", "61"],
            ["peers", "--rate", "100001"],
            ["peers", "--held-callers", "9001"],
            ["wake", "--cycles", "1001"],
            ["storm", "--callers", "25001"],
            ["all", "--callers", "0"],
            ["abuse", "--connections", "10001"],
            ["abuse", "--floods", "101"],
            ["abuse", "--rate", "100001"],
            ["messages", "--rounds", "21"],
            ["messages", "--clients", "65"],
            ["sleepers", "--agents", "11001"],
            ["sleepers", "--wakes", "201"],
            ["cluster-wake", "--cycles", "0"],
            ["cluster-scale", "--sandboxes", "200001"],
            ["run", "--scale=1001", "x.yaml"],
            ["run", "--scale=NaN", "x.yaml"],
            ["run", "--length=1", "x.yaml"],
            ["run", "--html", "x.html"],
        ];
        for [scenario, option, value] in refused {
            assert!(Args::try_parse_from(["x", scenario, option, value]).is_err(), "{scenario} {option}");
        }
        assert!(Args::try_parse_from(["x", "all", "--callers", "1", "--cycles", "1", "--rate", "1"]).is_ok());
        assert!(Args::try_parse_from(["x", "run", "a.yaml", "b.yaml", "--length", "1m 30s"]).is_ok());
    }
}
