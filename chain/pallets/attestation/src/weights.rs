//! Weights of the attestation pallet's calls.
//!
//! Estimates: P-256 in WASM costs about a millisecond a verification; the counts are those of `phala-attest`. SPECIFICATION marks
//! them `[not yet]` benchmarked. The submitter controls only sizes, which are bounded.

use frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weights of the attestation pallet's calls.
pub trait WeightInfo {
    /// `submit_collateral`.
    fn submit_collateral() -> Weight;
    /// `register`.
    fn register() -> Weight;
    /// A governance call that changes one entry.
    fn govern() -> Weight;
    /// `record_root` with `seats` signatures.
    fn record_root(seats: u32) -> Weight;
}

impl WeightInfo for () {
    fn submit_collateral() -> Weight {
        // Ten P-256 verifications, certificate and JSON parsing of up to 96 KiB.
        Weight::from_parts(20_000_000_000, 64 * 1024).saturating_add(ParityDbWeight::get().reads_writes(4, 1))
    }

    fn register() -> Weight {
        // Three P-256 verifications, two certificates, one collateral record.
        Weight::from_parts(10_000_000_000, 64 * 1024).saturating_add(ParityDbWeight::get().reads_writes(9, 4))
    }

    fn govern() -> Weight {
        Weight::from_parts(20_000_000, 1_000).saturating_add(ParityDbWeight::get().reads_writes(1, 1))
    }

    fn record_root(seats: u32) -> Weight {
        Weight::from_parts(30_000_000, 4_000).saturating_add(
            Weight::from_parts(80_000_000, 400)
                .saturating_add(ParityDbWeight::get().reads(2))
                .saturating_mul(seats.into()),
        )
    }
}
