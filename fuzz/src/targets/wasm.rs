//! Contracts: any bytes given to the engine, and well-formed programs that do anything a contract can.
//!
//! Holds: code is refused by the check of its shape, with a reason, or compiles, in both layouts of the engine; an execution ends within its
//! gas, the same way twice and in both layouts, with the same gas, writes and events; what did not return left nothing. A panic of compiler or
//! engine is caught by `phala-vm` and is a finding here.

use crate::{engine::Choices, Target, Verdict};
use phala_client::Metadata;
use phala_protocol::{AccountId, ClusterId, CodeHash, ContractId};
use phala_vm::{
    execute, verify_module, BlockContext, CodeCache, CompileError, CompiledContract, Engine, Entry, Execution, Fault,
    Layout, Listing, Outcome, Request, World,
};
use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
};

const CONTRACT: ContractId = ContractId([0xc0; 32]);
/// The same code under another name, for calls between contracts.
const OTHER: ContractId = ContractId([0; 32]);
const GAS: u64 = 2_000_000;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().unwrap());
/// The engine of an enclave, which has to do the same.
static COMPACT: LazyLock<Engine> = LazyLock::new(|| Engine::in_layout(Layout::Compact).unwrap());

/// State with an entry under every key of an even length, and one contract beside the first.
struct Small(Arc<CompiledContract>);

impl World for Small {
    fn read(&self, _: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(key.len().is_multiple_of(2).then(|| vec![0x5a; key.len()]))
    }

    fn random(&self, contract: &ContractId, draw: u64, into: &mut [u8]) -> Result<(), Fault> {
        let first = contract.0[0] ^ draw.to_le_bytes()[0];
        into.iter_mut().zip(0u8..=u8::MAX).for_each(|(byte, index)| *byte = first ^ index);
        Ok(())
    }

    fn listing(&self, contract: &ContractId) -> Result<Option<Listing>, Fault> {
        Ok((*contract == OTHER).then(|| Listing { code: self.0.code_hash(), size: self.0.size() }))
    }

    fn code(&self, _: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        Err(Fault::World("the other contract's code is the first one's".into()))
    }
}

fn run(code: &Arc<CompiledContract>, entry: Entry, input: &[u8]) -> Execution {
    let context = BlockContext { cluster: ClusterId(7), block_number: 42, block_time_ms: 1_700_000_000_123 };
    let request = Request {
        contract: CONTRACT,
        caller: AccountId([0xaa; 32]),
        value: 5,
        entry,
        input: input.to_vec(),
        gas_limit: GAS,
        context,
    };
    let once = || execute(code, &request, Arc::new(Small(code.clone()))).expect("this machine did not fail");
    let execution = once();
    assert_eq!(execution, once(), "two executions of one request");
    assert!(execution.gas_used <= GAS);
    match &execution.outcome {
        Outcome::Returned(_) => {}
        Outcome::Reverted(_) => {
            assert!(execution.writes.is_empty() && execution.events.is_empty() && execution.egress.is_empty())
        }
        _ => {
            assert!(execution.writes.is_empty() && execution.events.is_empty() && execution.egress.is_empty());
            assert_eq!(execution.gas_used, GAS);
        }
    }
    assert!(entry != Entry::Query || (execution.writes.is_empty() && execution.egress.is_empty()), "a query wrote");
    execution
}

/// One execution, which ends the same in both layouts.
fn run_in_both(wide: &Arc<CompiledContract>, compact: &Arc<CompiledContract>, entry: Entry, input: &[u8]) -> Execution {
    let execution = run(wide, entry, input);
    assert_eq!(execution, run(compact, entry, input), "in an enclave's engine");
    execution
}

/// Which outcome, without its bytes.
fn kind(execution: &Execution) -> String {
    match &execution.outcome {
        Outcome::Returned(_) => format!("returned {} {}", execution.writes.is_empty(), execution.events.is_empty()),
        Outcome::Reverted(_) => "reverted".to_owned(),
        Outcome::Trapped(trap) => trap.to_string(),
        Outcome::OutOfGas => "out of gas".to_owned(),
    }
}

/// For both layouts: code is a contract in both or in none.
fn compiled(code: &[u8]) -> Result<[Arc<CompiledContract>; 2], CompileError> {
    let wide = ENGINE.compile(code).map(Arc::new)?;
    let compact = COMPACT.compile(code).map(Arc::new).expect("what compiles in one layout compiles in the other");
    Ok([wide, compact])
}

/// Any bytes.
pub static MODULES: Target = Target {
    name: "modules",
    covers: &[
        "tee/vm/src/module.rs::verify_module",
        "tee/vm/src/engine.rs::compile",
        "tee/vm/src/cache.rs::compile",
        "host/client/src/abi/metadata.rs::from_wasm",
    ],
    samples: LazyLock::new(|| {
        let bodies = ["i32.const 0", "(call $host_output (i32.const 0) (i32.const 9)) i32.const 1"];
        let mut samples: Vec<Vec<u8>> = bodies.iter().map(|body| wat::parse_str(module(body, "")).unwrap()).collect();
        samples.push(wat::parse_str(program(&(0..=255).collect::<Vec<u8>>())).unwrap());
        samples
    }),
    check: |bytes| {
        let _ = Metadata::from_wasm(bytes);
        let verified = verify_module(bytes).map(|module| module.code_hash());
        match compiled(bytes) {
            Ok([wide, compact]) => {
                assert_eq!(verified.expect("what compiles was verified"), wide.code_hash());
                assert!(CodeCache::new(ENGINE.clone(), 1 << 20).compile(bytes).is_ok(), "the cache disagrees");
                let outcomes = [Entry::Deploy, Entry::Call, Entry::Query]
                    .map(|entry| kind(&run_in_both(&wide, &compact, entry, b"input")));
                Verdict::accepted(outcomes.join(" "))
            }
            Err(CompileError::Module(refused)) => {
                assert!(verified.is_err());
                Verdict::refused(refused)
            }
            // So little code is far below the compiler's own limits: rewriting it has broken it, or this machine failed.
            Err(error) => panic!("verified code does not compile: {error:?}"),
        }
    },
    iterations: 150,
};

/// Well-formed programs: the input chooses every instruction.
pub static PROGRAMS: Target = Target {
    name: "programs",
    covers: &["tee/vm/src/execute.rs::execute"],
    samples: LazyLock::new(|| {
        let mut samples: Vec<Vec<u8>> =
            (1..6).map(|step| (0..200).map(|byte: u8| byte.wrapping_mul(step * 37)).collect()).collect();
        samples.push(vec![]);
        samples
    }),
    check: |bytes| {
        // Longer ones say nothing new and take long to compile.
        let text = program(&bytes[..bytes.len().min(1024)]);
        let wasm = wat::parse_str(&text).expect("the generator writes well-formed text");
        let [wide, compact] =
            compiled(&wasm).unwrap_or_else(|error| panic!("a program of the generator: {error}\n{text}"));
        let input = &bytes[..bytes.len().min(64)];
        let outcomes = [Entry::Call, Entry::Query].map(|entry| kind(&run_in_both(&wide, &compact, entry, input)));
        Verdict::accepted(outcomes.join(" "))
    },
    iterations: 40,
};

/// A contract whose `call` and `query` have this body.
fn module(body: &str, helper: &str) -> String {
    format!(
        r#"(module
            (import "phala" "input_len" (func $host_input_len (result i32)))
            (import "phala" "input_read" (func $host_input_read (param i32)))
            (import "phala" "result_read" (func $host_result_read (param i32)))
            (import "phala" "output_write" (func $host_output (param i32 i32)))
            (import "phala" "storage_get" (func $host_get (param i32 i32) (result i32)))
            (import "phala" "storage_set" (func $host_set (param i32 i32 i32 i32)))
            (import "phala" "storage_remove" (func $host_remove (param i32 i32)))
            (import "phala" "caller" (func $host_caller (param i32)))
            (import "phala" "contract_id" (func $host_contract (param i32)))
            (import "phala" "value" (func $host_value (param i32)))
            (import "phala" "cluster" (func $host_cluster (result i32)))
            (import "phala" "block_number" (func $host_block (result i32)))
            (import "phala" "block_time_ms" (func $host_time (result i64)))
            (import "phala" "emit_event" (func $host_event (param i32 i32)))
            (import "phala" "egress" (func $host_egress (param i32 i32)))
            (import "phala" "random" (func $host_random (param i32 i32)))
            (import "phala" "log" (func $host_log (param i32 i32)))
            (import "phala" "hash_blake2b_256" (func $host_hash (param i32 i32 i32)))
            (import "phala" "call_contract" (func $host_call (param i32 i32 i32 i64) (result i64)))
            (import "phala" "query_contract" (func $host_query (param i32 i32 i32 i64) (result i64)))
            (memory (export "memory") 1)
            (table 4 funcref) (elem (i32.const 0) $helper $deploy)
            (data (i32.const 64) "some bytes of a data segment, enough for a key and a value")
            (global $counter (mut i32) (i32.const 0))
            (func $helper (param $i i32) (result i32) (local $l i64) (local $f f32) (local $d f64) {helper} (local.get $i))
            (func $deploy (export "deploy") (result i32) i32.const 0)
            (func (export "call") (result i32) (local $i i32) (local $l i64) (local $f f32) (local $d f64) {body})
            (func (export "query") (result i32) (local $i i32) (local $l i64) (local $f f32) (local $d f64) {body}))"#
    )
}

fn program(bytes: &[u8]) -> String {
    let mut choices = Choices::new(bytes);
    let (mut body, mut helper) = (String::new(), String::new());
    for _ in 0..choices.below(10) {
        statement(&mut choices, 3, &mut body);
    }
    for _ in 0..choices.below(4) {
        statement(&mut choices, 2, &mut helper);
    }
    let status = if choices.byte() < 200 { "i32.const 0".to_owned() } else { expression(&mut choices, 'i', 2) };
    module(&format!("{body} {status}"), &helper)
}

/// Appends one statement. Nothing is left on the stack.
fn statement(choices: &mut Choices<'_>, depth: usize, out: &mut String) {
    let mut value = |kind: char, depth: usize| expression(choices, kind, depth);
    let (a, b, c) = (value('i', depth), value('i', depth.min(1)), value('i', 0));
    let wide = value('l', depth.min(1));
    let text = match choices.below(22) {
        0 => format!("(local.set $i {a})"),
        1 => format!("(local.set $l {wide})"),
        2 => format!("(local.set $f {})", expression(choices, 'f', depth)),
        3 => format!("(local.set $d {})", expression(choices, 'd', depth)),
        4 => format!("(i32.store offset=4 {a} {b})"),
        5 => format!("(i64.store8 {a} {wide})"),
        6 => format!("(f64.store {a} {})", expression(choices, 'd', depth)),
        7 => format!("(global.set $counter {a})"),
        8 => format!("(call $host_input_read {a})"),
        9 => format!("(call $host_output {a} {b})"),
        10 => format!("(drop (call $host_get {a} {b}))"),
        11 => format!("(call $host_set {a} {b} {c} (i32.const 8))"),
        12 => format!("(call $host_remove {a} {b})"),
        13 if choices.byte() < 128 => format!("(call $host_event {a} {b})"),
        13 => format!("(call $host_egress {a} {b})"),
        14 if choices.byte() < 128 => format!("(call $host_hash {a} {b} {c})"),
        14 => format!("(call $host_random {a} {b})"),
        15 => format!("(local.set $l (call $host_call {a} {b} {c} {wide}))"),
        16 => format!("(local.set $l (call $host_query {a} {b} {c} {wide}))"),
        17 => format!("(call $host_result_read {a})"),
        18 => format!("(drop (call $helper {a}))"),
        19 => format!("(drop (memory.grow {a}))"),
        20 if depth > 0 => {
            let mut inner = String::new();
            statement(choices, depth - 1, &mut inner);
            format!("(if {a} (then {inner}))")
        }
        _ if depth > 0 => {
            let mut inner = String::new();
            statement(choices, depth - 1, &mut inner);
            format!("(loop $again (local.set $i (i32.add (local.get $i) (i32.const 1))) {inner} (br_if $again (i32.lt_u (local.get $i) {b})))")
        }
        _ => String::new(),
    };
    let _ = write!(out, "{text} ");
}

/// An expression of a type: `i` i32, `l` i64, `f` f32, `d` f64.
fn expression(choices: &mut Choices<'_>, kind: char, depth: usize) -> String {
    let name = match kind {
        'i' => "i32",
        'l' => "i64",
        'f' => "f32",
        _ => "f64",
    };
    if depth == 0 || choices.byte() < 60 {
        return match (choices.below(4), kind) {
            (0, _) => format!("({name}.const {})", choices.byte()),
            (1, 'i') => format!("(i32.const {})", choices.number() as i32),
            (1, 'l') => format!("(i64.const {})", i64::from(choices.number() as i32) << 20),
            (1, _) => format!("({name}.const {})", ["nan", "inf", "-0", "1e38", "-1.5"][choices.below(5)]),
            (2, 'i') => "(global.get $counter)".to_owned(),
            _ => format!("(local.get ${kind})"),
        };
    }
    let mut of = |kind: char| expression(choices, kind, depth - 1);
    if matches!(kind, 'i' | 'l') {
        let (left, right) = (of(kind), of(kind));
        let (single, double) = (of('f'), of('d'));
        let other = of(if kind == 'i' { 'l' } else { 'i' });
        const BINARY: [&str; 15] = [
            "add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u", "and", "or", "xor", "shl", "shr_s", "shr_u",
            "rotl", "rotr",
        ];
        match choices.below(24) {
            operator @ 0..15 => format!("({name}.{} {left} {right})", BINARY[operator]),
            15 => format!("({name}.clz {left})"),
            16 => format!("({name}.popcnt {left})"),
            17 => format!("({name}.trunc_f32_s {single})"),
            18 => format!("({name}.trunc_f64_u {double})"),
            19 if kind == 'i' => format!("(i32.reinterpret_f32 {single})"),
            19 => format!("(i64.reinterpret_f64 {double})"),
            20 if kind == 'i' => format!("(i32.wrap_i64 {other})"),
            20 => format!("(i64.extend_i32_s {other})"),
            21 if kind == 'i' => format!("(i32.load8_u offset=1 {left})"),
            21 => format!("(i64.load {other})"),
            22 if kind == 'i' => format!("(call_indirect (param i32) (result i32) {left} {right})"),
            22 => "(call $host_time)".to_owned(),
            _ => format!("(select {left} {right} {})", if kind == 'i' { left.clone() } else { other }),
        }
    } else {
        let (left, right, narrow, wide) = (of(kind), of(kind), of('i'), of('l'));
        const BINARY: [&str; 7] = ["add", "sub", "mul", "div", "min", "max", "copysign"];
        const UNARY: [&str; 7] = ["abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"];
        match choices.below(18) {
            operator @ 0..7 => format!("({name}.{} {left} {right})", BINARY[operator]),
            operator @ 7..14 => format!("({name}.{} {left})", UNARY[operator - 7]),
            14 => format!("({name}.convert_i32_s {narrow})"),
            15 => format!("({name}.convert_i64_u {wide})"),
            16 if kind == 'f' => format!("(f32.reinterpret_i32 {narrow})"),
            16 => format!("(f64.reinterpret_i64 {wide})"),
            _ => format!("({name}.load {narrow})"),
        }
    }
}
