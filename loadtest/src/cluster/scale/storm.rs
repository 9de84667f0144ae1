//! Resumes many agents through the admin API, then suspends them, and watches what the cluster sees of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio::sync::mpsc;

use super::Ground;
use crate::agent::Agent;
use crate::cluster::sight::{PodSight, SandboxSight, Seen, Sight};
use crate::drowse::Drowse;
use crate::stats::{Quantiles, Recorder};
use crate::tally::Tally;
use crate::ticker::Ticker;

/// How long one way, up or down, may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// Between two looks at the metrics of Drowse.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Callers of the admin API at once.
const CALLERS: usize = 64;

pub(super) struct Storm<'a> {
    pub(super) ground: &'a Ground,
    pub(super) drowse: &'a Drowse,
    pub(super) clock: Clock,
    pub(super) sights: &'a mut mpsc::Receiver<anyhow::Result<Sight>>,
    pub(super) names: &'a [String],
}

/// One storm: up, and down again.
#[derive(Debug, Serialize)]
pub(crate) struct Storms {
    /// Demands a second; none is all at once.
    pub(super) rate: Option<u32>,
    pub(super) resumes: Resumes,
    pub(super) suspends: Suspends,
}

#[derive(Debug, Serialize)]
pub(super) struct Resumes {
    pub(super) answers: Tally,
    pub(super) demand_to_patch: Quantiles,
    pub(super) demand_to_up: Quantiles,
    pub(super) patches_per_second: f64,
    pub(super) pods_per_second: f64,
    pub(super) up_per_second: f64,
    /// Writes of Drowse that changed the Sandbox, for each resume.
    pub(super) writes_per_resume: f64,
    /// All PATCH requests for Sandboxes meanwhile, by status: those of the controller, too.
    pub(super) patch_requests: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Suspends {
    pub(super) answers: Tally,
    /// The admin API answers when the suspension is written.
    pub(super) demand_to_answer: Quantiles,
    pub(super) patches_per_second: f64,
    pub(super) patch_requests: BTreeMap<String, u64>,
}

/// What was seen of many agents, and when first.
#[derive(Debug, Default)]
struct Watched {
    patched: HashMap<String, Moment>,
    pods: HashMap<String, Moment>,
    /// Every writing of a resume changes this mark.
    writes: HashSet<(String, String)>,
    suspended: HashMap<String, Moment>,
}

impl Watched {
    fn see(&mut self, Sight { at, seen }: Sight) {
        match seen {
            Seen::Sandbox(SandboxSight { name, running, wanted_at, .. }) => {
                let first = if running { &mut self.patched } else { &mut self.suspended };
                first.entry(name.clone()).or_insert(at);
                if let (true, Some(mark)) = (running, wanted_at) {
                    self.writes.insert((name, mark));
                }
            }
            Seen::Pod(PodSight { name, gone: false, terminating: false, .. }) => {
                self.pods.entry(name).or_insert(at);
            }
            Seen::Pod(_) => {}
        }
    }
}

/// How many a second, over the time from the first to the last.
fn pace(moments: &HashMap<String, Moment>) -> f64 {
    let span = moments.values().max().zip(moments.values().min()).map(|(last, first)| last.since(*first));
    (moments.len().saturating_sub(1)) as f64 / span.unwrap_or_default().as_secs_f64().max(f64::EPSILON)
}

fn quantiles<'a>(pairs: impl Iterator<Item = (&'a Moment, &'a Moment)>) -> anyhow::Result<Quantiles> {
    let mut recorder = Recorder::new()?;
    for (from, to) in pairs {
        recorder.record(to.since(*from));
    }
    Ok(recorder.quantiles())
}

fn join<'a>(
    from: &'a HashMap<String, Moment>,
    to: &'a HashMap<String, Moment>,
) -> impl Iterator<Item = (&'a Moment, &'a Moment)> {
    from.iter().filter_map(|(name, from)| Some((from, to.get(name)?)))
}

impl Storm<'_> {
    pub(super) async fn run(mut self, rate: Option<u32>) -> anyhow::Result<Storms> {
        eprintln!("{} resumes and suspensions ...", self.names.len());
        let resumes =
            tokio::time::timeout(PATIENCE, self.resumes(rate)).await.context("resumes do not end")??;
        let suspends =
            tokio::time::timeout(PATIENCE, self.suspends()).await.context("suspensions do not end")??;
        Ok(Storms { rate, resumes, suspends })
    }

    async fn resumes(&mut self, rate: Option<u32>) -> anyhow::Result<Resumes> {
        let before = patch_requests(self.ground).await?;
        let count = self.names.len();
        let calls = ask_all(self.agents()?, self.clock, rate, Agent::to_resume);
        let up = until_phase(self.drowse, "Running", count);
        let (mut watched, mut done) = (Watched::default(), None);
        {
            let all = async { tokio::try_join!(calls, up) };
            let mut all = std::pin::pin!(all);
            while done.is_none() || watched.pods.len() < count || watched.patched.len() < count {
                tokio::select! {
                    ended = &mut all, if done.is_none() => done = Some(ended?),
                    sight = self.sights.recv() => watched.see(sight.context("nothing more is seen")??),
                }
            }
        }
        let (asked, ()) = done.context("no end")?;
        let ups = self.ups().await?;
        let writes = watched.writes.len() as f64;
        Ok(Resumes {
            answers: asked.answers,
            demand_to_patch: quantiles(join(&asked.begins, &watched.patched))?,
            demand_to_up: quantiles(join(&asked.begins, &ups))?,
            patches_per_second: pace(&watched.patched),
            pods_per_second: pace(&watched.pods),
            up_per_second: pace(&ups),
            writes_per_resume: writes / count as f64,
            patch_requests: difference(&before, &patch_requests(self.ground).await?),
        })
    }

    async fn suspends(&mut self) -> anyhow::Result<Suspends> {
        let before = patch_requests(self.ground).await?;
        let running = until_phase(self.drowse, "Running", 0);
        let calls = ask_all(self.agents()?, self.clock, None, Agent::to_suspend);
        let (mut watched, mut done) = (Watched::default(), None);
        {
            let all = async { tokio::try_join!(calls, running, until_phase(self.drowse, "Suspending", 0)) };
            let mut all = std::pin::pin!(all);
            while done.is_none() || watched.suspended.len() < self.names.len() {
                tokio::select! {
                    ended = &mut all, if done.is_none() => done = Some(ended?),
                    sight = self.sights.recv() => watched.see(sight.context("nothing more is seen")??),
                }
            }
        }
        let (asked, ..) = done.context("no end")?;
        // What is still to be told of these lives must not be taken for the next ones.
        until_phase(self.drowse, "Suspending", 0).await?;
        while let Ok(sight) = self.sights.try_recv() {
            sight?;
        }
        Ok(Suspends {
            demand_to_answer: quantiles(join(&asked.begins, &asked.answered))?,
            answers: asked.answers,
            patches_per_second: pace(&watched.suspended),
            patch_requests: difference(&before, &patch_requests(self.ground).await?),
        })
    }

    fn agents(&self) -> anyhow::Result<Vec<(String, Agent)>> {
        let agent = |name: &String| Ok((name.clone(), self.drowse.agent(&self.ground.namespace, name)?));
        self.names.iter().map(agent).collect()
    }

    /// Since when each is up, as Drowse says.
    async fn ups(&self) -> anyhow::Result<HashMap<String, Moment>> {
        let views = self.drowse.agents_in("Running").await?;
        let now = self.clock.now();
        let wall = self.clock.wall(now);
        let up = |view: &serde_json::Value| {
            let since: jiff::Timestamp = view["since"].as_str()?.parse().ok()?;
            let ago = Duration::try_from(wall.duration_since(since)).unwrap_or_default();
            Some((view["name"].as_str()?.to_owned(), now - ago))
        };
        Ok(views.as_array().into_iter().flatten().filter_map(up).collect())
    }
}

/// When each was asked for, and answered.
struct Asked {
    answers: Tally,
    begins: HashMap<String, Moment>,
    answered: HashMap<String, Moment>,
}

/// Asks for all of them, at this pace or as fast as the answers come.
async fn ask_all(
    agents: Vec<(String, Agent)>,
    clock: Clock,
    rate: Option<u32>,
    what: fn(&Agent) -> crate::client::Call,
) -> anyhow::Result<Asked> {
    let ticker = rate.map(|rate| Ticker::start(Duration::from_secs(1) / rate)).transpose()?;
    let ticker = ticker.as_ref();
    let due = futures_util::stream::iter(agents).then(async |agent| {
        if let Some(ticker) = ticker {
            ticker.ticks().await?;
        }
        anyhow::Ok(agent)
    });
    let calls = due.map_ok(async |(name, agent)| {
        let asked = clock.now();
        let end = what(&agent).once().await;
        Ok((name, asked, clock.now(), end))
    });
    let mut ends = std::pin::pin!(calls.try_buffer_unordered(CALLERS));
    let mut all = Asked { answers: Tally::default(), begins: HashMap::new(), answered: HashMap::new() };
    while let Some((name, asked, answered, end)) = ends.try_next().await? {
        all.answers.add(&end);
        all.begins.insert(name.clone(), asked);
        all.answered.insert(name, answered);
    }
    Ok(all)
}

/// Waits until so many agents are in this phase. Bounded by the caller.
async fn until_phase(drowse: &Drowse, phase: &str, count: usize) -> anyhow::Result<()> {
    let line = format!("drowse_agents{{phase=\"{phase}\"}} ");
    loop {
        let text = drowse.metrics().await?;
        let value = text.lines().find_map(|text| text.strip_prefix(&line)?.parse::<f64>().ok());
        let value = value.context("Drowse does not say how many agents are in which phase")?;
        ensure!(value.is_finite(), "an odd number of agents");
        if (value - count as f64).abs() < 0.5 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the API server has counted so far: PATCH requests for Sandboxes (not for their status), by status code.
async fn patch_requests(ground: &Ground) -> anyhow::Result<BTreeMap<String, u64>> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text =
        ground.client.request_text(request).await.context("failed to read the API server's metrics")?;
    Ok(count_patches(&text))
}

fn count_patches(metrics: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let wanted = ["resource=\"sandboxes\"", "subresource=\"\"", "verb=\"PATCH\""];
    for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let code = line.split("code=\"").nth(1).and_then(|rest| rest.split('"').next());
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        if let (true, Some(code), Some(value)) = (wanted.iter().all(|part| line.contains(part)), code, value)
        {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
            let value = value as u64;
            *counts.entry(code.to_owned()).or_default() += value;
        }
    }
    counts
}

fn difference(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = |(code, count): (&String, &u64)| {
        let more = count.saturating_sub(before.get(code).copied().unwrap_or_default());
        (more > 0).then(|| (code.clone(), more))
    };
    after.iter().filter_map(grown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_sandboxes_are_counted_by_status_and_others_are_not() {
        let line = |labels: &str, value: &str| format!("apiserver_request_total{{{labels}}} {value}\n");
        let text = line("code=\"200\",resource=\"sandboxes\",subresource=\"\",verb=\"PATCH\"", "7")
            + &line(
                "code=\"200\",resource=\"sandboxes\",scope=\"x\",subresource=\"\",verb=\"PATCH\"",
                "1e+01",
            )
            + &line("code=\"422\",resource=\"sandboxes\",subresource=\"\",verb=\"PATCH\"", "2")
            + &line("code=\"200\",resource=\"sandboxes\",subresource=\"status\",verb=\"PATCH\"", "9")
            + &line("code=\"200\",resource=\"pods\",subresource=\"\",verb=\"PATCH\"", "9");
        let after = count_patches(&text);
        assert_eq!(after, BTreeMap::from([("200".to_owned(), 17), ("422".to_owned(), 2)]));
        let before = BTreeMap::from([("200".to_owned(), 10), ("422".to_owned(), 2)]);
        assert_eq!(difference(&before, &after), BTreeMap::from([("200".to_owned(), 7)]));
    }

    #[test]
    fn every_write_of_a_resume_is_counted_once_and_the_first_sight_counts() {
        let mut watched = Watched::default();
        for (at, mark) in [(1, "a"), (2, "a"), (3, "b")] {
            let sandbox = SandboxSight {
                name: "x".into(),
                running: true,
                wanted_at: Some(mark.into()),
                ..SandboxSight::default()
            };
            watched.see(Sight { at: Moment::from_micros(at), seen: Seen::Sandbox(sandbox) });
        }
        assert_eq!((watched.writes.len(), watched.patched["x"]), (2, Moment::from_micros(1)));
    }

    #[test]
    fn a_pace_is_taken_between_the_first_and_the_last() {
        let at = |name: &str, secs: u64| (name.to_owned(), Moment::from_micros(secs * 1_000_000));
        let moments = HashMap::from([at("a", 10), at("b", 11), at("c", 12)]);
        assert!((pace(&moments) - 1.0).abs() < 1e-9);
    }
}
