//! Whatever a contract does, it ends the same way in both layouts of the engine: outcome, gas, writes, events and egress.

use crate::{cargo, support::*};
use codec::Encode;
use phala_protocol::{ids::ContractId, AccountId};
use phala_vm::{execute, limits, on_contract_stack, Entry, Execution, Fault, Layout, Outcome, Request, Trap};
use proptest::prelude::*;
use std::sync::Arc;
use wasmparser::{FunctionBody, Operator, Parser, Payload};

const OTHER: ContractId = ContractId([0xd0; 32]);
const MEMORY_BYTES: u64 = limits::MAX_MEMORY_PAGES << 16;

/// Every operator that reads memory, the type that it leaves, and the bytes that it reads.
const LOADS: [(&str, &str, u64); 14] = [
    ("i32.load", "i32", 4),
    ("i64.load", "i64", 8),
    ("f32.load", "f32", 4),
    ("f64.load", "f64", 8),
    ("i32.load8_s", "i32", 1),
    ("i32.load8_u", "i32", 1),
    ("i32.load16_s", "i32", 2),
    ("i32.load16_u", "i32", 2),
    ("i64.load8_s", "i64", 1),
    ("i64.load8_u", "i64", 1),
    ("i64.load16_s", "i64", 2),
    ("i64.load16_u", "i64", 2),
    ("i64.load32_s", "i64", 4),
    ("i64.load32_u", "i64", 4),
];
/// Every operator that writes memory, the type that it takes, and the bytes that it writes.
const STORES: [(&str, &str, u64); 9] = [
    ("i32.store", "i32", 4),
    ("i64.store", "i64", 8),
    ("f32.store", "f32", 4),
    ("f64.store", "f64", 8),
    ("i32.store8", "i32", 1),
    ("i32.store16", "i32", 2),
    ("i64.store8", "i64", 1),
    ("i64.store16", "i64", 2),
    ("i64.store32", "i64", 4),
];

/// A world of each layout with the same contracts.
fn worlds(contracts: &[(ContractId, &[u8])]) -> [Memory; 2] {
    Layout::ALL.map(|layout| {
        let world = Memory::in_layout(layout);
        contracts.iter().for_each(|(contract, code)| world.install_code(*contract, code));
        world
    })
}

fn both(text: &str) -> [Memory; 2] {
    worlds(&[(CONTRACT, wat::parse_str(text).unwrap().as_slice())])
}

/// How a request ends, which is the same in both worlds.
fn same(worlds: &[Memory; 2], request: &Request) -> Execution {
    let [wide, compact] = worlds.each_ref().map(|world| world.run(request).unwrap());
    assert_eq!(wide, compact);
    wide
}

/// Runs with much gas, with exactly what that used, with one more, and with a part of it.
fn same_with_any_gas(worlds: &[Memory; 2], entry: Entry) -> Execution {
    let asked = |gas_limit| Request { gas_limit, ..request(entry) };
    let first = same(worlds, &asked(100_000_000));
    for gas_limit in [first.gas_used, first.gas_used + 1, first.gas_used / 2, first.gas_used / 3 * 2, 70_000] {
        same(worlds, &asked(gas_limit));
    }
    first
}

#[test]
fn every_way_to_end_is_the_same_way() {
    let end = |body: &str, rest: &str| same_with_any_gas(&both(&guest(body, body, rest)), Entry::Call).outcome;
    let ok = Outcome::Returned(Vec::new());
    for (body, expected) in [
        ("i32.const 0", ok.clone()),
        ("i32.const 1", Outcome::Reverted(Vec::new())),
        ("i32.const 2", Outcome::Trapped(Trap::BadReturn)),
        ("unreachable", Outcome::Trapped(Trap::Unreachable)),
        ("(loop $l (br $l)) unreachable", Outcome::OutOfGas),
        ("(return (i32.const 0))", ok.clone()),
        ("(block (br 1 (i32.const 1))) unreachable", Outcome::Reverted(Vec::new())),
        ("nop nop (if (i32.sub (i32.const 3) (i32.const 2)) (then nop)) i32.const 0", ok.clone()),
        ("(i32.div_s (i32.const 1) (i32.const 0))", Outcome::Trapped(Trap::Arithmetic)),
        ("(i32.div_u (i32.const 1) (i32.const 0))", Outcome::Trapped(Trap::Arithmetic)),
        ("(i32.rem_s (i32.const 1) (i32.const 0))", Outcome::Trapped(Trap::Arithmetic)),
        ("(i32.rem_s (i32.const 0x80000000) (i32.const -1))", ok.clone()),
        ("(i32.div_s (i32.const 0x80000000) (i32.const -1))", Outcome::Trapped(Trap::Arithmetic)),
        (
            "(i32.wrap_i64 (i64.div_s (i64.const 0x8000000000000000) (i64.const -1)))",
            Outcome::Trapped(Trap::Arithmetic),
        ),
        ("(i32.wrap_i64 (i64.rem_u (i64.const 7) (i64.const 0)))", Outcome::Trapped(Trap::Arithmetic)),
        ("(i32.trunc_f32_s (f32.const nan))", Outcome::Trapped(Trap::Arithmetic)),
        ("(i32.trunc_f64_u (f64.const 4294967296))", Outcome::Trapped(Trap::Arithmetic)),
        ("(i32.wrap_i64 (i64.trunc_f64_s (f64.const 1e19)))", Outcome::Trapped(Trap::Arithmetic)),
        ("(i32.trunc_f64_u (f64.const -0.5))", ok.clone()),
        ("(call $output_write (i32.const -1) (i32.const 2)) i32.const 0", Outcome::Trapped(Trap::BadPointer)),
        ("(call $result_read (i32.const 0)) i32.const 0", Outcome::Trapped(Trap::NoResult)),
        ("(call $random (i32.const 131040) (i32.const 32)) i32.const 0", ok.clone()),
        ("(call $random (i32.const 131041) (i32.const 32)) i32.const 0", Outcome::Trapped(Trap::BadPointer)),
        ("(call $random (i32.const 0) (i32.const 257)) i32.const 0", Outcome::Trapped(Trap::TooLarge)),
        // As much memory as there is, its last byte, and no page more.
        (
            "(drop (memory.grow (i32.const 254))) (i32.store8 (i32.const 16777215) (i32.const 1))
             (i32.ne (memory.grow (i32.const 1)) (i32.const -1))",
            ok.clone(),
        ),
        ("(i32.ne (memory.grow (i32.const 65535)) (i32.const -1))", ok.clone()),
        ("(drop (memory.grow (i32.const -1))) (i32.ne (memory.size) (i32.const 2))", ok.clone()),
        ("(drop (memory.grow (i32.const 254))) (i32.load (i32.const 16777213))", Outcome::Trapped(Trap::Memory)),
    ] {
        assert_eq!(end(body, ""), expected, "{body}");
    }
    // Each index of a table: a function of this type, one of another, an empty entry, the first that is not there, and any beyond.
    let table =
        "(table 3 funcref) (elem (i32.const 0) $same $other) (func $same (result i32) i32.const 1) (func $other)";
    for (index, expected) in [
        ("0", Outcome::Reverted(Vec::new())),
        ("1", Outcome::Trapped(Trap::IndirectCall)),
        ("2", Outcome::Trapped(Trap::IndirectCall)),
        ("3", Outcome::Trapped(Trap::IndirectCall)),
        ("8191", Outcome::Trapped(Trap::IndirectCall)),
        ("8192", Outcome::Trapped(Trap::IndirectCall)),
        ("8193", Outcome::Trapped(Trap::IndirectCall)),
        ("-1", Outcome::Trapped(Trap::IndirectCall)),
    ] {
        // Not a constant, for which the compiler would know better.
        let body = format!("(call_indirect (result i32) (i32.add (i32.const {index}) (call $input_len)))");
        assert_eq!(end(&body, table), expected, "{index}");
    }
    let outside = r#"(data (i32.const 131071) "ab")"#;
    assert_eq!(end("i32.const 0", outside), Outcome::Trapped(Trap::Memory));
}

/// A contract with every access at `offset`; which of them, where, and with all the memory or with two pages, is the input's to say.
fn accesses(offset: u64) -> String {
    let arm =
        |number: usize, access: &str| format!("(if (i32.eq (local.get $i) (i32.const {number})) (then {access}))");
    // The address and what is stored come from the input, beyond what the compiler knows.
    let address = "(i32.load (i32.const 4))";
    let as_bits = |kind: &str, load: &str| match kind {
        "i32" => format!("(i64.extend_i32_u {load})"),
        "f32" => format!("(i64.extend_i32_u (i32.reinterpret_f32 {load}))"),
        "f64" => format!("(i64.reinterpret_f64 {load})"),
        _ => load.to_owned(),
    };
    let loads = LOADS.iter().enumerate().map(|(number, (name, kind, _))| {
        let value = as_bits(kind, &format!("({name} offset={offset} {address})"));
        arm(number, &format!("(i64.store (i32.const 24) {value})"))
    });
    let stores = STORES.iter().enumerate().map(|(number, (name, kind, _))| {
        arm(LOADS.len() + number, &format!("({name} offset={offset} {address} ({kind}.load (i32.const 8)))"))
    });
    let arms: String = loads.chain(stores).collect();
    let body = format!(
        "(call $input_read (i32.const 0))
         (if (i32.load8_u (i32.const 1)) (then (drop (memory.grow (i32.const {})))))
         (local.set $i (i32.load8_u (i32.const 0)))
         {arms}
         (call $output_write (i32.const 0) (i32.const 32)) i32.const 0",
        limits::MAX_MEMORY_PAGES - 2
    );
    guest(&body, "i32.const 0", r#"(data (i32.const 131056) "\f0\f1\f2\f3\f4\f5\f6\f7\f8\f9\fa\fb\fc\fd\fe\ff")"#)
}

#[test]
fn an_access_traps_at_the_same_byte() {
    on_contract_stack(|| {
        for offset in [0, 1, 7, 65_536, MEMORY_BYTES - 1, MEMORY_BYTES, MEMORY_BYTES + 1, 1 << 31, (1 << 32) - 1] {
            let worlds = both(&accesses(offset));
            let kinds = LOADS.iter().chain(&STORES).map(|(_, _, bytes)| *bytes).enumerate();
            for (number, bytes) in kinds {
                for (is_grown, size) in [(0u8, 2u64 << 16), (1, MEMORY_BYTES)] {
                    let edge = size.wrapping_sub(offset).wrapping_sub(bytes);
                    let near = [edge.wrapping_sub(1), edge, edge.wrapping_add(1), size - 1, size, MEMORY_BYTES - 1];
                    let far = [MEMORY_BYTES, MEMORY_BYTES + 1, 0x7fff_ffff, 1 << 31, (1 << 32) - 8, (1 << 32) - 1];
                    for address in near.into_iter().chain(far).filter(|address| *address < 1 << 32) {
                        let mut input = vec![number as u8, is_grown, 0, 0];
                        input.extend((address as u32).to_le_bytes());
                        input.extend([1, 2, 3, 4, 5, 6, 7, 8]);
                        let asked = Request { input, gas_limit: 100_000_000, ..request(Entry::Call) };
                        let outcome = same(&worlds, &asked).outcome;
                        let is_inside = address + offset + bytes <= size;
                        assert_eq!(
                            matches!(outcome, Outcome::Returned(_)),
                            is_inside,
                            "{number} at {address} + {offset}"
                        );
                        assert!(is_inside || outcome == Outcome::Trapped(Trap::Memory), "{outcome:?}");
                    }
                }
            }
        }
    })
    .unwrap();
}

/// Functions that call themselves as often as the input says, with frames of every kind.
fn recursions() -> Vec<String> {
    let numbers = |from: usize, to: usize| from..to;
    // As many values alive over the call as the body has room for.
    let many: String = numbers(0, 200)
        .map(|number| format!("(i64.load offset={} (i32.const 4096))", 8 * number))
        .collect::<Vec<_>>()
        .join(" ");
    let adds = "i64.add ".repeat(200);
    let floats: String = numbers(0, 60)
        .map(|number| format!("(f64.sqrt (f64.convert_i32_u (i32.add (local.get 0) (i32.const {number}))))"))
        .collect();
    let float_adds = "f64.add ".repeat(59);
    // Every local is another behind each of the nested loops.
    let (set, get): (String, String) = (
        numbers(1, 60)
            .map(|local| format!("(local.set {local} (i32.mul (local.get 0) (local.get {local})))"))
            .collect(),
        numbers(1, 60).map(|local| format!("(i32.add (local.get {local})")).collect(),
    );
    let nested = format!("{} {set} {}", "loop ".repeat(40), "end ".repeat(40));
    // The least code for a float: two bytes. One is left of 32.
    let (ones, sums) = ("(call $one) ".repeat(1 + 31 * 40), "(call $sum) ".repeat(40));
    let down = "(call $down (i32.sub (local.get 0) (i32.const 1)))";
    let stop = "(if (i32.eqz (local.get 0)) (then (return (i32.const 0))))";
    let function = |body: &str| format!("(func $down (param i32) (result i32) {body})");
    vec![
        function(&format!("{stop} {down}")),
        function(&format!("(if (result i32) (local.get 0) (then {down}) (else (i32.const 0)))")),
        function(&format!("{stop} {many} {down} i64.extend_i32_u {adds} i32.wrap_i64")),
        function(&format!("{stop} {floats} {down} f64.convert_i32_u {float_adds} f64.add i32.trunc_f64_s")),
        function(&format!("(local {}) {stop} {nested} (i32.add {down} {get} (i32.const 0) {})", "i32 ".repeat(60), ") ".repeat(59))),
        format!(
            "{} (func $one (result f64) f64.const 1) (func $sum (param {}) (result f64) (f64.add (local.get 0) (local.get 31)))",
            function(&format!("{stop} {ones} (drop {down}) {sums} i32.trunc_f64_s")),
            "f64 ".repeat(32)
        ),
        format!(
            "(table 2 funcref) (elem (i32.const 0) $down $odd)
             (func $odd (param i32) (result i32) {stop} (call_indirect (param i32) (result i32) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
             (func $down (param i32) (result i32) {stop} (call_indirect (param i32) (result i32) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))"
        ),
    ]
}

/// What entering a function takes of the stack, as `docs/contract-abi.md` says it.
fn charge(body: &FunctionBody<'_>, parameters: u64) -> u64 {
    let groups = body.get_locals_reader().unwrap().into_iter();
    let locals = groups.map(|group| u64::from(group.unwrap().0)).sum::<u64>() + parameters;
    let (mut blocks, mut joins) = (0i64, 0i64);
    for operator in body.get_operators_reader().unwrap() {
        match operator.unwrap() {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => blocks += 1,
            Operator::End => blocks -= 1,
            Operator::LocalSet { .. } | Operator::LocalTee { .. } => joins += blocks,
            _ => {}
        }
    }
    160 + 8 * locals + 2 * body.as_bytes().len() as u64 + 4 * joins as u64
}

/// How deep `$down` may call itself: the first function takes one parameter, and the last but one is the entry.
fn measured_depth(code: &[u8]) -> u64 {
    let bodies: Vec<_> = Parser::new(0)
        .parse_all(code)
        .filter_map(|payload| match payload.unwrap() {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        })
        .collect();
    let entry = charge(&bodies[bodies.len() - 2], 0);
    (limits::MAX_STACK_BYTES as u64 - entry) / charge(&bodies[0], 1) - 1
}

#[test]
fn the_stack_ends_at_the_same_call() {
    let body = "(call $input_read (i32.const 0)) (drop (call $down (i32.load (i32.const 0)))) i32.const 0";
    on_contract_stack(|| {
        for recursion in recursions() {
            let code = wat::parse_str(guest(body, "i32.const 0", &recursion)).unwrap();
            let worlds = worlds(&[(CONTRACT, code.as_slice())]);
            let asked = |depth: u32| Request {
                input: depth.to_le_bytes().to_vec(),
                gas_limit: 1_000_000_000_000,
                ..request(Entry::Call)
            };
            let fits = |depth: u32| match same(&worlds, &asked(depth)).outcome {
                Outcome::Returned(_) => true,
                Outcome::Trapped(Trap::StackOverflow) => false,
                other => panic!("{other:?} at {depth}: {recursion}"),
            };
            // The deepest that fits, by halving.
            let (mut fitting, mut too_deep) = (0, limits::MAX_STACK_BYTES as u32);
            assert!(fits(fitting) && !fits(too_deep) && !fits(u32::MAX), "{recursion}");
            while too_deep - fitting > 1 {
                let middle = fitting + (too_deep - fitting) / 2;
                if fits(middle) {
                    fitting = middle;
                } else {
                    too_deep = middle;
                }
            }
            assert!(fitting > 8, "{fitting}: {recursion}");
            assert_eq!(u64::from(fitting), measured_depth(&code), "not the measure has ended it: {recursion}");
        }
    })
    .unwrap();
}

/// The measured stack, not the native one, is what ends: a chain of functions that each keep as much as their bytes allow.
#[test]
fn a_frame_over_the_limit_is_refused_and_one_below_it_is_run() {
    let values = |count: usize| {
        let loads: String =
            (0..count).map(|number| format!("(i64.load offset={} (i32.const 8))", number * 8)).collect();
        format!("(func $big (result i64) {loads} {})", "i64.add ".repeat(count - 1))
    };
    let worlds = both(&guest("(drop (call $big)) i32.const 0", "i32.const 0", &values(8_000)));
    assert_eq!(same(&worlds, &request(Entry::Call)).outcome, Outcome::Returned(Vec::new()));
    let nested = "loop ".repeat(250) + &"(local.set 0 (i32.const 1)) ".repeat(600) + &"end ".repeat(250);
    let code = wat::parse_str(guest("i32.const 0", "i32.const 0", &format!("(func (local i32) {nested})"))).unwrap();
    for layout in Layout::ALL {
        let refused = engine_in(layout).compile(&code).err().unwrap();
        assert!(causes(&refused).contains("stack of a function"), "{refused}");
    }
}

/// The compiler has limits of its own. Code that is a contract is within them in both layouts, or replicas would disagree about what it is.
#[test]
fn the_longest_functions_compile_in_both() {
    for (unit, bytes) in [
        ("(local.set 0 (i32.popcnt (local.get 0)))", 5),
        ("(local.set 0 (i32.div_s (local.get 0) (local.get 1)))", 7),
        ("(local.set 0 (i32.load (local.get 0)))", 7),
        ("(i64.store (local.get 0) (local.get 2))", 7),
        ("(local.set 2 (i64.trunc_f64_s (f64.convert_i64_s (local.get 2))))", 6),
        ("(local.set 1 (call_indirect (param i32) (result i32) (local.get 0) (local.get 1)))", 9),
    ] {
        let is_checked = unit.contains("div_s") || unit.contains("trunc_");
        let most = if is_checked { limits::MAX_CHECKED_ARITHMETIC as usize } else { usize::MAX };
        let body = unit.repeat((65_000 / bytes).min(most));
        let rest = format!("(table 4 funcref) (func (param i32 i32 i64) {body})");
        let code = wat::parse_str(guest("i32.const 0", "i32.const 0", &rest)).unwrap();
        for layout in Layout::ALL {
            assert!(engine_in(layout).compile(&code).is_ok(), "{unit} in the layout {}", layout.name());
        }
    }
}

/// An error and what caused it, in one text.
fn causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        text += &format!("; {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn the_sample_contracts_do_the_same() {
    let [alice, bob] = [1u8, 2].map(|byte| AccountId([byte; 32]));
    for (name, script) in [
        (
            "token",
            vec![
                (Entry::Deploy, alice, ("create", 1_000u128).encode()),
                (Entry::Call, alice, ("transfer", bob, 30u128).encode()),
                (Entry::Call, bob, ("transfer", alice, 31u128).encode()),
                (Entry::Query, bob, ("balance", ()).encode()),
                (Entry::Call, bob, vec![0xff; 10]),
            ],
        ),
        (
            "payout",
            vec![
                (Entry::Deploy, alice, ("create", ()).encode()),
                (Entry::Call, alice, ("grant", bob, 100u128).encode()),
                (Entry::Call, bob, ("withdraw", alice, 60u128).encode()),
                (Entry::Call, bob, ("withdraw", alice, 60u128).encode()),
            ],
        ),
    ] {
        let code = cargo::build(&cargo::contracts().join(name), name);
        let worlds = worlds(&[(CONTRACT, code.as_slice())]);
        let mut returned = 0;
        for (entry, caller, input) in script {
            let execution = same(&worlds, &Request { caller, input, ..request(entry) });
            worlds.iter().for_each(|world| world.apply(&execution.writes));
            returned += usize::from(matches!(execution.outcome, Outcome::Returned(_)));
        }
        assert_eq!(returned, 3, "{name}");
    }
}

#[test]
fn contracts_that_call_contracts_do_the_same() {
    let bytes: String = OTHER.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let caller = guest(
        "(local.set $status (call $call_contract (i32.const 0) (i32.const 0) (i32.const 4) (i64.const 0)))
         (call $storage_set (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 8))
         (i64.store (i32.const 64) (local.get $status)) (call $output_write (i32.const 64) (i32.const 8)) i32.const 0",
        "i32.const 0",
        &format!(r#"(data (i32.const 0) "{bytes}")"#),
    );
    let recursion = "(func $down (result i64) (i64.add (call $down) (i64.const 1)))";
    for (callee, rest) in [
        ("(call $emit_event (i32.const 0) (i32.const 9)) i32.const 0", ""),
        ("(i32.store (i32.const 131069) (i32.const 1)) i32.const 0", ""),
        ("(drop (call $down)) i32.const 0", recursion),
        ("(loop $l (br $l)) unreachable", ""),
    ] {
        let [caller, callee] = [&caller, &guest(callee, "i32.const 0", rest)].map(|text| wat::parse_str(text).unwrap());
        let worlds = worlds(&[(CONTRACT, caller.as_slice()), (OTHER, callee.as_slice())]);
        let execution = same_with_any_gas(&worlds, Entry::Call);
        assert!(matches!(execution.outcome, Outcome::Returned(_)), "{execution:?}");
    }
}

#[test]
fn compiled_code_of_one_layout_is_not_run_by_the_other() {
    let body = "(drop (call $call_contract (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0))) i32.const 0";
    let [code, callee] = [body, "i32.const 0"].map(|body| wat::parse_str(calls(body)).unwrap());
    let zero = ContractId([0; 32]);
    for (own, other) in [(Layout::Wide, Layout::Compact), (Layout::Compact, Layout::Wide)] {
        let foreign = Memory::in_layout(other);
        foreign.install_code(zero, &callee);
        let contract = Arc::new(engine_in(own).compile(&code).unwrap());
        assert!(matches!(execute(&contract, &request(Entry::Call), Arc::new(foreign)), Err(Fault::Engine(_))));
    }
}

/// One statement of a program that may do anything.
fn statement() -> impl Strategy<Value = String> {
    let address = prop_oneof![0u32..300, 131_000u32..131_100, 16_777_200u32..16_777_300, any::<u32>()];
    let offset = prop_oneof![0u32..16, 131_000u32..131_100, 16_777_200u32..16_777_230, any::<u32>()];
    let place = (address, offset);
    prop_oneof![
        (0..LOADS.len(), place.clone()).prop_map(|(number, (address, offset))| {
            format!("(drop ({} offset={offset} (i32.add (local.get $i) (i32.const {address}))))", LOADS[number].0)
        }),
        (0..STORES.len(), place).prop_map(|(number, (address, offset))| {
            let (name, kind, _) = STORES[number];
            format!("({name} offset={offset} (i32.add (local.get $i) (i32.const {address})) ({kind}.load (i32.const 40)))")
        }),
        (0u32..300).prop_map(|pages| format!("(i32.store (i32.const 40) (memory.grow (i32.const {pages})))")),
        any::<(i32, i8)>().prop_map(|(left, right)| {
            format!("(i32.store (i32.const 44) (i32.div_s (i32.const {left}) (i32.const {right})))")
        }),
        any::<i64>().prop_map(|bits| {
            format!("(i64.store (i32.const 48) (i64.trunc_f64_s (f64.reinterpret_i64 (i64.const {bits}))))")
        }),
        any::<(i64, i64)>().prop_map(|(left, right)| {
            format!(
                "(f64.store (i32.const 56) (f64.div (f64.reinterpret_i64 (i64.const {left})) (f64.reinterpret_i64 (i64.const {right}))))"
            )
        }),
        (0u32..5).prop_map(|index| {
            format!("(drop (call_indirect (param i32) (result i32) (i32.const 3) (i32.add (local.get $i) (i32.const {index}))))")
        }),
        (0u32..6_000).prop_map(|depth| format!("(i32.store (i32.const 60) (call $down (i32.const {depth})))")),
        (0u32..131_100, 0u32..260).prop_map(|(to, length)| {
            format!("(call $random (i32.const {to}) (i32.const {length}))")
        }),
        (0u32..200, 0u32..200).prop_map(|(key, length)| {
            format!("(call $storage_set (i32.const {key}) (i32.const 4) (i32.const 0) (i32.const {length}))")
        }),
        (1u32..50).prop_map(|times| {
            format!(
                "(local.set $i (i32.const {times}))
                 (loop $l (i64.store (local.get $i) (i64.load offset=8 (local.get $i)))
                     (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
            )
        }),
        (0u32..4).prop_map(|number| format!("(if (i32.eq (local.get $i) (i32.const {number})) (then (return (i32.const 0))))")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_program_ends_the_same(
        statements in proptest::collection::vec(statement(), 1..12),
        gas_limits in proptest::collection::vec(60_000u64..3_000_000, 4),
        is_query in any::<bool>(),
    ) {
        let body = format!(
            "{} (call $output_write (i32.const 0) (i32.const 100)) i32.const 0", statements.concat()
        );
        let rest = "(table 4 funcref) (elem (i32.const 0) $down $other)
            (func $other (param i64) (result i32) i32.const 0)
            (func $down (param i32) (result i32)
                (if (result i32) (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 7))))";
        let worlds = both(&guest(&body, &body, rest));
        let entry = if is_query { Entry::Query } else { Entry::Call };
        for gas_limit in gas_limits.into_iter().chain([1_000_000_000]) {
            let [wide, compact] =
                worlds.each_ref().map(|world| world.run(&Request { gas_limit, ..request(entry) }).unwrap());
            prop_assert_eq!(wide, compact);
        }
    }
}
