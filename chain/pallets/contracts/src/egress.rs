//! What the egress pallet rests on: the roots of what final results send, and whether a cluster's replicas agree.
//!
//! Guarantees: a root is kept from when its result is final until all of it was taken, however many final results come after; from the
//! block on in which it shows that a replica signed otherwise than the others, or two results, its cluster is disputed, until governance
//! has settled that; what a replica signed otherwise that was known, about results final before, disputes nothing again. Replicas control
//! what they sign; one of them can hold up what leaves its cluster, and none can let it out.
//! Does not: bound how many roots wait while nothing leaves. Each is of a boundary whose commands were paid for.

use crate::pallet::*;
use phala_protocol::{
    egress::{empty_root, EgressRoot},
    ids::{BlockNumber, ClusterId, ContractId},
    result::ClusterResult,
};
use sp_runtime::SaturatedConversion;

impl<T: Config> Pallet<T> {
    /// Keeps the root of what a final result sends, if it sends anything.
    pub(crate) fn keep_egress_root(result: &ClusterResult, finalised_at: BlockNumber) {
        if result.egress_root != empty_root() {
            let root = EgressRoot { root: result.egress_root, finalised_at };
            EgressRoots::<T>::insert((result.cluster, result.boundary.block), root);
        }
    }

    /// Notes that a replica of the cluster signed otherwise. Whether that is new: nothing stopped what leaves the cluster before.
    pub(crate) fn dispute(cluster: ClusterId) -> bool {
        if Disputed::<T>::contains_key(cluster) {
            return false;
        }
        let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
        Disputed::<T>::insert(cluster, now);
        true
    }

    /// Whether governance has settled a dispute about the cluster since a result of it became final in block `finalised_at`.
    pub(crate) fn is_settled_since(cluster: ClusterId, finalised_at: BlockNumber) -> bool {
        Settled::<T>::get(cluster).is_some_and(|settled| finalised_at < settled)
    }

    /// The root of what the final result of a boundary sends, while some of it is not taken.
    pub fn egress_root(cluster: ClusterId, block: BlockNumber) -> Option<EgressRoot> {
        EgressRoots::<T>::get((cluster, block))
    }

    /// Forgets a root whose items are all taken.
    pub fn forget_egress_root(cluster: ClusterId, block: BlockNumber) {
        EgressRoots::<T>::remove((cluster, block));
    }

    /// Whether nothing may leave the cluster, because one of its replicas signed otherwise.
    pub fn is_disputed(cluster: ClusterId) -> bool {
        Disputed::<T>::contains_key(cluster)
    }

    /// Ends a dispute, by governance's word. False if there was none.
    pub fn settle_dispute(cluster: ClusterId) -> bool {
        let was_disputed = Disputed::<T>::take(cluster).is_some();
        if was_disputed {
            let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
            Settled::<T>::insert(cluster, now);
        }
        was_disputed
    }

    /// The cluster of a contract.
    pub fn cluster_of(contract: &ContractId) -> Option<ClusterId> {
        Instances::<T>::get(contract).map(|record| record.cluster)
    }
}
