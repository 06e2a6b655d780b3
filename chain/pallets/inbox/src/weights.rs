//! Weights of the inbox's calls.
//!
//! Each body is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is explained in
//! `docs/bench/weights.md`. Nobody controls the inputs but the caller, by their number and size.

use frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weights of the inbox's calls.
pub trait WeightInfo {
    /// `push` of `count` envelopes with `bytes` in all.
    fn push(count: u32, bytes: u32) -> Weight;
}

impl WeightInfo for () {
    fn push(count: u32, bytes: u32) -> Weight {
        // Measured: one small; 64 small; one large; 64 large.
        Weight::from_parts(348_869_285, 3_813)
            .saturating_add(ParityDbWeight::get().reads_writes(5, 4))
            .saturating_add(Weight::from_parts(34_975_501, 0).saturating_mul(count.into()))
            .saturating_add(Weight::from_parts(8_394, 0).saturating_mul(bytes.into()))
    }
}
