//! What the rules say about backends.

#[path = "../../../src/backend/profile.rs"]
mod profile;
#[path = "../../../src/backend/texts.rs"]
mod texts;

pub use profile::Profile;
pub use texts::Texts;
