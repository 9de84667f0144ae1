//! Applies changes of the configuration file while Drowse runs.
//!
//! The folder is watched, not the file: a `ConfigMap` swaps a symlink beside it, editors rename a new file over it.
//! Events only say "look again", so a lost one costs time and no change: the file is also read every few seconds.

mod restart;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{Config, ConfigError};

/// A file is read when nothing has happened to its folder for this long: editors write in several steps.
const QUIET: Duration = Duration::from_millis(50);

/// So many disturbances in a row are waited out, then the file is read all the same.
const MOST_DISTURBANCES: u32 = 20;

/// How often the file is read without any event: for folders that were replaced, and file systems without events.
const POLL: Duration = Duration::from_secs(5);

/// Watches the configuration file until dropped.
#[derive(Debug)]
pub struct Watch {
    configs: watch::Receiver<Arc<Config>>,
    last_error: LastError,
    task: AbortHandle,
}

/// How a change of the file ended.
pub type Reload<'a> = Result<Applied<'a>, &'a ConfigError>;

/// A good change.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// What is in force now.
    pub config: &'a Config,
    /// Keys whose new values wait for a restart, such as `front_door.listen`.
    pub needs_restart: &'a [&'static str],
}

/// Why the file as it stands is not in force; `None` if it is.
type LastError = Arc<Mutex<Option<Arc<ConfigError>>>>;

impl Watch {
    /// Watches the file that `running` was loaded from. `on_reload` is told of every change: what is in
    /// force now, or why the file was refused.
    ///
    /// Must be called within a tokio runtime. Where the system cannot watch folders, changes are found by reading
    /// the file every few seconds.
    pub fn start(running: Config, on_reload: impl Fn(Reload<'_>) + Send + 'static) -> Self {
        Self::start_polling(running, on_reload, POLL)
    }

    fn start_polling(
        running: Config,
        on_reload: impl Fn(Reload<'_>) + Send + 'static,
        poll: Duration,
    ) -> Self {
        let path = running.path.clone();
        let running = Arc::new(running);
        let (sender, configs) = watch::channel(Arc::clone(&running));
        let last_error = LastError::default();
        let reader = Reader { running, sender, last_error: Arc::clone(&last_error), on_reload, seen: None };
        let changed = Arc::new(Notify::new());
        let folders = Folders::new(&changed);
        let task = tokio::spawn(run(path, reader, folders, changed, poll)).abort_handle();
        Self { configs, last_error, task }
    }

    /// The configuration in force, now and after every change. Keys that need a restart keep the values that Drowse
    /// was started with.
    pub fn configs(&self) -> watch::Receiver<Arc<Config>> {
        self.configs.clone()
    }

    /// Why the file as it stands was refused; `None` if it is in force.
    pub fn last_error(&self) -> Option<Arc<ConfigError>> {
        self.last_error.lock().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks at the file, then waits for a reason to look again. No more events come once this is dropped.
async fn run(
    path: PathBuf,
    mut reader: Reader<impl Fn(Reload<'_>)>,
    mut folders: Folders,
    changed: Arc<Notify>,
    poll: Duration,
) {
    loop {
        let file = path.clone();
        // A file system may hang: that must stop nobody but us.
        let look = tokio::task::spawn_blocking(move || {
            folders.follow(&file);
            (folders, Text::read(&file))
        });
        folders = match look.await {
            Ok((folders, text)) => {
                reader.look(text, &path);
                folders
            }
            Err(error) => {
                tracing::error!(%error, "the configuration file could not be read");
                Folders::new(&changed)
            }
        };
        if timeout(poll, changed.notified()).await.is_ok() {
            settle(&changed).await;
        }
    }
}

/// Waits until nothing happens any more, within bounds.
async fn settle(changed: &Notify) {
    for _ in 0..MOST_DISTURBANCES {
        if timeout(QUIET, changed.notified()).await.is_err() {
            return;
        }
    }
}

/// Whether a folder is one that is watched, or in it. A `ConfigMap`'s file is: what changes is a link in the folder of the
/// path, and the folder behind it is deleted, which `notify` would warn about each time.
fn is_below(real: &Path, watched: Option<&Path>) -> bool {
    watched.and_then(|folder| folder.canonicalize().ok()).is_some_and(|folder| real.starts_with(folder))
}

/// The folders that matter: the one of the path, and where symlinks lead out of it the one of the file itself.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
}

impl Folders {
    fn new(changed: &Arc<Notify>) -> Self {
        let changed = Arc::clone(changed);
        // Reading the file is an event too, on some systems: it must not make us read it again.
        let on_event = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .inspect_err(
                |error| tracing::warn!(%error, "folders cannot be watched; changes are found more slowly"),
            )
            .ok();
        Self { watcher, watched: Vec::new() }
    }

    /// Watches the folders as they are now, before the file is read: a later change is not missed.
    fn follow(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted: Vec<_> = path.parent().map(Path::to_owned).into_iter().collect();
        if let Some(real) = path.canonicalize().ok().and_then(|real| real.parent().map(Path::to_owned))
            && !is_below(&real, path.parent())
        {
            wanted.push(real);
        }
        for gone in self.watched.iter().filter(|folder| !wanted.contains(folder)) {
            let _ = watcher.unwatch(gone);
        }
        // What cannot be watched now is tried again after the next look.
        wanted.retain(|folder| {
            self.watched.contains(folder) || watcher.watch(folder, RecursiveMode::NonRecursive).is_ok()
        });
        self.watched = wanted;
    }
}

/// What stands in the file, or why nothing can be read.
#[derive(PartialEq, Eq)]
enum Text {
    Bytes(Vec<u8>),
    Unreadable(String),
}

/// With the error for people, which is no part of what is compared.
type Read = (Text, Option<std::io::Error>);

impl Text {
    fn read(path: &Path) -> Read {
        match super::read(path) {
            Ok(bytes) => (Self::Bytes(bytes), None),
            Err(error) => (Self::Unreadable(error.to_string()), Some(error)),
        }
    }
}

/// Decides what a look at the file changes.
struct Reader<F> {
    running: Arc<Config>,
    sender: watch::Sender<Arc<Config>>,
    last_error: LastError,
    on_reload: F,
    seen: Option<Text>,
}

impl<F: Fn(Reload<'_>)> Reader<F> {
    /// Does nothing when the file is as it was at the last look.
    fn look(&mut self, (text, error): Read, path: &Path) {
        if self.seen.as_ref() == Some(&text) {
            return;
        }
        let result = match (&text, error) {
            (Text::Bytes(bytes), _) => super::parse_bytes(bytes, path),
            (Text::Unreadable(what), error) => {
                let reason = error.unwrap_or_else(|| std::io::Error::other(what.clone()));
                Err(ConfigError::Read { path: path.to_owned(), reason })
            }
        };
        let first_look = self.seen.replace(text).is_none();
        match result {
            Ok(config) => self.apply(config, first_look),
            Err(error) => self.refuse(error),
        }
    }

    fn apply(&self, mut config: Config, first_look: bool) {
        let needs_restart = restart::keep(&self.running, &mut config);
        for key in &needs_restart {
            tracing::warn!(key, "the new value needs a restart: {key}");
        }
        let changed = self.sender.send_if_modified(|current| {
            let differs = **current != config;
            if differs {
                *current = Arc::new(config);
            }
            differs
        });
        let recovered = self.last_error.lock().take().is_some();
        // The first look is for a change between the start and now; without one there is nothing to tell.
        if changed || recovered || !first_look || !needs_restart.is_empty() {
            tracing::info!("the configuration file was applied");
            let config = self.sender.borrow();
            (self.on_reload)(Ok(Applied { config: &config, needs_restart: &needs_restart }));
        }
    }

    fn refuse(&self, error: ConfigError) {
        tracing::error!("the configuration file was refused, what held before goes on:\n{error}");
        let error = Arc::new(error);
        *self.last_error.lock() = Some(Arc::clone(&error));
        (self.on_reload)(Err(&error));
    }
}

#[cfg(test)]
mod tests;
