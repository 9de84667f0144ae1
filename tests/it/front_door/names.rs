//! Agents that nobody could call, for their names.

use std::sync::Arc;

use drowse::agent::{AgentKey, AgentUid, Generation, Revision};
use drowse::backend::BackendEvent;
use drowse::engine::bare::Bare;
use drowse::lifecycle::{AgentSeen, Mode, PhaseName, SuspendedBy};

use super::world::{Toy, World};

#[tokio::test]
async fn an_agent_that_nobody_could_call_is_listed_and_says_why_it_is_left_alone() {
    let world = World::awake(Toy::new().await.port).await;
    let key = AgentKey::new("default", "my.bot");
    let seen = AgentSeen {
        uid: AgentUid("agent-2".into()),
        revision: Revision(9),
        generation: Generation(1),
        observed: Generation(1),
        mode: Mode::Running,
        suspended_by: SuspendedBy::Idle,
        trouble: None,
    };
    let agent = BackendEvent::Agent { key: key.clone(), seen, profile: Arc::default() };
    Bare::new(Arc::clone(&world.engine)).observe(agent);
    let view = world.engine.summary(&key).unwrap();
    assert_eq!((view.phase, view.managed), (PhaseName::Unknown, false));
    assert!(view.reason.contains("no DNS label"), "{}", view.reason);
}
