//! What is known of an agent besides its state.

use super::Texts;
use crate::policy::HandsOff;

/// What the rules and the front door want to know of an agent, apart from its state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    /// Labels, for the rules to match.
    pub labels: Texts,
    /// Our own annotations (`drowse.dev/…`), with the prefix cut off.
    pub annotations: Texts,
    /// The port that the agent declares; used when neither the request nor the policy names one.
    pub port: Option<u16>,
    /// Its address is shared with others, so that no port but the declared one is its own (invariant 3).
    pub only_port: bool,
    /// Why Drowse keeps its hands off it, whatever the rules say. In a box, as there is nothing of the kind for nearly all.
    pub hands_off: Option<Box<HandsOff>>,
}
