//! Runs the real binary: one process and four, on loopback ports chosen at run time, every wait bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

mod disk;
mod finality;
mod lifecycle;
mod node;
mod spec;
