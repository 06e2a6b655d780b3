//! A contract that does what it is told to: keep, trap, loop, refuse, deny.

/// First byte of an input: keep the input in storage, and random bytes beside it: replicas that drew others would have another state.
pub const KEEP: u8 = 0;
/// First byte of an input: trap.
pub const TRAP: u8 = 1;
/// First byte of an input: never end.
pub const LOOP: u8 = 2;
/// First byte of an input: refuse.
pub const REVERT: u8 = 3;
/// First byte of a query: say that there is nothing that the caller may see.
pub const DENY: u8 = 4;

/// A contract that does what the first byte of its input says.
pub const CONTRACT: &str = r#"(module
    (import "phala" "input_len" (func $input_len (result i32)))
    (import "phala" "input_read" (func $input_read (param i32)))
    (import "phala" "result_read" (func $result_read (param i32)))
    (import "phala" "output_write" (func $output_write (param i32 i32)))
    (import "phala" "storage_get" (func $storage_get (param i32 i32) (result i32)))
    (import "phala" "storage_set" (func $storage_set (param i32 i32 i32 i32)))
    (import "phala" "random" (func $random (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "kept")
    (data (i32.const 8) "\03")
    (data (i32.const 9) "drawn")
    (func $run (result i32)
        (call $input_read (i32.const 16))
        (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 1)) (then unreachable))
        (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 2)) (then (loop $again (br $again))))
        (call $storage_set (i32.const 0) (i32.const 4) (i32.const 16) (call $input_len))
        (call $random (i32.const 49152) (i32.const 32))
        (call $storage_set (i32.const 9) (i32.const 5) (i32.const 49152) (i32.const 32))
        (i32.eq (i32.load8_u (i32.const 16)) (i32.const 3)))
    (func (export "deploy") (result i32) (call $run))
    (func (export "call") (result i32) (call $run))
    (func (export "query") (result i32) (local $length i32)
        (call $input_read (i32.const 16))
        (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 4))
            (then (call $output_write (i32.const 8) (i32.const 1)) (return (i32.const 1))))
        (if (i32.ne (i32.load8_u (i32.const 16)) (i32.const 0)) (then (return (call $run))))
        (local.set $length (call $storage_get (i32.const 0) (i32.const 4)))
        (call $result_read (i32.const 1024))
        (call $output_write (i32.const 1024) (local.get $length))
        (i32.const 0)))"#;

pub fn code() -> Vec<u8> {
    wat::parse_str(CONTRACT).unwrap()
}
