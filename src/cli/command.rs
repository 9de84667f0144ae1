//! `drowse suspend` and `drowse resume`.

use super::args::{Resume, Suspend};
use super::client::Client;
use super::failure::Failure;
use super::print;
use super::text::plain;
use crate::admin::wire;
use crate::engine::snapshot::AgentView;

pub(super) async fn suspend(args: &Suspend) -> Result<(), Failure> {
    let path = format!("/api/v1/agents/{}/suspend", args.agent);
    let agent = Client::new(&args.server)?.post(&path, &wire::Suspend { stay: args.stay }).await?;
    print(&sentence(&agent))
}

pub(super) async fn resume(args: &Resume) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let Some(key) = &args.agent else {
        let wire::ResumeAll { agents } = client.post("/api/v1/resume-all", &()).await?;
        return print(&format!("{agents} agents are wanted up; `drowse status` shows how they come up"));
    };
    let agent = client.post(&format!("/api/v1/agents/{key}/resume"), &()).await?;
    print(&sentence(&agent))
}

/// How the agent stands after the command.
fn sentence(agent: &AgentView) -> String {
    let AgentView { namespace, name, phase, reason, .. } = agent;
    format!("{namespace}/{name} is {}: {}", phase.as_str(), plain(reason))
}
