//! People suspend and resume too. What they want wins, and is told from what Drowse did.

use crate::support::{Agent, World, eventually};

#[tokio::test]
async fn what_a_person_suspended_stays_asleep_until_a_person_resumes_it() {
    let world = World::new("n", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    world.person_sets("echo", "Suspended").await;
    world.wait_until_asleep("echo").await;
    let answer = world.get("echo", "/").await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("drowse resume"), "{}", answer.text());
    assert!(world.reason("echo").await.contains("suspended by a person"));
    world.person_sets("echo", "Running").await;
    world.wait_for_phase("echo", "Running").await;
    assert_eq!(world.get("echo", "/").await.status, 200);
}

#[tokio::test]
async fn our_mark_from_before_does_not_make_a_persons_suspension_ours() {
    let world = World::new("n2", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;
    assert_eq!(world.reason("echo").await, "suspended by Drowse; the next call resumes it");
    // Without us: the mark stays where it is.
    world.person_sets("echo", "Running").await;
    world.wait_for_phase("echo", "Running").await;
    world.person_sets("echo", "Suspended").await;
    world.wait_until_asleep("echo").await;
    assert_eq!(world.sandbox("echo").await["metadata"]["annotations"]["drowse.dev/suspended-by"], "idle");
    assert_eq!(world.get("echo", "/").await.status, 409);
}

#[tokio::test]
async fn a_person_who_suspends_a_busy_agent_gets_what_they_want() {
    let world = World::new("n3", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    let call = world.get("echo", "/slow?for=30s");
    tokio::pin!(call);
    eventually("it is in flight", async || {
        assert!(futures_util::poll!(&mut call).is_pending());
        world.drowse.agent(&world.namespace, "echo").await["inFlight"] == 1
    })
    .await;
    world.person_sets("echo", "Suspended").await;
    world.wait_for_phase("echo", "Suspended").await;
    assert_eq!(world.mode("echo").await, "Suspended", "nobody has undone it");
}

#[tokio::test]
async fn a_rule_may_let_traffic_resume_what_a_person_suspended() {
    let world = World::new("n4", "idle_timeout: 10m\nmin_running: 0s\nresume_user_suspended: true").await;
    world.create(&Agent::new("echo")).await;
    world.person_sets("echo", "Suspended").await;
    world.wait_until_asleep("echo").await;
    let answer = world.get("echo", "/").await;
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"), "{}", answer.text());
}

#[tokio::test]
async fn suspend_with_stay_is_a_persons_word_and_resume_takes_it_back() {
    let world = World::new("stay", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    let name = format!("{}/echo", world.namespace);
    let (text, code) = world.drowse.command(&["suspend", "--stay", &name]).await;
    assert_eq!(code, 0, "{text}");
    world.wait_until_asleep("echo").await;
    assert_eq!(world.get("echo", "/").await.status, 409);
    let (text, code) = world.drowse.command(&["resume", &name]).await;
    assert_eq!(code, 0, "{text}");
    world.wait_for_phase("echo", "Running").await;
    assert_eq!(world.get("echo", "/").await.status, 200);
}
