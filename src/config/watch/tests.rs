//! Real files in a real folder. Each test waits for the channel, never for a time.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::agent::AgentKey;
use crate::backend::Profile;

/// More than any of this takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn text(idle_secs: u64) -> String {
    format!("backend:\n  process: {{}}\ndefaults:\n  idle_timeout: {idle_secs}s\n")
}

fn idle_secs(config: &Config) -> u64 {
    config.rules.resolve(&AgentKey::new("default", "echo"), &Profile::default()).policy.idle_timeout.as_secs()
}

struct Bench {
    watch: Watch,
    configs: watch::Receiver<Arc<Config>>,
    /// One message a reload: what needs a restart, if it was applied.
    reloads: tokio::sync::mpsc::UnboundedReceiver<Option<Vec<&'static str>>>,
    path: PathBuf,
    _folder: TempDir,
}

impl Bench {
    /// `prepare` puts a good file, with an idle timeout of 1 s, where it says.
    fn new(prepare: impl FnOnce(&Path) -> PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = prepare(folder.path());
        let (sender, reloads) = tokio::sync::mpsc::unbounded_channel();
        let on_reload = move |reload: Reload<'_>| {
            _ = sender.send(reload.ok().map(|applied| applied.needs_restart.to_vec()))
        };
        // No test waits for the file to be read without an event.
        let watch = Watch::start_polling(crate::config::load(&path).unwrap(), on_reload, 10 * PATIENCE);
        Self { configs: watch.configs(), watch, reloads, path, _folder: folder }
    }

    fn with_file() -> Self {
        Self::new(|folder| {
            let path = folder.join("drowse.yaml");
            fs::write(&path, text(1)).unwrap();
            path
        })
    }

    async fn until_idle(&mut self, secs: u64) {
        let wait = self.configs.wait_for(|config| idle_secs(config) == secs);
        timeout(PATIENCE, wait).await.expect("the change was not noticed").unwrap();
    }

    /// Until a reload ended like this. Editors' steps may be seen one by one, so others may come before.
    async fn until_reload(&mut self, applied: bool) -> Vec<&'static str> {
        let wait = async {
            loop {
                let reload = self.reloads.recv().await.unwrap();
                if reload.is_some() == applied {
                    return reload.unwrap_or_default();
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("nothing was reloaded")
    }
}

#[tokio::test]
async fn an_edit_is_applied() {
    let mut bench = Bench::with_file();
    fs::write(&bench.path, text(2)).unwrap();
    bench.until_idle(2).await;
    bench.until_reload(true).await;
    assert!(bench.watch.last_error().is_none());
}

#[tokio::test]
async fn a_bad_edit_changes_nothing_is_reported_once_with_its_line_and_recovers() {
    let mut bench = Bench::with_file();
    fs::write(&bench.path, text(2).replace("2s", "soon")).unwrap();
    bench.until_reload(false).await;
    assert_eq!(idle_secs(&bench.configs.borrow()), 1);
    let error = bench.watch.last_error().unwrap();
    assert_eq!(error.problems()[0].at.line, 4);
    assert!(
        error
            .to_string()
            .contains("drowse.yaml:4:17: defaults.idle_timeout: \"soon\" is not a length of time")
    );

    // An event that changes nothing must not report it again: the next reload heard of is the good one.
    fs::write(bench.path.with_file_name("other"), "x").unwrap();
    fs::write(bench.path.with_file_name("new"), text(3)).unwrap();
    fs::rename(bench.path.with_file_name("new"), &bench.path).unwrap();
    assert_eq!(timeout(PATIENCE, bench.reloads.recv()).await.unwrap(), Some(Some(Vec::new())));
    bench.until_idle(3).await;
    assert!(bench.watch.last_error().is_none());
}

#[tokio::test]
async fn going_back_to_what_is_in_force_clears_the_error() {
    let mut bench = Bench::with_file();
    fs::write(&bench.path, "nonsense\n").unwrap();
    bench.until_reload(false).await;
    fs::write(&bench.path, text(1)).unwrap();
    bench.until_reload(true).await;
    assert!(bench.watch.last_error().is_none());
    assert!(!bench.configs.has_changed().unwrap());
}

#[tokio::test]
async fn a_swapped_symlink_is_followed_as_a_config_map_does_it() {
    let mut bench = Bench::new(|folder| {
        for (version, secs) in [("v1", 1), ("v2", 2), ("v3", 3)] {
            fs::create_dir(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("drowse.yaml"), text(secs)).unwrap();
        }
        symlink("v1", folder.join("..data")).unwrap();
        symlink("..data/drowse.yaml", folder.join("drowse.yaml")).unwrap();
        folder.join("drowse.yaml")
    });
    let folder = bench.path.parent().unwrap().to_owned();
    for (old, new, secs) in [("v1", "v2", 2), ("v2", "v3", 3)] {
        symlink(new, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        fs::remove_dir_all(folder.join(old)).unwrap();
        bench.until_idle(secs).await;
    }
}

#[tokio::test]
async fn a_link_out_of_the_folder_is_followed_and_the_file_there_watched() {
    let mut bench = Bench::new(|folder| {
        for name in ["here", "there", "elsewhere"] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("real.yaml"), text(1)).unwrap();
        }
        symlink("../there/real.yaml", folder.join("here/drowse.yaml")).unwrap();
        folder.join("here/drowse.yaml")
    });
    let folder = bench.path.parent().unwrap().parent().unwrap().to_owned();
    fs::write(folder.join("there/real.yaml"), text(2)).unwrap();
    bench.until_idle(2).await;
    symlink("../elsewhere/real.yaml", folder.join("here/new")).unwrap();
    fs::rename(folder.join("here/new"), &bench.path).unwrap();
    bench.until_idle(1).await;
    fs::write(folder.join("elsewhere/real.yaml"), text(3)).unwrap();
    bench.until_idle(3).await;
}

#[tokio::test]
async fn a_file_that_is_deleted_is_missed_and_taken_up_when_it_is_back() {
    let mut bench = Bench::with_file();
    fs::remove_file(&bench.path).unwrap();
    bench.until_reload(false).await;
    assert!(bench.watch.last_error().unwrap().to_string().contains("cannot be read"));
    assert_eq!(idle_secs(&bench.configs.borrow()), 1);
    fs::write(&bench.path, text(2)).unwrap();
    bench.until_idle(2).await;
}

#[tokio::test]
async fn a_change_between_the_start_and_the_first_look_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drowse.yaml");
    fs::write(&path, text(1)).unwrap();
    let loaded = crate::config::load(&path).unwrap();
    fs::write(&path, text(2)).unwrap();
    let watch = Watch::start(loaded, |_: Reload<'_>| {});
    let mut configs = watch.configs();
    timeout(PATIENCE, configs.wait_for(|config| idle_secs(config) == 2)).await.unwrap().unwrap();
}

#[tokio::test]
async fn keys_that_need_a_restart_are_named_and_the_rest_applies() {
    let mut bench = Bench::with_file();
    fs::write(&bench.path, text(2) + "front_door: {listen: 127.0.0.1:1}\n").unwrap();
    bench.until_idle(2).await;
    assert_eq!(bench.until_reload(true).await, ["front_door.listen"]);
    assert_eq!(bench.configs.borrow().front_door.listen.port(), 8080);
    fs::write(&bench.path, text(2)).unwrap();
    assert_eq!(bench.until_reload(true).await, [""; 0]);
}

#[tokio::test]
async fn a_change_during_the_start_that_needs_a_restart_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drowse.yaml");
    fs::write(&path, text(1)).unwrap();
    let loaded = crate::config::load(&path).unwrap();
    fs::write(&path, text(1) + "front_door: {listen: 127.0.0.1:1}\n").unwrap();
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let on_reload = move |reload: Reload<'_>| _ = sender.send(reload.unwrap().needs_restart.to_vec());
    let _watch = Watch::start(loaded, on_reload);
    assert_eq!(timeout(PATIENCE, told.recv()).await.unwrap().unwrap(), ["front_door.listen"]);
}

#[tokio::test]
async fn it_ends_when_it_is_dropped() {
    let Bench { watch, mut configs, .. } = Bench::with_file();
    drop(watch);
    // The task holds the sender: the channel closes when it is gone.
    timeout(PATIENCE, async { while configs.changed().await.is_ok() {} }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_any_event_the_file_is_read_every_few_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drowse.yaml");
    fs::write(&path, text(1)).unwrap();
    let running = Arc::new(crate::config::load(&path).unwrap());
    let (sender, mut configs) = watch::channel(Arc::clone(&running));
    let reader = Reader {
        running,
        sender,
        last_error: LastError::default(),
        on_reload: |_: Reload<'_>| {},
        seen: None,
    };
    let deaf = Folders { watcher: None, watched: Vec::new() };
    fs::write(&path, text(2)).unwrap();
    let task = tokio::spawn(run(path.clone(), reader, deaf, Arc::new(Notify::new()), POLL));
    // The first look is over when it has found the 2.
    configs.wait_for(|config| idle_secs(config) == 2).await.unwrap();
    fs::write(&path, text(3)).unwrap();
    let wait = configs.wait_for(|config| idle_secs(config) == 3);
    timeout(2 * POLL, wait).await.expect("it is not read again").unwrap();
    task.abort();
}

#[tokio::test]
async fn many_edits_in_a_row_end_in_the_last_one() {
    let mut bench = Bench::with_file();
    for secs in 2..200 {
        fs::write(&bench.path, text(secs)).unwrap();
        tokio::task::yield_now().await;
    }
    bench.until_idle(199).await;
}

#[test]
fn a_file_that_stays_as_it_is_is_looked_at_and_nothing_is_said() {
    let running = Arc::new(crate::config::parse(&text(1), Path::new("/drowse.yaml")).unwrap());
    let (sender, configs) = watch::channel(Arc::clone(&running));
    let calls = AtomicUsize::new(0);
    let on_reload = |_: Reload<'_>| _ = calls.fetch_add(1, Ordering::Relaxed);
    let mut reader = Reader { running, sender, last_error: LastError::default(), on_reload, seen: None };
    let good = || (Text::Bytes(text(1).into_bytes()), None);
    let bad = || (Text::Bytes(b"?".to_vec()), None);
    for (read, calls_then) in [(good(), 0), (good(), 0), (bad(), 1), (bad(), 1), (good(), 2), (good(), 2)] {
        reader.look(read, Path::new("/drowse.yaml"));
        assert_eq!(calls.load(Ordering::Relaxed), calls_then);
    }
    assert!(!configs.has_changed().unwrap());
}
