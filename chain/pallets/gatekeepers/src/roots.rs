//! The roots that ceremonies made: recorded, then handed over to.
//!
//! A root waits for the policy's delay, within which governance cancels it. Then it becomes `Attestation::NextRoot`, which TEEs read:
//! the keys of every cluster's next epoch are its, and both it and the root that answers give keys. When no cluster needs that one any
//! more, it becomes `Attestation::Root`, and an event says that the former one is retired. With no cluster that needs a former root, or no
//! former root, the delay's end is the end of it.
//!
//! Guarantees: `Attestation::Root` is replaced by the root of the next era only, after the policy's delay, and when no cluster needs a
//! former one; until then both answer, and no third one is begun. Once clusters go over to a root neither governance nor an election
//! drops it, for some have keys of it alone. That workers re-key to it is theirs to do: while those of a cluster do not, the former root
//! stays, and the next election waits. The beacon key that was made with a root is awaited, dropped and in use as the root is; identities
//! are handed over when it answers.

use crate::{pallet::*, Beacon, Clusters, HandOver, WeightInfo};
use frame_support::{ensure, pallet_prelude::DispatchResult, weights::Weight};
use phala_pallet_attestation as attestation;
use phala_protocol::{
    attestation::Role,
    ceremony::{CeremonyRecord, Confirmed, MAX_SEATS},
    chain_state::RootRecord,
    ids::{BlockNumber, WorkerId},
};

impl<T: Config> Pallet<T> {
    /// The era whose root comes after the one that answers.
    pub(crate) fn next_era() -> u32 {
        attestation::Root::<T>::get().map_or(0, |present| present.era.saturating_add(1))
    }

    /// Records what the seats of a ceremony agreed on.
    pub(crate) fn make_root(record: &CeremonyRecord, keys: Confirmed) {
        let Confirmed { share_list, beacon } = keys;
        let CeremonyRecord { era, attempt, threshold, .. } = *record;
        let seats = record.seats.iter().map(|seat| seat.gatekeeper).collect();
        let root = RootRecord { era, threshold, seats, share_list };
        if attestation::Pallet::<T>::ensure_root(&root).is_err() {
            // Governance recorded the root of this era by hand.
            return Self::abandon(era, attempt);
        }
        Self::count_absences(record);
        let holders = record.seats.iter().filter(|seat| seat.confirmed.is_some()).count() as u32;
        let from = Self::now().saturating_add(CurrentPolicy::<T>::get().delay);
        Roots::<T>::insert(era, root);
        Next::<T>::put(HandOver { era, from });
        T::Beacon::awaited(era, beacon);
        Self::deposit_event(Event::RootMade { era, attempt, share_list, holders, from });
    }

    /// Whether clusters go over to the root of `era`.
    fn is_handed_over_to(era: u32) -> bool {
        attestation::NextRoot::<T>::get().is_some_and(|root| root.era == era)
    }

    pub(crate) fn do_cancel_next() -> DispatchResult {
        let HandOver { era, .. } = Next::<T>::get().ok_or(Error::<T>::NothingToCancel)?;
        ensure!(!Self::is_handed_over_to(era), Error::<T>::HandOverBegan);
        Next::<T>::kill();
        Roots::<T>::remove(era);
        T::Beacon::dropped(era);
        Self::deposit_event(Event::NextCancelled { era });
        Self::drop_plan(era);
        Ok(())
    }

    /// Drops the root that waits, if it is that of `era` and clusters do not go over to it yet. They would lose their keys.
    pub(crate) fn drop_next(era: u32) {
        if Next::<T>::get().is_some_and(|next| next.era == era) && !Self::is_handed_over_to(era) {
            Next::<T>::kill();
            Roots::<T>::remove(era);
            T::Beacon::dropped(era);
            Self::deposit_event(Event::NextDropped { era });
            Self::drop_plan(era);
        }
    }

    /// Hands over to the root that waits, as far as nothing keeps it waiting.
    pub(crate) fn hand_over(now: BlockNumber) -> Weight {
        let Some(HandOver { era, from }) = Next::<T>::get() else { return Weight::zero() };
        if now < from {
            return <T as Config>::WeightInfo::wait();
        }
        let (begun, clusters) = (Self::is_handed_over_to(era), T::Clusters::of_former_eras(era));
        if begun && clusters > 0 {
            return <T as Config>::WeightInfo::wait();
        }
        let root = if begun { attestation::NextRoot::<T>::get() } else { Roots::<T>::get(era) };
        // Without a root before there is nothing to hand over.
        let former = attestation::Root::<T>::get();
        let at_once = clusters == 0 || former.is_none();
        // Nothing undoes a hand-over: it waits until the root can give keys. Governance may cancel it meanwhile.
        let lacks_seats = |root: &RootRecord| {
            let active = |seat: &&WorkerId| attestation::Pallet::<T>::active(seat, Role::Gatekeeper).is_some();
            root.seats.iter().filter(active).count() < usize::from(root.threshold)
        };
        if !at_once && root.as_ref().is_some_and(lacks_seats) {
            let looked_at = <T as Config>::WeightInfo::candidate().saturating_mul(MAX_SEATS as u64);
            return <T as Config>::WeightInfo::wait().saturating_add(looked_at);
        }
        let handed_over = root.is_some_and(|root| {
            if at_once {
                attestation::Pallet::<T>::adopt_root(root).is_ok()
            } else {
                attestation::Pallet::<T>::begin_hand_over(root).is_ok()
            }
        });
        if !handed_over {
            // It is not the one that comes next: another was recorded meanwhile.
            Self::drop_next(era);
        } else if at_once {
            Next::<T>::kill();
            T::Beacon::active(era);
            Self::deposit_event(Event::RootActive { era });
            if let Some(RootRecord { era, seats, .. }) = former {
                Roots::<T>::remove(era);
                Self::deposit_event(Event::RootRetired { era, seats: seats.len() as u32 });
            }
            return <T as Config>::WeightInfo::activate().saturating_add(Self::hand_identities_over());
        } else {
            T::Clusters::hand_over();
            Self::deposit_event(Event::HandOverBegan { era, clusters });
        }
        <T as Config>::WeightInfo::activate()
    }
}
