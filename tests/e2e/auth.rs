//! Whom the front door lets in, as the real API server says.

use crate::support::{Agent, World};

#[tokio::test]
async fn with_token_review_only_a_token_of_the_cluster_wakes_an_agent() {
    let mut world = World::new("auth", "idle_timeout: 1h").await;
    world.allow_token_reviews().await;
    let token = world.token_of("caller").await;
    world.create(&Agent::new("echo")).await;
    world.drowse.restart_with("auth: none", "auth: token_review").await;
    world.wait_for_phase("echo", "Running").await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;

    let nobody = world.get("echo", "/").await;
    assert_eq!(nobody.status, 401, "{}", nobody.text());
    assert!(nobody.header("www-authenticate").starts_with("Bearer"), "{:?}", nobody.headers);
    let (head, _signature) = token.rsplit_once('.').expect("a JWT");
    let forged = world.get_as("echo", "/", &format!("{head}.bm90IHNpZ25lZA")).await;
    assert_eq!(forged.status, 401, "{}", forged.text());
    assert_eq!(world.mode("echo").await, "Suspended", "strangers wake nobody");

    let answer = world.get_as("echo", "/echo", &token).await;
    assert_eq!(answer.header("drowse-start"), "cold", "{} {}", answer.status, answer.text());
    assert!(!answer.text().contains(&token), "the token is not the agent's to see");
}
