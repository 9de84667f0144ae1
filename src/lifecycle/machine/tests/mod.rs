//! What the machine does, step by step: each file has the transitions of one part of an agent's life, and
//! `properties` lets anything happen in any order.

mod bench;
mod callers;
mod chance;
mod cluster;
mod connections;
mod demand;
mod elsewhere;
mod failure;
mod gone;
mod idle;
mod joining;
mod observe;
mod oracle;
mod people;
mod ping;
mod properties;
mod resume;
mod show;
mod station;
mod suspend;

use bench::{Bench, Call};
use station::Station;
