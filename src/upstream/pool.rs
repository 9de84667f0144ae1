//! To come.

use tokio::net::TcpStream;

/// To come.
#[derive(Debug)]
pub struct Pool {}

impl Pool {
    /// To come.
    pub fn with_first(_port: u16, _stream: TcpStream) -> Self {
        Self {}
    }
    /// To come.
    pub fn close(&self) {}
}
