//! Periods: opened by time, closed by a threshold of partials or by the next one.
//!
//! Guarantees: one period is due at most, of the key in use; a partial is verified before it is kept, and the value of a threshold of them
//! again as a whole, as everybody verifies it; state is bounded by the values that are kept; whoever gave no partial for a period that
//! ended in its own time without a value is named once. Holders' TEEs make partials, anyone carries them: what arrives is verified, or
//! refused with nothing changed.

use crate::{keys::refused, pallet::*, WeightInfo};
use alloc::vec::Vec;
use frame_support::{
    dispatch::{DispatchErrorWithPostInfo, DispatchResultWithPostInfo, Pays, PostDispatchInfo},
    traits::Get,
    weights::Weight,
};
use phala_crypto::beacon::{verify_beacon, verify_beacon_record, verify_partial_of};
use phala_pallet_gatekeepers::OnSilence;
use phala_protocol::{
    beacon::{BeaconPartial, BeaconRecord, BeaconValue, DueBeacon, MadeBeacon, Period},
    Hash,
};

/// What a partial that holds is added to, and where.
struct Place {
    due: DueBeacon,
    record: BeaconRecord,
    gathered: Gathered,
    position: usize,
}

impl<T: Config> Pallet<T> {
    /// What is due at the beginning of a block.
    pub(crate) fn at_block() -> Weight {
        let now = Self::now();
        let Some(timetable) = Schedule::<T>::get().filter(|timetable| now >= timetable.opens) else {
            return <T as Config>::WeightInfo::idle();
        };
        let Timetable { era, next: period, .. } = timetable;
        let told = Self::end_period(true);
        // Without its key there is nothing to ask, and the last number is never given: none could follow it.
        if let Some(next) = period.checked_add(1).filter(|_| Keys::<T>::contains_key(era)) {
            let opens = now.saturating_add(T::PeriodLength::get().max(1));
            Schedule::<T>::put(Timetable { era, next, opens });
            Due::<T>::put(DueBeacon { era, period, present: Vec::new() });
            Gathering::<T>::put(Gathered { opened: now, partials: Vec::new() });
            Self::deposit_event(Event::PeriodOpened { era, period });
        }
        <T as Config>::WeightInfo::open().saturating_add(told)
    }

    /// Gives up on what is due. Those who gave nothing had the period's whole time for it, or another root cut it short.
    pub(crate) fn end_period(whole: bool) -> Weight {
        let Some(DueBeacon { era, period, present }) = Due::<T>::take() else { return Weight::zero() };
        Gathering::<T>::kill();
        Self::deposit_event(Event::PeriodSkipped { era, period, partials: present.len() as u32 });
        let key = if whole { Keys::<T>::get(era) } else { None };
        let Some(record) = key else { return Weight::zero() };
        let holders = record.holders.iter().map(|holder| holder.index);
        let silent: Vec<u16> = holders.filter(|index| !present.contains(index)).collect();
        T::OnSilence::silent(era, period, &silent, record.threshold)
    }

    /// Whether the chain would take this partial in the present block, which is the next one where a pool asks. Not when the period ends
    /// before that block's transactions.
    pub fn is_awaited(era: u32, period: Period, partial: &BeaconPartial) -> bool {
        let open = Schedule::<T>::get().is_some_and(|timetable| Self::now() < timetable.opens);
        open && Self::place_of(era, period, partial).is_ok()
    }

    /// Where a partial goes, if it is due and holds; or what its refusal costs.
    fn place_of(era: u32, period: Period, partial: &BeaconPartial) -> Result<Place, DispatchErrorWithPostInfo> {
        let looked = <T as Config>::WeightInfo::look();
        let refuse = |error: Error<T>| refused(error, looked);
        let due = Due::<T>::get()
            .filter(|due| (due.era, due.period) == (era, period))
            .ok_or_else(|| refuse(Error::<T>::NotDue))?;
        let record = Keys::<T>::get(era).ok_or_else(|| refuse(Error::<T>::NotDue))?;
        let index = partial.index;
        let holder = record.holders.iter().find(|holder| holder.index == index);
        let holder = holder.ok_or_else(|| refuse(Error::<T>::NoSuchHolder))?;
        let gathered = Gathering::<T>::get();
        let Err(position) = gathered.partials.binary_search_by_key(&index, |taken| taken.index) else {
            return Err(refuse(Error::<T>::AlreadyTaken));
        };
        let verified = <T as Config>::WeightInfo::partial();
        verify_partial_of(&Self::genesis(), era, holder, period, partial)
            .map_err(|_| refused(Error::<T>::BadPartial, verified))?;
        Ok(Place { due, record, gathered, position })
    }

    pub(crate) fn do_submit_partial(era: u32, period: Period, partial: &BeaconPartial) -> DispatchResultWithPostInfo {
        let Place { mut due, record, gathered, position } = Self::place_of(era, period, partial)?;
        let (index, verified) = (partial.index, <T as Config>::WeightInfo::partial());
        let Gathered { opened, mut partials } = gathered;
        partials.insert(position, *partial);
        if partials.len() < usize::from(record.threshold) {
            due.present = partials.iter().map(|taken| taken.index).collect();
            Due::<T>::put(due);
            Gathering::<T>::put(Gathered { opened, partials });
            Self::deposit_event(Event::PartialTaken { era, period, holder: index });
            return Ok(PostDispatchInfo { actual_weight: Some(verified), pays_fee: Pays::No });
        }
        let weight = <T as Config>::WeightInfo::complete(record.threshold.into(), record.holders.len() as u32);
        let proof = BeaconValue { era, period, partials };
        // Each part was verified when it came, so that this fails for nobody.
        let value = Self::value_of(&record, &proof).map_err(|error| refused(error, weight))?;
        Due::<T>::kill();
        Gathering::<T>::kill();
        Self::deposit_event(Event::PartialTaken { era, period, holder: index });
        Self::keep(MadeBeacon { opened, made: Self::now(), value, proof });
        Ok(PostDispatchInfo { actual_weight: Some(weight), pays_fee: Pays::No })
    }

    /// The value, as anyone finds it who has the record.
    fn value_of(record: &BeaconRecord, proof: &BeaconValue) -> Result<Hash, Error<T>> {
        let record = verify_beacon_record(&Self::genesis(), record).map_err(|_| Error::<T>::BadRecord)?;
        let verified = verify_beacon(&record, proof.period, proof).map_err(|_| Error::<T>::BadPartial)?;
        Ok(*verified.value())
    }

    /// Keeps a value, and forgets the oldest beyond what is kept.
    fn keep(made: MadeBeacon) {
        let (era, period, value) = (made.proof.era, made.proof.period, made.value);
        let mut kept = Kept::<T>::get();
        kept.push((era, period));
        let most = T::ValuesKept::get().max(1) as usize;
        let beyond = kept.len().saturating_sub(most);
        let forgotten: Vec<(u32, Period)> = kept.drain(..beyond).collect();
        for old in forgotten {
            Values::<T>::remove(old);
            Self::forget_key(old.0, &kept);
        }
        Values::<T>::insert((era, period), made);
        Kept::<T>::put(kept);
        Latest::<T>::put((era, period));
        Self::deposit_event(Event::ValueMade { era, period, value });
    }
}
