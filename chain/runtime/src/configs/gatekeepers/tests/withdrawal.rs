//! A validator that withdraws between its election and its term.

use super::*;
use pallet_staking::MinimumValidatorCount;
use phala_pallet_gatekeepers::CurrentPolicy;

#[test]
fn one_of_four_that_chills_stops_no_era_and_is_fined() {
    network(false).execute_with(|| {
        for index in 2..=6 {
            assert_eq!(plan_session(index), None);
        }
        MinimumValidatorCount::<Runtime>::put(3);
        (1..=4).for_each(attest_and_bind);
        assert_eq!(plan_session(7), None);
        all_say(|number| Statement::Commit { package: [number; 32] });
        at(2);
        all_say(|_| Statement::Confirm(KEYS));
        at(3);
        Staking::chill(RuntimeOrigin::signed(account(4))).unwrap();
        let mut elected = plan_session(8).unwrap();
        elected.sort();
        assert_eq!(elected, (1..=3).map(account).collect::<Vec<_>>());
        let due = UnappliedSlashes::<Runtime>::get(SlashDeferDuration::get() + 1);
        let fined: Vec<_> = due.into_iter().map(|slash| (slash.validator, slash.own)).collect();
        assert_eq!(fined, [(account(4), CurrentPolicy::<Runtime>::get().fine * STAKE)]);
    });
}

#[test]
fn a_set_that_staking_would_refuse_is_given_up() {
    network(false).execute_with(|| {
        for index in 2..=6 {
            assert_eq!(plan_session(index), None);
        }
        (1..=4).for_each(attest_and_bind);
        assert_eq!(plan_session(7), None);
        all_say(|number| Statement::Commit { package: [number; 32] });
        at(2);
        all_say(|_| Statement::Confirm(KEYS));
        at(3);
        // The root needs three, and staking four.
        Staking::chill(RuntimeOrigin::signed(account(4))).unwrap();
        assert_eq!(plan_session(8), None);
        let next = phala_pallet_gatekeepers::Next::<Runtime>::get();
        assert_eq!((Planned::<Runtime>::get(), next, CurrentEra::<Runtime>::get()), (None, None, Some(0)));
    });
}
