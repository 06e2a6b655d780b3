//! Weights of the egress pallet's calls.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. What has another is an estimate from the operations that it does, at the reference costs of the
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
        // Measured: one transfer; 16 transfers; one message; 16 messages.
        Weight::from_parts(0, 946)
            .saturating_add(ParityDbWeight::get().reads_writes(1, 0))
            .saturating_add(
                Weight::from_parts(571_623_721, 1_024)
                    .saturating_add(ParityDbWeight::get().reads_writes(11, 11))
                    .saturating_mul(items.into()),
            )
            .saturating_add(Weight::from_parts(0, 0).saturating_mul(bytes.into()))
    }

    fn attach_signature() -> Weight {
        // Measured: of Ristretto255; of Ed25519, by another key.
        Weight::from_parts(1_415_000_000, 15_720).saturating_add(ParityDbWeight::get().reads_writes(4, 1))
    }

    fn govern() -> Weight {
        // Measured: settle; set_limit.
        Weight::from_parts(41_000_000, 179).saturating_add(ParityDbWeight::get().reads_writes(1, 3))
    }
}
