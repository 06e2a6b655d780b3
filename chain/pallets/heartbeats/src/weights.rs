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
        // Measured: an unknown block.
        Weight::from_parts(132_000_000, 2_303).saturating_add(ParityDbWeight::get().reads_writes(4, 0))
    }

    fn submit_heartbeat() -> Weight {
        // Measured: of a worker that is sampled; of a worker that was unresponsive; with another's signature.
        Weight::from_parts(249_000_000, 2_303).saturating_add(ParityDbWeight::get().reads_writes(4, 1))
    }

    fn set_policy() -> Weight {
        // Measured: a policy.
        Weight::from_parts(19_000_000, 0).saturating_add(ParityDbWeight::get().reads_writes(0, 1))
    }

    fn idle() -> Weight {
        // Round, search, and which value is the newest.
        Weight::from_parts(15_000_000, 3_000).saturating_add(ParityDbWeight::get().reads(3))
    }

    fn open() -> Weight {
        // Measured: by a value of 100 holders.
        Weight::from_parts(113_000_000, 11_135).saturating_add(ParityDbWeight::get().reads_writes(6, 2))
    }

    fn look(number: u32) -> Weight {
        // Measured: one that has missed the round; 8 that have missed the round; 8 that are new; 8 that are gone.
        Weight::from_parts(81_285_714, 11_401).saturating_add(ParityDbWeight::get().reads_writes(7, 1)).saturating_add(
            Weight::from_parts(263_714_286, 1_409)
                .saturating_add(ParityDbWeight::get().reads_writes(6, 1))
                .saturating_mul(number.into()),
        )
    }
}
