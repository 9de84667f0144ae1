//! What is read, what is refused, and that no bytes do harm.

use proptest::prelude::*;

use super::*;

fn decode(bytes: &[u8]) -> Result<Vec<Op>, Malformed> {
    decode_in(bytes, bytes.len().max(1))
}

/// As it comes off the wire in pieces of this size.
fn decode_in(bytes: &[u8], piece: usize) -> Result<Vec<Op>, Malformed> {
    let (mut decoder, mut buffer, mut ops) = (Decoder::new(1024), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        while let Some(op) = decoder.next(&mut buffer)? {
            ops.push(op);
        }
    }
    Ok(ops)
}

fn message(subject: &'static str, reply: Option<&'static str>, queues: &[&'static str]) -> Message {
    let bytes = |word: &'static str| Bytes::from_static(word.as_bytes());
    Message {
        subject: bytes(subject),
        reply: reply.map(bytes),
        queues: queues.iter().copied().map(bytes).collect(),
        headers: None,
        payload: bytes("hello"),
    }
}

fn only(bytes: &str) -> Op {
    let mut ops = decode(bytes.as_bytes()).unwrap();
    assert_eq!(ops.len(), 1, "{ops:?}");
    ops.remove(0)
}

#[test]
fn a_message_in_memory_of_its_own_is_the_same() {
    let full = Message {
        subject: "s".into(),
        reply: Some("r".into()),
        queues: vec!["q".into(), "other".into()],
        headers: Some("NATS/1.0\r\n\r\n".into()),
        payload: "body".into(),
    };
    let bare =
        Message { reply: None, queues: Vec::new(), headers: None, payload: Bytes::new(), ..full.clone() };
    for message in [full, bare] {
        assert_eq!(message.detached(), message);
    }
}

#[test]
fn every_way_to_address_a_message_is_read() {
    for (line, expected) in [
        ("LMSG a.b 5", message("a.b", None, &[])),
        ("LMSG a.b _INBOX.r 5", message("a.b", Some("_INBOX.r"), &[])),
        ("LMSG a.b + _INBOX.r q 5", message("a.b", Some("_INBOX.r"), &["q"])),
        ("LMSG a.b + _INBOX.r q1 q2 5", message("a.b", Some("_INBOX.r"), &["q1", "q2"])),
        ("LMSG a.b | q 5", message("a.b", None, &["q"])),
        ("lmsg  a.b\t| q1 q2  5", message("a.b", None, &["q1", "q2"])),
    ] {
        assert_eq!(only(&format!("{line}\r\nhello\r\n")), Op::Message(expected), "{line}");
    }
}

#[test]
fn headers_are_kept_as_they_are() {
    let headers = "NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n";
    let wire = format!("HMSG a.b + r q {} {}\r\n{headers}hello\r\n", headers.len(), headers.len() + 5);
    let expected = Message { headers: Some(headers.into()), ..message("a.b", Some("r"), &["q"]) };
    assert_eq!(only(&wire), Op::Message(expected));
}

#[test]
fn a_payload_may_look_like_the_protocol_and_may_be_empty() {
    let wire = b"LMSG a 6\r\nPING\r\n\r\nLMSG b 0\r\n\r\nPING\r\n";
    let ops = decode(wire).unwrap();
    let payloads: Vec<_> = ops
        .iter()
        .map(|op| match op {
            Op::Message(message) => &message.payload[..],
            _ => b"none",
        })
        .collect();
    assert_eq!(payloads, [&b"PING\r\n"[..], b"", b"none"]);
}

#[test]
fn interest_comes_with_or_without_a_queue_and_its_weight() {
    let of = |subject: &'static str, queue: Option<&'static str>| Interest {
        subject: subject.into(),
        queue: queue.map(Into::into),
    };
    assert_eq!(only("LS+ a.>\r\n"), Op::Interest(of("a.>", None)));
    assert_eq!(only("LS+ a.b q 3\r\n"), Op::Interest(of("a.b", Some("q"))));
    assert_eq!(only("LS- a.b q\r\n"), Op::NoInterest(of("a.b", Some("q"))));
    assert_eq!(only("LS- a.>\r\n"), Op::NoInterest(of("a.>", None)));
}

#[test]
fn the_server_speaks_about_itself() {
    assert_eq!(only("INFO {\"a\": 1}\r\n"), Op::Info("{\"a\": 1}".into()));
    assert_eq!(only("-ERR 'Authorization Violation'\r\n"), Op::Err("Authorization Violation".to_owned()));
    assert_eq!(only("+OK\r\n"), Op::Ok);
    assert_eq!(only("PONG\n"), Op::Pong);
}

#[test]
fn what_is_not_the_protocol_is_refused() {
    for line in [
        "MSG a 1 5",
        "LMSG 5",
        "LMSG a five",
        "LMSG a -1",
        "LMSG a 9999999999",
        "LMSG a + r 5",
        "LMSG a | 5",
        "LMSG a b c 5",
        "HMSG a 5",
        "HMSG a 6 5",
        "LS+",
        "LS+ a q 1 2",
        "",
    ] {
        let found = decode(format!("{line}\r\nhello\r\n").as_bytes());
        assert!(matches!(found, Err(Malformed::Line(_))), "{line}: {found:?}");
    }
    assert_eq!(decode(b"LMSG a 3\r\nhello\r\n"), Err(Malformed::End));
    assert_eq!(decode(b"LMSG a 1025\r\n"), Err(Malformed::LargeMessage { size: 1025, max: 1024 }));
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let (mut decoder, mut buffer) = (Decoder::new(1024), BytesMut::from(&b"INFO "[..]));
    let refused = (0..100).find_map(|_| {
        buffer.extend_from_slice(&[b'x'; 10_000]);
        decoder.next(&mut buffer).err()
    });
    assert_eq!(refused, Some(Malformed::LongLine));
    assert!(buffer.len() < MAX_LINE + 20_000);
}

#[test]
fn registrations_are_what_the_server_reads() {
    let mut out = String::new();
    subscribe(&mut out, "a.b", Some("q"));
    subscribe(&mut out, "a.b", None);
    unsubscribe(&mut out, "a.b", Some("q"));
    unsubscribe(&mut out, "a.b", None);
    assert_eq!(out, "LS+ a.b q 1\r\nLS+ a.b\r\nLS- a.b q\r\nLS- a.b\r\n");
}

proptest! {
    #[test]
    fn where_the_bytes_are_cut_makes_no_difference(piece in 1_usize..40, sizes in prop::collection::vec(0_usize..60, 1..8)) {
        let mut wire = String::new();
        for size in sizes {
            let headers = "NATS/1.0\r\n\r\n";
            let _ = write!(wire, "LMSG a.b + r q {size}\r\n{}\r\nPING\r\n", "\n".repeat(size));
            let _ = write!(wire, "HMSG a {} {}\r\n{headers}{}\r\n", headers.len(), headers.len() + size, "x".repeat(size));
        }
        prop_assert_eq!(decode(wire.as_bytes()), decode_in(wire.as_bytes(), piece));
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
        let _ = decode_in(&bytes, piece);
    }

    #[test]
    fn nothing_that_resembles_the_protocol_makes_it_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "LMSG", "HMSG", "LS+", "LS-", "PING", "INFO", "-ERR", " ", "+", "|", "a.b", "q", "0", "5", "12", "\r\n", "\n", "\r",
                "NATS/1.0",
            ]),
            0..60,
        ),
        piece in 1_usize..20,
    ) {
        let _ = decode_in(words.join(" ").as_bytes(), piece);
        let _ = decode_in(words.concat().as_bytes(), piece);
    }
}
