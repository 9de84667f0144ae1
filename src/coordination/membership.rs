//! The one task that reads and writes the Lease: takes part, leads, takes out the dead, leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::Revision;
use crate::backend::kubernetes::OwnPod;
use crate::engine::{Engine, Other, Seen};
use crate::time::{Clock, Moment};

use super::Options;
use super::election::{Election, LOOK_EVERY, Step, leads_until};
use super::questions::Asker;
use super::record::{Me, Member, Record, ReplicaId};

/// The Lease's name. The permissions of `deploy/` are for this one alone.
pub(super) const NAME: &str = "drowse";
/// As other controllers do it, the field manager is the program's name.
const FIELD_MANAGER: &str = "drowse";
/// How soon it is tried again when somebody else was faster.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long one call may take.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How much longer than its own [`Options::fence_after`] a replica counts whose pod vanished without a trace of its end.
const MARGIN: Duration = Duration::from_mins(1);
/// The Lease is looked at every two seconds, and a look may take five: a few that fail are no reason.
const FENCE_NO_SOONER: Duration = Duration::from_mins(1);
/// How often the leader looks for the dead.
const LOOK_FOR_DEAD_EVERY: Duration = Duration::from_secs(5);
/// How long nobody leads by a new Lease, whoever made it: those that stood in one that was deleted write themselves into this.
const NEW_LEASE: Duration = Duration::from_secs(10);
/// How long the end may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// Why a round was not finished.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the API server did not answer within {CALL_LIMIT:?}")]
    Late,
    /// Somebody else wrote at the same time.
    #[error("somebody else changed the Lease at the same time")]
    Conflict,
    #[error("{0}")]
    Api(kube::Error),
}

/// What this replica is in the Lease.
pub(super) struct Membership {
    own_pod: String,
    leases: Api<Lease>,
    pods: Api<Pod>,
    asker: Arc<Asker>,
    engine: Arc<Engine>,
    clock: Clock,
    options: Options,
    me: watch::Sender<Option<Me>>,
    told: watch::Sender<bool>,
    leaving: CancellationToken,
    election: Option<Election>,
    /// When it was last seen in the Lease, by a read that was sent then.
    seen_at: Option<Moment>,
    /// It was away for too long, and routes to nobody whom it cannot make sure of.
    is_fenced: bool,
    /// Since when the Lease is seen that nobody has led yet.
    unled_since: Option<Moment>,
    /// Since when pods of members are missing.
    missing: BTreeMap<ReplicaId, Moment>,
    looked_for_dead: Option<Moment>,
    trouble: Option<String>,
    hindrance: Option<Arc<str>>,
}

impl Membership {
    pub(super) fn new(
        own: &OwnPod,
        client: Client,
        asker: Arc<Asker>,
        engine: Arc<Engine>,
        options: Options,
        (me, told): (watch::Sender<Option<Me>>, watch::Sender<bool>),
        leaving: CancellationToken,
    ) -> Self {
        let options = Options { fence_after: options.fence_after.max(FENCE_NO_SOONER), ..options };
        Self {
            own_pod: own.name.clone(),
            leases: Api::namespaced(client.clone(), &own.namespace),
            pods: Api::namespaced(client, &own.namespace),
            asker,
            clock: engine.clock(),
            engine,
            options,
            me,
            told,
            leaving,
            election: None,
            seen_at: None,
            is_fenced: false,
            unled_since: None,
            missing: BTreeMap::new(),
            looked_for_dead: None,
            trouble: None,
            hindrance: None,
        }
    }

    pub(super) async fn run(mut self) {
        let leaving = self.leaving.clone();
        while !leaving.is_cancelled() {
            let pause = match self.round().await {
                Ok(()) => {
                    if self.trouble.take().is_some() {
                        tracing::info!("the Lease {NAME} can be read and written again");
                    }
                    LOOK_EVERY
                }
                Err(Trouble::Conflict) => AGAIN_AFTER,
                Err(trouble) => {
                    self.tell(&trouble);
                    LOOK_EVERY
                }
            };
            self.fence_if_away();
            self.engine.note_whether_leads();
            tokio::select! {
                () = leaving.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Whoever is not told that this one has gone finds out by its pod.
        let _told = tokio::time::timeout(LEAVE_WITHIN, self.leave()).await;
    }

    async fn round(&mut self) -> Result<(), Trouble> {
        let me = self.identity().await?;
        let sent = self.clock.now();
        let mut record = match self.read().await? {
            Some(record) => record,
            None => self.make(&me).await?,
        };
        if record.members.get(&me.id) != Some(&me.member) {
            let was_in = self.seen_at.is_some();
            if was_in {
                tracing::warn!(
                    "this replica does not stand in the Lease any more: the others have counted it out, or somebody has deleted the \
                     Lease; it takes part anew"
                );
                // Before it counts again: who came meanwhile was not asked.
                self.engine.fence_all(Revision::default());
            }
            record = self.patch(&me.joins()).await?;
            if was_in {
                // What the watches have told meanwhile, or will tell yet, may be older than this.
                self.engine.fence_all(record.revision());
            }
        }
        self.seen_at = Some(sent);
        self.is_fenced = false;
        self.engine.set_takes_part();
        self.told.send_replace(true);
        self.lead(&me, &record).await?;
        let leader = record.term.holder.as_ref().filter(|holder| **holder != me.id);
        let leader =
            leader.map(|id| record.members.get(id).map_or_else(|| id.to_string(), |it| it.pod.clone()));
        let others = record.members.iter().filter(|(id, _)| **id != me.id);
        let others = others.map(|(id, it)| Other { id: Arc::clone(&id.0), pod: it.pod.as_str().into() });
        let others: Arc<[_]> = others.collect();
        let hindrance = self.asker.hindrance(&others).await;
        if hindrance != self.hindrance {
            match &hindrance {
                Some(why) => tracing::warn!(others = others.len(), "nobody is suspended: {why}"),
                None => tracing::info!(
                    others = others.len(),
                    "all other replicas can be asked again; who is idle is suspended"
                ),
            }
            self.hindrance.clone_from(&hindrance);
        }
        self.engine.note_replicas(Seen { leader: leader.map(Into::into), hindrance, others });
        Ok(())
    }

    async fn lead(&mut self, me: &Me, record: &Record) -> Result<(), Trouble> {
        let (now, sent) = (self.clock.now(), self.clock.now());
        let election = self.election.get_or_insert_with(|| Election::new(me.id.clone()));
        let step = election.look(record, now);
        let ending = self.engine.is_ending();
        if ending && step == Step::Renew {
            self.patch(&Me::steps_down(record)).await?;
        }
        if ending || !self.options.candidate || step == Step::Follow {
            self.engine.set_leads_until(Moment::START);
            return Ok(());
        }
        if record.transitions > 0 {
            self.unled_since = None;
        } else if now < *self.unled_since.get_or_insert(now) + NEW_LEASE {
            // Also for who led by the one before, which somebody has deleted: not all whom it asked stand in this one.
            self.engine.set_leads_until(Moment::START);
            return Ok(());
        }
        let dead = if step == Step::Renew { self.dead(me, record).await? } else { Vec::new() };
        let calendar = format!("{:.6}", Clock::calendar());
        let renewed = self.patch(&me.leads(record, &calendar, &dead)).await?;
        self.election.iter_mut().for_each(|election| {
            election.look(&renewed, now);
        });
        for id in &dead {
            self.missing.remove(id);
            let replica = record.members.get(id).map(|it| &*it.pod);
            tracing::info!(replica, "a replica that is gone counts no more");
        }
        self.engine.set_leads_until(leads_until(sent));
        Ok(())
    }

    /// Members that are certainly dead, or cannot route to anybody any more.
    async fn dead(&mut self, me: &Me, record: &Record) -> Result<Vec<ReplicaId>, Trouble> {
        let now = self.clock.now();
        let looked = self.looked_for_dead.is_some_and(|at| now < at + LOOK_FOR_DEAD_EVERY);
        if looked || record.members.keys().all(|id| *id == me.id) {
            return Ok(Vec::new());
        }
        self.looked_for_dead = Some(now);
        let pods = bounded(self.pods.list(&ListParams::default())).await?;
        let pods: BTreeMap<_, _> = pods.iter().map(|pod| (pod.uid().unwrap_or_default(), pod)).collect();
        let mut dead = Vec::new();
        let mut missing = BTreeMap::new();
        for (id, member) in record.members.iter().filter(|(id, _)| **id != me.id) {
            match pods.get(&*id.0) {
                Some(pod) if has_ended(pod) => dead.push(id.clone()),
                Some(_) => {}
                None => {
                    let since = self.missing.get(id).copied().unwrap_or(now);
                    if now >= since + member.fence_after + MARGIN {
                        dead.push(id.clone());
                    }
                    missing.insert(id.clone(), since);
                }
            }
        }
        self.missing = missing;
        Ok(dead)
    }

    /// This replica, by the uid of its pod.
    async fn identity(&self) -> Result<Me, Trouble> {
        if let Some(me) = self.me.borrow().clone() {
            return Ok(me);
        }
        let pod = bounded(self.pods.get_metadata(&self.own_pod)).await?;
        // It is written in whole seconds, and compared with what was written.
        let fence_after = Duration::from_secs(self.options.fence_after.as_secs());
        let member = Member { pod: self.own_pod.clone(), fence_after };
        let me = Me { id: ReplicaId(pod.uid().unwrap_or_default().into()), member };
        self.me.send_replace(Some(me.clone()));
        Ok(me)
    }

    async fn read(&self) -> Result<Option<Record>, Trouble> {
        read(&self.leases).await
    }

    async fn make(&self, me: &Me) -> Result<Record, Trouble> {
        let mut lease = Lease::default();
        lease.metadata.name = Some(NAME.to_owned());
        let mut object = serde_json::json!(lease);
        json_patch::merge(&mut object, &me.joins());
        let lease = serde_json::from_value(object).unwrap_or_default();
        let made = bounded(self.leases.create(&PostParams::default(), &lease)).await?;
        Ok(Record::of(&made))
    }

    async fn patch(&self, patch: &Value) -> Result<Record, Trouble> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        Ok(Record::of(&bounded(self.leases.patch(NAME, &params, &Patch::Merge(patch))).await?))
    }

    /// Away for so long that the others may count it out before it is back.
    fn fence_if_away(&mut self) {
        let now = self.clock.now();
        let away = self.seen_at.is_some_and(|seen| now > seen + self.options.fence_after);
        if away && !std::mem::replace(&mut self.is_fenced, true) {
            tracing::warn!(
                after = ?self.options.fence_after,
                "the API server could not be reached for so long that nothing is routed to agents that cannot be made sure of"
            );
            self.engine.fence_all(Revision::default());
        }
    }

    async fn leave(&mut self) {
        self.engine.set_leads_until(Moment::START);
        let Some(me) = self.me.borrow().clone() else { return };
        loop {
            let Ok(Some(record)) = self.read().await else { return };
            match self.patch(&me.leaves(&record)).await {
                Err(Trouble::Conflict) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Once for each kind of trouble.
    fn tell(&mut self, trouble: &Trouble) {
        let text = trouble.to_string();
        if self.trouble.as_ref() == Some(&text) {
            return;
        }
        let what = if self.seen_at.is_some() {
            "failed to renew this replica's place among the others"
        } else {
            "failed to take a place among the replicas; until that is done, no agent is known"
        };
        let advice = if text.contains("forbidden") {
            "; grant get, create and patch of leases, and get and list of pods, in this namespace (deploy/kustomize/base/role.yaml)"
        } else {
            ""
        };
        tracing::error!(lease = NAME, "{what}: {text}{advice}");
        self.trouble = Some(text);
    }
}

/// The Lease, read past every cache.
pub(super) async fn read(leases: &Api<Lease>) -> Result<Option<Record>, Trouble> {
    Ok(bounded(leases.get_opt(NAME)).await?.map(|lease| Record::of(&lease)))
}

async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Err(_) => Err(Trouble::Late),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Trouble::Conflict),
        Ok(result) => result.map_err(Trouble::Api),
    }
}

/// A pod whose processes have all ended, for good.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
