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
    /// A call that shuts something or somebody out, or in again.
    fn bar() -> Weight;
    /// `on_initialize`: one model's collateral is looked at.
    fn watch_collateral() -> Weight;
    /// `record_root` with `seats` signatures.
    fn record_root(seats: u32) -> Weight;
}

impl WeightInfo for () {
    fn submit_collateral() -> Weight {
        // Ten P-256 verifications, certificate and JSON parsing of up to 96 KiB; on a development network the root's list is judged
        // twice, under either root. Reads the time, the block, the genesis, its mark, bans, cap, windows, the root's mark and what is kept.
        Weight::from_parts(22_000_000_000, 68 * 1024).saturating_add(ParityDbWeight::get().reads_writes(9, 3))
    }

    fn register() -> Weight {
        // Three P-256 verifications, two certificates, one collateral record, up to 64 bans and 128 advisories. Reads the time, the
        // block, two hashes, the mark, collateral, terms, windows, bans, advisories, entry and listing of the measurement, the
        // revoked machine, the machine, two registrations; writes machine, registration and appraisal, and forgets two others.
        Weight::from_parts(10_200_000_000, 72 * 1024).saturating_add(ParityDbWeight::get().reads_writes(16, 7))
    }

    fn govern() -> Weight {
        // A listing looks through up to 64 bans and writes two entries; a policy on advisories has up to 128.
        Weight::from_parts(60_000_000, 8_000).saturating_add(ParityDbWeight::get().reads_writes(6, 2))
    }

    fn bar() -> Weight {
        // The list of up to 64 is read, searched and written; a machine's registration is removed. Two fingerprints are computed.
        Weight::from_parts(80_000_000, 8_000).saturating_add(ParityDbWeight::get().reads_writes(5, 4))
    }

    fn watch_collateral() -> Weight {
        // The place, the next key, its entry, the windows, the time; the entry and the place.
        Weight::from_parts(30_000_000, 4_000).saturating_add(ParityDbWeight::get().reads_writes(5, 2))
    }

    fn record_root(seats: u32) -> Weight {
        Weight::from_parts(30_000_000, 8_000).saturating_add(ParityDbWeight::get().reads_writes(6, 1)).saturating_add(
            // Each seat's signature; its registration, measurement and appraisal. The bans, the time and the block are read once.
            Weight::from_parts(85_000_000, 600)
                .saturating_add(ParityDbWeight::get().reads(3))
                .saturating_mul(seats.into()),
        )
    }
}
