//! What a path asks for. Reads targets only; does nothing.

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use http::{StatusCode, Uri};

use super::grpc;
use super::runtime::Call;
use crate::units::{HumanDuration, Written as _};

/// Every path but those of the runtime API, as the answer to an unknown one lists them.
pub(super) const PATHS: [&str; 17] = [
    "/",
    "/bytes/<n>",
    "/checksum",
    "/close",
    "/crash",
    "/echo",
    "/echo/body",
    "/grpc.health.v1.Health/Check",
    "/healthz",
    "/relay?to=http://127.0.0.1:9101/",
    "/readyz",
    "/requests",
    "/slow?for=10s&every=1s",
    "/sse?every=1s&count=5",
    "/status/<code>",
    "/whoami",
    "/ws",
];

const MAX_LENGTH: Duration = Duration::from_hours(1);
const MIN_EVERY: Duration = Duration::from_millis(10);
const MAX_COUNT: u32 = 100_000;
const MAX_BYTES: u64 = 1 << 30;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    State,
    Bytes(u64),
    Checksum,
    Close,
    Crash,
    Echo,
    EchoBody,
    GrpcHealth,
    Health,
    Relay(Uri),
    Ready,
    Requests,
    Runtime(Call<'a>),
    Slow { length: Duration, every: Duration },
    Events { every: Duration, count: u32 },
    Status(StatusCode),
    WebSocket,
    Whoami,
}

/// Why a target asks for nothing that the demo agent has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    #[error("the demo agent has no such path")]
    Unknown,
    #[error("{0}")]
    Invalid(String),
}

impl<'a> Route<'a> {
    /// Reads a target. Query parameters that it does not know are ignored.
    pub(super) fn of(target: &'a Uri) -> Result<Self, RouteError> {
        let query = Query(target.query().unwrap_or_default());
        match target.path() {
            "/" => Ok(Self::State),
            "/checksum" => Ok(Self::Checksum),
            "/close" => Ok(Self::Close),
            "/crash" => Ok(Self::Crash),
            "/echo" => Ok(Self::Echo),
            "/echo/body" => Ok(Self::EchoBody),
            grpc::CHECK => Ok(Self::GrpcHealth),
            "/healthz" => Ok(Self::Health),
            "/relay" => query.target().map(Self::Relay),
            "/readyz" => Ok(Self::Ready),
            "/requests" => Ok(Self::Requests),
            "/slow" => Ok(Self::Slow { length: query.duration("for", 10)?, every: query.every()? }),
            "/sse" => Ok(Self::Events { every: query.every()?, count: query.count()? }),
            "/whoami" => Ok(Self::Whoami),
            "/ws" => Ok(Self::WebSocket),
            path => Call::of(path).map_or_else(|| Self::with_number(path), |call| Ok(Self::Runtime(call))),
        }
    }

    fn with_number(path: &'a str) -> Result<Self, RouteError> {
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
        matches!(
            self,
            Self::Checksum
                | Self::EchoBody
                | Self::Close
                | Self::Crash
                | Self::Runtime(Call::Execute | Call::Upload)
        )
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
