//! Random bytes of contracts on a small network: the same for all replicas, of the epoch's entropy, and for commands alone.

use crate::{
    chain::CLUSTER,
    client::Account,
    network::{Network, WORKER},
};
use codec::Encode;
use phala_crypto::{entropy::EntropyBuilder, kdf};
use phala_protocol::{
    domain,
    keys::KeyPurpose,
    query::{AnswerContent, QueryRefusal},
    result::{Outcome, Reply},
    ContractId, Epoch,
};
use std::collections::BTreeSet;

/// First byte of an input: return what was drawn.
const RETURN: u8 = 0;
/// First byte of an input: refuse, with what was drawn as the error.
const REFUSE: u8 = 1;

/// Outputs 32 bytes that it draws, and behind them those of the contract that its input names, if it does.
const CONTRACT: &str = r#"(module
    (import "phala" "input_len" (func $input_len (result i32)))
    (import "phala" "input_read" (func $input_read (param i32)))
    (import "phala" "result_read" (func $result_read (param i32)))
    (import "phala" "output_write" (func $output_write (param i32 i32)))
    (import "phala" "random" (func $random (param i32 i32)))
    (import "phala" "call_contract" (func $call_contract (param i32 i32 i32 i64) (result i64)))
    (memory (export "memory") 1)
    (func $run (result i32)
        (call $input_read (i32.const 256))
        (call $random (i32.const 0) (i32.const 32))
        (if (i32.gt_u (call $input_len) (i32.const 1))
            (then
                (if (i64.ne
                        (call $call_contract (i32.const 257) (i32.const 256) (i32.const 1) (i64.const 0))
                        (i64.const 0x2000000000))
                    (then unreachable))
                (call $result_read (i32.const 32))
                (call $output_write (i32.const 0) (i32.const 64)))
            (else (call $output_write (i32.const 0) (i32.const 32))))
        (i32.load8_u (i32.const 256)))
    (func (export "deploy") (result i32) (call $run))
    (func (export "call") (result i32) (call $run))
    (func (export "query") (result i32) (call $run)))"#;

fn code() -> Vec<u8> {
    wat::parse_str(CONTRACT).unwrap()
}

fn reply(network: &Network, account: &mut Account, nonce: u64) -> Reply {
    match account.ask_reply(network, nonce) {
        AnswerContent::Reply { reply, .. } => reply,
        other => panic!("no reply: {other:?}"),
    }
}

/// The epoch that an item was executed in.
fn epoch_of(network: &Network, sequence: u64) -> Epoch {
    let block = network.chain.items[sequence as usize].header.block;
    network.chain.finals[&block].result.epoch
}

/// What a contract draws first in an item, out of what the root gives.
fn expected(network: &Network, sequence: u64, contract: ContractId) -> Vec<u8> {
    let output = network.insecure_key(0, epoch_of(network, sequence), KeyPurpose::Entropy);
    let entropy = kdf::derive::<32>(&output, domain::EPOCH_ENTROPY, &[]);
    let link = network.chain.items[sequence as usize].link();
    let drawn = EntropyBuilder::new(domain::CONTRACT_RANDOM, entropy.expose());
    drawn.bind(&(CLUSTER, link, contract, 0u64).encode()).finish().secret::<32>().expose().to_vec()
}

#[test]
fn replicas_draw_the_same_for_each_epoch_item_and_contract() {
    let mut network = Network::ready(75, 2);
    let layout = |index: usize| network.nodes[index].tee().layout();
    assert_ne!(layout(WORKER), layout(WORKER + 1), "one is laid out as an enclave");
    let mut alice = Account::new(1);
    let first = network.deploy(&mut alice, &code(), vec![RETURN]);
    let constructed = alice.next_nonce;
    let second = network.deploy(&mut alice, &code(), vec![RETURN]);
    let mut seen = BTreeSet::new();
    // What a command returned or refused with, and that it is what the contracts it ran in should have drawn, each for the first time.
    let mut check = |network: &Network, alice: &mut Account, nonce: u64, refused: bool, contracts: &[ContractId]| {
        let Reply { sequence, outcome, .. } = reply(network, alice, nonce);
        let draws = contracts.iter().map(|contract| expected(network, sequence, *contract));
        let draws: Vec<Vec<u8>> = draws.collect();
        let output = draws.concat();
        assert_eq!(outcome, if refused { Outcome::Reverted(output) } else { Outcome::Returned(output) });
        assert!(draws.into_iter().all(|draw| seen.insert(draw)), "drawn before");
        epoch_of(network, sequence)
    };
    check(&network, &mut alice, constructed, false, &[first]);
    let alone = alice.push(&mut network, first, vec![RETURN]);
    let again = alice.push(&mut network, first, vec![RETURN]);
    let refused = alice.push(&mut network, first, vec![REFUSE]);
    let nested = alice.push(&mut network, first, [&[RETURN][..], &second.0].concat());
    network.nodes[WORKER].batch = 1;
    network.step();
    // What one has executed another may have yet to execute, in a process of its own.
    network.start(WORKER + 1);
    network.settle();
    let record = network.chain.finals.values().next_back().unwrap();
    assert_eq!((record.votes.len(), record.replicas), (2, 2));
    check(&network, &mut alice, alone, false, &[first]);
    check(&network, &mut alice, again, false, &[first]);
    check(&network, &mut alice, refused, true, &[first]);
    let epoch = check(&network, &mut alice, nested, false, &[first, second]);

    network.run_until(|network| network.chain.epoch() > epoch);
    let later = alice.push(&mut network, first, vec![RETURN]);
    network.settle();
    assert!(check(&network, &mut alice, later, false, &[first]) > epoch);
}

#[test]
fn a_query_has_no_randomness() {
    let mut network = Network::ready(76, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![RETURN]);
    let nonce = alice.next_nonce;
    let constructed = reply(&network, &mut alice, nonce);
    assert!(matches!(constructed.outcome, Outcome::Returned(drawn) if drawn.len() == 32), "a constructor has");
    let refused = AnswerContent::Refused(QueryRefusal::NotReadOnly);
    assert_eq!(alice.ask_contract(&network, contract, vec![RETURN]), refused);
    let nonce = alice.push(&mut network, contract, vec![RETURN]);
    network.settle();
    assert!(matches!(reply(&network, &mut alice, nonce).outcome, Outcome::Returned(drawn) if drawn.len() == 32));
}
