//! Three replicas while they, the API server, etcd and NATS are killed, frozen and cut off from each other: no request fails
//! because of a suspension, none is executed twice or lost, and none reaches another agent.
//!
//! They stop what every other test needs, so they run by themselves, after the others (`scripts/e2e`).

mod agents;
mod api_server;
mod clock;
mod controller;
mod disturbances;
mod evidence;
mod fleet;
mod leader;
mod load;
mod outage;
mod reuse;
mod rollout;
mod run;
mod tally;

use std::str::FromStr;
use std::time::Duration;

/// A number from the environment, by which `make chaos` asks for more.
fn parameter<T: FromStr>(name: &str, usual: T) -> T {
    let Ok(text) = std::env::var(format!("DROWSE_CHAOS_{name}")) else { return usual };
    text.parse().unwrap_or_else(|_| panic!("DROWSE_CHAOS_{name} is {text:?}, which is no such number"))
}

/// Lets a time of trouble, or of quiet, go by under the load. Nothing is expected to have come about by its end.
#[expect(clippy::disallowed_methods, reason = "a disturbance has a length")]
fn let_pass(time: Duration) {
    std::thread::sleep(time);
}
