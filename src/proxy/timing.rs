//! Tells a caller what its wait was spent on: `Server-Timing` and `Drowse-Start`.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::engine::Waited;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const DROWSE_START: HeaderName = HeaderName::from_static("drowse-start");

/// Writes both on an agent's answer. What the agent itself says under these names does not count: `Drowse-Start`
/// is always replaced, `Server-Timing` when there is a wait to tell of.
pub(super) fn tell(headers: &mut HeaderMap, waited: Option<Waited>) {
    let start = if waited.is_some_and(|waited| waited.cold) { "cold" } else { "warm" };
    headers.insert(DROWSE_START, HeaderValue::from_static(start));
    if let Some(Waited { hold, resume, probe, attest, .. }) = waited {
        insert(headers, &[("hold", hold), ("resume", resume), ("probe", probe), ("attest", attest)]);
    }
}

/// Writes how long a caller was held before we gave up.
pub(super) fn tell_hold(headers: &mut HeaderMap, hold: Duration) {
    insert(headers, &[("hold", hold)]);
}

fn insert(headers: &mut HeaderMap, parts: &[(&str, Duration)]) {
    let mut text = String::with_capacity(80);
    for (name, took) in parts {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{separator}{name};dur={:.1}", took.as_secs_f64() * 1000.0);
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(SERVER_TIMING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_milliseconds_and_what_the_agent_says_of_it_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.append(SERVER_TIMING, HeaderValue::from_static("hold;dur=0"));
        headers.append(SERVER_TIMING, HeaderValue::from_static("db;dur=3"));
        headers.append(DROWSE_START, HeaderValue::from_static("warm"));
        let waited = Waited {
            hold: Duration::from_micros(1_234_560),
            resume: Duration::from_millis(900),
            probe: Duration::from_micros(5300),
            attest: Duration::from_millis(5),
            cold: true,
        };
        tell(&mut headers, Some(waited));
        let all: Vec<_> = headers.get_all(SERVER_TIMING).iter().collect();
        assert_eq!(all, ["hold;dur=1234.6, resume;dur=900.0, probe;dur=5.3, attest;dur=5.0"]);
        assert_eq!(headers.get_all(DROWSE_START).iter().collect::<Vec<_>>(), ["cold"]);
    }

    #[test]
    fn an_answer_that_did_not_wait_keeps_the_timing_of_its_agent() {
        let mut headers = HeaderMap::new();
        headers.append(SERVER_TIMING, HeaderValue::from_static("db;dur=3"));
        tell(&mut headers, None);
        assert_eq!(headers[SERVER_TIMING], "db;dur=3");
        assert_eq!(headers[DROWSE_START], "warm");
    }

    #[test]
    fn a_wait_for_an_agent_that_was_up_is_warm() {
        let mut headers = HeaderMap::new();
        let zero = Duration::ZERO;
        let waited = Waited { hold: zero, resume: zero, probe: zero, attest: zero, cold: false };
        tell(&mut headers, Some(waited));
        assert_eq!(headers[DROWSE_START], "warm");
        assert!(headers.contains_key(SERVER_TIMING));
    }
}
