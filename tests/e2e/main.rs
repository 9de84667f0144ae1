//! Tests on a real cluster: `cargo run -p drowse-cluster -- run --image target/image/drowse.tar -- cargo test --test e2e`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod incluster;
