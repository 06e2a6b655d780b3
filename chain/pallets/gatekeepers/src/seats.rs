//! Which validator runs which gatekeeper.
//!
//! Guarantees: one gatekeeper for one validator, which another one replaces in one step; a seat of a ceremony or a root stays that of the
//! gatekeeper that it was given to; a binding counts only while the registry holds the gatekeeper active in its role and
//! names the validator as its operator; who was convicted is bound to nobody again. Validators control the calls.

use crate::pallet::*;
use alloc::vec::Vec;
use frame_support::{ensure, pallet_prelude::DispatchResult};
use phala_attest::Vendor;
use phala_pallet_attestation as attestation;
use phala_protocol::{attestation::Role, ids::WorkerId};

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

    /// The gatekeeper that had the seat of `index` (from 1) in an era, and its validator.
    pub(crate) fn seat_in(era: u32, index: u16) -> Option<(WorkerId, T::AccountId)> {
        Self::seats_in(era).into_iter().nth(usize::from(index).checked_sub(1)?)
    }

    /// Whether the registry has `who` as the operator of the gatekeeper that had the seat of `index` (from 1) in an era.
    pub fn operates(who: &T::AccountId, era: u32, index: u16) -> bool {
        Self::seat_in(era, index).is_some_and(|(gatekeeper, _)| Self::is_operator(who, &gatekeeper))
    }

    pub(crate) fn is_operator(who: &T::AccountId, gatekeeper: &WorkerId) -> bool {
        attestation::Workers::<T>::get(gatekeeper).is_some_and(|record| record.operator == Self::account(who))
    }

    /// Whether no vendor would hold a threshold of these gatekeepers' shares.
    pub(crate) fn keeps_quota(gatekeepers: &[WorkerId], threshold: usize) -> bool {
        let makers: Vec<_> = gatekeepers
            .iter()
            .map(|gatekeeper| {
                attestation::Appraisals::<T>::get(gatekeeper).map(|appraisal| match appraisal.origin.vendor {
                    Vendor::IntelTdx | Vendor::IntelSgx => Maker::Intel,
                })
            })
            .collect();
        within_quota(&makers, threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_maker_holds_fewer_machines_than_the_threshold() {
        let (intel, unknown) = (Some(Maker::Intel), None);
        assert!(within_quota(&[intel, intel, unknown, unknown], 3));
        assert!(!within_quota(&[intel, intel, intel, unknown], 3));
        assert!(!within_quota(&[unknown, intel, unknown, unknown], 3));
    }
}
