//! Contracts that call contracts, on replicas that have different codes in memory.

use crate::{
    client::Account,
    network::{Network, WORKER},
};
use phala_protocol::{query::AnswerContent, result::Outcome, ContractId};

/// Calls each contract that its input names behind eight bytes of gas, which each is given, and outputs the statuses; a query asks them instead.
fn code(salt: u8) -> Vec<u8> {
    let with = "(local.get $at) (i32.const 0) (i32.const 0) (i64.load (i32.const 256))";
    let text = format!(
        r#"(module
            (import "phala" "input_len" (func $input_len (result i32)))
            (import "phala" "input_read" (func $input_read (param i32)))
            (import "phala" "output_write" (func $output_write (param i32 i32)))
            (import "phala" "call_contract" (func $call_contract (param i32 i32 i32 i64) (result i64)))
            (import "phala" "query_contract" (func $query_contract (param i32 i32 i32 i64) (result i64)))
            (memory (export "memory") 1)
            (func $run (param $asks i32) (result i32) (local $at i32) (local $count i32)
                (drop (i32.const {salt}))
                (call $input_read (i32.const 256))
                (local.set $at (i32.const 264))
                (block $end
                    (loop $next
                        (br_if $end (i32.ge_u (local.get $at) (i32.add (i32.const 256) (call $input_len))))
                        (i32.store8 offset=32768 (local.get $count)
                            (i32.wrap_i64
                                (if (result i64) (local.get $asks)
                                    (then (call $query_contract {with}))
                                    (else (call $call_contract {with})))))
                        (local.set $at (i32.add (local.get $at) (i32.const 32)))
                        (local.set $count (i32.add (local.get $count) (i32.const 1)))
                        (br $next)))
                (call $output_write (i32.const 32768) (local.get $count))
                (i32.const 0))
            (func (export "deploy") (result i32) (call $run (i32.const 0)))
            (func (export "call") (result i32) (call $run (i32.const 0)))
            (func (export "query") (result i32) (call $run (i32.const 1))))"#
    );
    wat::parse_str(text).unwrap()
}

fn input(gas: u64, contracts: &[ContractId]) -> Vec<u8> {
    gas.to_le_bytes().into_iter().chain(contracts.iter().flat_map(|contract| contract.0)).collect()
}

#[test]
fn contracts_call_each_other_by_what_is_listed_on_every_replica_and_after_a_restart() {
    let mut network = Network::ready(78, 2);
    let mut alice = Account::new(1);
    let [first, second, third] = [1, 2, 3].map(|salt| network.deploy(&mut alice, &code(salt), vec![]));
    let nobody = ContractId([9; 32]);
    // Out of gas, no such contract, the caller itself: before and after any of their codes is asked for.
    let calls = [
        (input(1, &[second, third, nobody]), vec![3, 3, 4]),
        (input(0, &[second, third, second, nobody, first]), vec![0, 0, 0, 4, 6]),
    ];
    for restarts in [false, true] {
        if restarts {
            // It has nothing in memory any more, and the other everything.
            network.start(WORKER);
            network.settle();
        }
        let pushed = calls.clone().map(|(input, statuses)| (alice.push(&mut network, first, input), statuses));
        network.settle();
        let record = network.chain.finals.values().next_back().unwrap();
        assert_eq!((record.votes.len(), record.replicas), (2, 2), "they came to one result");
        for (nonce, statuses) in pushed {
            match alice.ask_reply(&network, nonce) {
                AnswerContent::Reply { reply, .. } => assert_eq!(reply.outcome, Outcome::Returned(statuses)),
                other => panic!("no reply: {other:?}"),
            }
        }
        for (input, statuses) in calls.clone() {
            assert_eq!(alice.ask_contract(&network, first, input), AnswerContent::Output(statuses));
        }
    }
}
