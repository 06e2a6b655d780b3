//! What the pallet keeps beside the records that TEEs read, and what it asks of others.
//!
//! Guarantees: [`Policy::in_range`] is false for every policy under which no ceremony could end, or none could be cancelled.
//! Governance chooses the policy; the runtime implements the traits.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::weights::Weight;
use phala_protocol::{
    ceremony::{LAST_CALL_BLOCKS, LEAST_PHASE_BLOCKS},
    ids::{BlockNumber, WorkerId},
    Hash,
};
use scale_info::TypeInfo;
use sp_runtime::Perbill;

/// The governed policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Policy {
    /// Blocks in which hashes of packages are collected: 10 to 14,400.
    pub commit: BlockNumber,
    /// Blocks in which shares travel: 20 to 14,400.
    pub share: BlockNumber,
    /// Blocks in which what seats lack is delivered on chain, and disputed; delivered before the last ten of them: 20 to 14,400.
    pub deliver: BlockNumber,
    /// Blocks in which disputes are settled, answers before the last ten of them: 20 to 14,400.
    pub settle: BlockNumber,
    /// Blocks between the record of a root and the first in which it may answer: 100,800 at most. Within them governance cancels it.
    pub delay: BlockNumber,
    /// Whether a set of seats is refused in which the machines of one vendor would hold a threshold of the shares.
    pub vendor_quota: bool,
    /// The part of a stake that a wrong share or an equivocation costs.
    pub fault: Perbill,
    /// Roots in a row that are made or given up without a gatekeeper, which has a seat, before its validator is fined, and as many
    /// ceremonies of identities, and periods of the beacon: 2 to 100. See [`crate::absences`].
    pub absences: u32,
    /// The part of a validator's own stake that the fine is, for absences and silence and for a withdrawal: 1 % at most.
    pub fine: Perbill,
}

impl Policy {
    /// Until governance decides otherwise. A development network has no delay, and no second vendor whom a quota could ask for.
    pub const fn new(insecure_development: bool) -> Self {
        Self {
            commit: 50,
            share: 100,
            deliver: 50,
            settle: 100,
            delay: if insecure_development { 0 } else { 600 },
            vendor_quota: !insecure_development,
            fault: Perbill::from_percent(10),
            absences: 3,
            fine: Perbill::from_parts(1_000_000),
        }
    }

    /// Whether each value is in its range.
    pub fn in_range(&self) -> bool {
        let phase = |least: BlockNumber, blocks: BlockNumber| (least..=14_400).contains(&blocks);
        // All that `Commit` asks is asked in its first block.
        phase(LAST_CALL_BLOCKS, self.commit)
            && phase(LEAST_PHASE_BLOCKS, self.share)
            && phase(LEAST_PHASE_BLOCKS, self.deliver)
            && phase(LEAST_PHASE_BLOCKS, self.settle)
            && self.delay <= 100_800
            && (2..=100).contains(&self.absences)
            && self.fine <= Perbill::from_percent(1)
    }
}

/// Who had which seat.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Elected<Account> {
    /// The first attempt that they were asked for.
    pub first_attempt: u32,
    /// The gatekeepers and their validators, by index from 1.
    pub seats: Vec<(WorkerId, Account)>,
}

/// How often a validator's gatekeeper was silent when a period of the beacon had no value for want of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct SilenceRecord {
    /// The era of the last time.
    pub era: u32,
    /// Times since the last fine; those of long ago count no more.
    pub times: u32,
    /// The era in which it was fined last. It is not fined twice in one.
    pub fined_in: Option<u32>,
}

/// A set that is elected and waits.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Plan<Account> {
    /// The era of the root that it waits for.
    pub era: u32,
    /// The validators.
    pub validators: Vec<Account>,
}

/// A root that does not answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct HandOver {
    /// Its era.
    pub era: u32,
    /// The first block in which clusters go over to it. Before, governance may cancel it.
    pub from: BlockNumber,
}

/// What staking is to do when it asks for an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Election<Account> {
    /// Elect among all who stand: nothing waits for gatekeepers.
    Open,
    /// Elect among validators with a gatekeeper; the set then waits for its root: [`crate::Pallet::plan`].
    Candidates,
    /// Elect among these: their gatekeepers made their root. [`crate::Pallet::take_plan`] says whether enough of them stand.
    Ready(Vec<Account>),
    /// Elect nobody: the present set stays.
    Withheld,
}

/// What a gatekeeper's validator is punished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum Offence {
    /// A threshold of seats found its answer to a dispute, or its package, wrong.
    WrongShare,
    /// It signed two statements of which only one can be true.
    Equivocation,
    /// Root after root was made, or given up, without it.
    Absence,
    /// It made itself unelectable while the set that it was elected into waited.
    Withdrawal,
    /// Identities were made, handed over or given up, ceremony after ceremony, without it.
    IdentityAbsence,
    /// Periods of the beacon had no value for want of its partial, time after time.
    Silence,
}

/// A punishment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdeed<Account> {
    /// Who had the seat.
    pub offender: Account,
    /// What happened.
    pub offence: Offence,
    /// The era whose seat it had.
    pub era: u32,
    /// In which attempt; of [`Offence::Silence`], in which period.
    pub attempt: u32,
    /// The first attempt of the set that had the seat. With the era it names the set, and orders the sets that were asked for one era's root.
    pub set: u32,
    /// The part of the stake that it costs; never zero.
    pub fraction: Perbill,
    /// Who reported it, if anybody did.
    pub reporters: Vec<Account>,
}

/// Takes of validators' stakes.
pub trait Punish<Account> {
    /// Nominators behind one validator at most. All of them may lose with it, and each punishment is charged for as many.
    const MOST_BACKERS: u32;

    /// Punishes a validator that may be acting, elected and waiting, or gone. Cannot fail: whoever has nothing loses nothing.
    fn punish(misdeed: Misdeed<Account>);
}

/// Told of the beacon keys that ceremonies make beside the roots.
pub trait Beacon {
    /// The root of `era` was made: its seats hold the beacon key whose record has this hash.
    fn awaited(era: u32, hash: Hash);

    /// The root of `era` is dropped before it answered, and its beacon key with it.
    fn dropped(era: u32);

    /// The root of `era` answers from now on, and its beacon key; those of former eras do no more.
    fn active(era: u32);
}

/// Told of gatekeepers that gave no partial for a period of the beacon.
pub trait OnSilence {
    /// A period of `era`, of a beacon key of which `enough` partials make a value, ended in its own time without one, and these seats, by
    /// their index from 1, had given none. Said once for each period. Returns the weight.
    fn silent(era: u32, period: u32, silent: &[u16], enough: u16) -> Weight;
}

/// What the hand-over must know of clusters.
pub trait Clusters {
    /// How many clusters need the root of an era before `era`.
    fn of_former_eras(era: u32) -> u32;

    /// From now on the keys of every next epoch are of `Attestation::NextRoot`: clusters are to open epochs until they need no other.
    /// The work of the call itself is a few reads and writes, and does not grow.
    fn hand_over();
}
