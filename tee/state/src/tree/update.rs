//! One batch of changes applied to a tree, in memory.
//!
//! Guarantees: subtrees that no change touches keep their page; the shape follows from the set of entries alone. Contracts choose the
//! keys, whose hashes are the paths: nobody aims at a depth. Rows come through the [`PageSource`], verified.

use super::{
    bucket::bit_at,
    first_difference,
    page::Slots,
    small::{gathered, Small},
    Branch, Bucket, Change, Leaf, LeafRow, Page, PageId, PageSource, Stamp, Subtree, Update, BUCKET_LEAVES,
    COLLAPSE_LEAVES, EMPTY_ROOT, PATH_NIBBLES,
};
use crate::error::ReadError;
use phala_protocol::Hash;
use std::sync::Arc;

/// The tree under `root` after `changes`.
pub(super) fn apply(
    source: &impl PageSource,
    root: Option<&Subtree>,
    changes: &[Change],
    stamp: Stamp,
) -> Result<Update, ReadError> {
    let mut updating = Updating { source, stamp, update: Update::default() };
    let root = updating.node(PageId::ROOT, root, changes)?;
    Ok(Update { root, ..updating.update })
}

/// One batch's descent. Recursion is bounded by the 64 nibbles of a path: [`Page::verify`] refuses deeper branches.
struct Updating<'a, S> {
    source: &'a S,
    stamp: Stamp,
    update: Update,
}

/// What changes make of a bucket's leaves, and what they leave of the hashes above them.
#[derive(Default)]
struct Merged {
    leaves: Vec<Leaf>,
    /// Beside each leaf the hash of the node whose right side it begins, valid but above leaves that are `changed`.
    ///
    /// A node stands for all leaves whose paths begin alike. If none of these is new, and none went from among them, it was there
    /// before, above the same leaves; and whichever leaf went from among them, one of its neighbours is still there.
    inner: Vec<Hash>,
    /// Beside each leaf the first bit in which its path differs from the one before; zero for the first.
    ///
    /// Where leaves between two went, these differ first where any two neighbours from the one to the other did. So only a new leaf's
    /// path, and that of the leaf behind it, are compared with the one before.
    bits: Vec<u8>,
    /// The least of the bits beside the leaves before the next one that were removed.
    least: Option<u8>,
    /// The last leaf has a path that was not there before.
    new: bool,
    /// The leaves that are new or have another value, and the neighbours of those that were removed.
    changed: u64,
    /// The leaf before the next one was removed.
    gap: bool,
}

impl Merged {
    fn keep(&mut self, leaf: &Leaf, bit: u8, inner: Hash) {
        if std::mem::take(&mut self.gap) {
            self.changed |= bit_at(self.leaves.len());
        }
        self.push(leaf.clone(), Some(bit), inner);
    }

    /// `bit` is what stood beside the leaf that had this path.
    fn write(&mut self, leaf: Leaf, bit: Option<u8>) {
        self.gap = false;
        self.changed |= bit_at(self.leaves.len());
        self.push(leaf, bit, EMPTY_ROOT);
    }

    fn remove(&mut self, bit: u8) {
        self.gap = true;
        self.changed |= self.leaves.len().checked_sub(1).map_or(0, bit_at);
        self.least = self.least.into_iter().chain([bit]).min();
    }

    fn push(&mut self, leaf: Leaf, known: Option<u8>, inner: Hash) {
        let removed = self.least.take();
        let bit = match (self.leaves.last(), known.filter(|_| !self.new)) {
            (None, _) => 0,
            (Some(_), Some(bit)) => removed.map_or(bit, |removed| removed.min(bit)),
            // Paths in order are never the same.
            (Some(before), None) => first_difference(&before.path, &leaf.path).unwrap_or(u8::MAX),
        };
        self.new = known.is_none();
        self.leaves.push(leaf);
        self.bits.push(bit);
        self.inner.push(inner);
    }
}

impl<S: PageSource> Updating<'_, S> {
    /// The subtree at `id` after `changes`, all of which lie in it. Unchanged subtrees keep their page.
    fn node(
        &mut self,
        id: PageId,
        subtree: Option<&Subtree>,
        changes: &[Change],
    ) -> Result<Option<Subtree>, ReadError> {
        let Some(subtree) = subtree else {
            let leaves = changes.iter().filter_map(|change| self.leaf(change)).collect();
            return self.build(id, leaves, &Arc::default());
        };
        match &**self.source.page_of(&id, subtree)? {
            Page::Bucket(bucket) => {
                if let Some(values) = self.values(bucket, changes) {
                    if values.is_empty() {
                        return Ok(Some(subtree.clone()));
                    }
                    self.update.replaces(id, subtree);
                    let (bucket, hash) = bucket.with_values(&values)?;
                    return Ok(self.make(hash, Page::Bucket(bucket)));
                }
                self.update.replaces(id, subtree);
                let bucket = bucket.laid_out()?;
                let merged = self.merge(&bucket, changes);
                if merged.leaves.is_empty() || merged.leaves.len() > BUCKET_LEAVES {
                    return self.build(id, merged.leaves, bucket.small());
                }
                let (leaves, small) = gathered(merged.leaves, bucket.small())?;
                let mut bucket = Bucket::made_of(leaves, small, merged.bits.into(), merged.inner);
                let hash = bucket.hash(merged.changed);
                Ok(self.make(hash, Page::Bucket(bucket)))
            }
            Page::Branch(branch) => {
                let mut branch = branch.clone();
                let (mut rest, mut changed) = (changes, 0u16);
                for nibble in 0..16 {
                    let (inside, behind) =
                        rest.split_at(rest.partition_point(|change| id.choose(&change.path) <= nibble));
                    rest = behind;
                    if inside.is_empty() {
                        continue;
                    }
                    let before = branch.slot(nibble);
                    let next = self.node(id.child(nibble), before, inside)?;
                    if next.as_ref().map(|next| next.node) != before.map(|before| before.node) {
                        changed |= 1 << nibble;
                        branch.slots.set(nibble, next);
                    }
                }
                if changed == 0 {
                    return Ok(Some(subtree.clone()));
                }
                self.update.replaces(id, subtree);
                let hash = branch.hash(&id, changed);
                let page = Page::Branch(branch);
                if page.count() > COLLAPSE_LEAVES {
                    return Ok(self.make(hash, page));
                }
                let mut leaves = Vec::new();
                self.gather(id, &page, &mut leaves)?;
                self.build(id, leaves, &Arc::default())
            }
        }
    }

    fn leaf(&self, change: &Change) -> Option<Leaf> {
        change.value.as_ref().map(|written| Leaf {
            path: change.path,
            hash: written.hash,
            row: LeafRow::Fresh(written.row.clone()),
        })
    }

    /// The leaves to which `changes` give another value, by index, in order; `None` if they add or remove one.
    fn values(&mut self, bucket: &Bucket, changes: &[Change]) -> Option<Vec<(u8, Leaf)>> {
        let (mut values, mut stale) = (Vec::with_capacity(changes.len()), Vec::new());
        for change in changes {
            match (bucket.leaf_at(&change.path), self.leaf(change)) {
                (None, None) => {}
                (Some((_, before, _)), Some(after)) if before.says_the_same(&after) => {}
                (Some((index, before, _)), Some(after)) => {
                    stale.extend(before.apart().map(|generation| (before.path, generation)));
                    values.push((index, after));
                }
                (Some(_), None) | (None, Some(_)) => return None,
            }
        }
        self.update.stale.entries.extend(stale);
        Some(values)
    }

    /// The leaves of `bucket`, which has no overlay, after `changes`.
    fn merge(&mut self, bucket: &Bucket, changes: &[Change]) -> Merged {
        let room = bucket.len() + changes.len();
        let mut merged = Merged {
            leaves: Vec::with_capacity(room),
            inner: Vec::with_capacity(room),
            bits: Vec::with_capacity(room),
            ..Merged::default()
        };
        let mut old = bucket.with_nodes().peekable();
        for change in changes {
            while let Some((leaf, bit, inner)) = old.next_if(|(leaf, ..)| leaf.path < change.path) {
                merged.keep(leaf, bit, *inner);
            }
            let before = old.next_if(|(leaf, ..)| leaf.path == change.path);
            let after = self.leaf(change);
            if let (Some((before, bit, inner)), Some(after)) = (before, &after) {
                if before.says_the_same(after) {
                    merged.keep(before, bit, *inner);
                    continue;
                }
            }
            let stored = before.and_then(|(leaf, ..)| Some((leaf.path, leaf.apart()?)));
            self.update.stale.entries.extend(stored);
            match (before, after) {
                (before, Some(after)) => merged.write(after, before.map(|(_, bit, _)| bit)),
                (Some((_, bit, _)), None) => merged.remove(bit),
                (None, None) => {}
            }
        }
        old.for_each(|(leaf, bit, inner)| merged.keep(leaf, bit, *inner));
        merged
    }

    /// Makes pages of the sorted `leaves` of a subtree, whose small entries may lie in `small`.
    fn build(&mut self, id: PageId, leaves: Vec<Leaf>, small: &Arc<Small>) -> Result<Option<Subtree>, ReadError> {
        if leaves.is_empty() {
            return Ok(None);
        }
        if leaves.len() <= BUCKET_LEAVES || id.nibbles >= PATH_NIBBLES {
            let (leaves, small) = gathered(leaves, small)?;
            let mut bucket = Bucket::new(leaves, small);
            let hash = bucket.hash(u64::MAX);
            return Ok(self.make(hash, Page::Bucket(bucket)));
        }
        let mut branch = Branch::new(Slots::default());
        let mut rest = leaves.as_slice();
        for nibble in 0..16 {
            let (inside, behind) = rest.split_at(rest.partition_point(|leaf| id.choose(&leaf.path) <= nibble));
            rest = behind;
            branch.slots.set(nibble, self.build(id.child(nibble), inside.to_vec(), small)?);
        }
        let hash = branch.hash(&id, u16::MAX);
        Ok(self.make(hash, Page::Branch(branch)))
    }

    fn make(&mut self, hash: Option<Hash>, page: Page) -> Option<Subtree> {
        Some(self.update.holds(hash?, Arc::new(page), self.stamp))
    }

    /// Takes the leaves of a branch that shrank, and its pages out of the tree.
    fn gather(&mut self, id: PageId, page: &Page, leaves: &mut Vec<Leaf>) -> Result<(), ReadError> {
        let branch = match page {
            Page::Bucket(bucket) => {
                for (leaf, home) in bucket.leaves() {
                    leaves.push(home.with_entry(leaf)?);
                }
                return Ok(());
            }
            Page::Branch(branch) => branch,
        };
        for (nibble, slot) in (0u8..).zip(branch.slots.iter()) {
            let Some(subtree) = slot else { continue };
            let child = id.child(nibble);
            let page = self.source.page_of(&child, subtree)?;
            self.update.replaces(child, subtree);
            self.gather(child, &page, leaves)?;
        }
        Ok(())
    }
}
