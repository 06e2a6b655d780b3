//! Weights of the heartbeats pallet's calls and hooks.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. What has another is an estimate from the operations that it does, at the reference costs of the
//! runtime's database, deliberately on the high side. Nobody controls the inputs: an answer has one length.

use frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weights of the heartbeats pallet's calls and hooks.
pub trait WeightInfo {
    /// `submit_heartbeat` that is refused by what is read alone.
    fn refuse() -> Weight;
    /// `submit_heartbeat` that is taken, or whose signature does not hold.
    fn submit_heartbeat() -> Weight;
    /// `set_policy`.
    fn set_policy() -> Weight;
    /// `on_initialize` when there is nothing to do.
    fn idle() -> Weight;
    /// `on_initialize` when a round opens.
    fn open() -> Weight;
    /// `on_initialize` when `number` registrations or standings are looked at.
    fn look(number: u32) -> Weight;

    /// `submit_heartbeat` before it is known which of the things above it comes to.
    fn submitted_at_most() -> Weight {
        Self::submit_heartbeat().max(Self::refuse())
    }
}

impl WeightInfo for () {
    fn refuse() -> Weight {
        // Round, genesis, registration, standing and a block's hash; two hashes of what samples.
        Weight::from_parts(100_000_000, 8_000).saturating_add(ParityDbWeight::get().reads(5))
    }

    fn submit_heartbeat() -> Weight {
        // The same and a signature, by a host function; the standing is written.
        Weight::from_parts(250_000_000, 8_000).saturating_add(ParityDbWeight::get().reads_writes(5, 1))
    }

    fn set_policy() -> Weight {
        Weight::from_parts(30_000_000, 1_000).saturating_add(ParityDbWeight::get().writes(1))
    }

    fn idle() -> Weight {
        // Round, search, and which value is the newest.
        Weight::from_parts(15_000_000, 3_000).saturating_add(ParityDbWeight::get().reads(3))
    }

    fn open() -> Weight {
        // The same, the policy, what kind of network its default is for, and the value with its proof.
        Weight::from_parts(100_000_000, 15_000).saturating_add(ParityDbWeight::get().reads_writes(6, 2))
    }

    fn look(number: u32) -> Weight {
        // Of each the next key, registration and standing, all that an active worker is asked, and its standing that is written.
        Weight::from_parts(30_000_000, 3_000).saturating_add(ParityDbWeight::get().reads_writes(3, 1)).saturating_add(
            Weight::from_parts(400_000_000, 8_000)
                .saturating_add(ParityDbWeight::get().reads_writes(16, 1))
                .saturating_mul(number.into()),
        )
    }
}
