//! What contracts send out of their cluster: committed once, the same on every replica, offered until the chain has it.

use crate::{
    client::Account,
    network::{Network, WORKER},
};
use codec::Encode;
use phala_crypto::merkle;
use phala_protocol::{
    egress::{empty_root, EgressAction, EgressItem, ProvedEgress},
    limits::{MAX_EGRESS_BYTES, MAX_EGRESS_PER_TAKE},
    query::AnswerContent,
    relay::Outgoing,
    result::{reply_leaf, Failure, Outcome, Reply},
    AccountId, ContractId,
};

/// Ends of a call: return, refuse, trap.
pub const RETURN: u8 = 0;
const REVERT: u8 = 1;
const TRAP: u8 = 2;

/// A contract whose input is how it ends, how often it sends, and the action that it sends.
const SENDER: &str = r#"(module
    (import "phala" "input_len" (func $input_len (result i32)))
    (import "phala" "input_read" (func $input_read (param i32)))
    (import "phala" "egress" (func $egress (param i32 i32)))
    (memory (export "memory") 1)
    (func $run (result i32) (local $left i32)
        (call $input_read (i32.const 0))
        (local.set $left (i32.load8_u (i32.const 1)))
        (block $done (loop $again
            (br_if $done (i32.eqz (local.get $left)))
            (call $egress (i32.const 2) (i32.sub (call $input_len) (i32.const 2)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $again)))
        (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 2)) (then unreachable))
        (i32.load8_u (i32.const 0)))
    (func (export "deploy") (result i32) (i32.const 0))
    (func (export "call") (result i32) (call $run))
    (func (export "query") (result i32) (call $run)))"#;

pub fn pay(amount: u128) -> EgressAction {
    EgressAction::Transfer { to: AccountId([2; 32]), amount }
}

pub fn input(end: u8, times: u8, action: &EgressAction) -> Vec<u8> {
    [vec![end, times], action.encode()].concat()
}

pub fn scene(seed: u64, workers: usize) -> (Network, Account, ContractId) {
    let mut network = Network::ready(seed, workers);
    let mut alice = Account::new(1);
    let sender = network.deploy(&mut alice, &wat::parse_str(SENDER).unwrap(), Vec::new());
    (network, alice, sender)
}

pub fn offered(network: &Network, index: usize) -> Vec<ProvedEgress> {
    let outgoing = network.nodes[index].tee().status().outgoing.into_iter();
    outgoing.filter_map(|item| if let Outgoing::Egress(proved) = item { Some(proved) } else { None }).collect()
}

pub fn sequences(offered: &[ProvedEgress]) -> Vec<u64> {
    offered.iter().map(|proved| proved.item.sequence).collect()
}

/// The amounts of the transfers that the chain has taken, in order.
pub fn paid(network: &Network) -> Vec<u128> {
    let amount = |item: &EgressItem| match &item.action {
        EgressAction::Transfer { amount, .. } => *amount,
        other => panic!("not a transfer: {other:?}"),
    };
    network.chain.taken.iter().map(amount).collect()
}

fn reply(network: &Network, account: &mut Account, nonce: u64) -> Reply {
    match account.ask_reply(network, nonce) {
        AnswerContent::Reply { reply, salt, result, position, path } => {
            let leaf = reply_leaf(&salt, &reply);
            let (index, count) = (position.0.into(), position.1.into());
            assert_eq!(merkle::verify(&result.replies_root, index, count, &leaf, &path), Ok(()));
            reply
        }
        other => panic!("no reply: {other:?}"),
    }
}

#[test]
fn what_a_command_sends_is_taken_once_and_its_reply_names_it() {
    let (mut network, mut alice, sender) = scene(80, 1);
    assert_eq!(network.last_final().egress_root, empty_root(), "of a boundary that sends nothing");
    let nonce = alice.push(&mut network, sender, input(RETURN, 2, &pay(5)));
    network.settle();
    network.run(4);
    let expected: Vec<_> = [0, 1]
        .map(|sequence| EgressItem { cluster: crate::chain::CLUSTER, sequence, contract: sender, action: pay(5) })
        .to_vec();
    assert_eq!(network.chain.taken, expected);
    let replied = reply(&network, &mut alice, nonce);
    assert_eq!((replied.outcome, replied.egress), (Outcome::Returned(vec![]), expected.clone()));
    let genesis = network.chain.genesis();
    let ids: Vec<_> = expected.iter().map(|item| item.id(&genesis)).collect();
    assert_eq!(network.last_final().egress_root, merkle::root(&ids));
    assert!(offered(&network, WORKER).is_empty(), "the chain has it");
    let another = alice.push(&mut network, sender, input(RETURN, 1, &pay(6)));
    network.settle();
    network.run(4);
    assert_eq!(reply(&network, &mut alice, another).egress[0].sequence, 2, "numbers go on");
    assert_eq!(paid(&network), [5, 5, 6]);
}

#[test]
fn a_call_that_fails_sends_nothing_and_takes_no_number() {
    let (mut network, mut alice, sender) = scene(81, 1);
    let long = EgressAction::Message { destination: vec![], payload: vec![7; MAX_EGRESS_BYTES - 4] };
    let failing = [
        (input(REVERT, 1, &pay(1)), Outcome::Reverted(vec![])),
        (input(TRAP, 1, &pay(2)), Outcome::Failed(Failure::Trapped)),
        (input(RETURN, 9, &pay(3)), Outcome::Failed(Failure::Trapped)),
        (input(RETURN, 2, &long), Outcome::Failed(Failure::Trapped)),
        (vec![RETURN, 1, 9, 9], Outcome::Failed(Failure::Trapped)),
    ];
    let nonces: Vec<_> = failing.iter().map(|(input, _)| alice.push(&mut network, sender, input.clone())).collect();
    let good = alice.push(&mut network, sender, input(RETURN, 8, &pay(4)));
    network.settle();
    network.run(4);
    for (nonce, (_, outcome)) in nonces.into_iter().zip(failing) {
        let replied = reply(&network, &mut alice, nonce);
        assert_eq!((replied.outcome, replied.egress), (outcome, vec![]));
    }
    let numbered = reply(&network, &mut alice, good).egress;
    assert_eq!(numbered.iter().map(|item| item.sequence).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    assert_eq!(paid(&network), [4; 8]);
}

#[test]
fn replicas_fed_different_batches_commit_and_offer_the_same() {
    let (mut network, mut alice, sender) = scene(82, 2);
    network.nodes[WORKER].batch = 1;
    network.chain.open_to_egress = false;
    for amount in 0..6u128 {
        network.nodes[WORKER + 1].paused = amount < 5;
        alice.push(&mut network, sender, input(RETURN, 1 + amount as u8 % 3, &pay(amount)));
        network.step();
    }
    network.settle();
    network.run(4);
    let (one, other) = (offered(&network, WORKER), offered(&network, WORKER + 1));
    assert_eq!(sequences(&one), (0..12).collect::<Vec<_>>());
    assert_eq!(one, other);
    assert!(network.chain.finals.values().all(|record| record.votes.len() == 2));
    network.chain.open_to_egress = true;
    network.run(4);
    assert_eq!(paid(&network), [0, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 5]);
    assert!(offered(&network, WORKER).is_empty() && offered(&network, WORKER + 1).is_empty());
}

#[test]
fn nothing_is_offered_before_its_result_is_final() {
    let (mut network, mut alice, sender) = scene(83, 1);
    network.chain.open_to_results = false;
    alice.push(&mut network, sender, input(RETURN, 1, &pay(1)));
    network.run(5);
    assert_eq!(network.worker().tee().cluster_health().unwrap().executed, 2);
    assert!(offered(&network, WORKER).is_empty());
    // A crash in between changes nothing of that.
    network.start(WORKER);
    network.run(8);
    assert!(offered(&network, WORKER).is_empty());
    network.chain.open_to_results = true;
    network.settle();
    network.run(4);
    assert_eq!(paid(&network), [1]);
}

/// Brings the worker a delivery whose answer nobody carries away: it is killed after its commit, before its relayer has read its status.
fn commit_and_die(network: &mut Network) {
    let delivery = network.delivery(WORKER);
    network.nodes[WORKER].tee.as_mut().unwrap().deliver(delivery).1.unwrap();
    network.start(WORKER);
}

/// Kills the worker `deliveries` after a command that sends: before it is executed, with the result on its way, with the items on their
/// way, or when it knows that they were taken. With one delivery more if `carried` is false, of which nothing leaves it. And `again` so
/// many deliveries later, in the middle of coming back. A kill between execution and commit leaves the disk of the delivery before, for a
/// boundary is one transaction.
fn assert_crashes_change_nothing(deliveries: usize, carried: bool, again: usize) {
    let case = format!("killed after {deliveries} deliveries, carried: {carried}, and again {again} later");
    let (mut network, mut alice, sender) = scene(84, 1);
    let nonce = alice.push(&mut network, sender, input(RETURN, 2, &pay(1)));
    network.chain.next_block();
    network.run(deliveries);
    if carried {
        network.start(WORKER);
    } else {
        commit_and_die(&mut network);
    }
    network.run(again);
    commit_and_die(&mut network);
    network.settle();
    network.run(4);
    assert_eq!(paid(&network), [1, 1], "{case}");
    assert_eq!(sequences_of(&reply(&network, &mut alice, nonce).egress), [0, 1], "{case}");
    let another = alice.push(&mut network, sender, input(RETURN, 1, &pay(2)));
    network.settle();
    network.run(4);
    assert_eq!(paid(&network), [1, 1, 2], "{case}");
    assert_eq!(sequences_of(&reply(&network, &mut alice, another).egress), [2], "{case}");
    assert!(offered(&network, WORKER).is_empty(), "{case}");
}

fn sequences_of(items: &[EgressItem]) -> Vec<u64> {
    items.iter().map(|item| item.sequence).collect()
}

#[test]
fn a_crash_at_any_time_and_an_older_disk_lose_and_double_nothing() {
    for deliveries in 0..4 {
        assert_crashes_change_nothing(deliveries, true, 2 * deliveries + 1);
        assert_crashes_change_nothing(deliveries, false, 2 * deliveries + 2);
    }
    let (mut network, mut alice, sender) = scene(84, 1);
    network.chain.open_to_egress = false;
    alice.push(&mut network, sender, input(RETURN, 2, &pay(1)));
    network.settle();
    network.run(2);
    let before = offered(&network, WORKER);
    assert_eq!(sequences(&before), [0, 1]);
    network.start(WORKER);
    network.settle();
    network.run(3);
    assert_eq!(offered(&network, WORKER), before, "held on the disk, with its proof");

    let store = network.worker().machine.folder().join("cluster-0.redb");
    network.nodes[WORKER].tee = None;
    let copy = store.with_extension("copy");
    std::fs::copy(&store, &copy).unwrap();
    network.start(WORKER);
    network.settle();
    network.chain.open_to_egress = true;
    alice.push(&mut network, sender, input(RETURN, 1, &pay(2)));
    network.settle();
    network.run(4);
    assert_eq!(paid(&network), [1, 1, 2]);
    network.nodes[WORKER].tee = None;
    std::fs::copy(&copy, &store).unwrap();
    network.start(WORKER);
    network.settle();
    alice.push(&mut network, sender, input(RETURN, 1, &pay(3)));
    network.settle();
    network.run(4);
    assert_eq!(paid(&network), [1, 1, 2, 3], "what it executed again has the numbers that it had");
    assert!(offered(&network, WORKER).is_empty());
}

#[test]
fn what_waits_long_is_offered_a_few_at_a_time_in_order() {
    let (mut network, mut alice, sender) = scene(85, 1);
    network.chain.open_to_egress = false;
    for amount in 0..4u128 {
        alice.push(&mut network, sender, input(RETURN, 7, &pay(amount)));
        network.settle();
    }
    network.run(2);
    let most = u64::from(MAX_EGRESS_PER_TAKE);
    assert_eq!(sequences(&offered(&network, WORKER)), (0..most).collect::<Vec<_>>());
    network.chain.open_to_egress = true;
    network.run(10);
    assert_eq!(network.chain.taken.len(), 28);
    let expected: Vec<u128> = (0..28).map(|sequence| sequence / 7).collect();
    assert_eq!(paid(&network), expected);
}
