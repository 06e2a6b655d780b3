//! The commitment to a map: a binary Merkle tree with compressed paths, stored in pages of sixteen children.
//!
//! # Root
//! `path = H(STATE_PATH, key)`; the entries, sorted by path, are the leaves of a binary trie over the paths' bits (most
//! significant first) in which a node exists only where both of its sides are occupied:
//!
//! ```text
//! root(no entry)  = 32 zero bytes
//! root(one entry) = H(STATE_LEAF, (1u8, path, H(STATE_LEAF, (0u8, value))))
//! root(entries that first differ at bit b) = H(STATE_NODE, (b as u8, root(those with 0 at b), root(those with 1 at b)))
//! ```
//! where `H(label, tuple)` is [`hash_value`] of the tuple's SCALE encoding and `key` is `(map, contract, key bytes)`.
//!
//! The shape is a function of the *set* of entries, so the root does not depend on the order of writes, on the pages
//! below, or on any machine's encryption. The branching bit is hashed so that absence can be shown, too.
//!
//! # Pages
//! A page is the subtree under a prefix of whole nibbles: up to [`BUCKET_LEAVES`] leaves, or sixteen children of which
//! it keeps hash, count, key generation and version. A write touches one page per level, log16(n / 16) of them, and
//! hashes at most 15 nodes in each; a batch rewrites a page it shares once.
//!
//! # Guarantees
//! A page is used only after its root was recomputed and found to be the one its parent names (the head names the
//! first one), and an entry only after its value's hash was found to be its leaf's. What is read is therefore exactly
//! what the root commits to, whoever wrote the rows and with whatever keys: a page or entry put back from an earlier
//! time does not fit. The grouping into pages, counts, generations and versions are not in the root: they say where to
//! look, and a wrong one leads to an error or to the same contents.
//!
//! Everything here is pure; rows come through [`PageSource`]. The host controls what it returns.

use crate::error::{IntegrityError, ReadError, Row};
use codec::{Decode, DecodeAll, Encode};
use phala_protocol::{domain, hash_value, Epoch, Hash};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Leaves of a page before it becomes a branch.
pub(crate) const BUCKET_LEAVES: usize = 32;
/// Leaves under a branch at which it becomes a bucket again; the gap keeps a page from flapping.
const COLLAPSE_LEAVES: u64 = 16;
/// Nibbles of a path.
const PATH_NIBBLES: u8 = 64;

/// The root of an empty map.
pub const EMPTY_ROOT: Hash = [0; 32];

/// A key's place in the tree.
pub(crate) type Path = Hash;

/// Which of the store's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) enum Namespace {
    /// The contracts' entries: what replicas vote on.
    State,
    /// This machine's own records: results, outbox.
    Records,
}

/// The path of a contract's key, or of a record's (which has no contract).
pub(crate) fn path_of(namespace: Namespace, contract: &[u8; 32], key: &[u8]) -> Path {
    hash_value(domain::STATE_PATH, &(namespace, contract, key))
}

/// What a leaf commits of a value.
pub(crate) fn value_hash(value: &[u8]) -> Hash {
    // Tags 0 and 1 keep the two uses of the label apart.
    hash_value(domain::STATE_LEAF, &(0u8, value))
}

fn leaf_hash(path: &Path, value: &Hash) -> Hash {
    hash_value(domain::STATE_LEAF, &(1u8, path, value))
}

fn node_hash(bit: u8, left: &Hash, right: &Hash) -> Hash {
    hash_value(domain::STATE_NODE, &(bit, left, right))
}

/// A commitment to a map that is updated in batches and reads rows only where the batch touches it. The one
/// implementation is [`RadixTree`]; another one would keep the store and the batches as they are.
pub(crate) trait CommittedMap {
    /// The leaf at `path`, or the proven absence of one.
    fn lookup(&self, source: &impl PageSource, root: Option<NodeRef>, path: &Path) -> Result<Option<Leaf>, ReadError>;

    /// Applies `changes`, which are sorted by path without repetition, once.
    fn update(
        &self,
        source: &impl PageSource,
        root: Option<NodeRef>,
        changes: &[Change],
        stamp: Stamp,
    ) -> Result<Update, ReadError>;

    /// Up to `limit` leaves in the order of their paths, beginning after `after`.
    fn leaves_after(
        &self,
        source: &impl PageSource,
        root: Option<NodeRef>,
        after: Option<&Path>,
        limit: usize,
    ) -> Result<Vec<Leaf>, ReadError>;
}

/// Where pages come from. Implementations return only pages that [`Page::verify`] accepted.
pub(crate) trait PageSource {
    fn page(&self, id: &PageId, expected: &NodeRef) -> Result<Arc<Page>, ReadError>;
}

/// A subtree as its parent knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct NodeRef {
    /// Its root.
    pub hash: Hash,
    /// Its entries.
    #[codec(compact)]
    pub count: u64,
    /// The keys its page is under.
    #[codec(compact)]
    pub generation: Epoch,
    /// The commit that wrote its page.
    #[codec(compact)]
    pub version: u64,
}

/// An entry as the tree knows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Leaf {
    pub path: Path,
    pub value: Hash,
    /// The keys its row is under.
    #[codec(compact)]
    pub generation: Epoch,
}

/// A write (`Some`: the value's hash) or a removal.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub path: Path,
    pub value: Option<Hash>,
}

/// What pages and entries that are written now carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub generation: Epoch,
    pub version: u64,
}

/// What a batch of changes does to the rows.
#[derive(Default)]
pub(crate) struct Update {
    pub root: Option<NodeRef>,
    /// Pages to write.
    pub written: BTreeMap<PageId, (NodeRef, Arc<Page>)>,
    /// Pages as they were before, by the generation they are under: to remove unless written at the same locator.
    pub removed: BTreeSet<(PageId, Epoch)>,
    /// Entries as they were before, likewise.
    pub replaced: Vec<(Path, Epoch)>,
}

impl Update {
    pub(crate) fn root_hash(&self) -> Hash {
        root_hash(self.root.as_ref())
    }
}

/// The hash of a root that may be empty.
pub(crate) fn root_hash(root: Option<&NodeRef>) -> Hash {
    root.map_or(EMPTY_ROOT, |node| node.hash)
}

/// A page's place: the first `nibbles` nibbles of every path below it; the rest of `prefix` is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub(crate) struct PageId {
    nibbles: u8,
    prefix: [u8; 32],
}

impl PageId {
    pub(crate) const ROOT: Self = Self { nibbles: 0, prefix: [0; 32] };

    fn child(&self, nibble: u8) -> Self {
        let mut prefix = self.prefix;
        if let Some(byte) = prefix.get_mut(usize::from(self.nibbles / 2)) {
            *byte |= if self.nibbles.is_multiple_of(2) { nibble << 4 } else { nibble & 15 };
        }
        Self { nibbles: self.nibbles.saturating_add(1), prefix }
    }

    /// The nibble of `path` that chooses a child of this page.
    fn choose(&self, path: &Path) -> u8 {
        let byte = path.get(usize::from(self.nibbles / 2)).copied().unwrap_or(0);
        if self.nibbles.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 15
        }
    }

    fn contains(&self, path: &Path) -> bool {
        let whole = usize::from(self.nibbles / 2);
        path.get(..whole) == self.prefix.get(..whole)
            && (self.nibbles.is_multiple_of(2)
                || path.get(whole).map(|byte| byte >> 4) == self.prefix.get(whole).map(|byte| byte >> 4))
    }

    /// How many nibbles every path below begins with, and those nibbles.
    pub(crate) fn prefix(&self) -> (u8, Path) {
        (self.nibbles, self.prefix)
    }

    pub(crate) fn depth(&self) -> u8 {
        self.nibbles
    }
}

/// The children of a branch, by nibble.
type Slots = [Option<NodeRef>; 16];

/// A stored part of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Page {
    /// Leaves, sorted by path.
    Bucket(Vec<Leaf>),
    /// Subtrees.
    Branch(Box<Slots>),
}

impl Page {
    /// Decodes a page, no larger in memory than a few times its encoding; judges nothing.
    pub(crate) fn decode_bounded(bytes: &[u8]) -> Result<Self, IntegrityError> {
        Self::decode_all(&mut &*bytes).map_err(|_| IntegrityError::Malformed(Row::Page))
    }

    /// Accepts the page as the one at `id` whose root is `expected`.
    pub(crate) fn verify(&self, id: &PageId, expected: &NodeRef) -> Result<(), IntegrityError> {
        let sound = match self {
            Self::Bucket(leaves) => {
                !leaves.is_empty()
                    && leaves.len() <= BUCKET_LEAVES
                    && leaves.iter().all(|leaf| id.contains(&leaf.path))
                    && leaves.iter().zip(leaves.iter().skip(1)).all(|(left, right)| left.path < right.path)
            }
            Self::Branch(slots) => id.nibbles < PATH_NIBBLES && slots.iter().any(Option::is_some),
        };
        if !sound {
            return Err(IntegrityError::Malformed(Row::Page));
        }
        if self.root(id) != Some(expected.hash) {
            return Err(IntegrityError::NotCommitted(Row::Page));
        }
        Ok(())
    }

    fn root(&self, id: &PageId) -> Option<Hash> {
        match self {
            Self::Bucket(leaves) => leaves_root(leaves),
            Self::Branch(slots) => slots_root(id, slots),
        }
    }

    fn count(&self) -> u64 {
        match self {
            Self::Bucket(leaves) => leaves.len() as u64,
            Self::Branch(slots) => slots.iter().flatten().fold(0, |sum, node| sum.saturating_add(node.count)),
        }
    }
}

/// The root of sorted leaves.
fn leaves_root(leaves: &[Leaf]) -> Option<Hash> {
    let (first, last) = (leaves.first()?, leaves.last()?);
    if leaves.len() == 1 {
        return Some(leaf_hash(&first.path, &first.value));
    }
    // All leaves share the bits on which the first and the last agree, for they are sorted.
    let bit = first_difference(&first.path, &last.path)?;
    let (left, right) = leaves.split_at_checked(leaves.partition_point(|leaf| !bit_of(&leaf.path, bit)))?;
    Some(node_hash(bit, &leaves_root(left)?, &leaves_root(right)?))
}

/// The root of a branch: its children folded pairwise, four times; a lone child passes unchanged.
fn slots_root(id: &PageId, slots: &Slots) -> Option<Hash> {
    let mut level: Vec<Option<Hash>> = slots.iter().map(|slot| slot.map(|node| node.hash)).collect();
    for bit_in_nibble in (0..4u8).rev() {
        let bit = id.nibbles.saturating_mul(4).saturating_add(bit_in_nibble);
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [Some(left), Some(right)] => Some(node_hash(bit, left, right)),
                [one, other] => one.or(*other),
                _ => None,
            })
            .collect();
    }
    level.first().copied().flatten()
}

fn bit_of(path: &Path, bit: u8) -> bool {
    path.get(usize::from(bit / 8)).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
}

fn first_difference(one: &Path, other: &Path) -> Option<u8> {
    one.iter()
        .zip(other)
        .zip(0u8..32)
        .find(|((a, b), _)| a != b)
        .map(|((a, b), index)| index * 8 + (a ^ b).leading_zeros() as u8)
}

/// The tree of this module's description.
pub(crate) struct RadixTree;

impl CommittedMap for RadixTree {
    fn lookup(&self, source: &impl PageSource, root: Option<NodeRef>, path: &Path) -> Result<Option<Leaf>, ReadError> {
        let (mut id, mut next) = (PageId::ROOT, root);
        while let Some(node) = next {
            match &*source.page(&id, &node)? {
                Page::Bucket(leaves) => {
                    let found = leaves.binary_search_by(|leaf| leaf.path.cmp(path)).ok();
                    return Ok(found.and_then(|index| leaves.get(index)).cloned());
                }
                Page::Branch(slots) => {
                    let nibble = id.choose(path);
                    next = slots.get(usize::from(nibble)).copied().flatten();
                    id = id.child(nibble);
                }
            }
        }
        Ok(None)
    }

    fn update(
        &self,
        source: &impl PageSource,
        root: Option<NodeRef>,
        changes: &[Change],
        stamp: Stamp,
    ) -> Result<Update, ReadError> {
        let mut updating = Updating { source, stamp, update: Update::default() };
        let root = updating.node(PageId::ROOT, root, changes)?;
        Ok(Update { root, ..updating.update })
    }

    fn leaves_after(
        &self,
        source: &impl PageSource,
        root: Option<NodeRef>,
        after: Option<&Path>,
        limit: usize,
    ) -> Result<Vec<Leaf>, ReadError> {
        let mut leaves = Vec::new();
        if let Some(node) = root {
            walk(source, PageId::ROOT, node, after, limit, &mut leaves)?;
        }
        Ok(leaves)
    }
}

fn walk(
    source: &impl PageSource,
    id: PageId,
    node: NodeRef,
    after: Option<&Path>,
    limit: usize,
    leaves: &mut Vec<Leaf>,
) -> Result<(), ReadError> {
    match &*source.page(&id, &node)? {
        Page::Bucket(found) => {
            let room = limit.saturating_sub(leaves.len());
            leaves.extend(found.iter().filter(|leaf| after.is_none_or(|after| leaf.path > *after)).take(room).cloned());
        }
        Page::Branch(slots) => {
            for (nibble, slot) in (0u8..).zip(slots.iter()) {
                let Some(child) = *slot else { continue };
                // `after` bounds only the child that it lies in: those before it are passed over, those behind it are whole.
                let after = match after.map(|after| (id.choose(after).cmp(&nibble), after)) {
                    Some((std::cmp::Ordering::Greater, _)) => continue,
                    Some((std::cmp::Ordering::Equal, after)) => Some(after),
                    _ => None,
                };
                if leaves.len() >= limit {
                    break;
                }
                walk(source, id.child(nibble), child, after, limit, leaves)?;
            }
        }
    }
    Ok(())
}

/// One batch's descent. Recursion is bounded by the 64 nibbles of a path: [`Page::verify`] refuses deeper branches.
struct Updating<'a, S> {
    source: &'a S,
    stamp: Stamp,
    update: Update,
}

impl<S: PageSource> Updating<'_, S> {
    /// The subtree at `id` after `changes`, all of which lie in it. Unchanged subtrees keep their page.
    fn node(&mut self, id: PageId, node: Option<NodeRef>, changes: &[Change]) -> Result<Option<NodeRef>, ReadError> {
        let Some(node) = node else {
            let leaves = changes.iter().filter_map(|change| self.leaf(change)).collect();
            return Ok(self.build(id, leaves));
        };
        match &*self.source.page(&id, &node)? {
            Page::Bucket(leaves) => {
                let Some(merged) = self.merge(leaves, changes) else { return Ok(Some(node)) };
                self.update.removed.insert((id, node.generation));
                Ok(self.build(id, merged))
            }
            Page::Branch(slots) => {
                let mut slots = slots.clone();
                let (mut rest, mut changed) = (changes, false);
                for (nibble, slot) in (0u8..).zip(slots.iter_mut()) {
                    let (inside, behind) =
                        rest.split_at(rest.partition_point(|change| id.choose(&change.path) <= nibble));
                    rest = behind;
                    if !inside.is_empty() {
                        let next = self.node(id.child(nibble), *slot, inside)?;
                        changed |= next != *slot;
                        *slot = next;
                    }
                }
                if !changed {
                    return Ok(Some(node));
                }
                self.update.removed.insert((id, node.generation));
                let page = Page::Branch(slots);
                if page.count() > COLLAPSE_LEAVES {
                    return Ok(self.write(id, page));
                }
                let mut leaves = Vec::new();
                self.gather(id, &page, &mut leaves)?;
                Ok(self.build(id, leaves))
            }
        }
    }

    fn leaf(&self, change: &Change) -> Option<Leaf> {
        change.value.map(|value| Leaf { path: change.path, value, generation: self.stamp.generation })
    }

    /// `leaves` after `changes`; `None` when they change nothing.
    fn merge(&mut self, leaves: &[Leaf], changes: &[Change]) -> Option<Vec<Leaf>> {
        let mut merged = Vec::with_capacity(leaves.len() + changes.len());
        let (mut old, mut changed) = (leaves.iter().peekable(), false);
        for change in changes {
            while let Some(leaf) = old.next_if(|leaf| leaf.path < change.path) {
                merged.push(leaf.clone());
            }
            let before = old.next_if(|leaf| leaf.path == change.path);
            let after = self.leaf(change);
            changed |= before != after.as_ref();
            self.update.replaced.extend(before.map(|leaf| (leaf.path, leaf.generation)));
            merged.extend(after);
        }
        merged.extend(old.cloned());
        changed.then_some(merged)
    }

    /// Makes pages of the sorted `leaves` of a subtree.
    fn build(&mut self, id: PageId, leaves: Vec<Leaf>) -> Option<NodeRef> {
        if leaves.is_empty() {
            return None;
        }
        if leaves.len() <= BUCKET_LEAVES || id.nibbles >= PATH_NIBBLES {
            return self.write(id, Page::Bucket(leaves));
        }
        let mut slots = Box::new([None; 16]);
        let mut rest = leaves.as_slice();
        for (nibble, slot) in (0u8..).zip(slots.iter_mut()) {
            let (inside, behind) = rest.split_at(rest.partition_point(|leaf| id.choose(&leaf.path) <= nibble));
            rest = behind;
            *slot = self.build(id.child(nibble), inside.to_vec());
        }
        self.write(id, Page::Branch(slots))
    }

    fn write(&mut self, id: PageId, page: Page) -> Option<NodeRef> {
        let Stamp { generation, version } = self.stamp;
        let node = NodeRef { hash: page.root(&id)?, count: page.count(), generation, version };
        self.update.written.insert(id, (node, Arc::new(page)));
        Some(node)
    }

    /// Takes the leaves of a branch that shrank, and its pages out of the tree.
    fn gather(&mut self, id: PageId, page: &Page, leaves: &mut Vec<Leaf>) -> Result<(), ReadError> {
        let slots = match page {
            Page::Bucket(found) => {
                leaves.extend(found.iter().cloned());
                return Ok(());
            }
            Page::Branch(slots) => slots,
        };
        for (nibble, slot) in (0u8..).zip(slots.iter()) {
            let Some(node) = slot else { continue };
            let child = id.child(nibble);
            let page = match self.update.written.remove(&child) {
                // Written by this batch: what was there before is already among the removed.
                Some((_, page)) => page,
                None => {
                    let page = self.source.page(&child, node)?;
                    self.update.removed.insert((child, node.generation));
                    page
                }
            };
            self.gather(child, &page, leaves)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
