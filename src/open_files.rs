//! The limit of open files: every connection takes one, and most systems start programs with 1,024 of them and leave to
//! take more. So Drowse takes what it may at its start, and gives agents that are its processes what it was given.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that this program was started with, once it has another.
static GIVEN: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit to the hard one. Gives the limit that holds now; none is no limit.
pub fn raise() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if let Some(given) = limit.current.filter(|_| limit.current != limit.maximum) {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        let _ = GIVEN.set(given);
    }
    Ok(limit.maximum)
}

/// What [`raise`] has raised, if it has.
pub(crate) fn given() -> Option<u64> {
    GIVEN.get().copied()
}

/// Sets the soft limit, for programs that this one starts.
pub(crate) fn lower(to: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(to), ..limit })?)
}
