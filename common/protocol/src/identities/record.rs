//! What the chain keeps of a ceremony of identities.
//!
//! Guarantees: an index finds its own dealer or holder and no other, however many a record claims. Dealers and holders control what is in
//! a record, within what the rules take of them; whoever shows a record controls all of it. Does not judge. Does not bound what it
//! decodes: whoever reads a record looks at the number of its dealers and holders before anything else.

use super::IdentityRecord;
use crate::{
    ceremony::{threshold_of, Complaint, Fault, Phase, LAST_CALL_BLOCKS},
    ids::{BlockNumber, WorkerId},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode};

/// The ceremony of identities under way: `Gatekeepers::IdentityCeremony`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct IdentityCeremonyRecord {
    /// The era whose set receives the keys.
    pub era: u32,
    /// The attempt. Nothing of one attempt serves another; the first of a ceremony need not be 0.
    pub attempt: u32,
    /// [`IdentityRecord::hash`] of what is handed over; none where keys are made.
    pub former: Option<Hash>,
    /// Dealers that it takes: the threshold of the former record, or that of the holders where keys are made.
    pub deals: u16,
    /// [`threshold_of`] all holders.
    pub threshold: u16,
    /// Where the attempt stands.
    pub phase: Phase,
    /// The last block of the phase; of a ceremony that agreed, the last in which the record is shown.
    pub until: BlockNumber,
    /// Those who may deal, ascending by index: the holders of the former record, or the seats that make keys.
    pub dealers: Vec<DealerRecord>,
    /// Those who receive shares: all elected seats, by index from 1.
    pub holders: Vec<HolderRecord>,
    /// The complaints of this attempt, oldest first; the accuser is a holder.
    pub complaints: Vec<Complaint>,
    /// Hash of the record that all who take part confirmed: anyone shows it.
    pub agreed: Option<Hash>,
    /// How often those that were absent were taken back.
    pub readmissions: u16,
}

/// What the chain knows of one dealer in the present attempt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct DealerRecord {
    /// Its index, from 1: in the former record, or of its seat.
    pub index: u16,
    /// The gatekeeper's identity.
    pub gatekeeper: WorkerId,
    /// Why it is left out of this attempt, if it is.
    pub left_out: Option<Fault>,
    /// [`super::dealing_hash`] of its package.
    pub package: Option<Hash>,
}

/// What the chain knows of one holder in the present attempt. Its index is its place in the list, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct HolderRecord {
    /// The gatekeeper's identity.
    pub gatekeeper: WorkerId,
    /// Why it is left out of this attempt, if it is.
    pub left_out: Option<Fault>,
    /// Hash of the record that it confirmed.
    pub confirmed: Option<Hash>,
    /// Hash of the key of this attempt under which it complained, if it did: what is delivered to it is sealed to this key.
    pub key: Option<Hash>,
    /// Indices of dealers that it rejected: an answer or the package is wrong.
    pub rejected: Vec<u16>,
}

impl DealerRecord {
    /// A dealer that has said nothing yet.
    pub const fn new(index: u16, gatekeeper: WorkerId) -> Self {
        Self { index, gatekeeper, left_out: None, package: None }
    }
}

impl HolderRecord {
    /// A holder that has said nothing yet.
    pub const fn new(gatekeeper: WorkerId) -> Self {
        Self { gatekeeper, left_out: None, confirmed: None, key: None, rejected: Vec::new() }
    }
}

impl IdentityCeremonyRecord {
    /// An attempt that is about to begin: see [`Self::begin`]. `holders` are all elected seats of `era`, of which `present` says who takes
    /// part from the beginning; the others are as those that were absent. Without a `former` record keys are made, by those present.
    pub fn new(
        era: u32,
        attempt: u32,
        former: Option<&IdentityRecord>,
        holders: &[WorkerId],
        present: impl Fn(&WorkerId) -> bool,
    ) -> Self {
        let threshold = u16::try_from(threshold_of(holders.len())).unwrap_or(u16::MAX);
        let absent = |gatekeeper: &WorkerId| (!present(gatekeeper)).then_some(Fault::Absent);
        let seated: Vec<HolderRecord> = holders
            .iter()
            .map(|gatekeeper| HolderRecord { left_out: absent(gatekeeper), ..HolderRecord::new(*gatekeeper) })
            .collect();
        let dealers = match former {
            Some(former) => {
                former.holders.iter().map(|holder| DealerRecord::new(holder.index, holder.gatekeeper)).collect()
            }
            None => (1..=u16::MAX)
                .zip(&seated)
                .map(|(index, seat)| DealerRecord {
                    left_out: seat.left_out,
                    ..DealerRecord::new(index, seat.gatekeeper)
                })
                .collect(),
        };
        Self {
            era,
            attempt,
            former: former.map(IdentityRecord::hash),
            deals: former.map_or(threshold, |former| former.threshold),
            threshold,
            phase: Phase::Commit,
            until: 0,
            dealers,
            holders: seated,
            complaints: Vec::new(),
            agreed: None,
            readmissions: 0,
        }
    }

    /// Begins a phase of `length` blocks, of which `now` is the first.
    pub fn begin(&mut self, phase: Phase, now: BlockNumber, length: BlockNumber) {
        self.phase = phase;
        self.until = now.saturating_add(length.saturating_sub(1));
    }

    /// The dealer of `index`, from 1.
    pub fn dealer(&self, index: u16) -> Option<&DealerRecord> {
        self.dealers.iter().find(|dealer| dealer.index == index)
    }

    /// The dealer of `index`, from 1, to be changed.
    pub(super) fn dealer_mut(&mut self, index: u16) -> Option<&mut DealerRecord> {
        self.dealers.iter_mut().find(|dealer| dealer.index == index)
    }

    /// The holder of `index`, from 1.
    pub fn holder(&self, index: u16) -> Option<&HolderRecord> {
        usize::from(index).checked_sub(1).and_then(|position| self.holders.get(position))
    }

    /// The holder of `index`, from 1, to be changed.
    pub(super) fn holder_mut(&mut self, index: u16) -> Option<&mut HolderRecord> {
        usize::from(index).checked_sub(1).and_then(|position| self.holders.get_mut(position))
    }

    /// The dealers of the present phase, ascending: in `Commit` all that are not left out; then the lowest of those that committed, as many as
    /// it takes.
    pub fn dealing(&self) -> impl Iterator<Item = &DealerRecord> {
        let commit = self.phase == Phase::Commit;
        let most = if commit { usize::MAX } else { usize::from(self.deals) };
        self.dealers
            .iter()
            .filter(move |dealer| dealer.left_out.is_none() && (commit || dealer.package.is_some()))
            .take(most)
    }

    /// Whether the dealer of `index` (from 1) deals in the present phase: see [`Self::dealing`].
    pub fn deals(&self, index: u16) -> bool {
        self.dealing().any(|dealer| dealer.index == index)
    }

    /// The holders that take part, with their indices, ascending.
    pub fn receiving(&self) -> impl Iterator<Item = (u16, &HolderRecord)> {
        (1..=u16::MAX).zip(&self.holders).filter(|(_, holder)| holder.left_out.is_none())
    }

    /// The index of a gatekeeper among the dealers, if it is one.
    pub fn dealer_index(&self, gatekeeper: &WorkerId) -> Option<u16> {
        self.dealers.iter().find(|dealer| dealer.gatekeeper == *gatekeeper).map(|dealer| dealer.index)
    }

    /// The index of a gatekeeper among the holders, if it is one.
    pub fn holder_index(&self, gatekeeper: &WorkerId) -> Option<u16> {
        (1..=u16::MAX).zip(&self.holders).find(|(_, holder)| holder.gatekeeper == *gatekeeper).map(|(index, _)| index)
    }

    /// Whether block `now` is one of the last [`LAST_CALL_BLOCKS`] of the phase, or later.
    pub fn is_last_call(&self, now: BlockNumber) -> bool {
        now.saturating_add(LAST_CALL_BLOCKS) > self.until
    }
}
