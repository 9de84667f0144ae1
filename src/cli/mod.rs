//! The command line: reads it, does one thing, and ends with an exit code that says how that went.

mod args;
mod check;
mod client;
mod command;
mod explain;
mod failure;
pub mod reference;
mod run;
mod status;
mod table;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::backend::process::guard;
use args::{Cli, Command, Of};
use failure::Failure;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output; if nobody reads it, there is nobody to tell.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(io::stderr().lock(), "drowse: {failure}");
            failure.exit_code()
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        // The exit code of the agent's program.
        Command::ProcessGuard(args) => return Ok(guard::run(&args)),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Status(args) => client::block_on(status::status(&args)),
        Command::Explain(args) => client::block_on(explain::explain(&args)),
        Command::Suspend(args) => client::block_on(command::suspend(&args)),
        Command::Resume(args) => client::block_on(command::resume(&args)),
        Command::Schema(args) if args.reference => print(&crate::config::reference::markdown()),
        Command::Schema(_) => print(&crate::config::schema::json()),
        Command::Completions(args) => completions(args.shell),
        Command::DemoAgent(args) => run::serve(crate::demo::run(args)),
        Command::Reference(args) => match args.of {
            Of::Cli => print(&reference::markdown()),
            Of::Metrics => print(&crate::metrics::reference::markdown()),
        },
    }?;
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "drowse", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// To standard output, with a line end. Whoever stops reading (`| head`) has what they want.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::runtime(error)),
        _ => Ok(()),
    }
}
