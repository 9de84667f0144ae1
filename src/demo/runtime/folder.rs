//! The folder of files that callers see, and nothing outside of it.
//!
//! A path is walked name by name, each opened in the folder before it and never through a symbolic link. `..` is
//! refused. What is no file and no folder (symbolic links, devices, pipes) does not exist for callers.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, mkdirat, open, openat, statat};
use rustix::io::Errno;
use serde::Serialize;

use super::draft::Draft;

/// As long as a path may be on Linux. Bounds how deep an upload can make folders.
const MAX_PATH: usize = 4_096;
/// More entries are not listed. Far above any test, and a listing of a few megabytes at most.
const MAX_ENTRIES: usize = 10_000;
/// A folder to look into, never through a symbolic link.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file to read. Without blocking, since it may turn out to be a pipe.
const FILE: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folder, open for as long as the agent lives: what its path later points to does not matter.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    root: OwnedFd,
}

/// One line of a listing, as agent-sandbox's runtime has it.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    name: String,
    size: u64,
    r#type: &'static str,
    /// Seconds since 1970.
    mod_time: f64,
}

/// Why there is no such file to read or to write.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("access denied: write a path below the folder of files, without `..`")]
    Outside,
    #[error("no such file or folder")]
    NotFound,
    #[error("this is not a file")]
    NotAFile,
    #[error("this is not a folder")]
    NotAFolder,
    #[error("the path is longer than {MAX_PATH} bytes")]
    LongPath,
    #[error("the folder has more than {MAX_ENTRIES} entries")]
    ManyEntries,
    #[error(transparent)]
    Io(io::Error),
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::LOOP => Self::NotFound,
            Errno::NOTDIR => Self::NotAFolder,
            Errno::ISDIR => Self::NotAFile,
            Errno::NAMETOOLONG => Self::LongPath,
            error => Self::Io(error.into()),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).map_or_else(|| Self::Io(error), Self::from)
    }
}

impl Folder {
    /// Opens the folder, and makes it if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let path = fs::canonicalize(path)?;
        let root = open(&path, FOLDER, Mode::empty())?;
        Ok(Self { path, root })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file to read, and tells its length in bytes.
    pub(super) fn read(&self, path: &[u8]) -> Result<(File, u64), FileError> {
        let (name, parent) = split(path)?;
        let file = File::from(openat(&self.walk(&parent, false)?, name, FILE, Mode::empty())?);
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(FileError::NotAFile) }
    }

    /// Opens a file to write, which appears at its path, whole, when the draft is kept. Makes the folders above it.
    pub(super) fn write(&self, path: &[u8]) -> Result<(File, Draft), FileError> {
        let (name, parent) = split(path)?;
        Ok(Draft::new(self.walk(&parent, true)?, name)?)
    }

    /// Lists a folder, in order of the names.
    pub(super) fn list(&self, path: &[u8]) -> Result<Vec<Entry>, FileError> {
        let folder = self.walk(&names(path)?, false)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let name = entry?.file_name().to_owned();
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            if entries.len() == MAX_ENTRIES {
                return Err(FileError::ManyEntries);
            }
            match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.extend(Entry::of(&name.to_string_lossy(), &stat)),
                // Deleted since it was read.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Whether there is a file or a folder.
    pub(super) fn exists(&self, path: &[u8]) -> Result<bool, FileError> {
        // The folder of files itself.
        let Ok((name, parent)) = split(path) else { return names(path).map(|_| true) };
        let stat = self
            .walk(&parent, false)
            .and_then(|folder| statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(FileError::from));
        match stat {
            Ok(stat) => Ok(Entry::of("", &stat).is_some()),
            Err(FileError::NotFound | FileError::NotAFolder) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn walk(&self, names: &[&OsStr], make: bool) -> Result<OwnedFd, FileError> {
        let mut folder = self.root.try_clone()?;
        for name in names {
            if make {
                match mkdirat(&folder, *name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            folder = openat(&folder, *name, FOLDER, Mode::empty())?;
        }
        Ok(folder)
    }
}

impl Entry {
    fn of(name: &str, stat: &Stat) -> Option<Self> {
        let r#type = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            _ => return None,
        };
        let mod_time = stat.st_mtime as f64 + stat.st_mtime_nsec as f64 / 1e9;
        Some(Self { name: name.to_owned(), size: stat.st_size.try_into().unwrap_or(0), r#type, mod_time })
    }
}

/// The names of a path. A leading `/` stands for the folder itself, as it does for agent-sandbox's runtime.
fn names(path: &[u8]) -> Result<Vec<&OsStr>, FileError> {
    if path.len() > MAX_PATH {
        return Err(FileError::LongPath);
    }
    if path.contains(&0) || path.split(|byte| *byte == b'/').any(|name| name == b"..") {
        return Err(FileError::Outside);
    }
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(name, [] | [b'.']));
    Ok(names.map(OsStr::from_bytes).collect())
}

/// The last name of a path, and the names of the folders above it.
fn split(path: &[u8]) -> Result<(&OsStr, Vec<&OsStr>), FileError> {
    let mut names = names(path)?;
    let name = names.pop().ok_or(FileError::NotAFile)?;
    Ok((name, names))
}
