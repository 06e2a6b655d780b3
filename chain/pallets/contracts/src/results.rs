//! The vote that makes results final.
//!
//! Guarantees: one vote per replica and boundary; two different votes of one replica are reported as equivocation; a boundary is
//! final when more than half of the replicas signed the same result, in the inbox's order, each result continuing the commitment
//! of the one before under the epoch's commit key, or the binding of a re-key. Replicas control what is voted, not when it counts.

use crate::pallet::*;
use alloc::vec::Vec;
use frame_support::{ensure, pallet_prelude::DispatchResult};
use phala_pallet_inbox as inbox;
use phala_protocol::{
    chain_state::{ClusterRecord, FinalRecord},
    ids::ClusterId,
    limits::{FINAL_RESULTS_KEPT, MAX_RESULTS_PER_SUBMIT},
    result::{ClusterResult, SignedRekey, SignedResult},
};
use sp_runtime::SaturatedConversion;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_result(signed: SignedResult) -> DispatchResult {
        let SignedResult { result, worker, signature } = &signed;
        let ClusterResult { cluster, boundary, .. } = *result;
        let record = Clusters::<T>::get(cluster).ok_or(Error::<T>::NoSuchCluster)?;
        ensure!(record.replicas.contains(worker), Error::<T>::NotAReplica);
        ensure!(Self::is_active(worker), Error::<T>::NotAWorker);
        let expected = inbox::Pallet::<T>::boundary(cluster, boundary.block).ok_or(Error::<T>::NoSuchBoundary)?;
        ensure!(expected == boundary, Error::<T>::WrongBoundary);
        // The block that is being built may still gain items; its boundary is not a fact before it ends.
        let now: u32 = frame_system::Pallet::<T>::block_number().saturated_into();
        ensure!(boundary.block < now, Error::<T>::NoSuchBoundary);
        ensure!(result.epoch == record.epoch_at(boundary.block), Error::<T>::WrongEpoch);
        ensure!(
            Self::signed_by(worker, signature, &result.signing_payload(&Self::genesis())),
            Error::<T>::BadSignature
        );

        let key = (cluster, boundary.block);
        let mut votes = Votes::<T>::get(key);
        if let Some(earlier) = votes.iter().find(|vote| vote.worker == *worker) {
            if earlier.result == *result {
                return Err(Error::<T>::AlreadyVoted.into());
            }
            // Reported, not refused: an error would roll the event back. The first vote stands.
            Self::deposit_event(Event::Equivocated { cluster, block: boundary.block, worker: *worker });
            return Ok(());
        }
        Self::deposit_event(Event::Voted { cluster, block: boundary.block, worker: *worker });
        votes.push(signed);
        Votes::<T>::insert(key, votes);
        Self::finalise_in_order(cluster);
        Ok(())
    }

    /// Makes final what has its majority, oldest boundary first.
    fn finalise_in_order(cluster: ClusterId) {
        for _ in 0..MAX_RESULTS_PER_SUBMIT {
            let Some(record) = Clusters::<T>::get(cluster) else { return };
            let Some(boundary) = inbox::Pallet::<T>::oldest_boundary(cluster) else { return };
            let votes = Votes::<T>::get((cluster, boundary.block));
            let Some(result) = Self::decided(cluster, &record, &votes) else { return };
            let agreeing: Vec<_> =
                votes.iter().filter(|vote| vote.result == result).map(|vote| (vote.worker, vote.signature)).collect();
            Votes::<T>::remove((cluster, boundary.block));
            Self::record_final(cluster, record, result, agreeing);
        }
    }

    /// The result that more than half of the replicas signed and that continues the last commitment, if there is one.
    fn decided(cluster: ClusterId, record: &ClusterRecord, votes: &[SignedResult]) -> Option<ClusterResult> {
        votes
            .iter()
            .map(|vote| vote.result)
            .find(|result| {
                let agreeing = votes
                    .iter()
                    .filter(|vote| vote.result == *result && record.replicas.contains(&vote.worker))
                    .count();
                agreeing >= record.majority()
            })
            .filter(|result| match Commitments::<T>::get(cluster) {
                Some(commitment) => record.bound_epoch == result.epoch && commitment == result.prev,
                None => true,
            })
    }

    fn record_final(
        cluster: ClusterId,
        mut record: ClusterRecord,
        result: ClusterResult,
        votes: Vec<(phala_protocol::WorkerId, [u8; 64])>,
    ) {
        let block = result.boundary.block;
        Commitments::<T>::insert(cluster, result.next);
        let replicas = record.replicas.len() as u32;
        record.final_count = result.boundary.count;
        record.bound_epoch = result.epoch;
        Clusters::<T>::insert(cluster, record);
        let finalised_at = frame_system::Pallet::<T>::block_number().saturated_into();
        FinalResults::<T>::insert((cluster, block), FinalRecord { result, votes, replicas, finalised_at });
        FinalBlocks::<T>::mutate(cluster, |blocks| {
            blocks.push(block);
            if blocks.len() > FINAL_RESULTS_KEPT as usize {
                let oldest = blocks.remove(0);
                FinalResults::<T>::remove((cluster, oldest));
            }
        });
        inbox::Pallet::<T>::acknowledge(cluster, block);
        Self::deposit_event(Event::ResultFinal { cluster, block, count: result.boundary.count });
    }

    pub(crate) fn do_submit_rekey(signed: SignedRekey) -> DispatchResult {
        let SignedRekey { rekey, worker, signature } = signed;
        let cluster = rekey.cluster;
        let record = Clusters::<T>::get(cluster).ok_or(Error::<T>::NoSuchCluster)?;
        ensure!(record.replicas.contains(&worker), Error::<T>::NotAReplica);
        ensure!(Self::is_active(&worker), Error::<T>::NotAWorker);
        ensure!(rekey.epoch == record.epoch, Error::<T>::WrongEpoch);
        ensure!(record.final_count >= record.opened_count, Error::<T>::StillClosing);
        let commitment = Commitments::<T>::get(cluster).ok_or(Error::<T>::NothingToRekey)?;
        ensure!(record.bound_epoch < record.epoch, Error::<T>::NothingToRekey);
        ensure!(rekey.old == commitment, Error::<T>::WrongCommitment);
        ensure!(
            Self::signed_by(&worker, &signature, &rekey.signing_payload(&Self::genesis())),
            Error::<T>::BadSignature
        );
        let mut votes = RekeyVotes::<T>::get(cluster);
        ensure!(votes.iter().all(|(who, _)| *who != worker), Error::<T>::AlreadyVoted);
        votes.push((worker, rekey));
        let agreeing = votes.iter().filter(|(_, vote)| *vote == rekey).count();
        if agreeing >= record.majority() {
            RekeyVotes::<T>::remove(cluster);
            Commitments::<T>::insert(cluster, rekey.new);
            Clusters::<T>::insert(cluster, ClusterRecord { bound_epoch: rekey.epoch, ..record });
            Self::deposit_event(Event::Rekeyed { cluster, epoch: rekey.epoch });
            // Results of the new epoch may have been waiting for the binding.
            Self::finalise_in_order(cluster);
        } else {
            RekeyVotes::<T>::insert(cluster, votes);
        }
        Ok(())
    }
}
