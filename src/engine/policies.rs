//! Policies that agents share: few rules make few policies, however many agents there are.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::policy::Policy;

/// Remembered at most, so that agents with policies of their own (by annotations) make nothing grow, or slow.
const MAX_REMEMBERED: usize = 16;

/// The policies that were met last.
#[derive(Debug, Default)]
pub(super) struct Policies {
    remembered: VecDeque<Arc<Policy>>,
}

impl Policies {
    /// The one that is like this, if it is remembered.
    pub(super) fn share(&mut self, policy: Policy) -> Arc<Policy> {
        if let Some(known) = self.remembered.iter().find(|known| ***known == policy) {
            return Arc::clone(known);
        }
        let policy = Arc::new(policy);
        self.remembered.truncate(MAX_REMEMBERED - 1);
        self.remembered.push_front(Arc::clone(&policy));
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_with_the_same_policy_share_it_and_others_do_not() {
        let mut policies = Policies::default();
        let of = |max_held| Policy { max_held, ..Policy::default() };
        let first = policies.share(of(1));
        assert_eq!(policies.share(of(2)).max_held, 2);
        assert!(Arc::ptr_eq(&first, &policies.share(of(1))));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut policies = Policies::default();
        for max_held in 0..1000 {
            assert_eq!(policies.share(Policy { max_held, ..Policy::default() }).max_held, max_held);
        }
        assert_eq!(policies.remembered.len(), MAX_REMEMBERED);
    }
}
