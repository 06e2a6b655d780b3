//! Weights of the attestation pallet's calls.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. The others are estimates: P-256 in WASM costs about a millisecond a verification; the counts are
//! those of `phala-attest`. The submitter controls only sizes, which are bounded.

use frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weights of the attestation pallet's calls.
pub trait WeightInfo {
    /// `submit_collateral`.
    fn submit_collateral() -> Weight;
    /// `register`.
    fn register() -> Weight;
    /// A governance call that changes one entry.
    fn govern() -> Weight;
    /// A call that shuts something or somebody out, or in again, or votes to.
    fn bar() -> Weight;
    /// `suspend_by_gatekeepers` with `signatures` signatures.
    fn suspend_by_gatekeepers(signatures: u32) -> Weight;
    /// `on_initialize`: whether a ban begins, or a sunset has passed.
    fn begin_bans() -> Weight;
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
        // revoked machine, the machine, two registrations, the cap; writes machine, registration, appraisal and advisories, and forgets two others.
        Weight::from_parts(10_200_000_000, 72 * 1024).saturating_add(ParityDbWeight::get().reads_writes(17, 9))
    }

    fn govern() -> Weight {
        // A listing looks through up to 64 bans, writes two entries and moves its sunset; a policy on advisories has up to 128. Whoever
        // serves what was given is told.
        Weight::from_parts(62_000_000, 8_200).saturating_add(ParityDbWeight::get().reads_writes(11, 5))
    }

    fn bar() -> Weight {
        // The list of up to 64 is read, searched and written; a machine's registration is removed. Two fingerprints are computed. Of a
        // vote: committee, ballots, brake, windows, what was overruled, and how often the subject was suspended. Whoever serves what was
        // given is told.
        Weight::from_parts(120_000_000, 16_000).saturating_add(ParityDbWeight::get().reads_writes(10, 7))
    }

    fn suspend_by_gatekeepers(signatures: u32) -> Weight {
        // The root has up to a thousand seats.
        Self::bar()
            .saturating_add(Weight::from_parts(60_000_000, 36_000))
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(Weight::from_parts(60_000_000, 0).saturating_mul(signatures.into()))
    }

    fn begin_bans() -> Weight {
        // The list of up to 64, the sunsets of the block before, and whoever is told.
        Weight::from_parts(22_000_000, 4_100).saturating_add(ParityDbWeight::get().reads_writes(5, 2))
    }

    fn watch_collateral() -> Weight {
        // The place, the next key, its entry, the windows, the time; the entry and the place.
        Weight::from_parts(30_000_000, 4_000).saturating_add(ParityDbWeight::get().reads_writes(5, 2))
    }

    fn record_root(seats: u32) -> Weight {
        Weight::from_parts(30_000_000, 8_000).saturating_add(ParityDbWeight::get().reads_writes(12, 2)).saturating_add(
            // Each seat's signature; its registration, measurement, listing, appraisal and advisories. The bans, the terms, the cap, the
            // policy on advisories, the mark, the time and the block are read once, and decoded each time.
            Weight::from_parts(130_000_000, 1_200)
                .saturating_add(ParityDbWeight::get().reads(5))
                .saturating_mul(seats.into()),
        )
    }
}
