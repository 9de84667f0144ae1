//! Pure: what a field's name alone says about it: whether its sender may be believed, and whether an agent could take it for
//! another.
//!
//! CGI and WSGI write `X-Real-IP` and `X_Real_IP` into one variable, and some servers take any other mark for a hyphen as
//! well. So a name is judged as if every mark in it were one.

use std::borrow::Cow;

use http::HeaderName;
use http::header::{self, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING};

use super::HOP_BY_HOP;
use crate::proxy::route::SANDBOX_HEADERS;

/// What tells where a request comes from, besides `X-Forwarded-*`. We know that ourselves.
const ORIGIN: [&str; 8] = [
    "cf-connecting-ip",
    "client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-real-ip",
];

/// What a name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Nothing that we care about.
    Plain,
    /// Which agent is meant (`X-Sandbox-ID` and the like).
    Routing,
    /// Where the request comes from, or that we speak (`Drowse-*`). A caller is not believed.
    Claim,
    /// Not that, but what stands for it once marks are taken for hyphens.
    Lookalike(Of),
}

/// What it could be taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    /// What says which agent is meant, or where the request ends.
    Routing,
    /// What ends here.
    Claim,
}

/// Judges a name, which is in lower case.
pub(super) fn kind(name: &str) -> Kind {
    let plain = as_taken(name);
    let is_spelled_so = matches!(plain, Cow::Borrowed(_));
    if SANDBOX_HEADERS.iter().any(|name| *name == *plain) {
        return if is_spelled_so { Kind::Routing } else { Kind::Lookalike(Of::Routing) };
    }
    if plain.starts_with("x-forwarded-") || plain.starts_with("drowse-") || ORIGIN.contains(&&*plain) {
        return if is_spelled_so { Kind::Claim } else { Kind::Lookalike(Of::Claim) };
    }
    match is_spelled_so {
        true => Kind::Plain,
        false if [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| *name == *plain) => {
            Kind::Lookalike(Of::Routing)
        }
        false if HOP_BY_HOP.iter().any(|name| *name == *plain) => Kind::Lookalike(Of::Claim),
        false => Kind::Plain,
    }
}

/// What has to be known before a body is read: how it is framed and coded, whom it is for and from, and whether it is wanted
/// at all (RFC 9110 §6.5.1).
const OF_THE_HEAD: [HeaderName; 18] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::MAX_FORWARDS,
    header::RANGE,
    TRAILER,
    TRANSFER_ENCODING,
];

/// Whether a field of this name may come after a body. What says where a request goes, where it ends or who sends it has to
/// be in its head.
pub(super) fn may_be_trailer(name: &str) -> bool {
    kind(name) == Kind::Plain && !HOP_BY_HOP.iter().chain(&OF_THE_HEAD).any(|other| *other == *name)
}

/// Whether `Connection` may name it. Whoever is before us would have to remove it, and then the request goes somewhere
/// else, or ends somewhere else.
pub(super) fn may_be_hop_by_hop(name: &HeaderName) -> bool {
    kind(name.as_str()) != Kind::Routing && ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

/// The name with a hyphen for every mark.
fn as_taken(name: &str) -> Cow<'_, str> {
    let is_mark = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'-';
    if name.as_bytes().iter().any(is_mark) {
        Cow::Owned(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_an_agent_might_read_them() {
        for (name, expected) in [
            ("x-sandbox-id", Kind::Routing),
            ("x-sandbox-pod-ip", Kind::Routing),
            ("x_sandbox_id", Kind::Lookalike(Of::Routing)),
            ("x-sandbox_id", Kind::Lookalike(Of::Routing)),
            ("x.sandbox.uid", Kind::Lookalike(Of::Routing)),
            ("content_length", Kind::Lookalike(Of::Routing)),
            ("transfer.encoding", Kind::Lookalike(Of::Routing)),
            ("x-sandbox-timeout", Kind::Plain),
            ("x_sandbox_timeout", Kind::Plain),
            ("x-sandbox-id-2", Kind::Plain),
            ("forwarded", Kind::Claim),
            ("x-forwarded-client-cert", Kind::Claim),
            ("x-real-ip", Kind::Claim),
            ("drowse-start", Kind::Claim),
            ("x_forwarded_for", Kind::Lookalike(Of::Claim)),
            ("x_real-ip", Kind::Lookalike(Of::Claim)),
            ("drowse_start", Kind::Lookalike(Of::Claim)),
            ("proxy_authorization", Kind::Lookalike(Of::Claim)),
            ("keep_alive", Kind::Lookalike(Of::Claim)),
            ("x-forwarded", Kind::Plain),
            ("x_my_field", Kind::Plain),
            ("content-length", Kind::Plain),
            ("te", Kind::Plain),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }

    #[test]
    fn what_decides_over_a_request_is_in_its_head() {
        for name in ["x-sum", "grpc-status", "x_sum"] {
            assert!(may_be_trailer(name), "{name}");
        }
        for name in [
            "content-length",
            "content_length",
            "transfer-encoding",
            "host",
            "trailer",
            "te",
            "x-sandbox-id",
            "x_sandbox_id",
            "x-forwarded-for",
            "drowse-start",
            "keep-alive",
            "authorization",
            "cookie",
            "content-type",
            "expect",
        ] {
            assert!(!may_be_trailer(name), "{name}");
        }
    }
}
