//! Weights of the beacon pallet's calls and hooks.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. The others are estimates from the operations each does, at the reference costs of the runtime's
//! database and some five times the native cost of the curve's operations, for they run in the runtime's WASM. A record has at most a
//! hundred holders.

use frame_support::weights::{constants::ParityDbWeight, Weight};
use phala_protocol::ceremony::{threshold_of, MAX_SEATS};

/// Weights of the beacon pallet's calls and hooks.
pub trait WeightInfo {
    /// A call that is refused by what is read alone.
    fn look() -> Weight;
    /// `publish_key` of a record with `holders` holders whose hash is another's.
    fn hash(holders: u32) -> Weight;
    /// `publish_key` of the record that is awaited.
    fn publish_key(holders: u32) -> Weight;
    /// `submit_partial` that completes nothing, or does not hold.
    fn partial() -> Weight;
    /// `submit_partial` that completes a value of `threshold` partials, of a key with `holders` holders.
    fn complete(threshold: u32, holders: u32) -> Weight;
    /// `on_initialize` when nothing is due.
    fn idle() -> Weight;
    /// `on_initialize` when one period ends and the next opens.
    fn open() -> Weight;

    /// `publish_key` before it is known which of the things above it comes to.
    fn published_at_most(holders: u32) -> Weight {
        Self::publish_key(holders).max(Self::hash(holders)).max(Self::look())
    }

    /// `submit_partial` the same.
    fn submitted_at_most(threshold: u32, holders: u32) -> Weight {
        Self::complete(threshold, holders).max(Self::partial()).max(Self::look())
    }

    /// `submit_partial` at the most, of the largest key that can be. The runtime's tests hold it against what a transaction may take.
    fn most() -> Weight {
        Self::submitted_at_most(threshold_of(MAX_SEATS) as u32, MAX_SEATS as u32)
    }
}

impl WeightInfo for () {
    fn look() -> Weight {
        // Measured: a partial that is there; a record that is not awaited.
        Weight::from_parts(168_000_000, 15_761).saturating_add(ParityDbWeight::get().reads_writes(3, 0))
    }

    fn hash(holders: u32) -> Weight {
        // Measured: 4 holders; 100 holders.
        Weight::from_parts(82_708_332, 243)
            .saturating_add(ParityDbWeight::get().reads_writes(1, 0))
            .saturating_add(Weight::from_parts(572_917, 0).saturating_mul(holders.into()))
    }

    fn publish_key(holders: u32) -> Weight {
        // Measured: 4 holders; 100 holders; 52 holders; 100 holders, a threshold of 2.
        Weight::from_parts(0, 0)
            .saturating_add(ParityDbWeight::get().reads_writes(1, 2))
            .saturating_add(Weight::from_parts(548_947_917, 0).saturating_mul(holders.into()))
    }

    fn partial() -> Weight {
        // Measured: the last but one of 100; one of another holder.
        Weight::from_parts(1_424_000_000, 15_761).saturating_add(ParityDbWeight::get().reads_writes(3, 2))
    }

    fn complete(threshold: u32, holders: u32) -> Weight {
        // Measured: 3 of 4; 67 of 100; 3 of 100; 35 of 52.
        Weight::from_parts(1_076_635_414, 2_447)
            .saturating_add(ParityDbWeight::get().reads_writes(5, 7))
            .saturating_add(Weight::from_parts(1_788_093_750, 152).saturating_mul(threshold.into()))
            .saturating_add(Weight::from_parts(513_020_834, 52).saturating_mul(holders.into()))
    }

    fn idle() -> Weight {
        Weight::from_parts(3_000_000, 100).saturating_add(ParityDbWeight::get().reads(1))
    }

    fn open() -> Weight {
        // Measured: after a period without a value.
        Weight::from_parts(169_000_000, 6_746).saturating_add(ParityDbWeight::get().reads_writes(6, 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_before_covers_all_that_may_follow() {
        let most = <() as WeightInfo>::most();
        for less in [
            <() as WeightInfo>::look(),
            <() as WeightInfo>::partial(),
            <() as WeightInfo>::complete(3, 4),
            <() as WeightInfo>::complete(15, 21),
        ] {
            assert!(most.all_gte(less));
        }
        for holders in [4, 7, 100] {
            let before = <() as WeightInfo>::published_at_most(holders);
            for less in [
                <() as WeightInfo>::look(),
                <() as WeightInfo>::hash(holders),
                <() as WeightInfo>::publish_key(holders),
            ] {
                assert!(before.all_gte(less), "{holders}");
            }
            let before = <() as WeightInfo>::submitted_at_most(3, holders);
            for less in
                [<() as WeightInfo>::look(), <() as WeightInfo>::partial(), <() as WeightInfo>::complete(3, holders)]
            {
                assert!(before.all_gte(less), "{holders}");
            }
        }
    }
}
