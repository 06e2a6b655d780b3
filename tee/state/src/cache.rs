//! Keeps verified pages in memory, so that they are not opened and hashed again for every read.
//!
//! Guarantees: a page is found only under the hash, version, depth and map for which it was verified, so nothing here
//! ever goes stale and views of different ages share it. One that is sealed anew keeps its hash, and has another version: it may name
//! other keys of what is below. Its memory is bounded in bytes. It is filled by this crate only; which pages
//! it holds depends on what contracts and queries read.
#![expect(clippy::disallowed_types, reason = "pages are found by their key, and nothing ever walks the map")]

use crate::tree::{Namespace, NodeRef, Page, PageId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Contracts choose what is hashed: the map's hasher is keyed, so that they cannot choose where in it their pages lie.
type Key = (phala_protocol::Hash, u64, u8, Namespace);

/// Two halves: what was used lately, and what was used before that. A full young half becomes the old one, and the old
/// one is forgotten; a hit in the old half moves it back.
#[derive(Default)]
struct Halves {
    young: HashMap<Key, Arc<Page>>,
    old: HashMap<Key, Arc<Page>>,
    /// Bytes of the young half.
    bytes: usize,
}

/// Verified pages.
pub(crate) struct PageCache {
    halves: Mutex<Halves>,
    half: usize,
}

impl PageCache {
    /// Keeps about `bytes` of pages.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { halves: Mutex::default(), half: bytes / 2 }
    }

    pub(crate) fn get(&self, namespace: Namespace, id: &PageId, node: &NodeRef) -> Option<Arc<Page>> {
        let key = key(namespace, id, node);
        // A panic elsewhere while the lock was held leaves complete maps: nothing is half written.
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = halves.young.get(&key) {
            return Some(page.clone());
        }
        let page = halves.old.remove(&key)?;
        self.insert(&mut halves, key, page.clone());
        Some(page)
    }

    pub(crate) fn put(&self, namespace: Namespace, id: &PageId, node: &NodeRef, page: Arc<Page>) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        self.insert(&mut halves, key(namespace, id, node), page);
    }

    /// Makes room: only views of versions before ask for this page again.
    pub(crate) fn remove(&self, namespace: Namespace, id: &PageId, node: &NodeRef) {
        let key = key(namespace, id, node);
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.old.remove(&key);
        if let Some(page) = halves.young.remove(&key) {
            halves.bytes = halves.bytes.saturating_sub(page.memory());
        }
    }

    fn insert(&self, halves: &mut Halves, key: Key, page: Arc<Page>) {
        let bytes = page.memory();
        if halves.bytes.saturating_add(bytes) > self.half {
            halves.old = std::mem::take(&mut halves.young);
            halves.bytes = 0;
        }
        if halves.young.insert(key, page).is_none() {
            halves.bytes = halves.bytes.saturating_add(bytes);
        }
    }
}

fn key(namespace: Namespace, id: &PageId, node: &NodeRef) -> Key {
    (node.hash, node.version, id.depth(), namespace)
}
