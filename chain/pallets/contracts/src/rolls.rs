//! Epochs that roll because somebody was shut out.
//!
//! A replica that is shut out holds the keys of the open epoch, and what is sealed to them goes on being readable to it. So the next
//! epoch is due at once, and gatekeepers give its keys to those alone who are not shut out. Of the epoch after the open one keys are given
//! [`KEY_LEAD_BLOCKS`] before it is due: a replica may have them already, and then two epochs roll, one after the other. "Due" is said in
//! the words that TEEs read anyway, the record's length of an epoch; what governance had set comes back when the roll is over.
//!
//! Nobody is taken off a cluster by this: a suspension ends by itself, and the number of votes that decide never falls. Where those who
//! remain are too few to decide - as where the only replica is shut out - the cluster stands still, an event says so, and what ends it is
//! governance's new assignment, or the ban's end.
//!
//! Guarantees: every cluster is looked at after each decision that shuts somebody out, [`LOOKED_AT_PER_BLOCK`] in a block; a decision that
//! follows does not begin the search anew, so that none is passed over. A cluster whose replica stays shut out rolls again with the next
//! such decision, which costs it an epoch and nobody else anything. Governance and the brake decide who is shut out.

use crate::{pallet::*, WeightInfo};
use frame_support::{pallet_prelude::DispatchResult, weights::Weight};
use phala_pallet_attestation::OnBarred;
use phala_protocol::{
    chain_state::KEY_LEAD_BLOCKS,
    ids::{BlockNumber, ClusterId},
};
use sp_runtime::SaturatedConversion;

/// Clusters that are looked at in a block.
pub(crate) const LOOKED_AT_PER_BLOCK: u32 = 16;

impl<T: Config> OnBarred for Pallet<T> {
    fn on_barred() {
        let clusters = NextCluster::<T>::get();
        // Once around from wherever the search is.
        Search::<T>::mutate(|place| place.left = clusters);
    }
}

impl<T: Config> Pallet<T> {
    /// Goes on with the search.
    pub(crate) fn look_for_shut_out() -> Weight {
        let SearchPlace { mut next, left } = Search::<T>::get();
        let number = left.min(LOOKED_AT_PER_BLOCK);
        let clusters = NextCluster::<T>::get();
        for _ in 0..number {
            if next >= clusters {
                next = 0;
            }
            Self::roll_if_shut_out(ClusterId(next));
            next = next.saturating_add(1);
        }
        if number > 0 {
            Search::<T>::put(SearchPlace { next, left: left.saturating_sub(number) });
        }
        <T as Config>::WeightInfo::look_for_shut_out(number)
    }

    fn roll_if_shut_out(cluster: ClusterId) {
        let Some(mut record) = Clusters::<T>::get(cluster) else { return };
        let remaining = record.replicas.iter().filter(|replica| Self::counts(replica)).count();
        if remaining == record.replicas.len() {
            return;
        }
        // They may announce and bind again when their ban ends.
        Announcements::<T>::mutate(cluster, |announced| announced.retain(|(who, _)| Self::counts(who)));
        RekeyVotes::<T>::mutate(cluster, |votes| votes.retain(|(who, _)| Self::counts(who)));

        let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
        let given = now.saturating_add(KEY_LEAD_BLOCKS) >= record.next_epoch_due();
        let needed = if given { 2 } else { 1 };
        let present = Rolls::<T>::get(cluster);
        let length = present.map_or(record.epoch_length, |roll| roll.length);
        let left = present.map_or(needed, |roll| needed.max(roll.left));
        Rolls::<T>::insert(cluster, Roll { length, left });
        record.epoch_length = record.epoch_length.min(now.saturating_sub(record.opened_at));
        let majority = record.majority();
        Clusters::<T>::insert(cluster, record);
        Self::deposit_event(Event::EpochRolls { cluster, epochs: left.into() });
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
            match Rolls::<T>::get(cluster) {
                // What is due at once stays due.
                Some(roll) => Rolls::<T>::insert(cluster, Roll { length: blocks, ..roll }),
                None => record.epoch_length = blocks,
            }
            Ok(())
        })
    }
}
