//! Storage proofs, as `state_getReadProof` returns them, against the state root of a verified header.
//!
//! An answer is a value, a *proven* absence, or an error; a proof that says nothing about a key is an error, never an
//! absence. Both layouts work, also values of more than 32 bytes that stand in nodes of their own (state version 1).
//! The host controls the proof. Does not do: child tries, decoding of values, and all entries under a prefix: only those that a proof
//! happens to show.
//!
//! The trie walk is smoldot's. Before it, the nodes are taken as a graph: smoldot walks a node once for every path that
//! leads to it, so that ten nodes which each name the next sixteen times would cost 16^10 steps, from a proof of a few
//! kilobytes.

use crate::{
    header::VerifiedHeader,
    limits::{MAX_EXPANDED_PROOF_BYTES, MAX_PROOF_NODES},
};
use codec::Encode;
use phala_protocol::{hash::blake2_256, limits::MAX_STORAGE_PROOF_BYTES, Hash};
use smoldot::trie::{
    bytes_to_nibbles,
    proof_decode::{decode_and_verify_proof, decode_proof, Config, DecodedTrieProof, Error, StorageValue},
    trie_node::{self, StorageValue as NodeValue},
};
use std::collections::BTreeMap;

/// The part of one header's state that a proof shows.
pub struct VerifiedStorage<'a> {
    root: Hash,
    proof: DecodedTrieProof<&'a [u8]>,
}

/// Why a storage proof was refused; the host's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// More bytes than [`MAX_STORAGE_PROOF_BYTES`].
    #[error("storage proof of {0} bytes is over the limit; ask for fewer keys")]
    TooLong(usize),
    /// Not a list of nodes.
    #[error("storage proof is malformed")]
    Malformed,
    /// More nodes than [`MAX_PROOF_NODES`].
    #[error("storage proof of {0} nodes is over the limit; ask for fewer keys")]
    TooManyNodes(usize),
    /// A node that stands twice in the list.
    #[error("storage proof has a node twice")]
    DuplicateNode,
    /// A node that the root does not lead to, or that is no node of a trie.
    #[error("storage proof has a node that its root does not lead to")]
    UnusedNode,
    /// Nodes that are shared so often that walking them would cost far more than the proof's size.
    #[error("storage proof repeats nodes too often")]
    TooEntangled,
    /// The root is not among the nodes: the proof is of another block's state.
    #[error("storage proof is of another state root")]
    WrongRoot,
    /// The nodes do not say whether the key has a value.
    #[error("storage proof does not cover the key")]
    NotCovered,
}

/// Encodes the nodes of a proof, as JSON-RPC lists them, into the form that is verified: a SCALE `Vec<Vec<u8>>`.
pub fn encode_proof(nodes: &[Vec<u8>]) -> Vec<u8> {
    nodes.encode()
}

/// Verifies a proof once, to read several keys of it.
pub fn verify_storage<'a>(header: &VerifiedHeader, proof: &'a [u8]) -> Result<VerifiedStorage<'a>, ProofError> {
    if proof.len() > MAX_STORAGE_PROOF_BYTES {
        return Err(ProofError::TooLong(proof.len()));
    }
    let root = *header.state_root();
    verify_shape(&root, proof)?;
    let proof = decode_and_verify_proof(Config { proof }).map_err(|error| match error {
        Error::InvalidFormat(_) => ProofError::Malformed,
        Error::UnusedProofEntry => ProofError::UnusedNode,
        Error::DuplicateProofEntry => ProofError::DuplicateNode,
    })?;
    if proof.trie_root_proof_entry(&root).is_none() {
        return Err(ProofError::WrongRoot);
    }
    Ok(VerifiedStorage { root, proof })
}

/// Verifies a proof and reads one key of it: its value, or `None` if the state has none.
pub fn verify_storage_value(header: &VerifiedHeader, proof: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>, ProofError> {
    Ok(verify_storage(header, proof)?.get(key)?.map(<[u8]>::to_vec))
}

impl VerifiedStorage<'_> {
    /// Whether this is of the state that `header` commits.
    pub fn is_of(&self, header: &VerifiedHeader) -> bool {
        self.root == *header.state_root()
    }

    /// The key's value, or `None` if the state has none. An error if the proof does not say.
    pub fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, ProofError> {
        let nibbles = bytes_to_nibbles(key.iter().copied());
        let node = self.proof.trie_node_info(&self.root, nibbles).map_err(|_| ProofError::NotCovered)?;
        match node.storage_value {
            StorageValue::Known { value, .. } => Ok(Some(value)),
            StorageValue::None => Ok(None),
            // The value exists, its node was withheld.
            StorageValue::HashKnownValueMissing(_) => Err(ProofError::NotCovered),
        }
    }

    /// The entries under `prefix` that the proof happens to show, by key. Each is in the state; that there is no other is not said.
    pub fn shown_under(&self, prefix: &[u8]) -> Vec<(Vec<u8>, &[u8])> {
        let all = self.proof.iter_runtime_context_ordered();
        // A value that looks like a trie is a root of its own among the nodes.
        let ours = all.filter(|(entry, _)| *entry.trie_root_hash == self.root && entry.key.starts_with(prefix));
        ours.filter_map(|(entry, value)| match value {
            StorageValue::Known { value, .. } => Some((entry.key, value)),
            StorageValue::HashKnownValueMissing(_) | StorageValue::None => None,
        })
        .collect()
    }
}

/// One entry of a proof: what it refers to among the other entries.
struct Node {
    bytes: u64,
    /// Entries that stand below this one, once for each place.
    children: Vec<usize>,
    /// How many places of other entries this one stands in and that are not yet counted.
    uncounted_parents: usize,
    /// How many paths lead to it.
    paths: u64,
    is_value: bool,
}

/// Bounds the nodes, refuses strays and repeats, and bounds what a walk over all paths would visit.
fn verify_shape(root: &Hash, proof: &[u8]) -> Result<(), ProofError> {
    let entries = decode_proof(proof).map_err(|_| ProofError::Malformed)?;
    let count = entries.len();
    if count > MAX_PROOF_NODES {
        return Err(ProofError::TooManyNodes(count));
    }
    let entries: Vec<&[u8]> = entries.collect();
    let by_hash: BTreeMap<Hash, usize> =
        entries.iter().enumerate().map(|(index, entry)| (blake2_256(entry), index)).collect();
    if by_hash.len() != count {
        return Err(ProofError::DuplicateNode);
    }
    let root = *by_hash.get(root).ok_or(ProofError::WrongRoot)?;

    let mut nodes: Vec<Node> = entries
        .iter()
        .map(|entry| Node {
            bytes: entry.len() as u64,
            children: Vec::new(),
            uncounted_parents: 0,
            paths: 0,
            is_value: false,
        })
        .collect();
    for (index, entry) in entries.iter().enumerate() {
        // An entry that is no trie node may be a value; children shorter than a hash stand inside and cannot refer to
        // anything.
        let Ok(node) = trie_node::decode(entry) else { continue };
        let child_hashes = node.children.iter().flatten().filter_map(|child| Hash::try_from(*child).ok());
        let children: Vec<usize> = child_hashes.filter_map(|hash| by_hash.get(&hash).copied()).collect();
        for child in &children {
            if let Some(child) = nodes.get_mut(*child) {
                child.uncounted_parents = child.uncounted_parents.saturating_add(1);
            }
        }
        if let NodeValue::Hashed(hash) = node.storage_value {
            if let Some(value) = by_hash.get(hash).and_then(|value| nodes.get_mut(*value)) {
                value.is_value = true;
            }
        }
        if let Some(node) = nodes.get_mut(index) {
            node.children = children;
        }
    }

    // Topological order: references are hashes, so there is no cycle and every entry is reached.
    let mut ready = Vec::new();
    for (index, node) in nodes.iter_mut().enumerate() {
        if node.uncounted_parents == 0 {
            if index != root && !node.is_value {
                return Err(ProofError::UnusedNode);
            }
            node.paths = 1;
            ready.push(index);
        }
    }
    let mut expanded = 0_u64;
    while let Some(index) = ready.pop() {
        let Some(node) = nodes.get_mut(index) else { continue };
        let paths = node.paths;
        expanded = expanded.saturating_add(paths.saturating_mul(node.bytes));
        if expanded > MAX_EXPANDED_PROOF_BYTES {
            return Err(ProofError::TooEntangled);
        }
        for child in core::mem::take(&mut node.children) {
            let Some(node) = nodes.get_mut(child) else { continue };
            node.paths = node.paths.saturating_add(paths);
            node.uncounted_parents = node.uncounted_parents.saturating_sub(1);
            if node.uncounted_parents == 0 {
                ready.push(child);
            }
        }
    }
    Ok(())
}
