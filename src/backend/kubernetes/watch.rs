//! Lists and watches one kind of object in one namespace or in all, for as long as Drowse lives.
//!
//! kube's own `watcher` does not say when a watch that was broken stands again, and that is what decides whether
//! anybody may be suspended. So this is the list-and-watch of the API conventions ("Efficient detection of changes"):
//! list in pages, watch from the list's version, go on from the last version that was seen when a watch ends, list
//! anew when the server has forgotten that version (410).

use std::fmt::Debug;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::index::{Listing, Object, Origin, Report, Source};
use crate::agent::Revision;
use crate::time::{Clock, Moment};

/// Objects in one page of a list. A page is parsed as a whole, and most of it is thrown away; with larger ones, most of
/// the memory of Drowse would be what they once took.
const PAGE: u32 = 100;
/// How long a page may take. Ten thousand Sandboxes take a busy API server seconds.
const PAGE_LIMIT: Duration = Duration::from_mins(1);
/// The server ends a watch after this long, and we begin the next one. Short, because the silence of a broken
/// connection must not be taken for the silence of a cluster where nothing happens for long.
const WATCH_FOR_SECS: u32 = 60;
/// A watch that says nothing for this long, not even that it ends, is broken.
const SILENCE_LIMIT: Duration = Duration::from_secs(WATCH_FOR_SECS as u64 + 10);
/// How long the answer to the begin of a watch may take.
const BEGIN_LIMIT: Duration = Duration::from_secs(15);
/// A watch that ends sooner than this did not go well.
const GOOD_WATCH: Duration = Duration::from_secs(1);
/// The first wait after a failure, and the longest: an API server that is back is noticed within seconds.
const RETRY: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(3);
/// A watch that was broken for this long begins with a list: a watch that stands says nothing of how far behind it is, and from here
/// on what it has told would be believed.
const LIST_ANEW_AFTER: Duration = Duration::from_mins(1);
/// How often a kind that the cluster does not have is looked for again.
const ABSENT_RETRY: Duration = Duration::from_mins(1);

/// A report, and where it comes from.
pub(super) type Told = (Origin, Report);

/// One watch.
pub(super) struct Watch<K> {
    /// Where to look.
    pub(super) api: Api<K>,
    /// For people: `sandboxes in namespace x`.
    pub(super) name: String,
    /// Only objects with these labels.
    pub(super) selector: Option<String>,
    /// Its number.
    pub(super) source: Source,
    /// A cluster without this kind has none of it, which is fine.
    pub(super) optional: bool,
    /// Boils an object down; `None` for one that is of no interest.
    pub(super) facts: fn(&K) -> Option<Object>,
    /// The time.
    pub(super) clock: Clock,
    /// Who is told.
    pub(super) reports: mpsc::Sender<Told>,
}

/// Why a watch has to begin anew.
enum End {
    /// It ran its time.
    Over,
    /// The server does not know the version any more: list anew.
    Forgotten,
    /// It failed.
    Failed(String),
    /// Nobody wants to know any more.
    Unwanted,
}

impl<K> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// Runs until nobody listens any more.
    pub(super) async fn run(self) {
        let mut listing: Listing = 0;
        let mut version: Option<String> = None;
        let mut trouble = Trouble::default();
        loop {
            let origin = Origin { source: self.source, listing };
            let was_away_for_long =
                trouble.since.is_some_and(|since| self.clock.now() >= since + LIST_ANEW_AFTER);
            let from = match version.take().filter(|_| !was_away_for_long) {
                Some(version) => version,
                None => {
                    listing += 1;
                    match self.list(Origin { listing, ..origin }).await {
                        Ok(version) => {
                            trouble.since = None;
                            version
                        }
                        Err(End::Unwanted) => return,
                        Err(End::Over) => continue,
                        Err(end) => {
                            if !self.fail(origin, end, &mut trouble).await {
                                return;
                            }
                            continue;
                        }
                    }
                }
            };
            let mut last = from;
            let end = self.watch(Origin { source: self.source, listing }, &mut last, &mut trouble).await;
            version = match end {
                End::Over => Some(last),
                End::Forgotten => {
                    // Until it is listed, much may have happened. And should it be forgotten again and again, not
                    // without a pause.
                    if self.tell(origin, Report::Broken).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(RETRY.start).await;
                    None
                }
                End::Unwanted => return,
                failed @ End::Failed(_) => {
                    if !self.fail(origin, failed, &mut trouble).await {
                        return;
                    }
                    Some(last)
                }
            };
        }
    }

    /// Tells everything that exists, page by page, and gives the version that this was at.
    async fn list(&self, origin: Origin) -> Result<String, End> {
        let mut params =
            ListParams { label_selector: self.selector.clone(), ..ListParams::default() }.limit(PAGE);
        loop {
            let page = match tokio::time::timeout(PAGE_LIMIT, self.api.list(&params)).await {
                Ok(Ok(page)) => page,
                Ok(Err(kube::Error::Api(status))) if status.code == 404 && self.optional => {
                    return self.wait_for_kind(origin).await;
                }
                Ok(Err(error)) => return Err(failed(&error)),
                Err(_) => return Err(End::Failed(format!("no answer to a list within {PAGE_LIMIT:?}"))),
            };
            for object in &page.items {
                if let Some(facts) = (self.facts)(object) {
                    self.tell(origin, Report::Seen(facts)).await?;
                }
            }
            let version = page.metadata.resource_version.unwrap_or_default();
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => {
                    let revision = version.parse().map(Revision).unwrap_or_default();
                    self.tell(origin, Report::Listed(revision)).await?;
                    return Ok(version);
                }
            }
        }
    }

    /// Without the kind there are no objects of it. Looks again from time to time.
    async fn wait_for_kind(&self, origin: Origin) -> Result<String, End> {
        self.tell(origin, Report::Listed(Revision::default())).await?;
        self.tell(origin, Report::Live).await?;
        tokio::select! {
            () = self.reports.closed() => Err(End::Unwanted),
            () = tokio::time::sleep(ABSENT_RETRY) => Err(End::Over),
        }
    }

    /// Tells what happens after `last`, which it moves on.
    async fn watch(&self, origin: Origin, last: &mut String, trouble: &mut Trouble) -> End {
        let mut params = WatchParams { label_selector: self.selector.clone(), ..WatchParams::default() };
        params = params.timeout(WATCH_FOR_SECS);
        let stream = match tokio::time::timeout(BEGIN_LIMIT, self.api.watch(&params, last)).await {
            Ok(Ok(stream)) => stream,
            // The kind is gone, as the next list finds out.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && self.optional => {
                return End::Forgotten;
            }
            Ok(Err(error)) => return failed(&error),
            Err(_) => return End::Failed(format!("no answer to a watch within {BEGIN_LIMIT:?}")),
        };
        let mut stream = std::pin::pin!(stream);
        let began = self.clock.now();
        if let Err(end) = self.tell(origin, Report::Live).await {
            return end;
        }
        loop {
            let event = match tokio::time::timeout(SILENCE_LIMIT, stream.next()).await {
                Err(_) => return End::Failed(format!("the watch was silent for {SILENCE_LIMIT:?}")),
                Ok(None) if self.clock.now().since(began) < GOOD_WATCH => {
                    return End::Failed("the watch ended as soon as it had begun".to_owned());
                }
                Ok(None) => {
                    trouble.is_over(&self.name);
                    return End::Over;
                }
                Ok(Some(Err(error))) => return failed(&error),
                Ok(Some(Ok(event))) => event,
            };
            if !matches!(event, WatchEvent::Error(_)) {
                trouble.is_over(&self.name);
            }
            let told = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    last.clone_from(&object.resource_version().unwrap_or_default());
                    self.tell_facts(origin, &object, Report::Seen).await
                }
                WatchEvent::Deleted(object) => {
                    last.clone_from(&object.resource_version().unwrap_or_default());
                    self.tell_facts(origin, &object, Report::Gone).await
                }
                WatchEvent::Bookmark(bookmark) => {
                    *last = bookmark.metadata.resource_version;
                    Ok(())
                }
                WatchEvent::Error(status) => return ended(&status),
            };
            if let Err(end) = told {
                return end;
            }
        }
    }

    async fn tell_facts(&self, origin: Origin, object: &K, report: fn(Object) -> Report) -> Result<(), End> {
        match (self.facts)(object) {
            Some(facts) => self.tell(origin, report(facts)).await,
            None => Ok(()),
        }
    }

    async fn tell(&self, origin: Origin, report: Report) -> Result<(), End> {
        self.reports.send((origin, report)).await.map_err(|_| End::Unwanted)
    }

    /// Tells that it is broken, and waits before the next try. False if nobody wants to know any more.
    async fn fail(&self, origin: Origin, end: End, trouble: &mut Trouble) -> bool {
        trouble.since.get_or_insert(self.clock.now());
        let pause = trouble.pause();
        let why = match end {
            End::Failed(why) => why,
            // Too slow for the server's memory, or the kind is looked for again.
            _ => "the list was forgotten before it was complete".to_owned(),
        };
        trouble.log(&self.name, why);
        if self.tell(origin, Report::Broken).await.is_err() {
            return false;
        }
        tokio::select! {
            () = self.reports.closed() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

/// Trouble that goes on: waits grow, and the log has each kind of it once.
#[derive(Default)]
struct Trouble {
    pauses: Option<ExponentialBackoff>,
    told: Option<String>,
    /// When it began.
    since: Option<Moment>,
}

impl Trouble {
    fn pause(&mut self) -> Duration {
        let builder = ExponentialBuilder::default()
            .with_min_delay(RETRY.start)
            .with_max_delay(RETRY.end)
            .without_max_times()
            .with_jitter();
        self.pauses.get_or_insert_with(|| builder.build()).next().unwrap_or(RETRY.end)
    }

    fn log(&mut self, name: &str, why: String) {
        if self.told.as_ref() != Some(&why) {
            tracing::warn!(
                watch = name,
                why,
                "cannot see what happens in the cluster; nobody is suspended until that is over"
            );
            self.told = Some(why);
        }
    }

    fn is_over(&mut self, name: &str) {
        (self.pauses, self.since) = (None, None);
        if self.told.take().is_some() {
            tracing::info!(watch = name, "sees again what happens in the cluster");
        }
    }
}

fn failed(error: &kube::Error) -> End {
    match error {
        kube::Error::Api(status) => ended(status),
        other => End::Failed(super::error::with_causes(other)),
    }
}

fn ended(status: &Status) -> End {
    match status.code {
        410 => End::Forgotten,
        401 | 403 => End::Failed(format!(
            "{}; give the ServiceAccount of Drowse the permissions that docs/install.md lists",
            status.message
        )),
        404 => End::Failed(format!(
            "{}; install agent-sandbox 1.0 or later, which has Sandboxes of the version agents.x-k8s.io/v1beta1",
            status.message
        )),
        code => End::Failed(format!("status {code}: {}", status.message)),
    }
}

#[cfg(test)]
mod tests;
