//! The command line, as far as agents and their guards need it: the rest is to come.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "drowse")]
enum Cli {
    /// Run a small stateful agent, for trying and testing Drowse.
    DemoAgent(crate::demo::Args),
    /// Start a program and end it when Drowse ends. Drowse starts this itself.
    #[command(hide = true)]
    ProcessGuard(crate::backend::process::guard::Args),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    match Cli::parse() {
        Cli::ProcessGuard(args) => crate::backend::process::guard::run(&args),
        Cli::DemoAgent(args) => {
            let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
            match runtime.and_then(|runtime| runtime.block_on(crate::demo::run(args))) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("drowse: {error:#}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}
