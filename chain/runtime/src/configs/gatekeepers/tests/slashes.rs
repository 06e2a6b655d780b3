//! Whose stake pays for a fault, and which part of it.

use super::*;
use pallet_staking::UnappliedSlash;
use phala_pallet_gatekeepers::Acting;

fn equivocation(number: u8, era: u32) -> Misdeed<AccountId> {
    let fraction = Perbill::from_percent(10);
    let (offence, reporters) = (Fault::Equivocation, vec![]);
    Misdeed { offender: account(number), offence, era, attempt: 0, fraction, reporters }
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
fn nominators_of_today_do_not_pay_for_what_was_done_before_they_nominated() {
    network(false).execute_with(|| {
        Acting::<Runtime>::put(5);
        let disabled = || pallet_session::DisabledValidators::<Runtime>::get().len();
        Slash::punish(equivocation(1, 4));
        assert_eq!(due().len(), 1);
        assert_eq!((due()[0].own, due()[0].others.len(), disabled()), (STAKE / 10, 0, 0), "its own stake alone");
        for (number, era) in [(2, 5), (3, 6)] {
            Slash::punish(equivocation(number, era));
        }
        assert_eq!(due().len(), 3);
        assert!(disabled() > 0, "the acting set's faults are offences");
    });
}
