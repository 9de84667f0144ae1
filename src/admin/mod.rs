//! The two HTTP servers for operators: health and metrics (open, nothing secret), and the admin API (loopback,
//! or with a token), with the status page.
//!
//! `health` and `api` answer; `server` bounds connections; `access` decides who may ask; `fleet` is all they know
//! of the engine.

mod access;
mod api;
pub(crate) mod config_state;
mod fleet;
mod guests;
mod health;
mod page;
mod problem;
mod query;
mod route;
mod server;
mod token;
pub(crate) mod wire;

pub use access::{Access, AccessError};
pub use api::Api;
pub use config_state::{ConfigBoard, ConfigState, ConfigSummary, RefusedConfig};
pub use fleet::Fleet;
pub use health::Health;
pub use problem::Problem;
pub use server::serve;
pub use token::{Token, TokenError};

#[cfg(test)]
mod tests;
