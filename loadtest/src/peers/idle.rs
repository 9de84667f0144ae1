//! What a connection costs on which nothing is asked any more, and which stays open.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::StatusCode;
use serde::Serialize;

use super::contender::{Contender, Entry, Name};
use super::drowse::Fronted;
use super::placement::Placement;
use super::raw::{self, Raw};
use crate::drowse::Program;

/// From the last answer to the look at the memory: what a proxy gives back late is given back by then.
const REST: Duration = Duration::from_secs(15);

/// Resident memory that came with each of many connections.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Idle {
    pub(super) name: Name,
    pub(super) connections: u32,
    pub(super) kb_each: f64,
}

/// All, each a process that has done nothing before.
pub(super) async fn measure(
    program: &Program,
    placement: Placement,
    number: u32,
) -> anyhow::Result<Vec<Idle>> {
    let drowse = Fronted::start(program, placement, None, Some(number)).await?;
    drowse.wake().await?;
    let mut all = vec![keep(&drowse.entry(), number).await?];
    let upstream = drowse.upstream();
    for contender in [
        Contender::hyper(placement, upstream, None, &[]).await?,
        Contender::nginx(placement, upstream).await?,
        Contender::haproxy(placement, upstream).await?,
    ] {
        all.push(keep(&contender.entry, number).await?);
        contender.end().await?;
    }
    drowse.end().await?;
    Ok(all)
}

/// Asks once on each connection, and looks when all are idle.
async fn keep(entry: &Entry, number: u32) -> anyhow::Result<Idle> {
    let request = raw::get(&entry.host);
    let mut first = Raw::open(entry.to, request.clone()).await?;
    first.send().await?;
    first.receive().await?;
    let before = entry.rss_kb()?;
    let mut connections = Raw::open_all(entry.to, &request, number).await?;
    for connection in &mut connections {
        connection.send().await?;
        let status = connection.receive().await.with_context(|| format!("{} does not answer", entry.name))?;
        ensure!(status == StatusCode::OK, "{} answers {status}", entry.name);
    }
    tokio::time::sleep(REST).await;
    let kb = entry.rss_kb()?.saturating_sub(before);
    Ok(Idle { name: entry.name, connections: number, kb_each: kb as f64 / f64::from(number) })
}
