//! A replica among others: it asks before it suspends, and says what it knows when it is asked. The others are played.

use std::sync::Arc;
use std::time::Duration;

use drowse::agent::{AgentKey, AgentUid, Revision};
use drowse::engine::{Peers, Seen, Word};
use drowse::lifecycle::{DrainQuestion, PhaseName};
use drowse::policy::Policy;
use drowse::time::Moment;
use parking_lot::Mutex;

use super::world::{Start, Toy, World, key, until};

const HOST: &str = "echo.default.agents.localhost";
const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
const IDLE: Duration = Duration::from_millis(300);

/// What was asked, to be answered by the test.
#[derive(Default)]
struct Asked(Mutex<Vec<(AgentUid, Revision)>>);

impl Peers for Asked {
    fn ask(&self, agent: &AgentKey, question: DrainQuestion) {
        assert_eq!(*agent, key());
        self.0.lock().push((question.uid, question.revision));
    }
}

/// What a leader asks that found the agent idle.
fn idle(uid: AgentUid, revision: Revision) -> DrainQuestion {
    DrainQuestion { uid, revision, ordered: false }
}

impl Asked {
    fn take(&self) -> Option<(AgentUid, Revision)> {
        self.0.lock().pop()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// A world with an agent that slept when this replica started, and is up since; one that takes part, and leads or does not.
async fn world(leads: bool, toy: u16) -> (World, Arc<Asked>) {
    let policy = Policy {
        route: true,
        manage: true,
        idle_timeout: IDLE,
        min_running: Duration::ZERO,
        ..Policy::default()
    };
    let world = World::start(toy, Start { policy, asleep: true, ..Start::default() }).await;
    let asked = Arc::new(Asked::default());
    world.engine.set_peers(Arc::clone(&asked) as _);
    world.engine.set_takes_part();
    if leads {
        world.engine.set_leads_until(Moment::from_micros(u64::MAX));
    }
    get(&world).await;
    (world, asked)
}

async fn get(world: &World) {
    let answer = world.ask(&format!("GET / HTTP/1.1\nHost: {HOST}\nConnection: close\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
}

async fn was_asked(asked: &Asked) -> (AgentUid, Revision) {
    until(|| !asked.is_empty()).await;
    asked.take().unwrap()
}

#[tokio::test]
async fn an_idle_agent_is_suspended_when_all_have_agreed_and_not_before() {
    let (world, asked) = world(true, Toy::answering(OK).await).await;
    let (_, revision) = was_asked(&asked).await;
    assert_eq!(world.view().phase, PhaseName::Draining);
    world.engine.peers_said(&key(), revision, Word::Agreed);
    until(|| world.view().phase == PhaseName::Suspended).await;
}

#[tokio::test]
async fn a_no_that_says_when_it_was_active_elsewhere_is_asked_again_when_that_is_over() {
    let (world, asked) = world(true, Toy::answering(OK).await).await;
    let (_, revision) = was_asked(&asked).await;
    world.engine.peers_said(&key(), revision, Word::Vetoed { active_ago: Some(Duration::ZERO) });
    until(|| world.view().phase == PhaseName::Running).await;
    let detail = world.engine.detail(&key()).unwrap();
    assert!(detail.signals.iter().any(|signal| signal.source == "elsewhere"), "{:?}", detail.signals);
    assert!(asked.is_empty());
    let (_, revision) = was_asked(&asked).await;
    world.engine.peers_said(&key(), revision, Word::Agreed);
    until(|| world.view().phase == PhaseName::Suspended).await;
}

#[tokio::test]
async fn who_does_not_lead_asks_nobody_unless_an_operator_orders_it() {
    let (world, asked) = world(false, Toy::answering(OK).await).await;
    until(|| world.view().reason == "idle").await;
    assert!(asked.is_empty());
    let (engine, echo) = (Arc::clone(&world.engine), key());
    let ordered = tokio::spawn(async move { engine.suspend(&echo, false).await });
    let (_, revision) = was_asked(&asked).await;
    world.engine.peers_said(&key(), revision, Word::Agreed);
    ordered.await.unwrap().unwrap();
    assert_eq!(world.view().phase, PhaseName::Suspended);
}

#[tokio::test]
async fn while_the_others_cannot_be_asked_nobody_is_and_operators_are_told_why() {
    let (world, asked) = world(true, Toy::answering(OK).await).await;
    let hindrance = Some("there are others, and no way to ask them".into());
    world.engine.note_replicas(Seen { hindrance, ..Seen::default() });
    if let Some((_, revision)) = asked.take() {
        world.engine.peers_said(&key(), revision, Word::Vetoed { active_ago: None });
    }
    until(|| world.view().reason == "up; there are others, and no way to ask them").await;
    let refused = world.engine.suspend(&key(), false).await.unwrap_err().to_string();
    assert!(refused.contains("no way to ask them"), "{refused}");
    assert!(asked.is_empty());
    world.engine.note_replicas(Seen::default());
    world.engine.activity_changed(&world.engine.slot(&key()).unwrap());
    was_asked(&asked).await;
}

#[tokio::test]
async fn who_is_asked_says_no_while_a_request_is_in_flight_or_lately_was_and_then_closes() {
    let mut toy = Toy::new().await;
    let port = toy.port;
    let waking = tokio::spawn(async move { world(false, port).await });
    let mut played = toy.accept().await;
    played.head().await;
    played.caller.send(OK).await;
    let (world, _asked) = waking.await.unwrap();
    let slot = world.engine.slot(&key()).unwrap();
    let uid = slot.uid().unwrap();
    let at = |revision| world.engine.asked_by_peer(&key(), idle(uid.clone(), revision));
    let revision = || {
        let said = (1..100).map(Revision).find(|revision| at(*revision) == Word::Agreed);
        said.expect("it agrees at the revision that it knows")
    };

    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).await;
    played.head().await;
    assert_eq!(at(Revision(1)), Word::Vetoed { active_ago: Some(Duration::ZERO) }, "in flight");
    played.caller.send(OK).await;
    caller.read_until("ok").await;
    assert!(matches!(at(Revision(1)), Word::Vetoed { active_ago: Some(ago) } if ago < IDLE), "lately");

    until(|| world.view().reason == "idle").await;
    assert!(matches!(at(Revision(1)), Word::Vetoed { .. }), "of a revision that is not the one known");
    let agreed = revision();
    assert_eq!(world.view().phase, PhaseName::Draining, "closed");
    assert_eq!(at(agreed), Word::Agreed, "asked twice");

    // Whoever comes makes the suspension fail, and goes on.
    let before = world.backend.resumes();
    let call = tokio::spawn(async move {
        get(&world).await;
        world
    });
    // The life is the same, and so is its connection.
    played.head().await;
    played.caller.send(OK).await;
    assert_eq!(call.await.unwrap().backend.resumes(), before + 1);
}

#[tokio::test]
async fn a_stranger_is_not_suspended_on_the_word_of_who_does_not_know_it() {
    let (world, _asked) = world(false, Toy::answering(OK).await).await;
    let said = world
        .engine
        .asked_by_peer(&"default/other".parse().unwrap(), idle(AgentUid("x".into()), Revision(1)));
    assert_eq!(said, Word::Vetoed { active_ago: None });
}

#[tokio::test]
async fn who_was_counted_out_routes_nothing_until_the_object_has_changed() {
    let (world, _asked) = world(false, Toy::answering(OK).await).await;
    let before = world.backend.resumes();
    world.engine.fence_all(Revision::default());
    assert!(world.view().reason.contains("makes sure"), "{}", world.view().reason);
    get(&world).await;
    assert_eq!(world.backend.resumes(), before + 1, "the mark");
    get(&world).await;
    assert_eq!(world.backend.resumes(), before + 1);
}
