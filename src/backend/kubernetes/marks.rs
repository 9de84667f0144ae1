//! What Drowse writes on a Sandbox, besides its mode.

/// What our annotations begin with.
pub(super) const PREFIX: &str = "drowse.dev/";

/// Who suspended it.
pub(super) const SUSPENDED_BY: &str = "drowse.dev/suspended-by";
/// When, as RFC 3339.
pub(super) const SUSPENDED_AT: &str = "drowse.dev/suspended-at";
/// When somebody wanted it last, as RFC 3339. Written by every resume, so that the resourceVersion always changes.
pub(super) const WANTED_AT: &str = "drowse.dev/wanted-at";

/// All of them, without the prefix: none is a rule key.
pub(super) const ALL: [&str; 3] = ["suspended-by", "suspended-at", "wanted-at"];

/// [`SUSPENDED_BY`]: Drowse did, since it was idle.
pub(super) const IDLE: &str = "idle";
/// [`SUSPENDED_BY`]: a person did, by way of Drowse (`drowse suspend --stay`).
pub(super) const PERSON: &str = "person";

/// The name under which the API server notes who wrote which field.
pub(super) const FIELD_MANAGER: &str = "drowse";
