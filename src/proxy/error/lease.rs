//! Why an order for a busy lease is not carried out, and what the caller is told.

use std::time::Duration;

use http::StatusCode;

use super::{Fault, Shape};
use crate::engine::{LeaseFault, LeaseOrder};
use crate::policy::lease::LeaseError;

/// Why an order for a busy lease was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseDenial {
    /// There is nothing at this path.
    NoResource,
    /// It is ordered by POST, whatever is ordered.
    Method,
    /// The caller is not on this machine.
    NotLocal,
    /// The token is good, but no pod's.
    NotBound,
    /// The caller is not the agent.
    NotTheAgent,
    /// The caller may be the agent, but not all of what exists is known at present.
    Unsure,
    /// The body is not said to be JSON.
    MediaType,
    /// The body is too long.
    TooLarge,
    /// The body did not arrive in time.
    SlowBody,
    /// Nobody says which agent it is about.
    NoAgent,
    /// The order itself.
    Order(LeaseFault),
}

impl From<LeaseFault> for LeaseDenial {
    fn from(fault: LeaseFault) -> Self {
        Self::Order(fault)
    }
}

impl From<LeaseDenial> for Fault {
    fn from(denial: LeaseDenial) -> Self {
        Self::Lease(denial)
    }
}

impl LeaseDenial {
    /// The metric label.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::NoResource => "not_found",
            Self::Method => "method",
            Self::NotLocal => "not_local",
            Self::NotBound => "not_bound",
            Self::NotTheAgent => "not_the_agent",
            Self::Unsure => "unsure",
            Self::MediaType => "media_type",
            Self::TooLarge => "body_too_large",
            Self::SlowBody => "slow_body",
            Self::NoAgent | Self::Order(LeaseFault::Bad(_)) => "bad_lease",
            Self::Order(LeaseFault::UnknownAgent) => "unknown_agent",
            Self::Order(LeaseFault::Refused(LeaseError::Unknown)) => "unknown_lease",
            Self::Order(LeaseFault::Refused(LeaseError::Capped)) => "lease_capped",
            Self::Order(LeaseFault::Refused(LeaseError::TooMany)) => "too_many_leases",
        }
    }

    pub(super) fn shape(&self) -> Shape {
        let shape = |status, slug, title| Shape { status, slug, title, retry_after: None };
        match self {
            Self::NoResource => shape(StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::Method => shape(StatusCode::METHOD_NOT_ALLOWED, "method", "This method is not supported"),
            Self::NotLocal => shape(StatusCode::FORBIDDEN, "not-local", "The caller is not on this machine"),
            Self::NotBound => shape(StatusCode::FORBIDDEN, "not-bound", "The token is not a pod's"),
            Self::NotTheAgent => shape(StatusCode::FORBIDDEN, "not-the-agent", "The caller is not the agent"),
            Self::Unsure => Shape {
                retry_after: Some(Duration::from_secs(1)),
                ..shape(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unsure",
                    "Whose pod the caller is, is not known yet",
                )
            },
            Self::MediaType => {
                shape(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The body is not JSON")
            }
            Self::TooLarge => shape(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too long"),
            Self::SlowBody => {
                shape(StatusCode::REQUEST_TIMEOUT, "slow-body", "The body did not arrive in time")
            }
            Self::NoAgent | Self::Order(LeaseFault::Bad(_)) => {
                shape(StatusCode::BAD_REQUEST, "bad-lease", "The order cannot be understood")
            }
            Self::Order(LeaseFault::UnknownAgent) => {
                shape(StatusCode::NOT_FOUND, "unknown-agent", "There is no such agent")
            }
            Self::Order(LeaseFault::Refused(LeaseError::Unknown)) => {
                shape(StatusCode::NOT_FOUND, "unknown-lease", "There is no such lease")
            }
            Self::Order(LeaseFault::Refused(LeaseError::Capped)) => {
                shape(StatusCode::CONFLICT, "lease-capped", "The lease has lasted as long as it may")
            }
            Self::Order(LeaseFault::Refused(LeaseError::TooMany)) => {
                shape(StatusCode::TOO_MANY_REQUESTS, "too-many-leases", "The agent has too many leases")
            }
        }
    }

    pub(super) fn detail(&self) -> String {
        let detail = match self {
            Self::NoResource => {
                "this host is Drowse itself, which has POST /v1/leases; agents are at hosts of their own"
            }
            Self::Method => {
                "POST an order to /v1/leases: {\"action\": \"take\"}, and likewise renew, end or list"
            }
            Self::NotLocal => {
                "agents that are processes take leases over loopback, straight and not through a proxy"
            }
            Self::NotBound => {
                "an agent sends the service account token that its own pod was given; a token of a person, or one that \
                 was made without a pod, does not tell which agent it is"
            }
            Self::NotTheAgent => {
                "the token is not of the pod that this agent has at present, and an agent takes leases for itself alone; \
                 if its pod has another name than the agent, send \"agent\": \"namespace/name\""
            }
            Self::Unsure => "not all of what exists is known at present; send it again",
            Self::MediaType => "send the order as JSON, with Content-Type: application/json",
            Self::TooLarge => return format!("an order has {} bytes at most", LeaseOrder::MAX_BYTES),
            Self::SlowBody => "send the whole body at once; it may take as long as a head (head_timeout)",
            Self::NoAgent => "which agent? send \"agent\": \"namespace/name\"",
            Self::Order(fault) => return fault.to_string(),
        };
        detail.to_owned()
    }
}
