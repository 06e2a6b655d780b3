//! One batch of changes applied to a tree, in memory.
//!
//! Guarantees: subtrees that no change touches keep their page; the shape follows from the set of entries alone. Contracts choose the
//! keys, whose hashes are the paths: nobody aims at a depth. Rows come through the [`PageSource`], verified.

use super::{
    page::Small, Branch, Bucket, Change, Leaf, LeafRow, NodeRef, Page, PageId, PageSource, Stamp, Subtree, Update,
};
use super::{BUCKET_LEAVES, COLLAPSE_LEAVES, PATH_NIBBLES};
use crate::error::ReadError;
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

/// What changes make of a bucket.
enum Merged {
    Nothing,
    /// The same paths, of which these have another leaf.
    Values(Vec<Leaf>, Vec<bool>),
    /// Other paths.
    Paths(Vec<Leaf>),
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
            return Ok(self.build(id, leaves, &Arc::default()));
        };
        match &*self.source.page_of(&id, subtree)? {
            Page::Bucket(bucket) => match self.merge(&bucket.leaves, changes) {
                Merged::Nothing => Ok(Some(subtree.clone())),
                Merged::Values(leaves, changed) => {
                    self.replaces(id, subtree);
                    let (small, inner) = (bucket.small.clone(), bucket.inner.clone());
                    let mut bucket = Bucket { leaves, small, inner };
                    let hash = bucket.hash(&changed);
                    Ok(self.make(hash, Page::Bucket(bucket)))
                }
                Merged::Paths(leaves) => {
                    self.replaces(id, subtree);
                    Ok(self.build(id, leaves, &bucket.small))
                }
            },
            Page::Branch(branch) => {
                let mut branch = branch.clone();
                let (mut rest, mut changed) = (changes, 0u16);
                for (nibble, slot) in (0u8..).zip(branch.slots.iter_mut()) {
                    let (inside, behind) =
                        rest.split_at(rest.partition_point(|change| id.choose(&change.path) <= nibble));
                    rest = behind;
                    if !inside.is_empty() {
                        let next = self.node(id.child(nibble), slot.as_ref(), inside)?;
                        if next.as_ref().map(|next| next.node) != slot.as_ref().map(|slot| slot.node) {
                            changed |= 1 << nibble;
                        }
                        *slot = next;
                    }
                }
                if changed == 0 {
                    return Ok(Some(subtree.clone()));
                }
                self.replaces(id, subtree);
                let hash = branch.hash(&id, changed);
                let page = Page::Branch(branch);
                if page.count() > COLLAPSE_LEAVES {
                    return Ok(self.make(hash, page));
                }
                let mut leaves = Vec::new();
                self.gather(id, &page, &mut leaves)?;
                Ok(self.build(id, leaves, &Arc::default()))
            }
        }
    }

    fn leaf(&self, change: &Change) -> Option<Leaf> {
        change.value.as_ref().map(|written| Leaf {
            path: change.path,
            hash: written.hash,
            generation: self.stamp.generation,
            row: LeafRow::Fresh(written.row.clone()),
        })
    }

    /// Notes that the page of `subtree` has no use any more, on the disk or in memory.
    fn replaces(&mut self, id: PageId, subtree: &Subtree) {
        match &subtree.page {
            None => {
                self.update.stale.pages.insert((id, subtree.node.generation), subtree.node);
            }
            Some(page) => self.update.unwritten = self.update.unwritten.saturating_sub_unsigned(page.memory()),
        }
    }

    /// `leaves` after `changes`.
    fn merge(&mut self, leaves: &[Leaf], changes: &[Change]) -> Merged {
        let mut merged = Vec::with_capacity(leaves.len() + changes.len());
        let mut marks = Vec::with_capacity(leaves.len() + changes.len());
        let (mut old, mut changed, mut same_paths) = (leaves.iter().peekable(), false, true);
        for change in changes {
            while let Some(leaf) = old.next_if(|leaf| leaf.path < change.path) {
                merged.push(leaf.clone());
                marks.push(false);
            }
            let before = old.next_if(|leaf| leaf.path == change.path);
            match (before, self.leaf(change)) {
                (None, None) => {}
                (Some(before), Some(after)) if before.says_the_same(&after) => {
                    merged.push(before.clone());
                    marks.push(false);
                }
                (before, after) => {
                    changed = true;
                    same_paths &= before.is_some() && after.is_some();
                    if let Some(stored) = before.filter(|leaf| matches!(leaf.row, LeafRow::Apart)) {
                        self.update.stale.entries.insert((stored.path, stored.generation));
                    }
                    marks.extend(after.as_ref().map(|_| true));
                    merged.extend(after);
                }
            }
        }
        for leaf in old {
            merged.push(leaf.clone());
            marks.push(false);
        }
        match (changed, same_paths) {
            (false, _) => Merged::Nothing,
            (true, true) => Merged::Values(merged, marks),
            (true, false) => Merged::Paths(merged),
        }
    }

    /// Makes pages of the sorted `leaves` of a subtree, whose small entries may lie in `small`.
    fn build(&mut self, id: PageId, leaves: Vec<Leaf>, small: &Arc<Small>) -> Option<Subtree> {
        if leaves.is_empty() {
            return None;
        }
        if leaves.len() <= BUCKET_LEAVES || id.nibbles >= PATH_NIBBLES {
            let mut bucket = Bucket::new(leaves, small.clone());
            let hash = bucket.hash(&[]);
            return self.make(hash, Page::Bucket(bucket));
        }
        let mut branch = Branch::new(Box::default());
        let mut rest = leaves.as_slice();
        for (nibble, slot) in (0u8..).zip(branch.slots.iter_mut()) {
            let (inside, behind) = rest.split_at(rest.partition_point(|leaf| id.choose(&leaf.path) <= nibble));
            rest = behind;
            *slot = self.build(id.child(nibble), inside.to_vec(), small);
        }
        let hash = branch.hash(&id, u16::MAX);
        self.make(hash, Page::Branch(branch))
    }

    fn make(&mut self, hash: Option<phala_protocol::Hash>, page: Page) -> Option<Subtree> {
        let Stamp { generation, version } = self.stamp;
        let node = NodeRef { hash: hash?, count: page.count(), generation, version };
        self.update.unwritten = self.update.unwritten.saturating_add_unsigned(page.memory());
        Some(Subtree { node, page: Some(Arc::new(page)) })
    }

    /// Takes the leaves of a branch that shrank, and its pages out of the tree.
    fn gather(&mut self, id: PageId, page: &Page, leaves: &mut Vec<Leaf>) -> Result<(), ReadError> {
        let branch = match page {
            Page::Bucket(bucket) => {
                for leaf in &bucket.leaves {
                    leaves.push(bucket.with_entry(leaf)?);
                }
                return Ok(());
            }
            Page::Branch(branch) => branch,
        };
        for (nibble, slot) in (0u8..).zip(branch.slots.iter()) {
            let Some(subtree) = slot else { continue };
            let child = id.child(nibble);
            let page = self.source.page_of(&child, subtree)?;
            self.replaces(child, subtree);
            self.gather(child, &page, leaves)?;
        }
        Ok(())
    }
}
