//! Clusters and their epochs.
//!
//! Guarantees: an epoch's key is what more than half of the replicas announced, identical to the byte; epochs open at the beginning
//! of a block, so that no block has items of two epochs; the next never opens while items of the one before wait for a result. Keys of
//! the next epoch are of the root to which clusters go over, if there is one, else of the root that answers; no epoch opens with a key
//! of another. A cluster is counted under the root of the epoch before its open one, which it needs to close that epoch and to take its
//! state over, and so under a former root until two epochs have opened after it.
//! Replicas control the announcements, which are signed; a wrong key of a minority opens nothing, nor does what a replica announced that
//! is shut out.

use crate::{pallet::*, WeightInfo};
use alloc::vec::Vec;
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get, weights::Weight};
use phala_pallet_attestation as attestation;
use phala_pallet_inbox as inbox;
use phala_protocol::{
    attestation::Role,
    chain_state::ClusterRecord,
    envelope::{announcement_payload, PUBLIC_KEY_BYTES},
    ids::{BlockNumber, ClusterId, Epoch, WorkerId},
    limits::MAX_REPLICAS,
};
use sp_runtime::SaturatedConversion;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_create_cluster(replicas: Vec<WorkerId>) -> DispatchResult {
        Self::ensure_workers(&replicas)?;
        let id = NextCluster::<T>::get();
        NextCluster::<T>::put(id.checked_add(1).ok_or(Error::<T>::Overflow)?);
        let cluster = ClusterId(id);
        let era = attestation::Pallet::<T>::coming_era();
        let record = ClusterRecord {
            era,
            era_before: era,
            epoch: 0,
            opened_at: 0,
            opened_count: 0,
            final_count: 0,
            bound_epoch: 0,
            epoch_length: T::EpochLength::get(),
            envelope_key: Vec::new(),
            replicas: replicas.clone(),
        };
        Self::assign_standings(cluster, &record);
        Clusters::<T>::insert(cluster, record);
        Self::count_cluster(None, era);
        Self::deposit_event(Event::ReplicasAssigned { cluster, replicas });
        Ok(())
    }

    /// Counts a cluster under `era`, its record's `era_before` from now on, whose root it needs beside that of the open epoch; and no more
    /// under `former`, which that was until now.
    pub(crate) fn count_cluster(former: Option<u32>, era: u32) {
        if former == Some(era) {
            return;
        }
        if let Some(former) = former {
            Self::uncount_cluster(former);
        }
        ClustersOfEra::<T>::mutate(era, |clusters| *clusters = clusters.saturating_add(1));
    }

    /// Counts a cluster no more under the era whose root it needed.
    pub(crate) fn uncount_cluster(era: u32) {
        ClustersOfEra::<T>::mutate_exists(era, |clusters| {
            *clusters = clusters.and_then(|clusters| clusters.checked_sub(1)).filter(|left| *left > 0);
        });
    }

    /// How many clusters need the root of an era before `era`. There are entries for the eras that clusters need roots of, which a
    /// hand-over keeps to two.
    pub fn clusters_of_former_eras(era: u32) -> u32 {
        let former = ClustersOfEra::<T>::iter().filter(|(of, _)| *of < era);
        former.fold(0, |sum, (_, clusters)| sum.saturating_add(clusters))
    }

    pub(crate) fn do_assign_replicas(cluster: ClusterId, replicas: Vec<WorkerId>) -> DispatchResult {
        Self::ensure_workers(&replicas)?;
        Clusters::<T>::try_mutate(cluster, |record| {
            let record = record.as_mut().ok_or(Error::<T>::NoSuchCluster)?;
            ensure!(!record.is_closed(), Error::<T>::ClusterClosed);
            record.replicas = replicas.clone();
            Self::assign_standings(cluster, record);
            Ok::<(), Error<T>>(())
        })?;
        // What the former set announced or voted and did not get final is void: majorities are of the present set.
        Announcements::<T>::remove(cluster);
        RekeyVotes::<T>::remove(cluster);
        Self::deposit_event(Event::ReplicasAssigned { cluster, replicas });
        Ok(())
    }

    pub(crate) fn do_announce_key(
        cluster: ClusterId,
        era: u32,
        epoch: Epoch,
        public_key: Vec<u8>,
        worker: WorkerId,
        signature: [u8; 64],
    ) -> DispatchResult {
        let record = Clusters::<T>::get(cluster).ok_or(Error::<T>::NoSuchCluster)?;
        ensure!(record.replicas.contains(&worker), Error::<T>::NotAReplica);
        ensure!(Self::is_active(&worker), Error::<T>::NotAWorker);
        ensure!(public_key.len() == PUBLIC_KEY_BYTES, Error::<T>::BadKey);
        ensure!(epoch == record.next_epoch(), Error::<T>::WrongEpoch);
        ensure!(era == attestation::Pallet::<T>::coming_era(), Error::<T>::WrongEra);
        let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
        ensure!(now >= record.next_epoch_due(), Error::<T>::TooEarly);
        // Includes the binding of the state to the open epoch: without it, its last commitment would have no successor.
        ensure!(!record.is_closing(), Error::<T>::StillClosing);
        let payload = announcement_payload(&Self::genesis(), cluster, era, epoch, &public_key);
        ensure!(Self::signed_by(&worker, &signature, &payload), Error::<T>::BadSignature);

        let mut announcements = Announcements::<T>::get(cluster);
        // What was announced before the hand-over began is of a root that does not give this epoch's keys.
        announcements.retain(|announced| announced.era == era);
        ensure!(announcements.iter().all(|announced| announced.worker != worker), Error::<T>::AlreadyVoted);
        announcements.push(Announcement { worker, era, public_key: public_key.clone() });
        let counts = |announced: &&Announcement| announced.public_key == public_key && Self::counts(&announced.worker);
        let agreeing = announcements.iter().filter(counts).count();
        if agreeing >= record.majority() {
            let queued = Opening::<T>::get().iter().any(|decided| decided.cluster == cluster);
            if !queued {
                Opening::<T>::append(Decided { cluster, era, epoch, public_key });
            }
        }
        Announcements::<T>::insert(cluster, announcements);
        Ok(())
    }

    /// Opens what was decided in the block before.
    pub(crate) fn open_epochs() -> Weight {
        let opening = Opening::<T>::take();
        let number = opening.len() as u32;
        if number > 0 {
            let coming = attestation::Pallet::<T>::coming_era();
            // A hand-over that began in between would leave the rest with keys that no gatekeeper gives: they are announced anew.
            opening.into_iter().filter(|decided| decided.era == coming).for_each(Self::open_epoch_of);
        }
        <T as Config>::WeightInfo::open_epochs(number)
    }

    fn open_epoch_of(decided: Decided) {
        let Decided { cluster, era, epoch, public_key } = decided;
        let opens = |record: &ClusterRecord| record.next_epoch() == epoch && !record.is_closed();
        let Some(mut record) = Clusters::<T>::get(cluster).filter(opens) else { return };
        let needed = record.era_before;
        // Nothing is taken over from before the first epoch.
        record.era_before = if record.epoch == 0 { era } else { record.era };
        record.era = era;
        record.epoch = epoch;
        record.opened_at = frame_system::Pallet::<T>::block_number().saturated_into();
        record.opened_count = inbox::Pallet::<T>::head(cluster).count;
        record.envelope_key = public_key;
        record.epoch_length = Self::length_of_opened(cluster, record.epoch_length);
        let needs = record.era_before;
        Self::count_cluster(Some(needed), needs);
        Clusters::<T>::insert(cluster, record);
        Announcements::<T>::remove(cluster);
        RekeyVotes::<T>::remove(cluster);
        Self::deposit_event(Event::EpochOpened { cluster, epoch });
        if needed != needs && needs == era {
            Self::deposit_event(Event::WentOver { cluster, era });
        }
    }

    pub(crate) fn is_active(worker: &WorkerId) -> bool {
        attestation::Pallet::<T>::active(worker, Role::Worker).is_some()
    }

    /// Whether what a replica has signed counts: until it is shut out.
    pub(crate) fn counts(worker: &WorkerId) -> bool {
        !attestation::Pallet::<T>::is_shut_out(worker)
    }

    pub(crate) fn signed_by(worker: &WorkerId, signature: &[u8; 64], payload: &[u8; 32]) -> bool {
        attestation::signed_by(worker, signature, payload)
    }

    fn ensure_workers(replicas: &[WorkerId]) -> DispatchResult {
        ensure!(!replicas.is_empty() && replicas.len() <= MAX_REPLICAS as usize, Error::<T>::BadReplicaCount);
        for (index, worker) in replicas.iter().enumerate() {
            ensure!(Self::is_active(worker), Error::<T>::NotAWorker);
            let repeated = replicas.iter().take(index).any(|other| other == worker);
            ensure!(!repeated, Error::<T>::NotAWorker);
        }
        Ok(())
    }
}

/// What the inbox asks of clusters.
impl<T: Config> inbox::Clusters for Pallet<T> {
    fn open_epoch(cluster: ClusterId) -> Option<Epoch> {
        let open = |record: &ClusterRecord| record.epoch > 0 && !record.is_closed();
        Clusters::<T>::get(cluster).filter(open).map(|record| record.epoch)
    }

    fn is_closed(cluster: ClusterId) -> bool {
        Clusters::<T>::get(cluster).is_some_and(|record| record.is_closed())
    }

    fn replicas(cluster: ClusterId) -> u32 {
        Clusters::<T>::get(cluster).map_or(0, |record| record.replicas.len() as u32)
    }
}
