//! The contracts of a simulation: the sample token as its author builds it, a keeper that does what its input's first byte says, and
//! keepers of any size.

use crate::contract;
use std::sync::OnceLock;

pub use crate::cargo::token;
pub use contract::{DENY, KEEP, LOOP, REVERT, TRAP};

/// The keeper's WASM.
pub fn keeper() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(contract::code)
}

/// Bytes of the section that makes [`padded`] large.
const PADDING: usize = 400_000;

/// The keeper's WASM with a custom section that means nothing: another code for each number.
pub fn padded(number: u8) -> Vec<u8> {
    let section = [&[1, b'p'][..], &vec![number; PADDING]].concat();
    let mut wasm = [keeper(), &[0]].concat();
    let mut length = section.len();
    while length >= 128 {
        wasm.push((length % 128) as u8 | 128);
        length /= 128;
    }
    wasm.push(length as u8);
    [wasm, section].concat()
}
