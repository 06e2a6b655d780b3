//! Turns of relayers that all have the same for the chain, where one, or a few, are enough.
//!
//! Guarantees: on each occasion a hash decides the order, so that nobody is always the first or the last, and an item waits for its turn
//! once. Whoever comes late finds that nothing is asked for any more. Does not: know what other relayers do, nor ask the chain.

use super::{name, Pending, Submitted};
use codec::Encode;
use phala_protocol::{hash::blake2_256, ids::BlockNumber, relay::Outgoing, Hash, WorkerId};

/// Blocks from one turn to the next: what is submitted at the beginning of one is in a block before the next.
const TURN_BLOCKS: BlockNumber = 2;

/// Blocks that the relayer of a TEE waits before it submits an item; nothing for what goes without turns.
pub(super) type Turn = fn(&WorkerId, &Outgoing) -> Option<BlockNumber>;

/// Blocks that the relayer of `tee` waits on an occasion with this many turns, at least one.
pub(super) fn wait(tee: &WorkerId, occasion: &Hash, turns: u8) -> BlockNumber {
    let [first, ..] = blake2_256(&(occasion, tee).encode());
    BlockNumber::from(first % turns.max(1)).saturating_mul(TURN_BLOCKS)
}

/// Has what is seen for the first time, at `height`, wait for its `turn`.
pub(super) fn take(submitted: &mut Submitted, pending: &Pending, height: BlockNumber, turn: Turn) {
    for item in &pending.items {
        let Some(blocks) = turn(&pending.identity, item) else { continue };
        let name = name(item);
        if !submitted.is_known(&name) {
            submitted.rest(name, height.saturating_add(blocks));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    /// How long forty relayers wait that have `item`. Each submits it when its turn comes, and not before.
    pub(in crate::outbox) fn of_forty(item: &Outgoing, turn: Turn) -> BTreeSet<BlockNumber> {
        let mut turns = BTreeSet::new();
        for number in 0..40 {
            let identity = WorkerId([number; 32]);
            let pending = Pending { identity, items: vec![item.clone()] };
            let mut submitted = Submitted::default();
            take(&mut submitted, &pending, 100, turn);
            let waits = turn(&identity, item).unwrap();
            if waits > 0 {
                assert!(submitted.due(&pending.items, 100 + waits - 1).is_empty());
            }
            // Seen again, it does not wait anew.
            take(&mut submitted, &pending, 100 + waits, turn);
            assert_eq!(submitted.due(&pending.items, 100 + waits), std::slice::from_ref(item));
            turns.insert(waits);
        }
        turns
    }
}
