//! What a server sends over a leaf-node link: whatever it is, it does no harm, takes no more memory than a message may, and is
//! the same in whatever pieces it is read.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "only what reads is tried")]
#[path = "../../src/nats/leaf/codec.rs"]
mod codec;

use codec::{Decoder, MAX_LINE, Malformed, Op};

const MAX_MESSAGE: usize = 1024;

// The first bytes say how large the pieces are.
fuzz_target!(|input: &[u8]| {
    let (sizes, bytes) = input.split_at(input.len().min(4));
    assert_eq!(decode(bytes, sizes), decode(bytes, &[]));
});

/// Everything up to the first mistake, read in pieces of these sizes again and again, or at once.
fn decode(bytes: &[u8], sizes: &[u8]) -> (Vec<Op>, Option<Malformed>) {
    let (mut decoder, mut buffer, mut ops) = (Decoder::new(MAX_MESSAGE), BytesMut::new(), Vec::new());
    let mut sizes = sizes.iter().map(|size| usize::from(*size) + 1).cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, later) = rest.split_at(size);
        rest = later;
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Some(op)) => ops.push(op),
                Ok(None) => break,
                Err(mistake) => return (ops, Some(mistake)),
            }
        }
        assert!(buffer.len() <= MAX_LINE + size, "it keeps what it could have taken");
        assert!(buffer.capacity() <= 2 * (MAX_MESSAGE + bytes.len()) + 64, "it makes room for more than may come");
    }
    (ops, None)
}
