//! Epochs change under a running cluster, and under one that was down.

use crate::{
    cargo,
    client::{try_ask, Account},
    network::{Network, WORKER},
    poison::{code, KEEP},
};
use codec::Encode;
use phala_core::QueryFault;
use phala_protocol::{
    query::{AnswerContent, QueryRequest},
    relay::Outgoing,
    result::Outcome,
    ContractId, Epoch,
};
use std::collections::BTreeSet;

fn executed(network: &Network, account: &mut Account, nonce: u64) -> Epoch {
    match account.ask_reply(network, nonce) {
        AnswerContent::Reply { reply, result, .. } => {
            assert_eq!(reply.outcome, Outcome::Returned(Vec::new()));
            result.epoch
        }
        other => panic!("no reply: {other:?}"),
    }
}

fn open_epoch(network: &mut Network, epoch: Epoch) {
    network.run_until(|network| network.chain.epoch() == epoch);
    network.run_until(|network| {
        let record = network.chain.cluster.as_ref().unwrap();
        !record.is_closing() && network.worker().tee().status().inboxes[0].ready
    });
}

/// Up to the block before the one in which the next epoch opens.
fn run_to_opening(network: &mut Network) {
    for _ in 0..100 {
        (0..network.nodes.len()).for_each(|index| network.deliver(index).unwrap());
        if network.chain.opening().is_some() {
            return;
        }
        network.chain.next_block();
    }
    panic!("no epoch opens");
}

fn kept(network: &Network, account: &mut Account, contract: ContractId) -> Vec<u8> {
    match account.ask_contract(network, contract, vec![KEEP]) {
        AnswerContent::Output(output) => output,
        other => panic!("no output: {other:?}"),
    }
}

#[test]
fn items_around_an_epoch_change_execute_under_their_own_epochs_keys() {
    let mut network = Network::ready(30, 1);
    let (mut alice, mut bob) = (Account::new(1), Account::new(2));
    let token = network.deploy(&mut alice, cargo::token(), ("create", 1_000u128).encode());
    let due = network.chain.cluster.as_ref().unwrap().next_epoch_due();
    network.run_until(|network| network.chain.number() >= due - 2);
    let mut nonces = Vec::new();
    // In every block around the change, until the new epoch has seen some.
    for _ in 0..12 {
        nonces.push(alice.push(&mut network, token, ("transfer", (bob.id(), 1u128)).encode()));
        network.step();
    }
    network.run_until(|network| network.chain.epoch() == 2);
    for _ in 0..3 {
        nonces.push(alice.push(&mut network, token, ("transfer", (bob.id(), 1u128)).encode()));
        network.step();
    }
    network.settle();
    let epochs: Vec<Epoch> = nonces.iter().map(|nonce| executed(&network, &mut alice, *nonce)).collect();
    assert!(epochs.is_sorted() && epochs.contains(&1) && epochs.contains(&2), "{epochs:?}");
    assert_eq!(bob.balance(&network, token), nonces.len() as u128);
    assert_eq!(network.chain.cluster.as_ref().unwrap().bound_epoch, 2);
    let results: Vec<_> = network.chain.finals.values().map(|record| record.result).collect();
    let links = results.windows(2).filter(|pair| pair[0].epoch == pair[1].epoch);
    assert!(links.clone().count() > 3);
    links.for_each(|pair| assert_eq!(pair[0].next, pair[1].prev));
    let change = results.windows(2).find(|pair| pair[0].epoch != pair[1].epoch).unwrap();
    assert_ne!(change[0].next, change[1].prev, "the same state under another key");
}

#[test]
fn epochs_without_items_are_bound_too() {
    let mut network = Network::ready(31, 1);
    open_epoch(&mut network, 2);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    open_epoch(&mut network, 3);
    assert_eq!(network.chain.cluster.as_ref().unwrap().bound_epoch, 3);
    open_epoch(&mut network, 4);
    let nonce = alice.push(&mut network, contract, vec![KEEP, 2]);
    network.settle();
    assert_eq!(executed(&network, &mut alice, nonce), 4);
    assert_eq!(kept(&network, &mut alice, contract), [KEEP, 2]);
}

#[test]
fn an_epoch_key_is_forgotten_by_queries_too() {
    let mut network = Network::ready(32, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    let before = network.worker().tee().serving().unwrap().query_key();
    open_epoch(&mut network, 2);
    network.run(3);
    let serving = network.worker().tee().serving().unwrap();
    let after = serving.query_key();
    assert_eq!((before.epoch, after.epoch), (1, 2));
    assert_ne!(before.public_key, after.public_key);
    assert_eq!(kept(&network, &mut alice, contract), [KEEP, 1]);

    let query = alice.query(network.worker(), QueryRequest::Reply { nonce: 1 });
    let plaintext = alice.sign_query(&network, query).encode();
    assert!(try_ask(&network, network.worker(), &serving, &plaintext).is_ok());
    // The same bytes with the header of the epoch before: refused by name, before anything is opened.
    let mut sealed = vec![0; 10 + 1120 + 1024 + 16];
    sealed[..10].copy_from_slice(&[1, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let refused = serving.answer(&sealed, &network.worker().seen);
    assert!(matches!(refused, Err(QueryFault::WrongKey)), "{refused:?}");
}

#[test]
fn a_worker_that_was_down_takes_over_the_store_of_the_epoch_before() {
    let mut network = Network::ready(33, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    // The worker announces, and dies before it sees the epoch open.
    run_to_opening(&mut network);
    network.nodes[WORKER].tee = None;
    network.run(5);
    assert_eq!(network.chain.epoch(), 2);
    let nonce = alice.push(&mut network, contract, vec![KEEP, 2]);
    network.run(2);
    network.start(WORKER);
    assert!(network.worker().tee().serving().is_none(), "nothing is known yet");
    network.settle();
    assert_eq!(executed(&network, &mut alice, nonce), 2);
    assert_eq!(kept(&network, &mut alice, contract), [KEEP, 2]);
    assert_eq!(network.chain.cluster.as_ref().unwrap().bound_epoch, 2);
    open_epoch(&mut network, 3);
}

/// It cannot know of which epoch its store is before it has opened it. The others have bound the open epoch meanwhile, so that of the one
/// before gatekeepers give the storage key alone.
#[test]
fn a_worker_whose_store_is_closed_asks_for_both_epochs_keys_at_once() {
    let mut network = Network::ready(35, 3);
    network.deploy(&mut Account::new(1), &code(), vec![KEEP, 1]);
    let slow = WORKER + 2;
    network.run(3);
    network.nodes[slow].tee = None;
    open_epoch(&mut network, 2);
    network.start(slow);
    let asked = |network: &Network| -> BTreeSet<Epoch> {
        let outgoing = network.nodes[slow].tee().status().outgoing.into_iter();
        let epoch = |item: Outgoing| {
            if let Outgoing::AskKeys(inquiry) = item {
                Some(inquiry.request.request.epoch)
            } else {
                None
            }
        };
        outgoing.filter_map(epoch).collect()
    };
    network.run_until(|network| !asked(network).is_empty());
    let first = asked(&network);
    assert!(first.contains(&1) && first.contains(&2), "{first:?}");
    network.run_until(|network| network.nodes[slow].tee().serving().is_some());
    assert_eq!(network.chain.epoch(), 2);
    assert!(!asked(&network).contains(&1), "its store is of the open epoch");
}

#[test]
fn a_restart_between_the_first_items_of_an_epoch_and_its_binding_loses_nothing() {
    let mut network = Network::ready(34, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    run_to_opening(&mut network);
    network.chain.open_to_results = false;
    network.run(3);
    assert_eq!(network.chain.epoch(), 2);
    let first = alice.push(&mut network, contract, vec![KEEP, 2]);
    network.run(3);
    let second = alice.push(&mut network, contract, vec![KEEP, 3]);
    network.run(3);
    let health = network.worker().tee().cluster_health().unwrap();
    assert_eq!((health.executed, health.pending), (3, 2), "executed, and not yet bound");
    network.start(WORKER);
    network.run(4);
    network.chain.open_to_results = true;
    network.settle();
    assert_eq!(executed(&network, &mut alice, first), 2);
    assert_eq!(executed(&network, &mut alice, second), 2);
    assert_eq!(kept(&network, &mut alice, contract), [KEEP, 3]);
}
