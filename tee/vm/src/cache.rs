//! Keeps compiled contracts in memory, bounded by their bytes, and remembers code that does not compile, bounded by its number; the
//! least recently used goes first.
//!
//! Guarantees: an entry is found only under the hash of the code it was compiled from. One code is compiled by one caller at a time,
//! and others that ask for it wait for that; code that was refused is not compiled again while it is remembered, so that putting
//! it before the compiler over and over costs a look-up. What is cached has no influence on outcome or gas: a contract is charged
//! for its code whether or not it was here.
//!
//! Whoever chooses which contracts are called can make this miss, by going round more contracts than fit, and a miss costs far more time than
//! gas pays for: `cargo run --release -p phala-vm --example measure` prints how much. An execution keeps what it was given here and asks for
//! each code once, for [`crate::limits::MAX_CODES_BYTES`] of code at most, whatever it calls and however often ([`crate::codes`]). So misses are
//! bounded by the number of executions - items of the inbox, which are paid for by their class, and queries, which are not - times that.

use crate::engine::{CompileError, CompiledContract, Engine};
use phala_protocol::ids::CodeHash;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Compiled contracts by the hash of their code.
pub struct CodeCache {
    engine: Engine,
    max_bytes: usize,
    entries: Mutex<Entries>,
    /// A compilation has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Entries {
    by_hash: BTreeMap<CodeHash, (Arc<CompiledContract>, u64)>,
    bytes: usize,
    /// Code that does not compile, and when it was last asked for.
    refused: BTreeMap<CodeHash, u64>,
    under_way: BTreeSet<CodeHash>,
    compilations: u64,
    /// Counts uses; the entry with the smallest number was not used for longest.
    clock: u64,
}

impl CodeCache {
    /// Codes that are remembered as not compiling.
    pub const MAX_REFUSED: usize = 4_096;

    /// An empty cache that keeps at most `max_bytes`, or one entry if that alone is larger.
    pub fn new(engine: Engine, max_bytes: usize) -> Self {
        Self { engine, max_bytes, entries: Mutex::default(), ended: Condvar::new() }
    }

    /// The compiled contract, if it is here.
    pub fn get(&self, code_hash: &CodeHash) -> Option<Arc<CompiledContract>> {
        self.entries().get(code_hash)
    }

    /// Compiles `code` unless it is here already, or is known not to compile. Callers with other code are not held up meanwhile.
    pub fn compile(&self, code: &[u8]) -> Result<Arc<CompiledContract>, CompileError> {
        let hash = CodeHash::of(code);
        let mut entries = self.entries();
        loop {
            if let Some(found) = entries.get(&hash) {
                return Ok(found);
            }
            if entries.is_refused(&hash) {
                return Err(CompileError::RefusedBefore);
            }
            if entries.under_way.insert(hash) {
                break;
            }
            entries = self.ended.wait(entries).unwrap_or_else(PoisonError::into_inner);
        }
        entries.compilations = entries.compilations.saturating_add(1);
        drop(entries);
        let _turn = Turn { cache: self, hash };
        let compiled = self.engine.compile(code).map(Arc::new);
        let mut entries = self.entries();
        match &compiled {
            Ok(contract) => entries.insert(contract.clone(), self.max_bytes),
            Err(error) if error.is_deterministic() => entries.refuse(hash),
            // This machine's failure says nothing about the code.
            Err(_) => {}
        }
        compiled
    }

    /// How often the compiler was started.
    pub fn compilations(&self) -> u64 {
        self.entries().compilations
    }

    /// A poisoned lock is taken all the same: entries are inserted whole.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller's turn to compile a code; over when it is dropped, however that comes.
struct Turn<'a> {
    cache: &'a CodeCache,
    hash: CodeHash,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.cache.entries().under_way.remove(&self.hash);
        self.cache.ended.notify_all();
    }
}

impl Entries {
    fn tick(&mut self) -> u64 {
        self.clock = self.clock.saturating_add(1);
        self.clock
    }

    fn get(&mut self, code_hash: &CodeHash) -> Option<Arc<CompiledContract>> {
        let now = self.tick();
        let (contract, used) = self.by_hash.get_mut(code_hash)?;
        *used = now;
        Some(contract.clone())
    }

    fn is_refused(&mut self, code_hash: &CodeHash) -> bool {
        let now = self.tick();
        self.refused.get_mut(code_hash).map(|used| *used = now).is_some()
    }

    fn refuse(&mut self, code_hash: CodeHash) {
        let now = self.tick();
        self.refused.insert(code_hash, now);
        while self.refused.len() > CodeCache::MAX_REFUSED {
            let Some(oldest) = self.refused.iter().min_by_key(|(_, used)| **used).map(|(hash, _)| *hash) else {
                return;
            };
            self.refused.remove(&oldest);
        }
    }

    fn insert(&mut self, contract: Arc<CompiledContract>, max_bytes: usize) {
        let now = self.tick();
        self.bytes = self.bytes.saturating_add(contract.memory_bytes());
        if let Some((replaced, _)) = self.by_hash.insert(contract.code_hash(), (contract, now)) {
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
    fn code_that_does_not_compile_is_compiled_once_and_remembered() {
        let cache = CodeCache::new(Engine::new().unwrap(), usize::MAX);
        assert!(matches!(cache.compile(b"\0asm"), Err(CompileError::Module(_))));
        assert!(cache.get(&CodeHash::of(b"\0asm")).is_none());
        for _ in 0..3 {
            let again = cache.compile(b"\0asm").err().unwrap();
            assert!(matches!(again, CompileError::RefusedBefore) && again.is_deterministic());
        }
        assert_eq!(cache.compilations(), 1);
    }

    #[test]
    fn what_is_remembered_of_refused_code_is_bounded_and_the_least_asked_for_goes_first() {
        let cache = CodeCache::new(Engine::new().unwrap(), usize::MAX);
        let garbage = |number: usize| number.to_le_bytes();
        (0..CodeCache::MAX_REFUSED).for_each(|number| drop(cache.compile(&garbage(number))));
        assert!(matches!(cache.compile(&garbage(0)), Err(CompileError::RefusedBefore)));
        assert!(matches!(cache.compile(&garbage(CodeCache::MAX_REFUSED)), Err(CompileError::Module(_))));
        assert_eq!(cache.entries().refused.len(), CodeCache::MAX_REFUSED);
        assert!(
            matches!(cache.compile(&garbage(0)), Err(CompileError::RefusedBefore)),
            "was asked for after the others"
        );
        assert!(matches!(cache.compile(&garbage(1)), Err(CompileError::Module(_))), "was forgotten");
    }

    #[test]
    fn callers_with_one_code_share_one_compilation() {
        let cache = CodeCache::new(Engine::new().unwrap(), usize::MAX);
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| cache.compile(&code(1)).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(results.iter().all(|contract| Arc::ptr_eq(contract, &results[0])));
        assert_eq!(cache.compilations(), 1);
    }

    /// Whoever asks for more codes in turn than fit misses every time, and holds no more memory for it. An execution asks once for each.
    #[test]
    fn codes_that_do_not_fit_together_are_compiled_each_time_and_take_no_more_memory() {
        let engine = Engine::new().unwrap();
        let size = engine.compile(&code(0)).unwrap().memory_bytes();
        let cache = CodeCache::new(engine, size * 4 + size / 2);
        for _ in 0..3 {
            (0..5).for_each(|number| drop(cache.compile(&code(number)).unwrap()));
            assert!(cache.entries().bytes <= size * 4 + size / 2);
        }
        assert_eq!(cache.compilations(), 15);
        (0..30).for_each(|number| drop(cache.compile(&code(1 + number % 4)).unwrap()));
        assert_eq!(cache.compilations(), 15, "four fit");
    }
}
