//! The sample token, compiled as a user compiles a contract.

use crate::{cargo, support::*};
use codec::{Decode, Encode};
use phala_protocol::ids::AccountId;
use phala_vm::{Entry, Execution, Outcome};
use std::sync::OnceLock;

const ALICE: AccountId = AccountId([1; 32]);
const BOB: AccountId = AccountId([2; 32]);

fn wasm() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| cargo::build(&cargo::contracts().join("token"), "token"))
}

fn send(world: &Memory, caller: AccountId, entry: Entry, method: &str, arguments: impl Encode) -> Execution {
    let mut asked = request(entry);
    asked.caller = caller;
    asked.input = (method, arguments).encode();
    world.commit(&asked)
}

fn balance(world: &Memory, account: AccountId) -> u128 {
    let execution = send(world, account, Entry::Query, "balance", ());
    u128::decode(&mut output(&execution)).unwrap()
}

fn deployed() -> Memory {
    let world = Memory::default();
    world.install_code(CONTRACT, wasm());
    let execution = send(&world, ALICE, Entry::Deploy, "create", 1_000u128);
    assert_eq!(execution.outcome, Outcome::Returned(vec![]));
    world
}

#[test]
fn transfers_between_accounts() {
    let world = deployed();
    assert_eq!((balance(&world, ALICE), balance(&world, BOB)), (1_000, 0));
    let execution = send(&world, ALICE, Entry::Call, "transfer", (BOB, 30u128));
    assert_eq!(execution.outcome, Outcome::Returned(vec![]));
    assert_eq!(execution.events[0].data, ("Transfer", ALICE, BOB, 30u128).encode());
    assert_eq!((balance(&world, ALICE), balance(&world, BOB)), (970, 30));
    println!("token: {} bytes, a transfer uses {} gas", wasm().len(), execution.gas_used);
    assert!(execution.gas_used < 1_000_000, "{}", execution.gas_used);
}

#[test]
fn failed_transfer_names_its_error_and_moves_nothing() {
    let world = deployed();
    let execution = send(&world, BOB, Entry::Call, "transfer", (ALICE, 1u128));
    // Tag 0, the contract's own error; variant 0 of it, InsufficientBalance.
    assert_eq!(execution.outcome, Outcome::Reverted(vec![0, 0]));
    assert!(execution.writes.is_empty());
    assert_eq!(balance(&world, ALICE), 1_000);
}

#[test]
fn unknown_method_and_malformed_arguments_are_refused() {
    let world = deployed();
    let refused = |entry, method: &str, arguments: &[u8]| {
        let mut asked = request(entry);
        asked.input = [method.encode(), arguments.to_vec()].concat();
        world.run(&asked).unwrap().outcome
    };
    assert_eq!(refused(Entry::Call, "mint", &[]), Outcome::Reverted(vec![1]));
    assert_eq!(refused(Entry::Call, "balance", &[]), Outcome::Reverted(vec![1]), "a query is not a call");
    assert_eq!(refused(Entry::Query, "transfer", &(BOB, 1u128).encode()), Outcome::Reverted(vec![1]));
    assert_eq!(refused(Entry::Call, "create", &1u128.encode()), Outcome::Reverted(vec![1]), "created once");
    assert_eq!(refused(Entry::Call, "transfer", &[1, 2, 3]), Outcome::Reverted(vec![2]));
    assert_eq!(refused(Entry::Call, "transfer", &(BOB, 1u128, 0u8).encode()), Outcome::Reverted(vec![2]));
    let mut asked = request(Entry::Call);
    asked.input = vec![0xff; 10];
    assert_eq!(world.run(&asked).unwrap().outcome, Outcome::Reverted(vec![2]));
}

#[test]
fn same_transfer_costs_the_same_in_two_worlds() {
    let costs = || send(&deployed(), ALICE, Entry::Call, "transfer", (BOB, 30u128)).gas_used;
    assert_eq!(costs(), costs());
}

#[test]
fn describes_itself() {
    let code = wasm();
    let text = String::from_utf8_lossy(code);
    assert!(text.contains(r#"phala.metadata{"abi":1,"name":"token""#));
    assert!(text.contains(r#"{"name":"balance","kind":"query","args":[],"returns":"u128","error":null}"#));
}
