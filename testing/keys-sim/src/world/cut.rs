//! Ceremonies of roots in a network that is cut in two: who is on which side, when, and what the protocol's rules make of that.
//!
//! Only who does not lie is cut off. Whoever is may miss a deadline, and is excused in the attempts in which the cut is; so is nobody else, but
//! where more are cut off or lie than may be missing: such attempts are judged as those of the storm are. What must not happen must
//! not happen in any of them, and once the cut is over the ceremony ends as it does after a storm. By chance a cut begins shortly before the
//! end of a phase, where what is said on either side of it differs most.

use super::{
    changes::{Change, WITHIN},
    World,
};
use crate::{partition::Partition, random::Random};
use phala_protocol::{
    ceremony::{tolerated, Parcel, SignedStatement},
    ids::BlockNumber,
};

/// In all but one of so many ceremonies to whose set nothing happens the network is cut in two, if they take so long.
const ALL_BUT_ONE_OF: u32 = 3;
/// Blocks before the end of a phase within which a cut begins that is to begin there.
const LAST_BLOCKS: u32 = 5;

/// The cut that chance will, among these `honest` seats, with the block from which it may begin. `room` more than lie may be missing.
pub(super) fn plan(random: &mut Random, honest: &[u16], room: usize) -> Option<(BlockNumber, Change)> {
    let most = honest.len().checked_sub(1).filter(|most| *most > 0)?;
    if random.below(ALL_BUT_ONE_OF) == 0 {
        return None;
    }
    let few = random.percent(50) && room > 0;
    let size = 1 + random.below(if few { room.min(most) } else { most } as u32) as usize;
    let mut order = honest.to_vec();
    random.shuffle(&mut order);
    // Many ceremonies are short, and few cuts of the others would come late.
    let within = if random.percent(50) { WITHIN / 3 } else { 2 * WITHIN };
    let at = 2 + random.below(within);
    let before_end = random.percent(40).then(|| random.below(LAST_BLOCKS));
    let (blocks, held) = (Partition::blocks(random), random.percent(50));
    let cut = order.into_iter().take(size).collect();
    Some((at, Change::Partition { cut, blocks, held, before_end }))
}

impl World<'_> {
    /// Counts what kind of a cut it is that begins.
    pub(super) fn note_cut(&mut self, partition: &Partition, is_before_end: bool) {
        let few = self.liars.len() + partition.cut.len() <= tolerated(self.machines.len());
        let kinds = [
            (true, "network cut in two"),
            (few, "network cut in two, with no more cut off than may be missing"),
            (!few, "network cut in two, with more cut off than may be missing"),
            (is_before_end, "network cut in two at the end of a phase"),
            (self.calm(), "network cut in two in the calm"),
        ];
        for (_, what) in kinds.into_iter().filter(|(is_so, _)| *is_so) {
            *self.counts.entry(what.to_owned()).or_default() += 1;
        }
    }

    /// Whoever is cut off in this block is excused in this attempt.
    pub(super) fn excuse_cut_off(&mut self) {
        let (block, attempt) = (self.chain.block, self.chain.record.attempt);
        let Some(partition) = &self.changes.partition else { return };
        if partition.is_on(block) {
            self.changes.cut_off.entry(attempt).or_default().extend(&partition.cut);
        }
        if partition.until == block {
            *self.counts.entry("network cut in two for longer than a phase".to_owned()).or_default() += 1;
        }
    }

    /// Counts that a root is made, if the network was cut in two before.
    pub(super) fn note_root_after_cut(&mut self) {
        let Some(partition) = &self.changes.partition else { return };
        let what = if partition.is_on(self.chain.block) {
            "root made while the network is cut in two"
        } else {
            "root made after the network was cut in two"
        };
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// When a statement that is sent now reaches the chain.
    pub(super) fn statement_arrivals(&mut self, said: &SignedStatement, calm: bool) -> Vec<BlockNumber> {
        let block = self.chain.block;
        let partition = self.changes.partition.as_ref();
        let Some(partition) = partition.filter(|partition| partition.cuts_off(said.index, block)) else {
            return self.arrivals(calm);
        };
        // Once each, however often it is repeated.
        let is_held =
            |(due, (other, _)): &(BlockNumber, (SignedStatement, _))| *due >= partition.until && other == said;
        if self.statements.iter().any(is_held) {
            return Vec::new();
        }
        *self.counts.entry(format!("statement {} at a cut", partition.fate())).or_default() += 1;
        partition.arrival(&mut self.apart).into_iter().collect()
    }

    /// When a parcel that is sent now reaches its seat. Whoever lies is on both sides.
    pub(super) fn parcel_arrivals(&mut self, parcel: &Parcel, calm: bool) -> Vec<BlockNumber> {
        let (block, from, to) = (self.chain.block, parcel.header.from, parcel.header.to);
        let lies = self.liars.iter().any(|liar| liar.index == from || liar.index == to);
        let partition = self.changes.partition.as_ref();
        let Some(partition) = partition.filter(|partition| !lies && partition.is_between(from, to, block)) else {
            return self.arrivals(calm);
        };
        if self.parcels.iter().any(|(due, other)| *due >= partition.until && other.signature == parcel.signature) {
            return Vec::new();
        }
        *self.counts.entry(format!("parcel {} at a cut", partition.fate())).or_default() += 1;
        partition.arrival(&mut self.apart).into_iter().collect()
    }
}
