//! Contracts that call contracts.

use crate::support::*;
use phala_protocol::ids::ContractId;
use phala_vm::{limits, Entry, Outcome, Trap};

const OTHER: ContractId = ContractId([0xd0; 32]);

/// A body that enters the contract whose id is at address 0 and outputs what came back: 8 bytes of status and length,
/// 16 of result.
fn entering(function: &str) -> String {
    format!(
        "(local.set $status (call ${function} (i32.const 0) (i32.const 32) (i32.const 4) (i64.const 0)))
         (i64.store (i32.const 100) (local.get $status))
         (if (i32.gt_u (i32.wrap_i64 (i64.shr_u (local.get $status) (i64.const 32))) (i32.const 0))
             (then (call $result_read (i32.const 108))))
         (call $output_write (i32.const 100) (i32.const 24))"
    )
}

/// Data that puts `contract` at address 0.
fn id(contract: ContractId) -> String {
    let bytes: String = contract.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(r#"(data (i32.const 0) "{bytes}ping")"#)
}

fn status(output: &[u8]) -> (u32, u32) {
    (u32::from_le_bytes(output[..4].try_into().unwrap()), u32::from_le_bytes(output[4..8].try_into().unwrap()))
}

/// A world where `CONTRACT` enters `OTHER` by `function`, then returns.
fn pair(function: &str, other: &str) -> Memory {
    let world = Memory::with(&guest(
        &format!(
            "(call $storage_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)) {} i32.const 0",
            entering(function)
        ),
        &format!("{} i32.const 0", entering(function)),
        &id(OTHER),
    ));
    world.install(OTHER, other);
    world
}

const WRITES: &str = "(call $storage_set (i32.const 7) (i32.const 1) (i32.const 0) (i32.const 1))
    (call $emit_event (i32.const 0) (i32.const 3))
    (i32.store8 (i32.const 200) (i32.const 1)) (call $egress (i32.const 200) (i32.const 3))";

#[test]
fn callee_sees_the_caller_and_its_result_comes_back() {
    let world = pair(
        "call_contract",
        &calls(&format!(
            "{WRITES} (call $caller (i32.const 0)) (call $input_read (i32.const 4)) (call $output_write (i32.const 0) (i32.const 8)) i32.const 0"
        )),
    );
    let execution = world.call();
    let output = output(&execution);
    assert_eq!(status(output), (0, 8));
    assert_eq!(output[8..16], *b"\xc0\xc0\xc0\xc0ping");
    assert_eq!(execution.writes.len(), 2);
    assert!(execution.writes.contains_key(&(OTHER, vec![0])));
    assert_eq!(execution.events[0].contract, OTHER);
    assert_eq!(execution.egress.iter().map(|(contract, _)| *contract).collect::<Vec<_>>(), [OTHER]);
}

#[test]
fn callee_that_fails_leaves_nothing_and_its_caller_goes_on() {
    for (end, expected) in [
        ("(call $output_write (i32.const 0) (i32.const 3)) i32.const 1", (1, 3)),
        ("unreachable", (2, 0)),
        ("(loop $l (br $l)) unreachable", (3, 0)),
    ] {
        let execution = pair("call_contract", &calls(&format!("{WRITES} {end}"))).call();
        assert_eq!(status(output(&execution)), expected, "{end}");
        assert!(execution.events.is_empty() && execution.egress.is_empty());
        assert_eq!(execution.writes.keys().collect::<Vec<_>>(), [&(CONTRACT, vec![0xd0])]);
    }
}

#[test]
fn caller_that_fails_takes_its_callees_writes_with_it() {
    let world = Memory::with(&guest(&format!("{} unreachable", entering("call_contract")), "i32.const 0", &id(OTHER)));
    world.install(OTHER, &calls(&format!("{WRITES} i32.const 0")));
    let execution = world.call();
    assert_eq!(execution.outcome, Outcome::Trapped(Trap::Unreachable));
    assert!(execution.writes.is_empty() && execution.events.is_empty() && execution.egress.is_empty());
}

#[test]
fn unknown_contract_is_told_to_the_caller() {
    let world = Memory::with(&guest(&format!("{} i32.const 0", entering("call_contract")), "i32.const 0", &id(OTHER)));
    assert_eq!(status(output(&world.call())), (4, 0));
}

#[test]
fn contract_is_not_entered_again() {
    let back = guest(&format!("{} i32.const 0", entering("call_contract")), "i32.const 0", &id(CONTRACT));
    let execution = pair("call_contract", &back).call();
    let output = output(&execution);
    assert_eq!(status(output), (0, 24));
    assert_eq!(status(&output[8..]), (6, 0));
    let own =
        Memory::with(&guest(&format!("{} i32.const 0", entering("query_contract")), "i32.const 0", &id(CONTRACT)));
    assert_eq!(status(crate::support::output(&own.call())), (6, 0));
}

#[test]
fn query_of_a_call_reads_only() {
    let execution = pair("query_contract", &guest("unreachable", &format!("{WRITES} i32.const 0"), "")).call();
    assert_eq!(status(output(&execution)), (2, 0));
    assert_eq!(execution.writes.len(), 1, "the caller's own");
}

#[test]
fn read_only_reaches_through_a_chain_of_queries() {
    let world = Memory::with(&guest("i32.const 0", &format!("{} i32.const 0", entering("query_contract")), &id(OTHER)));
    let third = ContractId([0xe0; 32]);
    world.install(OTHER, &guest("i32.const 0", &format!("{} i32.const 0", entering("query_contract")), &id(third)));
    world.install(third, &guest("i32.const 0", &format!("{WRITES} i32.const 0"), ""));
    let execution = world.run(&request(Entry::Query)).unwrap();
    let output = output(&execution);
    assert_eq!(status(output), (0, 24));
    assert_eq!(status(&output[8..]), (2, 0));
    assert!(execution.writes.is_empty());
}

#[test]
fn depth_of_calls_is_limited() {
    let world = Memory::default();
    let contract = |index: u8| if index == 0 { CONTRACT } else { ContractId([index; 32]) };
    // Each contract counts how deep it is, in its output: its callee's count and one.
    let body = "(local.set $status (call $call_contract (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)))
        (if (i64.eq (i64.const 0x400000000) (local.get $status)) (then (call $result_read (i32.const 100)))
            (else (if (i64.ne (i64.const 5) (local.get $status)) (then unreachable))))
        (i32.store (i32.const 100) (i32.add (i32.load (i32.const 100)) (i32.const 1)))
        (call $output_write (i32.const 100) (i32.const 4)) i32.const 0";
    for index in 0..20 {
        world.install(contract(index), &guest(body, "i32.const 0", &id(contract(index + 1))));
    }
    assert_eq!(output(&world.call()), (limits::MAX_CALL_DEPTH as u32).to_le_bytes());
}

#[test]
fn deepest_call_has_its_whole_stack() {
    let world = Memory::default();
    let contract = |index: u8| if index == 0 { CONTRACT } else { ContractId([index; 32]) };
    let recursion = "(func $down (param i64 i64) (result i64)
        (i64.add (local.get 0) (call $down (local.get 1) (i64.add (local.get 0) (i64.const 1)))))";
    let last = limits::MAX_CALL_DEPTH as u8 - 1;
    for index in 0..last {
        let rest = format!("{recursion} {}", id(contract(index + 1)));
        world.install(
            contract(index),
            &guest(&format!("{} i32.const 0", entering("call_contract")), "i32.const 0", &rest),
        );
    }
    world.install(
        contract(last),
        &guest("(drop (call $down (i64.const 1) (i64.const 2))) i32.const 0", "i32.const 0", recursion),
    );
    let mut asked = request(Entry::Call);
    asked.gas_limit = 1_000_000_000;
    let execution = world.run(&asked).unwrap();
    assert!(matches!(execution.outcome, Outcome::Returned(_)), "{:?}", execution.outcome);
}

#[test]
fn gas_of_a_call_can_be_limited() {
    let limited =
        "(local.set $status (call $call_contract (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 400000)))
        (i64.store (i32.const 100) (local.get $status)) (call $output_write (i32.const 100) (i32.const 8)) i32.const 0";
    let world = Memory::with(&guest(limited, "i32.const 0", &id(OTHER)));
    world.install(OTHER, &calls("(loop $l (br $l)) unreachable"));
    let execution = world.call();
    assert_eq!(status(output(&execution)), (3, 0));
    assert!(execution.gas_used < 1_000_000, "{}", execution.gas_used);
}
