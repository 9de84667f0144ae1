//! The engine as in Drowse, with a backend that obeys at once; with the front door before it, or without.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use drowse::backend::Backend;
use drowse::engine::{Engine, Limits};
use drowse::lifecycle::PhaseName;
use drowse::metrics::Metrics;
use drowse::policy::Policy;
use drowse::policy::rules::{Layer, RuleSet};
use drowse::proxy::{FrontDoor, Settings};
use drowse::time::Clock;
use tokio_util::sync::CancellationToken;

use crate::backend::{Obedient, key};

/// More than any benchmark comes to.
const LIMITS: Limits = Limits {
    held: 1_000_000,
    held_body_bytes: 1 << 30,
    starts_in_flight: 1_000,
    starts_per_namespace: 1_000,
    starts_per_second: 1_000_000,
    trust_stale_for: Duration::MAX,
};

/// Nothing that must happen takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A policy under which an agent is called, suspended and resumed.
pub fn policy() -> Policy {
    Policy { route: true, manage: true, max_held: 1_000_000, ..Policy::default() }
}

/// An engine whose agents all have this policy. It does nothing until somebody runs it.
pub fn engine(policy: Policy) -> Arc<Engine> {
    let rules = RuleSet::new(policy, Layer::default(), Vec::new());
    let backend = Arc::new(Obedient::default()) as Arc<dyn Backend>;
    Engine::new(backend, rules, &LIMITS, Arc::new(Metrics::new()), Clock::start())
}

/// An engine that runs, with one agent at this port of this machine, which is up. Within a runtime.
pub async fn running(port: u16) -> Arc<Engine> {
    let engine = engine(Policy { port: Some(port), ..policy() });
    tokio::spawn(Arc::clone(&engine).run());
    until(&engine, PhaseName::Running).await;
    engine
}

/// Waits until the agent is in this phase.
pub async fn until(engine: &Arc<Engine>, phase: PhaseName) {
    let waiting = async {
        while engine.slot(&key()).map(|slot| slot.phase()) != Some(phase) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the agent gets there");
}

/// Serves callers of the agent at this port until told to end. `tell` gets the address.
pub async fn serve(port: u16, tell: impl FnOnce(SocketAddr), end: CancellationToken) -> anyhow::Result<()> {
    let engine = running(port).await;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = Settings { listen, drain_timeout: Duration::ZERO, ..Settings::default() };
    let metrics = Arc::clone(engine.metrics());
    let door = FrontDoor::bind(Arc::new(ArcSwap::from_pointee(settings)), engine, metrics)?;
    tell(door.address());
    door.run(end).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::agent::{self, Caller};

    #[test]
    fn a_request_goes_through_the_front_door_to_the_agent_and_back() {
        let port = agent::start().unwrap();
        let (told, address) = mpsc::channel();
        let end = CancellationToken::new();
        let ended = end.clone();
        let door = std::thread::spawn(move || {
            let runtime = crate::runtime();
            runtime.block_on(serve(port, |address| told.send(address).unwrap(), ended)).unwrap();
        });
        let mut caller = Caller::connect(address.recv_timeout(PATIENCE).unwrap()).unwrap();
        for _ in 0..3 {
            caller.ask().unwrap();
        }
        drop(caller);
        end.cancel();
        door.join().unwrap();
    }
}
