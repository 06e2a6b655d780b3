//! Keys, periods and values on a mock runtime, with keys that a test deals, and the storage keys that TEEs compute.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod hostile;
mod keys;
mod periods;

use crate::{self as pallet_beacon, *};
use codec::Encode;
use curve25519_dalek::scalar::Scalar;
use frame_support::{
    assert_ok,
    dispatch::{DispatchResultWithPostInfo, Pays},
    parameter_types,
    traits::Hooks,
    weights::Weight,
};
use phala_crypto::{
    beacon::{verify_beacon, verify_beacon_record, BeaconShare},
    prf::KeyShare,
    Secret,
};
use phala_pallet_gatekeepers::{Beacon as _, OnSilence};
use phala_protocol::{
    beacon::{AwaitedBeacon, BeaconHolder, BeaconInput, BeaconPartial, BeaconRecord, DueBeacon, Period},
    storage, Hash,
};
use sp_runtime::{AccountId32, BuildStorage};

phala_pallet_mock::runtime! {
    54 Beacon = pallet_beacon,
}

parameter_types! {
    pub static PeriodLength: u32 = 20;
    pub static ValuesKept: u32 = 3;
    /// Who was told to have been silent: era, period, indices, and how many partials were enough.
    pub static Told: Vec<(u32, Period, Vec<u16>, u16)> = Vec::new();
}

/// What telling costs.
const TELLING: Weight = Weight::from_parts(7, 7);

pub struct Ear;

impl OnSilence for Ear {
    fn silent(era: u32, period: Period, silent: &[u16], enough: u16) -> Weight {
        Told::mutate(|told| told.push((era, period, silent.to_vec(), enough)));
        TELLING
    }
}

impl crate::Config for Test {
    type PeriodLength = PeriodLength;
    type ValuesKept = ValuesKept;
    type OnSilence = Ear;
    type WeightInfo = ();
}

const ANYBODY: AccountId32 = AccountId32::new([99; 32]);
const GENESIS: Hash = [3; 32];
const THRESHOLD: u16 = 3;

/// A key whose dealer is the test.
struct InsecureKey {
    shares: Vec<BeaconShare>,
    record: BeaconRecord,
}

/// The key of `era` with four holders, dealt from `seed`.
fn insecure_key(era: u32, seed: u8) -> InsecureKey {
    let coefficients = [1, 2, 3].map(|number: u8| Scalar::from_bytes_mod_order([seed.wrapping_mul(7) ^ number; 32]));
    let shares: Vec<_> = (1..=4u16)
        .map(|index| {
            let at = Scalar::from(index);
            let value = coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient);
            BeaconShare::new(KeyShare::from_bytes(index, &Secret::new(value.to_bytes())).unwrap())
        })
        .collect();
    let holders = shares
        .iter()
        .map(|share| BeaconHolder { index: share.index(), share: share.public_share().to_bytes() })
        .collect();
    InsecureKey { shares, record: BeaconRecord { era, threshold: THRESHOLD, holders } }
}

impl InsecureKey {
    /// What holder `index` gives for a period of the key's era.
    fn partial(&self, index: u16, period: Period) -> BeaconPartial {
        let share = self.shares.iter().find(|share| share.index() == index).unwrap();
        share.partial(&BeaconInput { genesis: GENESIS, era: self.record.era, period }, &[9; 32])
    }
}

/// A chain in block 1 without a key.
fn network() -> sp_io::TestExternalities {
    PeriodLength::set(20);
    ValuesKept::set(3);
    Told::set(Vec::new());
    let storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    let mut network = sp_io::TestExternalities::new(storage);
    network.execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, sp_core::H256(GENESIS));
        at(1);
    });
    network
}

/// A chain in block 2, in which the first period of era 0's key opened; what its key is.
fn open() -> (sp_io::TestExternalities, InsecureKey) {
    let mut network = network();
    let key = insecure_key(0, 1);
    network.execute_with(|| {
        show(&key);
        Beacon::active(0);
        next();
        assert_eq!(Due::<Test>::get(), Some(due(0, 0, &[])));
    });
    (network, key)
}

/// Has a key awaited and shown.
fn show(key: &InsecureKey) {
    Beacon::awaited(key.record.era, key.record.hash());
    assert_ok!(publish(key.record.clone()));
}

fn due(era: u32, period: Period, present: &[u16]) -> DueBeacon {
    DueBeacon { era, period, present: present.to_vec() }
}

/// Enters block `number`.
fn at(number: u32) {
    System::set_block_number(number);
    Beacon::on_initialize(number);
}

fn next() {
    at(System::block_number() + 1);
}

fn publish(record: BeaconRecord) -> DispatchResultWithPostInfo {
    Beacon::publish_key(RuntimeOrigin::signed(ANYBODY), record)
}

fn submit(era: u32, period: Period, partial: BeaconPartial) -> DispatchResultWithPostInfo {
    Beacon::submit_partial(RuntimeOrigin::signed(ANYBODY), era, period, partial)
}

/// These holders give what is due.
fn give(key: &InsecureKey, indices: impl IntoIterator<Item = u16>) {
    for index in indices {
        let DueBeacon { era, period, .. } = Due::<Test>::get().unwrap();
        assert_ok!(submit(era, period, key.partial(index, period)));
    }
}

/// Refused as `error`: for a fee, and with nothing changed.
fn refused(outcome: impl FnOnce() -> DispatchResultWithPostInfo, error: Error<Test>) {
    let state = || {
        let (due, gathered) = (Due::<Test>::get(), Gathering::<Test>::get());
        let (awaited, kept, keys) = (Awaited::<Test>::get(), Kept::<Test>::get(), Keys::<Test>::iter().count());
        (due, gathered, awaited, kept, keys, System::events().len())
    };
    let before = state();
    let refusal = outcome().unwrap_err();
    assert_eq!(refusal.error, error.into());
    assert_eq!(refusal.post_info.pays_fee, Pays::Yes);
    assert!(refusal.post_info.actual_weight.unwrap().ref_time() > 0);
    assert_eq!(state(), before);
}

fn happened(event: Event<Test>) -> bool {
    System::events().into_iter().any(|record| record.event == RuntimeEvent::from(event.clone()))
}

#[test]
fn storage_keys_are_the_ones_that_others_read() {
    assert_eq!(Awaited::<Test>::hashed_key().to_vec(), storage::beacon_awaited_key());
    assert_eq!(Due::<Test>::hashed_key().to_vec(), storage::beacon_due_key());
    assert_eq!(Latest::<Test>::hashed_key().to_vec(), storage::beacon_latest_key());
    assert_eq!(Keys::<Test>::hashed_key_for(7), storage::beacon_record_key(7));
    assert_eq!(Values::<Test>::hashed_key_for((7, 8)), storage::beacon_value_key(7, 8));
}

#[test]
fn records_are_the_ones_that_others_read() {
    let (mut network, key) = open();
    network.execute_with(|| {
        let read = |key: Vec<u8>| sp_io::storage::get(&key).unwrap().to_vec();
        give(&key, [4, 2]);
        assert_eq!(read(storage::beacon_due_key()), due(0, 0, &[2, 4]).encode());
        assert_eq!(read(storage::beacon_record_key(0)), key.record.encode());
        give(&key, [1]);
        assert_eq!(read(storage::beacon_latest_key()), (0u32, 0u32).encode());
        assert_eq!(read(storage::beacon_value_key(0, 0)), Beacon::latest().unwrap().encode());
        Beacon::awaited(1, [8; 32]);
        assert_eq!(read(storage::beacon_awaited_key()), AwaitedBeacon { era: 1, hash: [8; 32] }.encode());
    });
}
