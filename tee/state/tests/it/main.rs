//! The store as its caller and as its host see it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod blocks;
mod crash;
mod disk;
mod host;
mod journal;
mod keys;
mod model;
mod views;

use disk::MemoryDisk;
use phala_crypto::Secret;
use phala_protocol::{domain, hash_value, ContractId, Hash};
use phala_state::{ClusterStore, Entropy, EntropyError, OpenError, Options, StorageKey};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// What the entries should be.
pub type Model = BTreeMap<(ContractId, Vec<u8>), Vec<u8>>;

/// A generator for tests: splitmix64.
pub struct Seeded(AtomicU64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub fn next(&self) -> u64 {
        let mut value = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub fn below(&self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

pub fn key(epoch: u32) -> StorageKey {
    StorageKey::derive(epoch, &Secret::new([epoch as u8; 32]), b"this machine")
}

/// Little memory, so that tests read the disk.
pub fn options() -> Options {
    Options { file_cache_bytes: 1 << 20, tree_cache_bytes: 16 << 10, journal_bytes: 0, unwritten_bytes: 1 << 30 }
}

pub fn try_open(disk: &MemoryDisk, epoch: u32, seed: u64) -> Result<ClusterStore, OpenError> {
    try_open_with(disk, epoch, seed, 0)
}

/// As [`try_open`], with room for so many bytes of journal.
pub fn try_open_with(
    disk: &MemoryDisk,
    epoch: u32,
    seed: u64,
    journal_bytes: usize,
) -> Result<ClusterStore, OpenError> {
    let options = Options { journal_bytes, ..options() };
    ClusterStore::open_with_backend(disk.clone(), key(epoch), Box::new(Seeded::new(seed)), options)
}

pub fn open(disk: &MemoryDisk) -> ClusterStore {
    try_open(disk, 1, 1).unwrap()
}

/// As [`open`], with room for so many bytes of journal.
pub fn open_with(disk: &MemoryDisk, journal_bytes: usize) -> ClusterStore {
    try_open_with(disk, 1, 1, journal_bytes).unwrap()
}

pub fn contract(byte: u8) -> ContractId {
    ContractId([byte; 32])
}

pub fn root_of(model: &Model) -> Hash {
    let entries: BTreeMap<Hash, Hash> = model
        .iter()
        .map(|((contract, key), value)| {
            let path = hash_value(domain::STATE_PATH, &(0u8, contract, key));
            let value = hash_value(domain::STATE_LEAF, &(0u8, value));
            (path, hash_value(domain::STATE_LEAF, &(1u8, path, value)))
        })
        .collect();
    subtree(&entries.into_iter().collect::<Vec<_>>(), 0)
}

/// The root by the definition in the crate's documentation, written once more.
fn subtree(leaves: &[(Hash, Hash)], bit: usize) -> Hash {
    match leaves {
        [] => [0; 32],
        [(_, leaf)] => *leaf,
        _ => {
            let middle =
                leaves.iter().position(|(path, _)| path[bit / 8] << (bit % 8) & 0x80 != 0).unwrap_or(leaves.len());
            match leaves.split_at(middle) {
                ([], one) | (one, []) => subtree(one, bit + 1),
                (left, right) => {
                    hash_value(domain::STATE_NODE, &(bit as u8, subtree(left, bit + 1), subtree(right, bit + 1)))
                }
            }
        }
    }
}

/// Checks that the store holds exactly `model`.
pub fn assert_holds(store: &ClusterStore, model: &Model) {
    let view = store.view();
    assert_eq!(view.root(), root_of(model));
    assert_eq!(view.len(), model.len() as u64);
    for ((contract, key), value) in model {
        assert_eq!(view.get(contract, key).unwrap().as_ref(), Some(value));
    }
    let listed: Model = view
        .entries(None, usize::MAX)
        .unwrap()
        .into_iter()
        .map(|entry| ((entry.contract, entry.key), entry.value))
        .collect();
    assert_eq!(&listed, model);
}

/// Commits `model`'s entries with `meta` in one batch.
pub fn fill(store: &ClusterStore, model: &Model, meta: &[u8]) {
    let mut batch = store.begin();
    for ((contract, key), value) in model {
        batch.set(contract, key, value.clone()).unwrap();
    }
    store.commit(batch, meta.to_vec(), Vec::new()).unwrap();
}

/// Small ones, that lie in their bucket's row, and every fifth large, in a row of its own.
pub fn entries(count: u32) -> Model {
    (0..count)
        .map(|number| {
            let value = format!("value {number}").repeat(if number % 5 == 1 { 40 } else { 1 });
            ((contract((number % 3) as u8), number.to_le_bytes().to_vec()), value.into_bytes())
        })
        .collect()
}
