//! Key ceremonies among hostile seats, from one seed: INSECURE, never shipped.
//!
//! ```text
//! run(members, seed, seats) --> World: Chain (the rules of phala_protocol::ceremony, which the pallet applies)
//!                                      Seat x n (phala_gatekeeper::dkg, the code that ships) -- a network that drops and reorders
//!                                      up to n-t of them under malice.rs, in some seeds up to t-1
//!          --> after every block the invariants; one hash over all that happened
//! ```
//! For the first attempts the network is a storm: parcels and statements are dropped, delayed, reordered and repeated, machines
//! crash and come back from what they sealed, sometimes from what they sealed long ago, also from before a confirmation. Then it is calm, and
//! the liars are not. In most ceremonies something happens meanwhile: a registration lapses, a gatekeeper is replaced, governance cancels, or
//! the network is cut in two for longer than a phase, by `partition.rs`.
//!
//! Guarantees: equal seeds end equally, in the same trace hash. `invariants.rs` and, of the beacon's key, `beacon.rs` are what is
//! checked; that an old era's shares open nothing of a newer one, after each block of its ceremony and over a cluster's epochs, is in
//! `rotation.rs`. What comes after a root, ceremonies of identities and signing sessions, is in `identities.rs`. Does not: simulate finality, storage proofs
//! or forks (`phala-sim` does), or what the pallet adds to the rules: evidence in the registry, punishments, fees.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation stops at the first surprise"
)]

pub mod beacon;
pub mod chain;
pub mod identities;
pub mod invariants;
mod machine;
pub mod malice;
pub mod members;
mod partition;
pub mod random;
pub mod rotation;
pub mod seating;
pub mod shares;
mod world;

pub use members::Members;
pub use world::{run, run_beyond, run_contradicting, run_next, Counts, Ran, BEYOND};
