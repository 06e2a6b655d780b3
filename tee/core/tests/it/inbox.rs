//! A relayer that drops, repeats, reorders, alters or forges achieves nothing, and is told so.

use crate::{
    chain::CLUSTER,
    client::Account,
    network::{Network, WORKER},
    poison::{code, KEEP},
};
use codec::{Decode, Encode};
use phala_core::{BoundaryError, ChainError, ClusterError, DeliveryError};
use phala_protocol::{
    inbox::{Item, ItemKind, ItemOrigin},
    relay::Delivery,
    storage, AccountId, ClusterId, ContractId,
};

/// A worker that has executed one item, and a finalised block with three more that it has not seen.
fn scene(seed: u64) -> (Network, Account, ContractId) {
    let mut network = Network::ready(seed, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP]);
    push(&mut network, &mut alice, contract, 3);
    (network, alice, contract)
}

fn push(network: &mut Network, alice: &mut Account, contract: ContractId, items: usize) {
    for _ in 0..items {
        let number = network.chain.items.len() as u8;
        alice.push(network, contract, vec![KEEP, number]);
    }
    network.chain.next_block();
}

fn executed(network: &Network) -> u64 {
    network.worker().tee().cluster_health().unwrap().executed
}

fn not_the_inbox(result: &Result<(), DeliveryError>) -> bool {
    let expected =
        matches!(result, Err(DeliveryError::Cluster(CLUSTER, ClusterError::Boundary(BoundaryError::NotTheInbox))));
    expected && result.as_ref().is_err_and(DeliveryError::is_the_relayers)
}

#[test]
fn items_that_are_not_the_inbox_are_refused_whole() {
    let (mut network, mut alice, contract) = scene(40);
    type Mutation = fn(&mut Vec<Item>);
    let mutations: &[(&str, Mutation)] = &[
        ("the first is missing", |items| drop(items.remove(0))),
        ("one in the middle is missing", |items| drop(items.remove(1))),
        ("the last is missing", |items| drop(items.pop())),
        ("two are swapped", |items| items.swap(0, 1)),
        ("one is repeated", |items| items.insert(1, items[0].clone())),
        ("the last is repeated", |items| items.push(items[2].clone())),
        ("a message is altered", |items| items[1].message[50] ^= 1),
        ("a message is replaced", |items| items[2].message = items[0].message.clone()),
        ("a fee is altered", |items| items[0].header.fee -= 1),
        ("a time is altered", |items| items[0].header.time_ms += 1),
        ("an origin is altered", |items| items[0].header.origin = ItemOrigin::Account(AccountId([0; 32]))),
        ("an origin is forged", |items| items[0].header.origin = ItemOrigin::ContractsPallet),
        ("a kind is altered", |items| items[0].header.kind = ItemKind::Chain(items[0].header.kind.gas_class())),
        ("a sequence is altered", |items| items[2].header.sequence += 1),
        ("a link is altered", |items| items[0].previous[0] ^= 1),
        ("another is appended", |items| {
            let mut item = items[2].clone();
            item.previous = item.link();
            item.header.sequence += 1;
            items.push(item);
        }),
    ];
    let honest = network.delivery(WORKER);
    for (name, mutate) in mutations {
        let mut items: Vec<Item> =
            honest.items[0].items.iter().map(|bytes| Item::decode(&mut bytes.as_slice()).unwrap()).collect();
        assert_eq!(items.len(), 3);
        mutate(&mut items);
        let mut delivery = honest.clone();
        delivery.items[0].items = items.iter().map(Encode::encode).collect();
        let result = network.bring(WORKER, delivery);
        assert!(not_the_inbox(&result), "{name}: {result:?}");
        assert_eq!(executed(&network), 1, "{name}");
    }
    assert_eq!(alice.ask_contract(&network, contract, vec![KEEP]), output(&[KEEP]));
    network.bring(WORKER, honest).unwrap();
    assert_eq!(executed(&network), 4);
    network.settle();
    assert_eq!(alice.ask_contract(&network, contract, vec![KEEP]), output(&[KEEP, 3]));
}

fn output(bytes: &[u8]) -> phala_protocol::query::AnswerContent {
    phala_protocol::query::AnswerContent::Output(bytes.to_vec())
}

#[test]
fn what_was_executed_already_is_passed_over() {
    let (mut network, mut alice, contract) = scene(41);
    let first = network.delivery(WORKER);
    network.bring(WORKER, first.clone()).unwrap();
    network.bring(WORKER, first.clone()).unwrap();
    assert_eq!(executed(&network), 4);
    push(&mut network, &mut alice, contract, 2);
    let mut second = network.delivery(WORKER);
    let mut items = first.items[0].items.clone();
    items.append(&mut second.items[0].items);
    second.items[0].items = items;
    network.bring(WORKER, second).unwrap();
    assert_eq!(executed(&network), 6);
    network.settle();
}

#[test]
fn a_later_boundary_does_not_go_before_an_earlier_one() {
    let (mut network, mut alice, contract) = scene(42);
    push(&mut network, &mut alice, contract, 2);
    let honest = network.delivery(WORKER);
    let mut without_first = honest.clone();
    without_first.items[0].items.drain(..3);
    assert!(not_the_inbox(&network.bring(WORKER, without_first)));
    assert_eq!(executed(&network), 1);
    // A wrong second boundary does not undo the first.
    let mut cut = honest.clone();
    cut.items[0].items.pop();
    assert!(not_the_inbox(&network.bring(WORKER, cut)));
    assert_eq!(executed(&network), 4);
    network.bring(WORKER, honest).unwrap();
    assert_eq!(executed(&network), 6);
    network.settle();
}

#[test]
fn items_need_a_proof_of_their_boundary() {
    let (mut network, _, _) = scene(43);
    let honest = network.delivery(WORKER);
    let bare = Delivery { proof: Vec::new(), ..honest.clone() };
    assert!(matches!(network.bring(WORKER, bare), Err(DeliveryError::NoProof)));
    let other = Delivery { proof: network.prove(&[storage::TIMESTAMP_NOW.to_vec()]), ..honest.clone() };
    let refused = network.bring(WORKER, other).unwrap_err();
    assert!(matches!(refused, DeliveryError::Cluster(_, ClusterError::BoundaryNotProved(_))), "{refused:?}");
    assert!(refused.is_the_relayers());
    let block = Item::decode_bounded(&honest.items[0].items[0]).unwrap().header.block;
    // Without the cluster's record of the same head the epoch would be an earlier head's word.
    let stale = Delivery { proof: network.prove(&[storage::boundary_key(CLUSTER, block)]), ..honest.clone() };
    let refused = network.bring(WORKER, stale).unwrap_err();
    assert!(matches!(refused, DeliveryError::Cluster(_, ClusterError::BoundaryNotProved(_))), "{refused:?}");
    assert_eq!(executed(&network), 1);

    for garbage in [vec![], vec![0xff; 40], [honest.items[0].items[0].clone(), vec![0]].concat()] {
        let mut delivery = honest.clone();
        delivery.items[0].items[0] = garbage;
        assert!(matches!(network.bring(WORKER, delivery), Err(DeliveryError::Item(_))));
    }
    let mut foreign = honest.clone();
    foreign.items[0].cluster = ClusterId(1);
    network.bring(WORKER, foreign).unwrap();
    assert_eq!(executed(&network), 1, "another cluster's items are not this one's");
    network.bring(WORKER, honest).unwrap();
    assert_eq!(executed(&network), 4);
}

#[test]
fn stale_and_forged_finality_changes_nothing() {
    let (mut network, _, _) = scene(44);
    let honest = network.delivery(WORKER);
    let head = network.worker().tee().head();

    let mut forged = honest.clone();
    *forged.finality.last_mut().unwrap() ^= 1;
    forged.finality[40] ^= 1;
    let refused = network.bring(WORKER, forged).unwrap_err();
    assert!(matches!(refused, DeliveryError::Chain(ChainError::Finality(_))) && refused.is_the_relayers());
    assert_eq!((network.worker().tee().head(), executed(&network)), (head, 1));

    // The new proof over the old head, and the old state under the new head.
    let early = Delivery { finality: Vec::new(), ..honest.clone() };
    let refused = network.bring(WORKER, early).unwrap_err();
    assert!(matches!(refused, DeliveryError::Chain(ChainError::Proof(_))), "{refused:?}");
    let old = network.chain.blocks.read_proof(head.0, &[&storage::TIMESTAMP_NOW]);
    let refused = network.bring(WORKER, Delivery { proof: old, ..honest.clone() }).unwrap_err();
    assert!(matches!(refused, DeliveryError::Chain(ChainError::Proof(_))), "{refused:?}");
    assert_eq!(executed(&network), 1);
    assert!(network.worker().tee().head().0 > head.0, "finality was true, whatever came with it");

    let repeated = network.chain.blocks.proof(0, head.0).encode();
    network.bring(WORKER, Delivery { finality: repeated, ..honest }).unwrap();
    assert_eq!(executed(&network), 4);
}

#[test]
fn withheld_code_stalls_the_cluster_and_nothing_else() {
    let mut network = Network::ready(45, 1);
    let (mut alice, mut bob) = (Account::new(1), Account::new(2));
    let contract = network.deploy(&mut alice, &code(), vec![KEEP]);
    let other = wat::parse_str(crate::poison::CONTRACT.replace("\"kept\"", "\"held\"")).unwrap();
    let hash = network.chain.upload(&other);
    network.withheld.insert(hash);
    let held = network.instantiate(&mut bob, &other, vec![KEEP, 9]);
    network.run(1);
    let nonce = alice.push(&mut network, contract, vec![KEEP, 7]);
    network.run(5);
    assert_eq!(executed(&network), 1);
    assert_eq!(network.worker().tee().status().wanted_codes, [hash]);
    assert_eq!(alice.ask_contract(&network, contract, vec![KEEP]), output(&[KEEP]), "queries go on");

    // Bytes that were not asked for are not the code.
    let mut delivery = network.delivery(WORKER);
    delivery.codes = vec![code(), b"\0asm\x01\0\0\0".to_vec()];
    network.bring(WORKER, delivery).unwrap();
    assert_eq!(executed(&network), 1);

    network.withheld.clear();
    network.settle();
    assert!(network.worker().tee().status().wanted_codes.is_empty());
    assert_eq!(alice.ask_contract(&network, held, vec![KEEP]), output(&[KEEP, 9]));
    assert!(matches!(alice.ask_reply(&network, nonce), phala_protocol::query::AnswerContent::Reply { .. }));
}

#[test]
fn a_block_that_creates_many_contracts_of_different_code_does_not_stop_the_cluster() {
    let mut network = Network::ready(46, 1);
    let mut alice = Account::new(1);
    let created: Vec<ContractId> = (0..70)
        .map(|number| {
            let code = wat::parse_str(crate::poison::CONTRACT.replace("kept", &format!("{number:04}"))).unwrap();
            network.instantiate(&mut alice, &code, vec![KEEP, number])
        })
        .collect();
    network.settle();
    assert_eq!(alice.ask_contract(&network, created[69], vec![KEEP]), output(&[KEEP, 69]));
}
