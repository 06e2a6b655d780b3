//! What is to be hashed of a bucket: the nodes above its leaves that changed, and where the hashes of the others are.
//!
//! Guarantees: the tree over a bucket's leaves follows from where their paths differ, whatever is known of it already. Pure. Contracts choose
//! the keys, whose hashes are the paths.

use super::{
    bucket::{index, leaf_of},
    nodes::{Nodes, Side},
    Leaf, EMPTY_ROOT,
};
use phala_protocol::Hash;
use std::ops::Range;

/// A set of one leaf of a bucket, which has no more of them than bits fit here.
pub(super) fn bit_at(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1u64.checked_shl(index)).unwrap_or(0)
}

/// The set of the leaves in `range`.
fn bits_in(range: &Range<usize>) -> u64 {
    bit_at(range.end).wrapping_sub(1) & !bit_at(range.start).wrapping_sub(1)
}

/// Where the hashes of a bucket's leaves and nodes are, by index.
pub(super) trait Hashes {
    fn leaf(&self, at: usize) -> Option<Hash>;
    /// Valid but above leaves that changed.
    fn node(&self, at: usize) -> Option<Hash>;
}

/// Those of a bucket that is new.
pub(super) struct Dense<'a> {
    pub leaves: &'a [Leaf],
    pub inner: &'a [Hash],
}

impl Hashes for Dense<'_> {
    fn leaf(&self, at: usize) -> Option<Hash> {
        self.leaves.get(at).map(|leaf| leaf.hash)
    }

    fn node(&self, at: usize) -> Option<Hash> {
        self.inner.get(at).copied()
    }
}

/// Nodes of an overlay, by index.
pub(super) struct Held<'a> {
    nodes: &'a [(u8, Hash)],
    /// Which there are.
    pub set: u64,
}

impl<'a> Held<'a> {
    pub(super) fn new(nodes: &'a [(u8, Hash)]) -> Self {
        Self { nodes, set: nodes.iter().fold(0, |set, (at, _)| set | bit_at(usize::from(*at))) }
    }

    fn get(&self, at: usize) -> Option<Hash> {
        let held = self.set & bit_at(at) != 0;
        self.nodes.get(place_in(self.set, at)).filter(|_| held).map(|(_, hash)| *hash)
    }
}

/// The place of `at` among those that are in `set`, by their order.
pub(super) fn place_in(set: u64, at: usize) -> usize {
    (set & bit_at(at).wrapping_sub(1)).count_ones() as usize
}

/// Those of a bucket that shares most leaves with others.
pub(super) struct Sparse<'a> {
    pub below: Dense<'a>,
    /// Leaves over those.
    pub leaves: &'a [(u8, Leaf)],
    /// Nodes over those, as they were.
    pub nodes: Held<'a>,
}

impl Sparse<'_> {
    /// The nodes over those below, in the order of their indices, with a place for each that is new.
    pub(super) fn with_room_for(&self, plan: &Plan) -> Vec<(u8, Hash)> {
        let set = plan.nodes.iter().fold(self.nodes.set, |set, (at, _)| set | bit_at(usize::from(*at)));
        // Of a few lengths only, so that the place of one that went fits another: up to 31 of 33 bytes, what the allocator keeps at hand.
        let mut nodes = Vec::with_capacity(set.count_ones() as usize | 7);
        let (mut rest, mut kept) = (set, self.nodes.nodes.iter().peekable());
        while rest != 0 {
            let at = rest.trailing_zeros() as u8;
            rest &= rest - 1;
            nodes.push(kept.next_if(|(before, _)| *before == at).copied().unwrap_or((at, EMPTY_ROOT)));
        }
        nodes
    }
}

impl Hashes for Sparse<'_> {
    fn leaf(&self, at: usize) -> Option<Hash> {
        leaf_of(self.leaves, at).or_else(|| self.below.leaves.get(at)).map(|leaf| leaf.hash)
    }

    fn node(&self, at: usize) -> Option<Hash> {
        self.nodes.get(at).or_else(|| self.below.node(at))
    }
}

/// What is to be computed of a bucket: its root, and the nodes that are new, each by the index of the first leaf on its right side.
#[derive(Debug)]
pub(super) struct Plan {
    pub root: Side,
    pub nodes: Vec<(u8, Side)>,
}

impl Plan {
    /// Takes down what is above leaves that are `changed`, of so many sorted leaves, between which `bits` are.
    pub(super) fn new(
        hashes: &impl Hashes,
        bits: &[u8],
        leaves: usize,
        changed: u64,
        nodes: &mut Nodes,
    ) -> Option<Self> {
        let mut made = Vec::with_capacity(7);
        let root = subtree_root(hashes, bits, 0..leaves, changed, &mut |at, bit, left, right| {
            let node = nodes.add(bit, left, right);
            made.push((index(at), node));
            node
        })?;
        Some(Self { root, nodes: made })
    }
}

/// The root of the sorted leaves in `range`, between which `bits` are, of which nodes above leaves that are `changed` are made by `node`: of
/// the index of the first leaf on its right side, its bit, and what is on both sides.
fn subtree_root(
    hashes: &impl Hashes,
    bits: &[u8],
    range: Range<usize>,
    changed: u64,
    node: &mut impl FnMut(usize, u8, Side, Side) -> Side,
) -> Option<Side> {
    if range.len() == 1 {
        return hashes.leaf(range.start).map(Side::Known);
    }
    // All of them share the bits before the first in which any two neighbours differ, and in that one it is only these two that do:
    // the node that branches there is above all, and its right side begins between them.
    let behind_first = range.start.saturating_add(1)..range.end;
    let (middle, bit) = behind_first.clone().zip(bits.get(behind_first)?).min_by_key(|(_, bit)| **bit)?;
    if changed & bits_in(&range) == 0 {
        return hashes.node(middle).map(Side::Known);
    }
    let left = subtree_root(hashes, bits, range.start..middle, changed, node)?;
    let right = subtree_root(hashes, bits, middle..range.end, changed, node)?;
    Some(node(middle, *bit, left, right))
}
