//! Keeps verified pages in memory, so that the upper levels of the tree are not opened and hashed again for every read.
//!
//! Guarantees: a page is found only under the hash, version, depth and map for which it was verified, so nothing here
//! ever goes stale and views of different ages share it. Its memory is bounded by a number of pages (at most about
//! 2.5 KB each). It is filled by this crate only; which pages it holds depends on what contracts and queries read.

use crate::tree::{Namespace, NodeRef, Page, PageId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

type Key = (phala_protocol::Hash, u64, u8, Namespace);

/// Two halves: what was used lately, and what was used before that. A full young half becomes the old one, and the old
/// one is forgotten; a hit in the old half moves it back.
#[derive(Default)]
struct Halves {
    young: BTreeMap<Key, Arc<Page>>,
    old: BTreeMap<Key, Arc<Page>>,
}

/// Verified pages.
pub(crate) struct PageCache {
    halves: Mutex<Halves>,
    half: usize,
}

impl PageCache {
    /// Keeps about `pages` pages.
    pub(crate) fn new(pages: usize) -> Self {
        Self { halves: Mutex::default(), half: pages / 2 }
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

    fn insert(&self, halves: &mut Halves, key: Key, page: Arc<Page>) {
        if halves.young.len() >= self.half {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(key, page);
    }
}

fn key(namespace: Namespace, id: &PageId, node: &NodeRef) -> Key {
    (node.hash, node.version, id.depth(), namespace)
}
