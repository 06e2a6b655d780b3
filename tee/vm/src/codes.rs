//! The codes that one execution runs, kept until it ends.
//!
//! Guarantees: an execution asks its world for a code at most once, however many contracts have it, however often they are called and whatever
//! became of that; and for so many codes and bytes of code at most ([`MAX_CODES`], [`MAX_CODES_BYTES`]). So the compiler's work for an execution
//! is bounded by a constant, even where nothing that it calls is in memory. What is counted is what was called and not what was compiled:
//! the bound is met at the same call on every replica, whatever each has in memory. A call that failed stays counted. Contracts control whom they call.

use crate::{
    engine::CompiledContract,
    limits::{MAX_CODES, MAX_CODES_BYTES},
    module::CodeSize,
};
use phala_protocol::ids::CodeHash;
use std::{collections::BTreeMap, sync::Arc};

/// Codes by their hash.
pub(crate) struct Codes {
    by_hash: BTreeMap<CodeHash, Arc<CompiledContract>>,
    /// Of all of them, before they were compiled.
    bytes: usize,
}

impl Codes {
    /// Those of an execution that begins: the first contract's.
    pub(crate) fn beginning_with(first: Arc<CompiledContract>) -> Self {
        let mut codes = Self { by_hash: BTreeMap::new(), bytes: 0 };
        codes.keep(first);
        codes
    }

    /// The code, if the execution has run it.
    pub(crate) fn get(&self, code_hash: &CodeHash) -> Option<Arc<CompiledContract>> {
        self.by_hash.get(code_hash).cloned()
    }

    /// Whether another code of this size may be run.
    pub(crate) fn have_room_for(&self, size: &CodeSize) -> bool {
        self.by_hash.len() < MAX_CODES && self.bytes.saturating_add(size.code_bytes as usize) <= MAX_CODES_BYTES
    }

    /// Keeps a code that was not here.
    pub(crate) fn keep(&mut self, code: Arc<CompiledContract>) {
        self.bytes = self.bytes.saturating_add(code.size().code_bytes as usize);
        self.by_hash.insert(code.code_hash(), code);
    }
}
