//! Weights of the inbox's calls.
//!
//! Estimates from the operations each call does, at the reference costs of the runtime's database, deliberately on the high side;
//! SPECIFICATION marks them `[not yet]` benchmarked. Nobody controls the inputs but the caller, by their number and size.

use frame_support::weights::{constants::RocksDbWeight, Weight};

/// Weights of the inbox's calls.
pub trait WeightInfo {
    /// `push` of `count` envelopes with `bytes` in all.
    fn push(count: u32, bytes: u32) -> Weight;
}

impl WeightInfo for () {
    fn push(count: u32, bytes: u32) -> Weight {
        let count = u64::from(count);
        // Per envelope: a transfer, six reads and five writes, one hash over the message, one offchain-index entry.
        Weight::from_parts(20_000_000, 4_000)
            .saturating_add(Weight::from_parts(90_000_000, 2_000).saturating_mul(count))
            .saturating_add(Weight::from_parts(6_000, 0).saturating_mul(bytes.into()))
            .saturating_add(RocksDbWeight::get().reads_writes(6u64.saturating_mul(count), 5u64.saturating_mul(count)))
    }
}
