//! Seats, ceremonies, roots and elections on a mock runtime, and the storage key that TEEs compute.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod committee;
mod course;
mod election;
mod faults;
mod former;
mod hostile;
mod identities;
mod roots;
mod seats;
mod silences;

use crate::{self as pallet_gatekeepers, *};
use codec::Encode;
use frame_support::{assert_noop, assert_ok, dispatch::DispatchResultWithPostInfo, parameter_types, traits::Hooks};
use phala_pallet_attestation::{EvaluationCap, Listings, Measurements, NextRoot, Root, Workers};
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Listing, Role, Version},
    ceremony::{
        delivery_hash, package_hash, AnnouncedKey, Attachment, CeremonyAttempt, CeremonyRecord, Confirmed, Fault,
        Parcel, ParcelHeader, ParcelKind, Phase, SignedStatement, Statement,
    },
    chain_state::{AllowedMeasurement, RootRecord, WorkerRecord},
    storage, Hash, WorkerId,
};
use sp_core::{ed25519, Pair};
use sp_runtime::{AccountId32, BuildStorage, DispatchResult, Perbill};

phala_pallet_mock::runtime! {
    50 Attestation = phala_pallet_attestation,
    53 Gatekeepers = pallet_gatekeepers,
}

parameter_types! {
    pub static Development: bool = true;
    pub static FormerClusters: u32 = 0;
    pub static TimesToldToGoOver: u32 = 0;
    pub static Told: Vec<Said> = Vec::new();
    pub static Punished: Vec<Misdeed<AccountId32>> = Vec::new();
}

impl phala_pallet_attestation::Config for Test {
    type InsecureDevelopment = Development;
    type LoneRoot = Development;
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type BrakeOrigin = frame_system::EnsureRoot<AccountId32>;
    type OnBarred = ();
    type WeightInfo = ();
}

pub struct Mock;

impl Clusters for Mock {
    fn of_former_eras(_: u32) -> u32 {
        FormerClusters::get()
    }

    fn hand_over() {
        TimesToldToGoOver::mutate(|times| *times += 1);
    }
}

/// What the beacon was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Awaited(u32, Hash),
    Dropped(u32),
    Active(u32),
}

impl Beacon for Mock {
    fn awaited(era: u32, hash: Hash) {
        Told::mutate(|told| told.push(Said::Awaited(era, hash)));
    }

    fn dropped(era: u32) {
        Told::mutate(|told| told.push(Said::Dropped(era)));
    }

    fn active(era: u32) {
        Told::mutate(|told| told.push(Said::Active(era)));
    }
}

impl Punish<AccountId32> for Mock {
    const MOST_BACKERS: u32 = 50;

    fn punish(misdeed: Misdeed<AccountId32>) {
        Punished::mutate(|punished| punished.push(misdeed));
    }
}

impl crate::Config for Test {
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type Clusters = Mock;
    type Beacon = Mock;
    type Punish = Mock;
    type WeightInfo = ();
}

const MEASUREMENT: Hash = [7; 32];
const ANYBODY: AccountId32 = AccountId32::new([99; 32]);
const LIST: Hash = [5; 32];
/// What honest seats confirm.
const KEYS: Confirmed = Confirmed { share_list: LIST, beacon: [15; 32] };

fn account(number: u8) -> AccountId32 {
    AccountId32::new([number; 32])
}

fn pair(number: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[number; 32])
}

fn id(number: u8) -> WorkerId {
    WorkerId(pair(number).public().0)
}

fn ids(numbers: impl IntoIterator<Item = u8>) -> Vec<WorkerId> {
    numbers.into_iter().map(id).collect()
}

/// Registers gatekeeper `number` with the operator of the same number.
fn attest(number: u8) {
    let record = WorkerRecord {
        role: Role::Gatekeeper,
        operator: phala_protocol::AccountId([number; 32]),
        encryption_key: encryption_key_hash(&[number]),
        measurement: MEASUREMENT,
        hardware: [number; 32],
        assurance: Assurance::Simulated,
        registered_at: 1,
        valid_until: u64::MAX,
    };
    Workers::<Test>::insert(id(number), record);
}

fn bind(number: u8) -> DispatchResult {
    Gatekeepers::register_seat(RuntimeOrigin::signed(account(number)), id(number))
}

/// Registers gatekeeper `number` with the operator of another number, whose validator binds it in the place of its own.
fn replace_by(operator: u8, number: u8) -> DispatchResult {
    attest(number);
    Workers::<Test>::mutate(id(number), |record| record.as_mut().unwrap().operator.0 = [operator; 32]);
    Gatekeepers::register_seat(RuntimeOrigin::signed(account(operator)), id(number))
}

/// A development network in block 1 with as many validators, each bound to its gatekeeper.
fn network(validators: u8) -> sp_io::TestExternalities {
    Development::set(true);
    FormerClusters::set(0);
    TimesToldToGoOver::set(0);
    Told::set(Vec::new());
    Punished::set(Vec::new());
    let storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    let mut network = sp_io::TestExternalities::new(storage);
    network.execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, sp_core::H256([3; 32]));
        at(1);
        let entry = AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None };
        Measurements::<Test>::insert(MEASUREMENT, entry);
        let listing = Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None };
        Listings::<Test>::insert(MEASUREMENT, listing);
        // So that tests which turn the development mark off lose nothing but the mark.
        EvaluationCap::<Test>::put(u32::MAX);
        for number in 1..=validators {
            attest(number);
            assert_ok!(bind(number));
        }
    });
    network
}

/// A network whose validators' gatekeepers are in their first ceremony.
fn started(validators: u8) -> sp_io::TestExternalities {
    let mut network = network(validators);
    network.execute_with(|| {
        assert_ok!(start(1..=validators));
    });
    network
}

fn start(numbers: impl IntoIterator<Item = u8>) -> DispatchResult {
    Gatekeepers::start(RuntimeOrigin::root(), ids(numbers).try_into().unwrap())
}

/// Enters block `number`.
fn at(number: u32) {
    enter(number);
}

/// Enters block `number`. Returns what its beginning is charged.
fn enter(number: u32) -> frame_support::weights::Weight {
    System::set_block_number(number);
    pallet_timestamp::Now::<Test>::put(u64::from(number) * 1_000);
    Gatekeepers::on_initialize(number)
}

fn next() {
    at(System::block_number() + 1);
}

/// Enters the block after the last one of the present phase.
fn run_out() {
    at(record().until + 1);
}

fn record() -> CeremonyRecord {
    Ceremony::<Test>::get().unwrap()
}

/// Where the ceremony stands: attempt and phase.
fn stand() -> (u32, Phase) {
    (record().attempt, record().phase)
}

fn left_out() -> Vec<Option<Fault>> {
    record().seats.iter().map(|seat| seat.left_out).collect()
}

/// What seat `index` says now, whose gatekeeper has the same number.
fn signed(index: u8, statement: Statement) -> SignedStatement {
    let CeremonyRecord { era, attempt, .. } = record();
    sign(index, SignedStatement { era, attempt, index: index.into(), statement, signature: [0; 64] })
}

fn sign(number: u8, statement: SignedStatement) -> SignedStatement {
    let payload = statement.signing_payload(&Gatekeepers::genesis());
    SignedStatement { signature: pair(number).sign(&payload).0, ..statement }
}

fn submit(statement: SignedStatement) -> DispatchResultWithPostInfo {
    match beside(&statement) {
        Some(attachment) => Gatekeepers::state_with(RuntimeOrigin::signed(ANYBODY), statement, attachment),
        None => Gatekeepers::state(RuntimeOrigin::signed(ANYBODY), statement),
    }
}

/// What its gatekeeper puts beside a statement.
fn beside(said: &SignedStatement) -> Option<Attachment> {
    match said.statement {
        Statement::Complain { .. } => Some(Attachment::Key(key_of(said.index as u8, said.index as u8))),
        Statement::Deliver { accuser, .. } => Some(Attachment::Parcel(parcel(said.index as u8, accuser as u8))),
        Statement::Answer { .. } => Some(Attachment::Package(vec![said.index as u8])),
        _ => None,
    }
}

fn parcel(dealer: u8, accuser: u8) -> Parcel {
    let CeremonyRecord { era, attempt, .. } = record();
    let header = ParcelHeader { era, attempt, from: dealer.into(), to: accuser.into(), kind: ParcelKind::Delivery };
    Parcel { header, encapsulated: vec![1], body: vec![2], signature: [0; 64] }
}

fn delivered(dealer: u8, accuser: u8) -> Hash {
    delivery_hash(&encryption_key_hash(&key_bytes(accuser)), &parcel(dealer, accuser))
}

/// The key of a number: anybody can seal to it, and nobody opens it.
fn key_bytes(number: u8) -> Vec<u8> {
    let mut key = vec![0; 1_216];
    key[1_184] = number;
    key
}

/// The key of a number, which `signer` announces for an attempt.
fn announced(of: CeremonyAttempt, number: u8, signer: u8) -> AnnouncedKey {
    let unsigned = AnnouncedKey { of, key: key_bytes(number), signature: [0; 64] };
    let signature = pair(signer).sign(&unsigned.signing_payload(&Gatekeepers::genesis())).0;
    AnnouncedKey { signature, ..unsigned }
}

/// The same for the attempt at a root that is under way.
fn key_of(number: u8, signer: u8) -> AnnouncedKey {
    let CeremonyRecord { era, attempt, .. } = record();
    announced(CeremonyAttempt::root(era, attempt), number, signer)
}

fn say(index: u8, statement: Statement) -> DispatchResult {
    submit(signed(index, statement)).map(|_| ()).map_err(|refused| refused.error)
}

/// The statement by which seat `index` commits to a package of one byte, its index.
fn commitment(index: u8) -> Statement {
    let CeremonyRecord { era, attempt, .. } = record();
    Statement::Commit { package: package_hash(&Gatekeepers::genesis(), era, attempt, index.into(), &[index]) }
}

fn commit(indices: impl IntoIterator<Item = u8>) {
    for index in indices {
        assert_ok!(say(index, commitment(index)));
    }
}

fn confirm(indices: impl IntoIterator<Item = u8>) {
    for index in indices {
        assert_ok!(say(index, Statement::Confirm(KEYS)));
    }
}

fn complain(accuser: u8, dealer: u8) -> DispatchResult {
    say(accuser, Statement::Complain { dealer: dealer.into() })
}

fn deliver(dealer: u8, accuser: u8) -> DispatchResult {
    say(dealer, Statement::Deliver { accuser: accuser.into(), parcel: delivered(dealer, accuser) })
}

fn dispute(accuser: u8, dealer: u8) -> DispatchResult {
    say(accuser, Statement::Dispute { dealer: dealer.into(), parcel: delivered(dealer, accuser) })
}

/// From `Share` to `Settle`: what was complained of is delivered, and these (accuser, dealer) are disputed.
fn to_settle(disputed: impl IntoIterator<Item = (u8, u8)>) {
    run_out();
    assert_eq!(record().phase, Phase::Deliver);
    for complaint in record().complaints {
        assert_ok!(deliver(complaint.dealer as u8, complaint.accuser as u8));
    }
    for (accuser, dealer) in disputed {
        assert_ok!(dispute(accuser, dealer));
    }
    run_out();
    assert_eq!(record().phase, Phase::Settle);
}

fn answer(dealer: u8, accuser: u8) -> DispatchResult {
    say(dealer, Statement::Answer { accuser: accuser.into(), shares: [[1; 32]; 2] })
}

fn reject(index: u8, dealer: u8) -> DispatchResult {
    say(index, Statement::Reject { dealer: dealer.into() })
}

/// Seats that take part commit, and the phase in which shares travel begins.
fn to_share() {
    let participants: Vec<_> = record().participants().map(|index| index as u8).collect();
    commit(participants);
    next();
}

/// These seats make the root of the ceremony that has just begun.
fn make_root(indices: impl IntoIterator<Item = u8>) {
    let (indices, asked): (Vec<_>, _) = (indices.into_iter().collect(), record().participants().count());
    commit(indices.clone());
    if indices.len() < asked {
        run_out();
    } else {
        next();
    }
    confirm(indices);
    next();
}

fn happened(event: Event<Test>) -> bool {
    System::events().into_iter().any(|record| record.event == RuntimeEvent::from(event.clone()))
}
