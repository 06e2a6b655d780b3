//! Contract code on this machine: bytes kept in the store's records, compiled once in memory.
//!
//! Guarantees: code is known by its hash alone, so it does not matter who brought it; nothing compiled is ever written to a disk
//! whose host could swap it. Deployers control the bytes; the engine judges them.

use phala_protocol::CodeHash;
use phala_state::{ReadError, View};
use phala_vm::{CodeCache, CompileError, CompiledContract, Engine, EngineError, Layout};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Compiled code kept in memory, in bytes.
const CACHE_BYTES: usize = 128 * 1024 * 1024;

/// The code that contracts of one cluster run.
pub(crate) struct Codes {
    cache: CodeCache,
    /// Delivered, and not yet in the store.
    delivered: Mutex<BTreeMap<CodeHash, Arc<Vec<u8>>>>,
}

impl Codes {
    pub(crate) fn new(layout: Layout) -> Result<Self, EngineError> {
        Ok(Self { cache: CodeCache::new(Engine::in_layout(layout)?, CACHE_BYTES), delivered: Mutex::default() })
    }

    /// Takes code that was brought, if it was wanted. What is wanted is of one boundary, whose items the chain bounds: a bound of
    /// our own would let a block that creates more contracts stop the cluster.
    pub(crate) fn deliver(&self, wanted: &[CodeHash], code: Vec<u8>) {
        let hash = CodeHash::of(&code);
        let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.contains(&hash) {
            delivered.insert(hash, Arc::new(code));
        }
    }

    /// The bytes of `hash`, from what was delivered or from the store.
    pub(crate) fn bytes(&self, hash: &CodeHash, view: &View) -> Result<Option<Arc<Vec<u8>>>, ReadError> {
        if let Some(code) = self.delivered.lock().unwrap_or_else(PoisonError::into_inner).get(hash) {
            return Ok(Some(code.clone()));
        }
        Ok(view.record(&record_key(hash))?.map(Arc::new))
    }

    /// The compiled contract, compiling it if it is not here.
    pub(crate) fn compiled(&self, hash: &CodeHash, code: &[u8]) -> Result<Arc<CompiledContract>, CompileError> {
        match self.cache.get(hash) {
            Some(found) => Ok(found),
            None => self.cache.compile(code),
        }
    }

    /// The compiled contract, if it is in memory.
    pub(crate) fn cached(&self, hash: &CodeHash) -> Option<Arc<CompiledContract>> {
        self.cache.get(hash)
    }

    /// Forgets a delivered code that the store has now.
    pub(crate) fn stored(&self, hash: &CodeHash) {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
    }
}

/// What keys of records that keep a code's bytes begin with.
const PREFIX: &[u8] = b"code/";

/// Key of the record that keeps a code's bytes.
pub(crate) fn record_key(hash: &CodeHash) -> Vec<u8> {
    [PREFIX, &hash.0].concat()
}

/// Whether a record that comes from elsewhere is no code, or the one that its key names.
pub(crate) fn is_sound(key: &[u8], value: &[u8]) -> bool {
    key.strip_prefix(PREFIX).is_none_or(|hash| *hash == CodeHash::of(value).0)
}
