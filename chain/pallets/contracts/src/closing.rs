//! Clusters that governance closes for good, because what they held is lost and nobody can serve them again.
//!
//! One that stands still holds the former root, for it may yet come back, and with the root the next election. When its state is gone with
//! its machines, or its keys with the gatekeepers, it never does; what was made to lose nothing would then wait for nothing. Whether that
//! is so no chain can see: it is governance's judgement, and **it cannot be undone**. So the call is refused of a cluster that works: its next epoch
//! has to be overdue by [`OVERDUE_BLOCKS`], and by the brake's longest suspension beside while a replica is barred or the brake was on just now,
//! for those come back. That it is overdue does not show that anything is lost: gatekeepers may be away, who give the keys of the next epoch, or
//! an item may run that takes long. Whoever decides has to look at both.
//!
//! Guarantees: from the block of the call on the cluster takes no items, has no replicas and no envelope key, and is counted under no era's
//! root. TEEs read that in the record that they read anyway: gatekeepers give its keys to nobody, workers drop them. Final results stay as
//! they are, and receipts of them hold. What they send and was not taken waits until governance has settled that, as of a disputed
//! cluster, and is lost where nobody has kept it, for workers drop it. Items without a final result are unanswered for ever: an event says
//! how many, and they stay in the inbox's state with who sent them and what was paid. Fees stay paid; deposits for code stay with the code,
//! which other clusters run.
//! Governance decides which cluster. Does not: move state anywhere, or say why it is lost.

use crate::pallet::*;
use frame_support::{ensure, pallet_prelude::DispatchResult};
use phala_pallet_attestation as attestation;
use phala_pallet_inbox as inbox;
use phala_protocol::{
    attestation::Role,
    ids::{BlockNumber, ClusterId, WorkerId},
};
use sp_runtime::SaturatedConversion;

/// Blocks for which a cluster's next epoch has to be overdue: an hour of 6 s blocks. Whoever works opens it within a few.
pub(crate) const OVERDUE_BLOCKS: BlockNumber = 600;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_close_cluster(cluster: ClusterId) -> DispatchResult {
        let mut record = Clusters::<T>::get(cluster).ok_or(Error::<T>::NoSuchCluster)?;
        ensure!(!record.is_closed(), Error::<T>::ClusterClosed);
        let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
        let opens = Opening::<T>::get().iter().any(|decided| decided.cluster == cluster);
        let overdue = now >= record.next_epoch_due().saturating_add(Self::overdue_to_close(&record.replicas, now));
        ensure!(overdue && !opens, Error::<T>::StillOpening);
        let (answered, items) = (record.final_count, inbox::Pallet::<T>::head(cluster).count);
        Self::uncount_cluster(record.era_before);
        record.replicas.clear();
        record.envelope_key.clear();
        Clusters::<T>::insert(cluster, record);
        Announcements::<T>::remove(cluster);
        RekeyVotes::<T>::remove(cluster);
        Rolls::<T>::remove(cluster);
        // Nobody is behind any more for whom final results would have to be kept, and none are added.
        Standings::<T>::remove(cluster);
        // Nobody is left who could show that the last results were wrong.
        Self::dispute(cluster);
        Self::deposit_event(Event::ClusterClosed { cluster, answered, unanswered: items.saturating_sub(answered) });
        Ok(())
    }

    /// Blocks for which the next epoch of a cluster with these replicas has to be overdue.
    fn overdue_to_close(replicas: &[WorkerId], now: BlockNumber) -> BlockNumber {
        let absence = |replica| attestation::Pallet::<T>::absence(replica, Role::Worker);
        let barred = replicas.iter().any(|replica| absence(replica) == Some(attestation::Absence::Barred));
        // Whoever was suspended until just now has as long to come back as all others.
        let braked = |(until, _): (BlockNumber, BlockNumber)| now <= until.saturating_add(OVERDUE_BLOCKS);
        if barred || attestation::Brake::<T>::get().is_some_and(braked) {
            OVERDUE_BLOCKS.saturating_add(attestation::CurrentWindows::<T>::get().suspension)
        } else {
            OVERDUE_BLOCKS
        }
    }
}
