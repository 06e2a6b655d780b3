//! A bucket: a page of leaves, with what changed of them lately beside those that did not, and the hashes above.
//!
//! ```text
//! bucket = 0u8 | leaves: compact | contracts: Vec<[u8; 32]> | leaf...
//! leaf   = hash: [u8; 32] | generation: compact
//!          | 0u8 path: [u8; 32]                          an entry that lies apart
//!          | 1u8 contract: u8, key: Vec<u8>, value: Vec<u8>   a small one; its path follows from its key
//! ```
//!
//! Guarantees: a small entry that was read is handed out only if its value's hash is its leaf's; whatever lies over the leaves, roots and
//! entries are those of the leaves side by side. The host controls the bytes that are decoded; [`super::Page::verify`] judges them.

use super::{
    first_difference, node_hash, path_of, EntryRow, Leaf, LeafRow, Namespace, PageId, Path, Span, BUCKET_LEAVES,
    EMPTY_ROOT,
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
    bits: Vec<u8>,
    /// The hash of each inner node, by the index of the first leaf on its right side; empty until they have been computed.
    inner: Vec<Hash>,
    /// About how many bytes all of it takes, counted once: every change asks.
    bytes: usize,
}

impl Base {
    fn new(leaves: Vec<Leaf>, small: Arc<Small>, bits: Vec<u8>, inner: Vec<Hash>) -> Self {
        let leaf = size_of::<Leaf>() + size_of::<Hash>() + 1;
        let rows: usize = leaves.iter().map(row_memory).sum();
        let bytes = leaves.len() * leaf + small.bytes.len() + rows;
        Self { leaves, small, bits, inner, bytes }
    }
}

/// About how many bytes the entry of `leaf` takes by itself.
fn row_memory(leaf: &Leaf) -> usize {
    match &leaf.row {
        LeafRow::Fresh(row) => row.memory(),
        LeafRow::Apart | LeafRow::Within(_) | LeafRow::Ours(_) => 0,
    }
}

/// What has another value since; by index, in its order.
#[derive(Clone, Debug, Default)]
struct Overlay {
    leaves: Vec<(u8, Leaf)>,
    /// The small entries among them.
    small: Small,
    /// Inner nodes, as the base names them.
    nodes: Vec<(u8, Hash)>,
}

/// Leaves of an overlay: with more of them, a change copies as much as it would without.
const OVERLAY_LEAVES: usize = 8;
/// Small entries of a bucket that are in memory by themselves: with more of them, counting them up and down for every version costs
/// more than laying them out once.
const LONE_ENTRIES: usize = 8;

/// Entries as they lie in a bucket's row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Small {
    contracts: Vec<[u8; 32]>,
    bytes: Vec<u8>,
}

impl Small {
    fn with_room(bytes: usize) -> Self {
        Self { contracts: Vec::new(), bytes: Vec::with_capacity(bytes) }
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, row: &EntryRow) -> Span {
        let contract = self.contract(&row.contract);
        let from = self.bytes.len();
        (contract, &row.key, &row.value).encode_to(&mut self.bytes);
        Span(from as u32, self.bytes.len() as u32)
    }

    /// The entry that [`Self::push`] put there.
    fn get(&self, Span(from, to): Span) -> Option<EntryRow> {
        let bytes = self.bytes.get(from as usize..to as usize)?;
        let (contract, key, value) = <(u8, Vec<u8>, Vec<u8>)>::decode(&mut &bytes[..]).ok()?;
        Some(EntryRow { contract: *self.contracts.get(usize::from(contract))?, key, value })
    }

    /// Appends the entry that lies at `span` of `home`.
    fn copy(&mut self, home: &Self, Span(from, to): Span) -> Option<Span> {
        let (contract, rest) = home.bytes.get(from as usize..to as usize)?.split_first()?;
        let contract = self.contract(home.contracts.get(usize::from(*contract))?);
        let from = self.bytes.len();
        self.bytes.push(contract);
        self.bytes.extend_from_slice(rest);
        Some(Span(from as u32, self.bytes.len() as u32))
    }

    /// The number of a contract here, which is counted among those of entries from now on.
    fn contract(&mut self, contract: &[u8; 32]) -> u8 {
        let known = self.contracts.iter().position(|known| known == contract);
        let number = known.unwrap_or_else(|| {
            self.contracts.push(*contract);
            self.contracts.len() - 1
        });
        // A bucket has fewer entries than a byte has values.
        u8::try_from(number).unwrap_or(u8::MAX)
    }

    /// `leaf` with its entry here, if that is small: it was in memory by itself, or in `home`.
    pub(super) fn lay(&mut self, leaf: &Leaf, home: &Self) -> Result<Leaf, IntegrityError> {
        let malformed = IntegrityError::Malformed(Row::Page);
        let row = match &leaf.row {
            LeafRow::Fresh(row) if row.is_small() => LeafRow::Ours(self.push(row)),
            LeafRow::Within(span) => LeafRow::Within(self.copy(home, *span).ok_or(malformed)?),
            LeafRow::Ours(span) => LeafRow::Ours(self.copy(home, *span).ok_or(malformed)?),
            LeafRow::Apart | LeafRow::Fresh(_) => leaf.row.clone(),
        };
        Ok(Leaf { path: leaf.path, hash: leaf.hash, generation: leaf.generation, row })
    }

    /// `leaf`, which says its entry itself, if that lies here.
    pub(super) fn with_entry(&self, leaf: &Leaf) -> Result<Leaf, IntegrityError> {
        let (LeafRow::Within(span) | LeafRow::Ours(span)) = leaf.row else { return Ok(leaf.clone()) };
        let row = self.get(span).ok_or(IntegrityError::Malformed(Row::Page))?;
        if matches!(leaf.row, LeafRow::Within(_)) && row.leaf_hash(&leaf.path) != leaf.hash {
            return Err(IntegrityError::NotCommitted(Row::Page));
        }
        let row = LeafRow::Fresh(Arc::new(row));
        Ok(Leaf { path: leaf.path, hash: leaf.hash, generation: leaf.generation, row })
    }
}

/// Leaves whose small entries lie in `small` or are in memory by themselves, with no more of the latter than [`LONE_ENTRIES`].
pub(super) fn gathered(leaves: Vec<Leaf>, small: &Arc<Small>) -> Result<(Vec<Leaf>, Arc<Small>), IntegrityError> {
    let lone = |leaf: &Leaf| match &leaf.row {
        LeafRow::Fresh(row) if row.is_small() => Some(row.key.len() + row.value.len() + 5),
        _ => None,
    };
    let (count, bytes) = leaves.iter().filter_map(lone).fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
    if count <= LONE_ENTRIES {
        return Ok((leaves, small.clone()));
    }
    let mut all = Small::with_room(small.bytes.len() + bytes);
    let leaves = leaves.iter().map(|leaf| all.lay(leaf, small)).collect::<Result<_, _>>()?;
    all.bytes.shrink_to_fit();
    Ok((leaves, Arc::new(all)))
}

impl Overlay {
    fn leaf(&self, at: usize) -> Option<&Leaf> {
        let found = self.leaves.binary_search_by_key(&index(at), |(at, _)| *at).ok()?;
        self.leaves.get(found).map(|(_, leaf)| leaf)
    }

    fn node(&self, at: usize) -> Option<Hash> {
        let found = self.nodes.binary_search_by_key(&index(at), |(at, _)| *at).ok()?;
        self.nodes.get(found).map(|(_, hash)| *hash)
    }
}

/// A leaf's index as an overlay has it. A bucket has fewer leaves than a byte has values.
fn index(at: usize) -> u8 {
    u8::try_from(at).unwrap_or(u8::MAX)
}

/// Bytes that the small ones among new entries take.
fn room_for(values: &[(u8, Leaf)]) -> usize {
    let bytes = |leaf: &Leaf| match &leaf.row {
        LeafRow::Fresh(row) if row.is_small() => row.key.len() + row.value.len() + 5,
        _ => 0,
    };
    values.iter().map(|(_, leaf)| bytes(leaf)).sum()
}

impl Bucket {
    pub(super) fn new(leaves: Vec<Leaf>, small: Arc<Small>) -> Self {
        Self::made_of(leaves, small, Vec::new())
    }

    /// A bucket of sorted `leaves` that was made of another one, and is to be hashed: `inner` are hashes of that one's nodes, each beside
    /// the leaf that begins its right side.
    pub(super) fn made_of(leaves: Vec<Leaf>, small: Arc<Small>, inner: Vec<Hash>) -> Self {
        Self { base: Arc::new(Base::new(leaves, small, Vec::new(), inner)), over: Overlay::default() }
    }

    /// This bucket, whose leaves' entries lie elsewhere now.
    pub(super) fn written(&self, leaves: Vec<Leaf>, mut small: Small) -> Self {
        small.bytes.shrink_to_fit();
        let mut inner = self.base.inner.clone();
        for (index, hash) in &self.over.nodes {
            if let Some(node) = inner.get_mut(usize::from(*index)) {
                *node = *hash;
            }
        }
        let base = Base::new(leaves, Arc::new(small), self.base.bits.clone(), inner);
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
        let mut small = Small::with_room(self.base.small.bytes.len() + self.over.small.bytes.len() + room_for(values));
        let mut leaves = Vec::with_capacity(self.len());
        let mut values = values.iter().peekable();
        for (index, (leaf, home)) in (0u8..).zip(self.leaves()) {
            let value = values.next_if(|(at, _)| *at == index);
            leaves.push(small.lay(value.map_or(leaf, |(_, leaf)| leaf), home)?);
        }
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
        let mut over = Overlay {
            leaves: Vec::with_capacity(self.over.leaves.len() + values.len()),
            small: Small::with_room(self.over.small.bytes.len() + room_for(values)),
            nodes: Vec::with_capacity(self.over.nodes.len() + 8 * values.len()),
        };
        over.nodes.extend_from_slice(&self.over.nodes);
        let (mut before, home) = (self.over.leaves.iter().peekable(), &self.over.small);
        for (index, leaf) in values {
            while let Some((at, kept)) = before.next_if(|(at, _)| at < index) {
                over.leaves.push((*at, over.small.lay(kept, home)?));
            }
            let _replaced = before.next_if(|(at, _)| at == index);
            over.leaves.push((*index, over.small.lay(leaf, home)?));
        }
        for (at, kept) in before {
            over.leaves.push((*at, over.small.lay(kept, home)?));
        }
        let mut sparse = Sparse { base: &self.base, over };
        let root = subtree_root(&mut sparse, &self.base.bits, 0..self.len(), changed);
        let over = sparse.over;
        Ok((Self { base: self.base.clone(), over }, root))
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
        let leaves = over.leaves.len() * size_of::<(u8, Leaf)>() + over.small.bytes.len() + rows;
        base.bytes + leaves + over.nodes.len() * size_of::<(u8, Hash)>() + 256
    }

    pub(super) fn len(&self) -> usize {
        self.base.leaves.len()
    }

    /// The leaves in their order, each with where its entry is if that is small.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (&Leaf, &Small)> {
        let mut over = self.over.leaves.iter().peekable();
        (0u8..).zip(&self.base.leaves).map(move |(index, leaf)| match over.next_if(|(at, _)| *at == index) {
            Some((_, leaf)) => (leaf, &self.over.small),
            None => (leaf, &*self.base.small),
        })
    }

    /// The leaves of a bucket without an overlay, each with the hash of the node whose right side it begins.
    pub(super) fn with_nodes(&self) -> impl Iterator<Item = (&Leaf, &Hash)> {
        self.base.leaves.iter().zip(&self.base.inner)
    }

    /// The small entries of a bucket without an overlay.
    pub(super) fn small(&self) -> &Arc<Small> {
        &self.base.small
    }

    /// The leaf at `path`: its index, and where its entry is if that is small.
    pub(super) fn leaf_at(&self, path: &Path) -> Option<(u8, &Leaf, &Small)> {
        let found = self.base.leaves.binary_search_by(|leaf| leaf.path.cmp(path)).ok()?;
        match self.over.leaf(found) {
            Some(leaf) => Some((index(found), leaf, &self.over.small)),
            None => Some((index(found), self.base.leaves.get(found)?, &*self.base.small)),
        }
    }

    /// The leaf at `path`, which says its entry itself, if that is small.
    pub(super) fn find(&self, path: &Path) -> Result<Option<Leaf>, IntegrityError> {
        self.leaf_at(path).map(|(_, leaf, home)| home.with_entry(leaf)).transpose()
    }

    /// Computes the hashes above the leaves whose bit is set in `changed`, of a bucket without an overlay; all of them the first time.
    pub(super) fn hash(&mut self, changed: u64) -> Option<Hash> {
        let Base { leaves, bits, inner, .. } = Arc::make_mut(&mut self.base);
        let changed = if inner.len() == leaves.len() { changed } else { u64::MAX };
        inner.resize(leaves.len(), EMPTY_ROOT);
        if bits.len() != leaves.len() {
            *bits = differences(leaves)?;
        }
        subtree_root(&mut Dense { leaves, inner }, bits, 0..leaves.len(), changed)
    }

    /// The bytes of a bucket that was unloaded, and so has no overlay.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Base { leaves, small, .. } = &*self.base;
        let apart = leaves.iter().filter(|leaf| matches!(leaf.row, LeafRow::Apart)).count();
        // Not much more than it takes: all of it is wiped.
        let room = 16 + 32 * (small.contracts.len() + apart) + 38 * leaves.len() + small.bytes.len();
        let mut bytes = Vec::with_capacity(room);
        bytes.push(0);
        Compact(leaves.len() as u32).encode_to(&mut bytes);
        small.contracts.encode_to(&mut bytes);
        for leaf in leaves {
            bytes.extend_from_slice(&leaf.hash);
            Compact(leaf.generation).encode_to(&mut bytes);
            match leaf.row {
                LeafRow::Within(Span(from, to)) | LeafRow::Ours(Span(from, to)) => {
                    bytes.push(1);
                    bytes.extend_from_slice(small.bytes.get(from as usize..to as usize).unwrap_or_default());
                }
                // Unloading leaves no other.
                LeafRow::Apart | LeafRow::Fresh(_) => {
                    bytes.push(0);
                    bytes.extend_from_slice(&leaf.path);
                }
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
            let Compact(generation) = Compact::<Epoch>::decode(input)?;
            let (path, row) = match input.read_byte()? {
                0 => (Path::decode(input)?, LeafRow::Apart),
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
            leaves.push(Leaf { path, hash, generation, row });
        }
        small.bytes.shrink_to_fit();
        Ok(Self::new(leaves, Arc::new(small)))
    }
}

/// Takes the bytes of a vector off `input`, where they are.
fn bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], codec::Error> {
    let Compact(length) = Compact::<u32>::decode(input)?;
    let (taken, rest) = input.split_at_checked(length as usize).ok_or("shorter than it says")?;
    *input = rest;
    Ok(taken)
}

/// For each leaf, the first bit in which its path differs from the one before: zero for the first, which has none before it.
fn differences(leaves: &[Leaf]) -> Option<Vec<u8>> {
    let neighbours = leaves.iter().zip(leaves.iter().skip(1));
    let between = neighbours.map(|(left, right)| first_difference(&left.path, &right.path));
    std::iter::once(Some(0)).chain(between).collect()
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

/// Those of a bucket that shares its base with others.
struct Sparse<'a> {
    base: &'a Base,
    over: Overlay,
}

impl Hashes for Sparse<'_> {
    fn leaf(&self, at: usize) -> Option<Hash> {
        self.over.leaf(at).or_else(|| self.base.leaves.get(at)).map(|leaf| leaf.hash)
    }

    fn node(&self, at: usize) -> Option<Hash> {
        self.over.node(at).or_else(|| self.base.inner.get(at).copied())
    }

    fn put(&mut self, at: usize, hash: Hash) {
        let nodes = &mut self.over.nodes;
        match nodes.binary_search_by_key(&index(at), |(at, _)| *at) {
            Ok(found) => {
                if let Some((_, node)) = nodes.get_mut(found) {
                    *node = hash;
                }
            }
            Err(place) => nodes.insert(place, (index(at), hash)),
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
