//! Pure: what a field's name alone says about it: whether it ends here, whether its sender may be believed, and whether an agent
//! could take it for another.
//!
//! CGI and WSGI write `X-Real-IP` and `X_Real_IP` into one variable, and some servers take any other mark for a hyphen as
//! well. So a name is judged as if every mark in it were one.

use bitflags::bitflags;
use http::HeaderMap;

bitflags! {
    /// What a name means to us; what all names of a head mean, found in one pass. Most heads have hardly a name that means
    /// something, and to look for each of those that do by itself would take more time than all else about a head.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Meaning: u16 {
        const CONNECTION = 1;
        const TRANSFER_ENCODING = 1 << 1;
        const CONTENT_LENGTH = 1 << 2;
        const TE = 1 << 3;
        const TRAILER = 1 << 4;
        const EXPECT = 1 << 5;
        const AUTHORIZATION = 1 << 6;
        const COOKIE = 1 << 7;
        /// Whatever else ends here, whether or not `Connection` names it.
        const HOP_BY_HOP = 1 << 8;
        /// Where the request comes from, or that we speak (`Drowse-*`): a caller is not believed. And what could be taken for one of
        /// them, or for one that ends here.
        const CLAIM = 1 << 9;
        /// Which agent is meant (`X-Sandbox-ID` and the like).
        const ROUTING = 1 << 10;
        /// What could be taken for one that says which agent is meant, or where the request ends.
        const LIKE_ROUTING = 1 << 11;
        /// All that is for one connection.
        const OF_THE_HOP = Self::CONNECTION.bits() | Self::TRANSFER_ENCODING.bits() | Self::TE.bits() | Self::HOP_BY_HOP.bits();
    }
}

impl Meaning {
    /// All that the names of these fields mean.
    pub(super) fn of_all(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::empty(), |all, name| all | Self::of(name.as_str()))
    }

    /// What a name in lower case means.
    pub(super) fn of(name: &str) -> Self {
        let Some(first) = name.as_bytes().first() else { return Self::empty() };
        match known(*first).iter().find(|known| known.fits(name)) {
            None => Self::empty(),
            Some(known) if name.starts_with(known.name) => known.meaning,
            Some(known) => known.alike,
        }
    }
}

/// A name that means something.
struct Known {
    name: &'static str,
    /// So do all that begin with it.
    is_start: bool,
    meaning: Meaning,
    /// What names mean that could be taken for it.
    alike: Meaning,
}

impl Known {
    const fn exactly(name: &'static str, meaning: Meaning) -> Self {
        Self { name, is_start: false, meaning, alike: Meaning::empty() }
    }

    const fn framing(name: &'static str, meaning: Meaning) -> Self {
        Self { name, is_start: false, meaning, alike: Meaning::LIKE_ROUTING }
    }

    const fn routing(name: &'static str) -> Self {
        Self::framing(name, Meaning::ROUTING)
    }

    const fn hop_by_hop(name: &'static str) -> Self {
        Self { name, is_start: false, meaning: Meaning::HOP_BY_HOP, alike: Meaning::CLAIM }
    }

    const fn claim(name: &'static str) -> Self {
        Self { name, is_start: false, meaning: Meaning::CLAIM, alike: Meaning::CLAIM }
    }

    const fn claims(start: &'static str) -> Self {
        Self { is_start: true, ..Self::claim(start) }
    }

    /// Whether a name is this one, or could be taken for it.
    fn fits(&self, name: &str) -> bool {
        let is_mark = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'-';
        let is_like = |(byte, own): (u8, u8)| byte == own || (own == b'-' && is_mark(byte));
        let is_long_enough =
            if self.is_start { name.len() >= self.name.len() } else { name.len() == self.name.len() };
        is_long_enough && name.bytes().zip(self.name.bytes()).all(is_like)
    }
}

/// The names that mean something, by how they begin: most others begin otherwise, and are done with.
fn known(first: u8) -> &'static [Known] {
    match first {
        b'a' => const { &[Known::exactly("authorization", Meaning::AUTHORIZATION)] },
        b'c' => {
            const {
                &[
                    Known::exactly("connection", Meaning::CONNECTION),
                    Known::framing("content-length", Meaning::CONTENT_LENGTH),
                    Known::exactly("cookie", Meaning::COOKIE),
                    Known::claim("cf-connecting-ip"),
                    Known::claim("client-ip"),
                ]
            }
        }
        b'd' => const { &[Known::claims("drowse-")] },
        b'e' => const { &[Known::exactly("expect", Meaning::EXPECT)] },
        b'f' => const { &[Known::claim("forwarded")] },
        b'h' => const { &[Known::hop_by_hop("http2-settings")] },
        b'k' => const { &[Known::hop_by_hop("keep-alive")] },
        b'p' => {
            const {
                &[
                    Known::hop_by_hop("proxy-authenticate"),
                    Known::hop_by_hop("proxy-authorization"),
                    Known::hop_by_hop("proxy-connection"),
                ]
            }
        }
        b't' => {
            const {
                &[
                    Known::exactly("te", Meaning::TE),
                    Known::exactly("trailer", Meaning::TRAILER),
                    Known::framing("transfer-encoding", Meaning::TRANSFER_ENCODING),
                    Known::claim("true-client-ip"),
                ]
            }
        }
        b'u' => const { &[Known::hop_by_hop("upgrade")] },
        b'x' => {
            const {
                &[
                    Known::routing("x-sandbox-id"),
                    Known::routing("x-sandbox-namespace"),
                    Known::routing("x-sandbox-pod-ip"),
                    Known::routing("x-sandbox-port"),
                    Known::routing("x-sandbox-uid"),
                    Known::claims("x-forwarded-"),
                    Known::claim("x-client-ip"),
                    Known::claim("x-cluster-client-ip"),
                    Known::claim("x-original-forwarded-for"),
                    Known::claim("x-real-ip"),
                ]
            }
        }
        _ => &[],
    }
}

/// What else has to be known before a body is read: how it is coded, whom it is for, and whether it is wanted at all
/// (RFC 9110 §6.5.1).
const OF_THE_HEAD: [&str; 12] = [
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "range",
];

/// Whether a field of this name, in lower case, may come after a body. What says where a request goes, where it ends or who
/// sends it has to be in its head.
pub(super) fn may_be_trailer(name: &str) -> bool {
    Meaning::of(name).is_empty() && !OF_THE_HEAD.contains(&name)
}

/// Whether `Connection` may name it, in lower case. Whoever is before us would have to remove it, and then the request goes
/// somewhere else, or ends somewhere else.
pub(super) fn may_be_hop_by_hop(name: &str) -> bool {
    let decides = Meaning::ROUTING | Meaning::CONTENT_LENGTH | Meaning::TRANSFER_ENCODING;
    !Meaning::of(name).intersects(decides) && name != "host"
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::proxy::route::SANDBOX_HEADERS;

    #[test]
    fn names_are_judged_as_an_agent_might_read_them() {
        for (name, expected) in [
            ("x-sandbox-id", Meaning::ROUTING),
            ("x-sandbox-pod-ip", Meaning::ROUTING),
            ("x_sandbox_id", Meaning::LIKE_ROUTING),
            ("x-sandbox_id", Meaning::LIKE_ROUTING),
            ("x.sandbox.uid", Meaning::LIKE_ROUTING),
            ("content_length", Meaning::LIKE_ROUTING),
            ("transfer.encoding", Meaning::LIKE_ROUTING),
            ("x-sandbox-timeout", Meaning::empty()),
            ("x_sandbox_timeout", Meaning::empty()),
            ("x-sandbox-id-2", Meaning::empty()),
            ("forwarded", Meaning::CLAIM),
            ("x-forwarded-client-cert", Meaning::CLAIM),
            ("x-real-ip", Meaning::CLAIM),
            ("drowse-start", Meaning::CLAIM),
            ("x_forwarded_for", Meaning::CLAIM),
            ("x_real-ip", Meaning::CLAIM),
            ("drowse_start", Meaning::CLAIM),
            ("proxy_authorization", Meaning::CLAIM),
            ("keep_alive", Meaning::CLAIM),
            ("keep-alive", Meaning::HOP_BY_HOP),
            ("upgrade", Meaning::HOP_BY_HOP),
            ("x-forwarded", Meaning::empty()),
            ("x_my_field", Meaning::empty()),
            ("content-length", Meaning::CONTENT_LENGTH),
            ("connection", Meaning::CONNECTION),
            ("te", Meaning::TE),
            ("accept", Meaning::empty()),
            ("", Meaning::empty()),
        ] {
            assert_eq!(Meaning::of(name), expected, "{name}");
        }
        for name in &SANDBOX_HEADERS {
            assert_eq!(Meaning::of(name.as_str()), Meaning::ROUTING, "{name}");
        }
    }

    #[test]
    fn every_name_is_found_by_how_it_begins() {
        for first in 0..=u8::MAX {
            for known in known(first) {
                assert_eq!(Meaning::of(known.name), known.meaning, "{}", known.name);
            }
        }
    }

    #[test]
    fn a_head_means_what_each_of_its_names_means() {
        let field = |name| (HeaderName::from_static(name), HeaderValue::from_static("7"));
        let headers: HeaderMap = ["host", "cookie", "x-of-mine", "trailer"].map(field).into_iter().collect();
        assert_eq!(Meaning::of_all(&headers), Meaning::COOKIE | Meaning::TRAILER);
        assert_eq!(Meaning::of_all(&HeaderMap::new()), Meaning::empty());
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
            "connection",
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
