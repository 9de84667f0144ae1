//! Drowse with the responder as its only agent.

use std::path::Path;

use anyhow::Context as _;

use super::contender::{Entry, Name};
use super::placement::Placement;
use super::raw::{self, Raw};
use crate::drowse::{Drowse, PATIENCE, Program, room_for};
use crate::loopback::Loopback;

const HOST: &str = "bench.default.agents.localhost";

/// It, and where its agent listens.
#[derive(Debug)]
pub(super) struct Fronted {
    pub(super) drowse: Drowse,
    upstream: Loopback,
}

impl Fronted {
    /// With a file, the agent listens when that is there. With a number of callers, Drowse has room for them.
    pub(super) async fn start(
        program: &Program,
        placement: Placement,
        when: Option<&Path>,
        callers: Option<u32>,
    ) -> anyhow::Result<Self> {
        let upstream = Loopback::free()?;
        let own = std::env::current_exe().context("failed to find this program")?;
        let room = callers.map(room_for).unwrap_or_default();
        let config = config(placement, &own, upstream, when, callers);
        let drowse = Drowse::by(placement.measured(&program.0), &room, &config, PATIENCE).await?;
        Ok(Self { drowse, upstream })
    }

    pub(super) fn upstream(&self) -> Loopback {
        self.upstream
    }

    pub(super) fn entry(&self) -> Entry {
        let Drowse { front, pid, .. } = self.drowse;
        Entry { name: Name::Drowse, to: front, host: HOST.to_owned(), pids: vec![pid] }
    }

    /// Calls the agent, so that it is up.
    pub(super) async fn wake(&self) -> anyhow::Result<()> {
        let mut caller = Raw::open(self.drowse.front, raw::get(HOST)).await?;
        caller.send().await?;
        let status = caller.receive().await.context("the agent does not start")?;
        anyhow::ensure!(status == http::StatusCode::OK, "the agent does not start: {status}");
        Ok(())
    }

    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.drowse.end().await
    }
}

/// All that is not written has the default of Drowse.
fn config(
    placement: Placement,
    own: &Path,
    upstream: Loopback,
    when: Option<&Path>,
    callers: Option<u32>,
) -> String {
    let (port, own) = (upstream.address().port(), own.display().to_string());
    let when = when.map(|file| format!(", --when, {:?}", file.display().to_string())).unwrap_or_default();
    let limits = callers.map(|callers| format!("limits: {{held: {callers}}}\n")).unwrap_or_default();
    let max_held = callers.map(|callers| format!(", max_held: {callers}")).unwrap_or_default();
    format!(
        "backend:\n  process:\n    state_dir: state\n    agents:\n      - name: bench\n        port: {port}\n        \
         command: [{}{own:?}, responder, --port, \"{{port}}\"{when}]\n{limits}\
         defaults: {{idle_timeout: 1h, min_running: 0s{max_held}}}\n",
        placement.upstream(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drowse_understands_the_configuration() {
        let pinned = Placement::Pinned { measured: 0, others: 1 };
        let own = Path::new("/a place/drowse-loadtest");
        for (when, callers) in [(None, None), (Some(Path::new("/x/go")), Some(5000))] {
            let text = config(pinned, own, Loopback::local(1001), when, callers);
            if let Err(error) = ::drowse::config::parse(&text, Path::new("drowse.yaml")) {
                panic!("{error}\n{text}");
            }
        }
    }
}
