//! The way to one life of one agent: its address, and its pool of connections, which dies with it.

pub mod connect;
pub mod connection;
pub mod pool;
pub mod probe;
pub mod request_body;
#[cfg(test)]
mod testing;

use std::net::IpAddr;

use crate::agent::Life;
use crate::time::Moment;
use pool::Pool;

pub use connection::{Connection, SendError};
pub use request_body::RequestBody;

/// One life of an agent as something to send requests to. Never reused for another life (invariant 3).
#[derive(Debug)]
pub struct Upstream {
    /// Whose it is.
    pub life: Life,
    /// Where its pod is.
    pub address: IpAddr,
    /// The port that answered first.
    pub ready_port: u16,
    /// When it answered.
    pub ready_at: Moment,
    /// Idle connections. Closed by the engine when this life ends.
    pub pool: Pool,
}
