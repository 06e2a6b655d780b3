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
    first_difference,
    nodes::Nodes,
    paths_of,
    plan::{bit_at, place_in, Dense, Held, Plan, Sparse},
    small::{bytes, room_of, Home, Small},
    Found, Leaf, LeafRow, Namespace, PageId, Path, Span, BUCKET_LEAVES, EMPTY_ROOT,
};
use crate::error::{IntegrityError, Row};
use codec::{Compact, Decode, Encode, Input};
use phala_protocol::{Epoch, Hash};
use std::{borrow::Cow, sync::Arc};

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
    /// How the first and the last leaf's paths begin.
    ends: (u64, u64),
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
        let end = |leaf: Option<&Leaf>| leaf.map_or(0, |leaf| beginning(&leaf.path));
        let ends = (end(leaves.first()), end(leaves.last()));
        Self { leaves, ends, small, bits, inner, bytes, oldest, exact: laid && rows == 0 }
    }
}

impl Base {
    /// The index of the leaf at `path`.
    ///
    /// Paths are hashes: a leaf is about as far along the list as its path is between those of the first and the last. From there it is a
    /// few neighbours away, while halving the list looks at five places all over it, each of which decides where the next one is and is
    /// somewhere else in memory. Whoever makes up keys until their paths lie together has it go through all of a bucket at most.
    fn position(&self, path: &Path) -> Option<usize> {
        let (first, last) = self.ends;
        let behind = last.saturating_sub(first);
        let at = beginning(path).saturating_sub(first).min(behind);
        // As many bits as leave room for the number of leaves.
        let unused = (u64::BITS - behind.leading_zeros()).saturating_sub(u64::BITS / 2);
        let most = self.leaves.len().checked_sub(1)?;
        let guess = (at >> unused).saturating_mul(most as u64) / (behind >> unused).max(1);
        let guess = usize::try_from(guess).map_or(most, |guess| guess.min(most));
        let (before, from) = self.leaves.split_at_checked(guess)?;
        let found = if from.first()?.path <= *path {
            guess + from.iter().position(|leaf| leaf.path >= *path)?
        } else {
            before.iter().rposition(|leaf| leaf.path <= *path)?
        };
        self.leaves.get(found).filter(|leaf| leaf.path == *path).map(|_| found)
    }
}

/// The first bits of a path.
fn beginning(path: &Path) -> u64 {
    path.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
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
pub(super) fn leaf_of(leaves: &[(u8, Leaf)], at: usize) -> Option<&Leaf> {
    let found = leaves.binary_search_by_key(&index(at), |(at, _)| *at).ok()?;
    leaves.get(found).map(|(_, leaf)| leaf)
}

/// A leaf's index as an overlay has it. A bucket has fewer leaves than a byte has values.
pub(super) fn index(at: usize) -> u8 {
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
        let mut nodes = Nodes::default();
        let (mut bucket, plan) = self.planned_with(values, &mut nodes)?;
        nodes.compute();
        let root = plan.map(|plan| bucket.complete(&plan, &nodes));
        Ok((bucket, root))
    }

    /// As [`Self::with_values`], with the nodes that are new taken down in `nodes` and not there yet.
    pub(super) fn planned_with(
        &self,
        values: &[(u8, Leaf)],
        nodes: &mut Nodes,
    ) -> Result<(Self, Option<Plan>), IntegrityError> {
        let changed = values.iter().fold(0u64, |set, (index, _)| set | bit_at(usize::from(*index)));
        if self.over.leaves.len() + values.len() > OVERLAY_LEAVES {
            let mut bucket = self.laid_out_with(values)?;
            let plan = bucket.plan(changed, nodes);
            return Ok((bucket, plan));
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
        let below = Dense { leaves: &self.base.leaves, inner: &self.base.inner };
        let sparse = Sparse { below, leaves: &over.leaves, nodes: Held::new(&self.over.nodes) };
        let plan = Plan::new(&sparse, &self.base.bits, self.len(), changed, nodes);
        if let Some(plan) = &plan {
            over.nodes = sparse.with_room_for(plan);
        }
        Ok((Self { base: self.base.clone(), over }, plan))
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
        let found = self.base.position(path)?;
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
        let mut nodes = Nodes::default();
        let plan = self.plan(changed, &mut nodes)?;
        nodes.compute();
        Some(self.complete(&plan, &nodes))
    }

    /// As [`Self::hash`], with the nodes that are new taken down in `nodes` and not there yet.
    pub(super) fn plan(&mut self, changed: u64, nodes: &mut Nodes) -> Option<Plan> {
        let Base { leaves, bits, inner, .. } = Arc::make_mut(&mut self.base);
        let changed = if inner.len() == leaves.len() { changed } else { u64::MAX };
        inner.resize(leaves.len(), EMPTY_ROOT);
        if bits.len() != leaves.len() {
            *bits = differences(leaves)?.into();
        }
        Plan::new(&Dense { leaves, inner }, bits, leaves.len(), changed, nodes)
    }

    /// Puts the nodes of the plan that was made of this bucket where they belong, and returns its root.
    pub(super) fn complete(&mut self, plan: &Plan, nodes: &Nodes) -> Hash {
        let Self { base, over } = self;
        if over.leaves.is_empty() {
            let inner = &mut Arc::make_mut(base).inner;
            for (at, side) in &plan.nodes {
                if let Some(node) = inner.get_mut(usize::from(*at)) {
                    *node = nodes.get(side);
                }
            }
        } else {
            let held = Held::new(&over.nodes).set;
            for (at, side) in &plan.nodes {
                if let Some((_, node)) = over.nodes.get_mut(place_in(held, usize::from(*at))) {
                    *node = nodes.get(side);
                }
            }
        }
        nodes.get(&plan.root)
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
        let contracts = Vec::<[u8; 32]>::decode(input)?;
        let (mut entries, mut keys) = (Vec::with_capacity(input.len()), Vec::with_capacity(count as usize));
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
                    let contract = contracts.get(usize::from(input.read_byte()?)).ok_or("no such contract")?;
                    keys.push((contract, bytes(input)?));
                    bytes(input)?;
                    let from = entries.len();
                    entries.extend_from_slice(before.get(..before.len() - input.len()).unwrap_or_default());
                    // Its path is computed below, with the others'.
                    (EMPTY_ROOT, LeafRow::Within(Span(from as u32, entries.len() as u32)))
                }
                _ => return Err("no such kind of entry".into()),
            };
            leaves.push(Leaf { path, hash, row });
        }
        let within = leaves.iter_mut().filter(|leaf| matches!(leaf.row, LeafRow::Within(_)));
        for (leaf, path) in within.zip(paths_of(namespace, keys)) {
            leaf.path = path;
        }
        entries.shrink_to_fit();
        Ok(Self::laid(leaves, Small { contracts, bytes: entries }))
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
