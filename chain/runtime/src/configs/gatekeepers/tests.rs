//! The real staking pallet, whose elections wait for a ceremony, and whose stakes pay for faults.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backers;
mod begun_again;
mod early_era;
mod hand_over;
mod precedence;
mod slashes;
mod withdrawal;

use super::*;
use crate::{
    currency::UNIT, Balance, BalancesConfig, GatekeepersConfig, NetworkConfig, RuntimeGenesisConfig, RuntimeOrigin,
    SessionConfig, SessionKeys, StakingConfig, System,
};
use frame_support::traits::Hooks;
use pallet_session::{DisabledValidators, SessionManager};
use pallet_staking::{CurrentEra, ErasStartSessionIndex, RewardDestination, StakerStatus, UnappliedSlashes};
use phala_pallet_attestation::{EvaluationCap, Listings, Measurements, Root, Workers};
use phala_pallet_gatekeepers::{Ceremony, Planned};
use phala_protocol::{
    attestation::{Assurance, Listing, Role, Version},
    ceremony::{CeremonyRecord, Confirmed, SignedStatement, Statement},
    chain_state::{AllowedMeasurement, RootRecord, WorkerRecord},
    WorkerId,
};
use sp_core::{ed25519, Pair};
use sp_keyring::{Ed25519Keyring as Ed, Sr25519Keyring as Sr};
use sp_runtime::BuildStorage;

const STAKE: Balance = 1_000 * UNIT;
const MEASUREMENT: [u8; 32] = [7; 32];
/// What all seats confirm.
const KEYS: Confirmed = Confirmed { share_list: [5; 32], beacon: [6; 32] };

fn account(number: u8) -> AccountId {
    AccountId::from([number; 32])
}

fn pair(number: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[number; 32])
}

fn gatekeeper(number: u8) -> WorkerId {
    WorkerId(pair(number).public().0)
}

/// A network with five acting validators and a sixth account, none of which has a gatekeeper.
fn network(development: bool) -> sp_io::TestExternalities {
    built(&genesis(development))
}

fn built(config: &RuntimeGenesisConfig) -> sp_io::TestExternalities {
    let mut network = sp_io::TestExternalities::new(config.build_storage().unwrap());
    network.execute_with(|| {
        System::set_block_number(1);
        pallet_timestamp::Now::<Runtime>::put(1_000);
    });
    network
}

fn genesis(development: bool) -> RuntimeGenesisConfig {
    let keys = [
        (Sr::Alice, Ed::Alice),
        (Sr::Bob, Ed::Bob),
        (Sr::Charlie, Ed::Charlie),
        (Sr::Dave, Ed::Dave),
        (Sr::Eve, Ed::Eve),
    ];
    let session_keys =
        |(babe, grandpa): (Sr, Ed)| SessionKeys { babe: babe.public().into(), grandpa: grandpa.public().into() };
    let staker = |number| (account(number), account(number), STAKE, StakerStatus::<AccountId>::Validator);
    RuntimeGenesisConfig {
        network: NetworkConfig { development, lone_root: development, ..Default::default() },
        balances: BalancesConfig {
            balances: (1..=6).map(|number| (account(number), 10 * STAKE)).collect(),
            ..Default::default()
        },
        staking: StakingConfig {
            validator_count: 5,
            minimum_validator_count: 4,
            stakers: (1..=5).map(staker).collect(),
            ..Default::default()
        },
        session: SessionConfig {
            keys: (1..=5)
                .zip(keys)
                .map(|(number, keys)| (account(number), account(number), session_keys(keys)))
                .collect(),
            ..Default::default()
        },
        gatekeepers: GatekeepersConfig { without_vendor_quota: true, ..Default::default() },
        ..Default::default()
    }
}

/// Ends, starts and plans sessions as the session pallet does, until `index` is planned. Returns the set that was planned, if any.
fn plan_session(index: SessionIndex) -> Option<Vec<AccountId>> {
    <Staking as SessionManager<AccountId>>::end_session(index - 2);
    <Staking as SessionManager<AccountId>>::start_session(index - 1);
    <Staking as SessionManager<AccountId>>::new_session(index)
}

/// Registers gatekeeper `number` with the validator of the same number, and binds it.
fn attest_and_bind(number: u8) {
    let entry = AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None };
    Measurements::<Runtime>::insert(MEASUREMENT, entry);
    let listing = Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None };
    Listings::<Runtime>::insert(MEASUREMENT, listing);
    EvaluationCap::<Runtime>::put(u32::MAX);
    let record = WorkerRecord {
        role: Role::Gatekeeper,
        operator: phala_protocol::AccountId([number; 32]),
        encryption_key: [0; 32],
        measurement: MEASUREMENT,
        hardware: [number; 32],
        assurance: Assurance::Simulated,
        registered_at: 1,
        valid_until: u64::MAX,
    };
    Workers::<Runtime>::insert(gatekeeper(number), record);
    Gatekeepers::register_seat(RuntimeOrigin::signed(account(number)), gatekeeper(number)).unwrap();
}

/// Who authors no more.
fn disabled() -> Vec<AccountId> {
    let validators = Session::validators();
    DisabledValidators::<Runtime>::get().into_iter().map(|(index, _)| validators[index as usize].clone()).collect()
}

fn at(block: BlockNumber) {
    System::set_block_number(block);
    <Gatekeepers as Hooks<BlockNumber>>::on_initialize(block);
}

/// All seats say this.
fn all_say(statement: impl Fn(u8) -> Statement) {
    let CeremonyRecord { era, attempt, seats, .. } = Ceremony::<Runtime>::get().unwrap();
    for (index, seat) in (1u16..).zip(seats) {
        let number = (1..=9).find(|number| gatekeeper(*number) == seat.gatekeeper).unwrap();
        let unsigned = SignedStatement { era, attempt, index, statement: statement(number), signature: [0; 64] };
        let genesis: [u8; 32] = System::block_hash(0).into();
        let signature = pair(number).sign(&unsigned.signing_payload(&genesis)).0;
        Gatekeepers::state(RuntimeOrigin::signed(account(6)), SignedStatement { signature, ..unsigned }).unwrap();
    }
}

#[test]
fn staking_plans_no_era_until_the_elected_sets_root_is_made() {
    network(false).execute_with(|| {
        for index in 2..=6 {
            assert_eq!(plan_session(index), None);
        }
        // The era is over, and there are no gatekeepers to elect: the present set stays.
        assert_eq!((CurrentEra::<Runtime>::get(), Planned::<Runtime>::get()), (Some(0), None));
        (1..=4).for_each(attest_and_bind);
        assert_eq!(plan_session(7), None);
        assert_eq!(Planned::<Runtime>::get().unwrap().validators.len(), 4);
        assert_eq!(plan_session(8), None);
        // Nothing of an era that is not planned is in the books.
        assert_eq!((CurrentEra::<Runtime>::get(), ErasStartSessionIndex::<Runtime>::get(1)), (Some(0), None));
        assert_eq!(Staking::eras_stakers(1, &account(1)).total, 0);
        assert_eq!(Staking::eras_stakers(0, &account(5)).total, STAKE, "the acting set is exposed");

        all_say(|number| Statement::Commit { package: [number; 32] });
        at(2);
        all_say(|_| Statement::Confirm(KEYS));
        at(3);
        let mut elected = plan_session(9).unwrap();
        elected.sort();
        assert_eq!(elected, (1..=4).map(account).collect::<Vec<_>>(), "without a gatekeeper nobody is elected");
        assert_eq!((CurrentEra::<Runtime>::get(), ErasStartSessionIndex::<Runtime>::get(1)), (Some(1), Some(9)));
        assert_eq!(Staking::eras_stakers(1, &account(1)).total, STAKE);
        // The root may answer after the delay in which governance may cancel it, and the next set waits for that.
        assert_eq!(Root::<Runtime>::get(), None);
        for index in 10..=15 {
            assert_eq!(plan_session(index), None);
        }
        assert_eq!(Planned::<Runtime>::get(), None);
        at(603);
        assert_eq!(Root::<Runtime>::get().unwrap().seats.len(), 4);
        assert_eq!(plan_session(16), None);
        assert_eq!(Ceremony::<Runtime>::get().unwrap().era, 1);
    });
}

#[test]
fn a_development_network_with_a_lone_root_elects_as_ever() {
    network(true).execute_with(|| {
        Root::<Runtime>::put(RootRecord { era: 0, threshold: 1, seats: vec![gatekeeper(1)], share_list: [5; 32] });
        for index in 2..=5 {
            assert_eq!(plan_session(index), None);
        }
        assert_eq!(plan_session(6).unwrap().len(), 5);
        assert_eq!(CurrentEra::<Runtime>::get(), Some(1));
        assert!(Ceremony::<Runtime>::get().is_none());
    });
}

#[test]
fn a_fault_costs_acting_and_waiting_validators_a_part_of_their_stake() {
    network(false).execute_with(|| {
        let misdeed = |number, offence, percent| Misdeed {
            offender: account(number),
            offence,
            era: 0,
            attempt: 0,
            set: 0,
            fraction: Perbill::from_percent(percent),
            reporters: vec![account(6)],
        };
        let slashes = || -> Vec<(AccountId, Balance)> {
            let due = UnappliedSlashes::<Runtime>::get(SlashDeferDuration::get() + 1);
            due.into_iter().map(|slash| (slash.validator, slash.own)).collect()
        };
        Slash::punish(misdeed(1, Fault::WrongShare, 10));
        assert_eq!(slashes(), [(account(1), STAKE / 10)]);
        assert_eq!(disabled(), [account(1)]);
        // Not twice for one attempt.
        Slash::punish(misdeed(1, Fault::WrongShare, 10));
        assert_eq!(slashes().len(), 1);
        // Whoever was only absent authors on.
        Slash::punish(misdeed(2, Fault::Absence, 1));
        assert_eq!(slashes()[1..], [(account(2), STAKE / 100)]);
        assert_eq!(disabled(), [account(1)]);
        // Whoever does not act yet has no exposure, and a stake.
        Slash::punish(misdeed(6, Fault::Equivocation, 10));
        assert_eq!(slashes().len(), 2, "nothing is bonded");
        Staking::bond(RuntimeOrigin::signed(account(6)), STAKE, RewardDestination::Staked).unwrap();
        Slash::punish(misdeed(6, Fault::Equivocation, 10));
        assert_eq!(slashes()[2..], [(account(6), STAKE / 10)]);
    });
}
