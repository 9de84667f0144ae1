//! Ends what was started, by its process id.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks it to end, and kills it if it does not.
pub(crate) async fn end(child: &mut Child, what: &str) -> anyhow::Result<()> {
    let pid = child.id().with_context(|| format!("{what} has ended already"))?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("an odd process id")?;
    // Not waited for yet, so the id is still its own.
    kill_process(pid, Signal::TERM).with_context(|| format!("failed to end {what}"))?;
    if let Ok(ended) = tokio::time::timeout(PATIENCE, child.wait()).await {
        ended.with_context(|| format!("failed to wait for {what}"))?;
        return Ok(());
    }
    child.kill().await.with_context(|| format!("failed to kill {what}"))?;
    bail!("{what} did not end within {PATIENCE:?} and was killed")
}
