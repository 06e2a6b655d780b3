//! Which keys the beacon has: awaited, shown, in use, forgotten.
//!
//! Guarantees: one key is awaited at most, the newest; a key is kept as long as its root answers or comes, or a value of it is kept; a
//! new root that answers ends the period of the former one. The gatekeepers pallet says what is awaited, dropped and in use; anyone
//! shows records, and controls every byte of them.

use crate::{pallet::*, WeightInfo};
use frame_support::{
    dispatch::{DispatchErrorWithPostInfo, DispatchResultWithPostInfo, Pays, PostDispatchInfo},
    weights::Weight,
};
use phala_crypto::beacon::verify_beacon_record;
use phala_pallet_gatekeepers::Beacon;
use phala_protocol::{
    beacon::{AwaitedBeacon, BeaconRecord, Period},
    ceremony::MAX_SEATS,
    Hash,
};

/// A refusal, which costs its sender the fee of what was looked at.
pub(crate) fn refused<T: Config>(error: Error<T>, weight: Weight) -> DispatchErrorWithPostInfo {
    let post_info = PostDispatchInfo { actual_weight: Some(weight), pays_fee: Pays::Yes };
    DispatchErrorWithPostInfo { post_info, error: error.into() }
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_publish_key(record: BeaconRecord) -> DispatchResultWithPostInfo {
        let (era, threshold, holders) = (record.era, record.threshold, record.holders.len());
        let looked = <T as Config>::WeightInfo::look();
        let awaited = Awaited::<T>::get().filter(|awaited| awaited.era == era);
        let awaited = awaited.ok_or_else(|| refused(Error::<T>::NotAwaited, looked))?;
        // The hash is of what can be a record at all, and then of the right one: nothing else is worth the check of its shares.
        if holders > MAX_SEATS || record.hash() != awaited.hash {
            let hashed = <T as Config>::WeightInfo::hash(holders as u32);
            return Err(refused(Error::<T>::WrongRecord, hashed));
        }
        let weight = <T as Config>::WeightInfo::publish_key(holders as u32);
        verify_beacon_record(&Self::genesis(), &record).map_err(|_| refused(Error::<T>::BadRecord, weight))?;
        Keys::<T>::insert(era, record);
        Awaited::<T>::kill();
        Self::deposit_event(Event::KeyTaken { era, threshold, holders: holders as u32 });
        Ok(PostDispatchInfo { actual_weight: Some(weight), pays_fee: Pays::No })
    }

    /// Forgets the key of an era that is over, once no value of it is kept.
    pub(crate) fn forget_key(era: u32, kept: &[(u32, Period)]) {
        let in_use = Schedule::<T>::get().is_some_and(|timetable| timetable.era == era);
        if !in_use && kept.iter().all(|(of, _)| *of != era) {
            Keys::<T>::remove(era);
        }
    }
}

impl<T: Config> Beacon for Pallet<T> {
    fn awaited(era: u32, hash: Hash) {
        // One of a former era that nobody showed is awaited no longer: its root has no beacon.
        Awaited::<T>::put(AwaitedBeacon { era, hash });
        Self::deposit_event(Event::KeyAwaited { era, hash });
    }

    fn dropped(era: u32) {
        if Awaited::<T>::get().is_some_and(|awaited| awaited.era == era) {
            Awaited::<T>::kill();
        }
        // Its root never answered, so that there is no value of it.
        Keys::<T>::remove(era);
        Self::deposit_event(Event::KeyDropped { era });
    }

    fn active(era: u32) {
        let _nobody = Self::end_period(false);
        let former = Schedule::<T>::get();
        Schedule::<T>::put(Timetable { era, next: 0, opens: Self::now() });
        if let Some(former) = former {
            Self::forget_key(former.era, &Kept::<T>::get());
        }
    }
}
