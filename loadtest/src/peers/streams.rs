//! The same callers as streams of HTTP/2, many on each connection: what a held stream costs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::contender::{Contender, Entry, Name};
use super::drowse::Fronted;
use super::held::BODY_BYTES;
use super::placement::Placement;
use crate::drowse::Program;

/// On one connection. Drowse allows 200 by itself.
const STREAMS_EACH: u32 = 100;
const REST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(1);

/// Resident memory that came with each of many held streams, and its share of a connection.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Streams {
    pub(super) name: Name,
    pub(super) held: u32,
    pub(super) kb_each: f64,
}

/// Drowse and bare hyper.
pub(super) async fn measure(
    program: &Program,
    placement: Placement,
    number: u32,
) -> anyhow::Result<Vec<Streams>> {
    let dir = TempDir::new()?;
    let go = dir.path().join("drowse");
    let drowse = Fronted::start(program, placement, Some(&go), Some(number)).await?;
    let mut all = vec![hold(&drowse.entry(), &go, number).await?];
    let go = dir.path().join("hyper");
    let hyper = Contender::hyper(placement, drowse.upstream(), Some(&go), &["--http2"]).await?;
    all.push(hold(&hyper.entry, &go, number).await?);
    hyper.end().await?;
    drowse.end().await?;
    Ok(all)
}

async fn hold(entry: &Entry, go: &Path, number: u32) -> anyhow::Result<Streams> {
    let before = entry.rss_kb()?;
    let mut calls = JoinSet::new();
    for _ in 0..number.div_ceil(STREAMS_EACH) {
        let connection = connect(entry).await?;
        for _ in 0..STREAMS_EACH {
            calls.spawn(call(connection.clone(), entry.host.clone()));
        }
    }
    let number = u32::try_from(calls.len())?;
    tokio::time::sleep(REST).await;
    ensure!(calls.try_join_next().is_none(), "{} does not hold its callers", entry.name);
    let kb = entry.rss_kb()?.saturating_sub(before);
    std::fs::write(go, "").context("failed to let them go")?;
    let ends = tokio::time::timeout(PATIENCE, calls.join_all()).await;
    for end in ends.with_context(|| format!("{} does not serve all streams", entry.name))? {
        let status = end.with_context(|| format!("{} does not answer", entry.name))?;
        ensure!(status == StatusCode::OK, "{} answers {status}", entry.name);
    }
    Ok(Streams { name: entry.name, held: number, kb_each: kb as f64 / f64::from(number) })
}

async fn connect(entry: &Entry) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(entry.to.address()).await?;
    stream.set_nodelay(true)?;
    let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    // What breaks it also fails the requests that wait on it.
    tokio::spawn(async move { driver.await.unwrap_or_default() });
    Ok(sender)
}

async fn call(mut connection: SendRequest<Full<Bytes>>, host: String) -> anyhow::Result<StatusCode> {
    let body = Full::from(vec![b'x'; BODY_BYTES]);
    let request = Request::post(format!("http://{host}/healthz")).body(body)?;
    let answer = connection.send_request(request).await?;
    let status = answer.status();
    answer.into_body().collect().await?;
    Ok(status)
}
