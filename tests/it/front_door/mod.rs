//! The front door over real sockets: callers and agents are played byte for byte.

mod auth;
mod bodies;
mod hold;
mod hostile;
mod http;
mod http2;
mod leases;
mod pings;
mod router;
mod silence;
mod streams;
mod tunnels;
mod world;
