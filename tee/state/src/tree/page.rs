//! The two kinds of pages: what they hold in memory and on the disk, and their roots.
//!
//! ```text
//! bucket = 0u8 | leaves: compact | contracts: Vec<[u8; 32]> | leaf...
//! leaf   = hash: [u8; 32] | generation: compact
//!          | 0u8 path: [u8; 32]                          an entry that lies apart
//!          | 1u8 contract: u8, key: Vec<u8>, value: Vec<u8>   a small one; its path follows from its key
//! branch = 1u8 | 16 times Option<NodeRef>
//! ```
//!
//! Guarantees: decoding takes no more memory than a few times the bytes, and judges nothing but form; [`Page::verify`] accepts only the
//! page that its parent names. A small entry is handed out only if its value's hash is its leaf's. The host controls the bytes.

use super::{
    first_difference, node_hash, path_of, EntryRow, Leaf, LeafRow, Namespace, NodeRef, PageId, Path, Span, Subtree,
    BUCKET_LEAVES, EMPTY_ROOT, PATH_NIBBLES,
};
use crate::error::{IntegrityError, Row};
use codec::{Compact, Decode, Encode, Input};
use phala_protocol::{Epoch, Hash};
use std::sync::Arc;

/// A stored part of the tree.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    /// Leaves.
    Bucket(Bucket),
    /// Subtrees.
    Branch(Branch),
}

/// Leaves, sorted by path, and the hashes above them.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub leaves: Vec<Leaf>,
    /// The small entries of [`LeafRow::Within`], shared by the versions of a bucket until it is written again.
    pub small: Arc<Small>,
    /// The hash of each inner node, by the index of the first leaf on its right side; empty until they have been computed.
    pub inner: Vec<Hash>,
}

/// Entries as they lie in a bucket's row.
#[derive(Debug, Default)]
pub(crate) struct Small {
    contracts: Vec<[u8; 32]>,
    bytes: Vec<u8>,
}

impl Small {
    /// Appends an entry.
    pub(super) fn push(&mut self, row: &EntryRow) -> Span {
        let known = self.contracts.iter().position(|contract| *contract == row.contract);
        let contract = known.unwrap_or_else(|| {
            self.contracts.push(row.contract);
            self.contracts.len() - 1
        });
        // A bucket has fewer entries than a byte has values.
        let contract = u8::try_from(contract).unwrap_or(u8::MAX);
        let from = self.bytes.len();
        (contract, &row.key, &row.value).encode_to(&mut self.bytes);
        Span(from as u32, self.bytes.len() as u32)
    }

    /// The entry that [`Self::push`] put there.
    pub(super) fn get(&self, Span(from, to): Span) -> Option<EntryRow> {
        let bytes = self.bytes.get(from as usize..to as usize)?;
        let (contract, key, value) = <(u8, Vec<u8>, Vec<u8>)>::decode(&mut &bytes[..]).ok()?;
        Some(EntryRow { contract: *self.contracts.get(usize::from(contract))?, key, value })
    }
}

impl Bucket {
    pub(super) fn new(leaves: Vec<Leaf>, small: Arc<Small>) -> Self {
        Self { leaves, small, inner: Vec::new() }
    }

    /// A leaf of this bucket that says its entry itself, if that is small.
    pub(super) fn with_entry(&self, leaf: &Leaf) -> Result<Leaf, IntegrityError> {
        let LeafRow::Within(span) = leaf.row else { return Ok(leaf.clone()) };
        let row = self.small.get(span).ok_or(IntegrityError::Malformed(Row::Page))?;
        if row.leaf_hash(&leaf.path) != leaf.hash {
            return Err(IntegrityError::NotCommitted(Row::Page));
        }
        Ok(Leaf { row: LeafRow::Fresh(Arc::new(row)), ..leaf.clone() })
    }

    /// Computes the hashes above the leaves, anew where `changed` says that a leaf below is another; all of them the first time.
    pub(super) fn hash(&mut self, changed: &[bool]) -> Option<Hash> {
        let fresh = self.inner.len() != self.leaves.len();
        if fresh {
            self.inner = vec![EMPTY_ROOT; self.leaves.len()];
        }
        subtree_root(&self.leaves, &mut self.inner, if fresh { &[] } else { changed })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.leaves.len() * 100 + self.small.bytes.len());
        bytes.push(0);
        Compact(self.leaves.len() as u32).encode_to(&mut bytes);
        self.small.contracts.encode_to(&mut bytes);
        for leaf in &self.leaves {
            bytes.extend_from_slice(&leaf.hash);
            Compact(leaf.generation).encode_to(&mut bytes);
            match leaf.row {
                LeafRow::Within(Span(from, to)) => {
                    bytes.push(1);
                    bytes.extend_from_slice(self.small.bytes.get(from as usize..to as usize).unwrap_or_default());
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

    fn decode(input: &mut &[u8], namespace: Namespace) -> Result<Self, codec::Error> {
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

/// The root of sorted leaves. `inner` are the hashes between them, valid but above leaves that are `changed`; without a word
/// about changes all are computed.
fn subtree_root(leaves: &[Leaf], inner: &mut [Hash], changed: &[bool]) -> Option<Hash> {
    let (first, last) = (leaves.first()?, leaves.last()?);
    if leaves.len() == 1 {
        return Some(first.hash);
    }
    // All leaves share the bits on which the first and the last agree, for they are sorted.
    let bit = first_difference(&first.path, &last.path)?;
    let middle = leaves.partition_point(|leaf| !super::bit_of(&leaf.path, bit));
    if !changed.is_empty() && !changed.contains(&true) {
        return inner.get(middle).copied();
    }
    let (left, right) = leaves.split_at_checked(middle)?;
    let (left_changed, right_changed) = changed.split_at_checked(middle).unwrap_or_default();
    let (left_inner, right_inner) = inner.split_at_mut_checked(middle)?;
    let left = subtree_root(left, left_inner, left_changed)?;
    let right = subtree_root(right, right_inner, right_changed)?;
    let hash = node_hash(bit, &left, &right);
    // The first leaf on the right is no middle of the right side's own nodes.
    *right_inner.first_mut()? = hash;
    Some(hash)
}

/// Sixteen subtrees by nibble, and the hashes above them.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub slots: Box<[Option<Subtree>; 16]>,
    /// The nodes of the four levels above the children, as a heap whose root is at 1; `None` until they have been computed.
    inner: Option<Box<[Option<Hash>; 16]>>,
}

impl Branch {
    pub(super) fn new(slots: Box<[Option<Subtree>; 16]>) -> Self {
        Self { slots, inner: None }
    }

    pub(super) fn slot(&self, nibble: u8) -> Option<&Subtree> {
        self.slots.get(usize::from(nibble))?.as_ref()
    }

    /// The children's hashes folded pairwise, four times; a lone child passes unchanged. Computes anew what is above children whose
    /// bit is set in `changed`; all of it the first time.
    pub(super) fn hash(&mut self, id: &PageId, changed: u16) -> Option<Hash> {
        let changed = if self.inner.is_some() { u32::from(changed) } else { u32::from(u16::MAX) };
        let slots = &self.slots;
        let inner = self.inner.get_or_insert_default();
        for level in (0..4u8).rev() {
            let (nodes, children) = (1usize << level, 16usize >> level);
            for index in 0..nodes {
                if changed >> (index * children) & ((1 << children) - 1) == 0 {
                    continue;
                }
                let side = |side: usize| match 2 * (nodes + index) + side {
                    slot @ 16.. => slots.get(slot - 16)?.as_ref().map(|slot| slot.node.hash),
                    node => inner.get(node).copied().flatten(),
                };
                let bit = id.depth().saturating_mul(4).saturating_add(level);
                let hash = match (side(0), side(1)) {
                    (Some(left), Some(right)) => Some(node_hash(bit, &left, &right)),
                    (one, other) => one.or(other),
                };
                if let Some(node) = inner.get_mut(nodes + index) {
                    *node = hash;
                }
            }
        }
        inner.get(1).copied().flatten()
    }
}

impl Page {
    /// The page's bytes. It must have been unloaded: what is in memory only is not in them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Bucket(bucket) => bucket.encode(),
            Self::Branch(branch) => {
                let mut bytes = Vec::with_capacity(16 * 48);
                bytes.push(1);
                branch.slots.iter().for_each(|slot| slot.as_ref().map(|slot| slot.node).encode_to(&mut bytes));
                bytes
            }
        }
    }

    /// Decodes a page of `namespace`; judges nothing.
    pub(crate) fn decode_bounded(mut bytes: &[u8], namespace: Namespace) -> Result<Self, IntegrityError> {
        let input = &mut bytes;
        let page = (|| {
            Ok::<_, codec::Error>(match input.read_byte()? {
                0 => Self::Bucket(Bucket::decode(input, namespace)?),
                1 => {
                    let mut slots: Box<[Option<Subtree>; 16]> = Box::default();
                    for slot in slots.iter_mut() {
                        *slot = Option::<NodeRef>::decode(input)?.map(Subtree::stored);
                    }
                    Self::Branch(Branch::new(slots))
                }
                _ => return Err("no such kind of page".into()),
            })
        })();
        page.ok().filter(|_| input.is_empty()).ok_or(IntegrityError::Malformed(Row::Page))
    }

    /// Accepts the page as the one at `id` whose root is `expected`.
    pub(crate) fn verify(&mut self, id: &PageId, expected: &NodeRef) -> Result<(), IntegrityError> {
        let sound = match self {
            Self::Bucket(Bucket { leaves, .. }) => {
                !leaves.is_empty()
                    && leaves.len() <= BUCKET_LEAVES
                    && leaves.iter().all(|leaf| id.contains(&leaf.path))
                    && leaves.iter().zip(leaves.iter().skip(1)).all(|(left, right)| left.path < right.path)
            }
            Self::Branch(branch) => id.depth() < PATH_NIBBLES && branch.slots.iter().any(Option::is_some),
        };
        if !sound {
            return Err(IntegrityError::Malformed(Row::Page));
        }
        let root = match self {
            Self::Bucket(bucket) => bucket.hash(&[]),
            Self::Branch(branch) => branch.hash(id, 0),
        };
        if root != Some(expected.hash) {
            return Err(IntegrityError::NotCommitted(Row::Page));
        }
        Ok(())
    }

    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.leaves.len() as u64,
            Self::Branch(branch) => {
                branch.slots.iter().flatten().fold(0, |sum, slot| sum.saturating_add(slot.node.count))
            }
        }
    }

    /// About how many bytes it takes in memory, without what hangs from it.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Bucket(bucket) => {
                let fresh = bucket.leaves.iter().map(|leaf| match &leaf.row {
                    LeafRow::Fresh(row) => row.memory(),
                    LeafRow::Apart | LeafRow::Within(_) => 0,
                });
                let leaf = size_of::<Leaf>() + size_of::<Hash>();
                bucket.leaves.len() * leaf + bucket.small.bytes.len() + fresh.sum::<usize>() + 256
            }
            Self::Branch(_) => 16 * (size_of::<Option<Subtree>>() + size_of::<Option<Hash>>()) + 128,
        }
    }
}
