//! Weights of the egress pallet's calls.
//!
//! Estimates from the operations each call does, at the reference costs of the runtime's database, deliberately on the high side;
//! SPECIFICATION marks them `[not yet]` benchmarked. Nobody controls the inputs but the caller, by their number and size.

use frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weights of the egress pallet's calls.
pub trait WeightInfo {
    /// `take` of `items` items, `bytes` long in all.
    fn take(items: u32, bytes: u32) -> Weight;
    /// `set_limit` and `settle`.
    fn govern() -> Weight;
}

impl WeightInfo for () {
    fn take(items: u32, bytes: u32) -> Weight {
        // Each: two dozen hashes of two nodes, a transfer and two events; next, root, dispute, what is void, contract, limit, what was spent,
        // two fates and two accounts.
        Weight::from_parts(20_000_000, 4_000)
            .saturating_add(Weight::from_parts(6_000, 0).saturating_mul(bytes.into()))
            .saturating_add(
                Weight::from_parts(150_000_000, 4_000)
                    .saturating_add(ParityDbWeight::get().reads_writes(11, 7))
                    .saturating_mul(items.into()),
            )
    }

    fn govern() -> Weight {
        Weight::from_parts(20_000_000, 2_000).saturating_add(ParityDbWeight::get().reads_writes(2, 3))
    }
}
