//! A small network in memory: a chain with real justifications and storage proofs, real TEEs on simulated machines, a relayer.
//!
//! INSECURE: machines are simulated, entropy is seeded, and the pallets' rules are played by hand (`chain.rs`); everything between
//! a delivery and a status is the code that ships.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod at_rest;
mod calls;
mod cargo;
mod ceremony;
mod chain;
mod client;
mod closing;
mod contract;
mod egress;
mod epochs;
mod gate;
mod granted;
mod handover;
mod heartbeats;
mod inbox;
mod isolation;
mod liars;
mod machine;
mod network;
mod poison;
mod queries;
mod random;
mod replicas;
mod restart;
mod root;
mod sealed;
mod seizure;
mod sessions;
mod snapshots;
mod story;
mod wrappers;
