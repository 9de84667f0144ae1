//! All agents by name. Wrapped so that the map can be exchanged in one place.

use std::sync::Arc;

use dashmap::DashMap;

use crate::agent::AgentKey;

use super::slot::Slot;

/// All agents by name. Nothing of the map's own is held across a call: slots are cloned out.
#[derive(Default)]
pub(super) struct Table {
    slots: DashMap<AgentKey, Arc<Slot>>,
}

impl Table {
    pub(super) fn get(&self, key: &AgentKey) -> Option<Arc<Slot>> {
        self.slots.get(key).map(|slot| Arc::clone(&slot))
    }

    /// Adds a slot, or returns the one that was faster.
    pub(super) fn insert(&self, slot: Slot) -> Arc<Slot> {
        Arc::clone(&self.slots.entry(slot.key().clone()).or_insert_with(|| Arc::new(slot)))
    }

    pub(super) fn remove(&self, key: &AgentKey) {
        self.slots.remove(key);
    }

    /// All slots, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.iter().map(|slot| Arc::clone(&slot)).collect()
    }
}
