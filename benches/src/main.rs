//! `drowse-benches`: very many agents, and counts of instructions. The benchmarks of time are in `core.rs`.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Parser, Subcommand};
use drowse_benches::{goal, instructions, memory, million, runtime, world};
use tokio_util::sync::CancellationToken;

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures the core of Drowse.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measure memory and time with very many agents in the engine
    Million {
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        agents: usize,
    },
    /// Count instructions (needs valgrind), and compare them with a baseline; the exit status is 1 if one is more than 5 % above it
    Instructions {
        /// The baseline
        file: PathBuf,
        /// Write it anew
        #[arg(long)]
        renew: bool,
    },
    /// Do one of the things that are counted so many times
    #[command(hide = true)]
    Repeat {
        /// Which
        name: String,
        /// How many times
        times: u64,
    },
    /// Be a front door before the agent at this port, until the input ends
    #[command(hide = true)]
    Serve {
        /// The agent's port on this machine
        port: u16,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Args::parse().what {
        What::Million { agents } => print_million(agents)?,
        What::Instructions { file, renew } => {
            if !instructions::check(&file, renew)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        What::Repeat { name, times } => instructions::run(&name, times)?,
        What::Serve { port } => serve(port)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_million(agents: usize) -> anyhow::Result<()> {
    ensure!(agents > 0, "there must be an agent");
    let load = memory::load_average();
    if cfg!(debug_assertions) {
        println!("built without optimisation: the figures mean nothing");
    }
    println!("{agents} agents, load average before {load:.2}\n");
    print!("{}", goal::table(&million::measure(agents)));
    Ok(())
}

fn serve(port: u16) -> anyhow::Result<()> {
    let end = CancellationToken::new();
    let ended = end.clone();
    std::thread::spawn(move || {
        // Whatever ends it.
        let _end = std::io::stdin().read_to_end(&mut Vec::new());
        end.cancel();
    });
    runtime().block_on(world::serve(port, tell, ended))
}

fn tell(address: std::net::SocketAddr) {
    let mut out = std::io::stdout();
    let _nobody_listens = writeln!(out, "{address}").and_then(|()| out.flush());
}
