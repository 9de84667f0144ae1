//! The configuration.
mod decode;
mod node;
mod problem;
mod syntax;
pub use problem::{ConfigError, Position, Problem};
