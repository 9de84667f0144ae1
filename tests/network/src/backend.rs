//! What the engine knows of backends.

#[path = "../../../src/backend/contract.rs"]
mod contract;
#[path = "../../../src/backend/profile.rs"]
mod profile;
#[path = "../../../src/backend/texts.rs"]
mod texts;

pub use contract::{Backend, BackendEvent};
pub use profile::Profile;
pub use texts::Texts;
