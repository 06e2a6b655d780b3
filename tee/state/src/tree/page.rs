//! The two kinds of pages: what they hold in memory and on the disk, and their roots.
//!
//! ```text
//! page   = bucket (`bucket.rs`), or branch
//! branch = 1u8 | 16 times Option<NodeRef>
//! ```
//!
//! Guarantees: decoding takes no more memory than a few times the bytes, and judges nothing but form; [`Page::verify`] accepts only the
//! page that its parent names. The host controls the bytes.

use super::{
    nodes::{Nodes, Side},
    Bucket, Namespace, NodeRef, PageId, Subtree, PATH_NIBBLES,
};
use crate::error::{IntegrityError, Row};
use codec::{Decode, Encode, Input};
use phala_protocol::{Epoch, Hash};
use std::sync::Arc;

/// Bytes of the longest branch: a hash, and the compact encodings of two numbers of 64 bits and two of 32, for each child.
pub(super) const MAX_BRANCH_BYTES: usize = 1 + 16 * (1 + 32 + 2 * 9 + 2 * 5);

/// A stored part of the tree.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    /// Leaves.
    Bucket(Bucket),
    /// Subtrees.
    Branch(Branch),
}

/// Sixteen subtrees by nibble, in pairs that versions share: one that is set copies its pair, and the other pairs are counted rather
/// than fourteen subtrees, each somewhere else in memory. In a large state the pairs of all branches still fit a processor's cache, and the
/// pages of the subtrees do not: each that is counted beside the one that is set is fetched from memory for that, and again when it is given up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots([Arc<[Option<Subtree>; PAIR]>; 16 / PAIR]);

/// Subtrees that are copied together.
const PAIR: usize = 2;

impl Slots {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Option<Subtree>> {
        self.0.iter().flat_map(|pair| pair.iter())
    }

    fn get(&self, nibble: u8) -> Option<&Subtree> {
        self.0.get(usize::from(nibble) / PAIR)?.get(usize::from(nibble) % PAIR)?.as_ref()
    }

    pub(super) fn set(&mut self, nibble: u8, subtree: Option<Subtree>) {
        let pair = self.0.get_mut(usize::from(nibble) / PAIR).map(Arc::make_mut);
        if let Some(slot) = pair.and_then(|pair| pair.get_mut(usize::from(nibble) % PAIR)) {
            *slot = subtree;
        }
    }
}

/// Sixteen subtrees, and the hashes above them.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub slots: Slots,
    /// The nodes of the four levels above the children, as a heap whose root is at 1; `None` until they have been computed.
    inner: Option<Box<[Option<Hash>; 16]>>,
}

impl Branch {
    pub(super) fn new(slots: Slots) -> Self {
        Self { slots, inner: None }
    }

    pub(super) fn slot(&self, nibble: u8) -> Option<&Subtree> {
        self.slots.get(nibble)
    }

    /// The children's hashes folded pairwise, four times; a lone child passes unchanged. Computes anew what is above children whose
    /// bit is set in `changed`; all of it the first time.
    pub(super) fn hash(&mut self, id: &PageId, changed: u16) -> Option<Hash> {
        let mut nodes = Nodes::default();
        let plan = self.plan(id, changed, |nibble| self.root_of(nibble), &mut nodes);
        nodes.compute();
        self.complete(&plan, &nodes);
        plan.root.map(|root| nodes.get(&root))
    }

    /// The root of a child as it is.
    pub(super) fn root_of(&self, nibble: u8) -> Option<Side> {
        self.slots.get(nibble).map(|slot| Side::Known(slot.node.hash))
    }

    /// As [`Self::hash`], of children whose roots are `roots`, with the nodes that are new taken down in `nodes` and not there yet.
    pub(super) fn plan(
        &self,
        id: &PageId,
        changed: u16,
        roots: impl Fn(u8) -> Option<Side>,
        nodes: &mut Nodes,
    ) -> BranchPlan {
        let changed = if self.inner.is_some() { u32::from(changed) } else { u32::from(u16::MAX) };
        let known = |node: usize| self.inner.as_ref().and_then(|inner| inner.get(node).copied().flatten());
        // By their places in the heap; of those that stay nothing.
        let mut made = [None::<Option<Side>>; 16];
        for level in (0..4u8).rev() {
            let (count, children) = (1usize << level, 16usize >> level);
            for index in 0..count {
                if changed >> (index * children) & ((1 << children) - 1) == 0 {
                    continue;
                }
                let side = |side: usize| match 2 * (count + index) + side {
                    slot @ 16.. => roots((slot - 16) as u8),
                    node => made.get(node).copied().flatten().unwrap_or_else(|| known(node).map(Side::Known)),
                };
                let bit = id.depth().saturating_mul(4).saturating_add(level);
                let root = match (side(0), side(1)) {
                    (Some(left), Some(right)) => Some(nodes.add(bit, left, right)),
                    (one, other) => one.or(other),
                };
                if let Some(node) = made.get_mut(count + index) {
                    *node = Some(root);
                }
            }
        }
        let root = made.get(1).copied().flatten().unwrap_or_else(|| known(1).map(Side::Known));
        let made = (0u8..).zip(made).filter_map(|(node, root)| Some((node, root?))).collect();
        BranchPlan { root, nodes: made }
    }

    /// Puts the nodes of a plan that was made of this branch where they belong.
    pub(super) fn complete(&mut self, plan: &BranchPlan, nodes: &Nodes) {
        let inner = self.inner.get_or_insert_default();
        for (at, root) in &plan.nodes {
            if let Some(node) = inner.get_mut(usize::from(*at)) {
                *node = root.as_ref().map(|root| nodes.get(root));
            }
        }
    }
}

/// What is to be computed of a branch: its root, and the nodes that are new, by their places in the heap; none where there is no child below.
#[derive(Debug)]
pub(super) struct BranchPlan {
    pub(super) root: Option<Side>,
    nodes: Vec<(u8, Option<Side>)>,
}

impl Page {
    /// The page's bytes. It must have been unloaded: what is in memory only is not in them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Bucket(bucket) => bucket.encode(),
            Self::Branch(branch) => {
                // Room for all of it: a vector that grew would leave a copy behind that nobody wipes.
                let mut bytes = Vec::with_capacity(MAX_BRANCH_BYTES);
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
                    let mut slots = Slots::default();
                    for nibble in 0..16 {
                        slots.set(nibble, Option::<NodeRef>::decode(input)?.map(Subtree::stored));
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
            Self::Bucket(bucket) => bucket.is_sound(id),
            Self::Branch(branch) => id.depth() < PATH_NIBBLES && branch.slots.iter().any(Option::is_some),
        };
        if !sound {
            return Err(IntegrityError::Malformed(Row::Page));
        }
        let root = match self {
            Self::Bucket(bucket) => bucket.hash(u64::MAX),
            Self::Branch(branch) => branch.hash(id, 0),
        };
        if root != Some(expected.hash) {
            return Err(IntegrityError::NotCommitted(Row::Page));
        }
        Ok(())
    }

    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.len() as u64,
            Self::Branch(branch) => {
                branch.slots.iter().flatten().fold(0, |sum, slot| sum.saturating_add(slot.node.count))
            }
        }
    }

    /// The oldest keys that a row below the page, or beside it, is under; `None` if there is none but the page's own.
    pub(super) fn oldest(&self) -> Option<Epoch> {
        match self {
            Self::Bucket(bucket) => bucket.oldest(),
            Self::Branch(branch) => branch.slots.iter().flatten().map(|slot| slot.node.oldest).min(),
        }
    }

    /// About how many bytes it takes in memory, without what hangs from it.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Bucket(bucket) => bucket.memory(),
            Self::Branch(_) => 16 * (size_of::<Option<Subtree>>() + size_of::<Option<Hash>>()) + 288,
        }
    }
}
