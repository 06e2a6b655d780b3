//! What a module without an operating system brings itself: memory, an end for panics, and its exports.
//!
//! The host is the test that instantiated it, which it trusts: it measures nothing and protects nothing.

use alloc::{boxed::Box, string::String, vec, vec::Vec};
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
};

/// Grows, and never gives back.
struct Memory(UnsafeCell<(usize, usize)>);

// SAFETY: a module without threads.
#[expect(unsafe_code, reason = "a global must be Sync")]
unsafe impl Sync for Memory {}

const PAGE: usize = 65_536;

// SAFETY: hands out what lies between `next` and `end`, aligned, and moves `next` behind it: no two allocations overlap, and all
// lie in memory that `memory_grow` gave to nobody else.
#[expect(unsafe_code, reason = "there is no allocator on this target")]
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (next, end) = unsafe { &mut *self.0.get() };
        let Some(start) = next.checked_add(layout.align() - 1).map(|at| at & !(layout.align() - 1)) else {
            return core::ptr::null_mut();
        };
        let Some(after) = start.checked_add(layout.size()) else { return core::ptr::null_mut() };
        if after > *end || *end == 0 {
            let pages = layout.size().saturating_add(layout.align()).div_ceil(PAGE).max(16);
            let grown = core::arch::wasm32::memory_grow(0, pages);
            if grown == usize::MAX {
                return core::ptr::null_mut();
            }
            // Somebody else may have grown it between: begin anew where this growth begins.
            let base = grown * PAGE;
            if base != *end {
                *next = base;
            }
            *end = base + pages * PAGE;
            return unsafe { self.alloc(layout) };
        }
        *next = after;
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static MEMORY: Memory = Memory(UnsafeCell::new((0, 0)));

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

struct Slot<T>(UnsafeCell<T>);

// SAFETY: as above.
#[expect(unsafe_code, reason = "a global must be Sync")]
unsafe impl<T> Sync for Slot<T> {}

static CASE: Slot<Vec<u8>> = Slot(UnsafeCell::new(Vec::new()));
static TEXT: Slot<String> = Slot(UnsafeCell::new(String::new()));

/// Room for a case.
#[expect(unsafe_code, reason = "an export, and a global of a module without threads")]
#[no_mangle]
extern "C" fn reserve(length: usize) -> *mut u8 {
    // SAFETY: no other reference to it lives across calls.
    let case = unsafe { &mut *CASE.0.get() };
    *case = Vec::from(Box::<[u8]>::from(vec![0; length]));
    case.as_mut_ptr()
}

/// Judges what is there; gives the length of the text.
#[expect(unsafe_code, reason = "an export, and globals of a module without threads")]
#[no_mangle]
extern "C" fn run() -> usize {
    // SAFETY: no other reference to either lives across calls.
    let (case, text) = unsafe { (&*CASE.0.get(), &mut *TEXT.0.get()) };
    *text = crate::judge(case);
    text.len()
}

/// Where the text is.
#[expect(unsafe_code, reason = "an export, and a global of a module without threads")]
#[no_mangle]
extern "C" fn text() -> *const u8 {
    // SAFETY: as above.
    unsafe { (*TEXT.0.get()).as_ptr() }
}
