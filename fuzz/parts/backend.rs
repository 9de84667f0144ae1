//! What a configuration says about backends.

pub mod kubernetes {
    //! Sandboxes of a cluster.
    pub use super::options::Options;
}
#[path = "../../src/backend/kubernetes/options.rs"]
mod options;
#[path = "../../src/backend/profile.rs"]
mod profile;
#[path = "../../src/backend/texts.rs"]
mod texts;

pub use profile::Profile;
pub use texts::Texts;
