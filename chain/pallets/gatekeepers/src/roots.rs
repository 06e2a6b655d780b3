//! The roots that ceremonies made: recorded, then handed over to.
//!
//! Guarantees: `Attestation::Root`, which TEEs read, is replaced by the root of the next era only, after the policy's delay, and
//! while no cluster is of a former era; until then the former root answers, and no third one is begun. Governance cancels a root that
//! waits. That workers re-key to it is theirs to do; a network with clusters whose workers do not keeps the root that it has.

use crate::{pallet::*, Clusters, HandOver, Misdeed, Offence, Punish, WeightInfo};
use alloc::vec::Vec;
use frame_support::{pallet_prelude::DispatchResult, weights::Weight};
use phala_pallet_attestation as attestation;
use phala_protocol::{
    ceremony::{CeremonyRecord, Fault},
    chain_state::RootRecord,
    ids::BlockNumber,
    Hash,
};

impl<T: Config> Pallet<T> {
    /// The era whose root comes after the one that answers.
    pub(crate) fn next_era() -> u32 {
        attestation::Root::<T>::get().map_or(0, |present| present.era.saturating_add(1))
    }

    /// Records what the seats of a ceremony agreed on.
    pub(crate) fn make_root(record: &CeremonyRecord, share_list: Hash) {
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
        Self::deposit_event(Event::RootMade { era, attempt, share_list, holders, from });
    }

    /// Fines whoever was missing from as many roots in a row as the policy says; one that was given up is one.
    pub(crate) fn count_absences(record: &CeremonyRecord) {
        let CeremonyRecord { era, attempt, .. } = *record;
        let policy = CurrentPolicy::<T>::get();
        let validators = Elections::<T>::get(era).map(|elected| elected.seats).unwrap_or_default();
        for (seat, (_, validator)) in record.seats.iter().zip(validators) {
            if seat.left_out != Some(Fault::Absent) {
                Absences::<T>::remove(&validator);
                continue;
            }
            let times = Absences::<T>::get(&validator).saturating_add(1);
            Self::deposit_event(Event::Absent { validator: validator.clone(), times });
            if times < policy.absences {
                Absences::<T>::insert(&validator, times);
                continue;
            }
            Absences::<T>::remove(&validator);
            if !policy.fine.is_zero() {
                T::Punish::punish(Misdeed {
                    offender: validator,
                    offence: Offence::Absence,
                    era,
                    attempt,
                    fraction: policy.fine,
                    reporters: Vec::new(),
                });
            }
        }
    }

    pub(crate) fn do_cancel_next() -> DispatchResult {
        let HandOver { era, .. } = Next::<T>::take().ok_or(Error::<T>::NothingToCancel)?;
        Roots::<T>::remove(era);
        Self::deposit_event(Event::NextCancelled { era });
        Ok(())
    }

    /// Drops the root that waits, if it is that of `era`.
    pub(crate) fn drop_next(era: u32) {
        if Next::<T>::get().is_some_and(|next| next.era == era) {
            Next::<T>::kill();
            Roots::<T>::remove(era);
            Self::deposit_event(Event::NextDropped { era });
        }
    }

    /// Lets the root that waits answer, if nothing keeps it waiting.
    pub(crate) fn hand_over(now: BlockNumber) -> Weight {
        let Some(HandOver { era, from }) = Next::<T>::get() else { return Weight::zero() };
        if now < from || T::Clusters::of_former_eras(era) > 0 {
            return <T as Config>::WeightInfo::wait();
        }
        Next::<T>::kill();
        let adopted = Roots::<T>::get(era).is_some_and(|root| attestation::Pallet::<T>::adopt_root(root).is_ok());
        if adopted {
            if let Some(former) = era.checked_sub(1) {
                Roots::<T>::remove(former);
            }
            Self::deposit_event(Event::RootActive { era });
        } else {
            Roots::<T>::remove(era);
            Self::deposit_event(Event::NextDropped { era });
        }
        <T as Config>::WeightInfo::activate()
    }
}
