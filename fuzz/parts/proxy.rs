//! What the front door makes of the head of a request.

#[path = "../../src/proxy/headers/mod.rs"]
pub mod headers;
#[path = "../../src/proxy/route/mod.rs"]
pub mod route;
#[path = "../../src/proxy/settings.rs"]
mod settings;

pub use settings::{Settings, Style};
