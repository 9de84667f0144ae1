//! All agents by name. Wrapped so that the map can be exchanged in one place.

use std::sync::Arc;

use dashmap::DashMap;

use crate::agent::{AgentKey, ByKey, Keyed};

use super::slot::Slot;

/// All agents by name. Nothing of the map's own is held across a call: slots are cloned out.
#[derive(Default)]
pub(super) struct Table {
    slots: DashMap<ByKey<Arc<Slot>>, ()>,
}

impl Keyed for Slot {
    fn key(&self) -> &AgentKey {
        Self::key(self)
    }
}

impl Table {
    pub(super) fn get(&self, key: &AgentKey) -> Option<Arc<Slot>> {
        self.slots.get(key).map(|slot| Arc::clone(&slot.key().0))
    }

    /// Adds a slot, or returns the one that was faster.
    pub(super) fn insert(&self, slot: Slot) -> Arc<Slot> {
        Arc::clone(&self.slots.entry(ByKey(Arc::new(slot))).or_insert(()).key().0)
    }

    pub(super) fn remove(&self, key: &AgentKey) {
        self.slots.remove(key);
    }

    /// All slots, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.iter().map(|slot| Arc::clone(&slot.key().0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::time::Moment;

    fn slot(name: &str) -> Slot {
        let key = AgentKey::new("default", name);
        Slot::new(key, Arc::default(), Arc::new(Policy::default()), Moment::START)
    }

    #[test]
    fn a_slot_is_found_by_a_name_that_is_equal_and_by_no_other() {
        let table = Table::default();
        let (echo, other) = (table.insert(slot("echo")), table.insert(slot("other")));
        let found = |name: &str| table.get(&AgentKey::new("default", name));
        assert!(Arc::ptr_eq(&found("echo").unwrap(), &echo) && Arc::ptr_eq(&found("other").unwrap(), &other));
        assert!(found("ech").is_none() && table.get(&AgentKey::new("other", "echo")).is_none());
        assert_eq!(table.all().len(), 2);
        table.remove(echo.key());
        assert!(found("echo").is_none() && table.all().len() == 1);
    }

    #[test]
    fn of_two_of_one_name_the_first_one_stays() {
        let table = Table::default();
        let first = table.insert(slot("echo"));
        assert!(Arc::ptr_eq(&table.insert(slot("echo")), &first));
        assert_eq!(table.all().len(), 1);
    }
}
