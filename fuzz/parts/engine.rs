//! What the engine is told.

#[path = "../../src/engine/lease_order.rs"]
mod lease_order;
#[path = "../../src/engine/limits.rs"]
mod limits;

pub use lease_order::{LeaseAction, LeaseFault, LeaseOrder};
pub use limits::Limits;
