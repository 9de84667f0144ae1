//! Pure: how a held message is written into the hold stream, and read back.
//!
//! The headers of the message are part of the body: JetStream would obey some of them (`Nats-Msg-Id`, `Nats-Rollup`,
//! `Nats-Expected-*` and others).

use async_nats::HeaderMap;
use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;

use super::leaf::codec::Message;

const SUBJECT: &str = "Drowse-Subject";
const REPLY: &str = "Drowse-Reply";
const QUEUE: &str = "Drowse-Queue";
const ARRIVED: &str = "Drowse-Arrived";
const HEADER_SIZE: &str = "Drowse-Header-Size";

/// A held message as a message of the stream; `None` if its subject is not one.
pub fn write(message: &Message, arrived: Timestamp) -> Option<(HeaderMap, Bytes)> {
    let text = |bytes: &Bytes| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let mut headers = HeaderMap::new();
    headers.insert(SUBJECT, text(&message.subject)?);
    if let Some(reply) = message.reply.as_ref().and_then(text) {
        headers.insert(REPLY, reply);
    }
    for queue in message.queues.iter().filter_map(text) {
        headers.append(QUEUE, queue);
    }
    headers.insert(ARRIVED, arrived.to_string());
    let own = message.headers.clone().unwrap_or_default();
    headers.insert(HEADER_SIZE, own.len().to_string());
    let mut body = BytesMut::with_capacity(own.len() + message.payload.len());
    body.put(own);
    body.put(message.payload.clone());
    Some((headers, body.freeze()))
}

/// The held message again, and when it came; `None` if the stream has something else.
pub fn read(headers: &HeaderMap, mut body: Bytes) -> Option<(Message, Timestamp)> {
    let value = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
    let header_size: usize = value(HEADER_SIZE)?.parse().ok()?;
    if header_size > body.len() {
        return None;
    }
    let own = body.split_to(header_size);
    let message = Message {
        subject: Bytes::copy_from_slice(value(SUBJECT)?.as_bytes()),
        reply: value(REPLY).map(|reply| Bytes::copy_from_slice(reply.as_bytes())),
        queues: headers
            .get_all(QUEUE)
            .map(|queue| Bytes::copy_from_slice(queue.as_str().as_bytes()))
            .collect(),
        headers: (!own.is_empty()).then_some(own),
        payload: body,
    };
    Some((message, value(ARRIVED)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_to_the_byte() {
        let arrived: Timestamp = "2026-11-24T10:00:00.123Z".parse().unwrap();
        let full = Message {
            subject: "agents.a.b".into(),
            reply: Some("_INBOX.x.1".into()),
            queues: vec!["q".into()],
            headers: Some("NATS/1.0\r\nNats-Rollup: all\r\n\r\n".into()),
            payload: Bytes::from_static(b"\0\xff body"),
        };
        let bare = Message { reply: None, headers: None, payload: Bytes::new(), ..full.clone() };
        for message in [full, bare] {
            let (headers, body) = write(&message, arrived).unwrap();
            assert!(headers.get("Nats-Rollup").is_none(), "it is not for JetStream to obey");
            assert_eq!(read(&headers, body), Some((message, arrived)));
        }
    }

    #[test]
    fn something_else_in_the_stream_is_not_a_message() {
        assert_eq!(read(&HeaderMap::new(), Bytes::from_static(b"hello")), None);
        let mut headers = HeaderMap::new();
        headers.insert(SUBJECT, "a");
        headers.insert(HEADER_SIZE, "100");
        assert_eq!(read(&headers, Bytes::from_static(b"short")), None);
    }
}
