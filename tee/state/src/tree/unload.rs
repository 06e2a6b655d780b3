//! Hands out what of a tree is in memory only, and makes the same tree without it.

use super::{
    page::{Bucket, Small},
    Leaf, LeafRow, Page, PageId, Subtree,
};
use crate::error::{IntegrityError, Row};
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
            let (mut leaves, mut small) = (bucket.leaves.clone(), Small::default());
            for leaf in &mut leaves {
                match &leaf.row {
                    LeafRow::Apart => {}
                    LeafRow::Fresh(row) if !row.is_small() => {
                        to.entry(leaf, row)?;
                        leaf.row = LeafRow::Apart;
                    }
                    LeafRow::Fresh(row) => {
                        let span = small.push(row);
                        (leaf.row, leaf.generation) = (LeafRow::Within(span), root.node.generation);
                    }
                    LeafRow::Within(span) => {
                        let row = bucket.small.get(*span).ok_or(IntegrityError::Malformed(Row::Page))?;
                        // With the page it is sealed anew.
                        let span = small.push(&row);
                        (leaf.row, leaf.generation) = (LeafRow::Within(span), root.node.generation);
                    }
                }
            }
            Page::Bucket(Bucket { leaves, small: Arc::new(small), inner: bucket.inner.clone() })
        }
        Page::Branch(branch) => {
            let mut stored = branch.clone();
            for (nibble, slot) in (0u8..).zip(stored.slots.iter_mut()) {
                if let Some(subtree) = slot {
                    *subtree = unload(id.child(nibble), subtree, to)?;
                }
            }
            Page::Branch(stored)
        }
    };
    let subtree = Subtree::stored(root.node);
    to.page(&id, &subtree, &Arc::new(stored))?;
    Ok(subtree)
}
