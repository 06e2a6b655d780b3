//! The contracts of a simulation: the sample token as its author builds it, and a keeper that does what its input's first byte says.

use crate::contract;
use std::sync::OnceLock;

pub use crate::cargo::token;
pub use contract::{DENY, KEEP, LOOP, REVERT, TRAP};

/// The keeper's WASM.
pub fn keeper() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(contract::code)
}
