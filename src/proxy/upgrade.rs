//! Pure: which requests may switch their connection to another protocol (RFC 9110 §7.8), and which answers do.
//!
//! A GET of HTTP/1.1 without a body whose `Connection` names `upgrade` and whose one `Upgrade` field names one protocol
//! is passed on as an upgrade. Several fields or protocols get 400, since the next one to read them may choose another.
//! All else, and `h2c`, is an ordinary request: the fields are dropped, which everybody may do.
//!
//! With HTTP/2 it is a CONNECT with `:protocol` (RFC 8441), for one stream of the connection. To the agent it is an upgrade as
//! well, whose handshake we do for the caller.

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version, request};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::headers::names_token;

/// The protocol that a caller wants to speak.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Protocol {
    /// As it was written.
    name: HeaderValue,
    /// What is to be sent as `Sec-WebSocket-Key` for a caller with HTTP/2, who sends none.
    key: Option<HeaderValue>,
}

impl Protocol {
    /// WebSocket, for a caller with HTTP/2.
    fn by_connect() -> Self {
        let key = HeaderValue::try_from(generate_key()).ok();
        Self { name: HeaderValue::from_static("websocket"), key }
    }

    /// The key for the handshake with the agent, where it is ours to do.
    pub(super) const fn own_key(&self) -> Option<&HeaderValue> {
        self.key.as_ref()
    }

    /// Whether it is that of RFC 6455.
    pub(super) fn is_websocket(&self) -> bool {
        self.name.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    /// As it was written.
    pub(super) const fn value(&self) -> &HeaderValue {
        &self.name
    }

    /// Whether an agent's 101 with these fields switches to it, and to nothing else.
    pub(super) fn is_accepted(&self, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(UPGRADE).iter();
        let same = |field: &HeaderValue| field.as_bytes().eq_ignore_ascii_case(self.name.as_bytes());
        fields.next().is_some_and(same)
            && fields.next().is_none()
            && names_token(headers, &CONNECTION, "upgrade")
            && self.key.as_ref().is_none_or(|key| is_answer_to(key, headers))
    }
}

/// What a request asks to switch to; `None` for an ordinary one. An error says what is ambiguous about it.
pub(super) fn asked(head: &request::Parts, has_body: bool) -> Result<Option<Protocol>, String> {
    if names_protocol(head).is_some() {
        return Ok(Some(Protocol::by_connect()));
    }
    let may = head.method == Method::GET && head.version == Version::HTTP_11 && !has_body;
    if !may || !names_token(&head.headers, &CONNECTION, "upgrade") {
        return Ok(None);
    }
    let mut fields = head.headers.get_all(UPGRADE).iter();
    let Some(only) = fields.next() else { return Ok(None) };
    if fields.next().is_some() || !is_one_protocol(only.as_bytes()) {
        return Err(
            "name one protocol to switch to, in one Upgrade field, such as Upgrade: websocket".to_owned()
        );
    }
    let is_h2c = only.as_bytes().eq_ignore_ascii_case(b"h2c");
    Ok((!is_h2c).then(|| Protocol { name: only.clone(), key: None }))
}

/// The `:protocol` of a CONNECT that has one (RFC 8441 §4).
pub(super) fn names_protocol(head: &request::Parts) -> Option<&str> {
    let named = head.extensions.get::<hyper::ext::Protocol>().map(hyper::ext::Protocol::as_str);
    named.filter(|_| head.method == Method::CONNECT)
}

/// RFC 6455 §4.1: whoever answers otherwise has not understood what was asked.
fn is_answer_to(key: &HeaderValue, headers: &HeaderMap) -> bool {
    let expected = derive_accept_key(key.as_bytes());
    headers.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| accept.as_bytes() == expected.as_bytes())
}

/// `name` or `name/version`, both tokens.
fn is_one_protocol(field: &[u8]) -> bool {
    let mut parts = field.split(|byte| *byte == b'/');
    let is_token = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| is_token_byte(*byte));
    parts.next().is_some_and(is_token) && parts.next().is_none_or(is_token) && parts.next().is_none()
}

/// RFC 9110 §5.6.2.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: Method, version: Version, fields: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn of(fields: &[(&str, &str)]) -> Result<Option<String>, String> {
        let protocol = asked(&head(Method::GET, Version::HTTP_11, fields), false)?;
        Ok(protocol.map(|protocol| protocol.value().to_str().unwrap().to_owned()))
    }

    #[test]
    fn one_protocol_that_connection_names_is_passed_on_as_it_is_written() {
        for (connection, upgrade) in [
            ("Upgrade", "websocket"),
            ("keep-alive, upgrade", "WebSocket"),
            ("UPGRADE", "IRC/6.9"),
            ("upgrade", "spdy/3.1"),
        ] {
            let fields = [("connection", connection), ("upgrade", upgrade)];
            assert_eq!(of(&fields).unwrap().as_deref(), Some(upgrade));
        }
        let split = [("connection", "keep-alive"), ("connection", "upgrade"), ("upgrade", "websocket")];
        assert_eq!(of(&split).unwrap().as_deref(), Some("websocket"));
    }

    #[test]
    fn what_is_no_upgrade_is_an_ordinary_request() {
        let upgrade = ("upgrade", "websocket");
        for fields in [
            &[][..],
            &[upgrade],
            &[("connection", "upgrade")],
            &[("connection", "keep-alive"), upgrade],
            &[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")],
            &[("connection", "upgrade"), ("upgrade", "H2C")],
        ] {
            assert_eq!(of(fields).unwrap(), None, "{fields:?}");
        }
        let fields = [("connection", "upgrade"), upgrade];
        for (method, version, has_body) in [
            (Method::POST, Version::HTTP_11, false),
            (Method::HEAD, Version::HTTP_11, false),
            (Method::GET, Version::HTTP_10, false),
            (Method::GET, Version::HTTP_11, true),
        ] {
            assert_eq!(asked(&head(method, version, &fields), has_body).unwrap(), None);
        }
    }

    #[test]
    fn an_ambiguous_one_is_refused() {
        let connection = ("connection", "upgrade");
        for upgrades in [
            &[("upgrade", "websocket"), ("upgrade", "websocket")][..],
            &[("upgrade", "websocket, h2c")],
            &[("upgrade", "h2c, websocket")],
            &[("upgrade", "websocket,")],
            &[("upgrade", "")],
            &[("upgrade", "web socket")],
            &[("upgrade", "a/b/c")],
            &[("upgrade", "a/")],
        ] {
            let fields = [&[connection], upgrades].concat();
            assert!(of(&fields).unwrap_err().contains("one Upgrade field"), "{fields:?}");
        }
    }

    #[test]
    fn an_answer_switches_only_to_what_was_asked_for() {
        let protocol = Protocol { name: HeaderValue::from_static("websocket"), key: None };
        let accepts = |fields: &[(&str, &str)]| {
            protocol.is_accepted(&head(Method::GET, Version::HTTP_11, fields).headers)
        };
        assert!(accepts(&[("connection", "Upgrade"), ("upgrade", "WebSocket")]));
        assert!(!accepts(&[("connection", "Upgrade"), ("upgrade", "h2c")]));
        assert!(!accepts(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")]));
        assert!(!accepts(&[("upgrade", "websocket")]));
        assert!(!accepts(&[("connection", "Upgrade")]));
    }
}
