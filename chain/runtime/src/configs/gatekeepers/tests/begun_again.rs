//! Who pays for a contradiction when an era is begun again, before the acting set or after it.

use super::*;
use pallet_session::CurrentIndex;
use pallet_staking::ActiveEra;
use phala_pallet_gatekeepers::{Acting, CurrentPolicy, Elections, FormerElections};

/// A network whose first four validators are elected and wait for the root of era 0. The sixth account nominates the first one.
fn elected() -> sp_io::TestExternalities {
    let mut network = network(false);
    network.execute_with(|| {
        let nominator = || RuntimeOrigin::signed(account(6));
        Staking::bond(nominator(), STAKE, RewardDestination::Staked).unwrap();
        Staking::nominate(nominator(), vec![account(1).into()]).unwrap();
        for index in 2..=6 {
            assert_eq!(plan_session(index), None);
        }
        (1..=4).for_each(attest_and_bind);
        assert_eq!(plan_session(7), None);
        assert_eq!(Planned::<Runtime>::get().map(|plan| (plan.era, plan.validators.len())), Some((0, 4)));
    });
    network
}

/// The set that waits makes its root, takes over when session `index` is planned, and acts when that begins.
fn take_over(index: SessionIndex) {
    all_say(|number| Statement::Commit { package: [number; 32] });
    at(System::block_number() + 1);
    all_say(|_| Statement::Confirm(KEYS));
    at(System::block_number() + 1);
    assert_eq!(plan_session(index).map(|set| set.len()), Some(4));
    assert_eq!(plan_session(index + 1), None);
    CurrentIndex::<Runtime>::put(index);
    assert_eq!(ActiveEra::<Runtime>::get().map(|active| active.index), Some(1));
    assert_eq!(Staking::eras_stakers(1, &account(1)).total, 2 * STAKE);
}

/// Reports that gatekeeper `number` committed to two packages in an attempt of era 0, for which these had the seats.
fn report(number: u8, attempt: u32, seats: &[(WorkerId, AccountId)]) {
    let position = seats.iter().position(|(_, validator)| *validator == account(number)).unwrap();
    let index = u16::try_from(position + 1).unwrap();
    let genesis: [u8; 32] = System::block_hash(0).into();
    let [first, second] = [[1; 32], [2; 32]].map(|package| {
        let statement = Statement::Commit { package };
        let unsigned = SignedStatement { era: 0, attempt, index, statement, signature: [0; 64] };
        let signature = pair(number).sign(&unsigned.signing_payload(&genesis)).0;
        SignedStatement { signature, ..unsigned }
    });
    Gatekeepers::report_equivocation(RuntimeOrigin::signed(account(5)), first, second).unwrap();
}

/// Whose stake pays in era 1: how much of its own, and of its only nominator's.
fn paid() -> Vec<(AccountId, Balance, Balance)> {
    let due = UnappliedSlashes::<Runtime>::get(1 + SlashDeferDuration::get() + 1);
    let of_others = |others: Vec<(AccountId, Balance)>| {
        assert!(others.iter().all(|(nominator, _)| *nominator == account(6)));
        others.into_iter().map(|(_, amount)| amount).sum::<Balance>()
    };
    due.into_iter().map(|slash| (slash.validator, slash.own, of_others(slash.others))).collect()
}

#[test]
fn whoever_acts_pays_with_its_nominators_also_when_its_sets_era_was_begun_again() {
    elected().execute_with(|| {
        take_over(8);
        assert_eq!((Acting::<Runtime>::get(), Root::<Runtime>::get()), (Some((0, 0)), None));
        // The root waits for its delay. Governance cancels it, and has another set make that of the same era.
        Gatekeepers::cancel_next(RuntimeOrigin::root()).unwrap();
        attest_and_bind(5);
        let others: Vec<_> = (2..=5).map(gatekeeper).collect();
        Gatekeepers::start(RuntimeOrigin::root(), others.try_into().unwrap()).unwrap();
        assert_eq!(Ceremony::<Runtime>::get().map(|record| (record.era, record.attempt)), Some((0, 1)));
        report(1, 0, &FormerElections::<Runtime>::get((0, 0)).unwrap());
        let fault = CurrentPolicy::<Runtime>::get().fault * STAKE;
        assert_eq!(paid(), [(account(1), fault, fault)]);
        assert_eq!(disabled(), [account(1)]);
    });
}

#[test]
fn whoever_contradicted_itself_in_a_set_that_never_acted_pays_without_its_nominators() {
    elected().execute_with(|| {
        Gatekeepers::cancel(RuntimeOrigin::root()).unwrap();
        // The same validators are elected again, and act.
        assert_eq!(plan_session(8), None);
        take_over(9);
        assert_eq!(Acting::<Runtime>::get(), Some((0, 1)));
        report(1, 0, &FormerElections::<Runtime>::get((0, 0)).unwrap());
        let fault = CurrentPolicy::<Runtime>::get().fault * STAKE;
        assert_eq!(paid(), [(account(1), fault, 0)]);
        assert!(disabled().is_empty());
        // What was done in the acting set is an offence.
        report(2, 1, &Elections::<Runtime>::get(0).unwrap().seats);
        assert_eq!(paid()[1..], [(account(2), fault, 0)]);
        assert_eq!(disabled(), [account(2)]);
    });
}
