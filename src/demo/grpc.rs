//! The demo agent's gRPC: the service `grpc.health.v1.Health`, which probes and clients know.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};

use super::bodies::Body;

/// The path of the call that it has.
pub(super) const CHECK: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckResponse { status: SERVING }`: one message, not compressed, of two bytes.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 1];

/// The answer, whatever service was asked about.
pub(super) fn check() -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(SERVING)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.map_err(|never: Infallible| match never {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
