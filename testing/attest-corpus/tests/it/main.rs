//! The corpus: nothing altered is accepted, every difference from the oracle has its reason, and WASM says the same in two engines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod engine;
mod genuine;
mod oracle;
mod refusals;
mod wasm;
