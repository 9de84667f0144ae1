//! The command line: a cluster for people who try Drowse, and for test runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use drowse_cluster::{Cluster, Image, Options};

/// A real Kubernetes cluster with Agent Sandboxes on this machine.
#[derive(Parser)]
#[command(name = "drowse-cluster", max_term_width = 100)]
struct Cli {
    /// The cluster's name, which is its folder in target/cluster [default: drowse; of `run`: run]
    #[arg(long, global = true, value_name = "NAME")]
    cluster: Option<String>,
    /// The cluster's folder, instead [default: `$DROWSE_CLUSTER_DIR`, but for `up` and `run`]
    #[arg(long, global = true, conflicts_with = "cluster")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the cluster and leave it running; start what of it does not run
    Up(Kind),
    /// End the cluster, and remove all that it had but its logs
    Down,
    /// Print the variables to use it with: eval "$(drowse-cluster env)"
    Env,
    /// Start a new cluster, run a command with it, and end it
    Run {
        #[command(flatten)]
        kind: Kind,
        /// An image archive to load before the command runs
        #[arg(long)]
        image: Vec<PathBuf>,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Give the node an image from an archive
    LoadImage {
        /// The archive, as `docker save` or `drowse-cluster image` writes it
        archive: PathBuf,
    },
    /// Make an image archive of one static binary
    Image {
        /// The static binary
        #[arg(long)]
        binary: PathBuf,
        /// The image's name and tag
        #[arg(long)]
        name: String,
        /// Where the binary is in the image
        #[arg(long)]
        entrypoint: String,
        /// Who runs it
        #[arg(long, default_value_t = 65532)]
        user: u32,
        /// The archive to write
        #[arg(long)]
        out: PathBuf,
    },
    /// Print where a program is, such as nats-server-2.15; it is built if it was not
    Program {
        /// Its name
        name: String,
    },
    /// Make volumes of the storage class `local`
    Volumes {
        /// How many there are to be
        count: u32,
    },
    /// Make nodes that kwok acts for
    FakeNodes {
        /// How many there are to be
        count: u32,
    },
    /// List the components, and which of them run
    Status,
    /// Start a component that does not run, and wait until it works
    Start {
        /// Its name, as `status` shows it
        component: String,
    },
    /// Stop a component
    Stop {
        /// Its name, as `status` shows it
        component: String,
    },
    /// Stop a component, start it, and wait until it works
    Restart {
        /// Its name, as `status` shows it
        component: String,
    },
}

#[derive(Args)]
struct Kind {
    /// Only the control plane: no pods run, and no root is needed
    #[arg(long)]
    no_node: bool,
    /// Let kwok act for nodes and pods that do not exist
    #[arg(long)]
    kwok: bool,
}

fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> Result<ExitCode> {
    let options = cli.options()?;
    let attach = || Cluster::attach(&options.dir);
    match cli.command {
        Verb::Up(kind) => {
            let options = kind.apply(options);
            drowse_cluster::listen_for_signals()?;
            print_environment(&Cluster::start(&options)?);
        }
        Verb::Run { kind, image, command } => {
            let status = drowse_cluster::run(&kind.apply(options), &image, &command)?;
            // A command that a signal ended has no code; a shell says 128 and more.
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(128);
            return Ok(ExitCode::from(code));
        }
        Verb::Down => Cluster::down(&options.dir)?,
        Verb::Env => print_environment(&attach()?),
        Verb::LoadImage { archive } => attach()?.load_image(&archive)?,
        Verb::Image { binary, name, entrypoint, user, out } => {
            Image { binary, name, entrypoint, user }.write(&out)?;
        }
        Verb::Program { name } => println!("{}", drowse_cluster::program(&name)?.display()),
        Verb::Volumes { count } => attach()?.create_volumes(count)?,
        Verb::FakeNodes { count } => attach()?.create_fake_nodes(count)?,
        Verb::Status => print_status(&attach()?)?,
        Verb::Start { component } => attach()?.component(&component)?.start()?,
        Verb::Stop { component } => attach()?.component(&component)?.stop()?,
        Verb::Restart { component } => attach()?.component(&component)?.restart()?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Cli {
    fn options(&self) -> Result<Options> {
        let (usual, begins) = match self.command {
            Verb::Run { .. } => ("run", true),
            Verb::Up(_) => ("drowse", true),
            _ => ("drowse", false),
        };
        let options = Options::named(self.cluster.as_deref().unwrap_or(usual))?;
        // A command that starts a cluster must not take over the one whose environment it runs in.
        let of_environment = || std::env::var_os("DROWSE_CLUSTER_DIR").map(PathBuf::from);
        let inherits = !begins && self.cluster.is_none();
        let dir = self.dir.clone().or_else(|| inherits.then(of_environment).flatten());
        Ok(Options { dir: dir.unwrap_or_else(|| options.dir.clone()), ..options })
    }
}

impl Kind {
    fn apply(self, options: Options) -> Options {
        Options { with_node: !self.no_node, kwok: self.kwok, ..options }
    }
}

fn print_environment(cluster: &Cluster) {
    for (name, value) in cluster.environment() {
        println!("export {name}='{}'", value.replace('\'', r"'\''"));
    }
}

fn print_status(cluster: &Cluster) -> Result<()> {
    for name in cluster.components()? {
        let component = cluster.component(name)?;
        match component.process().filter(|_| component.is_alive()) {
            Some(process) => println!("{name:25} runs, pid {}", process.pid),
            None => println!("{name:25} does not run"),
        }
    }
    Ok(())
}
