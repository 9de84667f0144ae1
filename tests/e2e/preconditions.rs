//! Every write carries what it was decided on, and fails where that does not hold any more. Driven without the core,
//! because only so can a write be late.

use drowse::agent::{AgentKey, AgentUid, Generation, Life, PodUid, Revision};
use drowse::backend::Backend;
use drowse::backend::kubernetes::KubernetesBackend;
use drowse::lifecycle::{AgentSeen, Mode, SuspendedBy, WriteError};
use drowse::time::Clock;
use serde_json::json;

use crate::support::{Agent, World, eventually};

struct Stage {
    world: World,
    backend: KubernetesBackend,
    key: AgentKey,
}

impl Stage {
    /// A Sandbox that the world's own Drowse does not manage.
    async fn new(test: &str) -> Self {
        let world = World::with(test, "").await;
        let sandboxes = world.sandboxes();
        let agent = crate::support::world::from(Agent::new("echo").json());
        sandboxes.create(&crate::support::world::post(), &agent).await.unwrap();
        let backend =
            KubernetesBackend::new(world.client.clone(), vec![world.namespace.clone()], Clock::start());
        let key = AgentKey::new(world.namespace.as_str(), "echo");
        let stage = Self { world, backend, key };
        stage.settled().await;
        stage
    }

    async fn read(&self) -> AgentSeen {
        self.backend.read(&self.key).await.unwrap()
    }

    /// Waits until the controller has said all that it has to say.
    async fn settled(&self) -> AgentSeen {
        eventually("the controller is done", async || {
            let (seen, sandbox) = (self.read().await, self.world.sandbox("echo").await);
            let conditions = sandbox["status"]["conditions"].to_string();
            let done = match seen.mode {
                Mode::Running => conditions.contains("DependenciesReady"),
                Mode::Suspended => conditions.contains("PodTerminated"),
            };
            done && seen.observed == seen.generation
        })
        .await;
        self.read().await
    }

    async fn suspend(&self, seen: &AgentSeen) -> Result<AgentSeen, WriteError> {
        self.backend.suspend(&self.key, &seen.uid, seen.revision, SuspendedBy::Idle).await
    }

    async fn resume(&self, seen: &AgentSeen) -> Result<AgentSeen, WriteError> {
        self.backend.resume(&self.key, &seen.uid, seen.generation, seen.mode).await
    }
}

#[tokio::test]
async fn a_late_suspension_loses_against_a_persons_change() {
    let stage = Stage::new("m1").await;
    let old = stage.read().await;
    // Whatever it is: the mode, or only a label.
    stage.world.patch("echo", json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    assert_eq!(stage.suspend(&old).await, Err(WriteError::Conflict));
    assert_eq!(stage.world.mode("echo").await, "Running");
    let new = stage.read().await;
    let written = stage.suspend(&new).await.unwrap();
    assert_eq!((written.mode, written.suspended_by), (Mode::Suspended, SuspendedBy::Idle));
    assert!(written.revision > new.revision && written.generation > new.generation);
    assert_eq!(stage.suspend(&new).await, Err(WriteError::Conflict), "not twice");
}

#[tokio::test]
async fn a_late_resume_loses_against_a_persons_suspension() {
    let stage = Stage::new("m2").await;
    let asleep = stage.suspend(&stage.read().await).await.unwrap();
    // Resumed and suspended again by a person: the mode is the same, what it means is not.
    stage.world.person_sets("echo", "Running").await;
    stage.world.person_sets("echo", "Suspended").await;
    assert_eq!(stage.resume(&asleep).await, Err(WriteError::Conflict));
    let now = stage.read().await;
    assert_eq!((now.mode, now.suspended_by), (Mode::Suspended, SuspendedBy::Person));
}

#[tokio::test]
async fn what_the_controller_writes_does_not_stand_in_the_way_of_a_resume() {
    let stage = Stage::new("m3").await;
    let asleep = stage.suspend(&stage.read().await).await.unwrap();
    let later = stage.settled().await;
    assert!(later.revision > asleep.revision, "the controller has written");
    let written = stage.resume(&asleep).await.unwrap();
    assert_eq!(written.mode, Mode::Running);
    let annotations = stage.world.sandbox("echo").await["metadata"]["annotations"].clone();
    assert!(annotations["drowse.dev/wanted-at"].is_string(), "{annotations}");
    assert_eq!(annotations.get("drowse.dev/suspended-by"), None);
    assert_eq!(stage.resume(&asleep).await, Err(WriteError::Conflict), "not twice");
}

#[tokio::test]
async fn a_mark_changes_the_revision_and_nothing_else_and_fails_once_it_is_suspended() {
    let stage = Stage::new("m4").await;
    let running = stage.settled().await;
    // Without any annotation, and then with some.
    let first = stage.resume(&running).await.unwrap();
    let second = stage.resume(&running).await.unwrap();
    assert!(running.revision < first.revision && first.revision < second.revision);
    assert_eq!(AgentSeen { revision: running.revision, ..second.clone() }, running);
    assert_eq!(stage.suspend(&running).await, Err(WriteError::Conflict), "which is what the mark is for");
    stage.suspend(&second).await.unwrap();
    assert_eq!(stage.resume(&second).await, Err(WriteError::Conflict));
    assert_eq!(stage.world.mode("echo").await, "Suspended");
}

#[tokio::test]
async fn a_resume_of_what_a_person_suspended_finds_no_marks_and_makes_do() {
    let stage = Stage::new("m5").await;
    stage.world.person_sets("echo", "Suspended").await;
    let asleep = stage.read().await;
    assert_eq!(asleep.suspended_by, SuspendedBy::Person);
    assert_eq!(stage.resume(&asleep).await.unwrap().mode, Mode::Running);
    // And with annotations of somebody else's.
    stage.world.patch("echo", json!({"metadata": {"annotations": {"theirs": "x"}}})).await;
    stage.world.person_sets("echo", "Suspended").await;
    assert_eq!(stage.resume(&stage.read().await).await.unwrap().mode, Mode::Running);
    assert_eq!(stage.world.sandbox("echo").await["metadata"]["annotations"]["theirs"], "x");
}

#[tokio::test]
async fn nothing_is_written_to_a_successor_of_the_same_name() {
    let stage = Stage::new("m6").await;
    let seen = stage.read().await;
    let predecessor =
        AgentSeen { uid: AgentUid("00000000-0000-0000-0000-000000000000".into()), ..seen.clone() };
    assert_eq!(stage.suspend(&predecessor).await, Err(WriteError::Conflict));
    assert_eq!(stage.resume(&predecessor).await, Err(WriteError::Conflict));
    let nobody = AgentKey::new(stage.world.namespace.as_str(), "nobody");
    assert_eq!(stage.backend.read(&nobody).await, Err(WriteError::Gone));
    let gone = stage.backend.suspend(&nobody, &seen.uid, Revision(1), SuspendedBy::Idle).await;
    assert_eq!(gone, Err(WriteError::Gone));
    assert_eq!(
        stage.backend.resume(&nobody, &seen.uid, Generation(1), Mode::Suspended).await,
        Err(WriteError::Gone)
    );
    assert_eq!(stage.read().await.mode, Mode::Running);
}

#[tokio::test]
async fn a_pod_is_attested_by_uid_owner_address_and_that_it_stays() {
    let stage = Stage::new("ident").await;
    let mut events = stage.backend.watch();
    let seen = stage.settled().await;
    // The name of the pod comes from the watch.
    while !matches!(events.recv().await, Some(drowse::backend::BackendEvent::Synced)) {}
    let pod = stage.world.pods().get("echo").await.unwrap();
    let address = pod.status.unwrap().pod_ip.unwrap().parse().unwrap();
    let life = |agent: &str, pod: &str| Life { agent: AgentUid(agent.into()), pod: PodUid(pod.into()) };
    let (agent, uid) = (seen.uid.0.to_string(), pod.metadata.uid.unwrap());
    let attest = async |life: Life, ip: std::net::IpAddr| {
        stage.backend.attest(&stage.key, &life, std::net::SocketAddr::new(ip, 8080)).await
    };
    assert_eq!(attest(life(&agent, &uid), address).await, Ok(true));
    assert_eq!(attest(life(&agent, "other"), address).await, Ok(false), "another pod of that name");
    assert_eq!(attest(life("other", &uid), address).await, Ok(false), "somebody else's pod");
    assert_eq!(attest(life(&agent, &uid), "10.9.9.9".parse().unwrap()).await, Ok(false), "elsewhere");
    stage.world.delete_pod("echo", 20).await;
    assert_eq!(attest(life(&agent, &uid), address).await, Ok(false), "on its way out");
}
