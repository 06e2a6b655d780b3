//! A network that is cut in two for longer than a phase, for ceremonies of roots and of identities alike.
//!
//! The chain goes on on one side. Who is on the other sees no block of it, and says at the last one that it saw what there is to say;
//! nothing that is sent from one side arrives at the other before the cut is over: then it does, once, or never, as chance will of each cut.
//! What is sent among those on one side arrives as ever, and so does what was on its way.
//!
//! Guarantees: functions of the block and of who sends. Does not cut off who lies: whoever cuts a network is on both sides, which the caller
//! sees to. Does not make blocks on both sides: those who are cut off would be a threshold of validators for that, which is a fork.

use crate::{chain::PHASE_BLOCKS, random::Random};
use phala_protocol::ids::BlockNumber;
use std::collections::BTreeSet;

/// Phases that a cut lasts at most.
const MOST_PHASES: BlockNumber = 4;
/// Blocks within which after its end what was held arrives.
const LATE: u32 = 4;

/// A cut.
pub(crate) struct Partition {
    /// Who is cut off: indices of seats, or numbers of gatekeepers.
    pub(crate) cut: BTreeSet<u16>,
    /// Its first block, from 2.
    pub(crate) since: BlockNumber,
    /// The first block after it.
    pub(crate) until: BlockNumber,
    /// Whether what is sent across is held until then, or lost.
    pub(crate) held: bool,
}

impl Partition {
    /// How long one lasts: longer than a phase.
    pub(crate) fn blocks(random: &mut Random) -> BlockNumber {
        PHASE_BLOCKS + 1 + random.below((MOST_PHASES - 1) * PHASE_BLOCKS)
    }

    /// Whether there is a cut in this block.
    pub(crate) fn is_on(&self, block: BlockNumber) -> bool {
        (self.since..self.until).contains(&block)
    }

    /// Whether this one is cut off from the chain in this block.
    pub(crate) fn cuts_off(&self, who: u16, block: BlockNumber) -> bool {
        self.is_on(block) && self.cut.contains(&who)
    }

    /// Whether the cut is between these two in this block.
    pub(crate) fn is_between(&self, one: u16, other: u16, block: BlockNumber) -> bool {
        self.is_on(block) && self.cut.contains(&one) != self.cut.contains(&other)
    }

    /// The newest head that whoever is cut off can see.
    pub(crate) fn newest_head(&self) -> BlockNumber {
        self.since - 1
    }

    /// When what is sent across arrives, if it does.
    pub(crate) fn arrival(&self, random: &mut Random) -> Option<BlockNumber> {
        self.held.then(|| self.until + random.below(LATE))
    }

    /// In a word, what becomes of what is sent across.
    pub(crate) fn fate(&self) -> &'static str {
        if self.held {
            "held"
        } else {
            "lost"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_between_the_sides_of_a_cut_and_everything_within_them() {
        let cut = Partition { cut: BTreeSet::from([1, 2]), since: 30, until: 60, held: true };
        for (block, is_on) in [(29, false), (30, true), (59, true), (60, false)] {
            assert_eq!(cut.is_on(block), is_on);
            assert_eq!([1, 2, 3, 4].map(|who| cut.cuts_off(who, block)), [is_on, is_on, false, false]);
            assert_eq!([(1, 3), (4, 2)].map(|(one, other)| cut.is_between(one, other, block)), [is_on; 2]);
            assert_eq!([(1, 2), (3, 4)].map(|(one, other)| cut.is_between(one, other, block)), [false; 2]);
        }
        assert_eq!(cut.newest_head(), 29);
    }

    #[test]
    fn what_a_cut_holds_arrives_when_it_is_over_and_what_it_loses_never() {
        let mut random = Random::new(1);
        let mut cut = Partition { cut: BTreeSet::from([1]), since: 2, until: 40, held: true };
        for _ in 0..20 {
            assert!(cut.arrival(&mut random).is_some_and(|block| !cut.is_on(block) && block >= 40));
        }
        cut.held = false;
        assert_eq!(cut.arrival(&mut random), None);
        for _ in 0..200 {
            let blocks = Partition::blocks(&mut random);
            assert!(blocks > PHASE_BLOCKS && blocks <= MOST_PHASES * PHASE_BLOCKS, "{blocks}");
        }
    }
}
