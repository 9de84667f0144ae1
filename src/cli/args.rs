//! What can be written on the command line. The contract with users; CLI.md is generated from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::agent::AgentKey;
use crate::backend::process::guard;

/// Where the configuration is unless somebody says otherwise.
const DEFAULT_CONFIG: &str = "/etc/drowse/drowse.yaml";
/// Where `drowse run` serves the admin API unless the configuration says otherwise.
const DEFAULT_ADMIN: &str = "http://127.0.0.1:9090";

/// Lets idle AI agents sleep and wakes them when somebody calls.
#[derive(Debug, Parser)]
#[command(name = "drowse", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 it failed, 2 usage, 78 bad configuration.")]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Watch the agents, serve the front door, suspend and resume.
    Run(Run),
    /// Check a configuration file, and show each agent's policy and which rule decided.
    Check(Check),
    /// List the agents: phase, activity, and why.
    Status(Status),
    /// Explain one agent: what it does, since when, why, and what comes next.
    Explain(Explain),
    /// Suspend an agent now. One that is in use is not suspended.
    Suspend(Suspend),
    /// Resume an agent now, also one that a person suspended.
    Resume(Resume),
    /// Print the JSON schema of the configuration file, for editors.
    Schema(Schema),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Start an agent of the process backend, and end it when Drowse ends. Drowse starts this itself.
    #[command(hide = true)]
    ProcessGuard(guard::Args),
    /// Run a small stateful agent, to try Drowse and to test it.
    DemoAgent(crate::demo::Args),
    /// Print a generated reference.
    #[command(hide = true)]
    Reference(Reference),
}

/// Which file to read.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "DROWSE_CONFIG", hide_env_values = true, default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Which part of Drowse this process is. The process backend knows only `all`.
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub(super) role: Role,
}

/// Which part of Drowse a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Everything in one process.
    All,
    /// Suspends idle agents; serves no requests.
    Controller,
    /// Serves requests and resumes agents; never suspends.
    FrontDoor,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Only this agent.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(super) agent: Option<AgentKey>,
}

/// How to reach a Drowse that runs.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// The admin API of the Drowse to ask.
    #[arg(long, value_name = "URL", env = "DROWSE_ADMIN", hide_env_values = true, default_value = DEFAULT_ADMIN)]
    pub(super) admin: String,
    /// A file with the token of the admin API. Or put the token itself into the variable `DROWSE_TOKEN`.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only this agent.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(super) agent: Option<AgentKey>,
    /// For people, or for programs.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) server: Server,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Aligned columns.
    Table,
    /// What the admin API answers.
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Which agent.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(super) agent: AgentKey,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Debug, Args)]
pub(super) struct Suspend {
    /// Which agent.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(super) agent: AgentKey,
    /// Calls do not wake it until somebody resumes it.
    #[arg(long)]
    pub(super) stay: bool,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// Which agent.
    #[arg(value_name = "NAMESPACE/NAME", required_unless_present = "all", conflicts_with = "all")]
    pub(super) agent: Option<AgentKey>,
    /// All agents that Drowse manages, as before an uninstall.
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// The reference for people, in Markdown, instead.
    #[arg(long)]
    pub(super) reference: bool,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Reference {
    /// Of what.
    #[arg(value_enum)]
    pub(super) of: Of,
}

/// What there is a reference of, besides the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Of {
    /// docs/cli.md
    Cli,
    /// METRICS.md
    Metrics,
}
