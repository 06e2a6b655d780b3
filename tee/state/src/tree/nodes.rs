//! Nodes whose hashes are computed together: those of many pages, which do not depend on each other, side by side.
//!
//! Whoever makes pages takes down the nodes that are new ([`Nodes::add`]), each of two sides that are known or were taken down before;
//! then all of them are computed ([`Nodes::compute`]), first those whose sides are known, next those of which these are sides, and so on;
//! then their hashes are there ([`Nodes::get`]).
//!
//! Guarantees: a hash is the one of a node computed by itself. Pure. Contracts choose how many nodes there are, as they choose keys.

use super::{node_hashes, EMPTY_ROOT};
use phala_protocol::Hash;

/// What is under a side of a node, or is a root.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// Its hash.
    Known(Hash),
    /// A node that was taken down: how many are computed one after the other before it, and its place among those that are computed with it.
    Later(usize, usize),
}

/// A node that was taken down: the bit at which it branches, and its sides.
struct Node(u8, Side, Side);

/// Nodes to be computed together.
#[derive(Default)]
pub(super) struct Nodes {
    /// Those that were taken down: the sides of each are known, or of those before.
    waves: Vec<Vec<Node>>,
    /// Hashes of those that were computed.
    hashes: Vec<Vec<Hash>>,
}

impl Nodes {
    /// Takes down a node. Its sides must be of these nodes, none of which is computed yet.
    pub(super) fn add(&mut self, bit: u8, left: Side, right: Side) -> Side {
        let behind = |side: &Side| match side {
            Side::Known(_) => 0,
            Side::Later(wave, _) => wave + 1,
        };
        let wave = behind(&left).max(behind(&right));
        if self.waves.len() <= wave {
            self.waves.resize_with(wave + 1, Vec::new);
        }
        let place = self.waves.get_mut(wave).map_or(0, |nodes| {
            nodes.push(Node(bit, left, right));
            nodes.len() - 1
        });
        Side::Later(wave, place)
    }

    /// Computes what was taken down; nothing more may be.
    pub(super) fn compute(&mut self) {
        for nodes in std::mem::take(&mut self.waves) {
            let sides = nodes.iter().map(|Node(bit, left, right)| (*bit, self.get(left), self.get(right)));
            let hashes = node_hashes(sides);
            self.hashes.push(hashes);
        }
    }

    /// The hash of a side. One that was not computed is the root of no entry, which no page has.
    pub(super) fn get(&self, side: &Side) -> Hash {
        match side {
            Side::Known(hash) => *hash,
            Side::Later(wave, place) => {
                self.hashes.get(*wave).and_then(|hashes| hashes.get(*place)).copied().unwrap_or(EMPTY_ROOT)
            }
        }
    }
}
