//! The message door, as the engine knows it: agents also get messages, which pass by their gates.

use std::sync::Arc;

use crate::agent::{AgentKey, Life, Revision};
use crate::backend::Profile;
use crate::lifecycle::{Activity, Event, PhaseName};
use crate::policy::Policy;
use crate::policy::messages::Ready;
use crate::policy::rules::Resolved;
use crate::time::Moment;

use super::{Engine, Slot};

/// Why an agent is not suspended whose messages would then reach nobody.
const NO_DOOR: &str = "messages are to wake it, and Drowse was started without the section nats: write that, and restart Drowse";

/// Who takes care of messages. No call may block.
pub trait MessageDoor: Send + Sync {
    /// An agent has come or gone, or changed its phase or its policy.
    fn agent_changed(&self, key: &AgentKey);

    /// Find out whether messages still come to this agent or from it, and say so by [`Engine::heard`].
    fn listen(&self, key: &AgentKey, revision: Revision);
}

impl Engine {
    /// Installs the message door; at most once, before [`Engine::run`].
    pub fn set_message_door(&self, door: Arc<dyn MessageDoor>) {
        let installed = self.message_door.set(door);
        debug_assert!(installed.is_ok(), "there is one message door");
    }

    /// All agents at present.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.table.all()
    }

    /// What the rules say about an agent. The message door is opened at the start alone: without it, nobody would see that an agent
    /// is at work on messages, or subscribes to them.
    pub(super) fn resolve(&self, key: &AgentKey, profile: &Profile) -> Resolved {
        let mut resolved = self.rules.load().resolve(key, profile);
        let policy = &mut resolved.policy;
        if !self.listens(policy) {
            if policy.manage && policy.messages.wake() {
                policy.obstacle.get_or_insert_with(|| NO_DOOR.into());
            }
            policy.ready = Ready::Port;
        }
        resolved
    }

    /// Whether messages reach an agent with this policy that do not pass its gate.
    pub(super) fn listens(&self, policy: &Policy) -> bool {
        policy.messages.wake() && self.message_door.get().is_some()
    }

    pub(super) fn tell_message_door(&self, key: &AgentKey) {
        if let Some(door) = self.message_door.get() {
            door.agent_changed(key);
        }
    }

    /// The answer to [`MessageDoor::listen`].
    pub fn heard(self: &Arc<Self>, slot: &Arc<Slot>, revision: Revision, quiet: bool) {
        self.handle(slot, if quiet { Event::Quiet(revision) } else { Event::NotQuiet(revision) });
    }

    /// Signals of activity have changed other than by growing: its deadline may be another one.
    pub fn activity_changed(self: &Arc<Self>, slot: &Arc<Slot>) {
        self.handle(slot, Event::Tick);
    }

    /// Somebody subscribes to the agent's messages in its name, or nobody does any more.
    pub fn subscribed(&self, slot: &Slot, subscribed: bool) {
        slot.activity().set_subscribed(subscribed);
        slot.changed.notify_waiters();
    }
}

impl Slot {
    /// The life that is up, and since when it answers.
    pub fn life(&self) -> Option<(Life, Moment)> {
        self.upstream.load().as_ref().map(|upstream| (upstream.life.clone(), upstream.ready_at))
    }

    /// Where it is in its life. Takes the lock.
    pub fn phase(&self) -> PhaseName {
        self.machine.lock().phase().name()
    }

    /// Waits until somebody subscribes to its messages in its name.
    pub(super) async fn until_subscribed(&self) {
        let activity = self.activity();
        loop {
            let changed = self.changed.notified();
            if activity.is_subscribed() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the policy says that it counts as up by something else.
    pub(super) async fn until_ready_is_not(&self, ready: Ready) {
        loop {
            let changed = self.changed.notified();
            if self.policy().ready != ready {
                return;
            }
            changed.await;
        }
    }

    /// Where signs of its activity besides requests are noted. Takes the lock.
    pub fn activity(&self) -> Arc<Activity> {
        Arc::clone(self.machine.lock().activity())
    }
}
