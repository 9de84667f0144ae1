//! The demo agent: a small stateful agent for trying Drowse and for its tests, and an example of one.
//!
//! What Drowse asks of an agent is here: listen soon after the start, keep on disk what must survive, end at
//! SIGTERM. The rest are paths that behave in ways a front door must cope with, and the runtime API of agent-sandbox.

mod answers;
mod bodies;
mod grpc;
mod handlers;
mod identity;
mod journal;
mod messages;
mod relay;
mod route;
mod runtime;
mod serve;
mod state;
#[cfg(test)]
mod tests;
mod websocket;

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::AgentKey;
use crate::time::Clock;
use crate::units::{HumanDuration, Written as _};
use identity::Identity;
use journal::Journal;
use messages::Messages;
use runtime::Runtime;
use serve::Agent;
use state::StateFile;

/// Arguments of `drowse demo-agent`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The port to listen on; 0 takes a free one
    #[arg(long, env = "PORT")]
    pub port: u16,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// How long to wait before listening
    #[arg(long, visible_alias = "listen-after", value_name = "DURATION", default_value = "0s", value_parser = HumanDuration::read)]
    pub start_delay: HumanDuration,
    /// How long `/readyz` answers 503 once it listens
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = HumanDuration::read)]
    pub ready_after: HumanDuration,
    /// How long to go on after SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = HumanDuration::read)]
    pub stop_after: HumanDuration,
    /// Fail this many starts, counted from the first in the state file
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub fail_starts: u64,
    /// Where to keep what survives a restart
    #[arg(long, value_name = "FILE", default_value = "state.json")]
    pub state_file: PathBuf,
    /// Where to write down each request that arrives, a line each: what it asks for
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// The folder whose files callers read and write, made if there is none [default: `files` beside the state file]
    #[arg(long, value_name = "FOLDER")]
    pub files: Option<PathBuf>,
    /// Let callers run every program of this machine by `POST /execute`, and not only the built-in echo, cat FILE,
    /// pwd, true and false
    #[arg(long)]
    pub run_programs: bool,
    /// Let callers have it fetch any http:// URL by `GET /relay?to=URL`: also those that only it can reach
    #[arg(long)]
    pub relay: bool,
    /// A NATS server: the agent also answers messages to `agents.<namespace>.<name>.>`
    #[arg(long, value_name = "URL", env = "NATS_URL")]
    pub nats: Option<String>,
    /// The queue group in which it takes its messages
    #[arg(long, value_name = "NAME", default_value = "q")]
    pub queue: String,
    /// The namespace it shows
    #[arg(long, env = "DROWSE_AGENT_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// The name it shows
    #[arg(long, env = "DROWSE_AGENT_NAME", default_value = "demo")]
    pub name: String,
}

/// Runs until SIGTERM, which ends it after the time that was asked for, or SIGINT, which ends it at once. Neither is
/// an error.
///
/// An error means exit status 1, and its text belongs on stderr: the state file or the address cannot be used, or
/// the agent was asked to fail or to crash.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    tokio::select! {
        crashed = live(&args) => crashed,
        () = async {
            terminate.recv().await;
            tokio::time::sleep(args.stop_after.get()).await;
        } => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// One life, from the start to a crash.
async fn live(args: &Args) -> anyhow::Result<()> {
    let (listener, messages, agent) = start(args).await?;
    let talk = async {
        match messages {
            Some(messages) => messages.serve(&agent).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = serve::serve(listener, agent.clone()) => Ok(()),
        () = talk => bail!("the connection to NATS has ended"),
        () = agent.crashed() => bail!("asked to crash"),
    }
}

/// Everything up to listening. Counts the start first, so that one that fails counts too.
async fn start(args: &Args) -> anyhow::Result<(TcpListener, Option<Messages>, serve::Shared)> {
    let clock = Clock::start();
    let mut state = StateFile::open(&args.state_file)?;
    let start = state.update(|state| state.starts += 1)?.starts;
    if start <= args.fail_starts {
        bail!("asked to fail: start {start} of the first {}", args.fail_starts);
    }
    let files = args.files.clone().unwrap_or_else(|| args.state_file.with_file_name("files"));
    let runtime = Runtime::new(&files, args.run_programs)?;
    let journal = args.journal.as_deref().map(Journal::open).transpose()?;
    tokio::time::sleep(args.start_delay.get()).await;
    let key = AgentKey::new(args.namespace.as_str(), args.name.as_str());
    // Before it listens: who finds it listening finds it subscribed, too.
    let messages = match &args.nats {
        Some(url) => Some(Messages::subscribe(url, &args.queue, &key).await?),
        None => None,
    };
    let listener = TcpListener::bind((args.host, args.port)).await.with_context(|| {
        format!("failed to listen on {} port {}; choose another with --port", args.host, args.port)
    })?;
    let address = listener.local_addr().context("failed to read the address")?;
    let identity = Identity::new(&key, &clock);
    eprintln!("demo agent {key} listens on {address}, start {start}, pid {}", identity.pid);
    let agent = Agent::new(identity, runtime, state, journal, clock, args);
    Ok((listener, messages, agent))
}
