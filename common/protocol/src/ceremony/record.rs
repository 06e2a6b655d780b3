//! What the chain keeps of a ceremony.
//!
//! Guarantees: indices from 1 that find nothing where there is no seat, however many seats a record claims. Seats control what is in
//! a record, within what [`super::take`] takes of them; whoever shows a record controls all of it. Does not judge: see
//! [`super::verdict`]. Does not bound what it decodes: whoever reads a record looks at the number of its seats before anything else.

use super::{threshold_of, LAST_CALL_BLOCKS};
use crate::{
    ids::{BlockNumber, WorkerId},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode};

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Phase {
    /// Hashes of packages are collected.
    #[codec(index = 0)]
    Commit,
    /// Shares travel; seats confirm or complain.
    #[codec(index = 1)]
    Share,
    /// What seats complained of is delivered on chain, sealed; they confirm, or dispute what was delivered.
    #[codec(index = 2)]
    Deliver,
    /// Disputes are answered in public; seats confirm or reject.
    #[codec(index = 3)]
    Settle,
}

/// The ceremony under way: `Gatekeepers::Ceremony`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct CeremonyRecord {
    /// The era whose root is made.
    pub era: u32,
    /// The attempt; the era's first is 0. Nothing of one attempt serves another.
    pub attempt: u32,
    /// [`threshold_of`] all seats.
    pub threshold: u16,
    /// Where the attempt stands.
    pub phase: Phase,
    /// The last block of the phase.
    pub until: BlockNumber,
    /// All elected seats, by index from 1.
    pub seats: Vec<SeatRecord>,
    /// The complaints of this attempt, oldest first.
    pub complaints: Vec<Complaint>,
}

/// What the chain knows of one seat in the present attempt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct SeatRecord {
    /// The gatekeeper's identity.
    pub gatekeeper: WorkerId,
    /// Why it is left out of this attempt, if it is.
    pub left_out: Option<Fault>,
    /// [`super::package_hash`] of its package.
    pub package: Option<Hash>,
    /// The keys that it confirmed.
    pub confirmed: Option<Confirmed>,
    /// Hash of the key of this attempt under which it complained, if it did: what is delivered to it is sealed to this key.
    pub key: Option<Hash>,
    /// Indices of dealers that it rejected: an answer or the package is wrong.
    pub rejected: Vec<u16>,
}

/// The keys that a seat holds its shares of: what all seats of an attempt have to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Confirmed {
    /// Of the root: [`crate::keys::share_list_hash`].
    pub share_list: Hash,
    /// Of the beacon: [`crate::beacon::BeaconRecord::hash`].
    pub beacon: Hash,
}

/// Why a seat is left out of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Fault {
    /// It did not commit, deliver, answer or confirm in time. It may take part again when too few are left.
    #[codec(index = 0)]
    Absent,
    /// A threshold of seats found its answer to a dispute, or its package, wrong. It takes no part in this era.
    #[codec(index = 1)]
    WrongShare,
}

/// A seat that lacks a valid share of a dealer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Complaint {
    /// Index of the seat that lacks it.
    pub accuser: u16,
    /// Index of the dealer.
    pub dealer: u16,
    /// [`super::delivery_hash`] of the sealed share and package that the dealer put on chain.
    pub delivered: Option<Hash>,
    /// Whether the accuser says that what was delivered does not open, or is not what the dealer owes it.
    pub disputed: bool,
    /// The dealer's answer to the dispute: the accuser's shares of its polynomials, of the root and of the beacon, canonical Ristretto
    /// scalars. Public from then on.
    pub answer: Option<[[u8; 32]; 2]>,
}

impl Complaint {
    /// A complaint that nothing was delivered on yet.
    pub const fn new(accuser: u16, dealer: u16) -> Self {
        Self { accuser, dealer, delivered: None, disputed: false, answer: None }
    }
}

impl SeatRecord {
    /// A seat that has said nothing yet.
    pub fn new(gatekeeper: WorkerId) -> Self {
        Self { gatekeeper, left_out: None, package: None, confirmed: None, key: None, rejected: Vec::new() }
    }
}

impl CeremonyRecord {
    /// An attempt of these seats that is about to begin: see [`Self::begin`].
    pub fn new(era: u32, attempt: u32, gatekeepers: &[WorkerId]) -> Self {
        Self {
            era,
            attempt,
            threshold: u16::try_from(threshold_of(gatekeepers.len())).unwrap_or(u16::MAX),
            phase: Phase::Commit,
            until: 0,
            seats: gatekeepers.iter().map(|gatekeeper| SeatRecord::new(*gatekeeper)).collect(),
            complaints: Vec::new(),
        }
    }

    /// Begins a phase of `length` blocks, of which `now` is the first.
    pub fn begin(&mut self, phase: Phase, now: BlockNumber, length: BlockNumber) {
        self.phase = phase;
        self.until = now.saturating_add(length.saturating_sub(1));
    }

    /// The seat of `index`, from 1.
    pub fn seat(&self, index: u16) -> Option<&SeatRecord> {
        usize::from(index).checked_sub(1).and_then(|position| self.seats.get(position))
    }

    /// The seat of `index`, from 1, to be changed.
    pub(super) fn seat_mut(&mut self, index: u16) -> Option<&mut SeatRecord> {
        usize::from(index).checked_sub(1).and_then(|position| self.seats.get_mut(position))
    }

    /// Whether the seat of `index` (from 1) takes part in the present phase: it is not left out, and has committed if the phase of
    /// commitments is over.
    pub fn takes_part(&self, index: u16) -> bool {
        self.seat(index)
            .is_some_and(|seat| seat.left_out.is_none() && (self.phase == Phase::Commit || seat.package.is_some()))
    }

    /// Indices of the seats that take part, ascending.
    pub fn participants(&self) -> impl Iterator<Item = u16> + '_ {
        (1..=u16::try_from(self.seats.len()).unwrap_or(u16::MAX)).filter(|index| self.takes_part(*index))
    }

    /// Whether block `now` is one of the last [`LAST_CALL_BLOCKS`] of the phase, or later.
    pub fn is_last_call(&self, now: BlockNumber) -> bool {
        now.saturating_add(LAST_CALL_BLOCKS) > self.until
    }

    /// The index of a gatekeeper, if it has a seat.
    pub fn index_of(&self, gatekeeper: &WorkerId) -> Option<u16> {
        (1..=u16::MAX).zip(&self.seats).find(|(_, seat)| seat.gatekeeper == *gatekeeper).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_did_not_commit_takes_part_no_longer_than_the_phase() {
        let mut record = CeremonyRecord::new(1, 0, &[1, 2, 3, 4].map(|byte| WorkerId([byte; 32])));
        assert_eq!((record.threshold, record.phase), (3, Phase::Commit));
        record.seats[1].left_out = Some(Fault::Absent);
        assert_eq!(record.participants().collect::<Vec<_>>(), [1, 3, 4]);
        record.seats[0].package = Some([1; 32]);
        record.seats[1].package = Some([1; 32]);
        record.phase = Phase::Share;
        assert_eq!(record.participants().collect::<Vec<_>>(), [1]);
        assert!(!record.takes_part(0) && !record.takes_part(5));
        assert_eq!(record.index_of(&WorkerId([3; 32])), Some(3));
        assert_eq!(record.index_of(&WorkerId([9; 32])), None);
    }

    #[test]
    fn a_seat_beyond_every_index_has_none() {
        let ids: Vec<WorkerId> = (0..65_537u32)
            .map(|number| {
                let mut id = [0; 32];
                id[..4].copy_from_slice(&number.to_le_bytes());
                WorkerId(id)
            })
            .collect();
        let record = CeremonyRecord::new(1, 0, &ids);
        assert_eq!(record.index_of(&ids[65_534]), Some(u16::MAX));
        assert_eq!((record.index_of(&ids[65_535]), record.index_of(&ids[65_536])), (None, None));
        assert_eq!(record.participants().last(), Some(u16::MAX));
        assert_eq!(usize::from(record.threshold), threshold_of(65_537));
    }

    #[test]
    fn a_last_call_is_the_last_blocks_of_a_phase() {
        let mut record = CeremonyRecord::new(1, 0, &[]);
        record.begin(Phase::Share, 51, 50);
        assert_eq!((record.phase, record.until), (Phase::Share, 100));
        assert!(!record.is_last_call(90) && record.is_last_call(91) && record.is_last_call(200));
        record.until = u32::MAX;
        assert!(!record.is_last_call(0));
    }
}
