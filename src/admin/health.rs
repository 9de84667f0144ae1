//! `/healthz`, `/readyz` and `/metrics`: for the kubelet and Prometheus, without a token, so nothing secret.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::fleet::Fleet;
use super::problem::{Problem, with_body};
use super::server::Handler;
use crate::metrics::Metrics;

const TEXT: &str = "text/plain; charset=utf-8";
/// What the exposition format of [`Metrics::render`] is called.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers on the health port.
pub struct Health {
    fleet: Arc<dyn Fleet>,
    metrics: Arc<Metrics>,
}

impl Health {
    /// Health of this fleet.
    pub fn new(fleet: Arc<dyn Fleet>, metrics: Arc<Metrics>) -> Self {
        Self { fleet, metrics }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !["/healthz", "/readyz", "/metrics"].contains(&path) {
            let detail = "this port serves /healthz, /readyz and /metrics";
            return Problem::new(StatusCode::NOT_FOUND, detail).into_response();
        }
        if method != Method::GET && method != Method::HEAD {
            return Problem::method_not_allowed("GET, HEAD").into_response();
        }
        match path {
            "/healthz" => with_body(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => self.ready(),
            _ => {
                self.metrics.held_bytes(self.fleet.held_body_bytes());
                with_body(StatusCode::OK, EXPOSITION, self.metrics.render())
            }
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let not = |why: &'static str| with_body(StatusCode::SERVICE_UNAVAILABLE, TEXT, why);
        if self.fleet.is_ending() {
            not("not ready: Drowse is shutting down\n")
        } else if !self.fleet.is_ready() {
            not("not ready: not all agents are known yet\n")
        } else {
            with_body(StatusCode::OK, TEXT, "ready\n")
        }
    }
}

impl Handler for Health {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Response<Full<Bytes>>> {
        Box::pin(std::future::ready(self.answer(request.method(), request.uri().path())))
    }
}
