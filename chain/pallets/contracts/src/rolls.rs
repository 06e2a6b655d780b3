//! Epochs that roll: because somebody was shut out, or because clusters go over from one root to the next.
//!
//! A replica that is shut out holds the keys of the open epoch, and what is sealed to them goes on being readable to it. So the next
//! epoch is due at once, and gatekeepers give its keys to those alone who are not shut out. Of the epoch after the open one keys are given
//! [`KEY_LEAD_BLOCKS`] before it is due: a replica may have them already, and then two epochs roll, one after the other. "Due" is said in
//! the words that TEEs read anyway, the record's length of an epoch; what governance had set comes back when the roll is over.
//!
//! When clusters go over to another root, the next epoch's keys are its, but the open epoch's are the former root's, and are needed to
//! close it and to take its state over while it is the one before. So two epochs roll, and after them the cluster needs the former root
//! no more. One that has no epoch yet has nothing of a former root, and is counted under the new one when it is looked at.
//!
//! Nobody is taken off a cluster by this: a suspension ends by itself, and the number of votes that decide never falls. Where those who
//! remain are too few to decide - as where the only replica is shut out - the cluster stands still, an event says so, and what ends it is
//! governance's new assignment, or the ban's end; or that governance closes it, where what it held is lost (`closing.rs`). The former root
//! answers for it as long: a hand-over loses nothing, and waits.
//!
//! Guarantees: every cluster is looked at after each decision that shuts somebody out and after each hand-over's beginning,
//! [`LOOKED_AT_PER_BLOCK`] in a block; a decision that follows does not begin the search anew, so that none is passed over. A cluster
//! whose replica stays shut out rolls again with the next such decision, which costs it an epoch and nobody else anything. Governance
//! and the brake decide who is shut out, a ceremony makes the root.

use crate::{pallet::*, WeightInfo};
use frame_support::{ensure, pallet_prelude::DispatchResult, weights::Weight};
use phala_pallet_attestation as attestation;
use phala_protocol::{
    chain_state::{ClusterRecord, KEY_LEAD_BLOCKS},
    ids::{BlockNumber, ClusterId},
};
use sp_runtime::SaturatedConversion;

/// Clusters that are looked at in a block.
pub(crate) const LOOKED_AT_PER_BLOCK: u32 = 16;

/// Epochs that have to open until the cluster needs no root but that of the era `coming`.
fn epochs_until_over(record: &ClusterRecord, coming: u32) -> u8 {
    match (record.era == coming, record.era_before == coming) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

impl<T: Config> attestation::OnBarred for Pallet<T> {
    fn on_barred() {
        Self::look_at_all();
    }
}

impl<T: Config> Pallet<T> {
    /// From now on another root than the clusters' gives the keys of their next epochs: each is looked at, a few a block, and its
    /// next epochs are due at once. The work of the call itself is two reads and a write.
    pub fn begin_hand_over() {
        Self::look_at_all();
    }

    /// Once around from wherever the search is.
    fn look_at_all() {
        let clusters = NextCluster::<T>::get();
        Search::<T>::mutate(|place| place.left = clusters);
    }

    /// Goes on with the search.
    pub(crate) fn look_at_clusters() -> Weight {
        let SearchPlace { mut next, left } = Search::<T>::get();
        let number = left.min(LOOKED_AT_PER_BLOCK);
        if number > 0 {
            let (clusters, coming) = (NextCluster::<T>::get(), attestation::Pallet::<T>::coming_era());
            for _ in 0..number {
                if next >= clusters {
                    next = 0;
                }
                Self::look_at(ClusterId(next), coming);
                next = next.saturating_add(1);
            }
            Search::<T>::put(SearchPlace { next, left: left.saturating_sub(number) });
        }
        <T as Config>::WeightInfo::look_at_clusters(number)
    }

    fn look_at(cluster: ClusterId, coming: u32) {
        // A closed one opens no epoch any more, and is counted under no era.
        let Some(mut record) = Clusters::<T>::get(cluster).filter(|record| !record.is_closed()) else { return };
        if record.epoch == 0 && record.era_before != coming {
            Self::count_cluster(Some(record.era_before), coming);
            (record.era, record.era_before) = (coming, coming);
            Clusters::<T>::insert(cluster, &record);
            Self::deposit_event(Event::WentOver { cluster, era: coming });
        }
        let remaining = record.replicas.iter().filter(|replica| Self::counts(replica)).count();
        let is_hit = remaining < record.replicas.len();
        if is_hit {
            // They may announce and bind again when their ban ends.
            Announcements::<T>::mutate(cluster, |announced| {
                announced.retain(|announcement| Self::counts(&announcement.worker));
            });
            RekeyVotes::<T>::mutate(cluster, |votes| votes.retain(|(who, _)| Self::counts(who)));
        }
        let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
        let given = now.saturating_add(KEY_LEAD_BLOCKS) >= record.next_epoch_due();
        let for_bans = match (is_hit, given) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
        let until_over = epochs_until_over(&record, coming);
        let needed = until_over.max(for_bans);
        if needed == 0 {
            return;
        }
        let present = Rolls::<T>::get(cluster);
        let length = present.map_or(record.epoch_length, |roll| roll.length);
        let left = present.map_or(needed, |roll| needed.max(roll.left));
        Rolls::<T>::insert(cluster, Roll { length, left });
        record.epoch_length = record.epoch_length.min(now.saturating_sub(record.opened_at));
        let majority = record.majority();
        Clusters::<T>::insert(cluster, record);
        if is_hit {
            Self::deposit_event(Event::EpochRolls { cluster, epochs: left.into() });
        }
        if until_over > 0 {
            Self::deposit_event(Event::GoesOver { cluster, era: coming, epochs: until_over.into() });
        }
        if remaining < majority {
            let (remaining, majority) = (remaining as u32, majority as u32);
            Self::deposit_event(Event::AwaitingAssignment { cluster, remaining, majority });
        }
    }

    /// Blocks that the epoch which just opened stays open at least; `length` unless it is part of a roll.
    pub(crate) fn length_of_opened(cluster: ClusterId, length: BlockNumber) -> BlockNumber {
        match Rolls::<T>::take(cluster) {
            None => length,
            Some(Roll { length, left }) if left > 1 => {
                Rolls::<T>::insert(cluster, Roll { length, left: left.saturating_sub(1) });
                0
            }
            Some(Roll { length, .. }) => length,
        }
    }

    pub(crate) fn do_set_epoch_length(cluster: ClusterId, blocks: BlockNumber) -> DispatchResult {
        Clusters::<T>::try_mutate(cluster, |record| {
            let record = record.as_mut().ok_or(Error::<T>::NoSuchCluster)?;
            ensure!(!record.is_closed(), Error::<T>::ClusterClosed);
            match Rolls::<T>::get(cluster) {
                // What is due at once stays due.
                Some(roll) => Rolls::<T>::insert(cluster, Roll { length: blocks, ..roll }),
                None => record.epoch_length = blocks,
            }
            Ok(())
        })
    }
}
