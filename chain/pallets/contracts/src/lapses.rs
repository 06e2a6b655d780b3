//! Assignments that end by themselves, because a worker's registration lapsed and nobody renewed it within the grace.
//!
//! A worker attests again each period, and whoever does not loses what it was assigned. That may hang neither on its host, which would not
//! say so, nor on somebody who calls for it: each block looks at a few clusters in turn, at all of them in time. What has lapsed for
//! longer than the grace is named by an event, and is dropped [`NOTICE_BLOCKS`] later unless it has attested since. Its stake, its
//! deposits and its registration's other claims are not this pallet's, and are untouched.
//!
//! Nobody is dropped where fewer votes would then decide, or whoever keeps honest replicas from attesting would decide alone in the end: one
//! of three, of five or of seven goes, and the rest is governance's to assign. Nor while those who may vote now and are neither lost nor
//! stopped are too few to decide: that is an outage - collateral that nobody could renew, a chain that stood still - in which dropping
//! whoever lapsed first, or comes back last, would mend nothing. Registrations end at different times, so that one which lapsed within the
//! grace counts as away in this too. Nor while the brake holds: who is suspended cannot attest, and a suspension ends by itself. The notice
//! is counted from when none of this stands in the way, so that everybody has it to come back. The call `drop_replica` asks the first two.
//!
//! Guarantees: the work of a block does not grow with the number of clusters, and none is passed over; the number of votes that decide
//! falls nowhere. The registry and chain time decide who has lapsed. Does not: judge a suspension or a measurement, which end by other
//! decisions and are not lapses; assign another.

use crate::{pallet::*, WeightInfo};
use alloc::vec::Vec;
use frame_support::weights::Weight;
use phala_pallet_attestation as attestation;
use phala_protocol::{
    attestation::Role,
    chain_state::ClusterRecord,
    ids::{BlockNumber, ClusterId, WorkerId},
};
use sp_runtime::SaturatedConversion;

/// Clusters that are looked at in a block.
pub(crate) const WATCHED_PER_BLOCK: u32 = 4;
/// Blocks from when a replica may go, for having lapsed, to when it does: an hour of 6 s blocks, in which it can attest again.
pub(crate) const NOTICE_BLOCKS: BlockNumber = 600;

impl<T: Config> Pallet<T> {
    /// Looks at the next clusters.
    pub(crate) fn watch_replicas() -> Weight {
        let clusters = NextCluster::<T>::get();
        let number = clusters.min(WATCHED_PER_BLOCK);
        if number > 0 {
            let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
            let braked = attestation::Brake::<T>::get().is_some_and(|(until, _)| now <= until);
            let mut next = WatchedCluster::<T>::get();
            for _ in 0..number {
                if next >= clusters {
                    next = 0;
                }
                Self::watch(ClusterId(next), now, braked);
                next = next.saturating_add(1);
            }
            WatchedCluster::<T>::put(next);
        }
        <T as Config>::WeightInfo::watch_replicas(number)
    }

    fn watch(cluster: ClusterId, now: BlockNumber, braked: bool) {
        // A closed one has no replicas.
        let Some(record) = Clusters::<T>::get(cluster) else { return };
        let has_lapsed = |replica: &&WorkerId| attestation::Pallet::<T>::has_lapsed(replica, Role::Worker);
        let lapsed: Vec<WorkerId> = record.replicas.iter().filter(has_lapsed).copied().collect();
        let former = LapsedReplicas::<T>::get(cluster);
        if lapsed.is_empty() && former.is_empty() {
            return;
        }
        let may_go = !braked && keeps_majority(&record) && Self::who_decide(cluster, &record) >= record.majority();
        let mut present = Vec::new();
        for worker in lapsed {
            let known = former.iter().find(|known| known.worker == worker);
            if known.is_none() {
                Self::deposit_event(Event::ReplicaLapsed { cluster, worker });
            }
            let since = may_go.then(|| known.and_then(|known| known.since).unwrap_or(now));
            present.push(LapsedReplica { worker, since });
        }
        let is_due =
            |lapsed: &LapsedReplica| lapsed.since.is_some_and(|since| now >= since.saturating_add(NOTICE_BLOCKS));
        if let Some(LapsedReplica { worker, .. }) = present.iter().copied().find(is_due) {
            // One at a time: without it the next one's vote may be needed.
            present.retain(|lapsed| lapsed.worker != worker);
            Self::take_off(cluster, record, worker, DropReason::Lapsed);
        }
        if present.is_empty() {
            LapsedReplicas::<T>::remove(cluster);
        } else if present != former {
            LapsedReplicas::<T>::insert(cluster, present);
        }
    }

    /// How many replicas the chain takes votes of now, and may expect some of: whoever is lost or has dissented signs no result that counts.
    pub(crate) fn who_decide(cluster: ClusterId, record: &ClusterRecord) -> usize {
        let standings = Standings::<T>::get(cluster);
        let is_stopped = |worker: &WorkerId| {
            standings.iter().any(|known| known.worker == *worker && (known.lost || known.dissent.is_some()))
        };
        record.replicas.iter().filter(|worker| Self::is_active(worker) && !is_stopped(worker)).count()
    }
}

/// Whether a cluster decides by as many votes with one replica less.
fn keeps_majority(record: &ClusterRecord) -> bool {
    let after = record.replicas.len().saturating_sub(1);
    after > 0 && after / 2 + 1 == record.majority()
}
