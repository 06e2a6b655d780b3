//! Which validator runs which gatekeeper.
//!
//! Guarantees: one gatekeeper for one validator, which another one replaces in one step; a seat of a ceremony or a root stays that of the
//! gatekeeper that it was given to; a binding counts only while the registry holds the gatekeeper active in its role and
//! names the validator as its operator; who was convicted is bound to nobody again. Validators control the calls.

use crate::{former::Seated, pallet::*, Elected};
use alloc::{collections::BTreeSet, vec::Vec};
use frame_support::{ensure, pallet_prelude::DispatchResult};
use phala_attest::Vendor;
use phala_pallet_attestation as attestation;
use phala_protocol::{attestation::Role, ceremony::threshold_of, ids::WorkerId};

/// Of three elected as many are left at least when the quota leaves out the others.
///
/// What the quota leaves is two machines of the vendor for each of others, so that the others hold a third of the seats: `n - t + 1`, which can
/// withhold every key, and as many authorities of GRANDPA as can halt finality. How few validators those are is what this bounds: at two thirds
/// they are 23 of a hundred that were elected, where 34 would be needed without the quota. With none, four would do beside 96.
const LEFT_OF_THREE: usize = 2;

/// Who makes a machine's processors, whichever of its technologies it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Intel,
}

/// Whether no maker of the listed machines has `threshold` of them. Machines of which nothing is known count as one maker's.
fn within_quota(makers: &[Option<Maker>], threshold: usize) -> bool {
    let machines_of = |maker: &Option<Maker>| makers.iter().filter(|other| *other == maker).count();
    makers.iter().all(|maker| machines_of(maker) < threshold)
}

/// How many of a maker's `machines` may have seats beside so many `others`, so that it holds no threshold of the shares.
fn most_within_quota(machines: usize, others: usize) -> usize {
    (0..=machines).rev().find(|kept| *kept < threshold_of(kept + others)).unwrap_or(0)
}

/// Whether `left` of the `elected` are so many that the quota may leave out the others.
fn are_enough(left: usize, elected: usize) -> bool {
    left.saturating_mul(3) >= elected.saturating_mul(LEFT_OF_THREE)
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_register_seat(who: T::AccountId, gatekeeper: WorkerId) -> DispatchResult {
        let record =
            attestation::Pallet::<T>::active(&gatekeeper, Role::Gatekeeper).ok_or(Error::<T>::NotAGatekeeper)?;
        ensure!(record.operator == Self::account(&who), Error::<T>::NotTheOperator);
        ensure!(!Convictions::<T>::contains_key(gatekeeper), Error::<T>::Convicted);
        let replaced = Seats::<T>::get(&who);
        ensure!(replaced != Some(gatekeeper), Error::<T>::AlreadySeated);
        // Its evidence names the sender now: whoever it was bound to before is its operator no more.
        if let Some(former) = Validators::<T>::get(gatekeeper) {
            Self::unbind(&former, &gatekeeper);
        }
        // In one step: a validator without a gatekeeper for a block is not elected in it, and is fined if its set waits to take over.
        if let Some(replaced) = replaced {
            Self::unbind(&who, &replaced);
        }
        Seats::<T>::insert(&who, gatekeeper);
        Validators::<T>::insert(gatekeeper, &who);
        Self::deposit_event(Event::SeatRegistered { validator: who, gatekeeper });
        Ok(())
    }

    pub(crate) fn do_leave(who: &T::AccountId) -> DispatchResult {
        let gatekeeper = Seats::<T>::get(who).ok_or(Error::<T>::NotSeated)?;
        Self::unbind(who, &gatekeeper);
        Ok(())
    }

    pub(crate) fn unbind(validator: &T::AccountId, gatekeeper: &WorkerId) {
        if Seats::<T>::get(validator).as_ref() != Some(gatekeeper) {
            return;
        }
        Seats::<T>::remove(validator);
        Validators::<T>::remove(gatekeeper);
        Self::deposit_event(Event::SeatLeft { validator: validator.clone(), gatekeeper: *gatekeeper });
    }

    /// The gatekeeper that a validator runs now, if the registry agrees.
    pub fn seat_of(validator: &T::AccountId) -> Option<WorkerId> {
        let gatekeeper = Seats::<T>::get(validator)?;
        let record = attestation::Pallet::<T>::active(&gatekeeper, Role::Gatekeeper)?;
        (record.operator == Self::account(validator)).then_some(gatekeeper)
    }

    /// The gatekeepers that had the seats of an era, by index from 1, and their validators; none of an era that is not remembered.
    pub(crate) fn seats_in(era: u32) -> Vec<(WorkerId, T::AccountId)> {
        Elections::<T>::get(era).map(|elected| elected.seats).unwrap_or_default()
    }

    /// The seat of `index` (from 1) in an era, of the newest set that was asked for its root.
    pub(crate) fn seat_in(era: u32, index: u16) -> Option<Seated<T::AccountId>> {
        let position = usize::from(index).checked_sub(1)?;
        let Elected { first_attempt: set, seats } = Elections::<T>::get(era)?;
        let (gatekeeper, validator) = seats.into_iter().nth(position)?;
        Some(Seated { gatekeeper, validator, set })
    }

    /// Whether the registry has `who` as the operator of the gatekeeper that had the seat of `index` (from 1) in an era.
    pub fn operates(who: &T::AccountId, era: u32, index: u16) -> bool {
        Self::seat_in(era, index).is_some_and(|seated| Self::is_operator(who, &seated.gatekeeper))
    }

    pub(crate) fn is_operator(who: &T::AccountId, gatekeeper: &WorkerId) -> bool {
        attestation::Workers::<T>::get(gatekeeper).is_some_and(|record| record.operator == Self::account(who))
    }

    /// Whether no vendor would hold a threshold of these gatekeepers' shares.
    pub(crate) fn keeps_quota(gatekeepers: &[WorkerId], threshold: usize) -> bool {
        let makers: Vec<_> = gatekeepers.iter().map(Self::maker_of).collect();
        within_quota(&makers, threshold)
    }

    fn maker_of(gatekeeper: &WorkerId) -> Option<Maker> {
        attestation::Appraisals::<T>::get(gatekeeper).map(|appraisal| match appraisal.origin.vendor {
            Vendor::IntelTdx | Vendor::IntelSgx => Maker::Intel,
        })
    }

    /// Those of the elected, with what backs each, who have to go so that no vendor holds a threshold of the others' shares: the least
    /// backed of the vendor that would, as few as need be. Nobody where fewer than `least`, or than [`LEFT_OF_THREE`] of three, would be left.
    pub(crate) fn beyond_quota(elected: &[(T::AccountId, u128)], least: usize) -> BTreeSet<T::AccountId> {
        let maker =
            |validator: &T::AccountId| Seats::<T>::get(validator).and_then(|gatekeeper| Self::maker_of(&gatekeeper));
        let makers: Vec<_> = elected.iter().map(|(validator, _)| maker(validator)).collect();
        // Two thirds and more are one maker's at most.
        let machines_of = |maker: &Option<Maker>| makers.iter().filter(|other| *other == maker).count();
        let Some(over) = makers.iter().find(|&maker| machines_of(maker) >= threshold_of(makers.len())) else {
            return BTreeSet::new();
        };
        let machines = machines_of(over);
        let others = makers.len().saturating_sub(machines);
        let kept = most_within_quota(machines, others);
        let left = kept.saturating_add(others);
        if left < least || !are_enough(left, makers.len()) {
            return BTreeSet::new();
        }
        let of_maker = elected.iter().zip(&makers).filter(|(_, maker)| *maker == over);
        let mut backed: Vec<_> = of_maker.map(|((validator, backing), _)| (*backing, validator)).collect();
        backed.sort();
        backed.into_iter().take(machines.saturating_sub(kept)).map(|(_, validator)| validator.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::ceremony::{tolerated, MAX_SEATS};

    #[test]
    fn one_maker_holds_fewer_machines_than_the_threshold() {
        let (intel, unknown) = (Some(Maker::Intel), None);
        assert!(within_quota(&[intel, intel, unknown, unknown], 3));
        assert!(!within_quota(&[intel, intel, intel, unknown], 3));
        assert!(!within_quota(&[unknown, intel, unknown, unknown], 3));
    }

    #[test]
    fn as_many_of_a_makers_machines_have_seats_as_the_others_allow() {
        for (machines, others) in (0..=40).flat_map(|machines| (0..=40).map(move |others| (machines, others))) {
            let kept = most_within_quota(machines, others);
            assert!(kept == 0 || kept < threshold_of(kept + others), "{machines} beside {others}");
            // Two for each of the others, while there are as many; and one more would be too many.
            assert_eq!(kept, machines.min(2 * others), "{machines} beside {others}");
            assert!(kept == machines || kept + 1 >= threshold_of(kept + 1 + others));
        }
    }

    #[test]
    fn a_set_that_is_cut_down_has_two_of_nine_elected_who_are_others() {
        for elected in 4..=MAX_SEATS {
            for others in 1..=elected {
                let machines = elected - others;
                let left = most_within_quota(machines, others) + others;
                assert_eq!(are_enough(left, elected), 9 * others >= 2 * elected, "{machines} beside {others}");
                // They are as many as can withhold its keys, and no more.
                assert!(left == elected || others == tolerated(left) + 1, "{machines} beside {others}");
            }
        }
    }
}
