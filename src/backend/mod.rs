//! The interface to whatever runs the agents: watch, suspend, resume, attest.

pub mod kubernetes;
pub mod process;

mod contract;
mod profile;
mod texts;

pub use contract::{Backend, BackendEvent};
pub use profile::Profile;
pub use texts::Texts;
