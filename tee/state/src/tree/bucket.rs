//! A bucket: a page of leaves, with what changed of them lately beside those that did not, and the hashes above.
//!
//! ```text
//! bucket = 0u8 | leaves: compact | contracts: Vec<[u8; 32]> | leaf...
//! leaf   = hash: [u8; 32]
//!          | 0u8 generation: compact, path: [u8; 32]          an entry that lies apart, and the keys its row is under
//!          | 1u8 contract: u8, key: Vec<u8>, value: Vec<u8>   a small one; its path follows from its key, its keys are the page's
//! ```
//!
//! A page that comes under other keys has the same bytes.
//!
//! Guarantees: whatever lies over the leaves, roots and entries are those of the leaves side by side. The host controls the bytes that are
//! decoded; [`super::Page::verify`] judges them.

use super::{
    first_difference, node_hash, path_of,
    small::{bytes, room_of, Home, Small},
    Found, Leaf, LeafRow, Namespace, PageId, Path, Span, BUCKET_LEAVES, EMPTY_ROOT,
};
use crate::error::{IntegrityError, Row};
use codec::{Compact, Decode, Encode, Input};
use phala_protocol::{Epoch, Hash};
use std::{borrow::Cow, ops::Range, sync::Arc};

/// Leaves, sorted by path, and the hashes above them.
///
/// A change copies what is in the overlay, a few leaves, and not the others: versions share those. What adds or removes a leaf, or
/// makes the overlay too large, lays them all out anew.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    base: Arc<Base>,
    over: Overlay,
}

/// The leaves of a bucket as they were read, or last laid out.
#[derive(Clone, Debug)]
struct Base {
    leaves: Vec<Leaf>,
    /// The small entries among them.
    small: Arc<Small>,
    /// For each leaf but the first, the first bit in which its path differs from the one before; empty until they have been computed.
    /// Versions with the same paths share them.
    bits: Arc<[u8]>,
    /// The hash of each inner node, by the index of the first leaf on its right side; empty until they have been computed.
    inner: Vec<Hash>,
    /// About how many bytes all of it takes, counted once: every change asks.
    bytes: usize,
    /// The oldest keys that the row of an entry is under that lies apart, counted once.
    oldest: Option<Epoch>,
    /// Whether it is as its row has it: no entry is in memory by itself, and `small` has those of the leaves and nothing else.
    exact: bool,
}

impl Base {
    /// `laid`: all small entries of `leaves` lie in `small`, and nothing else does.
    fn new(leaves: Vec<Leaf>, small: Arc<Small>, bits: Arc<[u8]>, inner: Vec<Hash>, laid: bool) -> Self {
        let leaf = size_of::<Leaf>() + size_of::<Hash>() + 1;
        let (mut rows, mut oldest) = (0, None::<Epoch>);
        for leaf in &leaves {
            rows += row_memory(leaf);
            oldest = oldest.into_iter().chain(leaf.apart()).min();
        }
        let bytes = leaves.len() * leaf + small.bytes.len() + rows;
        Self { leaves, small, bits, inner, bytes, oldest, exact: laid && rows == 0 }
    }
}

/// About how many bytes the entry of `leaf` takes by itself.
fn row_memory(leaf: &Leaf) -> usize {
    match &leaf.row {
        LeafRow::Fresh(row) => row.memory(),
        LeafRow::Apart(_) | LeafRow::Within(_) | LeafRow::Ours(_) => 0,
    }
}

/// What has another value since; by index, in its order.
#[derive(Clone, Debug, Default)]
struct Overlay {
    leaves: Vec<(u8, Leaf)>,
    /// The small entries among them, whose contracts are the base's.
    bytes: Vec<u8>,
    /// Inner nodes, as the base names them.
    nodes: Vec<(u8, Hash)>,
}

/// Leaves of an overlay: with more of them, a change copies as much as it would without.
const OVERLAY_LEAVES: usize = 8;

impl Overlay {
    /// Appends a leaf, its entry among the bytes if that is small: it was in memory by itself, or in `home`, whose contracts are the same.
    /// One of a contract of which the base has no small entry stays by itself.
    fn lay(&mut self, at: u8, leaf: &Leaf, home: Home<'_>) -> Result<(), IntegrityError> {
        let from = self.bytes.len();
        let number = |contract: &[u8; 32]| home.contracts.iter().position(|known| known == contract);
        let row = match &leaf.row {
            LeafRow::Fresh(row) if row.is_small() => {
                match number(&row.contract).and_then(|number| u8::try_from(number).ok()) {
                    Some(contract) => {
                        (contract, &row.key, &row.value).encode_to(&mut self.bytes);
                        LeafRow::Ours(Span(from as u32, self.bytes.len() as u32))
                    }
                    None => leaf.row.clone(),
                }
            }
            LeafRow::Ours(span) => {
                let entry = home.bytes.get(span.0 as usize..span.1 as usize);
                self.bytes.extend_from_slice(entry.ok_or(IntegrityError::Malformed(Row::Page))?);
                LeafRow::Ours(Span(from as u32, self.bytes.len() as u32))
            }
            // What lies over leaves was written in this process: none of it lies apart, or is yet to be checked.
            LeafRow::Apart(_) | LeafRow::Within(_) | LeafRow::Fresh(_) => leaf.row.clone(),
        };
        self.leaves.push((at, Leaf { path: leaf.path, hash: leaf.hash, row }));
        Ok(())
    }

    fn leaf(&self, at: usize) -> Option<&Leaf> {
        leaf_of(&self.leaves, at)
    }
}

/// The leaf at an index among those of an overlay.
fn leaf_of(leaves: &[(u8, Leaf)], at: usize) -> Option<&Leaf> {
    let found = leaves.binary_search_by_key(&index(at), |(at, _)| *at).ok()?;
    leaves.get(found).map(|(_, leaf)| leaf)
}

/// A leaf's index as an overlay has it. A bucket has fewer leaves than a byte has values.
fn index(at: usize) -> u8 {
    u8::try_from(at).unwrap_or(u8::MAX)
}

impl Bucket {
    pub(super) fn new(leaves: Vec<Leaf>, small: Arc<Small>) -> Self {
        Self::made_of(leaves, small, Arc::default(), Vec::new())
    }

    /// A bucket of sorted `leaves` that was made of another one, and is to be hashed: `bits` are where their paths differ, and `inner`
    /// hashes of the other one's nodes, each beside the leaf that begins its right side.
    pub(super) fn made_of(leaves: Vec<Leaf>, small: Arc<Small>, bits: Arc<[u8]>, inner: Vec<Hash>) -> Self {
        Self { base: Arc::new(Base::new(leaves, small, bits, inner, false)), over: Overlay::default() }
    }

    /// A bucket of sorted `leaves` whose small entries all lie in `small`, and nothing else does.
    fn laid(leaves: Vec<Leaf>, small: Small) -> Self {
        let base = Base::new(leaves, Arc::new(small), Arc::default(), Vec::new(), true);
        Self { base: Arc::new(base), over: Overlay::default() }
    }

    /// This bucket, whose small entries all lie in `small` now, and nothing else does.
    pub(super) fn written(&self, leaves: Vec<Leaf>, small: Small) -> Self {
        let mut inner = self.base.inner.clone();
        for (index, hash) in &self.over.nodes {
            if let Some(node) = inner.get_mut(usize::from(*index)) {
                *node = *hash;
            }
        }
        let base = Base::new(leaves, Arc::new(small), self.base.bits.clone(), inner, true);
        Self { base: Arc::new(base), over: Overlay::default() }
    }

    /// This bucket without an overlay.
    pub(super) fn laid_out(&self) -> Result<Cow<'_, Self>, IntegrityError> {
        if self.over.leaves.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        Ok(Cow::Owned(self.laid_out_with(&[])?))
    }

    /// This bucket without an overlay, and with these values, which are to be hashed.
    fn laid_out_with(&self, values: &[(u8, Leaf)]) -> Result<Self, IntegrityError> {
        let more: usize = values.iter().map(|(_, leaf)| room_of(leaf)).sum();
        let mut small = Small::with_room(self.room() + more);
        let mut leaves = Vec::with_capacity(self.len());
        let mut values = values.iter().peekable();
        for (index, (leaf, home)) in (0u8..).zip(self.leaves()) {
            let value = values.next_if(|(at, _)| *at == index);
            leaves.push(small.lay(value.map_or(leaf, |(_, leaf)| leaf), home)?);
        }
        small.bytes.shrink_to_fit();
        Ok(self.written(leaves, small))
    }

    /// This bucket with other values for the leaves at these indices, which are in order, and its root.
    pub(super) fn with_values(&self, values: &[(u8, Leaf)]) -> Result<(Self, Option<Hash>), IntegrityError> {
        let changed = values.iter().fold(0u64, |set, (index, _)| set | bit_at(usize::from(*index)));
        if self.over.leaves.len() + values.len() > OVERLAY_LEAVES {
            let mut bucket = self.laid_out_with(values)?;
            let root = bucket.hash(changed);
            return Ok((bucket, root));
        }
        let room = self.over.bytes.len() + values.iter().map(|(_, leaf)| room_of(leaf)).sum::<usize>();
        let mut over = Overlay {
            leaves: Vec::with_capacity(self.over.leaves.len() + values.len()),
            bytes: Vec::with_capacity(room),
            nodes: Vec::new(),
        };
        let (mut before, home) = (self.over.leaves.iter().peekable(), self.home_of_overlay());
        for (index, leaf) in values {
            while let Some((at, kept)) = before.next_if(|(at, _)| at < index) {
                over.lay(*at, kept, home)?;
            }
            let _replaced = before.next_if(|(at, _)| at == index);
            over.lay(*index, leaf, home)?;
        }
        for (at, kept) in before {
            over.lay(*at, kept, home)?;
        }
        let mut sparse = Sparse::new(&self.base, &over.leaves, &self.over.nodes);
        let root = subtree_root(&mut sparse, &self.base.bits, 0..self.len(), changed);
        over.nodes = sparse.nodes();
        Ok((Self { base: self.base.clone(), over }, root))
    }

    /// Bytes that its small entries take.
    pub(super) fn room(&self) -> usize {
        self.leaves().map(|(leaf, _)| room_of(leaf)).sum()
    }

    /// Where the small entries of what lies over the leaves are.
    fn home_of_overlay(&self) -> Home<'_> {
        Home { contracts: &self.base.small.contracts, bytes: &self.over.bytes }
    }

    /// Whether it has as many leaves as a bucket may, in order, all of which are of the page at `id`.
    pub(super) fn is_sound(&self, id: &PageId) -> bool {
        let leaves = &self.base.leaves;
        !leaves.is_empty()
            && leaves.len() <= BUCKET_LEAVES
            && leaves.iter().all(|leaf| id.contains(&leaf.path))
            && leaves.iter().zip(leaves.iter().skip(1)).all(|(left, right)| left.path < right.path)
    }

    /// About how many bytes it takes in memory.
    pub(super) fn memory(&self) -> usize {
        let Self { base, over } = self;
        let rows: usize = over.leaves.iter().map(|(_, leaf)| row_memory(leaf)).sum();
        let leaves = over.leaves.len() * size_of::<(u8, Leaf)>() + over.bytes.len() + rows;
        base.bytes + leaves + over.nodes.len() * size_of::<(u8, Hash)>() + 256
    }

    pub(super) fn len(&self) -> usize {
        self.base.leaves.len()
    }

    /// The leaves in their order, each with where its entry is if that is small.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (&Leaf, Home<'_>)> {
        let (home, home_over) = (self.base.small.home(), self.home_of_overlay());
        let mut over = self.over.leaves.iter().peekable();
        (0u8..).zip(&self.base.leaves).map(move |(index, leaf)| match over.next_if(|(at, _)| *at == index) {
            Some((_, leaf)) => (leaf, home_over),
            None => (leaf, home),
        })
    }

    /// The leaves of a bucket without an overlay that was hashed, each with the first bit in which its path differs from the one before,
    /// and the hash of the node whose right side it begins.
    pub(super) fn with_nodes(&self) -> impl Iterator<Item = (&Leaf, u8, &Hash)> {
        let Base { leaves, bits, inner, .. } = &*self.base;
        leaves.iter().zip(bits.iter()).zip(inner).map(|((leaf, bit), inner)| (leaf, *bit, inner))
    }

    /// The small entries of a bucket without an overlay.
    pub(super) fn small(&self) -> &Arc<Small> {
        &self.base.small
    }

    /// The leaf at `path`: its index, and where its entry is if that is small.
    pub(super) fn leaf_at(&self, path: &Path) -> Option<(u8, &Leaf, Home<'_>)> {
        let found = self.base.leaves.binary_search_by(|leaf| leaf.path.cmp(path)).ok()?;
        match self.over.leaf(found) {
            Some(leaf) => Some((index(found), leaf, self.home_of_overlay())),
            None => Some((index(found), self.base.leaves.get(found)?, self.base.small.home())),
        }
    }

    /// The leaf at `path`, with its value unless that lies apart.
    pub(super) fn find(&self, path: &Path) -> Result<Option<Found>, IntegrityError> {
        let Some((_, leaf, home)) = self.leaf_at(path) else { return Ok(None) };
        Ok(Some(Found { leaf: leaf.clone(), value: home.value_of(leaf)? }))
    }

    /// Whether it is what is read of its row again.
    pub(super) fn is_exact(&self) -> bool {
        self.over.leaves.is_empty() && self.base.exact
    }

    /// The oldest keys that the row of an entry is under that lies apart, if one does.
    pub(super) fn oldest(&self) -> Option<Epoch> {
        if self.over.leaves.is_empty() || self.base.oldest.is_none() {
            // What lies over leaves is in memory.
            return self.base.oldest;
        }
        self.leaves().filter_map(|(leaf, _)| leaf.apart()).min()
    }

    /// The leaves whose entries lie apart under keys that are older than `generation`, with those and by index, in order.
    pub(super) fn apart_before(&self, generation: Epoch) -> impl Iterator<Item = (u8, &Leaf, Epoch)> {
        (0u8..).zip(self.leaves()).filter_map(move |(index, (leaf, _))| {
            let under = leaf.apart().filter(|under| *under < generation)?;
            Some((index, leaf, under))
        })
    }

    /// Computes the hashes above the leaves whose bit is set in `changed`, of a bucket without an overlay; all of them the first time.
    pub(super) fn hash(&mut self, changed: u64) -> Option<Hash> {
        let Base { leaves, bits, inner, .. } = Arc::make_mut(&mut self.base);
        let changed = if inner.len() == leaves.len() { changed } else { u64::MAX };
        inner.resize(leaves.len(), EMPTY_ROOT);
        if bits.len() != leaves.len() {
            *bits = differences(leaves)?.into();
        }
        subtree_root(&mut Dense { leaves, inner }, bits, 0..leaves.len(), changed)
    }

    /// The bytes of a bucket that was unloaded, and so has no overlay.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Base { leaves, small, .. } = &*self.base;
        let apart = leaves.iter().filter(|leaf| leaf.apart().is_some()).count();
        // Not much more than it takes: all of it is wiped.
        let room = 16 + 32 * (small.contracts.len() + leaves.len()) + 38 * apart + leaves.len() + small.bytes.len();
        let mut bytes = Vec::with_capacity(room);
        bytes.push(0);
        Compact(leaves.len() as u32).encode_to(&mut bytes);
        small.contracts.encode_to(&mut bytes);
        for leaf in leaves {
            bytes.extend_from_slice(&leaf.hash);
            match leaf.row {
                LeafRow::Within(Span(from, to)) | LeafRow::Ours(Span(from, to)) => {
                    bytes.push(1);
                    bytes.extend_from_slice(small.bytes.get(from as usize..to as usize).unwrap_or_default());
                }
                LeafRow::Apart(generation) => {
                    bytes.push(0);
                    Compact(generation).encode_to(&mut bytes);
                    bytes.extend_from_slice(&leaf.path);
                }
                // Unloading leaves none: a page that lacked a leaf would be refused.
                LeafRow::Fresh(_) => {}
            }
        }
        bytes
    }

    pub(super) fn decode(input: &mut &[u8], namespace: Namespace) -> Result<Self, codec::Error> {
        let Compact(count) = Compact::<u32>::decode(input)?;
        if count as usize > BUCKET_LEAVES {
            return Err("a bucket has fewer leaves".into());
        }
        let mut small = Small { contracts: Decode::decode(input)?, bytes: Vec::with_capacity(input.len()) };
        let mut leaves = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let hash = Hash::decode(input)?;
            let (path, row) = match input.read_byte()? {
                0 => {
                    let Compact(generation) = Compact::<Epoch>::decode(input)?;
                    (Path::decode(input)?, LeafRow::Apart(generation))
                }
                1 => {
                    let before = *input;
                    let contract = small.contracts.get(usize::from(input.read_byte()?)).ok_or("no such contract")?;
                    let path = path_of(namespace, contract, bytes(input)?);
                    bytes(input)?;
                    let from = small.bytes.len();
                    small.bytes.extend_from_slice(before.get(..before.len() - input.len()).unwrap_or_default());
                    (path, LeafRow::Within(Span(from as u32, small.bytes.len() as u32)))
                }
                _ => return Err("no such kind of entry".into()),
            };
            leaves.push(Leaf { path, hash, row });
        }
        small.bytes.shrink_to_fit();
        Ok(Self::laid(leaves, small))
    }
}

/// For each leaf, the first bit in which its path differs from the one before: zero for the first, which has none before it.
fn differences(leaves: &[Leaf]) -> Option<Vec<u8>> {
    // Its whole room at once, which collecting what may be none does not take.
    let mut bits = Vec::with_capacity(leaves.len());
    bits.push(0);
    for (left, right) in leaves.iter().zip(leaves.iter().skip(1)) {
        bits.push(first_difference(&left.path, &right.path)?);
    }
    Some(bits)
}

/// A set of one leaf of a bucket, which has no more of them than bits fit here.
pub(super) fn bit_at(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1u64.checked_shl(index)).unwrap_or(0)
}

/// The set of the leaves in `range`.
fn bits_in(range: &Range<usize>) -> u64 {
    bit_at(range.end).wrapping_sub(1) & !bit_at(range.start).wrapping_sub(1)
}

/// Where the hashes of a bucket's leaves and nodes are, by index.
trait Hashes {
    fn leaf(&self, at: usize) -> Option<Hash>;
    fn node(&self, at: usize) -> Option<Hash>;
    fn put(&mut self, at: usize, hash: Hash);
}

/// Those of a bucket that is new.
struct Dense<'a> {
    leaves: &'a [Leaf],
    inner: &'a mut [Hash],
}

impl Hashes for Dense<'_> {
    fn leaf(&self, at: usize) -> Option<Hash> {
        self.leaves.get(at).map(|leaf| leaf.hash)
    }

    fn node(&self, at: usize) -> Option<Hash> {
        self.inner.get(at).copied()
    }

    fn put(&mut self, at: usize, hash: Hash) {
        if let Some(node) = self.inner.get_mut(at) {
            *node = hash;
        }
    }
}

/// Those of a bucket that shares its base with others. Nodes over the base's lie on the stack until all of them are known: a list of
/// them would be grown, or have more room than it takes.
struct Sparse<'a> {
    base: &'a Base,
    leaves: &'a [(u8, Leaf)],
    nodes: [Hash; BUCKET_LEAVES],
    /// Which of `nodes` there are.
    held: u64,
}

impl<'a> Sparse<'a> {
    fn new(base: &'a Base, leaves: &'a [(u8, Leaf)], nodes: &[(u8, Hash)]) -> Self {
        let mut sparse = Self { base, leaves, nodes: [EMPTY_ROOT; BUCKET_LEAVES], held: 0 };
        for (at, hash) in nodes {
            sparse.put(usize::from(*at), *hash);
        }
        sparse
    }

    /// The nodes over the base's, in the order of their indices.
    fn nodes(&self) -> Vec<(u8, Hash)> {
        let count = self.held.count_ones() as usize;
        // Of a few lengths only, so that the place of one that went fits another: up to 31 of 33 bytes, what the allocator keeps at hand.
        let mut nodes = Vec::with_capacity(count | 7);
        let held = (0u8..).zip(&self.nodes).filter(|(at, _)| self.held & bit_at(usize::from(*at)) != 0);
        nodes.extend(held.map(|(at, hash)| (at, *hash)));
        nodes
    }
}

impl Hashes for Sparse<'_> {
    fn leaf(&self, at: usize) -> Option<Hash> {
        leaf_of(self.leaves, at).or_else(|| self.base.leaves.get(at)).map(|leaf| leaf.hash)
    }

    fn node(&self, at: usize) -> Option<Hash> {
        let nodes = if self.held & bit_at(at) == 0 { &self.base.inner[..] } else { &self.nodes[..] };
        nodes.get(at).copied()
    }

    fn put(&mut self, at: usize, hash: Hash) {
        if let Some(node) = self.nodes.get_mut(at) {
            *node = hash;
            self.held |= bit_at(at);
        }
    }
}

/// The root of the sorted leaves in `range`, between which `bits` are. The hashes of nodes are valid but above leaves that are `changed`.
fn subtree_root(hashes: &mut impl Hashes, bits: &[u8], range: Range<usize>, changed: u64) -> Option<Hash> {
    if range.len() == 1 {
        return hashes.leaf(range.start);
    }
    // All of them share the bits before the first in which any two neighbours differ, and in that one it is only these two that do:
    // the node that branches there is above all, and its right side begins between them.
    let behind_first = range.start.saturating_add(1)..range.end;
    let (middle, bit) = behind_first.clone().zip(bits.get(behind_first)?).min_by_key(|(_, bit)| **bit)?;
    if changed & bits_in(&range) == 0 {
        return hashes.node(middle);
    }
    let left = subtree_root(hashes, bits, range.start..middle, changed)?;
    let right = subtree_root(hashes, bits, middle..range.end, changed)?;
    let hash = node_hash(*bit, &left, &right);
    hashes.put(middle, hash);
    Some(hash)
}
