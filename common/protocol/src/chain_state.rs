//! Records of chain state that TEEs and clients read with storage proofs.
//!
//! The pallets store exactly these types under the keys of [`crate::storage`]; a pallet test and a light-client test assert the
//! same golden bytes. A record is a fact only when it came out of a verified proof against a finalised header.

use crate::{
    attestation::{Assurance, Role},
    gas::Surge,
    ids::{AccountId, BlockNumber, ClusterId, CodeHash, Epoch, WorkerId},
    keys::KeyPurpose,
    result::ClusterResult,
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode};

/// A registered TEE: `Attestation::Workers[identity]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, codec::MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct WorkerRecord {
    /// In which role.
    pub role: Role,
    /// Who operates it.
    pub operator: AccountId,
    /// Hash of its encryption key.
    pub encryption_key: Hash,
    /// What it runs.
    pub measurement: Hash,
    /// Its machine's pseudonym on this chain.
    pub hardware: Hash,
    /// Whether hardware vouches for it.
    pub assurance: Assurance,
    /// The block in which it registered.
    pub registered_at: BlockNumber,
    /// Chain time, in seconds since the Unix epoch, after which it must attest again.
    pub valid_until: u64,
}

/// Blocks before an epoch is due in which its set may already ask for its keys.
pub const KEY_LEAD_BLOCKS: BlockNumber = 30;

/// A cluster: `Contracts::Clusters[id]`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct ClusterRecord {
    /// The era whose root gives the open epoch's keys.
    pub era: u32,
    /// The era whose root gives the keys of the epoch before the open one. While it is another than `era`, the cluster is on its way
    /// from one root to the other, and needs both.
    pub era_before: u32,
    /// The open epoch; 0 before the first opens.
    pub epoch: Epoch,
    /// The block at whose beginning the open epoch opened: items of earlier blocks belong to the epoch before.
    pub opened_at: BlockNumber,
    /// Items in the inbox when the open epoch opened: those before belong to the epoch before.
    pub opened_count: u64,
    /// Items covered by final results.
    pub final_count: u64,
    /// The epoch whose commit key the last final commitment is under; 0 before the first final result.
    pub bound_epoch: Epoch,
    /// Blocks that an epoch stays open at least.
    pub epoch_length: BlockNumber,
    /// The open epoch's X-Wing public key, [`crate::envelope::PUBLIC_KEY_BYTES`] long; empty before the first opens.
    pub envelope_key: Vec<u8>,
    /// The identities that serve it, in the order of their assignment. None once governance has closed it for good ([`Self::is_closed`]).
    pub replicas: Vec<WorkerId>,
}

impl ClusterRecord {
    /// The epoch that opens next.
    pub fn next_epoch(&self) -> Epoch {
        self.epoch.saturating_add(1)
    }

    /// The era whose root gives `epoch`'s keys, where `coming` is the era to whose root the next epoch belongs
    /// ([`next_epoch_era`]): that of the open epoch, of the next, and of the one before. None for all others.
    pub fn era_of(&self, epoch: Epoch, coming: u32) -> Option<u32> {
        if epoch == 0 {
            None
        } else if epoch == self.epoch {
            Some(self.era)
        } else if epoch == self.next_epoch() {
            Some(coming)
        } else {
            (epoch.checked_add(1) == Some(self.epoch)).then_some(self.era_before)
        }
    }

    /// Whether governance has closed the cluster for good. It then has no replicas, which no other cluster lacks, and no envelope key: no
    /// gatekeeper gives its keys to anybody any more, and the chain takes nothing for it.
    pub fn is_closed(&self) -> bool {
        self.replicas.is_empty()
    }

    /// How many identical votes decide: more than half of the replicas.
    pub fn majority(&self) -> usize {
        self.replicas.len() / 2 + 1
    }

    /// The epoch that an item included in `block` belongs to. Only the open epoch and the one before are told apart: the chain
    /// opens no epoch while the one before the open one has items without a final result.
    pub fn epoch_at(&self, block: BlockNumber) -> Epoch {
        if block >= self.opened_at {
            self.epoch
        } else {
            self.epoch.saturating_sub(1)
        }
    }

    /// Whether the epoch before the open one is still needed: it has items without a final result, or the state is not yet bound
    /// to the open epoch's commit key.
    pub fn is_closing(&self) -> bool {
        self.final_count < self.opened_count || (self.bound_epoch != 0 && self.bound_epoch < self.epoch)
    }

    /// Whether gatekeepers may give `epoch`'s keys of `purpose` to a member of the present set, seen from block `now`: the open epoch;
    /// the next, from [`KEY_LEAD_BLOCKS`] before it is due; the one before while it is closing, and its storage key ever after, to
    /// take the state over. Nothing older, nothing newer.
    pub fn may_have(&self, epoch: Epoch, purpose: KeyPurpose, now: BlockNumber) -> bool {
        if epoch == 0 {
            return false;
        }
        if epoch == self.epoch {
            return true;
        }
        if epoch == self.next_epoch() {
            return now.saturating_add(KEY_LEAD_BLOCKS) >= self.next_epoch_due();
        }
        epoch.checked_add(1) == Some(self.epoch) && (self.is_closing() || purpose == KeyPurpose::Storage)
    }

    /// The first block in which the next epoch's key may be announced.
    pub fn next_epoch_due(&self) -> BlockNumber {
        if self.epoch == 0 {
            0
        } else {
            self.opened_at.saturating_add(self.epoch_length)
        }
    }
}

/// A contract: `Contracts::Instances[id]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, codec::MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct ContractRecord {
    /// Where it runs.
    pub cluster: ClusterId,
    /// What it runs.
    pub code: CodeHash,
    /// Who deployed it.
    pub deployer: AccountId,
    /// The block in which it was created.
    pub created_at: BlockNumber,
}

/// A result that is final by vote: `Contracts::FinalResults[(cluster, boundary block)]`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct FinalRecord {
    /// The result.
    pub result: ClusterResult,
    /// Who signed it, and with what: Ed25519 over [`ClusterResult::signing_payload`].
    pub votes: Vec<(WorkerId, [u8; 64])>,
    /// How many replicas the cluster had.
    pub replicas: u32,
    /// The block in which it became final.
    pub finalised_at: BlockNumber,
}

/// Where a replica stands, by what it signed: `Contracts::Standings[cluster]` lists one for each that ever signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, codec::MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Standing {
    /// The replica.
    pub worker: WorkerId,
    /// Items up to the newest boundary for which it signed the final result.
    pub confirmed: u64,
    /// The first boundary's block for which it signed another result than the final one.
    pub dissent: Option<BlockNumber>,
    /// Whether results that it has not confirmed are gone from chain state.
    pub lost: bool,
}

/// The era whose root gives the keys of every cluster's next epoch: that of the root to which clusters go over, if there is one
/// (`Attestation::NextRoot`), else of the one that answers (`Attestation::Root`). None on a network without a root.
pub fn next_epoch_era(root: Option<&RootRecord>, next: Option<&RootRecord>) -> Option<u32> {
    next.or(root).map(|root| root.era)
}

/// A root that gives epoch keys in one era: `Attestation::Root`, and `Attestation::NextRoot` while clusters go over to it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct RootRecord {
    /// The era.
    pub era: u32,
    /// Shares that are needed.
    pub threshold: u16,
    /// The gatekeepers, by index from 1.
    pub seats: Vec<WorkerId>,
    /// [`crate::keys::share_list_hash`].
    pub share_list: Hash,
}

impl RootRecord {
    /// The 32 bytes that each seat signs, bound to the chain.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        crate::hash_value(crate::domain::ROOT_RECORD, &(genesis, self))
    }
}

/// An entry of the measurement allow-list: `Attestation::Measurements[measurement]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, codec::MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct AllowedMeasurement {
    /// The commit of the source that reproduces it (20 bytes of SHA-1, zero-padded), or zeros when it was not stated.
    pub source: Hash,
    /// Since which block it is listed.
    pub listed_at: BlockNumber,
    /// From which block it is accepted.
    pub not_before: BlockNumber,
    /// The last block at which it is accepted, if any.
    pub sunset: Option<BlockNumber>,
}

/// The block of a cluster's inbox that a result may name as its boundary: `Inbox::Boundaries[(cluster, block)]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, codec::MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct BoundaryRecord {
    /// The head after the block's last item.
    pub head: crate::inbox::Head,
    /// Public gas of the block's items.
    pub gas: u64,
    /// The next block with items, once there is one.
    pub next: Option<BlockNumber>,
}

/// What waits in a cluster's inbox, and how dear that has made it: `Inbox::Queues[cluster]`, nothing before its first item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, codec::MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct QueueRecord {
    /// Public gas of the items that no final result covers yet.
    pub backlog: u64,
    /// How dear it has become, as of the block that last changed the backlog.
    pub surge: Surge,
    /// The oldest and the newest block with items that no final result covers yet, while there is one.
    pub waiting: Option<(BlockNumber, BlockNumber)>,
}

impl QueueRecord {
    /// The same in block `now`, until which the backlog stayed as it is. The backlog changes only in a record that is of the present
    /// block: the price moves on by what waited until then.
    pub fn at(self, now: BlockNumber) -> Self {
        Self { surge: self.surge.advanced(self.backlog, now), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(epoch: Epoch, opened_at: BlockNumber) -> ClusterRecord {
        ClusterRecord {
            era_before: 0,
            era: 0,
            epoch,
            opened_at,
            opened_count: 10,
            final_count: 10,
            bound_epoch: epoch,
            epoch_length: 100,
            envelope_key: Vec::new(),
            replicas: Vec::new(),
        }
    }

    #[test]
    fn an_epoch_is_of_one_era_and_the_next_of_the_one_that_comes() {
        let record = ClusterRecord { era: 4, era_before: 3, ..cluster(5, 1_000) };
        let eras = [0, 3, 4, 5, 6, 7].map(|epoch| record.era_of(epoch, 9));
        assert_eq!(eras, [None, None, Some(3), Some(4), Some(9), None]);
        let first = ClusterRecord { era: 4, era_before: 4, ..cluster(0, 0) };
        assert_eq!([0, 1, 2].map(|epoch| first.era_of(epoch, 4)), [None, Some(4), None]);
        let root = |era| RootRecord { era, threshold: 1, seats: Vec::new(), share_list: [0; 32] };
        assert_eq!(next_epoch_era(Some(&root(1)), Some(&root(2))), Some(2));
        assert_eq!(next_epoch_era(Some(&root(1)), None), Some(1));
        assert_eq!(next_epoch_era(None, None), None);
    }

    #[test]
    fn keys_are_given_for_the_open_epoch_and_for_the_next_within_its_lead_only() {
        let record = cluster(5, 1_000);
        let may = |epoch, now| record.may_have(epoch, KeyPurpose::Envelope, now);
        assert!(may(5, 1_000));
        assert!(!may(6, 1_069) && may(6, 1_070) && may(6, 5_000));
        assert!(!may(7, u32::MAX) && !may(0, u32::MAX) && !may(3, 1_000) && !may(4, 1_000));
        assert!(cluster(0, 0).may_have(1, KeyPurpose::Envelope, 1));
        assert!(!cluster(0, 0).may_have(0, KeyPurpose::Envelope, 1));
    }

    #[test]
    fn the_epoch_before_is_given_while_it_closes_and_its_storage_key_to_take_over() {
        let mut record = cluster(5, 1_000);
        assert!(record.may_have(4, KeyPurpose::Storage, 1_050));
        assert!(!record.may_have(3, KeyPurpose::Storage, 1_050));
        record.final_count = 9;
        assert!(record.is_closing() && record.may_have(4, KeyPurpose::Commit, 1_050));
        record.final_count = 10;
        record.bound_epoch = 4;
        assert!(record.is_closing() && record.may_have(4, KeyPurpose::Commit, 1_050));
        record.bound_epoch = 5;
        assert!(!record.is_closing() && !record.may_have(4, KeyPurpose::Commit, 1_050));
    }

    /// So a worker can tell an answer that leaves something out from one that a gatekeeper gave.
    #[test]
    fn gatekeepers_give_all_keys_of_an_epoch_or_its_storage_key_alone() {
        let mut seen = [0; 3];
        for open in [0_u32, 1, 5] {
            for (final_count, bound_epoch) in [(10, open), (9, open), (10, open.saturating_sub(1)), (10, 0)] {
                let record = ClusterRecord { final_count, bound_epoch, ..cluster(open, 1_000) };
                for (epoch, now) in (0..8).flat_map(|epoch| [0, 1_000, 1_069, 1_070, 9_000].map(|now| (epoch, now))) {
                    let given: Vec<_> =
                        KeyPurpose::ALL.into_iter().filter(|purpose| record.may_have(epoch, *purpose, now)).collect();
                    let which = match given.as_slice() {
                        [] => 0,
                        [KeyPurpose::Storage] => 1,
                        all => {
                            assert_eq!(all, KeyPurpose::ALL, "{epoch} of {open} at {now}");
                            2
                        }
                    };
                    seen[which] += 1;
                }
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }

    #[test]
    fn a_cluster_without_replicas_is_closed_and_no_other_is() {
        assert!(cluster(5, 1_000).is_closed());
        assert!(!ClusterRecord { replicas: alloc::vec![WorkerId([1; 32])], ..cluster(5, 1_000) }.is_closed());
    }

    #[test]
    fn a_block_belongs_to_one_epoch() {
        let record = cluster(5, 1_000);
        assert_eq!((record.epoch_at(999), record.epoch_at(1_000)), (4, 5));
    }
}
