//! Rounds, answers and silence on a mock runtime, and the storage keys that TEEs compute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod answers;
mod rounds;

use crate::{self as pallet_heartbeats, *};
use codec::Encode;
use frame_support::{
    assert_ok,
    dispatch::{DispatchResultWithPostInfo, Pays},
    parameter_types,
    traits::{ConstBool, Hooks},
};
use phala_pallet_attestation::{Listings, Measurements, Workers};
use phala_protocol::{
    attestation::{Assurance, Listing, Role, Version},
    chain_state::{AllowedMeasurement, WorkerRecord},
    heartbeat::{
        is_sampled, Heartbeat, HeartbeatPolicy, HeartbeatRound, HeartbeatStanding, SignedHeartbeat, EVERY_WORKER,
    },
    storage, WorkerId,
};
use sp_core::{ed25519, Pair, H256};
use sp_runtime::{AccountId32, BuildStorage};

phala_pallet_mock::runtime! {
    50 Attestation = phala_pallet_attestation,
    56 Heartbeats = pallet_heartbeats,
}

impl phala_pallet_attestation::Config for Test {
    type InsecureDevelopment = ConstBool<true>;
    type LoneRoot = ConstBool<true>;
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type BrakeOrigin = frame_system::EnsureRoot<AccountId32>;
    type OnBarred = ();
    type WeightInfo = ();
}

parameter_types! {
    /// The newest value of the beacon: era, period and value.
    pub static NewestValue: Option<(u32, Period, Hash)> = None;
    pub static DefaultPolicy: HeartbeatPolicy = POLICY;
}

/// What a test says that the beacon made.
pub struct Shown;

impl BeaconValues for Shown {
    fn newest() -> Option<(u32, Period)> {
        NewestValue::get().map(|(era, period, _)| (era, period))
    }

    fn value(era: u32, period: Period) -> Option<Hash> {
        NewestValue::get().filter(|made| (made.0, made.1) == (era, period)).map(|(_, _, value)| value)
    }
}

impl crate::Config for Test {
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type Beacon = Shown;
    type DefaultPolicy = DefaultPolicy;
    type WeightInfo = ();
}

const ANYBODY: AccountId32 = AccountId32::new([99; 32]);
const GENESIS: Hash = [3; 32];
const MEASUREMENT: Hash = [7; 32];
const ERA: u32 = 4;
/// Everybody is asked, for five blocks, and may miss two rounds.
const POLICY: HeartbeatPolicy = HeartbeatPolicy { rate: EVERY_WORKER, window: 5, patience: 3 };

fn pair(number: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[number; 32])
}

fn id(number: u8) -> WorkerId {
    WorkerId(pair(number).public().0)
}

/// A chain in block 10 with workers 1 to `workers`, and without a value.
fn network(workers: u8) -> sp_io::TestExternalities {
    NewestValue::set(None);
    DefaultPolicy::set(POLICY);
    let storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    let mut network = sp_io::TestExternalities::new(storage);
    network.execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, H256(GENESIS));
        let entry = AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None };
        Measurements::<Test>::insert(MEASUREMENT, entry);
        let listing = Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None };
        Listings::<Test>::insert(MEASUREMENT, listing);
        (1..=workers).for_each(|number| register(number, Role::Worker, 1));
        at(10);
    });
    network
}

fn register(number: u8, role: Role, registered_at: u32) {
    let record = WorkerRecord {
        role,
        operator: phala_protocol::AccountId([number; 32]),
        encryption_key: [0; 32],
        measurement: MEASUREMENT,
        hardware: [number; 32],
        assurance: Assurance::Simulated,
        registered_at,
        valid_until: u64::MAX,
    };
    Workers::<Test>::insert(id(number), record);
}

/// Enters block `number`; what it did costs what is returned.
fn at(number: u32) -> frame_support::weights::Weight {
    for former in System::block_number().max(1)..number {
        frame_system::BlockHash::<Test>::insert(former, H256(hash_of(former)));
    }
    System::set_block_number(number);
    pallet_timestamp::Now::<Test>::put(u64::from(number) * 1_000);
    Heartbeats::on_initialize(number)
}

fn next() -> frame_support::weights::Weight {
    at(System::block_number() + 1)
}

fn hash_of(block: u32) -> Hash {
    H256::from_low_u64_be(1_000 + u64::from(block)).0
}

/// The beacon has a value, and the next block opens its round.
fn open(period: Period, value: Hash) -> HeartbeatRound {
    NewestValue::set(Some((ERA, period, value)));
    next();
    let round = Round::<Test>::get().unwrap();
    assert_eq!((round.era, round.period, round.value, round.opened), (ERA, period, value, System::block_number()));
    round
}

/// What worker `number` says to the round, of the block in which it opened.
fn heartbeat(number: u8) -> Heartbeat {
    let HeartbeatRound { era, period, opened, .. } = Round::<Test>::get().unwrap();
    Heartbeat { genesis: GENESIS, worker: id(number), era, period, block: opened, block_hash: hash_of(opened) }
}

fn signed(number: u8, heartbeat: Heartbeat) -> SignedHeartbeat {
    SignedHeartbeat { heartbeat, signature: pair(number).sign(&heartbeat.signing_payload()).0 }
}

fn submit(signed: SignedHeartbeat) -> DispatchResultWithPostInfo {
    Heartbeats::submit_heartbeat(RuntimeOrigin::signed(ANYBODY), signed)
}

/// Worker `number` answers, as an honest one does.
fn answer(number: u8) {
    assert_ok!(submit(signed(number, heartbeat(number))));
}

/// Until the search is over. How many blocks that took from the one after the window on.
fn finish() -> u32 {
    let until = Round::<Test>::get().unwrap().until;
    while Search::<Test>::get().is_some() {
        next();
        assert!(System::block_number() < until + 1_000, "the search does not end");
    }
    System::block_number().saturating_sub(until)
}

/// A whole round in which these answer.
fn round(period: Period, answering: &[u8]) {
    open(period, [period as u8; 32]);
    next();
    answering.iter().for_each(|number| answer(*number));
    finish();
}

fn standing(number: u8) -> HeartbeatStanding {
    Standings::<Test>::get(id(number))
}

fn happened(event: Event<Test>) -> bool {
    System::events().into_iter().any(|record| record.event == RuntimeEvent::from(event.clone()))
}

/// How often a worker was said to have missed a round.
fn times_missed(number: u8) -> usize {
    let who = id(number);
    let missed = |event: RuntimeEvent| match event {
        RuntimeEvent::Heartbeats(Event::Missed { worker, .. }) => Some(worker),
        _ => None,
    };
    System::events().into_iter().filter_map(|record| missed(record.event)).filter(|worker| *worker == who).count()
}

#[test]
fn storage_keys_and_records_are_the_ones_that_others_read() {
    network(1).execute_with(|| {
        assert_eq!(Round::<Test>::hashed_key().to_vec(), storage::heartbeat_round_key());
        assert_eq!(Standings::<Test>::hashed_key_for(id(1)), storage::heartbeat_standing_key(&id(1)));
        let read = |key: Vec<u8>| sp_io::storage::get(&key).map(|bytes| bytes.to_vec());
        assert_eq!(read(storage::heartbeat_round_key()), None);
        let round = open(7, [1; 32]);
        assert_eq!(read(storage::heartbeat_round_key()), Some(round.encode()));
        assert_eq!(read(storage::heartbeat_standing_key(&id(1))), None);
        next();
        answer(1);
        let standing = HeartbeatStanding { answered: Some((ERA, 7)), misses: 0, unresponsive: false };
        assert_eq!(read(storage::heartbeat_standing_key(&id(1))), Some(standing.encode()));
    });
}
