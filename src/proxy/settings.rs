//! What the front door can be told. Plain values; `config` makes them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// One way in which a request says which agent it is for. The order is the order of precedence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Style {
    /// The header `X-Sandbox-ID`, as agent-sandbox's own router has it.
    Header,
    /// Host `<agent>.<namespace>.<domain>`.
    Host,
    /// Path `<prefix>/<namespace>/<agent>/<port>/<rest>`.
    Path,
    /// Host `<agent>.<namespace>.svc[.<cluster domain>]`.
    Service,
}

impl Style {
    /// agent-sandbox's router has this style, so that its callers get that router's answers, and agents see of them
    /// what that router lets through.
    pub const fn is_of_the_router(self) -> bool {
        matches!(self, Self::Header | Self::Path)
    }
}

/// Settings of the front door. All but `listen` and `max_head_bytes` apply to connections that are already open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where to listen. Needs a restart to change.
    pub listen: SocketAddr,
    /// Agents are found at `<agent>.<namespace>.<domain>`. Lower case, no dot at either end.
    pub domain: String,
    /// The styles that are on.
    pub find_by: BTreeSet<Style>,
    /// The prefix of [`Style::Path`]: begins with `/`, does not end with one. `None` turns the style off.
    pub path_prefix: Option<String>,
    /// `X-Sandbox-Pod-IP` may be a loopback address, because agents are. It is never dialled in any case.
    pub loopback_pod_ip: bool,
    /// What may follow `svc` in [`Style::Service`]. Lower case, no dot at either end.
    pub cluster_domain: String,
    /// A request head must be complete this long after its first byte.
    pub head_timeout: Duration,
    /// A connection is closed after this long without a request, or when its caller has not taken a byte of an
    /// answer for this long; with HTTP/2 it is that answer's stream alone which is reset.
    pub idle_connection_timeout: Duration,
    /// A connection of HTTP/1.1 without a request for this long is kept with next to no memory. Nobody needs to configure it.
    pub rest_after: Duration,
    /// Size of a request head at most, in bytes; not less than 8 KiB. Applies to new connections.
    pub max_head_bytes: usize,
    /// Connections open at once at most; more wait in the system's queue.
    pub max_connections: usize,
    /// Requests at once on one connection of HTTP/2 at most. Applies to new connections.
    pub max_streams: u32,
    /// How long callers are still taken when Drowse shuts down, until nobody sends any.
    pub shutdown_delay: Duration,
    /// How long requests may take to end after that.
    pub drain_timeout: Duration,
    /// How much of a held request's body is read ahead, in bytes.
    pub held_body_bytes: u64,
}

impl Settings {
    /// Of [`Settings::rest_after`]: whoever asks again and again has buffers all the time.
    pub const REST_AFTER: Duration = Duration::from_secs(1);

    /// The header style is on, and no style but those of agent-sandbox's router.
    pub fn is_only_the_router(&self) -> bool {
        self.find_by.contains(&Style::Header) && self.find_by.iter().all(|style| style.is_of_the_router())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            domain: "agents.localhost".to_owned(),
            find_by: BTreeSet::from([Style::Header, Style::Host]),
            path_prefix: None,
            loopback_pod_ip: false,
            cluster_domain: "cluster.local".to_owned(),
            head_timeout: Duration::from_secs(10),
            rest_after: Self::REST_AFTER,
            idle_connection_timeout: Duration::from_mins(2),
            max_head_bytes: 64 * 1024,
            max_connections: 15_000,
            max_streams: 200,
            shutdown_delay: Duration::ZERO,
            drain_timeout: Duration::from_mins(1),
            held_body_bytes: 64 * 1024,
        }
    }
}
