//! An API server that a test plays.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;

/// What it was asked.
pub(super) struct Asked {
    pub(super) method: String,
    /// Null if there was none.
    pub(super) body: Value,
}

/// A client of one that answers by this, with a status and an object; and all that it was asked.
pub(super) async fn api(
    answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static,
) -> (Client, Arc<Mutex<Vec<Asked>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, all) = (Arc::new(answer), Arc::<Mutex<Vec<Asked>>>::default());
    let noted = Arc::clone(&all);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
            let service = service_fn(move |request: Request<Incoming>| {
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                async move {
                    let method = request.method().to_string();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let asked = Asked { method, body: serde_json::from_slice(&body).unwrap_or_default() };
                    let (status, object) = answer(&asked);
                    noted.lock().push(asked);
                    let body = Full::new(Bytes::from(object.to_string()));
                    Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let mut config = Config::new(format!("http://{address}").parse().unwrap());
    config.default_retry = false;
    (Client::try_from(config).unwrap(), all)
}
