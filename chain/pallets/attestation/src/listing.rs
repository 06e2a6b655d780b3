//! The measurement allow-list.
//!
//! Guarantees: outside a development network an entry names the source it is reproduced from, and begins no earlier than the
//! delay after it was listed; listing an entry again begins its delay again; no sunset that has passed is moved; what an entry no
//! longer admits loses its standing with it, whenever it was registered. Gatekeepers hold
//! their own delay, from [`phala_protocol::chain_state::AllowedMeasurement::listed_at`], in their own binary: what stands here
//! decides who is registered, and never who is given keys early. Governance controls the arguments.

use crate::{pallet::*, OnBarred};
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get};
use phala_attest::Subject;
use phala_protocol::{
    attestation::{Listing, Role},
    chain_state::AllowedMeasurement,
    ids::BlockNumber,
    Hash,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_allow_measurement(measurement: Hash, listing: Listing) -> DispatchResult {
        let now = Self::now_block();
        let Listing { source, not_before, sunset, .. } = listing;
        ensure!(sunset.is_none_or(|sunset| sunset >= not_before && sunset >= now), Error::<T>::SunsetPassed);
        if !T::InsecureDevelopment::get() {
            ensure!(source != Hash::default(), Error::<T>::SourceMissing);
            let earliest = now.checked_add(CurrentWindows::<T>::get().measurement_delay());
            ensure!(earliest.is_some_and(|earliest| not_before >= earliest), Error::<T>::MeasurementTooSoon);
        }
        let subject = Subject::Measurement(measurement);
        let barred = Bans::<T>::get().iter().any(|ban| ban.subject == subject && !ban.has_ended(now));
        ensure!(!barred, Error::<T>::Barred);
        let former = Measurements::<T>::get(measurement);
        Self::move_sunset(former.and_then(|entry| entry.sunset), sunset);
        Measurements::<T>::insert(measurement, AllowedMeasurement { source, listed_at: now, not_before, sunset });
        Listings::<T>::insert(measurement, listing);
        Self::deposit_event(Event::MeasurementAllowed { measurement, listing });
        if former.is_some() {
            T::OnBarred::on_barred();
        }
        Ok(())
    }

    pub(crate) fn do_set_sunset(measurement: Hash, sunset: Option<BlockNumber>) -> DispatchResult {
        let now = Self::now_block();
        let mut entry = Measurements::<T>::get(measurement).ok_or(Error::<T>::NotListed)?;
        // What is over begins again by being listed again, with its delay.
        ensure!(entry.sunset.is_none_or(|former| former >= now), Error::<T>::SunsetPassed);
        let reachable = |sunset: BlockNumber| sunset >= now && sunset >= entry.not_before;
        ensure!(sunset.is_none_or(reachable), Error::<T>::SunsetPassed);
        Self::move_sunset(entry.sunset, sunset);
        entry.sunset = sunset;
        Measurements::<T>::insert(measurement, entry);
        Listings::<T>::mutate(measurement, |listing| {
            if let Some(listing) = listing {
                listing.sunset = sunset;
            }
        });
        Self::deposit_event(Event::SunsetSet { measurement, sunset });
        Ok(())
    }

    pub(crate) fn do_remove_measurement(measurement: Hash) -> DispatchResult {
        let entry = Measurements::<T>::take(measurement).ok_or(Error::<T>::NotListed)?;
        Self::move_sunset(entry.sunset, None);
        Listings::<T>::remove(measurement);
        Self::deposit_event(Event::MeasurementRemoved { measurement });
        T::OnBarred::on_barred();
        Ok(())
    }

    /// Notes in which block it will have passed. One that has passed already is not there any more; one at the end of all blocks never does.
    fn move_sunset(former: Option<BlockNumber>, next: Option<BlockNumber>) {
        let after = |sunset: Option<BlockNumber>| sunset.and_then(|last| last.checked_add(1));
        if let Some(block) = after(former) {
            Sunsets::<T>::mutate_exists(block, |number| {
                *number = number.and_then(|number| number.checked_sub(1)).filter(|number| *number > 0);
            });
        }
        if let Some(block) = after(next) {
            Sunsets::<T>::mutate(block, |number| *number = number.saturating_add(1));
        }
    }

    /// Whether a measurement may join, and stay, in `role` now.
    pub(crate) fn ensure_admitted(measurement: &Hash, role: Role) -> DispatchResult {
        ensure!(Self::is_allowed(measurement), Error::<T>::MeasurementNotAllowed);
        let admitted = Listings::<T>::get(measurement).is_some_and(|listing| listing.admits(role));
        ensure!(admitted, Error::<T>::RoleNotAllowed);
        Ok(())
    }

    pub(crate) fn is_allowed(measurement: &Hash) -> bool {
        let now = Self::now_block();
        Measurements::<T>::get(measurement)
            .is_some_and(|entry| now >= entry.not_before && entry.sunset.is_none_or(|sunset| now <= sunset))
    }
}
