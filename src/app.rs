//! To come.

use crate::admin::Access;
use crate::config::Config;
use crate::telemetry::LogControl;

/// To come.
pub async fn run(_config: Config, _access: Access, _log: LogControl) -> anyhow::Result<()> {
    std::future::ready(Err(anyhow::anyhow!("to come"))).await
}
