//! The contract's side of the host functions, and what a program without an operating system needs.
//!
//! The only unsafe code of the SDK; it runs inside the sandbox, where the worst that it can damage is the contract
//! itself.
#![allow(unsafe_code, reason = "host functions take pointers; an allocator is unsafe by its trait")]

use crate::contract::{handle, Contract, Entry};
use alloc::{vec, vec::Vec};
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    ptr,
};

mod host {
    #[link(wasm_import_module = "phala")]
    extern "C" {
        pub(super) fn input_len() -> u32;
        pub(super) fn input_read(to: *mut u8);
        pub(super) fn result_read(to: *mut u8);
        pub(super) fn output_write(bytes: *const u8, length: usize);
        pub(super) fn storage_get(key: *const u8, length: usize) -> u32;
        pub(super) fn storage_set(key: *const u8, length: usize, value: *const u8, value_length: usize);
        pub(super) fn storage_remove(key: *const u8, length: usize);
        pub(super) fn caller(to: *mut u8);
        pub(super) fn contract_id(to: *mut u8);
        pub(super) fn value(to: *mut u8);
        pub(super) fn cluster() -> u32;
        pub(super) fn block_number() -> u32;
        pub(super) fn block_time_ms() -> u64;
        pub(super) fn emit_event(bytes: *const u8, length: usize);
        pub(super) fn egress(bytes: *const u8, length: usize);
        pub(super) fn random(to: *mut u8, length: usize);
        pub(super) fn log(bytes: *const u8, length: usize);
        pub(super) fn hash_blake2b_256(bytes: *const u8, length: usize, to: *mut u8);
        pub(super) fn call_contract(contract: *const u8, input: *const u8, length: usize, gas: u64) -> u64;
        pub(super) fn query_contract(contract: *const u8, input: *const u8, length: usize, gas: u64) -> u64;
    }
}

/// What `storage_get` returns when there is no value.
const ABSENT: u32 = u32::MAX;

/// Runs an entry point: 0 when it returned, 1 when it failed.
pub fn enter<C: Contract>(entry: Entry) -> u32 {
    // SAFETY: `input_len` has no precondition; the buffer has the length that `input_read` writes.
    let input = unsafe {
        let mut input = vec![0; host::input_len() as usize];
        host::input_read(input.as_mut_ptr());
        input
    };
    let (code, bytes) = match handle::<C>(entry, &input) {
        Ok(output) => (0, output),
        Err(error) => (1, error),
    };
    // SAFETY: pointer and length are those of a live vector.
    unsafe { host::output_write(bytes.as_ptr(), bytes.len()) };
    code
}

pub(crate) fn storage_get(key: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: pointer and length are those of a live slice.
    match unsafe { host::storage_get(key.as_ptr(), key.len()) } {
        ABSENT => None,
        length => Some(result(length)),
    }
}

fn result(length: u32) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    // SAFETY: the buffer has the length that the host function before this one announced.
    unsafe { host::result_read(bytes.as_mut_ptr()) };
    bytes
}

pub(crate) fn storage_set(key: &[u8], value: &[u8]) {
    // SAFETY: pointers and lengths are those of live slices.
    unsafe { host::storage_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
}

pub(crate) fn storage_remove(key: &[u8]) {
    // SAFETY: pointer and length are those of a live slice.
    unsafe { host::storage_remove(key.as_ptr(), key.len()) };
}

macro_rules! fixed {
    ($($name:ident: $length:literal;)*) => {$(
        pub(crate) fn $name() -> [u8; $length] {
            let mut bytes = [0; $length];
            // SAFETY: the host function writes exactly this many bytes.
            unsafe { host::$name(bytes.as_mut_ptr()) };
            bytes
        }
    )*};
}

fixed! {
    caller: 32;
    contract_id: 32;
}

pub(crate) fn value() -> u128 {
    let mut bytes = [0; 16];
    // SAFETY: the host function writes exactly 16 bytes.
    unsafe { host::value(bytes.as_mut_ptr()) };
    u128::from_le_bytes(bytes)
}

pub(crate) fn cluster() -> u32 {
    // SAFETY: no precondition.
    unsafe { host::cluster() }
}

pub(crate) fn block_number() -> u32 {
    // SAFETY: no precondition.
    unsafe { host::block_number() }
}

pub(crate) fn block_time_ms() -> u64 {
    // SAFETY: no precondition.
    unsafe { host::block_time_ms() }
}

pub(crate) fn emit_event(bytes: &[u8]) {
    // SAFETY: pointer and length are those of a live slice.
    unsafe { host::emit_event(bytes.as_ptr(), bytes.len()) };
}

pub(crate) fn egress(bytes: &[u8]) {
    // SAFETY: pointer and length are those of a live slice.
    unsafe { host::egress(bytes.as_ptr(), bytes.len()) };
}

pub(crate) fn random(bytes: &mut [u8]) {
    // SAFETY: pointer and length are those of a live slice, all of which the host function writes.
    unsafe { host::random(bytes.as_mut_ptr(), bytes.len()) };
}

pub(crate) fn log(message: &str) {
    // SAFETY: pointer and length are those of a live string.
    unsafe { host::log(message.as_ptr(), message.len()) };
}

pub(crate) fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    // SAFETY: pointer and length are those of a live slice; the host function writes exactly 32 bytes.
    unsafe { host::hash_blake2b_256(bytes.as_ptr(), bytes.len(), hash.as_mut_ptr()) };
    hash
}

pub(crate) fn call(query: bool, contract: &[u8; 32], input: &[u8]) -> (u32, Vec<u8>) {
    let function = if query { host::query_contract } else { host::call_contract };
    // SAFETY: the contract's id has 32 bytes; pointer and length of the input are those of a live slice.
    let answer = unsafe { function(contract.as_ptr(), input.as_ptr(), input.len(), 0) };
    // The status in the lower half, and in the upper the length of the output or error, if there is one.
    let (status, length) = (answer as u32, (answer >> 32) as u32);
    (status, if status <= 1 { result(length) } else { Vec::new() })
}

/// Hands out memory from the heap's start upwards, and takes back only what it handed out last. A contract lives for
/// one message, and gas bounds what it can allocate: nothing better is worth its bytes of code.
struct Bump {
    next: Cell<usize>,
    end: Cell<usize>,
}

#[global_allocator]
static HEAP: Bump = Bump { next: Cell::new(0), end: Cell::new(0) };

// SAFETY: a contract has one thread.
unsafe impl Sync for Bump {}

const PAGE_BYTES: usize = 65_536;

extern "C" {
    // The linker's symbol for the end of a contract's data; its address is its value.
    static __heap_base: u8;
}

impl Bump {
    /// Makes `bytes` bytes from `start` on the end of what is used. Stops the contract when memory cannot grow that
    /// far: a null pointer would end there too, by way of a message that nobody reads and every contract would carry.
    fn reserve(&self, start: usize, bytes: usize) -> *mut u8 {
        let Some(next) = start.checked_add(bytes) else { stop("") };
        if next > self.end.get() {
            let pages = next.wrapping_sub(self.end.get()).div_ceil(PAGE_BYTES);
            if core::arch::wasm32::memory_grow(0, pages) == usize::MAX {
                stop("");
            }
            self.end.set(self.end.get().wrapping_add(pages.wrapping_mul(PAGE_BYTES)));
        }
        self.next.set(next);
        start as *mut u8
    }

    /// Whether a block is the last one that was handed out.
    fn is_last(&self, block: *mut u8, layout: Layout) -> bool {
        (block as usize).wrapping_add(layout.size()) == self.next.get()
    }
}

// SAFETY: blocks are aligned, lie in memory that exists, and never overlap: each begins at or after the end of all
// before it, and `next` moves back only over the last block, when that is given back.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.end.get() == 0 {
            self.next.set(ptr::addr_of!(__heap_base) as usize);
            self.end.set(core::arch::wasm32::memory_size(0).wrapping_mul(PAGE_BYTES));
        }
        // An alignment is a power of two; the sum cannot wrap below the 16 MiB that memory can have.
        let start = self.next.get().wrapping_add(layout.align() - 1) & !(layout.align() - 1);
        self.reserve(start, layout.size())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.is_last(block, layout) {
            self.next.set(block as usize);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if self.is_last(block, layout) {
            return self.reserve(block as usize, size);
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that `size` with this alignment is a layout; the new block does not overlap the
        // old.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            ptr::copy_nonoverlapping(block, moved, layout.size());
            moved
        }
    }
}

/// Ends the contract: a trap. Its reason exists in tests only. Unlike a panic it does not carry the path of this file
/// into every contract, whose code would then depend on where it was built.
#[inline(always)]
pub(crate) fn stop(_reason: &str) -> ! {
    core::arch::wasm32::unreachable()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
