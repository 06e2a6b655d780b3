//! Weights of the attestation pallet's calls.
//!
//! Each body is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is explained in
//! `docs/bench/weights.md`. The submitter controls only sizes, which are bounded.

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
        // Measured: simulated, in place of older; genuine, of TDX; genuine, of SGX.
        Weight::from_parts(17_164_000_000, 5_936).saturating_add(ParityDbWeight::get().reads_writes(6, 3))
    }

    fn register() -> Weight {
        // Measured: in place of two others.
        Weight::from_parts(8_938_000_000, 13_790).saturating_add(ParityDbWeight::get().reads_writes(15, 8))
    }

    fn govern() -> Weight {
        // Measured: allow_measurement; remove_measurement; set_advisories; set_committee.
        Weight::from_parts(474_000_000, 5_085).saturating_add(ParityDbWeight::get().reads_writes(7, 5))
    }

    fn bar() -> Weight {
        // Measured: revoke; suspend; lift; revoke_hardware; vote_to_suspend, the one that decides.
        Weight::from_parts(181_000_000, 5_424).saturating_add(ParityDbWeight::get().reads_writes(8, 6))
    }

    fn suspend_by_gatekeepers(signatures: u32) -> Weight {
        // Measured: 2 of 4; 1,000 of 1,000; 334 of 1,000.
        Weight::from_parts(161_498_996, 4_504)
            .saturating_add(ParityDbWeight::get().reads_writes(7, 5))
            .saturating_add(Weight::from_parts(159_750_502, 145).saturating_mul(signatures.into()))
    }

    fn begin_bans() -> Weight {
        // Measured: a ban begins and a sunset passed.
        Weight::from_parts(55_000_000, 0).saturating_add(ParityDbWeight::get().reads_writes(4, 3))
    }

    fn watch_collateral() -> Weight {
        // Measured: collateral that ends soon.
        Weight::from_parts(79_000_000, 1_319).saturating_add(ParityDbWeight::get().reads_writes(6, 2))
    }

    fn record_root(seats: u32) -> Weight {
        // Measured: 4 seats; 1,000 seats; 100 seats.
        Weight::from_parts(0, 10_924).saturating_add(ParityDbWeight::get().reads_writes(7, 2)).saturating_add(
            Weight::from_parts(412_347_390, 1_256)
                .saturating_add(ParityDbWeight::get().reads_writes(5, 0))
                .saturating_mul(seats.into()),
        )
    }
}
