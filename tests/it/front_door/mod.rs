//! The front door over real sockets: callers and agents are played byte for byte.

mod auth;
mod bodies;
mod elsewhere;
mod ending;
mod exchange;
mod floods;
mod frames;
mod hold;
mod hostile;
mod http;
mod http2;
mod http2_close;
mod leases;
mod matrix;
mod peers;
mod pings;
mod recorder;
mod resting;
mod router;
mod silence;
mod smuggling;
mod streams;
mod tunnels;
mod turns;
mod windows;
mod world;
