//! Whose stake pays for a fault, and which part of it.

use super::*;
use crate::Beacon;
use pallet_staking::UnappliedSlash;
use phala_pallet_beacon::{Due, Keys, Schedule, Timetable};
use phala_pallet_gatekeepers::{Acting, CurrentPolicy, Elected, Elections, Silences};
use phala_protocol::beacon::{BeaconHolder, BeaconRecord, DueBeacon};

fn equivocation(number: u8, era: u32) -> Misdeed<AccountId> {
    let fraction = Perbill::from_percent(10);
    let (offence, reporters) = (Fault::Equivocation, vec![]);
    Misdeed { offender: account(number), offence, era, attempt: 0, set: 0, fraction, reporters }
}

/// What is taken when the deferral is over.
fn due() -> Vec<UnappliedSlash<AccountId, Balance>> {
    UnappliedSlashes::<Runtime>::get(SlashDeferDuration::get() + 1)
}

#[test]
fn whoever_unbonds_before_it_does_wrong_loses_as_much() {
    network(false).execute_with(|| {
        let origin = || RuntimeOrigin::signed(account(6));
        Staking::bond(origin(), STAKE, RewardDestination::Staked).unwrap();
        Staking::unbond(origin(), STAKE).unwrap();
        assert_eq!(Staking::slashable_balance_of(&account(6)), 0, "none of it is active");
        Slash::punish(equivocation(6, 0));
        assert_eq!((due()[0].validator.clone(), due()[0].own), (account(6), STAKE / 10));
        // The slash reaches what is unbonding.
        let stash = || StakingAccount::Stash(account(6));
        let mut ledger = Staking::ledger(stash()).unwrap();
        assert_eq!(ledger.slash(due()[0].own, 0, 1), STAKE / 10);
    });
}

#[test]
fn a_fraction_that_is_raised_is_taken_of_nobody_who_was_convicted_before() {
    network(false).execute_with(|| {
        Slash::punish(equivocation(1, 0));
        Slash::punish(Misdeed { fraction: Perbill::from_percent(20), ..equivocation(2, 0) });
        let slashes: Vec<_> = due().into_iter().map(|slash| (slash.validator, slash.own)).collect();
        assert_eq!(slashes, [(account(1), STAKE / 10), (account(2), STAKE / 5)]);
    });
}

#[test]
fn nominators_of_today_do_not_pay_for_what_was_done_before_they_nominated() {
    network(false).execute_with(|| {
        Acting::<Runtime>::put((5, 1));
        Slash::punish(Misdeed { set: 2, ..equivocation(1, 4) });
        assert_eq!(due().len(), 1);
        assert_eq!((due()[0].own, due()[0].others.len(), disabled().len()), (STAKE / 10, 0, 0), "its own stake alone");
        // Nor for what was done with a set that began the acting one's era before it.
        Slash::punish(Misdeed { set: 0, ..equivocation(4, 5) });
        assert_eq!((due().len(), due()[1].own, due()[1].others.len(), disabled().len()), (2, STAKE / 10, 0, 0));
        for (number, era, set) in [(2, 5, 1), (3, 5, 2), (5, 6, 0)] {
            Slash::punish(Misdeed { set, ..equivocation(number, era) });
            // As many as may be are disabled at a time, which is one of five: the last.
            assert_eq!(disabled(), [account(number)], "the acting set's faults are offences, and later ones");
        }
        assert_eq!(due().len(), 5);
    });
}

#[test]
fn whoever_is_missing_pays_of_its_own_stake_and_authors_on() {
    network(false).execute_with(|| {
        let fraction = CurrentPolicy::<Runtime>::get().fine;
        for (number, offence) in [(1, Fault::IdentityAbsence), (2, Fault::Silence)] {
            Slash::punish(Misdeed { offence, fraction, ..equivocation(number, 0) });
        }
        let paid: Vec<_> = due().into_iter().map(|slash| (slash.validator, slash.own, slash.others.len())).collect();
        assert_eq!(paid, [1, 2].map(|number| (account(number), fraction * STAKE, 0)));
        assert!(disabled().is_empty());
    });
}

#[test]
fn the_beacon_names_whoever_was_silent_and_the_third_time_costs_a_part_of_the_stake() {
    network(false).execute_with(|| {
        let seats = (1..=4).map(|number| (gatekeeper(number), account(number))).collect();
        Elections::<Runtime>::insert(0, Elected { first_attempt: 0, seats });
        let holders = (1..=4).map(|index| BeaconHolder { index, share: [1; 32] }).collect();
        Keys::<Runtime>::insert(0, BeaconRecord { era: 0, threshold: 3, holders });
        for (block, present) in [(2, vec![1, 2]), (3, vec![1]), (4, vec![1, 2]), (5, vec![1, 2])] {
            let period = block - 2;
            Schedule::<Runtime>::put(Timetable { era: 0, next: period + 1, opens: block });
            Due::<Runtime>::put(DueBeacon { era: 0, period, present });
            System::set_block_number(block);
            <Beacon as Hooks<BlockNumber>>::on_initialize(block);
        }
        // In the second of the four three of four were silent: that was the network.
        let fined: Vec<_> = due().into_iter().map(|slash| (slash.validator, slash.own)).collect();
        let fine = CurrentPolicy::<Runtime>::get().fine * STAKE;
        assert_eq!(fined, [(account(3), fine), (account(4), fine)]);
        assert_eq!(Silences::<Runtime>::iter().count(), 2);
    });
}
