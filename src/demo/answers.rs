//! Answers in the shapes that the demo agent has.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::bodies::{self, Body};

pub(super) fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = with_type("application/json", bodies::full(format!("{value}\n")));
    *response.status_mut() = status;
    response
}

pub(super) fn text(content: impl Into<Bytes>) -> Response<Body> {
    with_type("text/plain", bodies::full(content))
}

/// Bytes, as many as are announced.
pub(super) fn of_length(length: u64, body: Body) -> Response<Body> {
    let mut response = with_type("application/octet-stream", body);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

pub(super) fn with_type(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
