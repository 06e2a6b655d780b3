//! A few dozen seeds, every scenario, and that the simulation itself is deterministic and can fail.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod damaged;
mod scenarios;
mod seeds;
