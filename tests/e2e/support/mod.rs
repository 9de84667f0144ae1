//! A namespace on the cluster with a Drowse that looks after it.

pub(crate) mod agent;
pub(crate) mod cluster;
pub(crate) mod drowse;
#[allow(dead_code, reason = "shared with tests/it, which uses all of it")]
#[path = "../../it/support/http.rs"]
pub(crate) mod http;
#[allow(dead_code, reason = "shared with tests/it, which uses all of it")]
#[path = "../../it/support/http2.rs"]
pub(crate) mod http2;
#[path = "../../it/support/load/mod.rs"]
pub(crate) mod load;
#[path = "../../it/support/ports.rs"]
mod ports;
pub(crate) mod tunnel;
pub(crate) mod world;

use std::time::Duration;

pub(crate) use agent::Agent;
pub(crate) use world::World;

/// How long anything that must happen may take before a test gives up. Long, since machines are slow at times.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Waits for a condition, never for a duration.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never happened: {what}");
}
