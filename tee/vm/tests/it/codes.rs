//! Which codes an execution runs, and what of them is compiled for it: bounded by constants, paid for first, and nothing that anybody sees depends
//! on what was in memory.

use crate::support::*;
use phala_protocol::ids::{CodeHash, ContractId};
use phala_vm::{
    execute, limits, verify_module, CodeCache, CompiledContract, Entry, Execution, Fault, Listing, Request, World,
};
use std::{collections::BTreeMap, sync::Arc};

/// Codes of most tests, and how many of them the small cache has room for.
const CODES: usize = 6;
const ROOM: usize = 4;
/// Calls that the caller makes.
const CALLS: usize = 60;
const MUCH_GAS: u64 = 1_000_000_000;

/// A world that compiles what it is asked for, and remembers as much of it as its cache has room for.
struct Cached {
    cache: CodeCache,
    contracts: BTreeMap<ContractId, (Listing, Vec<u8>)>,
}

impl World for Cached {
    fn read(&self, _: &ContractId, _: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(None)
    }

    fn random(&self, _: &ContractId, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault::World("nothing draws here".into()))
    }

    fn listing(&self, contract: &ContractId) -> Result<Option<Listing>, Fault> {
        Ok(self.contracts.get(contract).map(|(listing, _)| *listing))
    }

    fn code(&self, code: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        let (_, bytes) = self.contracts.values().find(|(listing, _)| listing.code == *code).unwrap();
        Ok(self.cache.compile(bytes).unwrap())
    }
}

impl Cached {
    /// Contracts with these codes, and a cache with room for so many like the first.
    fn with(codes: &[Vec<u8>], room: usize) -> Self {
        let size = compiled(&codes[0]).memory_bytes();
        let contracts = codes.iter().enumerate().map(|(index, code)| (callee(index), (listing(code), code.clone())));
        Self { cache: CodeCache::new(engine().clone(), size * room + size / 2), contracts: contracts.collect() }
    }

    fn run(self: &Arc<Self>, caller: &Arc<CompiledContract>, entry: Entry, gas_limit: u64) -> Execution {
        execute(caller, &Request { gas_limit, ..request(entry) }, self.clone()).unwrap()
    }
}

fn callee(index: usize) -> ContractId {
    ContractId([index as u8 + 1; 32])
}

fn listing(code: &[u8]) -> Listing {
    let module = verify_module(code).unwrap();
    Listing { code: module.code_hash(), size: module.size() }
}

fn compiled(code: &[u8]) -> Arc<CompiledContract> {
    Arc::new(engine().compile(code).unwrap())
}

/// So many different codes of one size that end like this.
fn codes_that(end: &str, count: usize) -> Vec<Vec<u8>> {
    let body = |number| format!("(drop (i32.const {number})) {end}");
    (0..count).map(|number| wat::parse_str(guest(&body(number), &body(number), "")).unwrap()).collect()
}

fn codes(count: usize) -> Vec<Vec<u8>> {
    codes_that("i32.const 0", count)
}

/// A code that calls the first `contracts` contracts in turn, `calls` times in all, with `gas` for each, and outputs the statuses.
fn caller(contracts: usize, calls: usize, gas: u64) -> Vec<u8> {
    let ids: String = (0..contracts).flat_map(|index| callee(index).0).map(|byte| format!("\\{byte:02x}")).collect();
    let body = |function: &str| {
        format!(
            "(loop $l
                (i32.store8 offset=65536 (local.get $i) (i32.wrap_i64 (call ${function}
                    (i32.mul (i32.rem_u (local.get $i) (i32.const {contracts})) (i32.const 32))
                    (i32.const 0) (i32.const 0) (i64.const {gas}))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const {calls}))))
             (call $output_write (i32.const 65536) (i32.const {calls})) i32.const 0"
        )
    };
    let data = format!(r#"(data (i32.const 0) "{ids}")"#);
    wat::parse_str(guest(&body("call_contract"), &body("query_contract"), &data)).unwrap()
}

/// The same code with a custom section behind it, so that it has so many bytes.
fn padded(mut code: Vec<u8>, bytes: usize) -> Vec<u8> {
    // The section's kind, and its length in as many bytes as a length may have.
    let length = bytes - code.len() - 6;
    code.push(0);
    code.extend((0..5).map(|byte| ((length >> (7 * byte)) as u8 & 0x7f) | if byte < 4 { 0x80 } else { 0 }));
    code.extend(b"\x03pad");
    code.resize(bytes, 0);
    code
}

#[test]
fn a_call_that_does_not_pay_for_the_start_has_nothing_compiled() {
    let codes = codes(CODES);
    let start = listing(&codes[0]).size.start_gas();
    for (gas, compilations) in [(1, 0), (start - 1, 0), (start, CODES as u64)] {
        let caller = compiled(&caller(CODES, CALLS, gas));
        for entry in [Entry::Call, Entry::Query] {
            let world = Arc::new(Cached::with(&codes, ROOM));
            let execution = world.run(&caller, entry, MUCH_GAS);
            assert_eq!(output(&execution), [3; CALLS], "out of gas");
            assert_eq!(world.cache.compilations(), compilations, "{gas} of {start} for each");
            // What was given is gone, as it is where the code runs and does not end.
            assert!(execution.gas_used > CALLS as u64 * gas);
        }
    }
}

#[test]
fn an_execution_compiles_each_code_once_whatever_the_cache_holds() {
    let caller = compiled(&caller(CODES, CALLS, 400_000));
    for (end, status) in
        [("i32.const 0", 0), ("i32.const 1", 1), ("unreachable", 2), ("(loop $l (br $l)) unreachable", 3)]
    {
        let codes = codes_that(end, CODES);
        let start = listing(&codes[0]).size.start_gas();
        for (entry, room) in [(Entry::Call, ROOM), (Entry::Call, 0), (Entry::Query, ROOM)] {
            let world = Arc::new(Cached::with(&codes, room));
            let execution = world.run(&caller, entry, MUCH_GAS);
            assert_eq!(output(&execution), [status; CALLS]);
            assert_eq!(world.cache.compilations(), CODES as u64, "{end}, room for {room}");
            assert!(world.cache.compilations() * start < execution.gas_used, "each is paid for");
            // Another execution has what is still in memory, and the rest compiled again, once.
            world.run(&caller, entry, MUCH_GAS);
            assert!(world.cache.compilations() <= 2 * CODES as u64);
        }
    }
}

#[test]
fn what_the_cache_holds_changes_neither_outcome_nor_gas() {
    let codes = codes(CODES);
    let start = listing(&codes[0]).size.start_gas();
    for gas in [1, start - 1, start, start + 1, 400_000, 0] {
        let caller = compiled(&caller(CODES, CALLS, gas));
        // With enough for all calls, and with so little that it ends among them.
        for gas_limit in [MUCH_GAS, 1_500_000] {
            let replicas = [0, ROOM, CODES].map(|room| Arc::new(Cached::with(&codes, room)));
            // With nothing in memory, and with what the first left there.
            let executions = [&replicas[0], &replicas[1], &replicas[2], &replicas[1], &replicas[2]]
                .map(|world| world.run(&caller, Entry::Call, gas_limit));
            for execution in &executions {
                assert_eq!(*execution, executions[0], "{gas} for each of {gas_limit}");
            }
            let is_enough = gas_limit == MUCH_GAS;
            assert_eq!(executions[0].gas_used < gas_limit, is_enough, "{:?}", executions[0].outcome);
        }
    }
}

#[test]
fn an_execution_runs_so_many_codes_and_no_more() {
    // Beside the caller's.
    let most = limits::MAX_CODES - 1;
    let codes = codes(most + 3);
    let twice = 2 * codes.len();
    let expected: Vec<u8> = (0..twice).map(|call| if call % codes.len() < most { 0 } else { 7 }).collect();
    for entry in [Entry::Call, Entry::Query] {
        for room in [0, codes.len()] {
            let world = Arc::new(Cached::with(&codes, room));
            let execution = world.run(&compiled(&caller(codes.len(), twice, 0)), entry, MUCH_GAS);
            assert_eq!(output(&execution), expected, "those that it ran it runs again");
            assert_eq!(world.cache.compilations(), most as u64);
            // A call that does not pay for the start runs nothing.
            let execution = world.run(&compiled(&caller(codes.len(), twice, 1)), entry, MUCH_GAS);
            assert_eq!(output(&execution), vec![3; twice]);
        }
    }
    // It is codes that count, and not contracts.
    let same: Vec<Vec<u8>> = codes.iter().map(|_| codes[0].clone()).collect();
    let world = Arc::new(Cached::with(&same, 0));
    let execution = world.run(&compiled(&caller(same.len(), CALLS, 0)), Entry::Call, MUCH_GAS);
    assert_eq!(output(&execution), [0; CALLS]);
    assert_eq!(world.cache.compilations(), 1);
    // Another contract with the caller's own code.
    let own = caller(1, 2, 0);
    let world = Arc::new(Cached::with(std::slice::from_ref(&own), 0));
    assert_eq!(output(&world.run(&compiled(&own), Entry::Call, MUCH_GAS)), [0; 2]);
    assert_eq!(world.cache.compilations(), 0);
}

#[test]
fn an_execution_runs_so_many_bytes_of_code_and_no_more() {
    let small = codes(4);
    let large = |index: usize| padded(small[index].clone(), 400_000);
    // Two large ones fit beside the caller, a third does not, and a small one still does.
    let codes = [large(0), large(1), large(2), small[3].clone()];
    let world = Arc::new(Cached::with(&codes, 0));
    let execution = world.run(&compiled(&caller(4, 8, 0)), Entry::Call, MUCH_GAS);
    assert_eq!(output(&execution), [0, 0, 7, 0, 0, 0, 7, 0]);
    assert_eq!(world.cache.compilations(), 3);
    // The largest code can call another of the largest, and nothing else then.
    let world = Arc::new(Cached::with(&[padded(small[0].clone(), limits::MAX_CODE_BYTES), small[1].clone()], 0));
    let largest = compiled(&padded(caller(2, 4, 0), limits::MAX_CODE_BYTES));
    let execution = world.run(&largest, Entry::Call, MUCH_GAS);
    assert_eq!(output(&execution), [0, 7, 0, 7]);
}

/// Of a code's listing, or of its bytes to those of another.
type Change = fn(&mut (Listing, Vec<u8>), &[u8]);

#[test]
fn code_that_is_not_as_it_is_listed_is_a_fault() {
    let codes = codes(2);
    let caller = compiled(&caller(1, 1, 0));
    let changes: [Change; 2] = [
        |(listing, _), _| listing.size.code_bytes -= 1,
        // Other code under this hash.
        |(_, bytes), other| *bytes = other.to_vec(),
    ];
    for change in changes {
        let mut world = Cached::with(&codes[..1], 1);
        change(world.contracts.get_mut(&callee(0)).unwrap(), &codes[1]);
        let ended = execute(&caller, &request(Entry::Call), Arc::new(world));
        assert!(matches!(ended, Err(Fault::World(_))), "{ended:?}");
    }
}
