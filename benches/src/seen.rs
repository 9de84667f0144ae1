//! An agent and its pod as a backend sees them, where nothing is wrong with them.

use std::net::IpAddr;

use drowse::agent::{AgentUid, Generation, PodUid, Revision};
use drowse::lifecycle::{AgentSeen, Mode, PodSeen, PodState, SuspendedBy};

/// An object that its controller has seen at this revision.
pub(crate) fn agent(uid: &str, revision: u64, mode: Mode) -> AgentSeen {
    AgentSeen {
        uid: AgentUid(uid.into()),
        revision: Revision(revision),
        generation: Generation(revision),
        observed: Generation(revision),
        mode,
        suspended_by: SuspendedBy::Idle,
        trouble: None,
    }
}

/// A pod of this agent that is up and ready.
pub(crate) fn pod(uid: PodUid, owner: &AgentSeen, revision: Revision, address: IpAddr) -> PodSeen {
    PodSeen {
        uid,
        owner: owner.uid.clone(),
        revision,
        terminating: false,
        state: PodState::Up(address),
        ready: true,
        hindrance: None,
        readiness: None,
    }
}
