//! The front door over real sockets: callers and agents are played byte for byte.

mod auth;
mod bodies;
mod hold;
mod hostile;
mod http;
mod leases;
mod matrix;
mod recorder;
mod router;
mod smuggling;
mod tunnels;
mod world;
