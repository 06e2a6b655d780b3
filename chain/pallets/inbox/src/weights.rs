//! Weights of the inbox's calls.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. The others are estimates from the operations each call does, at the reference costs of the
//! runtime's database, deliberately on the high side. Nobody controls the inputs but the caller, by their number and size.

use frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weights of the inbox's calls.
pub trait WeightInfo {
    /// `push` of `count` envelopes with `bytes` in all.
    fn push(count: u32, bytes: u32) -> Weight;
}

impl WeightInfo for () {
    fn push(count: u32, bytes: u32) -> Weight {
        let count = u64::from(count);
        // The push: cluster, head, backlog, surge, two boundaries and which are pending, time, payer and receiver. All envelopes of a
        // push are for one cluster and of one payer: what one of them wrote, the next one finds in memory.
        Weight::from_parts(20_000_000, 16_000)
            .saturating_add(ParityDbWeight::get().reads_writes(10, 8))
            // Each envelope: a transfer, the exponential of the price (under ninety 128-bit divisions), an entry of the offchain
            // index, an event, and one hash over the message.
            .saturating_add(Weight::from_parts(90_000_000, 0).saturating_mul(count))
            .saturating_add(Weight::from_parts(6_000, 0).saturating_mul(bytes.into()))
    }
}
