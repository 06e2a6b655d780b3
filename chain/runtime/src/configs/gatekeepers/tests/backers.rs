//! Everybody behind a validator: how many there may be, and what it is charged that they are slashed. And how many may stand.

use super::*;
use crate::{configs::staking::ElectionTargets, RuntimeCall};
use frame_support::dispatch::GetDispatchInfo;
use frame_system::limits::BlockWeights;
use pallet_staking::{ActiveEra, ActiveEraInfo, ErasStakersOverview, ValidatorPrefs};
use phala_pallet_gatekeepers::Call;

type Sessions = <Runtime as pallet_session::Config>::SessionManager;

fn nominator(number: u32) -> AccountId {
    let mut bytes = [0xaa; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    AccountId::from(bytes)
}

/// What a nominator has at stake: each more than the one before.
fn stake_of(number: u32) -> Balance {
    STAKE + Balance::from(number) * UNIT
}

/// The network, with so many nominators behind the first validator and behind no other.
fn nominated(nominators: u32) -> sp_io::TestExternalities {
    let mut config = genesis(false);
    for number in 1..=nominators {
        let (who, stake) = (nominator(number), stake_of(number));
        config.balances.balances.push((who.clone(), 2 * stake));
        config.staking.stakers.push((who.clone(), who, stake, StakerStatus::Nominator(vec![account(1)])));
    }
    built(&config)
}

/// The first validator contradicts itself. Gives how many are to lose with it.
fn equivocate() -> u32 {
    let (offence, fraction) = (Fault::Equivocation, Perbill::from_percent(10));
    let misdeed =
        Misdeed { offender: account(1), offence, era: 0, attempt: 0, set: 0, fraction, reporters: Vec::new() };
    Slash::punish(misdeed);
    let due = UnappliedSlashes::<Runtime>::get(SlashDeferDuration::get() + 1);
    assert_eq!((due.len(), due[0].own), (1, STAKE / 10));
    due[0].others.len() as u32
}

fn registered() -> Weight {
    *System::block_weight().get(DispatchClass::Mandatory)
}

#[test]
fn all_who_may_be_behind_a_validator_are_slashed_with_it_and_charged_for() {
    let most = Slash::MOST_BACKERS;
    nominated(most + 20).execute_with(|| {
        // Of more than may be, those count who have most at stake, and the validator, which has least.
        let exposed = Staking::eras_stakers(0, &account(1));
        assert_eq!((exposed.own, exposed.others.len() as u32), (STAKE, most - 1));
        assert!(exposed.others.iter().all(|one| one.value >= stake_of(22)));
        let counted = exposed.others.iter().fold(exposed.own, |total, one| total + one.value);
        assert_eq!(exposed.total, counted);
        assert_eq!(ErasStakersOverview::<Runtime>::get(0, account(1)).unwrap().page_count, 1, "one payout is for all");

        let slashed = equivocate();
        assert_eq!(slashed, most - 1);
        let unsigned = Statement::Commit { package: [1; 32] };
        let first = SignedStatement { era: 0, attempt: 0, index: 1, statement: unsigned, signature: [0; 64] };
        let charged = RuntimeCall::Gatekeepers(Call::report_equivocation { first, second: first })
            .get_dispatch_info()
            .call_weight;
        // Of each the slash in the era, the spans, and what was slashed in one.
        let database = <Runtime as frame_system::Config>::DbWeight::get();
        let each = database.reads_writes(3, 3).saturating_mul(u64::from(slashed) + 1);
        assert!(charged.all_gte(each), "{charged:?} for {each:?}");
    });
}

#[test]
fn as_many_as_may_be_behind_a_validator_fit_a_transaction_whoever_reports_it() {
    let most = Slash::MOST_BACKERS;
    assert!(<<Runtime as pallet_babe::Config>::MaxNominators as Get<u32>>::get() >= most);
    assert!(<<Runtime as pallet_grandpa::Config>::MaxNominators as Get<u32>>::get() >= most);
    let validators = MaxValidatorSet::get();
    let block: BlockWeights = <Runtime as frame_system::Config>::BlockWeights::get();
    let largest = block.get(DispatchClass::Normal).max_extrinsic.unwrap();
    for charged in [
        <() as WeightInfo>::report(most),
        <() as pallet_babe::WeightInfo>::report_equivocation(validators, most),
        <() as pallet_grandpa::WeightInfo>::report_equivocation(validators, most),
        <<Runtime as pallet_staking::Config>::WeightInfo as pallet_staking::WeightInfo>::payout_stakers_alive_staked(
            most,
        ),
    ] {
        assert!(charged.all_lte(largest), "{charged:?} of {largest:?}");
    }
}

#[test]
fn what_is_taken_when_an_era_begins_is_charged_by_the_stake() {
    nominated(3).execute_with(|| {
        assert_eq!(equivocate(), 3);
        let due = SlashDeferDuration::get() + 1;
        ActiveEra::<Runtime>::put(ActiveEraInfo { index: due - 1, start: None });
        CurrentEra::<Runtime>::put(due);
        ErasStartSessionIndex::<Runtime>::insert(due, 90);
        let (before, active) = (registered(), || Staking::slashable_balance_of(&account(1)));
        <Sessions as SessionManager<AccountId>>::start_session(89);
        assert_eq!((registered(), active()), (before, STAKE), "the era does not begin yet");
        <Sessions as SessionManager<AccountId>>::start_session(90);
        assert_eq!(registered(), before.saturating_add(<() as WeightInfo>::apply(1 + 3)));
        assert_eq!(active(), STAKE - STAKE / 10);
        for number in 1..=3 {
            let stake = stake_of(number);
            assert_eq!(Staking::slashable_balance_of(&nominator(number)), stake - stake / 10);
        }
        // What is taken is taken and charged once.
        let after = registered();
        <Sessions as SessionManager<AccountId>>::start_session(91);
        assert_eq!((registered(), active()), (after, STAKE - STAKE / 10));
    });
}

#[test]
fn nobody_stands_with_whom_every_election_would_fail() {
    let most = ElectionTargets::get();
    let one_more = |bound: Option<u32>| {
        let mut config = genesis(false);
        config.staking.max_validator_count = bound;
        config.balances.balances.extend((6..=most + 1).map(|number| (nominator(number), 2 * STAKE)));
        built(&config).execute_with(|| {
            let stand = |number| {
                let origin = || RuntimeOrigin::signed(nominator(number));
                Staking::bond(origin(), STAKE, RewardDestination::Staked).unwrap();
                Staking::validate(origin(), ValidatorPrefs::default())
            };
            (6..=most).for_each(|number| stand(number).unwrap());
            assert_eq!(PlainElection::elect(0).unwrap().len(), 5, "five of {most}");
            (stand(most + 1), PlainElection::elect(0).map(|elected| elected.len()))
        })
    };
    let too_many = onchain::Error::DataProvider("Target snapshot too big");
    assert_eq!(one_more(None), (Ok(()), Err(too_many)));
    let refused: sp_runtime::DispatchError = pallet_staking::Error::<Runtime>::TooManyValidators.into();
    assert_eq!(one_more(Some(most)), (Err(refused), Ok(5)));
}
