//! Hands out what of a tree is in memory only, and makes the same tree without it.

use super::{small::Small, Leaf, LeafRow, Page, PageId, Subtree};
use crate::error::IntegrityError;
use std::sync::Arc;

/// Takes the pages that are not on the disk, and the entries that lie apart from them, all for the keys of their page; children first.
pub(crate) trait Unloaded {
    type Error: From<IntegrityError>;
    fn page(&mut self, id: &PageId, subtree: &Subtree, page: &Arc<Page>) -> Result<(), Self::Error>;
    fn entry(&mut self, leaf: &Leaf, row: &super::EntryRow) -> Result<(), Self::Error>;
}

/// The tree under `root` as it is when everything that `to` was given is on the disk. Recursion ends at the first page that is
/// there already, and is bounded by the depth of a path.
pub(crate) fn unload<U: Unloaded>(id: PageId, root: &Subtree, to: &mut U) -> Result<Subtree, U::Error> {
    let Some(page) = &root.page else { return Ok(root.clone()) };
    let stored = match &**page {
        // As it was read, or written before: only the keys are others.
        Page::Bucket(bucket) if bucket.is_exact() => page.clone(),
        Page::Bucket(bucket) => {
            let (mut leaves, mut small) = (Vec::with_capacity(bucket.len()), Small::with_room(bucket.room()));
            for (leaf, home) in bucket.leaves() {
                let mut laid = small.lay(leaf, home)?;
                if let LeafRow::Fresh(row) = &laid.row {
                    to.entry(&laid, row)?;
                    laid.row = LeafRow::Apart(root.node.generation);
                }
                leaves.push(laid);
            }
            Arc::new(Page::Bucket(bucket.written(leaves, small)))
        }
        Page::Branch(branch) => {
            let mut stored = branch.clone();
            for nibble in 0..16 {
                if let Some(subtree) = branch.slot(nibble).filter(|subtree| subtree.page.is_some()) {
                    stored.slots.set(nibble, Some(unload(id.child(nibble), subtree, to)?));
                }
            }
            Arc::new(Page::Branch(stored))
        }
    };
    let subtree = Subtree::stored(root.node);
    to.page(&id, &subtree, &stored)?;
    Ok(subtree)
}
