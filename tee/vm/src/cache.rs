//! Keeps compiled contracts in memory, bounded by their bytes; the least recently used goes first.
//!
//! Guarantees: an entry is found only under the hash of the code it was compiled from. What is cached has no
//! influence on outcome or gas: a contract is charged for its code whether or not it was here. Whoever chooses which
//! contracts are called can make this miss; the cluster's inbox limits how often.

use crate::engine::{CompileError, CompiledContract, Engine};
use phala_protocol::ids::CodeHash;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Compiled contracts by the hash of their code.
pub struct CodeCache {
    engine: Engine,
    max_bytes: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_hash: BTreeMap<CodeHash, (Arc<CompiledContract>, u64)>,
    bytes: usize,
    /// Counts uses; the entry with the smallest number was not used for longest.
    clock: u64,
}

impl CodeCache {
    /// An empty cache that keeps at most `max_bytes`, or one entry if that alone is larger.
    pub fn new(engine: Engine, max_bytes: usize) -> Self {
        Self { engine, max_bytes, entries: Mutex::default() }
    }

    /// The compiled contract, if it is here.
    pub fn get(&self, code_hash: &CodeHash) -> Option<Arc<CompiledContract>> {
        self.entries().get(code_hash)
    }

    /// Compiles `code` unless it is here already. Other callers are not held up meanwhile; two that ask for the same
    /// code at once may both compile it.
    pub fn compile(&self, code: &[u8]) -> Result<Arc<CompiledContract>, CompileError> {
        if let Some(found) = self.get(&CodeHash::of(code)) {
            return Ok(found);
        }
        let compiled = Arc::new(self.engine.compile(code)?);
        self.entries().insert(compiled.clone(), self.max_bytes);
        Ok(compiled)
    }

    /// A poisoned lock is taken all the same: entries are inserted whole.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn get(&mut self, code_hash: &CodeHash) -> Option<Arc<CompiledContract>> {
        self.clock = self.clock.saturating_add(1);
        let (contract, used) = self.by_hash.get_mut(code_hash)?;
        *used = self.clock;
        Some(contract.clone())
    }

    fn insert(&mut self, contract: Arc<CompiledContract>, max_bytes: usize) {
        self.clock = self.clock.saturating_add(1);
        self.bytes = self.bytes.saturating_add(contract.memory_bytes());
        if let Some((replaced, _)) = self.by_hash.insert(contract.code_hash(), (contract, self.clock)) {
            self.bytes = self.bytes.saturating_sub(replaced.memory_bytes());
        }
        while self.bytes > max_bytes && self.by_hash.len() > 1 {
            let Some(oldest) = self.by_hash.iter().min_by_key(|(_, (_, used))| *used).map(|(hash, _)| *hash) else {
                return;
            };
            if let Some((removed, _)) = self.by_hash.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(removed.memory_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn code(number: u32) -> Vec<u8> {
        wat::parse_str(format!(
            r#"(module (memory (export "memory") 1)
                (func (export "deploy") (result i32) i32.const {number}) (func (export "call") (result i32) i32.const 0)
                (func (export "query") (result i32) i32.const 0))"#
        ))
        .unwrap()
    }

    #[test]
    fn least_recently_used_is_dropped_at_the_bound() {
        let engine = Engine::new().unwrap();
        let size = engine.compile(&code(0)).unwrap().memory_bytes();
        let cache = CodeCache::new(engine, size * 2 + size / 2);
        let hashes: Vec<_> = (0..2).map(|number| cache.compile(&code(number)).unwrap().code_hash()).collect();
        assert!(cache.get(&hashes[0]).is_some());
        cache.compile(&code(2)).unwrap();
        assert!(cache.get(&hashes[0]).is_some(), "was used after the other");
        assert!(cache.get(&hashes[1]).is_none());
    }

    #[test]
    fn same_code_is_compiled_once() {
        let cache = CodeCache::new(Engine::new().unwrap(), 0);
        let first = cache.compile(&code(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.compile(&code(1)).unwrap()));
    }

    #[test]
    fn invalid_code_is_not_kept() {
        let cache = CodeCache::new(Engine::new().unwrap(), usize::MAX);
        assert!(matches!(cache.compile(b"\0asm"), Err(CompileError::Module(_))));
        assert!(cache.get(&CodeHash::of(b"\0asm")).is_none());
    }
}
