//! Prints what a unit of gas is worth in time, for each kind of work, and how long the worst code takes to compile.
//!
//! `cargo run --release -p phala-vm --example measure`, and `-- compact` behind it for an enclave's engine. The gas schedule is right when no line is much slower than
//! the first: then the gas limit of a command bounds its time, whatever it does.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a tool for developers, which measures time"
)]

use codec::Encode;
use phala_crypto::entropy::EntropyBuilder;
use phala_protocol::{
    domain,
    ids::{AccountId, ClusterId, CodeHash, ContractId},
};
use phala_vm::{
    execute, limits, BlockContext, CodeCache, CompiledContract, Engine, Entry, Fault, Layout, Listing, Request, World,
};
use std::{sync::Arc, time::Instant};

const CONTRACT: ContractId = ContractId([1; 32]);

/// Holds one other contract, and nothing in storage.
struct Empty(Option<Arc<CompiledContract>>);

impl World for Empty {
    fn read(&self, _: &ContractId, _: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(None)
    }

    fn random(&self, contract: &ContractId, draw: u64, into: &mut [u8]) -> Result<(), Fault> {
        // As a worker does: the same label, and as many bytes that are bound.
        let drawn = EntropyBuilder::new(domain::CONTRACT_RANDOM, &[7; 32]);
        drawn.bind(&(ClusterId(0), [9u8; 32], contract, draw).encode()).finish().fill(into);
        Ok(())
    }

    fn listing(&self, _: &ContractId) -> Result<Option<Listing>, Fault> {
        Ok(self.0.as_ref().map(|code| Listing { code: code.code_hash(), size: code.size() }))
    }

    fn code(&self, _: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        self.0.clone().ok_or_else(|| Fault::World("no other contract is listed".into()))
    }
}

fn guest(body: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module
            (import "phala" "block_number" (func $block_number (result i32)))
            (import "phala" "hash_blake2b_256" (func $hash (param i32 i32 i32)))
            (import "phala" "random" (func $random (param i32 i32)))
            (import "phala" "storage_get" (func $storage_get (param i32 i32) (result i32)))
            (import "phala" "call_contract" (func $call_contract (param i32 i32 i32 i64) (result i64)))
            (memory (export "memory") 2)
            (func $empty)
            (func (export "deploy") (result i32) i32.const 0)
            (func (export "query") (result i32) i32.const 0)
            (func (export "call") (result i32) (local $i i32) (local $a i32) (local $b i64) (local $f f64)
                (local.set $a (i32.const 12345)) (local.set $b (i64.const -98765)) (local.set $f (f64.const 2))
                {body} i32.const 0))"#
    ))
    .expect("the guest is valid text")
}

fn run(contract: &Arc<CompiledContract>, gas_limit: u64, world: &Arc<Empty>) -> (u64, f64) {
    let request = Request {
        contract: CONTRACT,
        caller: AccountId([2; 32]),
        value: 0,
        entry: Entry::Call,
        input: Vec::new(),
        gas_limit,
        context: BlockContext { cluster: ClusterId(0), block_number: 1, block_time_ms: 1 },
    };
    let start = Instant::now();
    let execution = execute(contract, &request, world.clone()).expect("the engine works");
    (execution.gas_used, start.elapsed().as_secs_f64() * 1e9)
}

fn main() {
    let is_compact = std::env::args().nth(1).is_some_and(|layout| layout == "compact");
    let engine = Engine::in_layout(if is_compact { Layout::Compact } else { Layout::Wide }).expect("the engine starts");
    println!("layout: {}", engine.layout().name());
    println!("{:<28} {:>12} {:>10}", "work", "gas", "ns/gas");
    for (name, body) in [
        ("add", "(local.set $a (i32.add (local.get $a) (i32.xor (local.get $a) (local.get $i))))".repeat(20)),
        ("load and store", "(i32.store (i32.and (local.get $i) (i32.const 65532)) (i32.load (i32.and (local.get $a) (i32.const 65532))))".repeat(10)),
        ("load, a page apart", "(local.set $a (i32.add (local.get $a) (i32.load (i32.and (i32.mul (local.get $i) (i32.const 4160)) (i32.const 131064)))))".to_owned()),
        ("divide", "(local.set $b (i64.div_s (local.get $b) (i64.or (i64.extend_i32_u (local.get $i)) (i64.const 1))))".to_owned()),
        ("count bits", "(local.set $a (i32.add (local.get $a) (i32.popcnt (local.get $a))))".repeat(10)),
        ("square root", "(local.set $f (f64.add (f64.sqrt (local.get $f)) (f64.const 3)))".to_owned()),
        ("multiply floats", "(local.set $f (f64.mul (local.get $f) (f64.const 1.0000001)))".repeat(10)),
        ("round", "(local.set $f (f64.add (f64.nearest (local.get $f)) (f64.const 0.3)))".to_owned()),
        ("convert", "(local.set $f (f64.convert_i64_u (local.get $b)))(local.set $b (i64.add (local.get $b) (i64.reinterpret_f64 (local.get $f))))".to_owned()),
        ("call", "(call $empty)".repeat(10)),
        ("host call", "(drop (call $block_number))".to_owned()),
        ("hash 64 bytes", "(call $hash (i32.const 0) (i32.const 64) (i32.const 100))".to_owned()),
        ("hash 64 KiB", "(call $hash (i32.const 0) (i32.const 65536) (i32.const 100))".to_owned()),
        ("draw nothing", "(call $random (i32.const 0) (i32.const 0))".to_owned()),
        ("draw 32 bytes", "(call $random (i32.const 0) (i32.const 32))".to_owned()),
        ("draw 256 bytes", "(call $random (i32.const 0) (i32.const 256))".to_owned()),
        ("read, nothing there", "(drop (call $storage_get (i32.const 0) (i32.const 32)))".to_owned()),
    ] {
        let body = format!("(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) {body} (br $l))");
        let contract = Arc::new(engine.compile(&guest(&body)).expect("the guest is a contract"));
        let (gas, time) = run(&contract, 200_000_000, &Arc::new(Empty(None)));
        println!("{name:<28} {gas:>12} {:>10.3}", time / gas as f64);
    }
    let touch = "(drop (memory.grow (i32.const 254))) (loop $l (i32.store (local.get $i) (i32.const 1))
        (local.set $i (i32.add (local.get $i) (i32.const 4096))) (br_if $l (i32.lt_u (local.get $i) (i32.const 16777216))))";
    for (name, body) in [("nothing", ""), ("touch 16 MiB", touch)] {
        let contract = Arc::new(engine.compile(&guest(body)).expect("the guest is a contract"));
        let world = Arc::new(Empty(Some(contract.clone())));
        let mut best = (0, f64::MAX);
        for _ in 0..200 {
            let (gas, time) = run(&contract, 10_000_000, &world);
            best = (gas, best.1.min(time));
        }
        println!("{name:<28} {:>12} {:>10.3}  ({:.0} us)", best.0, best.1 / best.0 as f64, best.1 / 1e3);
        let caller =
            "(loop $l (drop (call $call_contract (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0))) (br $l))";
        let caller = Arc::new(engine.compile(&guest(caller)).expect("the guest is a contract"));
        let (gas, time) = run(&caller, 200_000_000, &world);
        println!("{:<28} {gas:>12} {:>10.3}", format!("calls of {name}"), time / gas as f64);
    }
    println!("\n{:<28} {:>12} {:>10}", "compiling", "bytes", "ms");
    for (name, unit) in [
        ("straight lines", "(local.set $a (i32.add (local.get $a) (i32.mul (local.get $a) (local.get $i))))"),
        ("stores", "(i64.store (local.get $a) (i64.load (local.get $i)))"),
        ("branches", "(if (local.get $a) (then (local.set $a (i32.const 1))) (else (local.set $i (i32.const 2))))"),
        ("bare branches", "(if (local.get $a) (then))"),
        ("loops", "(loop (local.set $a (i32.add (local.get $a) (local.get $i))) (br_if 0 (local.get $a)))"),
        ("floats", "(local.set $f (f64.mul (local.get $f) (f64.nearest (f64.sqrt (local.get $f)))))"),
        ("calls", "(call $empty)"),
    ] {
        let empty = guest("").len();
        let one = guest(unit).len() - empty;
        let most = if unit.contains("(loop") { limits::MAX_LOOPS as usize } else { usize::MAX };
        let body = unit.repeat((65_000 / one).min(most));
        let function = format!("(func (local $i i32) (local $a i32) (local $f f64) {body})");
        let text = format!(
            r#"(module (memory (export "memory") 1) (func $empty) {}
            (func (export "deploy") (result i32) i32.const 0) (func (export "call") (result i32) i32.const 0)
            (func (export "query") (result i32) i32.const 0))"#,
            function.repeat(8)
        );
        let code = wat::parse_str(text).expect("the guest is valid text");
        let start = Instant::now();
        match engine.compile(&code) {
            Ok(contract) => {
                let time = start.elapsed().as_secs_f64() * 1e3;
                println!(
                    "{name:<28} {:>12} {time:>10.0}  ({} KiB in memory)",
                    code.len(),
                    contract.memory_bytes() / 1024
                );
            }
            Err(error) => println!("{name:<28} {:>12} refused: {error:?}", code.len()),
        }
    }
    thrash(&engine);
}

/// Executes more contracts in turn than a cache holds, which costs a compilation an execution whatever that is charged.
fn thrash(engine: &Engine) {
    const CONTRACTS: usize = 8;
    println!("\n{:<28} {:>12} {:>10} {:>10}", "executing contracts in turn", "bytes", "us each", "ns/gas");
    for lines in [100, 1_000, 6_000] {
        let body = "(local.set $a (i32.add (local.get $a) (i32.mul (local.get $a) (local.get $i))))".repeat(lines);
        let codes: Vec<_> = (0..CONTRACTS).map(|salt| guest(&format!("(drop (i32.const {salt})) {body}"))).collect();
        let one = engine.compile(codes.first().expect("there is one")).expect("the guest is a contract").memory_bytes();
        for (name, room) in [("that fit", CONTRACTS + 1), ("that do not", CONTRACTS - 1)] {
            let cache = CodeCache::new(engine.clone(), one * room);
            let (mut gas, rounds, start) = (0, 5, Instant::now());
            let mut warm = start;
            for round in 0..=rounds {
                if round == 1 {
                    warm = Instant::now();
                    gas = 0;
                }
                for code in &codes {
                    let contract = cache.compile(code).expect("the guest is a contract");
                    gas += run(&contract, 10_000_000, &Arc::new(Empty(None))).0;
                }
            }
            let time = warm.elapsed().as_secs_f64() * 1e9;
            let calls = (rounds * CONTRACTS) as f64;
            println!("{name:<28} {:>12} {:>10.0} {:>10.3}", codes[0].len(), time / calls / 1e3, time / gas as f64);
        }
    }
}
