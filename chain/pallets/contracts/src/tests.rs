//! Behaviour of clusters, epochs, code and votes on a mock runtime, and the storage keys that light clients compute.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod closing;
mod drawing;
mod egress;
mod hand_over;
mod lapses;
mod results;
mod rolls;
mod standing;

use crate::{self as pallet_contracts, *};
use frame_support::{
    assert_noop, assert_ok,
    dispatch::DispatchResultWithPostInfo,
    parameter_types,
    traits::{ConstU128, ConstU32, Hooks},
    BoundedVec,
};
use phala_pallet_attestation::{Listings, Measurements, Workers};
use phala_pallet_inbox::Clusters as _;
use phala_protocol::{
    attestation::{Assurance, Listing, Role, Version},
    beacon::{BeaconValue, MadeBeacon},
    chain_state::{AllowedMeasurement, RootRecord, WorkerRecord},
    envelope::{
        announcement_payload, Envelope, EnvelopeHeader, EnvelopeKind, SizeClass, AEAD_TAG_BYTES, PUBLIC_KEY_BYTES,
        VERSION,
    },
    gas::GasClass,
    result::{Boundary, ClusterResult, Rekey, SignedRekey, SignedResult},
    storage, ClusterId, CodeHash, ContractId, Epoch, Hash, WorkerId,
};
use sp_core::{ed25519, Pair};
use sp_runtime::{AccountId32, BuildStorage, DispatchResult};

phala_pallet_mock::runtime! {
    existential_deposit = 1;
    50 Attestation = phala_pallet_attestation,
    51 Inbox = phala_pallet_inbox,
    52 Contracts = pallet_contracts,
}
phala_pallet_mock::attestation!();
phala_pallet_mock::inbox!(phala_pallet_inbox, Contracts);

parameter_types! {
    pub static NewestBeacon: Option<MadeBeacon> = None;
    /// Who leaves heartbeats unanswered.
    pub static Silent: Vec<WorkerId> = Vec::new();
}

/// What a test says is the newest value.
pub struct Shown;

impl LatestBeacon for Shown {
    fn latest() -> Option<MadeBeacon> {
        NewestBeacon::get()
    }
}

impl Responsive for Shown {
    fn is_responsive(worker: &WorkerId) -> bool {
        !Silent::get().contains(worker)
    }
}

impl crate::Config for Test {
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type HoldCurrency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type DepositPerByte = ConstU128<10>;
    type EpochLength = ConstU32<100>;
    type MaxReplicaLag = ConstU32<300>;
    type Beacon = Shown;
    type Responsive = Shown;
    type WeightInfo = ();
}

const ALICE: AccountId32 = AccountId32::new([1; 32]);
const BOB: AccountId32 = AccountId32::new([2; 32]);
const CLUSTER: ClusterId = ClusterId(0);
const MEASUREMENT: Hash = [7; 32];
const WASM: &[u8] = b"\0asm\x01\0\0\0 and more";

fn replica(number: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[number; 32])
}

fn id(pair: &ed25519::Pair) -> WorkerId {
    WorkerId(pair.public().0)
}

/// A network whose cluster 0 has `replicas` members and, when `open`, its first epoch.
fn network(replicas: u8, open: bool) -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    pallet_balances::GenesisConfig::<Test> {
        balances: vec![(ALICE, 1_000_000_000_000_000), (BOB, 1_000_000_000_000_000), (FeeReceiver::get(), 1)],
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    let mut network = sp_io::TestExternalities::new(storage);
    network.execute_with(|| {
        at(1);
        list(MEASUREMENT);
        let pairs: Vec<_> = (1..=replicas).map(replica).collect();
        pairs.iter().for_each(|pair| register(pair, u64::MAX));
        let ids: Vec<_> = pairs.iter().map(id).collect();
        assert_ok!(Contracts::create_cluster(RuntimeOrigin::root(), ids.try_into().unwrap()));
        if open {
            for pair in pairs.iter().take(usize::from(replicas) / 2 + 1) {
                assert_ok!(announce(pair, 1, 5));
            }
            at(2);
        }
    });
    network
}

fn list(measurement: Hash) {
    let entry = AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None };
    Measurements::<Test>::insert(measurement, entry);
    let listing = Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None };
    Listings::<Test>::insert(measurement, listing);
}

fn register(pair: &ed25519::Pair, valid_until: u64) {
    let record = WorkerRecord {
        role: Role::Worker,
        operator: phala_protocol::AccountId([1; 32]),
        encryption_key: [0; 32],
        measurement: MEASUREMENT,
        hardware: pair.public().0,
        assurance: Assurance::Simulated,
        registered_at: 1,
        valid_until,
    };
    Workers::<Test>::insert(id(pair), record);
}

/// Enters block `number`, as if an extrinsic of it were running.
fn at(number: u32) {
    System::set_block_number(number);
    System::set_extrinsic_index(0);
    pallet_timestamp::Now::<Test>::put(u64::from(number) * 1_000);
    Contracts::on_initialize(number);
}

/// Announces for cluster 0, of the era that is coming.
fn announce(pair: &ed25519::Pair, epoch: Epoch, fill: u8) -> DispatchResult {
    announce_of(pair, Attestation::coming_era(), CLUSTER, epoch, fill)
}

fn announce_of(pair: &ed25519::Pair, era: u32, cluster: ClusterId, epoch: Epoch, fill: u8) -> DispatchResult {
    let key = vec![fill; PUBLIC_KEY_BYTES];
    let payload = announcement_payload(&Contracts::genesis(), cluster, era, epoch, &key);
    let (worker, signature) = (id(pair), pair.sign(&payload).0);
    let (origin, key) = (RuntimeOrigin::signed(ALICE), key.try_into().unwrap());
    Contracts::announce_key(origin, cluster, era, epoch, key, worker, signature)
}

fn push(epoch: Epoch) -> DispatchResult {
    let envelope = BoundedVec::try_from(envelope(epoch)).unwrap();
    let envelopes = vec![envelope].try_into().unwrap();
    Inbox::push(RuntimeOrigin::signed(ALICE), CLUSTER, GasClass::Small, envelopes, u128::MAX)
}

fn envelope(epoch: Epoch) -> Vec<u8> {
    let header =
        EnvelopeHeader { version: VERSION, kind: EnvelopeKind::Call, cluster: CLUSTER, epoch, size: SizeClass::B256 };
    let opening = vec![1; header.opening_bytes()];
    Envelope { header, opening, body: vec![1; 256 + AEAD_TAG_BYTES] }.to_bytes()
}

fn result_at(block: u32, epoch: Epoch, prev: u8, next: u8) -> ClusterResult {
    let boundary = Inbox::boundary(CLUSTER, block).unwrap_or(Boundary { block, count: 0, link: [0; 32] });
    ClusterResult {
        cluster: CLUSTER,
        epoch,
        boundary,
        prev: [prev; 32],
        next: [next; 32],
        replies_root: [0; 32],
        egress_root: [0; 32],
    }
}

fn signed(pair: &ed25519::Pair, result: ClusterResult) -> SignedResult {
    let signature = pair.sign(&result.signing_payload(&Contracts::genesis())).0;
    SignedResult { result, worker: id(pair), signature }
}

fn submit(results: Vec<SignedResult>) -> DispatchResultWithPostInfo {
    Contracts::submit_results(RuntimeOrigin::signed(ALICE), results.try_into().unwrap())
}

fn vote(pair: &ed25519::Pair, result: ClusterResult) -> DispatchResult {
    submit(vec![signed(pair, result)]).map(|_| ()).map_err(|refused| refused.error)
}

fn happened(event: Event<Test>) -> bool {
    System::events().into_iter().any(|record| record.event == RuntimeEvent::from(event.clone()))
}

fn bind(pair: &ed25519::Pair, epoch: Epoch, old: u8, new: u8) -> DispatchResult {
    let rekey = Rekey { cluster: CLUSTER, epoch, boundary: None, old: [old; 32], new: [new; 32] };
    let signature = pair.sign(&rekey.signing_payload(&Contracts::genesis())).0;
    Contracts::submit_rekey(RuntimeOrigin::signed(ALICE), SignedRekey { rekey, worker: id(pair), signature })
        .map(|_| ())
        .map_err(|refused| refused.error)
}

fn record() -> phala_protocol::chain_state::ClusterRecord {
    Clusters::<Test>::get(CLUSTER).unwrap()
}

#[test]
fn storage_keys_are_the_ones_light_clients_read() {
    let (code, contract) = (CodeHash([1; 32]), ContractId([2; 32]));
    assert_eq!(Clusters::<Test>::hashed_key_for(CLUSTER), storage::cluster_key(CLUSTER));
    assert_eq!(Codes::<Test>::hashed_key_for(code), storage::code_key(&code));
    assert_eq!(Instances::<Test>::hashed_key_for(contract), storage::contract_key(&contract));
    assert_eq!(FinalResults::<Test>::hashed_key_for((CLUSTER, 7)), storage::final_result_key(CLUSTER, 7));
    assert_eq!(Standings::<Test>::hashed_key_for(CLUSTER), storage::standings_key(CLUSTER));
    assert_eq!(Bindings::<Test>::hashed_key_for(CLUSTER), storage::binding_key(CLUSTER));
    assert_eq!(phala_pallet_inbox::Boundaries::<Test>::hashed_key_for((CLUSTER, 7)), storage::boundary_key(CLUSTER, 7));
    assert_eq!(Workers::<Test>::hashed_key_for(WorkerId([3; 32])), storage::worker_key(&WorkerId([3; 32])));
    let appraisal = phala_pallet_attestation::Appraisals::<Test>::hashed_key_for(WorkerId([3; 32]));
    assert_eq!(appraisal, storage::appraisal_key(&WorkerId([3; 32])));
    assert_eq!(Measurements::<Test>::hashed_key_for(MEASUREMENT), storage::measurement_key(&MEASUREMENT));
    assert_eq!(Listings::<Test>::hashed_key_for(MEASUREMENT), storage::listing_key(&MEASUREMENT));
    let subject = phala_attest::Subject::Measurement(MEASUREMENT);
    let suspensions = phala_pallet_attestation::Suspensions::<Test>::hashed_key_for(subject);
    assert_eq!(suspensions, storage::suspensions_key(&subject));
    assert_eq!(phala_pallet_attestation::Root::<Test>::hashed_key().to_vec(), storage::root_key());
    assert_eq!(phala_pallet_attestation::Terms::<Test>::hashed_key(), storage::TERMS);
    assert_eq!(phala_pallet_attestation::Bans::<Test>::hashed_key(), storage::BANS);
    assert_eq!(phala_pallet_attestation::EvaluationCap::<Test>::hashed_key(), storage::EVALUATION_CAP);
    assert_eq!(phala_pallet_attestation::Advisories::<Test>::hashed_key(), storage::ADVISORIES);
}

#[test]
fn cluster_needs_registered_workers_and_governance() {
    network(1, false).execute_with(|| {
        let create = |origin, ids: Vec<WorkerId>| Contracts::create_cluster(origin, ids.try_into().unwrap());
        assert!(create(RuntimeOrigin::signed(ALICE), vec![id(&replica(1))]).is_err());
        assert_noop!(create(RuntimeOrigin::root(), vec![]), Error::<Test>::BadReplicaCount);
        assert_noop!(create(RuntimeOrigin::root(), vec![id(&replica(9))]), Error::<Test>::NotAWorker);
        let twice = vec![id(&replica(1)), id(&replica(1))];
        assert_noop!(create(RuntimeOrigin::root(), twice), Error::<Test>::NotAWorker);
        register(&replica(2), 1);
        assert_noop!(create(RuntimeOrigin::root(), vec![id(&replica(2))]), Error::<Test>::NotAWorker);
        Measurements::<Test>::remove(MEASUREMENT);
        assert_noop!(create(RuntimeOrigin::root(), vec![id(&replica(1))]), Error::<Test>::NotAWorker);
    });
}

#[test]
fn a_cluster_is_of_the_era_whose_root_answers_and_is_counted_in_it() {
    network(1, false).execute_with(|| {
        assert_eq!((record().era, record().era_before, Contracts::clusters_of_former_eras(0)), (0, 0, 0));
        let root = RootRecord { era: 3, threshold: 1, seats: Vec::new(), share_list: [0; 32] };
        phala_pallet_attestation::Root::<Test>::put(root);
        let ids = vec![id(&replica(1))].try_into().unwrap();
        assert_ok!(Contracts::create_cluster(RuntimeOrigin::root(), ids));
        let created = Clusters::<Test>::get(ClusterId(1)).unwrap();
        assert_eq!((created.era, created.era_before), (3, 3));
        assert_eq!([0, 1, 3, 4].map(Contracts::clusters_of_former_eras), [0, 1, 1, 2]);
    });
}

#[test]
fn epoch_opens_at_the_next_block_when_a_majority_announced_the_same_key() {
    network(3, false).execute_with(|| {
        assert_eq!(Contracts::open_epoch(CLUSTER), None);
        assert_ok!(announce(&replica(1), 1, 5));
        assert_noop!(announce(&replica(1), 1, 6), Error::<Test>::AlreadyVoted);
        assert_ok!(announce(&replica(2), 1, 6));
        at(2);
        assert_eq!(Contracts::open_epoch(CLUSTER), None, "one of three for each key is no majority");
        assert_ok!(announce(&replica(3), 1, 5));
        assert_eq!(Contracts::open_epoch(CLUSTER), None, "not within the block");
        at(3);
        assert_eq!(Contracts::open_epoch(CLUSTER), Some(1));
        assert_eq!((record().envelope_key, record().opened_at), (vec![5; PUBLIC_KEY_BYTES], 3));
        assert_ok!(push(1));
    });
}

#[test]
fn announcement_is_refused_from_strangers_and_for_other_epochs() {
    network(1, false).execute_with(|| {
        assert_noop!(announce(&replica(2), 1, 5), Error::<Test>::NotAReplica);
        assert_noop!(announce(&replica(1), 2, 5), Error::<Test>::WrongEpoch);
        let key: BoundedVec<u8, _> = vec![5; PUBLIC_KEY_BYTES].try_into().unwrap();
        let forged =
            Contracts::announce_key(RuntimeOrigin::signed(ALICE), CLUSTER, 0, 1, key, id(&replica(1)), [0; 64]);
        assert_noop!(forged, Error::<Test>::BadSignature);
        let short: BoundedVec<u8, _> = vec![5; 10].try_into().unwrap();
        let signed =
            Contracts::announce_key(RuntimeOrigin::signed(ALICE), CLUSTER, 0, 1, short, id(&replica(1)), [0; 64]);
        assert_noop!(signed, Error::<Test>::BadKey);
        register(&replica(1), 0);
        assert_noop!(announce(&replica(1), 1, 5), Error::<Test>::NotAWorker);
    });
}

#[test]
fn next_epoch_waits_for_its_time_for_results_and_for_the_binding() {
    network(1, true).execute_with(|| {
        assert_ok!(push(1));
        assert_noop!(announce(&replica(1), 2, 6), Error::<Test>::TooEarly);
        at(102);
        // Items of the open epoch do not hold the next one back; its own opening does that afterwards.
        assert_ok!(announce(&replica(1), 2, 6));
        at(103);
        assert_eq!(Contracts::open_epoch(CLUSTER), Some(2));
        assert_noop!(push(1), phala_pallet_inbox::Error::<Test>::WrongEpoch);
        assert!(record().is_closing());
        at(300);
        assert_noop!(announce(&replica(1), 3, 7), Error::<Test>::StillClosing);
        assert_noop!(bind(&replica(1), 2, 1, 2), Error::<Test>::StillClosing);
        assert_noop!(vote(&replica(1), result_at(2, 2, 0, 1)), Error::<Test>::WrongEpoch);
        assert_ok!(vote(&replica(1), result_at(2, 1, 0, 1)));
        assert_noop!(announce(&replica(1), 3, 7), Error::<Test>::StillClosing);
        assert_noop!(bind(&replica(1), 2, 9, 2), Error::<Test>::WrongCommitment);
        assert_noop!(bind(&replica(1), 1, 1, 2), Error::<Test>::WrongEpoch);
        assert_eq!(Bindings::<Test>::get(CLUSTER), None);
        assert_ok!(bind(&replica(1), 2, 1, 2));
        assert_eq!(Commitments::<Test>::get(CLUSTER), Some([2; 32]));
        let bound = Rekey { cluster: CLUSTER, epoch: 2, boundary: None, old: [1; 32], new: [2; 32] };
        assert_eq!(Bindings::<Test>::get(CLUSTER), Some(bound), "kept for whoever is new in the epoch");
        assert_noop!(bind(&replica(1), 2, 2, 3), Error::<Test>::NothingToRekey);
        assert_ok!(announce(&replica(1), 3, 7));
    });
}

#[test]
fn result_is_final_when_a_majority_signed_the_same() {
    network(3, true).execute_with(|| {
        assert_ok!(push(1));
        at(3);
        assert_ok!(vote(&replica(1), result_at(2, 1, 0, 1)));
        assert_noop!(vote(&replica(1), result_at(2, 1, 0, 1)), Error::<Test>::AlreadyVoted);
        assert_ok!(vote(&replica(2), result_at(2, 1, 0, 9)));
        assert_eq!(FinalResults::<Test>::get((CLUSTER, 2)), None, "two results, no majority");
        assert_ok!(vote(&replica(3), result_at(2, 1, 0, 1)));
        let record = FinalResults::<Test>::get((CLUSTER, 2)).unwrap();
        let voters: Vec<_> = record.votes.iter().map(|(worker, _)| *worker).collect();
        assert_eq!((record.result.next, voters), ([1; 32], vec![id(&replica(1)), id(&replica(3))]));
        assert_eq!((record.replicas, record.finalised_at), (3, 3));
        assert_eq!(Inbox::oldest_boundary(CLUSTER), None);
    });
}

#[test]
fn results_count_in_order_and_must_continue_the_commitment() {
    network(1, true).execute_with(|| {
        assert_ok!(push(1));
        at(3);
        assert_ok!(push(1));
        at(4);
        assert_ok!(push(1));
        at(5);
        assert_ok!(vote(&replica(1), result_at(3, 1, 1, 2)));
        assert_eq!(FinalResults::<Test>::get((CLUSTER, 3)), None, "the boundary before is not final");
        assert_ok!(vote(&replica(1), result_at(2, 1, 0, 1)));
        assert!(FinalResults::<Test>::get((CLUSTER, 3)).is_some(), "both are final now");
        assert_ok!(vote(&replica(1), result_at(4, 1, 7, 3)));
        assert_eq!(FinalResults::<Test>::get((CLUSTER, 4)), None, "it does not continue commitment 2");
        assert_eq!(record().final_count, 2);
    });
}

#[test]
fn votes_are_refused_from_strangers_and_for_boundaries_that_are_not_the_inboxs() {
    network(1, true).execute_with(|| {
        assert_ok!(push(1));
        let good = result_at(2, 1, 0, 1);
        assert_noop!(vote(&replica(1), good), Error::<Test>::NoSuchBoundary);
        at(3);
        assert_noop!(vote(&replica(2), good), Error::<Test>::NotAReplica);
        assert_noop!(vote(&replica(1), result_at(9, 1, 0, 1)), Error::<Test>::NoSuchBoundary);
        let mut wrong = good;
        wrong.boundary.link = [0; 32];
        assert_noop!(vote(&replica(1), wrong), Error::<Test>::WrongBoundary);
        let mut wrong = good;
        wrong.boundary.count = 9;
        assert_noop!(vote(&replica(1), wrong), Error::<Test>::WrongBoundary);
        let forged = SignedResult { result: good, worker: id(&replica(1)), signature: [1; 64] };
        assert_eq!(submit(vec![forged]).map_err(|refused| refused.error), Err(Error::<Test>::BadSignature.into()));
        assert_ok!(vote(&replica(1), good));
    });
}

#[test]
fn two_results_of_one_replica_for_one_boundary_are_reported() {
    network(3, true).execute_with(|| {
        assert_ok!(push(1));
        at(3);
        assert_ok!(vote(&replica(1), result_at(2, 1, 0, 1)));
        assert_ok!(vote(&replica(1), result_at(2, 1, 0, 2)));
        assert!(happened(Event::Equivocated { cluster: CLUSTER, block: 2, worker: id(&replica(1)) }));
        assert_eq!(Votes::<Test>::get((CLUSTER, 2)).len(), 1, "the first vote stands");
    });
}

#[test]
fn final_results_are_kept_in_a_ring() {
    network(1, true).execute_with(|| {
        let kept = phala_protocol::limits::FINAL_RESULTS_KEPT;
        // One epoch long: the cluster's length is only a least one.
        for block in 2..kept + 5 {
            assert_ok!(push(1));
            at(block + 1);
            let before = if block == 2 { 0 } else { 1 };
            assert_ok!(vote(&replica(1), result_at(block, 1, before, 1)));
        }
        assert_eq!(FinalResults::<Test>::iter().count(), kept as usize);
        assert!(FinalResults::<Test>::get((CLUSTER, 2)).is_none());
        assert!(FinalResults::<Test>::get((CLUSTER, kept + 4)).is_some());
    });
}

#[test]
fn code_is_stored_once_against_a_deposit() {
    network(1, true).execute_with(|| {
        let upload =
            |code: &[u8]| Contracts::upload_code(RuntimeOrigin::signed(ALICE), code.to_vec().try_into().unwrap());
        let free = Balances::free_balance(&ALICE);
        assert_noop!(upload(b"not wasm"), Error::<Test>::NotWasm);
        assert_ok!(upload(WASM));
        assert_eq!(free - Balances::free_balance(&ALICE), 10 * WASM.len() as u128);
        assert_eq!(Codes::<Test>::get(CodeHash::of(WASM)).as_deref(), Some(WASM));
        assert_noop!(upload(WASM), Error::<Test>::CodeExists);
    });
}

#[test]
fn instantiation_is_a_chain_message_with_the_derived_id() {
    network(1, true).execute_with(|| {
        let code = CodeHash::of(WASM);
        let instantiate = |salt, max_fee| {
            let init = envelope(1).try_into().unwrap();
            Contracts::instantiate(
                RuntimeOrigin::signed(ALICE),
                CLUSTER,
                code,
                [salt; 32],
                GasClass::Medium,
                init,
                max_fee,
            )
        };
        assert_noop!(instantiate(0, u128::MAX), Error::<Test>::NoSuchCode);
        assert_ok!(Contracts::upload_code(RuntimeOrigin::signed(ALICE), WASM.to_vec().try_into().unwrap()));
        assert_ok!(instantiate(0, u128::MAX));
        let deployer = phala_protocol::AccountId([1; 32]);
        let contract = ContractId::derive(&Contracts::genesis(), CLUSTER, &deployer, &code, &[0; 32]);
        let found = Instances::<Test>::get(contract).unwrap();
        assert_eq!((found.code, found.deployer, found.cluster), (code, deployer, CLUSTER));
        assert_eq!(Inbox::head(CLUSTER).count, 1);
        assert_ok!(instantiate(1, u128::MAX));
        assert_eq!(Inbox::head(CLUSTER).count, 2);
        let attempt = frame_support::storage::with_storage_layer(|| instantiate(2, 1));
        assert_eq!(attempt, Err(phala_pallet_inbox::Error::<Test>::FeeOverMax.into()));
        assert_eq!(Instances::<Test>::iter().count(), 2, "what its payer does not pay for is not listed");
    });
}

#[test]
fn a_constructor_that_the_cluster_refused_may_be_sent_again_by_its_deployer_alone() {
    network(1, true).execute_with(|| {
        let code = CodeHash::of(WASM);
        assert_ok!(Contracts::upload_code(RuntimeOrigin::signed(ALICE), WASM.to_vec().try_into().unwrap()));
        let instantiate = |who: AccountId32| {
            let init = envelope(1).try_into().unwrap();
            Contracts::instantiate(
                RuntimeOrigin::signed(who),
                CLUSTER,
                code,
                [0; 32],
                GasClass::Medium,
                init,
                u128::MAX,
            )
        };
        assert_ok!(instantiate(ALICE));
        let listed: Vec<_> = Instances::<Test>::iter().collect();
        at(2);
        assert_ok!(instantiate(ALICE));
        assert_eq!(Instances::<Test>::iter().collect::<Vec<_>>(), listed, "the same contract, as it was listed first");
        assert_eq!(Inbox::head(CLUSTER).count, 2);
        assert_ok!(instantiate(BOB));
        assert_eq!(Instances::<Test>::iter().count(), 2, "another deployer's is another contract");
    });
}

#[test]
fn governance_sets_the_length_of_epochs() {
    network(1, true).execute_with(|| {
        let set = |origin, blocks| Contracts::set_epoch_length(origin, CLUSTER, blocks);
        assert!(set(RuntimeOrigin::signed(ALICE), 20).is_err());
        assert_noop!(set(RuntimeOrigin::root(), MIN_EPOCH_LENGTH - 1), Error::<Test>::EpochTooShort);
        assert_ok!(set(RuntimeOrigin::root(), 20));
        at(21);
        assert_noop!(announce(&replica(1), 2, 6), Error::<Test>::TooEarly);
        at(22);
        assert_ok!(announce(&replica(1), 2, 6));
    });
}

#[test]
fn new_assignment_voids_what_the_former_set_announced() {
    network(3, false).execute_with(|| {
        assert_ok!(announce(&replica(1), 1, 5));
        register(&replica(4), u64::MAX);
        let ids = vec![id(&replica(2)), id(&replica(4))].try_into().unwrap();
        assert_ok!(Contracts::assign_replicas(RuntimeOrigin::root(), CLUSTER, ids));
        assert_noop!(announce(&replica(1), 1, 5), Error::<Test>::NotAReplica);
        assert_ok!(announce(&replica(2), 1, 5));
        at(2);
        assert_eq!(Contracts::open_epoch(CLUSTER), None, "majority of two is two");
        assert_ok!(announce(&replica(4), 1, 5));
        at(3);
        assert_eq!(Contracts::open_epoch(CLUSTER), Some(1));
    });
}
