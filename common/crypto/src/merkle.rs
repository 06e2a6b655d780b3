//! A commitment to a list, with short proofs of membership.
//!
//! The tree has the shape of RFC 6962, section 2.1: the left subtree of every node is the largest full one. Leaves and
//! nodes are hashed under different labels, and the root commits the count:
//!
//! ```text
//! leaf = H(MERKLE_LEAF, entry)    node = H(MERKLE_NODE, left || right)    root = H(MERKLE_ROOT, count u64 LE || top)
//! ```
//! `H` is [`phala_protocol::hash()`]; the top of no entries is 32 zeros.
//!
//! Guarantees: a root commits to the order, number and bytes of all entries; [`verify`] accepts for an index only the
//! entry that stands there. The labels stop a node from being passed off as an entry, the count stops a shorter list from
//! sharing a root with a longer one. Does not hide: whoever holds an entry's hash can test guesses, so callers salt.
//! Whoever sends a proof controls all arguments of [`verify`] but the root.
//!
//! Deviations from RFC 6962: BLAKE2b-256 with labels in place of SHA-256 with one-byte prefixes; the count in the root.

use alloc::vec::Vec;
use phala_protocol::{domain, hash, hash_each, hash_value, hash_values, Hash};

/// The most nodes a proof can have: one for each bit of the count.
pub const MAX_PROOF_NODES: usize = 64;

/// The whole tree over a list: its root, and a proof for each entry at the cost of copying it.
pub struct Tree {
    /// The leaves, then each level above, up to the top.
    levels: Vec<Vec<Hash>>,
    count: u64,
}

impl Tree {
    /// The tree over `entries`.
    pub fn of<T: AsRef<[u8]>>(entries: &[T]) -> Self {
        let mut level = leaves(entries);
        let mut levels = Vec::new();
        while level.len() > 1 {
            let above = parents(&level);
            levels.push(core::mem::replace(&mut level, above));
        }
        levels.push(level);
        Self { levels, count: entries.len() as u64 }
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let top = self.levels.last().and_then(|level| level.first());
        root_of(self.count, top.unwrap_or(&[0; 32]))
    }

    /// The proof of the entry at `index`: the siblings on the way up, lowest first. `None` beyond the end.
    pub fn prove(&self, index: u64) -> Option<Vec<Hash>> {
        let mut position = usize::try_from(index).ok().filter(|_| index < self.count)?;
        let mut proof = Vec::with_capacity(self.levels.len());
        for level in self.levels.iter().filter(|level| level.len() > 1) {
            // The last node of an odd level has no sibling: it rises unchanged, and the verifier knows where from the count.
            proof.extend(level.get(position ^ 1));
            position /= 2;
        }
        Some(proof)
    }
}

/// The root of `entries`.
pub fn root<T: AsRef<[u8]>>(entries: &[T]) -> Hash {
    Tree::of(entries).root()
}

/// The proof that `entries[index]` stands there. For more than one proof make the [`Tree`] once.
pub fn prove<T: AsRef<[u8]>>(entries: &[T], index: u64) -> Option<Vec<Hash>> {
    Tree::of(entries).prove(index)
}

/// Checks that `entry` stands at `index` of the list of `count` entries that `root` commits to.
///
/// The walk is that of RFC 9162, section 2.1.3.2; it takes exactly the nodes that index and count call for.
pub fn verify(root: &Hash, index: u64, count: u64, entry: &[u8], proof: &[Hash]) -> Result<(), MerkleError> {
    let mut last = count.checked_sub(1).filter(|last| index <= *last).ok_or(MerkleError::Index { index, count })?;
    let mut position = index;
    let mut current = hash(domain::MERKLE_LEAF, entry);
    for sibling in proof {
        if last == 0 {
            return Err(MerkleError::ProofLength);
        }
        if position & 1 == 1 || position == last {
            current = node(sibling, &current);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            current = node(&current, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(MerkleError::ProofLength);
    }
    if root_of(count, &current) != *root {
        return Err(MerkleError::Root);
    }
    Ok(())
}

/// Why an entry is not shown to be in a list; the fault is the prover's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// The list has no such index.
    #[error("index {index} is beyond a list of {count} entries")]
    Index {
        /// The index that was claimed.
        index: u64,
        /// The count that was claimed.
        count: u64,
    },
    /// More or fewer nodes than index and count call for.
    #[error("proof has not the number of nodes that its index and count call for")]
    ProofLength,
    /// The walk ends elsewhere.
    #[error("proof does not lead to the root")]
    Root,
}

fn leaves<T: AsRef<[u8]>>(entries: &[T]) -> Vec<Hash> {
    hash_each(domain::MERKLE_LEAF, entries.iter().map(AsRef::as_ref))
}

/// The level above: pairs are hashed, an odd last node rises. Gives the shape of RFC 6962 without its recursion.
fn parents(level: &[Hash]) -> Vec<Hash> {
    let (pairs, odd) = level.as_chunks::<2>();
    // Two of them encode as both one after the other, which is what [`node`] hashes.
    let mut above = hash_values(domain::MERKLE_NODE, pairs);
    above.extend_from_slice(odd);
    above
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash_value(domain::MERKLE_NODE, &(left, right))
}

fn root_of(count: u64, top: &Hash) -> Hash {
    hash_value(domain::MERKLE_ROOT, &(count, top))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn entries(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|index| alloc::vec![index as u8; index % 5]).collect()
    }

    /// The definition of RFC 6962, section 2.1, word for word: the oracle of the iterative form.
    fn recursive_top(entries: &[Vec<u8>]) -> Hash {
        match entries {
            [] => [0; 32],
            [single] => hash(domain::MERKLE_LEAF, single),
            _ => {
                let split = entries.len().next_power_of_two() / 2;
                node(&recursive_top(&entries[..split]), &recursive_top(&entries[split..]))
            }
        }
    }

    #[test]
    fn shape_is_that_of_rfc_6962() {
        for count in 0..70 {
            let entries = entries(count);
            assert_eq!(root(&entries), root_of(count as u64, &recursive_top(&entries)), "{count}");
        }
    }

    #[test]
    fn every_index_of_every_small_list_is_provable_and_no_other() {
        for count in 0..20u64 {
            let entries = entries(count as usize);
            let root = root(&entries);
            for index in 0..count {
                let proof = prove(&entries, index).unwrap();
                let entry = &entries[index as usize];
                assert_eq!(verify(&root, index, count, entry, &proof), Ok(()));
                for other in (0..count).filter(|other| *other != index) {
                    assert!(verify(&root, other, count, entry, &proof).is_err(), "{count} {index} {other}");
                }
                for other in (0..40).filter(|other| *other != count) {
                    assert!(verify(&root, index, other, entry, &proof).is_err(), "{count} {index} {other}");
                }
            }
            assert!(prove(&entries, count).is_none());
            assert_eq!(verify(&root, count, count, b"", &[]), Err(MerkleError::Index { index: count, count }));
        }
    }

    #[test]
    fn refuses_missing_and_surplus_nodes() {
        let entries = entries(11);
        let root = root(&entries);
        for index in 0..11 {
            let mut proof = prove(&entries, index).unwrap();
            let entry = &entries[index as usize];
            let cut = proof.pop().unwrap();
            assert_eq!(verify(&root, index, 11, entry, &proof), Err(MerkleError::ProofLength));
            proof.extend([cut, cut]);
            assert_eq!(verify(&root, index, 11, entry, &proof), Err(MerkleError::ProofLength));
        }
        assert_eq!(verify(&root, 0, u64::MAX, b"", &[[0; 32]; 70]), Err(MerkleError::ProofLength));
    }

    #[test]
    fn refuses_a_node_passed_off_as_an_entry() {
        let entries = entries(4);
        let leaf = |index: usize| hash(domain::MERKLE_LEAF, &entries[index]);
        let inner = [leaf(0), leaf(1)].concat();
        let sibling = node(&leaf(2), &leaf(3));
        assert_eq!(verify(&root(&entries), 0, 2, &inner, &[sibling]), Err(MerkleError::Root));
        assert_ne!(root(&[inner, [leaf(2), leaf(3)].concat()]), root(&entries));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn refuses_every_flipped_bit(
            entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..6), 1..40), pick in any::<proptest::sample::Index>(),
        ) {
            let (root, count) = (root(&entries), entries.len() as u64);
            let index = pick.index(entries.len());
            let proof = prove(&entries, index as u64).unwrap();
            prop_assert_eq!(verify(&root, index as u64, count, &entries[index], &proof), Ok(()));
            for bit in 0..256 {
                let mut flipped = root;
                flipped[bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(verify(&flipped, index as u64, count, &entries[index], &proof), Err(MerkleError::Root));
            }
            for bit in 0..entries[index].len() * 8 {
                let mut flipped = entries[index].clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(verify(&root, index as u64, count, &flipped, &proof), Err(MerkleError::Root));
            }
            for bit in 0..proof.len() * 256 {
                let mut flipped = proof.clone();
                flipped[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(verify(&root, index as u64, count, &entries[index], &flipped), Err(MerkleError::Root));
            }
        }
    }
}
