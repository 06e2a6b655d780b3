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

    /// `submit_partial` at the most, of the largest key that can be. The runtime's tests hold it against what a transaction may take.
    fn most() -> Weight {
        Self::complete(threshold_of(MAX_SEATS) as u32, MAX_SEATS as u32)
    }
}

/// One partial: a hash to the group, two points decompressed, four multiplications.
const PARTIAL: Weight = Weight::from_parts(2_000_000_000, 0);
/// Of each holder of a record: its point decompressed, its weight inverted, its part of a multiplication of many.
const HOLDER: Weight = Weight::from_parts(400_000_000, 0);
/// Of each two holders of a record: one multiplication of scalars for its weight, and one at the most for its polynomial.
const PAIR: Weight = Weight::from_parts(3_000_000, 0);

/// A record or a value, decoded and encoded.
fn record() -> Weight {
    Weight::from_parts(40_000_000, 11_000)
}

/// That the shares of a record are of one polynomial.
fn consistency(holders: u32) -> Weight {
    let pairs = u64::from(holders).saturating_mul(holders.into());
    HOLDER.saturating_mul(holders.into()).saturating_add(PAIR.saturating_mul(pairs))
}

impl WeightInfo for () {
    fn look() -> Weight {
        // What is awaited or due, the key, the partials that are there.
        record().saturating_add(ParityDbWeight::get().reads(3))
    }

    fn hash(holders: u32) -> Weight {
        Self::look().saturating_add(Weight::from_parts(300_000, 0).saturating_mul(holders.into()))
    }

    fn publish_key(holders: u32) -> Weight {
        // The genesis; the key and what is awaited are written.
        Self::hash(holders)
            .saturating_add(consistency(holders))
            .saturating_add(ParityDbWeight::get().reads_writes(1, 2))
    }

    fn partial() -> Weight {
        // The genesis; what is due and the partials are written.
        Self::look().saturating_add(PARTIAL).saturating_add(ParityDbWeight::get().reads_writes(1, 2))
    }

    fn complete(threshold: u32, holders: u32) -> Weight {
        // The partial itself; then all of them again, with the record. The values that are kept, the schedule; a value and its key
        // forgotten, and the new one, its place and that it is the newest written.
        Self::partial()
            .saturating_add(PARTIAL.saturating_mul(threshold.into()))
            .saturating_add(consistency(holders))
            .saturating_add(record())
            .saturating_add(ParityDbWeight::get().reads_writes(3, 5))
    }

    fn idle() -> Weight {
        Weight::from_parts(3_000_000, 100).saturating_add(ParityDbWeight::get().reads(1))
    }

    fn open() -> Weight {
        // The schedule, what is due, the key; the partials too are written. The seats of the era and the gatekeepers' policy, by which
        // those who were silent are told.
        Weight::from_parts(80_000_000, 14_000).saturating_add(ParityDbWeight::get().reads_writes(5, 3))
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
        assert!(<() as WeightInfo>::publish_key(7).all_gte(<() as WeightInfo>::hash(7)));
    }
}
