//! Parity's verdict on the same bytes: what a polkadot-sdk node would say about a justification or a storage proof.
//!
//! The justification rule is that of `sc_consensus_grandpa::GrandpaJustification::verify_with_voter_set` (0.45),
//! spelled out because that crate links the whole client: `finality_grandpa::validate_commit`, every signature, every
//! ancestry header used.

use super::{Header, Justification};
use codec::DecodeAll;
use finality_grandpa::{voter_set::VoterSet, Chain, Error, Message, Precommit};
use sp_consensus_grandpa::{check_message_signature, AuthorityId, SignatureResult};
use sp_core::H256;
use sp_runtime::traits::{BlakeTwo256, Header as _};
use sp_trie::StorageProof;
use std::collections::{BTreeMap, BTreeSet};

struct Ancestry(BTreeMap<H256, Header>);

impl Chain<H256, u32> for Ancestry {
    fn ancestry(&self, base: H256, block: H256) -> Result<Vec<H256>, Error> {
        let mut route = Vec::new();
        let mut current = block;
        while current != base {
            let header = self.0.get(&current).ok_or(Error::NotDescendent)?;
            current = *header.parent_hash();
            route.push(current);
        }
        // Without the base itself.
        route.pop();
        Ok(route)
    }
}

/// Whether a node accepts `justification` as finalising `header` by this set.
///
/// `strict` also refuses what a node merges or ignores in a justification: votes of strangers, repeated and
/// equivocating ones, and votes that name a block at a wrong height (which a node drops when they arrive as messages,
/// so that no honest justification has one).
pub fn accepts_justification(
    justification: &[u8],
    header: &Header,
    set_id: u64,
    authorities: &[AuthorityId],
    strict: bool,
) -> bool {
    let Ok(justification) = Justification::decode_all(&mut &justification[..]) else { return false };
    let commit = &justification.commit;
    if commit.target_hash != header.hash() || commit.target_number != *header.number() {
        return false;
    }
    let Some(voters) = VoterSet::new(authorities.iter().map(|id| (id.clone(), 1))) else { return false };
    let headers = justification.votes_ancestries.iter().map(|header| (header.hash(), header.clone())).collect();
    let chain = Ancestry(headers);
    match finality_grandpa::validate_commit(commit, &voters, &chain) {
        Ok(result) if result.is_valid() => {
            let merged = result.num_duplicated_precommits() + result.num_equivocations() + result.num_invalid_voters();
            if strict && merged != 0 {
                return false;
            }
        }
        _ => return false,
    }
    let mut heights: BTreeMap<H256, u32> = [(commit.target_hash, commit.target_number)].into();
    for header in &justification.votes_ancestries {
        heights.insert(header.hash(), *header.number());
        heights.insert(*header.parent_hash(), header.number().wrapping_sub(1));
    }
    let misplaced = |vote: &Precommit<H256, u32>| {
        heights.get(&vote.target_hash).is_some_and(|height| *height != vote.target_number)
    };
    if strict && commit.precommits.iter().any(|vote| misplaced(&vote.precommit)) {
        return false;
    }
    let Some(base) = commit.precommits.iter().map(|vote| &vote.precommit).min_by_key(|vote| vote.target_number) else {
        return false;
    };
    let mut visited = BTreeSet::new();
    for vote in &commit.precommits {
        let message = Message::Precommit(vote.precommit.clone());
        let verdict = check_message_signature(&message, &vote.id, &vote.signature, justification.round, set_id);
        if !matches!(verdict, SignatureResult::Valid) {
            return false;
        }
        if vote.precommit.target_hash == base.target_hash {
            continue;
        }
        let Ok(route) = chain.ancestry(base.target_hash, vote.precommit.target_hash) else { return false };
        visited.insert(vote.precommit.target_hash);
        visited.extend(route);
    }
    visited == chain.0.keys().copied().collect()
}

/// The proof does not show the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotShown;

/// What a node reads of a key out of a proof.
pub fn read_proof(root: &[u8; 32], nodes: &[Vec<u8>], key: &[u8]) -> Result<Option<Vec<u8>>, NotShown> {
    let proof = StorageProof::new(nodes.iter().cloned());
    let mut values =
        sp_state_machine::read_proof_check::<BlakeTwo256, _>(H256(*root), proof, [key]).map_err(|_| NotShown)?;
    values.remove(key).ok_or(NotShown)
}
