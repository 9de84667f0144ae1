//! A file on its way in: written under a name of its own beside its place, which it takes when it is whole. An upload
//! that breaks off leaves what was there before.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// A kill in the middle of an upload leaves its draft behind, and another life finds the name taken. More of them than
/// this, and something else is wrong.
const MAX_TRIES: u64 = 1_000;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The file that is not yet there. Deleted if dropped.
#[derive(Debug)]
pub(super) struct Draft {
    folder: OwnedFd,
    own_name: String,
    name: OsString,
}

impl Draft {
    /// Begins a file of this name.
    pub(super) fn new(folder: OwnedFd, name: &OsStr) -> rustix::io::Result<(File, Self)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..MAX_TRIES {
            let draft = format!(".upload-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            match openat(&folder, &draft, flags, Mode::from_raw_mode(0o666)) {
                Ok(file) => {
                    return Ok((file.into(), Self { folder, own_name: draft, name: name.to_owned() }));
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EXIST)
    }

    /// Puts it at its place, instead of the file that was there.
    pub(super) fn keep(self) -> rustix::io::Result<()> {
        renameat(&self.folder, &self.own_name, &self.folder, &self.name)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that was kept has this name no more.
        let _ = unlinkat(&self.folder, &self.own_name, AtFlags::empty());
    }
}
