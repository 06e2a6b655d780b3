//! Brings what is stored under newer keys, page by page.
//!
//! A page whose own row is under older keys becomes one that is in memory only, with the leaves, small entries and hashes that were read:
//! none is decoded, hashed or copied for it. It is sealed when what is in memory is written. An entry that lies apart has a row of its own,
//! which is opened, and is in memory from then on as if it had been written again.
//!
//! Guarantees: entries and root stay. Of the part that was looked at nothing is under keys older than the stamp's any more, and a
//! subtree of which nothing is comes back as it was, unread ([`super::NodeRef::oldest`]): what commits wrote since the keys changed is not
//! sealed again. Rows come through the [`PageSource`], verified; how large entries are, contracts choose.

use super::{Branch, Bucket, Leaf, LeafRow, Page, PageId, PageSource, Path, Stamp, Subtree, Update};
use crate::error::{IntegrityError, ReadError, Row};
use std::sync::Arc;

/// Which part of a tree to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// Paths up to here are done.
    pub after: Option<&'a Path>,
    /// Entries to look at, or up to a page more; those that are passed over count.
    pub entries: u64,
    /// Bytes that may be in memory only for it, or up to a page more.
    pub bytes: usize,
}

/// A tree of which a part was looked at.
#[derive(Default)]
pub(crate) struct Resealed {
    pub update: Update,
    /// Paths up to here are done; `None` if none is left behind those that were before.
    pub last: Option<Path>,
    /// Entries that were looked at, or passed over.
    pub entries: u64,
    /// Rows that were under older keys.
    pub rows: usize,
}

/// The tree under `root`, with `part` of it under the keys of `stamp`.
pub(super) fn reseal(
    source: &impl PageSource,
    root: Option<&Subtree>,
    part: Part<'_>,
    stamp: Stamp,
) -> Result<Resealed, ReadError> {
    let mut resealing = Resealing { source, part, stamp, stopped: false, resealed: Resealed::default() };
    if let Some(root) = root {
        let next = resealing.node(PageId::ROOT, root)?;
        resealing.resealed.update.root = Some(next.unwrap_or_else(|| root.clone()));
    }
    Ok(resealing.resealed)
}

/// One walk. Recursion is bounded by the 64 nibbles of a path: [`Page::verify`] refuses deeper branches.
struct Resealing<'a, S> {
    source: &'a S,
    part: Part<'a>,
    stamp: Stamp,
    /// Something was left for the next walk.
    stopped: bool,
    resealed: Resealed,
}

impl<S: PageSource> Resealing<'_, S> {
    /// What becomes of the subtree at `id`; `None` if it stays as it is.
    fn node(&mut self, id: PageId, subtree: &Subtree) -> Result<Option<Subtree>, ReadError> {
        let last = id.last();
        if self.part.after.is_some_and(|after| last <= *after) {
            return Ok(None);
        }
        if self.is_enough() {
            self.stopped = true;
            return Ok(None);
        }
        if subtree.node.oldest >= self.stamp.generation {
            self.looked_at(subtree.node.count, last);
            return Ok(None);
        }
        let page = self.source.page_of(&id, subtree)?;
        let next = match &**page {
            Page::Bucket(bucket) => {
                let next = self.bucket(bucket, &page, subtree)?;
                self.looked_at(page.count(), last);
                Some(next)
            }
            Page::Branch(branch) => {
                let next = self.branch(id, branch, subtree)?;
                if !self.stopped {
                    // There may be nothing behind the last child.
                    self.resealed.last = Some(last);
                }
                next
            }
        };
        let Some(next) = next else { return Ok(None) };
        self.resealed.rows += usize::from(subtree.node.generation < self.stamp.generation);
        self.resealed.update.replaces(id, subtree);
        Ok(Some(self.resealed.update.holds(subtree.node.hash, next, self.stamp)))
    }

    /// The page of a bucket, with the entries in memory that lie apart under older keys.
    fn bucket(&mut self, bucket: &Bucket, page: &Arc<Page>, subtree: &Subtree) -> Result<Arc<Page>, ReadError> {
        let mut values = Vec::new();
        for (index, leaf, generation) in bucket.apart_before(self.stamp.generation) {
            let row = LeafRow::Fresh(self.source.entry(leaf)?);
            values.push((index, Leaf { path: leaf.path, hash: leaf.hash, row }));
            self.resealed.update.stale.entries.push((leaf.path, generation));
        }
        if values.is_empty() {
            return Ok(page.clone());
        }
        self.resealed.rows += values.len();
        let (bucket, hash) = bucket.with_values(&values)?;
        if hash != Some(subtree.node.hash) {
            return Err(IntegrityError::NotCommitted(Row::Page).into());
        }
        Ok(Arc::new(Page::Bucket(bucket)))
    }

    /// The page of a branch, with its part under the present keys; `None` if nothing of it has changed.
    fn branch(&mut self, id: PageId, branch: &Branch, subtree: &Subtree) -> Result<Option<Arc<Page>>, ReadError> {
        let (mut next, mut changed) = (branch.clone(), 0u16);
        for nibble in 0..16 {
            let Some(child) = branch.slot(nibble) else { continue };
            if let Some(child) = self.node(id.child(nibble), child)? {
                changed |= 1 << nibble;
                next.slots.set(nibble, Some(child));
            }
        }
        if next.hash(&id, changed) != Some(subtree.node.hash) {
            return Err(IntegrityError::NotCommitted(Row::Page).into());
        }
        let (node, page) = (&subtree.node, Page::Branch(next));
        let oldest = page.oldest().map_or(node.generation, |oldest| oldest.min(node.generation));
        // What a parent says that is not so would be looked at for ever.
        let stays = changed == 0 && node.generation >= self.stamp.generation && oldest == node.oldest;
        Ok((!stays).then(|| Arc::new(page)))
    }

    /// Whether it has looked at what it should, or holds what it may: at something in any case.
    fn is_enough(&self) -> bool {
        let Resealed { update, last, entries, .. } = &self.resealed;
        let bytes = usize::try_from(update.unwritten).unwrap_or(0);
        last.is_some() && (*entries >= self.part.entries || bytes >= self.part.bytes)
    }

    /// Everything up to `last` is done.
    fn looked_at(&mut self, entries: u64, last: Path) {
        self.resealed.entries = self.resealed.entries.saturating_add(entries);
        self.resealed.last = Some(last);
    }
}
