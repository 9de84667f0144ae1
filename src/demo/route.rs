//! What a path asks for. Reads targets only; does nothing.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use http::{StatusCode, Uri};

use crate::units::{HumanDuration, Written as _};

/// Every path, as the answer to an unknown one lists them.
pub(super) const PATHS: [&str; 13] = [
    "/",
    "/bytes/<n>",
    "/close",
    "/crash",
    "/echo",
    "/echo/body",
    "/healthz",
    "/relay?to=http://<host>:<port>/<path>",
    "/requests",
    "/slow?for=10s&every=1s",
    "/sse?every=1s&count=5",
    "/status/<code>",
    "/upload",
];

const MAX_LENGTH: Duration = Duration::from_hours(1);
const MIN_EVERY: Duration = Duration::from_millis(10);
const MAX_COUNT: u32 = 100_000;
const MAX_BYTES: u64 = 1 << 30;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    State,
    Bytes(u64),
    Close,
    Crash,
    Echo,
    EchoBody,
    Health,
    Relay(Uri),
    Requests,
    Slow { length: Duration, every: Duration },
    Events { every: Duration, count: u32 },
    Status(StatusCode),
    Upload,
}

/// Why a target asks for nothing that the demo agent has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    #[error("the demo agent has no such path")]
    Unknown,
    #[error("{0}")]
    Invalid(String),
}

impl Route {
    /// Reads a target. Query parameters that it does not know are ignored.
    pub(super) fn of(target: &Uri) -> Result<Self, RouteError> {
        let query = Query(target.query().unwrap_or_default());
        match target.path() {
            "/" => Ok(Self::State),
            "/close" => Ok(Self::Close),
            "/crash" => Ok(Self::Crash),
            "/echo" => Ok(Self::Echo),
            "/echo/body" => Ok(Self::EchoBody),
            "/healthz" => Ok(Self::Health),
            "/relay" => query.target().map(Self::Relay),
            "/requests" => Ok(Self::Requests),
            "/slow" => Ok(Self::Slow { length: query.duration("for", 10)?, every: query.every()? }),
            "/sse" => Ok(Self::Events { every: query.every()?, count: query.count()? }),
            "/upload" => Ok(Self::Upload),
            path => Self::with_number(path),
        }
    }

    fn with_number(path: &str) -> Result<Self, RouteError> {
        if let Some(number) = path.strip_prefix("/bytes/") {
            return bounded("the number of bytes", number, &(0..=MAX_BYTES)).map(Self::Bytes);
        }
        if let Some(code) = path.strip_prefix("/status/") {
            let code = bounded("the status", code, &(200..=599))?;
            let code = StatusCode::from_u16(code).map_err(|error| RouteError::Invalid(error.to_string()))?;
            return Ok(Self::Status(code));
        }
        Err(RouteError::Unknown)
    }

    /// Whether the answer is made from the body of the request, or must not wait for it.
    pub(super) fn takes_body(&self) -> bool {
        matches!(self, Self::EchoBody | Self::Upload | Self::Close | Self::Crash)
    }
}

/// The query of a target, as it is written. The first of several parameters with one name counts.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then_some(value))
    }

    fn duration(&self, name: &str, default_secs: u64) -> Result<Duration, RouteError> {
        let Some(text) = self.get(name) else { return Ok(Duration::from_secs(default_secs)) };
        match HumanDuration::read(text) {
            Ok(duration) if duration.get() <= MAX_LENGTH => Ok(duration.get()),
            Ok(_) => Err(RouteError::Invalid(format!("{name}: {text:?} is too long; write at most 1h"))),
            Err(error) => Err(RouteError::Invalid(format!("{name}: {error}"))),
        }
    }

    fn every(&self) -> Result<Duration, RouteError> {
        match self.duration("every", 1)? {
            every if every < MIN_EVERY => {
                Err(RouteError::Invalid("every: this is too short; write at least 10ms".into()))
            }
            every => Ok(every),
        }
    }

    fn target(&self) -> Result<Uri, RouteError> {
        let text = self.get("to").unwrap_or_default();
        match text.parse::<Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() => Ok(uri),
            _ => {
                Err(RouteError::Invalid(format!("to is {text:?}; write an http:// URL without an ampersand")))
            }
        }
    }

    fn count(&self) -> Result<u32, RouteError> {
        self.get("count").map_or(Ok(5), |text| bounded("count", text, &(0..=MAX_COUNT)))
    }
}

fn bounded<N>(what: &str, text: &str, bounds: &RangeInclusive<N>) -> Result<N, RouteError>
where
    N: FromStr + PartialOrd + Display,
{
    match text.parse() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(RouteError::Invalid(format!(
            "{what} is {text:?}; write a whole number from {} to {}",
            bounds.start(),
            bounds.end()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(target: &str) -> Result<Route, RouteError> {
        Route::of(&target.parse().unwrap())
    }

    #[test]
    fn parameters_are_read_and_have_defaults() {
        let secs = Duration::from_secs;
        let expected = [
            ("/slow", Route::Slow { length: secs(10), every: secs(1) }),
            ("/slow?for=3m&every=10ms", Route::Slow { length: secs(180), every: MIN_EVERY }),
            ("/slow?x&every=2s&for=0s&for=9s", Route::Slow { length: secs(0), every: secs(2) }),
            ("/sse", Route::Events { every: secs(1), count: 5 }),
            ("/sse?count=100000", Route::Events { every: secs(1), count: 100_000 }),
            ("/bytes/1073741824", Route::Bytes(MAX_BYTES)),
            ("/relay?to=http://b.x:81/y?z=1", Route::Relay(Uri::from_static("http://b.x:81/y?z=1"))),
            ("/status/404", Route::Status(StatusCode::NOT_FOUND)),
            ("/status/599", Route::Status(StatusCode::from_u16(599).unwrap())),
        ];
        for (target, expected) in expected {
            assert_eq!(route(target), Ok(expected), "{target}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_answered_with_what_to_write() {
        let wrong = [
            ("/slow?for=61m", r#"for: "61m" is too long; write at most 1h"#),
            ("/slow?for=3", r#"for: "3" has no unit; write 3s, or 3m for minutes"#),
            ("/slow?every=9ms", "every: this is too short; write at least 10ms"),
            ("/sse?every=0s", "every: this is too short; write at least 10ms"),
            ("/sse?count=100001", r#"count is "100001"; write a whole number from 0 to 100000"#),
            ("/bytes/-1", r#"the number of bytes is "-1"; write a whole number from 0 to 1073741824"#),
            (
                "/bytes/1073741825",
                r#"the number of bytes is "1073741825"; write a whole number from 0 to 1073741824"#,
            ),
            ("/relay", r#"to is ""; write an http:// URL without an ampersand"#),
            ("/relay?to=/x", r#"to is "/x"; write an http:// URL without an ampersand"#),
            ("/status/101", r#"the status is "101"; write a whole number from 200 to 599"#),
            ("/status/ok", r#"the status is "ok"; write a whole number from 200 to 599"#),
        ];
        for (target, sentence) in wrong {
            assert_eq!(route(target), Err(RouteError::Invalid(sentence.into())), "{target}");
        }
    }

    #[test]
    fn every_listed_path_exists_and_others_do_not() {
        for path in PATHS {
            let target = path
                .replace("<n>", "1")
                .replace("<code>", "200")
                .replace('<', "")
                .replace(":port>", ":80")
                .replace('>', "");
            assert!(route(&target).is_ok(), "{target}");
        }
        for path in ["/nope", "/echo/", "/healthz/", "/bytes", "/statuses/200"] {
            assert_eq!(route(path), Err(RouteError::Unknown), "{path}");
        }
    }
}
