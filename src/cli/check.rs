//! `drowse check`: whether a configuration is good, and which policy each agent gets from it.

use std::fmt::Write;

use super::args::Check;
use super::explain::policy;
use super::failure::Failure;
use super::print;
use crate::admin::{Access, Token};
use crate::agent::AgentKey;
use crate::backend::Profile;
use crate::config::{self, Backend, Config};
use crate::engine::snapshot::PolicyKeyView;
use crate::policy::Policy;

pub(super) fn check(args: &Check) -> Result<(), Failure> {
    let path = &args.file.config;
    let config = config::load(path).map_err(Failure::config)?;
    access(&config)?;
    let mut page = format!("{}: good\n", path.display());
    for warning in config.warnings() {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "warning: {warning}");
    }
    let wanted = |key: &AgentKey| args.agent.as_ref().is_none_or(|only| only == key);
    let mut known = agents(&config);
    known.retain(|(key, _)| wanted(key));
    for (key, profile) in &known {
        section(&mut page, &config, key, profile);
    }
    if let (Some(key), true) = (&args.agent, known.is_empty()) {
        page.push_str("\nThe file does not list this agent. One of that name without labels would get:\n");
        section(&mut page, &config, key, &Profile::default());
    }
    print(&page)
}

/// Who may use the admin API; reads the token.
pub(super) fn access(config: &Config) -> Result<Access, Failure> {
    let token = config.admin.token_file.as_deref().map(Token::read).transpose().map_err(Failure::config)?;
    Access::new(config.admin.listen, token).map_err(Failure::config)
}

/// The agents that the file lists, and what rules match on.
fn agents(config: &Config) -> Vec<(AgentKey, Profile)> {
    let Backend::Process(process) = &config.backend else { return Vec::new() };
    process.agents.iter().map(|agent| (agent.key.clone(), agent.profile())).collect()
}

fn section(page: &mut String, config: &Config, key: &AgentKey, profile: &Profile) {
    let resolved = config.rules.resolve(key, profile);
    let keys: Vec<_> = resolved
        .provenance
        .into_iter()
        .map(|origin| PolicyKeyView { key: origin.key.to_owned(), value: origin.value, from: origin.from })
        .collect();
    // Writing to a String cannot fail.
    let _ = write!(page, "\n{key}\n{}", policy(&keys));
    let misses = [asks_elsewhere, calls_elsewhere].map(|finds| finds(&resolved.policy, profile));
    for warning in misses.into_iter().flatten() {
        let _ = writeln!(page, "  warning: {warning}");
    }
    for problem in resolved.problems {
        let _ = writeln!(page, "  warning: {problem}");
    }
}

/// An agent that has only one port cannot be called at another: each request would get 502.
fn calls_elsewhere(policy: &Policy, profile: &Profile) -> Option<String> {
    let (called, own) = (policy.port?, profile.port?);
    (profile.only_port && called != own).then(|| {
        format!(
            "port is {called}, and a process has no port but its own, {own}, so every request that names no port gets 502; leave port \
             out, or change that of the agent"
        )
    })
}

/// An agent that has only one port cannot be asked at another: it would count as broken, and stay up until `busy_cap`.
fn asks_elsewhere(policy: &Policy, profile: &Profile) -> Option<String> {
    let target = policy.ping.target()?;
    let (asked, own) = (target.port?.get(), profile.port?);
    let path = &target.path;
    (profile.only_port && asked != own).then(|| {
        format!(
            "ping names port {asked}, and a process has no port but its own, {own}, so it would count as one whose ping \
             is broken; write ping: {path}"
        )
    })
}
