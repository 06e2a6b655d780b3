//! Random bytes: whose they are, what draws none, and that a call that failed does not give them back.

use crate::support::*;
use phala_protocol::ids::ContractId;
use phala_vm::{Entry, Fault, Outcome, Request, Trap};

const OTHER: ContractId = ContractId([0xd0; 32]);

/// Draws eight bytes, outputs them, and ends by the first byte of its input.
const DRAWS: &str = "(call $random (i32.const 0) (i32.const 8)) (call $output_write (i32.const 0) (i32.const 8))
    (call $input_read (i32.const 100)) (i32.load8_u (i32.const 100))";

/// Data that puts the id of the other contract at 0, and ends that it can be told from 32 on: return, refuse, trap.
fn ends() -> String {
    format!(r#"(data (i32.const 0) "{}\00\01\02")"#, "\\d0".repeat(32))
}

/// Has the other contract draw and end like this, under a limit of gas that its trap may cost, by one of its entries.
fn other(function: &str, end: u32) -> String {
    format!("(call ${function} (i32.const 0) (i32.const {}) (i32.const 1) (i64.const 400000))", 32 + end)
}

#[test]
fn each_draw_is_of_its_item_its_contract_and_its_number() {
    let body = "(call $random (i32.const 0) (i32.const 32)) (call $random (i32.const 32) (i32.const 7))
        (call $random (i32.const 39) (i32.const 0)) (call $random (i32.const 39) (i32.const 256))
        (call $output_write (i32.const 0) (i32.const 295)) i32.const 0";
    let world = Memory::with(&calls(body));
    world.install(OTHER, &calls(body));
    let expected =
        |item, contract| [(0, 32), (1, 7), (3, 256)].map(|(draw, length)| drawn(item, contract, draw, length)).concat();
    for item in [0, 1] {
        world.set_item(item);
        for contract in [CONTRACT, OTHER] {
            let execution = world.run(&Request { contract, ..request(Entry::Call) }).unwrap();
            assert_eq!(output(&execution), expected(item, contract), "{contract} in {item}");
        }
    }
    assert_ne!(expected(0, CONTRACT), expected(1, CONTRACT));
    assert_ne!(expected(0, CONTRACT), expected(0, OTHER));
}

#[test]
fn what_reads_only_draws_nothing() {
    let world = Memory::with(&guest(DRAWS, DRAWS, ""));
    let asked = |entry| Request { input: vec![0], ..request(entry) };
    assert_eq!(world.run(&asked(Entry::Query)).unwrap().outcome, Outcome::Trapped(Trap::NoRandomness));
    assert_eq!(output(&world.run(&asked(Entry::Call)).unwrap()), drawn(0, CONTRACT, 0, 8), "a call does");

    // What a call asks of another contract, and what a query does.
    let status = |function: &str| {
        format!(
            "(i64.store (i32.const 200) {}) (call $output_write (i32.const 200) (i32.const 4)) i32.const 0",
            other(function, 0)
        )
    };
    for (function, entry, expected) in
        [("query_contract", Entry::Call, 2), ("query_contract", Entry::Query, 2), ("call_contract", Entry::Call, 0u32)]
    {
        let world = Memory::with(&guest(&status(function), &status(function), &ends()));
        world.install(OTHER, &guest(DRAWS, DRAWS, ""));
        let execution = world.run(&request(entry)).unwrap();
        assert_eq!(output(&execution), expected.to_le_bytes(), "{function} in {entry:?}");
    }
}

#[test]
fn a_call_that_failed_has_used_up_what_it_drew() {
    let keep = |end, to: u32| format!("(drop {}) (call $result_read (i32.const {to}))", other("call_contract", end));
    let body = format!(
        "(call $random (i32.const 200) (i32.const 8)) {} (drop {}) {} {} {} (call $random (i32.const 240) (i32.const 8))
         (call $output_write (i32.const 200) (i32.const 48)) i32.const 0",
        keep(1, 208),
        other("call_contract", 2),
        keep(1, 216),
        keep(0, 224),
        keep(0, 232),
    );
    let world = Memory::with(&guest(&body, "i32.const 0", &ends()));
    world.install(OTHER, &calls(DRAWS));
    let execution = world.call();
    let found: Vec<&[u8]> = output(&execution).chunks(8).collect();
    let (own, others) = (|draw| drawn(0, CONTRACT, draw, 8), |draw| drawn(0, OTHER, draw, 8));
    // It refuses, traps (which shows nothing, and is draw 1), refuses, and returns twice.
    assert_eq!(found, [own(0), others(0), others(2), others(3), others(4), own(1)]);
}

/// A contract has another draw in a contract of its own that fails, and shows what it saw by failing: what is drawn after that is not what it saw.
#[test]
fn a_draw_that_was_seen_in_a_call_that_failed_is_not_drawn_again() {
    const SPY: ContractId = ContractId([0xe0; 32]);
    // Entry points take no ids from the input: 0 holds the dice's id, 32 the spy's, 64 what tells the dice to return.
    let ids = format!(r#"(data (i32.const 0) "{}{}\00")"#, "\\d0".repeat(32), "\\e0".repeat(32));
    let enter =
        |id: u32| format!("(drop (call $call_contract (i32.const {id}) (i32.const 64) (i32.const 1) (i64.const 0)))");
    let spy = |end: u32| {
        let shows = "(call $result_read (i32.const 200)) (call $output_write (i32.const 200) (i32.const 8))";
        guest(&format!("{} {shows} i32.const {end}", enter(0)), "i32.const 0", &ids)
    };
    let attacker = format!(
        "{} (call $result_read (i32.const 208)) {} (call $result_read (i32.const 216))
         (call $output_write (i32.const 208) (i32.const 16)) i32.const 0",
        enter(32),
        enter(0),
    );
    // A spy that returns is the control: what it saw counts in any case.
    for end in [1, 0] {
        let world = Memory::with(&guest(&attacker, "i32.const 0", &ids));
        world.install(OTHER, &calls(DRAWS));
        world.install(SPY, &spy(end));
        let execution = world.call();
        let found: Vec<&[u8]> = output(&execution).chunks(8).collect();
        assert_eq!(
            found,
            [drawn(0, OTHER, 0, 8), drawn(0, OTHER, 1, 8)],
            "seen, and then drawn, with a spy that ends by {end}"
        );
    }
}

#[test]
fn a_draw_costs_its_bytes_and_more_than_a_host_call() {
    let used = |call: &str| Memory::with(&calls(&format!("(call {call}) i32.const 0"))).call().gas_used;
    let longer = used("$random (i32.const 0) (i32.const 256)");
    let shorter = used("$random (i32.const 0) (i32.const 128)");
    assert_eq!(longer - shorter, 128 * 12);
    // Beside what any function costs, a message costs a unit a byte.
    assert_eq!(shorter - used("$log (i32.const 0) (i32.const 128)"), 3_000 + 128 * 11);
    let limited = |gas_limit| {
        let asked = Request { gas_limit, ..request(Entry::Call) };
        Memory::with(&calls("(call $random (i32.const 0) (i32.const 128)) i32.const 0")).run(&asked).unwrap().outcome
    };
    assert_eq!(limited(shorter + 1), Outcome::Returned(Vec::new()));
    assert_eq!(limited(shorter - 128), Outcome::OutOfGas);
    let absurd = Memory::with(&calls("(call $random (i32.const 0) (i32.const -1)) i32.const 0")).call();
    assert_eq!(absurd.outcome, Outcome::OutOfGas, "it is charged before it is looked at");
}

#[test]
fn a_world_that_cannot_draw_is_a_fault_and_no_outcome() {
    let world = Memory::with(&calls("(call $random (i32.const 0) (i32.const 8)) i32.const 0"));
    assert_eq!(world.call().outcome, Outcome::Returned(Vec::new()));
    world.break_storage();
    assert!(matches!(world.run(&request(Entry::Call)), Err(Fault::World(_))));
}
