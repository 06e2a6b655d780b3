//! Behaviour of the inbox on a mock runtime, and its storage keys against the ones that light clients compute.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::{
    self as pallet_inbox, pallet::Messages, Boundaries, ChainItems, ChainOrder, Clusters, Error, Heads, Queues,
};
use codec::{Decode, Encode};
use frame_support::{assert_noop, assert_ok, parameter_types, BoundedVec};
use phala_protocol::{
    envelope::{Envelope, EnvelopeHeader, EnvelopeKind, SizeClass, AEAD_TAG_BYTES, VERSION},
    gas::{GasClass, BACKLOG_LIMIT},
    inbox::{ChainMessage, Head, Item, ItemKind},
    storage, ClusterId, CodeHash, ContractId, Epoch,
};
use sp_core::offchain::testing::TestPersistentOffchainDB;
use sp_runtime::{AccountId32, BuildStorage};

phala_pallet_mock::runtime! {
    existential_deposit = 1;
    3 Inbox = pallet_inbox,
}
phala_pallet_mock::inbox!(pallet_inbox, MockClusters);

parameter_types! {
    pub static OpenEpoch: Option<Epoch> = Some(3);
    pub static IsClosed: bool = false;
}

pub struct MockClusters;
impl Clusters for MockClusters {
    fn open_epoch(cluster: ClusterId) -> Option<Epoch> {
        (cluster == ClusterId(0)).then(OpenEpoch::get).flatten()
    }
    fn is_closed(cluster: ClusterId) -> bool {
        cluster == ClusterId(0) && IsClosed::get()
    }
    fn replicas(_: ClusterId) -> u32 {
        1
    }
}

const ALICE: AccountId32 = AccountId32::new([1; 32]);
const CLUSTER: ClusterId = ClusterId(0);

fn network() -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    pallet_balances::GenesisConfig::<Test> {
        balances: vec![(ALICE, 1_000_000_000_000_000), (FeeReceiver::get(), 1)],
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    let mut network = sp_io::TestExternalities::new(storage);
    network.execute_with(|| at(1));
    network
}

/// Enters block `number`, as if an extrinsic of it were running.
fn at(number: u32) {
    System::set_block_number(number);
    System::set_extrinsic_index(0);
    pallet_timestamp::Now::<Test>::put(u64::from(number) * 1_000);
}

fn envelope(cluster: ClusterId, epoch: Epoch, fill: u8) -> Vec<u8> {
    let header = EnvelopeHeader { version: VERSION, kind: EnvelopeKind::Call, cluster, epoch, size: SizeClass::B256 };
    let opening = vec![fill; header.opening_bytes()];
    Envelope { header, opening, body: vec![fill; 256 + AEAD_TAG_BYTES] }.to_bytes()
}

fn messages(envelopes: Vec<Vec<u8>>) -> Messages {
    envelopes.into_iter().map(|bytes| BoundedVec::try_from(bytes).unwrap()).collect::<Vec<_>>().try_into().unwrap()
}

fn push_within(envelopes: Vec<Vec<u8>>, class: GasClass, max_fee: u128) -> sp_runtime::DispatchResult {
    Inbox::push(RuntimeOrigin::signed(ALICE), CLUSTER, class, messages(envelopes), max_fee)
}

fn push(fill: u8) -> sp_runtime::DispatchResult {
    push_within(vec![envelope(CLUSTER, 3, fill)], GasClass::Small, u128::MAX)
}

#[test]
fn storage_keys_are_the_ones_light_clients_read() {
    assert_eq!(Heads::<Test>::hashed_key_for(CLUSTER), storage::inbox_head_key(CLUSTER));
    assert_eq!(
        storage::inbox_head_key(CLUSTER)[..32],
        *frame_support::storage::storage_prefix(b"Inbox", b"Heads").as_slice()
    );
}

#[test]
fn head_is_the_hash_chain_of_what_the_offchain_index_serves() {
    let mut network = network();
    network.execute_with(|| {
        assert_ok!(push(1));
        at(2);
        assert_ok!(push(2));
        assert_ok!(push(3));
    });
    network.persist_offchain_overlay();
    let index: TestPersistentOffchainDB = network.offchain_db();
    network.execute_with(|| {
        let head = Heads::<Test>::get(CLUSTER).unwrap();
        assert_eq!(head.count, 3);
        let mut link = head.link;
        for sequence in (0..3u64).rev() {
            let bytes = index.get(&storage::offchain_item_key(CLUSTER, sequence, &link)).expect("item is indexed");
            let item = Item::decode_bounded(&bytes).unwrap();
            assert_eq!(item.link(), link);
            assert_eq!(item.header.sequence, sequence);
            assert_eq!(item.header.block, if sequence == 0 { 1 } else { 2 });
            assert_eq!(item.header.time_ms, u64::from(item.header.block) * 1_000);
            link = item.previous;
        }
        assert_eq!(link, Head::empty(CLUSTER).link);
    });
}

#[test]
fn refuses_what_is_not_for_the_open_epoch_of_the_cluster() {
    network().execute_with(|| {
        let attempt = |envelopes| push_within(envelopes, GasClass::Small, u128::MAX);
        assert_noop!(attempt(vec![]), Error::<Test>::Empty);
        assert_noop!(attempt(vec![vec![0; 40]]), Error::<Test>::Malformed);
        assert_noop!(attempt(vec![envelope(CLUSTER, 2, 1)]), Error::<Test>::WrongEpoch);
        assert_noop!(attempt(vec![envelope(CLUSTER, 4, 1)]), Error::<Test>::WrongEpoch);
        assert_noop!(attempt(vec![envelope(ClusterId(1), 3, 1)]), Error::<Test>::WrongCluster);
        let other = Inbox::push(
            RuntimeOrigin::signed(ALICE),
            ClusterId(1),
            GasClass::Small,
            messages(vec![envelope(ClusterId(1), 3, 1)]),
            u128::MAX,
        );
        assert_noop!(other, Error::<Test>::NotOpen);
        OpenEpoch::set(None);
        assert_noop!(push(1), Error::<Test>::NotOpen);
    });
}

#[test]
fn a_closed_cluster_takes_nothing_and_charges_nothing_and_what_waits_stays_shown() {
    network().execute_with(|| {
        assert_ok!(push(1));
        IsClosed::set(true);
        // Whatever its epoch: a sender who believes an old one is told the reason that counts.
        for epoch in [2, 3] {
            let attempt = push_within(vec![envelope(CLUSTER, epoch, 1)], GasClass::Small, u128::MAX);
            assert_noop!(attempt, Error::<Test>::Closed);
        }
        OpenEpoch::set(None);
        assert_noop!(push(1), Error::<Test>::Closed);
        let code = CodeHash([2; 32]);
        let init = envelope(CLUSTER, 3, 9);
        let deployer = phala_protocol::AccountId([1; 32]);
        let message = ChainMessage::Instantiate { contract: ContractId([1; 32]), deployer, code, init: init.clone() };
        let made = Inbox::push_chain_message(&ALICE, CLUSTER, GasClass::Small, &init, &message, u128::MAX);
        assert_noop!(made, Error::<Test>::Closed);
        assert_eq!(Heads::<Test>::get(CLUSTER).unwrap().count, 1);
        assert_eq!(Inbox::oldest_boundary(CLUSTER).map(|boundary| boundary.count), Some(1));
    });
}

#[test]
fn refuses_scheduled_calls() {
    network().execute_with(|| {
        sp_io::storage::clear(sp_core::storage::well_known_keys::EXTRINSIC_INDEX);
        assert_noop!(push(1), Error::<Test>::NotAnExtrinsic);
    });
}

#[test]
fn price_rises_and_backlog_is_bounded_until_acknowledged() {
    network().execute_with(|| {
        let mut last = 0;
        for number in 0..BACKLOG_LIMIT / GasClass::Large.gas() {
            let before = Balances::free_balance(&ALICE);
            at(1 + number as u32);
            assert_ok!(push_within(vec![envelope(CLUSTER, 3, 1)], GasClass::Large, u128::MAX));
            let paid = before - Balances::free_balance(&ALICE);
            assert!(paid > last, "the price rises with the backlog");
            last = paid;
        }
        assert_noop!(push(1), Error::<Test>::Busy);
        assert!(!Inbox::acknowledge(CLUSTER, 2), "only the oldest boundary can be acknowledged");
        assert!(Inbox::acknowledge(CLUSTER, 1));
        assert!(!Inbox::acknowledge(CLUSTER, 1), "and only once");
        assert_ok!(push(1));
    });
}

#[test]
fn boundaries_are_the_blocks_that_included_items() {
    network().execute_with(|| {
        assert_ok!(push(1));
        assert_ok!(push(2));
        let first = Heads::<Test>::get(CLUSTER).unwrap();
        at(5);
        assert_ok!(push(3));
        let second = Heads::<Test>::get(CLUSTER).unwrap();
        assert_eq!(Inbox::boundary(CLUSTER, 1).map(|b| (b.count, b.link)), Some((2, first.link)));
        assert_eq!(Inbox::boundary(CLUSTER, 5).map(|b| (b.count, b.link)), Some((3, second.link)));
        assert_eq!(Inbox::boundary(CLUSTER, 3), None);
        assert_eq!(Inbox::oldest_boundary(CLUSTER).map(|b| b.block), Some(1));
        assert!(Inbox::acknowledge(CLUSTER, 1));
        assert_eq!(Inbox::oldest_boundary(CLUSTER).map(|b| b.block), Some(5));
        assert!(Inbox::acknowledge(CLUSTER, 5));
        assert_eq!((Queues::<Test>::get(CLUSTER).waiting, Queues::<Test>::get(CLUSTER).backlog), (None, 0));
        assert_eq!(Boundaries::<Test>::iter().count(), 0);
    });
}

#[test]
fn chain_messages_stay_in_state_until_a_result_covers_them() {
    network().execute_with(|| {
        let message = ChainMessage::Instantiate {
            contract: ContractId([4; 32]),
            deployer: phala_protocol::AccountId([1; 32]),
            code: CodeHash([5; 32]),
            init: envelope(CLUSTER, 3, 7),
        };
        let sequence =
            Inbox::push_chain_message(&ALICE, CLUSTER, GasClass::Medium, &envelope(CLUSTER, 3, 7), &message, u128::MAX)
                .unwrap();
        let item = Item::decode(&mut &ChainItems::<Test>::get(CLUSTER, sequence).unwrap()[..]).unwrap();
        assert_eq!(item.header.kind, ItemKind::Chain(GasClass::Medium));
        assert_eq!(item.message, message.encode());
        assert_eq!(item.link(), Heads::<Test>::get(CLUSTER).unwrap().link);
        at(2);
        assert_ok!(push(1));
        assert!(Inbox::acknowledge(CLUSTER, 1));
        assert!(ChainItems::<Test>::get(CLUSTER, sequence).is_none());
    });
}

#[test]
fn the_work_of_a_result_does_not_grow_with_the_chains_messages() {
    network().execute_with(|| {
        let message = ChainMessage::Instantiate {
            contract: ContractId([4; 32]),
            deployer: phala_protocol::AccountId([1; 32]),
            code: CodeHash([5; 32]),
            init: envelope(CLUSTER, 3, 7),
        };
        let send = || {
            let init = envelope(CLUSTER, 3, 7);
            Inbox::push_chain_message(&ALICE, CLUSTER, GasClass::Small, &init, &message, u128::MAX).unwrap()
        };
        let kept = || {
            let mut kept: Vec<u64> = ChainItems::<Test>::iter_key_prefix(CLUSTER).collect();
            kept.sort_unstable();
            kept
        };
        (0..9).for_each(|sequence| assert_eq!(send(), sequence));
        at(2);
        assert_eq!(send(), 9);
        assert!(Inbox::acknowledge(CLUSTER, 1));
        assert_eq!(kept(), (2..10).collect::<Vec<_>>(), "a result forgets two");
        at(3);
        send();
        assert_eq!(kept(), (4..11).collect::<Vec<_>>(), "and each new message two more");
        send();
        send();
        send();
        assert_eq!(kept(), (9..14).collect::<Vec<_>>(), "but none that no result covers");
        assert!(Inbox::acknowledge(CLUSTER, 2));
        assert!(Inbox::acknowledge(CLUSTER, 3));
        assert_eq!(kept(), [12, 13]);
        assert_eq!(ChainOrder::<Test>::iter().count(), 2);
    });
}

#[test]
fn a_queue_that_stays_full_becomes_exponentially_dearer_and_cheap_again_when_it_is_empty() {
    network().execute_with(|| {
        let fee = || {
            let before = Balances::free_balance(&ALICE);
            assert_ok!(push(1));
            before - Balances::free_balance(&ALICE) - 1_000
        };
        let base = fee();
        assert_eq!(base, GasClass::Small.base_price());
        let large = || push_within(vec![envelope(CLUSTER, 3, 1)], GasClass::Large, u128::MAX);
        for _ in 0..19 {
            assert_ok!(large());
        }
        assert_eq!(Inbox::queue(CLUSTER).surge.exponent, 0, "within the block that fills it the price is what it was");
        at(41);
        let backlog = Inbox::queue(CLUSTER).backlog;
        let exact = GasClass::Small.price_at(backlog) as f64 * (40.0 * 0.901 / 8.0_f64).exp();
        let surged = fee() as f64;
        assert!((surged / exact - 1.0).abs() < 0.001, "{surged} is not {exact}");
        at(42);
        assert!(Inbox::acknowledge(CLUSTER, 1));
        let exponent = Inbox::queue(CLUSTER).surge.exponent;
        assert!(Inbox::acknowledge(CLUSTER, 41));
        assert_eq!(Inbox::queue(CLUSTER).surge.exponent, exponent, "acknowledging within a block changes no price");
        at(42 + exponent / 125_000);
        assert!(fee() > base);
        at(43 + exponent / 125_000 + 1);
        assert!(Inbox::acknowledge(CLUSTER, 42 + exponent / 125_000));
        assert_eq!(fee(), base);
    });
}

#[test]
fn a_batch_is_what_its_envelopes_are_one_by_one_but_for_the_transfers() {
    let many = 9;
    let run = |batches: &[core::ops::Range<u8>]| {
        network().execute_with(|| {
            // A queue that has become dear, with a block that waits for a result, and an item of this block.
            for _ in 0..19 {
                assert_ok!(push_within(vec![envelope(CLUSTER, 3, 0)], GasClass::Large, u128::MAX));
            }
            at(41);
            assert_ok!(push(0));
            System::reset_events();
            for batch in batches {
                let envelopes = batch.clone().map(|fill| envelope(CLUSTER, 3, fill)).collect();
                assert_ok!(push_within(envelopes, GasClass::Small, u128::MAX));
            }
            let pushed = |record: frame_system::EventRecord<RuntimeEvent, _>| match record.event {
                RuntimeEvent::Inbox(event) => Some(event),
                _ => None,
            };
            let events: Vec<_> = System::events().into_iter().filter_map(pushed).collect();
            let state =
                (Heads::<Test>::get(CLUSTER), Queues::<Test>::get(CLUSTER), Boundaries::<Test>::get((CLUSTER, 41)));
            (events, state, Boundaries::<Test>::get((CLUSTER, 1)), Balances::free_balance(&ALICE))
        })
    };
    let one_by_one: Vec<_> = (0..many).map(|place| place..place + 1).collect();
    let (events, ..) = &run(&one_by_one);
    assert_eq!(events.len(), usize::from(many));
    assert_eq!(run(std::slice::from_ref(&(0..many))), run(&one_by_one));
    assert_eq!(run(&[0..4, 4..many]), run(&one_by_one));
}

#[test]
fn a_payer_without_the_funds_for_all_of_a_push_has_pushed_nothing() {
    network().execute_with(|| {
        let two = || vec![envelope(CLUSTER, 3, 1), envelope(CLUSTER, 3, 2)];
        // Enough for the first of the two and no more.
        let left = GasClass::Small.base_price() * 3 / 2;
        assert_ok!(Balances::force_set_balance(RuntimeOrigin::root(), ALICE, left));
        System::reset_events();
        let attempt = || frame_support::storage::with_storage_layer(|| push_within(two(), GasClass::Small, u128::MAX));
        assert!(matches!(
            attempt(),
            Err(sp_runtime::DispatchError::Token(_) | sp_runtime::DispatchError::Arithmetic(_))
        ));
        assert_eq!((Heads::<Test>::get(CLUSTER), Balances::free_balance(&ALICE)), (None, left));
        assert!(System::events().is_empty());
        assert_ok!(push(1));
    });
}

#[test]
fn a_push_that_fails_leaves_nothing_behind() {
    network().execute_with(|| {
        let before = (Balances::free_balance(&ALICE), Heads::<Test>::get(CLUSTER));
        let call = vec![envelope(CLUSTER, 3, 1), envelope(CLUSTER, 2, 1)];
        let attempt = frame_support::storage::with_storage_layer(|| push_within(call, GasClass::Small, u128::MAX));
        assert_eq!(attempt, Err(Error::<Test>::WrongEpoch.into()));
        assert_eq!((Balances::free_balance(&ALICE), Heads::<Test>::get(CLUSTER)), before);
    });
}

#[test]
fn a_payer_pays_no_more_than_he_allows_for_all_envelopes_together() {
    network().execute_with(|| {
        let two = || vec![envelope(CLUSTER, 3, 1), envelope(CLUSTER, 3, 2)];
        let before = Balances::free_balance(&ALICE);
        assert_ok!(push_within(two(), GasClass::Small, u128::MAX));
        let paid = before - Balances::free_balance(&ALICE);
        assert!(Inbox::acknowledge(CLUSTER, 1));
        at(2);
        let before = (Balances::free_balance(&ALICE), Heads::<Test>::get(CLUSTER));
        let attempt =
            |max_fee| frame_support::storage::with_storage_layer(|| push_within(two(), GasClass::Small, max_fee));
        for max_fee in [0, paid / 2, paid - 1] {
            assert_eq!(attempt(max_fee), Err(Error::<Test>::FeeOverMax.into()));
        }
        assert_eq!((Balances::free_balance(&ALICE), Heads::<Test>::get(CLUSTER)), before);
        assert_ok!(attempt(paid));
        assert_eq!(before.0 - Balances::free_balance(&ALICE), paid);
    });
}
