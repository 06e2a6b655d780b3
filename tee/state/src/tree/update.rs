//! One batch of changes applied to a tree, in memory.
//!
//! The pages of a part of the tree that has no more than [`TOGETHER`] changes are made first and hashed then, their nodes side by side
//! ([`Nodes`]).
//!
//! Guarantees: subtrees that no change touches keep their page; the shape follows from the set of entries alone. Contracts choose the
//! keys, whose hashes are the paths: nobody aims at a depth. Rows come through the [`PageSource`], verified.

use super::{
    first_difference,
    nodes::{Nodes, Side},
    page::{BranchPlan, Slots},
    plan::{bit_at, Plan},
    small::{gathered, Small},
    Branch, Bucket, Change, Leaf, LeafRow, Page, PageId, PageSource, Stamp, Subtree, Update, BUCKET_LEAVES,
    COLLAPSE_LEAVES, EMPTY_ROOT, PATH_NIBBLES,
};
use crate::error::ReadError;
use phala_protocol::Hash;
use std::sync::Arc;

/// Changes of a part of the tree whose pages are hashed together: many more than vectors have lanes, and few enough that what was made of
/// them is still at hand when it is hashed.
const TOGETHER: usize = 512;

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

/// What becomes of a subtree.
enum Next {
    /// It stays as it is.
    Same,
    /// It has no entry.
    Gone,
    /// It has other entries.
    Made(Made),
}

/// A subtree some of whose nodes have no hash yet: it was made, and becomes one with [`Updating::complete`].
enum Made {
    Bucket(Bucket, Plan),
    /// With how many entries it has, and what was made of its children, by nibble, in order: the others are in their slots.
    Branch(Branch, BranchPlan, u64, Vec<(u8, Made)>),
}

impl Made {
    fn root(&self) -> Side {
        match self {
            Self::Bucket(_, plan) => plan.root,
            // One that has none is not made.
            Self::Branch(_, plan, ..) => plan.root.unwrap_or(Side::Known(EMPTY_ROOT)),
        }
    }

    /// Its entries.
    fn count(&self) -> u64 {
        match self {
            Self::Bucket(bucket, _) => bucket.len() as u64,
            Self::Branch(_, _, count, _) => *count,
        }
    }
}

/// The entries of a branch, some of whose children were `made` anew.
fn count(branch: &Branch, made: &[(u8, Made)]) -> u64 {
    let mut made = made.iter().peekable();
    let slots = (0u8..).zip(branch.slots.iter());
    let counts = slots.map(|(nibble, slot)| match made.next_if(|(at, _)| *at == nibble) {
        Some((_, child)) => child.count(),
        None => slot.as_ref().map_or(0, |slot| slot.node.count),
    });
    counts.fold(0, u64::saturating_add)
}

fn child_of(made: &[(u8, Made)], nibble: u8) -> Option<&Made> {
    made.iter().find(|(at, _)| *at == nibble).map(|(_, made)| made)
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
        let mut nodes = Nodes::default();
        let next = self.next(id, subtree, changes, &mut nodes)?;
        Ok(match next {
            Next::Same => subtree.cloned(),
            Next::Gone => None,
            Next::Made(made) => Some(self.hashed(made, nodes)),
        })
    }

    /// As [`Self::node`], with the nodes that are new taken down in `nodes`.
    fn next(
        &mut self,
        id: PageId,
        subtree: Option<&Subtree>,
        changes: &[Change],
        nodes: &mut Nodes,
    ) -> Result<Next, ReadError> {
        let Some(subtree) = subtree else {
            let leaves: Vec<Leaf> = changes.iter().filter_map(|change| self.leaf(change)).collect();
            return if leaves.is_empty() { Ok(Next::Same) } else { self.build(id, leaves, &Arc::default(), nodes) };
        };
        match &**self.source.page_of(&id, subtree)? {
            Page::Bucket(bucket) => {
                if let Some(values) = self.values(bucket, changes) {
                    if values.is_empty() {
                        return Ok(Next::Same);
                    }
                    self.update.replaces(id, subtree);
                    let (bucket, plan) = bucket.planned_with(&values, nodes)?;
                    return Ok(of_bucket(bucket, plan));
                }
                self.update.replaces(id, subtree);
                let bucket = bucket.laid_out()?;
                let merged = self.merge(&bucket, changes);
                if merged.leaves.is_empty() || merged.leaves.len() > BUCKET_LEAVES {
                    return self.build(id, merged.leaves, bucket.small(), nodes);
                }
                let (leaves, small) = gathered(merged.leaves, bucket.small())?;
                let mut bucket = Bucket::made_of(leaves, small, merged.bits.into(), merged.inner);
                let plan = bucket.plan(merged.changed, nodes);
                Ok(of_bucket(bucket, plan))
            }
            Page::Branch(branch) => {
                let mut branch = branch.clone();
                let (mut rest, mut changed, mut made) = (changes, 0u16, Vec::new());
                for nibble in 0..16 {
                    let (inside, behind) =
                        rest.split_at(rest.partition_point(|change| id.choose(&change.path) <= nibble));
                    rest = behind;
                    if inside.is_empty() {
                        continue;
                    }
                    let (child, before) = (id.child(nibble), branch.slot(nibble));
                    if changes.len() > TOGETHER {
                        let next = self.node(child, before, inside)?;
                        if next.as_ref().map(|next| next.node) == before.map(|before| before.node) {
                            continue;
                        }
                        branch.slots.set(nibble, next);
                    } else {
                        match self.next(child, before, inside, nodes)? {
                            Next::Same => continue,
                            Next::Gone => branch.slots.set(nibble, None),
                            Next::Made(child) => made.push((nibble, child)),
                        }
                    }
                    changed |= 1 << nibble;
                }
                if changed == 0 {
                    return Ok(Next::Same);
                }
                self.update.replaces(id, subtree);
                if count(&branch, &made) > COLLAPSE_LEAVES {
                    return Ok(of_branch(&id, branch, changed, made, nodes));
                }
                let mut leaves = Vec::new();
                self.gather(id, &branch, made, &mut leaves)?;
                self.build(id, leaves, &Arc::default(), nodes)
            }
        }
    }

    /// The subtree that was made, whose nodes were taken down in `nodes`.
    fn hashed(&mut self, made: Made, mut nodes: Nodes) -> Subtree {
        nodes.compute();
        self.complete(made, &nodes)
    }

    /// As [`Self::hashed`], of nodes that were computed.
    fn complete(&mut self, made: Made, nodes: &Nodes) -> Subtree {
        let hash = nodes.get(&made.root());
        let page = match made {
            Made::Bucket(mut bucket, plan) => {
                bucket.complete(&plan, nodes);
                Page::Bucket(bucket)
            }
            Made::Branch(mut branch, plan, _, children) => {
                for (nibble, child) in children {
                    branch.slots.set(nibble, Some(self.complete(child, nodes)));
                }
                branch.complete(&plan, nodes);
                Page::Branch(branch)
            }
        };
        self.update.holds(hash, Arc::new(page), self.stamp)
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
    fn build(
        &mut self,
        id: PageId,
        leaves: Vec<Leaf>,
        small: &Arc<Small>,
        nodes: &mut Nodes,
    ) -> Result<Next, ReadError> {
        if leaves.is_empty() {
            return Ok(Next::Gone);
        }
        if leaves.len() <= BUCKET_LEAVES || id.nibbles >= PATH_NIBBLES {
            let (leaves, small) = gathered(leaves, small)?;
            let mut bucket = Bucket::new(leaves, small);
            let plan = bucket.plan(u64::MAX, nodes);
            return Ok(of_bucket(bucket, plan));
        }
        let (mut branch, mut made) = (Branch::new(Slots::default()), Vec::new());
        let mut rest = leaves.as_slice();
        for nibble in 0..16 {
            let (inside, behind) = rest.split_at(rest.partition_point(|leaf| id.choose(&leaf.path) <= nibble));
            rest = behind;
            if leaves.len() > TOGETHER {
                let mut nodes = Nodes::default();
                if let Next::Made(child) = self.build(id.child(nibble), inside.to_vec(), small, &mut nodes)? {
                    branch.slots.set(nibble, Some(self.hashed(child, nodes)));
                }
            } else if let Next::Made(child) = self.build(id.child(nibble), inside.to_vec(), small, nodes)? {
                made.push((nibble, child));
            }
        }
        Ok(of_branch(&id, branch, u16::MAX, made, nodes))
    }

    /// Takes the leaves of a branch that shrank, some of whose children were `made` anew, and its pages out of the tree.
    fn gather(
        &mut self,
        id: PageId,
        branch: &Branch,
        made: Vec<(u8, Made)>,
        leaves: &mut Vec<Leaf>,
    ) -> Result<(), ReadError> {
        let mut made = made.into_iter().peekable();
        for (nibble, slot) in (0u8..).zip(branch.slots.iter()) {
            let child = id.child(nibble);
            match made.next_if(|(at, _)| *at == nibble) {
                Some((_, Made::Bucket(bucket, _))) => take(&bucket, leaves)?,
                Some((_, Made::Branch(branch, _, _, made))) => self.gather(child, &branch, made, leaves)?,
                None => {
                    let Some(subtree) = slot else { continue };
                    let page = self.source.page_of(&child, subtree)?;
                    self.update.replaces(child, subtree);
                    match &**page {
                        Page::Bucket(bucket) => take(bucket, leaves)?,
                        Page::Branch(branch) => self.gather(child, branch, Vec::new(), leaves)?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// A bucket with what is to be computed of it.
fn of_bucket(bucket: Bucket, plan: Option<Plan>) -> Next {
    plan.map_or(Next::Gone, |plan| Next::Made(Made::Bucket(bucket, plan)))
}

/// A branch of which the children in `changed` are others, some of them `made` anew.
fn of_branch(id: &PageId, branch: Branch, changed: u16, made: Vec<(u8, Made)>, nodes: &mut Nodes) -> Next {
    let root = |nibble: u8| child_of(&made, nibble).map(Made::root).or_else(|| branch.root_of(nibble));
    let plan = branch.plan(id, changed, root, nodes);
    let count = count(&branch, &made);
    if plan.root.is_none() {
        return Next::Gone;
    }
    Next::Made(Made::Branch(branch, plan, count, made))
}

/// Appends the leaves of a bucket, with their entries.
fn take(bucket: &Bucket, leaves: &mut Vec<Leaf>) -> Result<(), ReadError> {
    for (leaf, home) in bucket.leaves() {
        leaves.push(home.with_entry(leaf)?);
    }
    Ok(())
}
