//! The cache of built parts: a folder for each, named by version and by a hash of what it is built from, so that a new
//! version is built and an old checkout still finds its own.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::{Module, Part, Programs, build};
use crate::hex::hex;
use crate::interrupt;

/// Finds or builds these parts.
pub(super) fn provide(parts: &[&Part]) -> Result<Programs> {
    let folder = folder()?;
    let places = parts.iter().map(|part| Ok((*part, place(&folder, part)?))).collect::<Result<Vec<_>>>()?;
    if places.iter().any(|(part, place)| !place.join(part.name).is_file()) {
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        let _lock = lock(&folder.join("lock"))?;
        // What another run built while we waited for the lock is there now.
        let missing: Vec<_> =
            places.iter().filter(|(part, place)| !place.join(part.name).is_file()).collect();
        for (nth, (part, place)) in missing.iter().enumerate() {
            ensure!(!interrupt::asked(), "told to end before {} was built", part.name);
            let count = format!("{} of {}", nth + 1, missing.len());
            build::build(part, place, &source(&part.module), &count)?;
        }
    }
    Ok(places.into_iter().map(|(part, place)| (part.name.to_owned(), place.join(part.name))).collect())
}

/// The folder of all parts: `$DROWSE_CACHE/parts`, by default in the user's cache folder.
fn folder() -> Result<PathBuf> {
    let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = named("DROWSE_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("drowse")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/drowse")))
        .context("there is no HOME to keep the built parts in; set DROWSE_CACHE to a folder")?;
    Ok(cache.join("parts"))
}

fn source(module: &Module) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("parts").join(module.folder)
}

/// The folder of one part.
fn place(folder: &Path, part: &Part) -> Result<PathBuf> {
    let source = source(&part.module);
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        match fs::read(source.join(file)) {
            Ok(text) => hash.update(text),
            // The pause program needs no other module, and what is a tool of its module no main.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).context(format!("failed to read {file} of {}", source.display()));
            }
        }
    }
    hash.update(part.module.tags);
    hash.update(part.module.linked);
    hash.update(part.package);
    let short: String = hex(&hash.finalize()).chars().take(12).collect();
    Ok(folder.join(format!("{}-{}-{short}", part.name, version(&part.module, &source)?)))
}

/// The version that the module's go.mod asks for.
pub(super) fn version(module: &Module, source: &Path) -> Result<String> {
    let Some(upstream) = module.upstream else { return Ok("v0".to_owned()) };
    let file = source.join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    version_in(&text, upstream).with_context(|| format!("{} does not require {upstream}", file.display()))
}

fn version_in(text: &str, module: &str) -> Option<String> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("require "));
    let mut versions = lines.filter_map(|line| line.strip_prefix(module)?.strip_prefix(' '));
    versions.find(|rest| rest.starts_with('v'))?.split_whitespace().next().map(str::to_owned)
}

/// Holds the lock until the file is dropped. It is the system's: a killed run leaves none behind.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("failed to open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another run that holds {}", path.display());
            file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).context(format!("failed to lock {}", path.display()));
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::{CONTROL_PLANE, FAKE_NODES, MESSAGING, NODE, SUITES};

    #[test]
    fn the_version_is_the_one_required_not_the_one_replaced() {
        let text =
            "module a\n\nrequire k8s.io/kubernetes v1.2.3\n\nrequire (\n\tb.io/c v0.1.0 // indirect\n)\n";
        assert_eq!(version_in(text, "k8s.io/kubernetes").as_deref(), Some("v1.2.3"));
        assert_eq!(version_in(text, "b.io/c").as_deref(), Some("v0.1.0"));
        assert_eq!(version_in(text, "b.io"), None);
    }

    #[test]
    fn every_part_has_a_pinned_version_and_a_place_of_its_own() {
        let all = CONTROL_PLANE.iter().chain(&NODE).chain(&FAKE_NODES).chain(&MESSAGING).chain(&SUITES);
        let mut places: Vec<_> = all.map(|part| place(Path::new("parts"), part).unwrap()).collect();
        let count = places.len();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), count);
    }
}
