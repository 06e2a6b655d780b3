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
//! A page is the subtree under a prefix of whole nibbles: up to [`BUCKET_LEAVES`] leaves with those of their entries that are small,
//! or sixteen children of which it keeps hash, count, generations of keys and version (`tree/{page,bucket,small}.rs`). A write touches one page per
//! level, log16(n / 32) of them, and hashes again only the nodes above what it changed; a batch changes a page it shares once.
//!
//! What is stored comes under newer keys page by page (`tree/reseal.rs`). A page's parent says the oldest keys that anything below is under,
//! so that what needs none is passed over unread.
//!
//! A subtree that was changed and not yet written hangs in memory from the page above it ([`Subtree::page`]), and an entry
//! from its leaf ([`LeafRow::Fresh`]): versions share what they have in common, and the last one that needs a page frees it.
//! Buckets keep a few leaves that changed beside those that did not, which versions share too: a change copies the few.
//! [`unload`] hands out what is not written yet, and leaves a tree that is all on the disk.
//!
//! # Guarantees
//! A page is used only after its root was recomputed and found to be the one its parent names (the head names the
//! first one), and an entry only after its value's hash was found to be its leaf's. An entry that is read is therefore
//! one that the root commits to, whoever wrote the rows and with whatever keys: a page or entry put back from an earlier
//! time does not fit. That there is *no* entry rests on the seal of the page as well: nodes hash the bit at which they
//! branch and not the bits that they skip, so that a page that hangs a child under other nibbles has the same root, and
//! hides what is there. Only this store seals pages, each for its place. The grouping into pages, counts, generations
//! and versions are not in the root either: they say where to look, and a wrong one under an honest seal leads to an
//! error or to the same contents. The oldest keys of a subtree never go back as long as the present ones are in use, so that a page put back
//! says no newer ones than there are.
//!
//! Everything here is pure; rows come through [`PageSource`]. The host controls what it returns.

use crate::error::ReadError;
use codec::{Decode, Encode};
use phala_protocol::{domain, hash_value, hash_values, Epoch, Hash};
use std::{borrow::Cow, sync::Arc};

/// Leaves of a page before it becomes a branch.
pub(crate) const BUCKET_LEAVES: usize = 64;
/// Leaves under a branch at which it becomes a bucket again; the gap keeps a page from flapping.
const COLLAPSE_LEAVES: u64 = 32;
/// Bytes of key and value of an entry that lies in its bucket's row.
const MAX_WITHIN_BYTES: usize = 256;
/// Nibbles of a path.
const PATH_NIBBLES: u8 = 64;

/// The root of an empty map.
pub const EMPTY_ROOT: Hash = [0; 32];

/// A key's place in the tree.
pub(crate) type Path = Hash;

/// Which of the store's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
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

/// [`path_of`] of each contract and key, in their order: hashed side by side.
pub(crate) fn paths_of<'a>(
    namespace: Namespace,
    keys: impl IntoIterator<Item = (&'a [u8; 32], &'a [u8])>,
) -> Vec<Path> {
    hash_values(domain::STATE_PATH, keys.into_iter().map(|(contract, key)| (namespace, contract, key)))
}

/// What a leaf commits of a value.
pub(crate) fn value_hash(value: &[u8]) -> Hash {
    // Tags 0 and 1 keep the two uses of the label apart.
    hash_value(domain::STATE_LEAF, &(0u8, value))
}

/// [`EntryRow::leaf_hash`] of each entry at its path, in their order: hashed side by side.
pub(crate) fn leaf_hashes<'a>(entries: impl Iterator<Item = (&'a Path, &'a EntryRow)> + Clone) -> Vec<Hash> {
    // As `value_hash` and `leaf_hash`.
    let values = hash_values(domain::STATE_LEAF, entries.clone().map(|(_, row)| (0u8, row.value.as_slice())));
    hash_values(domain::STATE_LEAF, entries.zip(&values).map(|((path, _), value)| (1u8, path, value)))
}

fn leaf_hash(path: &Path, value: &Hash) -> Hash {
    hash_value(domain::STATE_LEAF, &(1u8, path, value))
}

/// One alone, for the definition that tests follow.
#[cfg(test)]
fn node_hash(bit: u8, left: &Hash, right: &Hash) -> Hash {
    hash_value(domain::STATE_NODE, &(bit, left, right))
}

/// The hash of a node of each bit and its two sides, in their order: hashed side by side.
fn node_hashes(nodes: impl IntoIterator<Item = (u8, Hash, Hash)>) -> Vec<Hash> {
    hash_values(domain::STATE_NODE, nodes)
}

/// A commitment to a map that is updated in batches and reads rows only where the batch touches it. The one
/// implementation is [`RadixTree`]; another one would keep the store and the batches as they are.
pub(crate) trait CommittedMap {
    /// The leaf at `path`, its value with it unless that lies apart, or the proven absence of one.
    fn lookup(&self, source: &impl PageSource, root: Option<&Subtree>, path: &Path)
        -> Result<Option<Found>, ReadError>;

    /// Applies `changes`, which are sorted by path without repetition, once.
    fn update(
        &self,
        source: &impl PageSource,
        root: Option<&Subtree>,
        changes: &[Change],
        stamp: Stamp,
    ) -> Result<Update, ReadError>;

    /// Brings a part of the tree under the keys of `stamp`; its entries and root stay.
    fn reseal(
        &self,
        source: &impl PageSource,
        root: Option<&Subtree>,
        part: Part<'_>,
        stamp: Stamp,
    ) -> Result<Resealed, ReadError>;

    /// Up to `limit` leaves in the order of their paths, beginning after `after`, each with its entry unless that lies apart.
    fn leaves_after(
        &self,
        source: &impl PageSource,
        root: Option<&Subtree>,
        after: Option<&Path>,
        limit: usize,
    ) -> Result<Vec<Leaf>, ReadError>;
}

/// Where pages on the disk come from, and entries that lie apart. Implementations return only pages that [`Page::verify`] accepted, and
/// entries that are their leaf's.
pub(crate) trait PageSource {
    fn page(&self, id: &PageId, expected: &NodeRef) -> Result<Arc<Page>, ReadError>;

    /// The entry of a leaf, as the tree hands that out.
    fn entry(&self, leaf: &Leaf) -> Result<Arc<EntryRow>, ReadError>;

    /// The page of a subtree, from memory if it is not on the disk yet. That one is only borrowed: counting it would write to memory
    /// that a walk otherwise reads.
    fn page_of<'a>(&self, id: &PageId, subtree: &'a Subtree) -> Result<Cow<'a, Arc<Page>>, ReadError> {
        match &subtree.page {
            Some(page) => Ok(Cow::Borrowed(page)),
            None => Ok(Cow::Owned(self.page(id, &subtree.node)?)),
        }
    }
}

/// A subtree as its parent's row names it.
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
    /// The oldest keys that a row of it is under: its page, one below, or an entry that lies apart.
    #[codec(compact)]
    pub oldest: Epoch,
    /// The commit that wrote its page.
    #[codec(compact)]
    pub version: u64,
}

/// A subtree as its parent knows it.
#[derive(Clone, Debug)]
pub(crate) struct Subtree {
    pub node: NodeRef,
    /// Its page, as long as that is not on the disk.
    pub page: Option<Arc<Page>>,
}

impl Subtree {
    /// A subtree that is on the disk.
    pub(crate) fn stored(node: NodeRef) -> Self {
        Self { node, page: None }
    }
}

/// An entry as the tree knows it.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub path: Path,
    /// What [`leaf_hash`] makes of path and value.
    pub hash: Hash,
    pub row: LeafRow,
}

/// Where an entry is.
#[derive(Clone, Debug)]
pub(crate) enum LeafRow {
    /// On the disk, in a row of its own, which is under these keys: it is large.
    Apart(Epoch),
    /// In its bucket's row, by its bytes in there: it is small.
    Within(Span),
    /// As [`Self::Within`], by bytes that were put there in this process: they need no check.
    Ours(Span),
    /// In memory only.
    Fresh(Arc<EntryRow>),
}

/// Bytes of a bucket: from, and up to but not including.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(u32, u32);

impl Leaf {
    fn says_the_same(&self, other: &Self) -> bool {
        (&self.path, &self.hash) == (&other.path, &other.hash)
    }

    /// The keys its entry's own row is under, if it has one.
    fn apart(&self) -> Option<Epoch> {
        match self.row {
            LeafRow::Apart(generation) => Some(generation),
            LeafRow::Within(_) | LeafRow::Ours(_) | LeafRow::Fresh(_) => None,
        }
    }
}

/// A leaf that was looked up.
#[derive(Debug)]
pub(crate) struct Found {
    pub leaf: Leaf,
    /// Its value, unless that lies apart.
    pub value: Option<Vec<u8>>,
}

/// An entry before it is sealed.
#[derive(Debug, Encode, Decode)]
pub(crate) struct EntryRow {
    pub contract: [u8; 32],
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl EntryRow {
    pub(crate) fn path(&self, namespace: Namespace) -> Path {
        path_of(namespace, &self.contract, &self.key)
    }

    /// Whether it lies in its bucket's row: then it costs no row of its own, and its bucket is not much longer for it.
    fn is_small(&self) -> bool {
        self.key.len() + self.value.len() <= MAX_WITHIN_BYTES
    }

    /// About how many bytes it takes in memory.
    fn memory(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.len() + 64
    }

    /// What its leaf commits, at `path`.
    pub(crate) fn leaf_hash(&self, path: &Path) -> Hash {
        leaf_hash(path, &value_hash(&self.value))
    }
}

/// A write (`Some`) or a removal.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub path: Path,
    pub value: Option<Written>,
}

/// A value to write.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub hash: Hash,
    pub row: Arc<EntryRow>,
}

#[cfg(test)]
impl Change {
    pub(crate) fn new(path: Path, row: Option<Arc<EntryRow>>) -> Self {
        Self { path, value: row.map(|row| Written { hash: row.leaf_hash(&path), row }) }
    }
}

/// What pages and entries that are written now carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub generation: Epoch,
    pub version: u64,
}

/// What a batch of changes makes of a tree.
#[derive(Default)]
pub(crate) struct Update {
    pub root: Option<Subtree>,
    /// Rows on the disk that the new version has no use for.
    pub stale: Stale,
    /// About how many bytes of pages and entries are in memory only for it, more than for the version before.
    pub unwritten: isize,
}

/// Rows on the disk that are to be removed, unless they are written anew at the same locator. In no order: nobody looks for one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stale {
    pub pages: Vec<(PageId, NodeRef)>,
    /// By the generation they are under.
    pub entries: Vec<(Path, Epoch)>,
}

impl Stale {
    pub(crate) fn extend(&mut self, other: Self) {
        self.pages.extend(other.pages);
        self.entries.extend(other.entries);
    }
}

impl Update {
    pub(crate) fn root_hash(&self) -> Hash {
        root_hash(self.root.as_ref())
    }

    /// Notes that the page of `subtree` has no use any more, on the disk or in memory.
    fn replaces(&mut self, id: PageId, subtree: &Subtree) {
        match &subtree.page {
            None => self.stale.pages.push((id, subtree.node)),
            Some(page) => self.unwritten = self.unwritten.saturating_sub_unsigned(page.memory()),
        }
    }

    /// A subtree whose page is in memory only.
    fn holds(&mut self, hash: Hash, page: Arc<Page>, stamp: Stamp) -> Subtree {
        let Stamp { generation, version } = stamp;
        self.unwritten = self.unwritten.saturating_add_unsigned(page.memory());
        let oldest = page.oldest().map_or(generation, |oldest| oldest.min(generation));
        Subtree { node: NodeRef { hash, count: page.count(), generation, oldest, version }, page: Some(page) }
    }
}

/// The hash of a root that may be empty.
pub(crate) fn root_hash(root: Option<&Subtree>) -> Hash {
    root.map_or(EMPTY_ROOT, |subtree| subtree.node.hash)
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

    /// The last path that may lie in it.
    fn last(&self) -> Path {
        let (whole, mut path) = (usize::from(self.nibbles / 2), self.prefix);
        for (index, byte) in path.iter_mut().enumerate().skip(whole) {
            *byte |= if index == whole && !self.nibbles.is_multiple_of(2) { 0x0f } else { 0xff };
        }
        path
    }

    /// How many nibbles every path below begins with, and those nibbles.
    pub(crate) fn prefix(&self) -> (u8, Path) {
        (self.nibbles, self.prefix)
    }

    pub(crate) fn depth(&self) -> u8 {
        self.nibbles
    }
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
    fn lookup(
        &self,
        source: &impl PageSource,
        root: Option<&Subtree>,
        path: &Path,
    ) -> Result<Option<Found>, ReadError> {
        match root {
            Some(subtree) => find(source, PageId::ROOT, subtree, path),
            None => Ok(None),
        }
    }

    fn update(
        &self,
        source: &impl PageSource,
        root: Option<&Subtree>,
        changes: &[Change],
        stamp: Stamp,
    ) -> Result<Update, ReadError> {
        update::apply(source, root, changes, stamp)
    }

    fn reseal(
        &self,
        source: &impl PageSource,
        root: Option<&Subtree>,
        part: Part<'_>,
        stamp: Stamp,
    ) -> Result<Resealed, ReadError> {
        reseal::reseal(source, root, part, stamp)
    }

    fn leaves_after(
        &self,
        source: &impl PageSource,
        root: Option<&Subtree>,
        after: Option<&Path>,
        limit: usize,
    ) -> Result<Vec<Leaf>, ReadError> {
        let mut leaves = Vec::new();
        if let Some(subtree) = root {
            walk(source, PageId::ROOT, subtree, after, limit, &mut leaves)?;
        }
        Ok(leaves)
    }
}

/// The leaf at `path` in the subtree at `id`. Recursion is bounded by the 64 nibbles of a path.
fn find(source: &impl PageSource, id: PageId, subtree: &Subtree, path: &Path) -> Result<Option<Found>, ReadError> {
    match &**source.page_of(&id, subtree)? {
        Page::Bucket(bucket) => Ok(bucket.find(path)?),
        Page::Branch(branch) => {
            let nibble = id.choose(path);
            match branch.slot(nibble) {
                Some(next) => find(source, id.child(nibble), next, path),
                None => Ok(None),
            }
        }
    }
}

fn walk(
    source: &impl PageSource,
    id: PageId,
    subtree: &Subtree,
    after: Option<&Path>,
    limit: usize,
    leaves: &mut Vec<Leaf>,
) -> Result<(), ReadError> {
    match &**source.page_of(&id, subtree)? {
        Page::Bucket(bucket) => {
            let room = limit.saturating_sub(leaves.len());
            let behind = bucket.leaves().filter(|(leaf, _)| after.is_none_or(|after| leaf.path > *after));
            for (leaf, home) in behind.take(room) {
                leaves.push(home.with_entry(leaf)?);
            }
        }
        Page::Branch(branch) => {
            for (nibble, slot) in (0u8..).zip(branch.slots.iter()) {
                let Some(child) = slot else { continue };
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

mod bucket;
mod nodes;
mod page;
mod plan;
mod reseal;
mod small;
#[cfg(test)]
mod tests;
mod unload;
mod update;

use bucket::Bucket;
use page::Branch;
pub(crate) use page::Page;
pub(crate) use reseal::{Part, Resealed};
pub(crate) use unload::{unload, Unloaded};
