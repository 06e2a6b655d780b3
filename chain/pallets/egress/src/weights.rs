//! Weights of the egress pallet's calls.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. The others are estimates from the operations each call does, at the reference costs of the
//! runtime's database, deliberately on the high side. Nobody controls the inputs but the caller, by their number and size.

use frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weights of the egress pallet's calls.
pub trait WeightInfo {
    /// `take` of `items` items, `bytes` long in all.
    fn take(items: u32, bytes: u32) -> Weight;
    /// `set_limit` and `settle`.
    fn govern() -> Weight;
    /// `attach_signature`.
    fn attach_signature() -> Weight;
}

impl WeightInfo for () {
    fn take(items: u32, bytes: u32) -> Weight {
        // Each: two dozen hashes of two nodes, a transfer and two events; next, root, dispute, what is void, contract, limit, what was spent,
        // two fates, two senders, two signatures and two accounts.
        Weight::from_parts(20_000_000, 4_000)
            .saturating_add(Weight::from_parts(6_000, 0).saturating_mul(bytes.into()))
            .saturating_add(
                Weight::from_parts(150_000_000, 4_000)
                    .saturating_add(ParityDbWeight::get().reads_writes(12, 11))
                    .saturating_mul(items.into()),
            )
    }

    fn attach_signature() -> Weight {
        // Whether the network's key is of prime order, a multiplication of the base point and a signature: some four multiplications, in WASM
        // without host functions; signature, sender, fate and identities, whose record has up to a hundred holders.
        Weight::from_parts(2_500_000_000, 16_000).saturating_add(ParityDbWeight::get().reads_writes(4, 1))
    }

    fn govern() -> Weight {
        Weight::from_parts(20_000_000, 2_000).saturating_add(ParityDbWeight::get().reads_writes(2, 3))
    }
}
