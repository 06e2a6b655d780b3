//! What is taken, in which order, how often and for whom, on a mock runtime; and the storage keys that others compute.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::{self as pallet_egress, *};
use frame_support::{
    assert_noop, assert_ok,
    dispatch::{DispatchResultWithPostInfo, Pays},
    parameter_types,
    traits::{fungible::Inspect, ConstU128, ConstU32},
};
use phala_crypto::merkle;
use phala_pallet_contracts::{Clusters, Disputed, EgressRoots, Instances};
use phala_protocol::{
    chain_state::{ClusterRecord, ContractRecord},
    egress::{empty_root, EgressAction, EgressFailure, EgressItem, EgressOutcome, EgressRoot, ProvedEgress},
    identities::{IdentityPoints, Scheme},
    limits::EGRESS_FATES_KEPT,
    storage, AccountId, ClusterId, CodeHash, ContractId, Hash, WorkerId,
};
use sp_runtime::{traits::Dispatchable, AccountId32, BuildStorage, DispatchError};

mod signatures;

phala_pallet_mock::runtime! {
    existential_deposit = 10;
    50 Attestation = phala_pallet_attestation,
    51 Inbox = phala_pallet_inbox,
    52 Contracts = phala_pallet_contracts,
    55 Egress = pallet_egress,
}
phala_pallet_mock::attestation!();
phala_pallet_mock::inbox!(phala_pallet_inbox, Contracts);

impl phala_pallet_contracts::Config for Test {
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type HoldCurrency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type DepositPerByte = ConstU128<10>;
    type EpochLength = ConstU32<100>;
    type MaxReplicaLag = ConstU32<300>;
    type Beacon = ();
    type Responsive = ();
    type WeightInfo = ();
}

/// Blocks of the window, and of a period.
const WINDOW: u32 = 5;
const PERIOD: u32 = 100;
const LIMIT: u128 = 1_000;

parameter_types! {
    pub static Identities: Option<IdentityPoints> = None;
}

impl crate::Config for Test {
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type Currency = Balances;
    type Identities = Identities;
    type DissentWindow = ConstU32<WINDOW>;
    type PeriodLength = ConstU32<PERIOD>;
    type PeriodLimit = ConstU128<LIMIT>;
    type WeightInfo = ();
}

const ALICE: AccountId32 = AccountId32::new([1; 32]);
const BOB: AccountId = AccountId([2; 32]);
const CLUSTER: ClusterId = ClusterId(0);
const OTHER_CLUSTER: ClusterId = ClusterId(1);
const CONTRACT: ContractId = ContractId([0xc0; 32]);
/// Boundaries become final in this block.
const FINAL: u32 = 10;

/// A network with a contract in each of two clusters, after the window of what became final in block [`FINAL`]. `funds` are in the
/// account of the first cluster's contract.
fn network(funds: u128) -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    let mut balances = vec![(ALICE, 1_000_000)];
    if funds > 0 {
        balances.push((CONTRACT.account().0.into(), funds));
    }
    pallet_balances::GenesisConfig::<Test> { balances, ..Default::default() }.assimilate_storage(&mut storage).unwrap();
    let mut network = sp_io::TestExternalities::new(storage);
    network.execute_with(|| {
        System::set_block_number(FINAL + WINDOW);
        for (cluster, contract) in [(CLUSTER, CONTRACT), (OTHER_CLUSTER, ContractId([0xc1; 32]))] {
            let (code, deployer) = (CodeHash([3; 32]), AccountId([1; 32]));
            Instances::<Test>::insert(contract, ContractRecord { cluster, code, deployer, created_at: 1 });
        }
    });
    network
}

fn item(sequence: u64, action: EgressAction) -> EgressItem {
    EgressItem { cluster: CLUSTER, sequence, contract: CONTRACT, action }
}

fn pay(sequence: u64, amount: u128) -> EgressItem {
    item(sequence, EgressAction::Transfer { to: BOB, amount })
}

/// The items of the boundary at `block`, proved; its result is final.
fn finalised(block: u32, items: Vec<EgressItem>) -> Vec<ProvedEgress> {
    let (root, proved) = proved(block, items);
    EgressRoots::<Test>::insert((proved[0].item.cluster, block), EgressRoot { root, finalised_at: FINAL });
    proved
}

fn proved(block: u32, items: Vec<EgressItem>) -> (Hash, Vec<ProvedEgress>) {
    let ids: Vec<Hash> = items.iter().map(|item| item.id(&Egress::genesis())).collect();
    let (count, tree) = (items.len() as u32, merkle::Tree::of(&ids));
    let proved = (0..)
        .zip(items)
        .map(|(index, item)| {
            let path = tree.prove(u64::from(index)).unwrap();
            ProvedEgress { item, block, index, count, path }
        })
        .collect();
    (tree.root(), proved)
}

fn take(items: Vec<ProvedEgress>) -> DispatchResultWithPostInfo {
    // As a transaction brings it: what fails leaves nothing.
    RuntimeCall::Egress(Call::take { items: items.try_into().unwrap() }).dispatch(RuntimeOrigin::signed(ALICE))
}

fn refused(items: Vec<ProvedEgress>) -> DispatchError {
    take(items).expect_err("it is refused").error
}

fn has(account: AccountId) -> u128 {
    Balances::total_balance(&AccountId32::new(account.0))
}

fn outcomes() -> Vec<EgressOutcome> {
    let mut fates: Vec<_> = Fates::<Test>::iter().filter(|((cluster, _), _)| *cluster == CLUSTER).collect();
    fates.sort_by_key(|((_, sequence), _)| *sequence);
    fates.into_iter().map(|(_, fate)| fate.outcome).collect()
}

#[test]
fn storage_keys_are_the_ones_that_others_read() {
    assert_eq!(Next::<Test>::hashed_key_for(CLUSTER), storage::egress_next_key(CLUSTER));
    assert_eq!(Fates::<Test>::hashed_key_for((CLUSTER, 7)), storage::egress_fate_key(CLUSTER, 7));
    assert_eq!(EgressRoots::<Test>::hashed_key_for((CLUSTER, 7)), storage::egress_root_key(CLUSTER, 7));
    assert_eq!(Disputed::<Test>::hashed_key_for(CLUSTER), storage::disputed_key(CLUSTER));
    assert_eq!(Voided::<Test>::hashed_key_for(CLUSTER), storage::egress_voided_key(CLUSTER));
    for scheme in [Scheme::Ed25519, Scheme::Ristretto255] {
        let key = storage::egress_signature_key(CLUSTER, 7, scheme);
        assert_eq!(Signatures::<Test>::hashed_key_for((CLUSTER, 7, scheme)), key);
    }
    assert_eq!(empty_root(), merkle::root::<Hash>(&[]), "what the contracts pallet takes for no items");
}

#[test]
fn an_item_is_paid_once_out_of_its_contracts_account_for_nothing() {
    network(500).execute_with(|| {
        let items = finalised(7, vec![pay(0, 100), pay(1, 30)]);
        assert_eq!(take(items.clone()).unwrap().pays_fee, Pays::No);
        assert_eq!((has(BOB), has(CONTRACT.account())), (130, 370));
        assert_eq!(outcomes(), [EgressOutcome::Paid; 2]);
        assert_eq!(Next::<Test>::get(CLUSTER), 2);
        assert_eq!(EgressRoots::<Test>::iter().count(), 0, "all of it is taken");
        let id = items[1].item.id(&Egress::genesis());
        let (cluster, contract, outcome) = (CLUSTER, CONTRACT, EgressOutcome::Paid);
        let taken = Event::<Test>::Taken { id, cluster, sequence: 1, contract, outcome };
        System::assert_last_event(taken.into());

        // Again, as relayers do, and alone.
        assert_eq!(refused(items.clone()), Error::<Test>::AlreadyTaken.into());
        assert_eq!(refused(vec![items[1].clone()]), Error::<Test>::AlreadyTaken.into());
        assert_eq!(has(BOB), 130);
        // Beside something new it is passed over, and costs.
        let more = finalised(9, vec![pay(2, 1)]);
        assert_eq!(take([items, more].concat()).unwrap().pays_fee, Pays::Yes);
        assert_eq!(has(BOB), 131);
    });
}

#[test]
fn the_same_item_in_another_boundary_is_not_taken_again() {
    network(500).execute_with(|| {
        assert_ok!(take(finalised(7, vec![pay(0, 100)])));
        assert_eq!(refused(finalised(8, vec![pay(0, 100)])), Error::<Test>::AlreadyTaken.into());
        assert_eq!(has(BOB), 100);
    });
}

#[test]
fn items_are_taken_in_order_over_boundaries_and_batches() {
    network(500).execute_with(|| {
        let first = finalised(7, vec![pay(0, 100), pay(1, 30)]);
        let second = finalised(9, vec![pay(2, 20)]);
        assert_noop!(take(vec![first[1].clone()]), Error::<Test>::NotNext);
        assert_noop!(take(second.clone()), Error::<Test>::NotNext);
        // A gap inside fails whole.
        assert_noop!(take(vec![first[0].clone(), second[0].clone()]), Error::<Test>::NotNext);
        assert_ok!(take(vec![first[0].clone()]));
        assert_eq!(EgressRoots::<Test>::iter().count(), 2, "kept while an item is left");
        assert_ok!(take(vec![first[1].clone(), second[0].clone()]));
        assert_eq!((has(BOB), EgressRoots::<Test>::iter().count()), (150, 0));
    });
}

#[test]
fn what_is_not_proved_against_a_final_result_is_refused() {
    network(500).execute_with(|| {
        let (_, unfinished) = proved(8, vec![pay(0, 1)]);
        assert_noop!(take(unfinished), Error::<Test>::NotFinal);
        let items = finalised(7, vec![pay(0, 100), pay(1, 30), pay(2, 20)]);
        let honest = items[0].clone();
        let bob = EgressAction::Transfer { to: AccountId([3; 32]), amount: 100 };
        let wrong = [
            ProvedEgress { item: pay(0, 101), ..honest.clone() },
            ProvedEgress { item: item(0, bob), ..honest.clone() },
            ProvedEgress {
                item: EgressItem { contract: ContractId([0xc1; 32]), ..honest.item.clone() },
                ..honest.clone()
            },
            ProvedEgress { item: EgressItem { sequence: 0, ..items[1].item.clone() }, ..items[1].clone() },
            ProvedEgress { index: 1, ..honest.clone() },
            ProvedEgress { index: u32::MAX, ..honest.clone() },
            ProvedEgress { count: 2, ..honest.clone() },
            ProvedEgress { count: 0, ..honest.clone() },
            ProvedEgress { path: Vec::new(), ..honest.clone() },
            ProvedEgress { path: [&honest.path[..], &[[0; 32]]].concat(), ..honest.clone() },
            ProvedEgress { path: vec![[7; 32]; 1_000], ..honest.clone() },
        ];
        for (index, wrong) in wrong.into_iter().enumerate() {
            assert_eq!(refused(vec![wrong]), Error::<Test>::BadProof.into(), "{index}");
        }
        assert_noop!(take(vec![ProvedEgress { block: 8, ..honest.clone() }]), Error::<Test>::NotFinal);
        let elsewhere = EgressItem { cluster: OTHER_CLUSTER, ..honest.item.clone() };
        assert_noop!(take(vec![ProvedEgress { item: elsewhere, ..honest.clone() }]), Error::<Test>::NotFinal);
        assert_noop!(take(Vec::new()), Error::<Test>::Empty);
        // One that is not proved takes the proved ones before it with it: nobody gets a batch for nothing.
        let bad = ProvedEgress { path: Vec::new(), ..items[1].clone() };
        assert_noop!(take(vec![honest.clone(), bad]), Error::<Test>::BadProof);
        assert_ok!(take(vec![honest]));
        assert_eq!(has(BOB), 100);
    });
}

#[test]
fn a_cluster_pays_out_of_its_own_contracts_accounts_alone() {
    network(500).execute_with(|| {
        // The other cluster's replicas sign, with all the votes that it takes, for the first one's contract.
        let forged = EgressItem { cluster: OTHER_CLUSTER, ..pay(0, 100) };
        let unknown = EgressItem { sequence: 1, contract: ContractId([0xee; 32]), ..forged.clone() };
        let note = EgressAction::Message { destination: vec![1], payload: vec![2] };
        let spoken = EgressItem { sequence: 2, action: note, ..forged.clone() };
        assert_ok!(take(finalised(7, vec![forged, unknown, spoken])));
        for sequence in 0..3 {
            let fate = Fates::<Test>::get((OTHER_CLUSTER, sequence)).unwrap();
            assert_eq!(fate.outcome, EgressOutcome::Failed(EgressFailure::NotOfCluster));
        }
        assert_eq!((has(CONTRACT.account()), has(BOB)), (500, 0));
        let mut events = System::events().into_iter();
        assert!(!events.any(|record| matches!(record.event, RuntimeEvent::Egress(Event::MessageLeft { .. }))));
    });
}

#[test]
fn what_cannot_be_paid_fails_with_its_reason_once_and_holds_up_nothing() {
    network(120).execute_with(|| {
        let items = vec![pay(0, 121), pay(1, 5), pay(2, LIMIT + 1), pay(3, 100), pay(4, 20)];
        let items = finalised(7, items);
        assert_eq!(take(items.clone()).unwrap().pays_fee, Pays::No);
        let failed = EgressOutcome::Failed;
        assert_eq!(
            outcomes(),
            [
                failed(EgressFailure::InsufficientFunds),
                // Bob has no account yet, and five are less than one must have.
                failed(EgressFailure::CannotReceive),
                failed(EgressFailure::OverLimit),
                EgressOutcome::Paid,
                EgressOutcome::Paid,
            ]
        );
        assert_eq!((has(BOB), has(CONTRACT.account())), (120, 0));
        // The account has funds again; nothing of it is tried again.
        assert_ok!(Balances::force_set_balance(RuntimeOrigin::root(), CONTRACT.account().0.into(), 500));
        assert_eq!(refused(items), Error::<Test>::AlreadyTaken.into());
        assert_eq!(has(BOB), 120);
    });
}

#[test]
fn an_account_without_funds_pays_nothing() {
    network(0).execute_with(|| {
        assert_ok!(take(finalised(7, vec![pay(0, 100)])));
        assert_eq!(outcomes(), [EgressOutcome::Failed(EgressFailure::InsufficientFunds)]);
        assert_eq!(has(BOB), 0);
    });
}

#[test]
fn a_message_stands_in_an_event_under_the_items_id() {
    network(0).execute_with(|| {
        let action = EgressAction::Message { destination: b"there".to_vec(), payload: b"hello".to_vec() };
        let items = finalised(7, vec![item(0, action)]);
        let id = items[0].item.id(&Egress::genesis());
        assert_ok!(take(items));
        let (destination, payload) = (b"there".to_vec(), b"hello".to_vec());
        let left = Event::<Test>::MessageLeft { id, contract: CONTRACT, destination, payload };
        System::assert_has_event(left.into());
        let fate = Fates::<Test>::get((CLUSTER, 0)).unwrap();
        assert_eq!((fate.id, fate.block, fate.outcome), (id, FINAL + WINDOW, EgressOutcome::Left));
    });
}

#[test]
fn nothing_leaves_before_the_window_is_over() {
    network(500).execute_with(|| {
        let items = finalised(7, vec![pay(0, 100)]);
        System::set_block_number(FINAL + WINDOW - 1);
        assert_noop!(take(items.clone()), Error::<Test>::TooEarly);
        System::set_block_number(FINAL + WINDOW);
        assert_ok!(take(items));
    });
}

#[test]
fn what_has_to_wait_is_left_for_later_and_what_came_before_it_is_taken() {
    network(500).execute_with(|| {
        let first = finalised(7, vec![pay(0, 100)]);
        let second = finalised(9, vec![pay(1, 20)]);
        EgressRoots::<Test>::mutate((CLUSTER, 9), |root| root.as_mut().unwrap().finalised_at = FINAL + 1);
        assert_eq!(take([first, second.clone()].concat()).unwrap().pays_fee, Pays::Yes);
        assert_eq!((has(BOB), Next::<Test>::get(CLUSTER)), (100, 1));
        System::set_block_number(FINAL + WINDOW + 1);
        assert_eq!(take(second).unwrap().pays_fee, Pays::No);
        assert_eq!(has(BOB), 120);
    });
}

#[test]
fn a_dispute_stops_what_leaves_until_governance_has_settled_it() {
    network(500).execute_with(|| {
        let items = finalised(7, vec![pay(0, 100)]);
        Disputed::<Test>::insert(CLUSTER, 3);
        assert_noop!(take(items.clone()), Error::<Test>::Disputed);
        assert_noop!(Egress::settle(RuntimeOrigin::signed(ALICE), CLUSTER, true), DispatchError::BadOrigin);
        assert_noop!(Egress::settle(RuntimeOrigin::root(), OTHER_CLUSTER, true), Error::<Test>::NotDisputed);
        assert_ok!(Egress::settle(RuntimeOrigin::root(), CLUSTER, false));
        assert_ok!(take(items));
        assert_eq!(has(BOB), 100);
    });
}

#[test]
fn what_a_majority_sent_that_was_wrong_fails_and_what_follows_goes_on() {
    network(500).execute_with(|| {
        let note = EgressAction::Message { destination: vec![1], payload: vec![2] };
        let wrong = finalised(7, vec![pay(0, 100), item(1, note)]);
        Disputed::<Test>::insert(CLUSTER, 3);
        let settled = System::block_number();
        EgressRoots::<Test>::mutate((CLUSTER, 7), |root| root.as_mut().unwrap().finalised_at = settled);
        assert_ok!(Egress::settle(RuntimeOrigin::root(), CLUSTER, true));
        System::assert_last_event(Event::<Test>::Settled { cluster: CLUSTER, void: true }.into());
        System::set_block_number(settled + 2 * WINDOW);
        assert_ok!(take(wrong));
        assert_eq!(outcomes(), [EgressOutcome::Failed(EgressFailure::Voided); 2]);
        assert_eq!((has(BOB), has(CONTRACT.account()), Spent::<Test>::get(CLUSTER)), (0, 500, (0, 0)));
        let mut events = System::events().into_iter();
        assert!(!events.any(|record| matches!(record.event, RuntimeEvent::Egress(Event::MessageLeft { .. }))));
        // What becomes final after it counts, also when another dispute is settled for the majority.
        let right = finalised(9, vec![pay(2, 100)]);
        EgressRoots::<Test>::mutate((CLUSTER, 9), |root| root.as_mut().unwrap().finalised_at = settled + 1);
        Disputed::<Test>::insert(CLUSTER, settled + 2);
        assert_ok!(Egress::settle(RuntimeOrigin::root(), CLUSTER, false));
        assert_ok!(take(right));
        assert_eq!(has(BOB), 100);
    });
}

#[test]
fn what_a_closed_cluster_sent_last_waits_for_governance() {
    network(500).execute_with(|| {
        let record = ClusterRecord {
            era: 0,
            era_before: 0,
            epoch: 0,
            opened_at: 0,
            opened_count: 0,
            final_count: 0,
            bound_epoch: 0,
            epoch_length: 100,
            envelope_key: Vec::new(),
            replicas: vec![WorkerId([1; 32])],
        };
        Clusters::<Test>::insert(CLUSTER, record);
        let items = finalised(7, vec![pay(0, 100)]);
        let closed = 200_000;
        System::set_block_number(closed);
        EgressRoots::<Test>::mutate((CLUSTER, 7), |root| root.as_mut().unwrap().finalised_at = closed - 1);
        assert_ok!(Contracts::close_cluster(RuntimeOrigin::root(), CLUSTER));
        System::set_block_number(closed + WINDOW);
        assert_noop!(take(items.clone()), Error::<Test>::Disputed);
        assert_ok!(Egress::settle(RuntimeOrigin::root(), CLUSTER, false));
        assert_ok!(take(items));
        assert_eq!(has(BOB), 100);
    });
}

#[test]
fn a_cluster_pays_no_more_in_a_period_than_its_limit_and_the_rest_waits() {
    network(5_000).execute_with(|| {
        let items = finalised(7, vec![pay(0, 600), pay(1, 400), pay(2, 1), pay(3, 2)]);
        assert_ok!(take(items.clone()));
        assert_eq!((has(BOB), Next::<Test>::get(CLUSTER)), (LIMIT, 2));
        assert_noop!(take(items[2..].to_vec()), Error::<Test>::LimitReached);
        System::set_block_number(PERIOD);
        assert_ok!(take(items[2..].to_vec()));
        assert_eq!(has(BOB), LIMIT + 3);

        assert_noop!(Egress::set_limit(RuntimeOrigin::signed(ALICE), CLUSTER, Some(1)), DispatchError::BadOrigin);
        assert_ok!(Egress::set_limit(RuntimeOrigin::root(), CLUSTER, Some(10)));
        let more = finalised(9, vec![pay(4, 7), pay(5, 1), pay(6, 11)]);
        assert_ok!(take(more.clone()));
        assert_eq!((has(BOB), Next::<Test>::get(CLUSTER)), (LIMIT + 10, 5), "three and seven are the ten");
        assert_ok!(Egress::set_limit(RuntimeOrigin::root(), CLUSTER, None));
        assert_ok!(take(more[1..].to_vec()));
        assert_eq!(has(BOB), LIMIT + 22);
    });
}

#[test]
fn what_is_over_a_lowered_limit_waits_and_only_what_is_over_the_usual_one_too_fails() {
    network(5_000).execute_with(|| {
        let items = finalised(7, vec![pay(0, LIMIT), pay(1, LIMIT + 1)]);
        assert_ok!(Egress::set_limit(RuntimeOrigin::root(), CLUSTER, Some(0)));
        assert_noop!(take(items.clone()), Error::<Test>::LimitReached);
        assert_ok!(Egress::set_limit(RuntimeOrigin::root(), CLUSTER, None));
        assert_ok!(take(items));
        assert_eq!(outcomes(), [EgressOutcome::Paid, EgressOutcome::Failed(EgressFailure::OverLimit)]);
        assert_eq!(has(BOB), LIMIT);
        // Over a raised one too.
        assert_ok!(Egress::set_limit(RuntimeOrigin::root(), CLUSTER, Some(LIMIT + 1)));
        System::set_block_number(PERIOD);
        assert_ok!(take(finalised(9, vec![pay(2, LIMIT + 1), pay(3, LIMIT + 2)])));
        assert_eq!(outcomes()[2..], [EgressOutcome::Paid, EgressOutcome::Failed(EgressFailure::OverLimit)]);
    });
}

#[test]
fn what_a_contract_pays_to_itself_uses_up_nothing_of_the_limit() {
    network(LIMIT).execute_with(|| {
        let to_itself = |sequence| item(sequence, EgressAction::Transfer { to: CONTRACT.account(), amount: LIMIT });
        assert_ok!(take(finalised(7, vec![to_itself(0), to_itself(1), pay(2, LIMIT)])));
        assert_eq!(outcomes(), [EgressOutcome::Paid; 3]);
        assert_eq!((has(BOB), Spent::<Test>::get(CLUSTER)), (LIMIT, (0, LIMIT)));
    });
}

#[test]
fn a_dead_period_of_failures_uses_up_nothing_of_the_limit() {
    network(100).execute_with(|| {
        let items = (0..8).map(|sequence| pay(sequence, LIMIT)).chain([pay(8, 100)]).collect();
        assert_ok!(take(finalised(7, items)));
        assert_eq!((has(BOB), Spent::<Test>::get(CLUSTER)), (100, (0, 100)));
    });
}

#[test]
fn fates_are_kept_of_the_newest_items_only() {
    network(0).execute_with(|| {
        let note = |sequence| item(sequence, EgressAction::Message { destination: vec![], payload: vec![] });
        let items = finalised(7, (0..EGRESS_FATES_KEPT + 3).map(note).collect());
        for batch in items.chunks(16) {
            assert_ok!(take(batch.to_vec()));
        }
        assert_eq!(Fates::<Test>::iter().count() as u64, EGRESS_FATES_KEPT);
        assert!(Fates::<Test>::get((CLUSTER, 2)).is_none() && Fates::<Test>::get((CLUSTER, 3)).is_some());
    });
}

#[test]
fn takes_only_what_is_signed() {
    network(500).execute_with(|| {
        let items = finalised(7, vec![pay(0, 100)]).try_into().unwrap();
        assert_noop!(Egress::take(RuntimeOrigin::none(), items), DispatchError::BadOrigin);
    });
}
