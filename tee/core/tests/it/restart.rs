//! A worker that dies and comes back, on its own disk, on an older one, or on none.

use crate::{
    client::{ask, Account},
    network::{Network, WORKER},
    poison::{code, KEEP},
};
use phala_protocol::{
    query::{AnswerContent, QueryRequest},
    relay::Outgoing,
    result::SignedResult,
    ContractId,
};
use std::path::PathBuf;

fn scene(seed: u64) -> (Network, Account, ContractId) {
    let mut network = Network::ready(seed, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    (network, alice, contract)
}

fn kept(network: &Network, account: &mut Account, contract: ContractId) -> AnswerContent {
    account.ask_contract(network, contract, vec![KEEP])
}

fn store(network: &Network) -> PathBuf {
    network.worker().machine.folder().join("cluster-0.redb")
}

/// Until everything is final here again; whenever the worker serves on the way, it serves the newest final state.
fn settle_without_stale_answers(network: &mut Network, account: &mut Account) {
    for _ in 0..60 {
        let node = network.worker();
        if node.tee().serving().is_some() {
            let query = account.query(node, QueryRequest::Reply { nonce: 1 });
            let answer = ask(network, node, &account.sign_query(network, query));
            assert_eq!(answer.state, Some(network.last_final()), "served a state that is not the last");
        }
        network.step();
    }
    network.settle();
}

#[test]
fn a_worker_that_restarts_is_the_same_and_goes_on() {
    let (mut network, mut alice, contract) = scene(70);
    let id = network.worker().id();
    network.start(WORKER);
    assert_eq!(network.worker().id(), id);
    assert!(network.worker().tee().serving().is_none());
    settle_without_stale_answers(&mut network, &mut alice);
    assert_eq!(kept(&network, &mut alice, contract), AnswerContent::Output(vec![KEEP, 1]));
    assert!(matches!(alice.ask_reply(&network, 1), AnswerContent::Reply { .. }));
    alice.push(&mut network, contract, vec![KEEP, 2]);
    network.settle();
    assert_eq!(kept(&network, &mut alice, contract), AnswerContent::Output(vec![KEEP, 2]));
}

#[test]
fn a_result_that_waits_survives_a_restart_and_is_not_served_before_it_is_final() {
    let (mut network, mut alice, contract) = scene(71);
    network.chain.open_to_results = false;
    let nonce = alice.push(&mut network, contract, vec![KEEP, 2]);
    network.run(3);
    let results = |network: &Network| -> Vec<SignedResult> {
        let outgoing = network.worker().tee().status().outgoing.into_iter();
        outgoing.filter_map(|item| if let Outgoing::Result(signed) = item { Some(signed) } else { None }).collect()
    };
    let before = results(&network);
    assert_eq!(before.len(), 1);
    assert_eq!(kept(&network, &mut alice, contract), AnswerContent::Output(vec![KEEP, 1]), "the last final state");
    network.start(WORKER);
    network.run(10);
    assert_eq!(results(&network), before);
    assert!(network.worker().tee().serving().is_none(), "it has no final state at hand");
    network.chain.open_to_results = true;
    network.settle();
    assert_eq!(kept(&network, &mut alice, contract), AnswerContent::Output(vec![KEEP, 2]));
    assert!(matches!(alice.ask_reply(&network, nonce), AnswerContent::Reply { .. }));
}

#[test]
fn an_older_disk_is_caught_up_before_it_is_served_from() {
    let (mut network, mut alice, contract) = scene(72);
    network.nodes[WORKER].tee = None;
    let copy = store(&network).with_extension("copy");
    std::fs::copy(store(&network), &copy).unwrap();
    network.start(WORKER);
    network.settle();
    for number in 2..5 {
        alice.push(&mut network, contract, vec![KEEP, number]);
        network.settle();
    }
    network.nodes[WORKER].tee = None;
    std::fs::copy(&copy, store(&network)).unwrap();
    network.start(WORKER);
    network.nodes[WORKER].batch = 1;
    settle_without_stale_answers(&mut network, &mut alice);
    assert_eq!(kept(&network, &mut alice, contract), AnswerContent::Output(vec![KEEP, 4]));
}

#[test]
fn an_empty_disk_is_no_empty_cluster() {
    let (mut network, mut alice, contract) = scene(73);
    network.nodes[WORKER].tee = None;
    std::fs::remove_file(store(&network)).unwrap();
    network.start(WORKER);
    settle_without_stale_answers(&mut network, &mut alice);
    assert_eq!(kept(&network, &mut alice, contract), AnswerContent::Output(vec![KEEP, 1]));
}

#[test]
fn a_gatekeeper_that_restarts_gives_the_same_keys() {
    let (mut network, mut alice, contract) = scene(74);
    network.start(0);
    assert!(network.nodes[0].tee().has_seat());
    network.start(WORKER);
    network.settle();
    assert_eq!(kept(&network, &mut alice, contract), AnswerContent::Output(vec![KEEP, 1]));
}
