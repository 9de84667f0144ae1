//! The whole way of a warm request: the front door, the engine and the way to the agent in one process and one thread, which is
//! counted; its caller and the agent are in this one, which is not.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, ensure};

use super::{callgrind, per_time};
use crate::agent::{self, Caller};

/// Requests, one after the other on one connection.
const REQUESTS: u64 = 1_000;

/// Instructions for one request.
pub(super) fn count() -> anyhow::Result<u64> {
    let port = agent::start()?;
    let (once, twice) = (serving(port, REQUESTS)?, serving(port, 2 * REQUESTS)?);
    Ok(per_time(once, twice, REQUESTS))
}

/// Instructions of a front door from its start to its end, in which it has served so many requests.
fn serving(port: u16, requests: u64) -> anyhow::Result<u64> {
    let mut command = callgrind::this_program(["serve", &port.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut door = command.spawn().context("failed to run valgrind")?;
    let asked = ask(door.stdout.take(), requests);
    // Its input ends, and so does it.
    drop(door.stdin.take());
    let mut said = String::new();
    if let Some(mut stderr) = door.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    let status = door.wait()?;
    asked.with_context(|| format!("the front door says:\n{said}"))?;
    ensure!(status.success(), "{command:?} failed:\n{said}");
    callgrind::of_output(&said)
}

fn ask(stdout: Option<impl Read>, requests: u64) -> anyhow::Result<()> {
    let mut address = String::new();
    BufReader::new(stdout.context("it has an output")?).read_line(&mut address)?;
    let address: SocketAddr = address.trim().parse().context("it says where it is")?;
    let mut caller = Caller::connect(address)?;
    for _ in 0..requests {
        caller.ask()?;
    }
    Ok(())
}
