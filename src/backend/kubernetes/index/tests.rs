//! What the core is told, whatever the order in which the watches speak.

use super::*;
use crate::agent::{Generation, PodUid};
use crate::lifecycle::{Mode, PodState, SuspendedBy};

/// Sandboxes, pods, claims.
const SANDBOXES: Source = 0;
const PODS: Source = 1;
const CLAIMS: Source = 2;

struct Bench {
    index: Index,
    listing: Listing,
}

impl Bench {
    fn new() -> Self {
        Self { index: Index::new(3), listing: 1 }
    }

    fn tell(&mut self, source: Source, report: Report) -> Vec<String> {
        let mut out = Vec::new();
        self.index.apply(Origin { source, listing: self.listing }, report, &mut out);
        out.iter().map(shown).collect()
    }

    fn sandbox(&mut self, facts: SandboxFacts) -> Vec<String> {
        self.tell(SANDBOXES, Report::Seen(Object::Sandbox(facts)))
    }

    fn pod(&mut self, facts: PodFacts) -> Vec<String> {
        self.tell(PODS, Report::Seen(Object::Pod(facts)))
    }
}

fn shown(event: &BackendEvent) -> String {
    let hands_off = |profile: &Profile| {
        profile.hands_off.as_deref().map_or("", |it| match it {
            HandsOff::NoLabel => " (no label)",
            HandsOff::PoolMember => " (pool)",
            HandsOff::ClaimExpires { .. } => " (claim expires)",
        })
    };
    match event {
        BackendEvent::Agent { key, seen, profile } => {
            format!("agent {} {} at {}{}", key.name(), seen.uid.0, seen.revision.0, hands_off(profile))
        }
        BackendEvent::Profile { key, profile } => format!("profile of {}{}", key.name(), hands_off(profile)),
        BackendEvent::AgentGone { key, uid } => format!("agent {} {} gone", key.name(), uid.0),
        BackendEvent::Pod { key, seen } => {
            format!("pod {} of {} at {}", seen.uid.0, key.name(), seen.revision.0)
        }
        BackendEvent::PodGone { key, pod, revision } => {
            format!("pod {} of {} gone at {}", pod.0, key.name(), revision.0)
        }
        BackendEvent::Synced => "synced".to_owned(),
        BackendEvent::Stale => "stale".to_owned(),
    }
}

fn key(name: &str) -> AgentKey {
    AgentKey::new("default", name)
}

fn sandbox(name: &str, uid: &str, revision: u64) -> SandboxFacts {
    SandboxFacts {
        key: key(name),
        seen: AgentSeen {
            uid: AgentUid(uid.into()),
            revision: Revision(revision),
            generation: Generation(1),
            observed: Generation(1),
            mode: Mode::Running,
            suspended_by: SuspendedBy::Idle,
            trouble: None,
        },
        profile: Profile::default(),
        claim: None,
        unclaimed: false,
        deleting: false,
    }
}

fn pod(agent: &str, name: &str, uid: &str, revision: u64) -> PodFacts {
    PodFacts {
        key: key(agent),
        name: name.into(),
        seen: PodSeen {
            uid: PodUid(uid.into()),
            owner: AgentUid("u1".into()),
            revision: Revision(revision),
            terminating: false,
            state: PodState::Starting,
            ready: false,
            hindrance: None,
            readiness: None,
        },
    }
}

fn trap(claim: &str, ttl_seconds: u32) -> Object {
    Object::Claim(key(claim), Some(HandsOff::ClaimExpires { claim: claim.into(), ttl_seconds }))
}

#[test]
fn a_pod_that_is_told_before_its_agent_is_told_again_after_it() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.pod(pod("a", "a", "p1", 5)),
        ["pod p1 of a at 5"],
        "which the engine does not know what to do with"
    );
    assert_eq!(bench.sandbox(sandbox("a", "u1", 3)), ["agent a u1 at 3", "pod p1 of a at 5"]);
    assert_eq!(bench.sandbox(sandbox("a", "u1", 6)), ["agent a u1 at 6"]);
}

#[test]
fn one_that_was_deleted_and_made_again_unseen_is_another() {
    let mut bench = Bench::new();
    bench.sandbox(sandbox("a", "u1", 3));
    assert_eq!(bench.sandbox(sandbox("a", "u2", 9)), ["agent a u1 gone", "agent a u2 at 9"]);
}

#[test]
fn one_that_is_being_deleted_is_gone_and_stays_so() {
    let mut bench = Bench::new();
    bench.sandbox(sandbox("a", "u1", 3));
    let deleting = SandboxFacts { deleting: true, ..sandbox("a", "u1", 4) };
    assert_eq!(bench.sandbox(deleting.clone()), ["agent a u1 gone"]);
    assert_eq!(bench.sandbox(deleting), [""; 0]);
    assert_eq!(bench.tell(SANDBOXES, Report::Gone(Object::Sandbox(sandbox("a", "u1", 5)))), [""; 0]);
}

#[test]
fn what_a_new_listing_does_not_have_is_gone() {
    let mut bench = Bench::new();
    for name in ["a", "b"] {
        bench.sandbox(sandbox(name, "u1", 3));
        bench.pod(pod(name, name, name, 4));
    }
    bench.listing = 2;
    bench.sandbox(sandbox("b", "u1", 3));
    assert_eq!(bench.tell(SANDBOXES, Report::Listed(Revision(20))), ["agent a u1 gone"]);
    bench.pod(pod("a", "a", "a", 4));
    assert_eq!(
        bench.tell(PODS, Report::Listed(Revision(20))),
        ["pod b of b gone at 20"],
        "each watch is about its own kind"
    );
}

#[test]
fn the_end_of_a_pod_that_another_has_followed_is_old_news() {
    let mut bench = Bench::new();
    bench.sandbox(sandbox("a", "u1", 3));
    bench.pod(pod("a", "a", "p1", 4));
    bench.pod(pod("a", "a", "p2", 6));
    assert_eq!(bench.tell(PODS, Report::Gone(Object::Pod(pod("a", "a", "p1", 5)))), [""; 0]);
    assert_eq!(
        bench.tell(PODS, Report::Gone(Object::Pod(pod("a", "a", "p2", 8)))),
        ["pod p2 of a gone at 8"]
    );
}

#[test]
fn a_pod_that_changes_hands_is_gone_for_the_agent_that_had_it() {
    let stray = |revision| Object::Stray(PodUid("p1".into()), Revision(revision));
    let mut bench = Bench::new();
    bench.sandbox(sandbox("a", "u1", 1));
    bench.sandbox(sandbox("b", "u2", 2));
    bench.pod(pod("a", "a", "p1", 4));
    assert_eq!(bench.tell(PODS, Report::Seen(stray(5))), ["pod p1 of a gone at 5"]);
    assert_eq!(bench.tell(PODS, Report::Seen(stray(6))), [""; 0], "it is nobody's");
    assert_eq!(bench.index.pod_name(&key("a")), None);
    assert_eq!(bench.pod(pod("a", "a", "p1", 7)), ["pod p1 of a at 7"], "and may be given back");
    assert_eq!(bench.pod(pod("b", "a", "p1", 8)), ["pod p1 of a gone at 8", "pod p1 of b at 8"]);
    assert_eq!(bench.tell(PODS, Report::Gone(stray(9))), ["pod p1 of b gone at 9"]);
}

#[test]
fn a_second_pod_with_another_name_is_left_alone() {
    let mut bench = Bench::new();
    bench.sandbox(sandbox("a", "u1", 3));
    bench.pod(pod("a", "a", "p1", 4));
    assert_eq!(bench.pod(pod("a", "intruder", "p2", 5)), [""; 0]);
    assert_eq!(bench.index.pod_name(&key("a")).as_deref(), Some("a"));
}

#[test]
fn a_claim_that_expires_keeps_hands_off_whatever_is_told_first() {
    let claimed = SandboxFacts { claim: Some("c".into()), ..sandbox("a", "u1", 3) };
    let mut bench = Bench::new();
    assert_eq!(bench.tell(CLAIMS, Report::Seen(trap("c", 5))), [""; 0]);
    assert_eq!(bench.sandbox(claimed.clone()), ["agent a u1 at 3 (claim expires)"]);
    assert_eq!(bench.tell(CLAIMS, Report::Seen(trap("c", 5))), [""; 0], "nothing new");
    assert_eq!(bench.tell(CLAIMS, Report::Seen(Object::Claim(key("c"), None))), ["profile of a"]);

    let mut bench = Bench::new();
    assert_eq!(bench.sandbox(claimed), ["agent a u1 at 3"]);
    assert_eq!(bench.tell(CLAIMS, Report::Seen(trap("other", 5))), [""; 0]);
    assert_eq!(bench.tell(CLAIMS, Report::Seen(trap("c", 5))), ["profile of a (claim expires)"]);
    bench.listing = 2;
    assert_eq!(bench.tell(CLAIMS, Report::Listed(Revision(9))), ["profile of a"]);
}

#[test]
fn agents_of_one_namespace_share_its_name() {
    let mut bench = Bench::new();
    let mut out = Vec::new();
    for (namespace, name, revision) in [("n", "a", 3), ("n", "b", 3), ("m", "a", 3), ("n", "b", 4)] {
        let facts = SandboxFacts { key: AgentKey::new(namespace, name), ..sandbox("x", "u1", revision) };
        let origin = Origin { source: SANDBOXES, listing: 1 };
        bench.index.apply(origin, Report::Seen(Object::Sandbox(facts)), &mut out);
    }
    let keys: Vec<_> = out
        .iter()
        .filter_map(|it| if let BackendEvent::Agent { key, .. } = it { Some(key) } else { None })
        .collect();
    let shown: Vec<_> = keys.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["n/a", "n/b", "m/a", "n/b"]);
    assert!(std::ptr::eq(keys[0].namespace(), keys[1].namespace()));
    assert!(std::ptr::eq(keys[1].namespace(), keys[3].namespace()), "it has changed, and keeps its name");
}

#[test]
fn a_member_of_a_pool_is_nobodys_until_it_is_claimed() {
    let mut bench = Bench::new();
    let member = SandboxFacts { unclaimed: true, ..sandbox("a", "u1", 3) };
    assert_eq!(bench.sandbox(member), ["agent a u1 at 3 (pool)"]);
    assert_eq!(bench.sandbox(sandbox("a", "u1", 4)), ["agent a u1 at 4"]);
}

#[test]
fn all_is_known_when_every_watch_stands_and_not_when_one_is_broken() {
    let mut bench = Bench::new();
    assert_eq!(bench.tell(SANDBOXES, Report::Live), [""; 0]);
    assert_eq!(bench.tell(PODS, Report::Live), [""; 0]);
    assert_eq!(bench.tell(CLAIMS, Report::Live), ["synced"]);
    assert_eq!(bench.tell(PODS, Report::Live), [""; 0], "it began anew after its time");
    assert_eq!(bench.tell(PODS, Report::Broken), ["stale"]);
    assert_eq!(bench.tell(SANDBOXES, Report::Broken), [""; 0]);
    assert_eq!(bench.tell(PODS, Report::Live), [""; 0]);
    assert_eq!(bench.tell(SANDBOXES, Report::Live), ["synced"]);
}
