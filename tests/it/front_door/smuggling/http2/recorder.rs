//! An agent with HTTP/2 that takes down what it gets, as [`Recorder`] does with HTTP/1.1.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::super::super::recorder::{Heard, Recorder};
use super::super::super::world::LOCAL;

pub(super) async fn listen() -> (Recorder, u16) {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let recorder = Recorder::default();
    let listening = recorder.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let recorder = listening.clone();
            let service = service_fn(move |request| listen_to(recorder.clone(), request));
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    (recorder, port)
}

async fn listen_to(
    recorder: Recorder,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let first = format!("{} {target} HTTP/1.1", head.method);
    match body.collect().await {
        Ok(all) => {
            let trailers = all.trailers().map(lines).unwrap_or_default();
            let body = String::from_utf8_lossy(&all.to_bytes()).into_owned();
            recorder.hear(Heard { first, fields: lines(&head.headers), body, trailers });
        }
        Err(_) => recorder.wonder(format!("a part of a request: {first:?}")),
    }
    Ok(Response::new(Full::new(Bytes::from_static(b"ok"))))
}

fn lines(fields: &HeaderMap) -> Vec<String> {
    fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect()
}
