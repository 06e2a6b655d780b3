//! Code that is no contract, and code that is made to hurt the compiler.

use crate::support::{engine, guest, request, Memory, CONTRACT};
use phala_vm::{limits, verify_module, CompileError, Entry, ModuleError};
use proptest::prelude::*;

const ENTRIES: &str = r#"(func (export "deploy") (result i32) i32.const 0)
    (func (export "call") (result i32) i32.const 0) (func (export "query") (result i32) i32.const 0)"#;

const MEMORY: &str = r#"(memory (export "memory") 1)"#;

fn refused(wat: &str) -> ModuleError {
    verify_module(&wat::parse_str(wat).unwrap()).unwrap_err()
}

fn over_limit(wat: &str) -> &'static str {
    match refused(wat) {
        ModuleError::OverLimit { what, .. } => what,
        other => panic!("refused for another reason: {other}"),
    }
}

#[test]
fn minimal_module_is_a_contract() {
    let code = wat::parse_str(format!("(module {MEMORY} {ENTRIES})")).unwrap();
    assert!(verify_module(&code).is_ok());
    assert!(engine().compile(&code).is_ok());
}

#[test]
fn every_host_function_links_with_the_declared_type() {
    let code = wat::parse_str(guest("i32.const 0", "i32.const 0", "")).unwrap();
    engine().compile(&code).unwrap();
}

#[test]
fn refuses_bytes_that_are_no_module() {
    for bytes in [&b""[..], b"\0asm", b"\0asm\x02\0\0\0", b"#!/bin/sh\necho hello", &[0xff; 1000]] {
        assert!(matches!(engine().compile(bytes), Err(CompileError::Module(_))), "{bytes:?}");
    }
}

#[test]
fn refuses_every_truncation_of_a_contract() {
    let code = wat::parse_str(guest("i32.const 0", "i32.const 0", r#"(data (i32.const 0) "abc")"#)).unwrap();
    let accepted: Vec<_> = (0..code.len()).filter(|length| verify_module(&code[..*length]).is_ok()).collect();
    // What may be missing are whole sections at the end: names, and data before them.
    let data = code.windows(3).position(|bytes| bytes == b"abc").unwrap();
    assert_eq!(accepted.len(), 2, "{accepted:?}");
    assert_eq!(accepted[1], data + 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever still passes the checks compiles and runs to an outcome: never a panic, never a fault.
    #[test]
    fn changed_code_is_refused_or_ends_in_an_outcome(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let body = "(call $storage_set (i32.const 0) (i32.const 3) (i32.const 3) (i32.const 4))
            (drop (call $storage_get (i32.const 0) (i32.const 3))) (call $result_read (i32.const 50))
            (if (i32.lt_s (call $input_len) (i32.const 1)) (then (call $emit_event (i32.const 0) (i32.const 2))))
            (f64.store (i32.const 8) (f64.sqrt (f64.load (i32.const 16)))) (memory.grow (i32.const 1))";
        let mut code = wat::parse_str(guest(body, "i32.const 0", r#"(data (i32.const 0) "abc")"#)).unwrap();
        for (position, value) in changes {
            let position = position.index(code.len());
            code[position] = value;
        }
        if verify_module(&code).is_ok() {
            let world = Memory::default();
            world.install_code(CONTRACT, &code);
            world.run(&request(Entry::Call)).unwrap();
        }
    }

    #[test]
    fn arbitrary_sections_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(verify_module(&[b"\0asm\x01\0\0\0", bytes.as_slice()].concat()).is_err());
    }
}

#[test]
fn refuses_imports_that_contracts_are_not_given() {
    for import in [
        r#"(import "env" "abort" (func))"#,
        r#"(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))"#,
        r#"(import "phala" "entropy" (func))"#,
        r#"(import "phala" "input_len" (global i32))"#,
        r#"(import "phala" "table" (table 1 funcref))"#,
    ] {
        let error = refused(&format!("(module {import} {MEMORY} {ENTRIES})"));
        assert!(matches!(error, ModuleError::ForbiddenImport { .. }), "{import}: {error}");
    }
    let error =
        refused(&format!(r#"(module (import "phala" "memory" (memory 1)) (export "memory" (memory 0)) {ENTRIES})"#));
    assert!(matches!(error, ModuleError::ForbiddenImport { .. }), "{error}");
}

#[test]
fn refuses_an_import_of_another_type() {
    let error = refused(&format!(r#"(module (import "phala" "input_len" (func (result i64))) {MEMORY} {ENTRIES})"#));
    assert!(matches!(error, ModuleError::ImportType(name) if name == "input_len"));
}

#[test]
fn refuses_a_start_function() {
    let error = refused(&format!("(module {MEMORY} (func $start) (start $start) {ENTRIES})"));
    assert!(matches!(error, ModuleError::StartFunction));
}

#[test]
fn refuses_missing_and_mistyped_exports() {
    let without_call = ENTRIES.replace("\"call\"", "\"other\"");
    assert!(matches!(refused(&format!("(module {MEMORY} {without_call})")), ModuleError::NoEntry("call")));
    let with_parameter = ENTRIES.replace("\"query\") (result", "\"query\") (param i32) (result");
    assert!(matches!(refused(&format!("(module {MEMORY} {with_parameter})")), ModuleError::NoEntry("query")));
    assert!(matches!(refused(&format!("(module {ENTRIES})")), ModuleError::NoMemory));
    assert!(matches!(refused(&format!("(module (memory 1) {ENTRIES})")), ModuleError::NoMemory));
}

#[test]
fn refuses_features_after_webassembly_1() {
    for function in [
        "(func (result v128) (v128.const i64x2 0 0))",
        "(func (result i32 i32) i32.const 0 i32.const 0)",
        "(func (i32.const 0) (i32.const 0) (i32.const 0) (memory.fill))",
        "(func (drop (i32.extend8_s (i32.const 0))))",
        "(func (drop (i32.trunc_sat_f32_s (f32.const 0))))",
        "(func $tail (return_call $tail))",
        "(func (drop (ref.null func)))",
        "(memory $second 1)",
        "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
        "(tag)",
    ] {
        let code = wat::parse_str(format!("(module {MEMORY} {function} {ENTRIES})")).unwrap();
        assert!(verify_module(&code).is_err(), "{function}");
    }
    for memory in [r#"(memory (export "memory") i64 1)"#, r#"(memory (export "memory") 1 1 shared)"#] {
        let code = wat::parse_str(format!("(module {memory} {ENTRIES})")).unwrap();
        assert!(verify_module(&code).is_err(), "{memory}");
    }
    let component = wat::parse_str("(component)").unwrap();
    assert!(verify_module(&component).is_err());
}

#[test]
fn refuses_what_makes_compiling_slow() {
    let with = |part: &str| format!("(module {MEMORY} {part} {ENTRIES})");
    let locals = format!("(func (local {}))", "i64 ".repeat(limits::MAX_LOCALS as usize + 1));
    assert_eq!(over_limit(&with(&locals)), "locals of a function");
    let functions = "(func) ".repeat(limits::MAX_FUNCTIONS as usize);
    assert_eq!(over_limit(&with(&functions)), "functions");
    let nesting = limits::MAX_NESTING as usize + 1;
    let nested = format!("(func {} {})", "block ".repeat(nesting), "end ".repeat(nesting));
    assert_eq!(over_limit(&with(&nested)), "nested blocks");
    let targets = format!("(func (br_table {} (i32.const 0)))", "0 ".repeat(limits::MAX_BRANCH_TARGETS as usize + 2));
    assert_eq!(over_limit(&with(&targets)), "branch targets");
    let table = format!("(func (br_table {} (i32.const 0)))", "0 ".repeat(limits::MAX_BRANCH_TARGETS as usize));
    assert_eq!(over_limit(&with(&table.repeat(80))), "branch targets of the module");
    let loops = |count: u32| format!("(func {}) ", "(loop) ".repeat(count as usize));
    assert_eq!(over_limit(&with(&loops(limits::MAX_LOOPS + 1))), "loops of a function");
    let most = (limits::MAX_LOOPS_TOTAL / limits::MAX_LOOPS) as usize;
    assert_eq!(over_limit(&with(&loops(limits::MAX_LOOPS).repeat(most + 1))), "loops of the module");
    let code = wat::parse_str(with(&loops(limits::MAX_LOOPS).repeat(most))).unwrap();
    assert!(verify_module(&code).is_ok());
    for unit in ["(drop (i32.trunc_f64_s (f64.const 1)))", "(drop (i64.rem_u (i64.const 1) (i64.const 1)))"] {
        let checked = |count: u32| format!("(func {}) ", unit.repeat(count as usize));
        let over = over_limit(&with(&checked(limits::MAX_CHECKED_ARITHMETIC + 1)));
        assert_eq!(over, "divisions and truncations of a function");
        let most = (limits::MAX_CHECKED_ARITHMETIC_TOTAL / limits::MAX_CHECKED_ARITHMETIC) as usize;
        let over = over_limit(&with(&checked(limits::MAX_CHECKED_ARITHMETIC).repeat(most + 1)));
        assert_eq!(over, "divisions and truncations of the module");
    }
    let long = format!("(func {})", "nop ".repeat(limits::MAX_FUNCTION_BYTES));
    assert_eq!(over_limit(&with(&long)), "bytes of a function");
    let parameters = format!("(func (param {}))", "i32 ".repeat(limits::MAX_PARAMETERS + 1));
    assert_eq!(over_limit(&with(&parameters)), "parameters of a function");
    let globals = "(global i32 (i32.const 0)) ".repeat(limits::MAX_GLOBALS as usize + 1);
    assert_eq!(over_limit(&with(&globals)), "globals");
    assert_eq!(over_limit(&with("(table 8193 funcref)")), "table elements");
    let metadata = format!(r#"(@custom "phala.metadata" "{}")"#, "x".repeat(limits::MAX_METADATA_BYTES + 1));
    assert_eq!(over_limit(&with(&metadata)), "bytes of metadata");
    assert_eq!(over_limit(&format!(r#"(module (memory (export "memory") 257) {ENTRIES})"#)), "initial memory pages");
}

#[test]
fn refuses_a_local_count_that_only_claims_to_be_small() {
    // Two groups of 2^31 locals each: four bytes of code that would be gigabytes of variables.
    let mut body = vec![2u8];
    for _ in 0..2 {
        body.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x08, 0x7f]);
    }
    body.push(0x0b);
    let mut code = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a".to_vec();
    code.push(body.len() as u8 + 2);
    code.push(1);
    code.push(body.len() as u8);
    code.extend_from_slice(&body);
    assert!(verify_module(&code).is_err());
}

#[test]
fn refuses_code_over_the_size_limit_before_reading_it() {
    let code = vec![0; limits::MAX_CODE_BYTES + 1];
    assert!(matches!(verify_module(&code), Err(ModuleError::TooLarge { .. })));
}
