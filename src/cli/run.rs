//! `drowse run`: everything that can be wrong before the first agent is touched is found here.

use std::time::Duration;

use super::args::{Role, Run};
use super::check::access;
use super::failure::Failure;
use crate::config::{self, Backend, LogFormat};
use crate::{app, telemetry};

/// At the end, for threads that may wait for ever: a file system that hangs, a resolver that is silent.
const WAIT_FOR_THREADS: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Run) -> Result<(), Failure> {
    let config = config::load(&args.file.config).map_err(Failure::config)?;
    if args.role != Role::All && matches!(config.backend, Backend::Process(_)) {
        let message =
            "--role: the process backend runs as one process; leave --role out, or write --role all";
        return Err(Failure::Usage(message.to_owned()));
    }
    let role = match args.role {
        Role::All => app::Role::All,
        Role::Controller => app::Role::Controller,
        Role::FrontDoor => app::Role::FrontDoor,
    };
    let access = access(&config)?;
    let format = match config.log.format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    let log = telemetry::init(format, &config.log.level).map_err(Failure::config)?;
    serve(app::run(config, role, access, log))
}

/// Runs something that stays.
pub(super) fn serve(work: impl Future<Output = anyhow::Result<()>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::runtime)?;
    let ended = runtime.block_on(work).map_err(Failure::Runtime);
    runtime.shutdown_timeout(WAIT_FOR_THREADS);
    ended
}
