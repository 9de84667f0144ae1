//! Starts the agent itself: its folder, its log, its process group.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::Args;
use super::report::{Kind, Refused};
use crate::backend::process::log_file;

pub(super) fn start(args: &Args) -> Result<Pid, Refused> {
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Refused::new(Kind::Program, "there is no program to start"));
    };
    make_dir(&args.working_dir)?;
    if let Some(folder) = args.log.parent() {
        make_dir(folder)?;
    }
    let log_refused =
        |error| Refused::new(Kind::Folder, format!("cannot open the log {}: {error}", args.log.display()));
    let out = log_file::open(&args.log).map_err(log_refused)?;
    let err = out.try_clone().map_err(log_refused)?;
    let child = Command::new(program)
        .args(arguments)
        .current_dir(&args.working_dir)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .map_err(|error| Refused::to_execute(program, &error))?;
    Ok(Pid::from_child(&child))
}

fn make_dir(path: &Path) -> Result<(), Refused> {
    fs::create_dir_all(path).map_err(|error| {
        Refused::new(Kind::Folder, format!("cannot make the folder {}: {error}", path.display()))
    })
}
