//! Ceremonies of identities in a network that is cut in two, while it is stormy: nobody is blamed in a storm, so that nobody has to be excused.
//!
//! Of each set that is elected it is drawn anew, and a cut of the one before is over. Only who does not lie is cut off.

use super::Life;
use crate::{identities::lies::Stated, partition::Partition};
use phala_protocol::{ceremony::Parcel, identities::SignedIdentityStatement, ids::BlockNumber};

/// Of one of so many sets the network is cut in two, if its storm takes so long.
const ONE_OF: u32 = 3;
/// Blocks within which a cut begins.
const WITHIN: u32 = 60;

impl Life<'_> {
    /// The cut that chance will, of those who deal and of this set, which receives.
    pub(super) fn plan_cut(&mut self, set: &[u16]) -> Option<Partition> {
        if self.apart.below(ONE_OF) > 0 {
            return None;
        }
        let dealers = self.chain.ceremony.iter().flat_map(|ceremony| &ceremony.dealers);
        let mut order: Vec<u16> = dealers.map(|dealer| self.numbers[&dealer.gatekeeper]).chain(set.to_vec()).collect();
        order.sort_unstable();
        order.dedup();
        order.retain(|number| !self.is_liar(*number));
        let most = order.len().checked_sub(1).filter(|most| *most > 0)?;
        self.apart.shuffle(&mut order);
        let size = 1 + self.apart.below(most as u32) as usize;
        let since = self.chain.block + 2 + self.apart.below(WITHIN);
        let until = since + Partition::blocks(&mut self.apart);
        Some(Partition { cut: order.into_iter().take(size).collect(), since, until, held: self.apart.percent(50) })
    }

    /// The cut, while there is one.
    fn cut(&self) -> Option<&Partition> {
        self.partition.as_ref().filter(|partition| !self.calm() && partition.is_on(self.chain.block))
    }

    /// Counts a cut that begins in this block, or lasted for longer than a phase.
    pub(super) fn note_cut(&mut self) {
        let Some(partition) = self.partition.as_ref().filter(|_| !self.calm()) else { return };
        let (begins, is_over) = (partition.since == self.chain.block, partition.until == self.chain.block);
        let cut: Vec<u16> = partition.cut.iter().copied().collect();
        if begins {
            self.happened(&cut);
            self.count("identities: network cut in two");
        }
        if is_over {
            self.count("identities: network cut in two for longer than a phase");
        }
    }

    /// The newest head that this machine can see in this block, if it is cut off.
    pub(super) fn newest_head(&self, number: u16) -> Option<BlockNumber> {
        let partition = self.cut().filter(|partition| partition.cuts_off(number, self.chain.block));
        partition.map(Partition::newest_head)
    }

    /// When a statement that this machine sends now reaches the chain.
    pub(super) fn statement_arrivals(
        &mut self,
        number: u16,
        said: &SignedIdentityStatement,
        calm: bool,
    ) -> Vec<BlockNumber> {
        let block = self.chain.block;
        let Some(partition) = self.cut().filter(|partition| partition.cuts_off(number, block)) else {
            return self.arrivals(calm);
        };
        // Once each, however often it is repeated.
        let is_held = |(due, (other, _)): &(BlockNumber, Stated)| *due >= partition.until && other == said;
        if self.statements.iter().any(is_held) {
            return Vec::new();
        }
        self.arrivals_across("statement")
    }

    /// When a parcel that is sent now from one machine reaches another. Whoever lies is on both sides.
    pub(super) fn parcel_arrivals(&mut self, parcel: &Parcel, (from, to): (u16, u16), calm: bool) -> Vec<BlockNumber> {
        let (block, lies) = (self.chain.block, self.is_liar(from) || self.is_liar(to));
        let Some(partition) = self.cut().filter(|partition| !lies && partition.is_between(from, to, block)) else {
            return self.arrivals(calm);
        };
        let is_held = |(due, (_, other)): &(BlockNumber, (u16, Parcel))| {
            *due >= partition.until && other.signature == parcel.signature
        };
        if self.parcels.iter().any(is_held) {
            return Vec::new();
        }
        self.arrivals_across("parcel")
    }

    /// When what is sent across the cut arrives.
    fn arrivals_across(&mut self, what: &str) -> Vec<BlockNumber> {
        let Some(partition) = &self.partition else { return Vec::new() };
        let (due, fate) = (partition.arrival(&mut self.apart), partition.fate());
        self.count(&format!("identities: {what} {fate} at a cut"));
        due.into_iter().collect()
    }
}
