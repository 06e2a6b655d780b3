//! What the pallet keeps beside the records that light clients read.
//!
//! Guarantees nothing by itself: these are plain records, which only the pallet's own calls and hooks write. What comes of replicas in
//! them - an announced key - was signed by them, and is checked before it is kept.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use phala_protocol::ids::{Balance, BlockNumber, ClusterId, Epoch, WorkerId};
use scale_info::TypeInfo;

/// The code of a contract and who pays for its place.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct CodeOwner<Account> {
    /// Who uploaded it.
    pub owner: Account,
    /// What is held of the owner's balance.
    pub deposit: Balance,
    /// Bytes of the code.
    pub bytes: u32,
}

/// Why a replica was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum DropReason {
    /// It is behind by more final results than the chain keeps.
    Lost,
    /// Its registration is gone, or lapsed longer ago than the registry's grace.
    Lapsed,
    /// Its root, vendor, model, generation or measurement is revoked or suspended.
    Barred,
}

/// What a replica announced.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Announcement {
    /// The replica.
    pub worker: WorkerId,
    /// The era whose root the key is of.
    pub era: u32,
    /// The next epoch's envelope key.
    pub public_key: Vec<u8>,
}

/// An epoch that opens.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Decided {
    /// Whose.
    pub cluster: ClusterId,
    /// The era whose root its keys are of.
    pub era: u32,
    /// The epoch.
    pub epoch: Epoch,
    /// Its envelope key.
    pub public_key: Vec<u8>,
}

/// An epoch that rolls early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Roll {
    /// Blocks that an epoch of the cluster stays open at least, once it has rolled.
    pub length: BlockNumber,
    /// Epochs that are still to open at once. Two when the next one's keys may have been given to a replica before it was shut
    /// out, or when the open one's keys are of a former root; one otherwise.
    pub left: u8,
}

/// A place in a search through all clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct SearchPlace {
    /// The cluster that is looked at next.
    pub next: u32,
    /// Clusters that are still to be looked at; none when nobody was shut out, and no hand-over began, since all were.
    pub left: u32,
}

/// A replica whose registration is gone, or lapsed longer ago than the registry's grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct LapsedReplica {
    /// Who.
    pub worker: WorkerId,
    /// Since which block it may go; none while fewer votes would decide without it, while those who remain do not decide, or while
    /// the brake holds.
    pub since: Option<BlockNumber>,
}
