//! The demo agent: a small agent with a memory, for trying Drowse, for its tests, and as an example.
//!
//! What makes it a good agent for Drowse is little: it listens on the port that it is told, it keeps what must
//! survive in a file, and it ends at once when asked to with SIGTERM.

mod routes;
mod state;
mod streams;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::units::{HumanDuration, Written as _};
use routes::Demo;
use state::Store;

/// How long to wait when no connection can be accepted, since all files are in use.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Run a small stateful agent that speaks HTTP, for trying and testing Drowse.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The port to listen on, on 127.0.0.1.
    #[arg(long, env = "PORT")]
    port: u16,
    /// How long to wait before it listens, as an agent with much to load would.
    #[arg(long, default_value = "0s", value_parser = HumanDuration::read)]
    start_delay: HumanDuration,
    /// Fail the first so many starts ever.
    #[arg(long, default_value_t = 0, value_name = "N")]
    fail_starts: u64,
    /// Where to keep what must survive a restart.
    #[arg(long, default_value = "demo-agent.json", value_name = "FILE")]
    state_file: PathBuf,
}

/// Serves until SIGTERM or SIGINT. Fails if the port is taken, the state file cannot be used, or as
/// `--fail-starts` asks for.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        result = serve(args) => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let store = Store::open(args.state_file)?;
    let starts = store.count_start()?;
    if starts <= args.fail_starts {
        bail!("asked to fail the first {} starts; this is start {starts}", args.fail_starts);
    }
    tokio::time::sleep(args.start_delay.get()).await;
    let address = (Ipv4Addr::LOCALHOST, args.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{}", args.port))?;
    let demo = Arc::new(Demo::new(name(), store));
    println!("{}: start {starts}, listening on 127.0.0.1:{}", demo.name(), args.port);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(Arc::clone(&demo), stream));
            }
            Err(error) => {
                eprintln!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection(demo: Arc<Demo>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| Arc::clone(&demo).answer(request));
    // Callers that leave and `/close` end a connection with an error; neither is news.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// What Drowse calls this agent.
fn name() -> String {
    let part = |variable| std::env::var(variable).ok();
    match (part("DROWSE_AGENT_NAMESPACE"), part("DROWSE_AGENT_NAME")) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => "demo-agent".to_owned(),
    }
}
