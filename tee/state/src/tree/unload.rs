//! Hands out what of a tree is in memory only, and makes the same tree without it.

use super::{bucket::Small, Leaf, LeafRow, Page, PageId, Subtree};
use crate::error::IntegrityError;
use std::sync::Arc;

/// Takes the pages that are not on the disk, and the entries that lie apart from them; children first.
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
        Page::Bucket(bucket) => {
            let (mut leaves, mut small) = (Vec::with_capacity(bucket.len()), Small::default());
            for (leaf, home) in bucket.leaves() {
                let mut laid = small.lay(leaf, home)?;
                match &laid.row {
                    LeafRow::Apart => {}
                    LeafRow::Fresh(row) => {
                        to.entry(&laid, row)?;
                        laid.row = LeafRow::Apart;
                    }
                    // With the page it is sealed anew.
                    LeafRow::Within(_) | LeafRow::Ours(_) => laid.generation = root.node.generation,
                }
                leaves.push(laid);
            }
            Page::Bucket(bucket.written(leaves, small))
        }
        Page::Branch(branch) => {
            let mut stored = branch.clone();
            for nibble in 0..16 {
                if let Some(subtree) = branch.slot(nibble).filter(|subtree| subtree.page.is_some()) {
                    stored.slots.set(nibble, Some(unload(id.child(nibble), subtree, to)?));
                }
            }
            Page::Branch(stored)
        }
    };
    let subtree = Subtree::stored(root.node);
    to.page(&id, &subtree, &Arc::new(stored))?;
    Ok(subtree)
}
