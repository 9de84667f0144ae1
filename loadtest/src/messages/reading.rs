//! What is read between the laps of a load, and what two readings tell of the lap between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::drowse::Drowse;
use crate::nats::Server;
use crate::nats::monitor::Given;
use crate::procfs;

/// How far everything was at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    at: Moment,
    messages: u64,
    server_cpu: Duration,
    drowse: Option<OfDrowse>,
}

#[derive(Clone, Copy, Debug)]
struct OfDrowse {
    cpu: Duration,
    /// The connection of its leaf-node link.
    link: u64,
    given: Given,
}

impl Reading {
    pub(super) async fn take(
        clock: Clock,
        done: &AtomicU64,
        server: &Server,
        drowse: Option<&Drowse>,
    ) -> anyhow::Result<Self> {
        // What the rate and the costs come from is read at once; to ask the server takes a while under load.
        let (at, messages) = (clock.now(), done.load(Ordering::Relaxed));
        let server_cpu = procfs::cpu_time(server.pid)?;
        let drowse = match drowse {
            None => None,
            Some(drowse) => {
                let cpu = procfs::cpu_time(drowse.pid)?;
                let link = server.link().await?.context("Drowse has lost its leaf-node link")?;
                Some(OfDrowse { cpu, link: link.id, given: server.given().await? })
            }
        };
        Ok(Self { at, messages, server_cpu, drowse })
    }
}

/// What happened between two readings. Of every round trip, only the message to the agent counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Lap {
    pub(super) messages_per_second: f64,
    pub(super) server_cpu_us_per_message: f64,
    /// Zero without Drowse.
    pub(super) drowse_cpu_us_per_message: f64,
    /// Messages that Drowse got for each that the agent got, replies included. Zero without Drowse.
    pub(super) copies_per_message: f64,
    /// What waits in the server for Drowse at the end. It cuts a connection at 64 MB, and slows down publishers before.
    pub(super) waiting_mb: f64,
}

impl Lap {
    pub(super) fn between(before: &Reading, after: &Reading) -> anyhow::Result<Self> {
        let messages = after.messages.saturating_sub(before.messages);
        ensure!(messages > 0, "the agent got no message at all");
        let each = |total: f64| total / messages as f64;
        let micros = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e6;
        let (mut drowse_cpu, mut copies, mut waiting_mb) = (0.0, 0.0, 0.0);
        if let (Some(before), Some(after)) = (before.drowse, after.drowse) {
            ensure!(before.link == after.link, "the leaf-node link broke under the load");
            drowse_cpu = micros(before.cpu, after.cpu);
            copies = after.given.messages.saturating_sub(before.given.messages) as f64;
            waiting_mb = after.given.waiting_bytes as f64 / 1e6;
        }
        let took = after.at.since(before.at).as_secs_f64().max(f64::EPSILON);
        Ok(Self {
            messages_per_second: messages as f64 / took,
            server_cpu_us_per_message: each(micros(before.server_cpu, after.server_cpu)),
            drowse_cpu_us_per_message: each(drowse_cpu),
            copies_per_message: each(copies),
            waiting_mb,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(seconds: u64, messages: u64, link: u64) -> Reading {
        let cpu = Duration::from_micros(messages * 2);
        let drowse =
            OfDrowse { cpu, link, given: Given { messages: messages / 4, waiting_bytes: messages * 500 } };
        let at = Moment::START + Duration::from_secs(seconds);
        Reading { at, messages, server_cpu: cpu, drowse: Some(drowse) }
    }

    #[test]
    fn a_lap_is_what_lies_between_two_readings() {
        let lap = Lap::between(&reading(10, 1000, 7), &reading(12, 9000, 7)).unwrap();
        let expected = Lap {
            messages_per_second: 4000.0,
            server_cpu_us_per_message: 2.0,
            drowse_cpu_us_per_message: 2.0,
            copies_per_message: 0.25,
            waiting_mb: 4.5,
        };
        assert_eq!(lap, expected);
    }

    #[test]
    fn without_drowse_it_costs_nothing() {
        let [before, after] =
            [(0, 0), (1, 50)].map(|(at, count)| Reading { drowse: None, ..reading(at, count, 0) });
        let lap = Lap::between(&before, &after).unwrap();
        assert_eq!((lap.drowse_cpu_us_per_message, lap.copies_per_message), (0.0, 0.0));
    }

    #[test]
    fn a_link_that_broke_and_an_agent_that_got_nothing_are_errors() {
        let broke = Lap::between(&reading(0, 0, 7), &reading(1, 5, 8)).unwrap_err();
        assert!(broke.to_string().contains("link broke"), "{broke}");
        assert!(Lap::between(&reading(0, 5, 7), &reading(1, 5, 7)).is_err());
    }
}
