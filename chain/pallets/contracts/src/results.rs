//! The vote that makes results final.
//!
//! Guarantees: one vote per replica and boundary; two different votes of one replica are reported as equivocation; a boundary is
//! final when more than half of the replicas signed the same result, in the inbox's order, each result continuing the commitment
//! of the one before under the epoch's commit key, or the binding of a re-key. A submission makes at most
//! [`FINALISED_PER_RESULT`] boundaries final for each result in it, which its weight covers; what has its majority beyond that
//! waits for the next submission, also of results that are known. What a replica signed before it was shut out decides nothing after.
//! Replicas control what is voted, not when it counts.

use crate::{
    pallet::*,
    standing::{stand, Verdict},
    WeightInfo,
};
use alloc::vec::Vec;
use frame_support::{
    dispatch::{DispatchErrorWithPostInfo, DispatchResultWithPostInfo, PostDispatchInfo},
    ensure,
    pallet_prelude::Pays,
};
use phala_pallet_inbox as inbox;
use phala_protocol::{
    chain_state::{ClusterRecord, FinalRecord},
    ids::{ClusterId, WorkerId},
    result::{Boundary, ClusterResult, SignedRekey, SignedResult},
};
use sp_runtime::{DispatchError, SaturatedConversion};

/// Who signed a result, and with what.
type Voters = Vec<(WorkerId, [u8; 64])>;

/// What became of one result of a submission.
enum Taken {
    /// It was counted, or reported for what it shows.
    New,
    /// It was here already.
    Known,
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_results(results: Vec<SignedResult>) -> DispatchResultWithPostInfo {
        let number = results.len() as u32;
        let mut budget = number.saturating_mul(FINALISED_PER_RESULT);
        let most = budget;
        let counted = Self::take_results(results, &mut budget);
        let finalised = most.saturating_sub(budget);
        let post_info = PostDispatchInfo {
            actual_weight: Some(<T as Config>::WeightInfo::submit_results(number, finalised)),
            pays_fee: Pays::Yes,
        };
        let (new, known) = counted.map_err(|error| DispatchErrorWithPostInfo { post_info, error })?;
        if new == 0 && finalised == 0 {
            // What changes nothing fails, so that repeating a vote is never free and never looks like progress.
            return Err(DispatchErrorWithPostInfo { post_info, error: Error::<T>::AlreadyVoted.into() });
        }
        for SignedResult { result, worker, .. } in known {
            let ClusterResult { cluster, boundary, .. } = result;
            Self::deposit_event(Event::AlreadyKnown { cluster, block: boundary.block, worker });
        }
        Ok(post_info)
    }

    /// Takes results one after the other. Returns how many were new, and the others.
    fn take_results(results: Vec<SignedResult>, budget: &mut u32) -> Result<(u32, Vec<SignedResult>), DispatchError> {
        let (mut new, mut known) = (0u32, Vec::new());
        for signed in results {
            let cluster = signed.result.cluster;
            match Self::take_result(&signed)? {
                Taken::New => new = new.saturating_add(1),
                Taken::Known => known.push(signed),
            }
            // After a known one too: more may have had its majority than an earlier submission paid for.
            Self::finalise_in_order(cluster, budget);
        }
        Ok((new, known))
    }

    fn take_result(signed: &SignedResult) -> Result<Taken, DispatchError> {
        let SignedResult { result, worker, signature } = signed;
        let ClusterResult { cluster, boundary, .. } = *result;
        let record = Clusters::<T>::get(cluster).ok_or(Error::<T>::NoSuchCluster)?;
        ensure!(record.replicas.contains(worker), Error::<T>::NotAReplica);
        ensure!(Self::is_active(worker), Error::<T>::NotAWorker);
        let waiting = inbox::Pallet::<T>::boundary(cluster, boundary.block);
        let decided = match waiting {
            Some(_) => None,
            None => Some(FinalResults::<T>::get((cluster, boundary.block)).ok_or(Error::<T>::NoSuchBoundary)?),
        };
        let expected: Option<Boundary> = waiting.or(decided.as_ref().map(|known| known.result.boundary));
        ensure!(expected == Some(boundary), Error::<T>::WrongBoundary);
        // The block that is being built may still gain items; its boundary is not a fact before it ends.
        let now: u32 = frame_system::Pallet::<T>::block_number().saturated_into();
        ensure!(boundary.block < now, Error::<T>::NoSuchBoundary);
        let epoch = decided.as_ref().map_or_else(|| record.epoch_at(boundary.block), |known| known.result.epoch);
        ensure!(result.epoch == epoch, Error::<T>::WrongEpoch);
        ensure!(
            Self::signed_by(worker, signature, &result.signing_payload(&Self::genesis())),
            Error::<T>::BadSignature
        );
        Ok(match decided {
            Some(decided) => Self::take_late(signed, &decided),
            None => Self::take_vote(signed),
        })
    }

    /// A vote on a boundary that waits for its result.
    fn take_vote(signed: &SignedResult) -> Taken {
        let (cluster, block, worker) = (signed.result.cluster, signed.result.boundary.block, signed.worker);
        let mut votes = Votes::<T>::get((cluster, block));
        if let Some(earlier) = votes.iter().find(|vote| vote.worker == worker) {
            if earlier.result == signed.result {
                return Taken::Known;
            }
            // Reported, not refused: an error would roll the event back. The first vote stands.
            Self::dispute(cluster);
            Self::deposit_event(Event::Equivocated { cluster, block, worker });
            return Taken::New;
        }
        Self::deposit_event(Event::Voted { cluster, block, worker });
        votes.push(signed.clone());
        Votes::<T>::insert((cluster, block), votes);
        Taken::New
    }

    /// A vote on a boundary whose result is final: it decides nothing any more, and shows where its replica is.
    fn take_late(signed: &SignedResult, decided: &FinalRecord) -> Taken {
        let (cluster, worker) = (signed.result.cluster, signed.worker);
        let Boundary { block, count, .. } = signed.result.boundary;
        let agrees = signed.result == decided.result;
        // What governance has settled disputes nothing any more: or anyone could show it again, and stop the cluster anew.
        let settled = Self::is_settled_since(cluster, decided.finalised_at);
        if !agrees && decided.votes.iter().any(|(voter, _)| *voter == worker) {
            if !settled {
                Self::dispute(cluster);
            }
            Self::deposit_event(Event::Equivocated { cluster, block, worker });
            return Taken::New;
        }
        let mut standings = Standings::<T>::get(cluster);
        let verdict = stand(&mut standings, worker, &decided.result.boundary, agrees);
        // The first dissent of a replica counts whenever it comes: governance did not know of it.
        let is_first = verdict == Verdict::Dissented;
        let disputed = !agrees && (is_first || !settled) && Self::dispute(cluster);
        match verdict {
            Verdict::Nothing if !disputed => return Taken::Known,
            Verdict::Confirmed => Self::deposit_event(Event::Confirmed { cluster, worker, count }),
            // A later dissent that disputes has to count as new too, or the error for what is known would take the dispute back.
            Verdict::Nothing | Verdict::Dissented => Self::deposit_event(Event::Dissented { cluster, block, worker }),
        }
        Standings::<T>::insert(cluster, standings);
        Taken::New
    }

    /// Makes final what has its majority, oldest boundary first, until `budget` boundaries are.
    fn finalise_in_order(cluster: ClusterId, budget: &mut u32) {
        while *budget > 0 {
            let Some(record) = Clusters::<T>::get(cluster) else { return };
            let Some(boundary) = inbox::Pallet::<T>::oldest_boundary(cluster) else { return };
            let votes = Votes::<T>::get((cluster, boundary.block));
            let Some((result, voters)) = Self::decided(cluster, &record, &votes) else { return };
            Votes::<T>::remove((cluster, boundary.block));
            Self::record_final(cluster, record, result, &votes, voters);
            *budget = budget.saturating_sub(1);
        }
    }

    /// The result that more than half of the replicas signed and that continues the last commitment, if there is one, with the
    /// signatures of those that are not shut out.
    fn decided(cluster: ClusterId, record: &ClusterRecord, votes: &[SignedResult]) -> Option<(ClusterResult, Voters)> {
        let agrees = |vote: &SignedResult, result: &ClusterResult| {
            vote.result == *result && record.replicas.contains(&vote.worker)
        };
        // Each replica votes once, so that one result at most has more than half of them, and each voter is asked about once.
        let result = votes
            .iter()
            .map(|vote| vote.result)
            .find(|result| votes.iter().filter(|vote| agrees(vote, result)).count() >= record.majority())?;
        let continues = match Commitments::<T>::get(cluster) {
            Some(commitment) => record.bound_epoch == result.epoch && commitment == result.prev,
            None => true,
        };
        if !continues {
            return None;
        }
        let voters: Vec<_> = votes
            .iter()
            .filter(|vote| agrees(vote, &result) && Self::counts(&vote.worker))
            .map(|vote| (vote.worker, vote.signature))
            .collect();
        (voters.len() >= record.majority()).then_some((result, voters))
    }

    /// Records a result that was decided on by `voters`, among all `votes` on its boundary.
    fn record_final(
        cluster: ClusterId,
        mut record: ClusterRecord,
        result: ClusterResult,
        votes: &[SignedResult],
        voters: Voters,
    ) {
        let Boundary { block, count, .. } = result.boundary;
        Commitments::<T>::insert(cluster, result.next);
        let replicas = record.replicas.len() as u32;
        record.final_count = count;
        record.bound_epoch = result.epoch;
        let mut standings = Standings::<T>::get(cluster);
        for vote in votes.iter().filter(|vote| record.replicas.contains(&vote.worker)) {
            let agrees = vote.result == result;
            if !agrees {
                Self::dispute(cluster);
            }
            let verdict = stand(&mut standings, vote.worker, &result.boundary, agrees);
            if verdict == Verdict::Dissented {
                Self::deposit_event(Event::Dissented { cluster, block, worker: vote.worker });
            }
        }
        Clusters::<T>::insert(cluster, record);
        let finalised_at = frame_system::Pallet::<T>::block_number().saturated_into();
        FinalResults::<T>::insert((cluster, block), FinalRecord { result, votes: voters, replicas, finalised_at });
        Self::keep_egress_root(&result, finalised_at);
        Self::keep(cluster, &result.boundary, &mut standings);
        Standings::<T>::insert(cluster, standings);
        inbox::Pallet::<T>::acknowledge(cluster, block);
        Self::deposit_event(Event::ResultFinal { cluster, block, count });
    }

    pub(crate) fn do_submit_rekey(signed: SignedRekey) -> DispatchResultWithPostInfo {
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
        let mut budget = FINALISED_PER_RESULT;
        let mut votes = RekeyVotes::<T>::get(cluster);
        ensure!(votes.iter().all(|(who, _)| *who != worker), Error::<T>::AlreadyVoted);
        votes.push((worker, rekey));
        let agreeing = votes.iter().filter(|(who, vote)| *vote == rekey && Self::counts(who)).count();
        if agreeing >= record.majority() {
            RekeyVotes::<T>::remove(cluster);
            Commitments::<T>::insert(cluster, rekey.new);
            Bindings::<T>::insert(cluster, rekey);
            Clusters::<T>::insert(cluster, ClusterRecord { bound_epoch: rekey.epoch, ..record });
            Self::deposit_event(Event::Rekeyed { cluster, epoch: rekey.epoch });
            // Results of the new epoch may have been waiting for the binding.
            Self::finalise_in_order(cluster, &mut budget);
        } else {
            RekeyVotes::<T>::insert(cluster, votes);
        }
        let finalised = FINALISED_PER_RESULT.saturating_sub(budget);
        Ok(Some(<T as Config>::WeightInfo::submit_rekey(finalised)).into())
    }
}
