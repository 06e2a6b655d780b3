//! Finds the headers and justifications that lead a light client from one finalised block to the newest.
//!
//! An authority set signs the header that names the next set, so one justified header for each set that ended is enough,
//! whatever the chain's length. GRANDPA guarantees a justification for those; the node keeps one for every other round as
//! well. What is served has one vote an authority: see [`one_vote_each`].

use crate::{
    rpc::equivocation::one_vote_each,
    rpc::phala::{JustifiedBlock, NumberOrHash, PhalaRpcError},
    service::Backend,
};
use codec::Encode;
use phala_protocol::{
    finality::{FinalityFragment, FinalityProof},
    limits,
};
use phala_runtime::{BlockNumber, Hash, Header, OpaqueBlock as Block};
use sc_client_api::Backend as _;
use sc_consensus_grandpa::{best_justification, find_scheduled_change, SharedAuthoritySet, GRANDPA_ENGINE_ID};
use sp_blockchain::{Backend as _, HeaderBackend};

/// Bytes of fragments in one answer. Hexadecimal doubles them, and the RPC server answers 15 MiB at most.
const MAX_PROOF_BYTES: usize = 2 * 1024 * 1024;
const _: () = assert!(MAX_PROOF_BYTES <= limits::MAX_FINALITY_PROOF_BYTES);
/// Headers in one answer about a justification.
const MAX_HEADERS: u32 = 256;

/// The way from the finalised block number `from` to the newest one.
///
/// # Errors
/// When `from` is not finalised here, a set changed by force, or the database lacks a part of the way.
pub fn proof_from(
    backend: &Backend,
    authority_set: &SharedAuthoritySet<Hash, BlockNumber>,
    from: BlockNumber,
) -> Result<FinalityProof, PhalaRpcError> {
    if from > backend.blockchain().info().finalized_number {
        return Err(PhalaRpcError::NotFinalised(from.to_string()));
    }
    // The newest first: a set change that is finalised between the two reads is then in the list, and only makes the
    // newest justification one that has to be left for the next answer.
    let newest = best_justification::<_, Block>(backend)?;
    let changes = authority_set.authority_set_changes();
    let changes = changes.iter_from(from).ok_or_else(|| not_kept("the authority set changes after", from))?;

    let mut proof = FinalityProof::default();
    let mut bytes = 0;
    let mut reached = from;
    for &(_, last_of_set) in changes {
        let header = header_at(backend, last_of_set)?;
        if find_scheduled_change::<Block>(&header).is_none() {
            return Err(PhalaRpcError::ForcedChange(last_of_set));
        }
        let justification =
            justification_of(backend, &header)?.ok_or_else(|| not_kept("the justification of", last_of_set))?;
        let fragment = FinalityFragment { header: header.encode(), justification };
        if !push(&mut proof, &mut bytes, fragment) {
            return Ok(proof);
        }
        reached = last_of_set;
    }
    if let Some(newest) = newest.filter(|newest| newest.target().0 > reached) {
        let (number, hash) = newest.target();
        let header = backend.blockchain().header(hash)?.ok_or_else(|| not_kept("the header of", number))?;
        let fragment = FinalityFragment { header: header.encode(), justification: one_vote_each(newest.encode()) };
        if !push(&mut proof, &mut bytes, fragment) {
            return Ok(proof);
        }
    }
    proof.complete = true;
    Ok(proof)
}

/// The justification of `block` or of the first block after it that has one.
///
/// # Errors
/// When `block` is not finalised here, or no block within [`MAX_HEADERS`] of it has a justification.
pub fn justified_at_or_after(backend: &Backend, block: NumberOrHash) -> Result<JustifiedBlock, PhalaRpcError> {
    let blockchain = backend.blockchain();
    let finalised = blockchain.info().finalized_number;
    let not_finalised = |name: String| PhalaRpcError::NotFinalised(name);
    let first = match block {
        NumberOrHash::Number(number) => number,
        NumberOrHash::Hash(hash) => {
            let number = blockchain.number(hash)?.ok_or_else(|| not_finalised(format!("{hash:?}")))?;
            if blockchain.hash(number)? != Some(hash) {
                return Err(not_finalised(format!("{hash:?}")));
            }
            number
        }
    };
    if first > finalised {
        return Err(not_finalised(first.to_string()));
    }
    let mut headers = Vec::new();
    for number in (first..=finalised).take(MAX_HEADERS as usize) {
        let header = header_at(backend, number)?;
        headers.push(header.encode().into());
        if let Some(justification) = justification_of(backend, &header)? {
            return Ok(JustifiedBlock { number, hash: header.hash(), headers, justification: justification.into() });
        }
    }
    Err(PhalaRpcError::NoJustification(MAX_HEADERS))
}

/// Adds `fragment` unless a bound of the answer would be passed; says whether it did.
fn push(proof: &mut FinalityProof, bytes: &mut usize, fragment: FinalityFragment) -> bool {
    let size = fragment.encoded_size();
    if proof.fragments.len() >= limits::MAX_FINALITY_FRAGMENTS || bytes.saturating_add(size) > MAX_PROOF_BYTES {
        return false;
    }
    *bytes = bytes.saturating_add(size);
    proof.fragments.push(fragment);
    true
}

fn header_at(backend: &Backend, number: BlockNumber) -> Result<Header, PhalaRpcError> {
    let blockchain = backend.blockchain();
    let hash = blockchain.hash(number)?.ok_or_else(|| not_kept("the hash of", number))?;
    blockchain.header(hash)?.ok_or_else(|| not_kept("the header of", number))
}

fn justification_of(backend: &Backend, header: &Header) -> Result<Option<Vec<u8>>, PhalaRpcError> {
    let justifications = backend.blockchain().justifications(header.hash())?;
    Ok(justifications.and_then(|all| all.into_justification(GRANDPA_ENGINE_ID)).map(one_vote_each))
}

fn not_kept(what: &str, number: BlockNumber) -> PhalaRpcError {
    PhalaRpcError::NotKept(format!("{what} block {number}"))
}
