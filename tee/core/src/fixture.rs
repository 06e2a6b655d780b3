//! A cluster's store for tests of what stands in one.
//!
//! INSECURE: its key is known and its entropy counts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use phala_crypto::Secret;
use phala_state::{ClusterStore, Entropy, EntropyError, Options, StorageKey};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// An empty store, and the folder that it lies in, which goes with the second value.
pub(crate) fn insecure_store() -> (ClusterStore, tempfile::TempDir) {
    let folder = tempfile::TempDir::new().unwrap();
    let key = StorageKey::derive(1, &Secret::new([7; 32]), b"machine");
    let entropy = Box::new(Counting(AtomicU64::new(0)));
    let store = ClusterStore::open(folder.path().join("store"), key, entropy, Options::default()).unwrap();
    (store, folder)
}
