//! Ceremonies in which the network's identities are made or handed over: dealers deal, holders receive and confirm, and a gatekeeper may be
//! both, under another index.
//!
//! Guarantees: what [`CeremonyKind`] asks, by the rules of [`phala_protocol::identities`]. A record that says what was agreed on has every
//! holder's confirmation of that very hash. Whoever made a transcript controls the record.

use super::{
    kind::{are_distinct, are_timely, complaint, complaints_follow, kept, may_be_in_vain, CeremonyKind},
    Transcript,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use phala_protocol::{
    ceremony::{threshold_of, Complaint, Fault, Phase, Reason, MAX_SEATS},
    identities::{agreed, end_phase, is_complete, IdentityCeremonyRecord, IdentityNext, SignedIdentityStatement},
    ids::BlockNumber,
    Hash, WorkerId,
};

/// What was seen of a ceremony of identities.
pub type IdentityTranscript = Transcript<IdentityCeremonyRecord, SignedIdentityStatement>;

/// As what a gatekeeper takes part in a ceremony of identities, with its index, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It deals.
    Dealer(u16),
    /// It receives.
    Holder(u16),
}

/// Dealers by index, each with its gatekeeper.
fn dealers(record: &IdentityCeremonyRecord) -> impl Iterator<Item = (u16, WorkerId)> + '_ {
    record.dealers.iter().map(|dealer| (dealer.index, dealer.gatekeeper))
}

/// Holders by index, each with its gatekeeper.
fn holders(record: &IdentityCeremonyRecord) -> impl Iterator<Item = (u16, WorkerId)> + '_ {
    (1..=u16::MAX).zip(&record.holders).map(|(index, holder)| (index, holder.gatekeeper))
}

/// Whether they are there, no more than there may be, ascending by indices from 1, and no gatekeeper is there twice.
fn are_seated(count: usize, mut parts: impl Iterator<Item = (u16, WorkerId)>) -> bool {
    let mut known = BTreeSet::new();
    let mut before = 0;
    count > 0
        && count <= MAX_SEATS
        && parts.all(|(index, gatekeeper)| core::mem::replace(&mut before, index) < index && known.insert(gatekeeper))
}

impl CeremonyKind for IdentityCeremonyRecord {
    type Statement = SignedIdentityStatement;
    type Keys = Hash;
    type Party = Part;

    fn era(&self) -> u32 {
        self.era
    }

    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn until(&self) -> BlockNumber {
        self.until
    }

    fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }

    fn is_seated(&self) -> bool {
        let seated = are_seated(self.holders.len(), holders(self))
            && are_seated(self.dealers.len(), dealers(self))
            && usize::from(self.threshold) == threshold_of(self.holders.len());
        let dealt = || match self.former {
            // Where keys are made, those who deal are those who receive.
            None => self.deals == self.threshold && dealers(self).eq(holders(self)),
            Some(_) => self.deals > 0 && usize::from(self.deals) <= self.dealers.len(),
        };
        seated && dealt()
    }

    fn is_of(&self, first: &Self) -> bool {
        (self.era, self.former, self.deals) == (first.era, first.former, first.deals)
            && dealers(self).eq(dealers(first))
            && holders(self).eq(holders(first))
    }

    fn is_sound(&self) -> bool {
        let by_dealer: BTreeMap<u16, WorkerId> =
            self.dealing().map(|dealer| (dealer.index, dealer.gatekeeper)).collect();
        let by_holder: BTreeMap<u16, WorkerId> =
            self.receiving().map(|(index, holder)| (index, holder.gatekeeper)).collect();
        let enough = self.phase == Phase::Commit || by_dealer.len() == usize::from(self.deals);
        // Whoever is left out said nothing.
        let silent = self.dealers.iter().all(|dealer| dealer.left_out.is_none() || dealer.package.is_none())
            && self.holders.iter().all(|holder| holder.left_out.is_none() || holder.confirmed.is_none());
        let sound = |holder: u16, dealer: u16| {
            let pair = by_holder.get(&holder).zip(by_dealer.get(&dealer));
            pair.is_some_and(|(holder, dealer)| holder != dealer)
        };
        let complaints = self.complaints.iter().map(|complaint| (complaint.accuser, complaint.dealer));
        let rejections = (1..=u16::MAX)
            .zip(&self.holders)
            .flat_map(|(index, holder)| holder.rejected.iter().map(move |dealer| (index, *dealer)));
        enough
            && silent
            && are_distinct(complaints, sound)
            && are_distinct(rejections, sound)
            && (self.agreed.is_none() || self.agreed == agreed(self))
    }

    fn is_timely(&self) -> bool {
        let judged = self.holders.iter().any(|holder| !holder.rejected.is_empty());
        let spoke = judged || self.holders.iter().any(|holder| holder.confirmed.is_some() || holder.key.is_some());
        are_timely(self.phase, &self.complaints, spoke, judged)
    }

    fn follows(&self, before: &Self) -> bool {
        if before.agreed.is_some() {
            // Nothing more is taken: the record is waited for.
            return self == before;
        }
        let late = before.phase != Phase::Commit;
        // Nobody is left out within an attempt: others deal in the place of whoever did not commit.
        let dealers = before.dealers.iter().zip(&self.dealers).all(|(old, new)| {
            old.left_out == new.left_out && kept(&old.package, &new.package) && !(late && old.package != new.package)
        });
        let holders = before.holders.iter().zip(&self.holders).all(|(old, new)| {
            old.left_out == new.left_out
                && kept(&old.confirmed, &new.confirmed)
                && kept(&old.key, &new.key)
                // Each once, as was looked at before; the chain adds at the end.
                && new.rejected.starts_with(&old.rejected)
        });
        // When `Settle` ends the chain drops all complaints of holders that are registered no more, and keeps the record if all agree.
        let dropped = self.phase == Phase::Settle && self.agreed.is_some();
        let accusers: BTreeSet<u16> = self.complaints.iter().map(|complaint| complaint.accuser).collect();
        let delivered = before.phase != Phase::Settle && self.phase == Phase::Settle;
        let stay = |old: &&Complaint| {
            let gone =
                (dropped && !accusers.contains(&old.accuser)) || (delivered && may_be_in_vain(old, &self.complaints));
            complaint(&self.complaints, old.accuser, old.dealer).is_some() || !gone
        };
        dealers
            && holders
            && before.readmissions == self.readmissions
            && complaints_follow(before.complaints.iter().filter(stay), &self.complaints)
    }

    fn is_complete(&self) -> bool {
        is_complete(self)
    }

    fn agreed(&self) -> Option<Hash> {
        agreed(self)
    }

    fn confirmed(&self) -> BTreeMap<u16, Hash> {
        (1..=u16::MAX).zip(&self.holders).filter_map(|(index, holder)| Some((index, holder.confirmed?))).collect()
    }

    fn left_out(&self) -> Vec<(Part, Option<Fault>)> {
        let dealers = self.dealers.iter().map(|dealer| (Part::Dealer(dealer.index), dealer.left_out));
        let holders = (1..=u16::MAX).zip(&self.holders).map(|(index, holder)| (Part::Holder(index), holder.left_out));
        dealers.chain(holders).collect()
    }

    fn leads_to(&self, after: &Self) -> Option<BTreeMap<Part, Reason>> {
        let mut expected = self.clone();
        let ended = end_phase(&mut expected);
        let led_here = ended.next == IdentityNext::Begin(Phase::Commit)
            && expected.left_out() == after.left_out()
            && expected.readmissions == after.readmissions;
        let dealers = ended.left_out.dealers.into_iter().map(|(index, reason)| (Part::Dealer(index), reason));
        let holders = ended.left_out.holders.into_iter().map(|(index, reason)| (Part::Holder(index), reason));
        led_here.then(|| dealers.chain(holders).collect())
    }

    fn speaker(&self, signed: &SignedIdentityStatement) -> Option<WorkerId> {
        if signed.statement.is_of_dealer() {
            self.dealer(signed.index).map(|dealer| dealer.gatekeeper)
        } else {
            self.holder(signed.index).map(|holder| holder.gatekeeper)
        }
    }

    fn package(&self, dealer: u16) -> Option<Hash> {
        self.dealer(dealer)?.package
    }

    fn confirmation(&self, index: u16) -> Option<Hash> {
        self.holder(index)?.confirmed
    }

    fn has_rejected(&self, index: u16, dealer: u16) -> bool {
        self.holder(index).is_some_and(|holder| holder.rejected.contains(&dealer))
    }
}

#[cfg(test)]
mod tests;
