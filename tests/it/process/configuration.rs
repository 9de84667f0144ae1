//! A configuration that changes while agents run.

use std::sync::Arc;
use std::time::Duration;

use drowse::backend::{Backend as _, Profile};
use drowse::lifecycle::{Mode, WriteError};

use super::world::{World, demo, greet, key, pid, shell};
use crate::support::{free_port, is_alive};

#[tokio::test]
async fn an_agent_that_is_added_appears_asleep_and_can_be_resumed() {
    let (one, two) = (demo("one", &[]), demo("two", &[]));
    let mut world = World::new(std::slice::from_ref(&one)).await;
    world.apply(&[one, two.clone()]);
    world.until("it appears", |world| world.known.contains_key(&key("two"))).await;
    assert_eq!(world.agent("two").mode, Mode::Suspended);
    world.resume_and_greet(&two).await;
}

#[tokio::test]
async fn an_agent_that_is_removed_is_stopped_and_gone_and_others_go_on() {
    let (one, two) = (demo("one", &[]), demo("two", &[]));
    let mut world = World::new(&[one.clone(), two.clone()]).await;
    let (first, second) = (world.resume_and_greet(&one).await, world.resume_and_greet(&two).await);
    let life = world.life("one");
    world.apply(std::slice::from_ref(&two));
    assert_eq!(world.backend.read(&key("one")).await, Err(WriteError::Gone));
    world
        .until("it is gone", |world| world.deleted.contains(&life.agent) && world.gone.contains(&life.pod))
        .await;
    assert!(!is_alive(pid(&first)));
    assert_eq!(pid(&greet(&two).await), pid(&second));
}

#[tokio::test]
async fn a_change_takes_effect_at_the_next_start_and_its_port_is_told_then() {
    let mut spec = demo("echo", &[]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let first = world.resume_and_greet(&spec).await;
    let (old, before) = (spec.clone(), world.agent("echo").clone());

    spec.port = free_port();
    spec.profile =
        Arc::new(Profile { labels: [("team", "blue")].into_iter().collect(), ..Profile::default() });
    world.apply(std::slice::from_ref(&spec));
    world.until("it is told", |world| world.agent("echo").revision > before.revision).await;
    let profile = &world.known[&key("echo")].profile;
    assert_eq!((profile.labels.get("team"), profile.port), (Some("blue"), Some(old.port)));
    assert_eq!(pid(&greet(&old).await), pid(&first), "it goes on as it was started");

    world.suspend("echo").await;
    world.resume_and_greet(&spec).await;
    assert_eq!(world.known[&key("echo")].profile.port, Some(spec.port));
}

#[tokio::test]
async fn the_same_configuration_again_changes_nothing() {
    let spec = demo("echo", &[]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    let first = world.resume_and_greet(&spec).await;
    let before = world.backend.read(&key("echo")).await.unwrap();
    world.apply(std::slice::from_ref(&spec));
    assert_eq!(world.backend.read(&key("echo")).await.unwrap(), before);
    assert_eq!(pid(&greet(&spec).await), pid(&first));
}

#[tokio::test]
async fn an_agent_that_comes_back_waits_for_its_predecessor_of_the_same_name() {
    let mut spec = shell("echo", "trap '' TERM; echo self $$; while :; do sleep 0.05; done");
    spec.stop_grace = Duration::from_millis(300);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume("echo").await;
    let life = world.life("echo");
    let process = world.logged_pid("echo", "self ").await;
    world.apply(&[]);
    world.apply(std::slice::from_ref(&spec));
    world
        .until("there is a new one", |world| {
            world.deleted.contains(&life.agent)
                && world.known.get(&key("echo")).is_some_and(|k| k.agent.uid != life.agent)
        })
        .await;
    world.write_resume("echo").await;
    world.until("it has a pod", |world| world.pod("echo").is_some_and(|pod| pod.uid != life.pod)).await;
    assert!(world.gone.contains(&life.pod) && !is_alive(process));
}
