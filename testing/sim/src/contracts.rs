//! The contracts of a simulation: the sample token as its author builds it, and a keeper that does what its input's first byte says.
#![allow(clippy::disallowed_methods, reason = "starts the compiler, and reads what it made")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Keep the input in storage, or return what is kept.
pub const KEEP: u8 = 0;
/// Trap.
pub const TRAP: u8 = 1;
/// Never end.
pub const LOOP: u8 = 2;
/// Refuse.
pub const REVERT: u8 = 3;

/// The keeper.
const KEEPER: &str = r#"(module
    (import "phala" "input_len" (func $input_len (result i32)))
    (import "phala" "input_read" (func $input_read (param i32)))
    (import "phala" "result_read" (func $result_read (param i32)))
    (import "phala" "output_write" (func $output_write (param i32 i32)))
    (import "phala" "storage_get" (func $storage_get (param i32 i32) (result i32)))
    (import "phala" "storage_set" (func $storage_set (param i32 i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "kept")
    (func $run (result i32)
        (call $input_read (i32.const 16))
        (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 1)) (then unreachable))
        (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 2)) (then (loop $again (br $again))))
        (call $storage_set (i32.const 0) (i32.const 4) (i32.const 16) (call $input_len))
        (i32.eq (i32.load8_u (i32.const 16)) (i32.const 3)))
    (func (export "deploy") (result i32) (call $run))
    (func (export "call") (result i32) (call $run))
    (func (export "query") (result i32) (local $length i32)
        (local.set $length (call $storage_get (i32.const 0) (i32.const 4)))
        (call $result_read (i32.const 1024))
        (call $output_write (i32.const 1024) (local.get $length))
        (i32.const 0)))"#;

/// The keeper's WASM.
pub fn keeper() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| wat::parse_str(KEEPER).expect("the keeper is WASM"))
}

/// The token's WASM. Nothing is downloaded: contracts need nothing.
pub fn token() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| {
        let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
        // Not the target folder of the cargo that runs this, which holds its lock.
        let outer = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| contracts.join("../target"), PathBuf::from);
        let target = outer.join("contracts");
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--release", "--offline", "--target", "wasm32v1-none", "--target-dir"])
            .arg(&target)
            .current_dir(contracts.join("token"))
            .status()
            .expect("cargo starts");
        assert!(status.success(), "the token does not build");
        std::fs::read(target.join("wasm32v1-none/release/token.wasm")).expect("the token was built")
    })
}
