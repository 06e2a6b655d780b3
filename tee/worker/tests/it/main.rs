//! The measured binary as a process, on a chain that never goes on: what its listeners bear, and say that they bear.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod contents;
mod garbage;
mod http;
mod limits;
mod machine;
mod noise;
mod process;
