//! An agent's answer 101: its connection leaves HTTP, and with that the pool.

use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::engine::{Outcome, Permit};
use crate::metrics::OpenKind;
use crate::upstream::Connection;

use super::error::Fault;
use super::tunnel::Tunnel;
use super::upgrade::Protocol;
use super::{headers, timing};

/// An answer 101, and what the connection becomes.
pub(super) struct Switched {
    pub(super) head: Response<()>,
    pub(super) tunnel: Box<Tunnel>,
    /// The agent had to be started for it.
    pub(super) cold: bool,
}

impl Switched {
    /// Whether it was asked for is to be said by `protocol`, and whether it is a reason to be up by `wakes`.
    pub(super) fn of(
        mut response: Response<Incoming>,
        protocol: Option<&Protocol>,
        wakes: bool,
        connection: Connection,
        permit: Permit,
    ) -> Result<Self, Fault> {
        debug_assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let Some(protocol) = protocol.filter(|protocol| protocol.is_accepted(response.headers())) else {
            let error = "it switches protocols in a way that nobody has asked for".to_owned();
            return Err(Fault::BadAnswer { error });
        };
        let broken = || Fault::Broken { error: "it switched protocols and broke off".to_owned() };
        let (stream, first) = connection.into_stream().ok_or_else(broken)?;
        headers::for_caller(&mut response);
        if protocol.own_key().is_some() {
            // RFC 8441 §5.1: a stream of HTTP/2 switches by 200, and without the two fields of the handshake.
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        } else {
            headers::switch_to(response.headers_mut(), protocol.value());
        }
        timing::tell(response.headers_mut(), permit.waited());
        let cold = permit.waited().is_some_and(|waited| waited.cold);
        let outcome = if wakes { Outcome::Answered } else { Outcome::NoActivity };
        let open = permit.keep_open(OpenKind::Tunnel, outcome);
        let tunnel = Box::new(Tunnel::new(stream, first, protocol.is_websocket(), open));
        Ok(Self { head: response.map(drop), tunnel, cold })
    }
}
