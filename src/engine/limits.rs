//! What the engine may be told not to go beyond.

use std::time::Duration;

/// Bounds that hold over all agents together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Callers that wait, in all.
    pub held: u32,
    /// Bytes of held request bodies, in all.
    pub held_body_bytes: u64,
    /// Starts under way at once, in all.
    pub starts_in_flight: u32,
    /// Starts under way at once, in one namespace.
    pub starts_per_namespace: u32,
    /// Starts begun in a second, in all.
    pub starts_per_second: u32,
    /// How long what was seen of a pod is believed while the watch is broken.
    pub trust_stale_for: Duration,
}
