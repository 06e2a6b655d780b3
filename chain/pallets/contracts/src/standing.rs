//! Where each replica stands, and how long final results are kept for the ones that are behind.
//!
//! A replica catches up by executing old boundaries again and comparing each with the final result in chain state, under the
//! golden key `Contracts::FinalResults[(cluster, block)]`. So a result stays while a replica that may still need it has not
//! signed it: for [`FINAL_RESULTS_KEPT`] boundaries at least, and for [`Config::MaxReplicaLag`] at most. A replica that is behind by more
//! is *lost*, by an event and for everyone to read: it cannot confirm what it is asked to execute, whatever it is shown. A
//! replica that signed otherwise than the majority has *dissented*; it stopped for good, and nothing is kept for it. Anyone may have
//! a lost, lapsed or shut out replica dropped while that leaves the number of votes that decide as it is, a lapsed one only while the others
//! decide - and that goes by itself in the end (`lapses.rs`) -; who serves instead is governance's explicit assignment.
//!
//! Guarantees: bounded work and bounded state a result, and no replica stops counting in silence. Replicas control what they
//! sign; a replica can keep at most [`Config::MaxReplicaLag`] results in state, and no replica can have another one dropped.
//! Does not: judge who was right (that is arbitration's), or hand state over to a new replica.

use crate::pallet::*;
use alloc::vec::Vec;
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get};
use phala_pallet_attestation::Absence;
use phala_protocol::{
    attestation::Role,
    chain_state::ClusterRecord,
    ids::{ClusterId, WorkerId},
    limits::FINAL_RESULTS_KEPT,
    result::Boundary,
};

/// Final results that one more final result forgets at most: more than it adds, so that what a lag left shrinks again.
const FORGOTTEN_AT_ONCE: u32 = 2;

/// What a signed result says about where its replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing that was not known.
    Nothing,
    /// It executed more than was known, to the same result.
    Confirmed,
    /// For the first time, it signed another result than the final one.
    Dissented,
}

/// Notes that `worker` signed a result for `boundary`, the final one or another.
pub(crate) fn stand(standings: &mut Vec<Standing>, worker: WorkerId, boundary: &Boundary, agrees: bool) -> Verdict {
    let Some(standing) = standings.iter_mut().find(|standing| standing.worker == worker) else {
        standings.push(Standing { worker, confirmed: 0, dissent: None, lost: false });
        return stand(standings, worker, boundary, agrees);
    };
    if !agrees {
        let first = standing.dissent.is_none();
        standing.dissent.get_or_insert(boundary.block);
        return if first { Verdict::Dissented } else { Verdict::Nothing };
    }
    if boundary.count <= standing.confirmed {
        return Verdict::Nothing;
    }
    standing.confirmed = boundary.count;
    standing.lost = false;
    Verdict::Confirmed
}

impl<T: Config> Pallet<T> {
    /// Remembers that the result of `newest` is kept, and forgets the oldest that nobody needs any more.
    pub(crate) fn keep(cluster: ClusterId, newest: &Boundary, standings: &mut [Standing]) {
        let (mut first, last) = FinalRange::<T>::get(cluster);
        FinalOrder::<T>::insert(cluster, last, (newest.block, newest.count));
        let next = last.saturating_add(1);
        for _ in 0..FORGOTTEN_AT_ONCE {
            let kept = next.saturating_sub(first);
            if kept <= FINAL_RESULTS_KEPT.into() {
                break;
            }
            let Some((block, count)) = FinalOrder::<T>::get(cluster, first) else { break };
            let needs =
                |standing: &Standing| !standing.lost && standing.dissent.is_none() && standing.confirmed < count;
            if kept <= T::MaxReplicaLag::get().into() && standings.iter().any(needs) {
                break;
            }
            for standing in standings.iter_mut().filter(|standing| needs(standing)) {
                standing.lost = true;
                let (worker, confirmed) = (standing.worker, standing.confirmed);
                Self::deposit_event(Event::ReplicaLost { cluster, worker, confirmed });
            }
            FinalOrder::<T>::remove(cluster, first);
            FinalResults::<T>::remove((cluster, block));
            first = first.saturating_add(1);
        }
        FinalRange::<T>::insert(cluster, (first, next));
    }

    /// Begins the standings of an assignment: members that stay keep theirs, new ones owe what becomes final from now on.
    pub(crate) fn assign_standings(cluster: ClusterId, record: &ClusterRecord) {
        let former = Standings::<T>::get(cluster);
        let standing = |worker: &WorkerId| {
            let known = former.iter().find(|standing| standing.worker == *worker).copied();
            known.unwrap_or(Standing { worker: *worker, confirmed: record.final_count, dissent: None, lost: false })
        };
        Standings::<T>::insert(cluster, record.replicas.iter().map(standing).collect::<Vec<_>>());
    }

    pub(crate) fn do_drop_replica(cluster: ClusterId, worker: WorkerId) -> DispatchResult {
        let mut record = Clusters::<T>::get(cluster).ok_or(Error::<T>::NoSuchCluster)?;
        ensure!(record.replicas.contains(&worker), Error::<T>::NotAReplica);
        let lost = Standings::<T>::get(cluster).iter().any(|standing| standing.worker == worker && standing.lost);
        let reason = if lost {
            DropReason::Lost
        } else {
            match phala_pallet_attestation::Pallet::<T>::absence(&worker, Role::Worker) {
                Some(Absence::Lapsed) => DropReason::Lapsed,
                Some(Absence::Barred) => DropReason::Barred,
                None => return Err(Error::<T>::StillServing.into()),
            }
        };
        let majority = record.majority();
        record.replicas.retain(|replica| *replica != worker);
        // Or whoever keeps honest replicas from attesting would decide alone in the end.
        ensure!(record.majority() == majority && !record.replicas.is_empty(), Error::<T>::MajorityWouldFall);
        // Or anybody could take the first that lapsed off each cluster in an outage, while nobody can attest (`lapses.rs`).
        let decides = reason != DropReason::Lapsed || Self::who_decide(cluster, &record) >= majority;
        ensure!(decides, Error::<T>::OthersAway);
        Self::take_off(cluster, record, worker, reason);
        Ok(())
    }

    /// Takes a replica off its cluster, with what it announced, bound and confirmed. Whether fewer votes would then decide is the caller's
    /// to ask.
    pub(crate) fn take_off(cluster: ClusterId, mut record: ClusterRecord, worker: WorkerId, reason: DropReason) {
        record.replicas.retain(|replica| *replica != worker);
        Announcements::<T>::mutate(cluster, |announced| announced.retain(|announcement| announcement.worker != worker));
        RekeyVotes::<T>::mutate(cluster, |votes| votes.retain(|(who, _)| *who != worker));
        Standings::<T>::mutate(cluster, |standings| standings.retain(|standing| standing.worker != worker));
        Clusters::<T>::insert(cluster, record);
        Self::deposit_event(Event::ReplicaDropped { cluster, worker, reason });
    }
}
