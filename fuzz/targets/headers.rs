//! The headers of a message, which its sender chooses: whatever they are, they do no harm, none of ours are passed on, and what is
//! passed on are whole lines.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "only what reads is tried")]
#[path = "../../src/nats/headers.rs"]
mod headers;

fuzz_target!(|block: &[u8]| {
    let looked_up = headers::value(block, headers::HOLD_ID).is_some();
    let Ok(parsed) = headers::parse(block) else { return };
    assert!(parsed.get(headers::HOLD_ID).is_none() && parsed.get(headers::REDELIVERED).is_none());
    for (name, values) in parsed.iter() {
        let name = name.to_string();
        assert!(!name.is_empty() && !name.contains([':', '\r', '\n']), "{name:?}");
        assert!(!values.is_empty());
        for value in values {
            assert!(!value.as_str().contains(['\r', '\n']), "{value:?} would be two lines");
        }
    }
    assert!(!looked_up || block.starts_with(b"NATS/1.0"));
});
