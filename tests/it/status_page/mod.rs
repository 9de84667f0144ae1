//! The status page in a real browser, over a real Drowse with real agents.

mod agent;
mod browser;
mod list;
mod looks;
mod page;
mod world;
