//! Replicas of a new cluster, drawn from the newest value of the beacon.
//!
//! Each candidate has a number of its own, drawn for the cluster and the worker; the lowest serve, in that order. So a candidate that
//! takes itself out gives its place to the next one and moves nobody else: positions in a list would be drawn anew for all, and whoever
//! has several workers would choose among the outcomes.
//!
//! Guarantees: the same value, cluster and candidates give the same replicas, and whoever has the chain's state finds them again; a
//! candidate is an active worker that serves no cluster, because a worker serves one, that answers when it is asked for a heartbeat ([`Responsive`]), and whose registration is older than the opening
//! of the value's period: nobody but a threshold of gatekeepers knew the value then. One that renewed its registration since waits for
//! the next value, and no value is drawn from whose period opened longer ago than [`MOST_EPOCHS_OLD`] allows. No two replicas share an
//! operator: of each, the candidate with the lowest number stands. All that are looked at are counted before; nothing is drawn from a
//! part of them.
//!
//! Governance decides when is drawn, and so from which value: a drawing is worth no more than its call. Whoever has many machines under
//! one account is drawn more often than others, once a cluster; under many accounts, as often as all others with as many. Whoever holds
//! workers can make a drawing fail, by taking them out where too few are left. Does not: draw again for a cluster that is there.

use crate::{pallet::*, WeightInfo};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::num::NonZeroU128;
use frame_support::{dispatch::DispatchResultWithPostInfo, ensure, traits::Get};
use phala_pallet_attestation::Workers;
use phala_protocol::{
    attestation::Role,
    beacon::MadeBeacon,
    draw::{Draw, DrawPurpose},
    ids::{AccountId, BlockNumber, ClusterId, WorkerId},
    limits::MAX_REPLICAS,
    Hash,
};
use sp_runtime::SaturatedConversion;

/// How old the opening of a value's period may be, in lengths of an epoch. Registrations are renewed all the time and lose their age by it:
/// with an old value, whoever keeps the next one from being made would leave few eligible, and would know which.
const MOST_EPOCHS_OLD: BlockNumber = 2;

/// Shows the newest value of the beacon.
pub trait LatestBeacon {
    /// The newest value, if there is one.
    fn latest() -> Option<MadeBeacon>;
}

/// A chain without a beacon.
impl LatestBeacon for () {
    fn latest() -> Option<MadeBeacon> {
        None
    }
}

/// Tells whether a worker may be drawn as far as its signs of life go.
pub trait Responsive {
    /// Unless it left too many unanswered. The answer is one read, which the pallet's weights cover.
    fn is_responsive(worker: &WorkerId) -> bool;
}

/// A chain that asks for none.
impl Responsive for () {
    fn is_responsive(_: &WorkerId) -> bool {
        true
    }
}

/// Why nothing was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDrawn {
    /// Fewer operators with a candidate than replicas are to serve.
    TooFew,
    /// Two candidates have the same number, of which one would serve.
    Tied,
}

/// The number of a candidate.
fn number_of(value: &Hash, cluster: ClusterId, worker: &WorkerId) -> u128 {
    Draw::new(value, DrawPurpose::Assignment, &(cluster, worker)).below(NonZeroU128::MAX)
}

/// Those of `candidates` with the lowest numbers, ascending.
pub(crate) fn lowest(mut candidates: Vec<(u128, WorkerId)>, count: usize) -> Result<Vec<WorkerId>, NotDrawn> {
    if candidates.len() < count {
        return Err(NotDrawn::TooFew);
    }
    candidates.sort_unstable();
    // Also the last that serves and the first that does not.
    let mut neighbours = candidates.iter().zip(candidates.iter().skip(1)).take(count);
    if neighbours.any(|((one, _), (other, _))| one == other) {
        return Err(NotDrawn::Tied);
    }
    Ok(candidates.into_iter().take(count).map(|(_, worker)| worker).collect())
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_draw_cluster(number: u32, registrations: u32, clusters: u32) -> DispatchResultWithPostInfo {
        ensure!((1..=MAX_REPLICAS).contains(&number), Error::<T>::BadReplicaCount);
        let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
        let oldest = T::EpochLength::get().saturating_mul(MOST_EPOCHS_OLD);
        let is_new = |made: &MadeBeacon| now.saturating_sub(made.opened) <= oldest;
        let newest = <T as Config>::Beacon::latest().filter(is_new);
        let MadeBeacon { opened, value, proof, .. } = newest.ok_or(Error::<T>::NoBeacon)?;
        let present = NextCluster::<T>::get();
        ensure!(present <= clusters, Error::<T>::MoreToLookAt);
        let serving: BTreeSet<WorkerId> = Clusters::<T>::iter_values().flat_map(|record| record.replicas).collect();
        let cluster = ClusterId(present);
        let (mut of_operators, mut looked_at) = (BTreeMap::<AccountId, (u128, WorkerId)>::new(), 0u32);
        for (worker, record) in Workers::<T>::iter() {
            ensure!(looked_at < registrations, Error::<T>::MoreToLookAt);
            looked_at = looked_at.saturating_add(1);
            let settled = record.role == Role::Worker && record.registered_at < opened;
            let free = settled && !serving.contains(&worker);
            if free && <T as Config>::Responsive::is_responsive(&worker) && Self::is_active(&worker) {
                let candidate = (number_of(&value, cluster, &worker), worker);
                let drawn = of_operators.entry(record.operator).or_insert(candidate);
                *drawn = (*drawn).min(candidate);
            }
        }
        let replicas =
            lowest(of_operators.into_values().collect(), number as usize).map_err(|refused| match refused {
                NotDrawn::TooFew => Error::<T>::TooFewEligible,
                NotDrawn::Tied => Error::<T>::TiedDrawing,
            })?;
        Self::do_create_cluster(replicas)?;
        Self::deposit_event(Event::ClusterDrawn { cluster, era: proof.era, period: proof.period });
        Ok(Some(<T as Config>::WeightInfo::draw_cluster(number, looked_at, present)).into())
    }
}
