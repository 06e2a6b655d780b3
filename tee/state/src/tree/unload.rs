//! Hands out what of a tree is in memory only, and makes the same tree without it.

use super::{Bucket, Leaf, Page, PageId, Slots, Subtree};
use std::sync::Arc;

/// Takes the pages and entries that are not on the disk, children first.
pub(crate) trait Unloaded {
    type Error;
    fn page(&mut self, id: &PageId, subtree: &Subtree, page: &Arc<Page>) -> Result<(), Self::Error>;
    fn entry(&mut self, leaf: &Leaf, row: &super::EntryRow) -> Result<(), Self::Error>;
}

/// The tree under `root` as it is when everything that `to` was given is on the disk. Recursion ends at the first page that is
/// there already, and is bounded by the depth of a path.
pub(crate) fn unload<U: Unloaded>(id: PageId, root: &Subtree, to: &mut U) -> Result<Subtree, U::Error> {
    let Some(page) = &root.page else { return Ok(root.clone()) };
    let stored = match &**page {
        Page::Bucket(bucket) => {
            let mut leaves = bucket.leaves.clone();
            for leaf in &mut leaves {
                if let Some(row) = leaf.row.take() {
                    to.entry(leaf, &row)?;
                }
            }
            Page::Bucket(Bucket { leaves, inner: bucket.inner.clone() })
        }
        Page::Branch(slots) => {
            let mut stored: Box<Slots> = Box::default();
            for ((nibble, slot), stored) in (0u8..).zip(slots.iter()).zip(stored.iter_mut()) {
                *stored = slot.as_ref().map(|slot| unload(id.child(nibble), slot, to)).transpose()?;
            }
            Page::Branch(stored)
        }
    };
    let subtree = Subtree::stored(root.node);
    to.page(&id, &subtree, &Arc::new(stored))?;
    Ok(subtree)
}
