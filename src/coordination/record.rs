//! Pure: what stands in the Lease. Its spec says who leads, as with every leader election; its annotations say who takes part.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use super::election::TERM;
use crate::agent::Revision;

/// How the annotation of each replica that takes part begins; its id follows. The value is the name of its pod, and the seconds after
/// which it fences itself.
const MEMBER: &str = "drowse.dev/replica-";

/// The name of one replica among the others: the uid of its pod. A process that is started anew in the same pod is the
/// same replica, since the one before it is certainly dead.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct ReplicaId(pub(super) Arc<str>);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who leads, and how often that was renewed. Two that are equal are the same renewal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Term {
    /// Nobody, after one that went in good order.
    pub(super) holder: Option<ReplicaId>,
    /// How long it holds without a renewal.
    pub(super) duration: Duration,
    /// The time that the holder wrote. Only whether it changes is of interest.
    pub(super) renewal: String,
}

/// The Lease as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// The precondition of a write.
    pub(super) version: String,
    pub(super) term: Term,
    pub(super) transitions: i32,
    /// Everybody who takes part.
    pub(super) members: BTreeMap<ReplicaId, Member>,
}

/// One that takes part, as it says itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Member {
    /// The name of its pod.
    pub(super) pod: String,
    /// How long after it saw the Lease last it fences itself. Replicas may be configured differently while they are replaced.
    pub(super) fence_after: Duration,
}

impl Member {
    /// If it does not say when, then late.
    fn read(text: &str) -> Self {
        let (pod, seconds) = text.split_once(' ').unwrap_or((text, ""));
        let fence_after = seconds.parse().map_or(Duration::MAX, Duration::from_secs);
        Self { pod: pod.to_owned(), fence_after }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pod, self.fence_after.as_secs())
    }
}

impl Record {
    /// When this was written, among all that is written to the cluster. An API server that keeps its Leases elsewhere has another
    /// order, and then this says nothing.
    pub(super) fn revision(&self) -> Revision {
        self.version.parse().map(Revision).unwrap_or_default()
    }

    pub(super) fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().and_then(|holder| holder.rsplit_once('_'));
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let annotations = lease.metadata.annotations.iter().flatten();
        Self {
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
            term: Term {
                holder: holder.map(|(_pod, uid)| ReplicaId(uid.into())),
                duration: seconds.map_or(TERM, Duration::from_secs),
                renewal: spec.renew_time.map(|time| json!(time).to_string()).unwrap_or_default(),
            },
            transitions: spec.lease_transitions.unwrap_or_default(),
            members: annotations
                .filter_map(|(key, member)| {
                    Some((ReplicaId(key.strip_prefix(MEMBER)?.into()), Member::read(member)))
                })
                .collect(),
        }
    }
}

/// This replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Me {
    pub(super) id: ReplicaId,
    pub(super) member: Member,
}

impl Me {
    /// The merge patch that makes this replica one of those that take part. It has no precondition: everybody writes an
    /// annotation of their own.
    pub(super) fn joins(&self) -> Value {
        json!({"metadata": {"annotations": {member(&self.id): self.member.to_string()}}})
    }

    /// The merge patch by which this replica leads from now on, if nobody has changed the Lease since it was read. Takes the
    /// dead out, too.
    pub(super) fn leads(&self, before: &Record, now: &str, dead: &[ReplicaId]) -> Value {
        let is_new = before.term.holder.as_ref() != Some(&self.id);
        let mut spec = json!({
            "holderIdentity": format!("{}_{}", self.member.pod, self.id),
            "leaseDurationSeconds": TERM.as_secs(),
            "renewTime": now,
        });
        if is_new {
            spec["acquireTime"] = json!(now);
            spec["leaseTransitions"] = json!(before.transitions.saturating_add(1));
        }
        let mut annotations = json!({member(&self.id): self.member.to_string()});
        for id in dead {
            annotations[member(id)] = Value::Null;
        }
        json!({"metadata": {"resourceVersion": before.version, "annotations": annotations}, "spec": spec})
    }

    /// The merge patch by which this replica leads no more, so that another may at once.
    pub(super) fn steps_down(before: &Record) -> Value {
        json!({
            "metadata": {"resourceVersion": before.version},
            "spec": {"holderIdentity": null, "leaseDurationSeconds": 1},
        })
    }

    /// The merge patch by which this replica takes part no more, and leads no more if it did.
    pub(super) fn leaves(&self, before: &Record) -> Value {
        let mut patch = json!({
            "metadata": {"resourceVersion": before.version, "annotations": {member(&self.id): null}},
        });
        if before.term.holder.as_ref() == Some(&self.id) {
            patch["spec"] = Self::steps_down(before)["spec"].take();
        }
        patch
    }
}

fn member(id: &ReplicaId) -> String {
    format!("{MEMBER}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(uid: &str, pod: &str) -> Me {
        let member = Member { pod: pod.into(), fence_after: Duration::from_secs(90) };
        Me { id: ReplicaId(uid.into()), member }
    }

    fn me() -> Me {
        replica("u-1", "drowse_x")
    }

    /// As the API server applies a merge patch (RFC 7396).
    fn patched(lease: &Lease, patch: &Value) -> Lease {
        let mut object = json!(lease);
        json_patch::merge(&mut object, patch);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn who_leads_and_who_takes_part_is_read_as_it_was_written() {
        let now = "2026-11-24T03:11:14.000000Z";
        let empty = Lease::default();
        let joined = patched(&empty, &me().joins());
        let record = Record::of(&joined);
        assert_eq!(record.members.into_iter().collect::<Vec<_>>(), [(me().id, me().member)]);
        assert_eq!(record.term.holder, None);

        let other = replica("u-2", "drowse-y");
        let both = patched(&joined, &other.joins());
        let led = patched(&both, &me().leads(&Record::of(&both), now, &[]));
        let record = Record::of(&led);
        assert_eq!((record.term.holder.clone(), record.transitions), (Some(me().id), 1));
        assert_eq!((record.term.duration, record.members.len()), (TERM, 2));

        let renewed = patched(&led, &me().leads(&record, "2026-11-24T03:11:16.000000Z", &[other.id]));
        let after = Record::of(&renewed);
        assert_eq!((after.transitions, after.members.len()), (1, 1), "the dead are taken out");
        assert_ne!(after.term, record.term, "a renewal is seen as one");

        let left = Record::of(&patched(&renewed, &me().leaves(&after)));
        assert_eq!((left.term.holder, left.members.len()), (None, 0));
    }

    #[test]
    fn one_that_does_not_say_when_it_fences_itself_is_waited_for() {
        for text in ["drowse-z", "drowse-z soon"] {
            assert_eq!(Member::read(text), Member { pod: "drowse-z".into(), fence_after: Duration::MAX });
        }
    }

    #[test]
    fn one_that_leaves_does_not_end_anothers_term() {
        let lease = patched(
            &Lease::default(),
            &me().leads(&Record::of(&Lease::default()), "2026-11-24T03:11:14.000000Z", &[]),
        );
        let other = replica("u-2", "drowse-y");
        let left = Record::of(&patched(&lease, &other.leaves(&Record::of(&lease))));
        assert_eq!(left.term.holder, Some(me().id));
    }
}
