//! A hostile network around real TEEs, from one seed: INSECURE, never shipped.
//!
//! ```text
//! Scenario --> World: Node (real headers, justifications, read proofs) -- relayers that lie -- Tee x n (the code that ships)
//!                     Clients (sealed commands and queries)                                   on disks that fail
//!          --> after every action the invariants; one hash over all that happened
//! ```
//! What runs inside the TEEs is `phala-core` in both roles with everything under it: light client, gatekeeper, state on a disk
//! that fails, engine with the sample token. What stands around them is played: the pallets' rules by hand, machines by the
//! INSECURE simulator of quotes, entropy from the seed, time from the simulated chain. No threads, no clock, no files
//! but the [`record`] of a campaign.
//!
//! Guarantees: equal scenarios end equally, in the same trace hash. `action.rs` is the language of scenarios, `invariants.rs` what is
//! checked. Does not: simulate the node, the network stack, or the process around a TEE; those are tested as real processes.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation stops at the first surprise"
)]

pub mod action;
pub mod canary;
// The token of phala-core's own tests, and the contract that does what it is told.
#[path = "../../../tee/core/tests/it/cargo.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod cargo;
pub mod client;
#[path = "../../../tee/core/tests/it/contract.rs"]
mod contract;
pub mod contracts;
pub mod disk;
pub mod forger;
pub mod generator;
pub mod host;
pub mod invariants;
pub mod machine;
pub mod majority;
pub mod model;
pub mod node;
pub mod pallets;
pub mod random;
pub mod record;
// The root of phala-core's own tests: one that is independent of the gatekeeper's code, for both.
#[path = "../../../tee/core/tests/it/root.rs"]
#[allow(dead_code, missing_docs, reason = "tests use more of it")]
mod root;
mod run;
pub mod shelf;
pub mod world;

pub use action::{Action, Scenario};
pub use run::{run, run_seed, shrink, Ran};
