//! One GRANDPA justification against one authority set and one header.
//!
//! Accepts exactly when more than two thirds of the set precommitted, in one round of that set, to the header or to
//! descendants of it that the justification links to it; when every signature is valid, nobody voted twice, nobody else
//! voted, the header is the *highest* block with that many votes, and no header is carried that no vote needs. The host
//! controls the bytes. Does not do: follow the chain.

use crate::{
    authorities::{AuthorityKey, AuthoritySet},
    header::{HeaderFields, BLOCK_NUMBER_BYTES},
    limits::MAX_JUSTIFICATION_BYTES,
};
use phala_protocol::{domain, hash::hash_value};
use smoldot::finality::{
    decode::decode_grandpa_justification,
    verify::{verify_justification as verify, JustificationVerifyConfig, JustificationVerifyError},
};

/// Why a justification does not finalise a header; the host's fault, or the wrong authority set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JustificationError {
    /// More bytes than [`MAX_JUSTIFICATION_BYTES`].
    #[error("justification of {0} bytes is over the limit")]
    TooLong(usize),
    /// Not the encoding of a justification.
    #[error("justification is malformed")]
    Malformed,
    /// It finalises another block.
    #[error("justification is for another block")]
    WrongTarget,
    /// More votes than authorities.
    #[error("justification has {0} votes, more than there are authorities")]
    TooManyVotes(usize),
    /// Fewer votes than the threshold.
    #[error("justification has not the votes of more than two thirds of the authorities")]
    NotEnoughVotes,
    /// A signature is not that authority's over that vote in that round of this set.
    #[error("a vote's signature is wrong, or of another round or authority set")]
    BadSignature,
    /// Two votes of one authority, equal or not.
    #[error("an authority votes twice")]
    VotesTwice(AuthorityKey),
    /// A vote of somebody else.
    #[error("a vote is not of an authority of this set")]
    NotAuthority(AuthorityKey),
    /// A vote that is not linked to the lowest vote, or at the wrong height.
    #[error("a vote is not linked to the lowest one by the headers given")]
    Unlinked,
    /// The votes together finalise another block than the one named.
    #[error("the votes finalise another block than the justification says")]
    TargetNotFinalised,
    /// A header that no vote needs.
    #[error("justification carries a header that no vote needs")]
    UnusedHeader,
}

/// Checks that `justification` finalises `header` in the name of `authorities`.
///
/// `entropy` must be unknown to the host when it makes the bytes; it never changes the verdict over honest bytes.
pub(crate) fn verify_justification(
    authorities: &AuthoritySet,
    header: &HeaderFields,
    justification: &[u8],
    entropy: &[u8; 32],
) -> Result<(), JustificationError> {
    if justification.len() > MAX_JUSTIFICATION_BYTES {
        return Err(JustificationError::TooLong(justification.len()));
    }
    let decoded =
        decode_grandpa_justification(justification, BLOCK_NUMBER_BYTES).map_err(|_| JustificationError::Malformed)?;
    if *decoded.target_hash != header.hash || decoded.target_number != u64::from(header.number) {
        return Err(JustificationError::WrongTarget);
    }
    let votes = decoded.precommits.iter().len();
    if votes > authorities.keys().len() {
        return Err(JustificationError::TooManyVotes(votes));
    }
    if votes < authorities.threshold() {
        return Err(JustificationError::NotEnoughVotes);
    }
    verify(JustificationVerifyConfig {
        justification,
        block_number_bytes: BLOCK_NUMBER_BYTES,
        authorities_set_id: authorities.id(),
        authorities_list: authorities.keys().iter().map(|key| &key[..]),
        // Over everything that the coefficients must not be known before: even entropy that leaked would leave a host
        // to search for signatures that cancel out under a hash of themselves.
        randomness_seed: hash_value(domain::SIGNATURE_BATCH, &(entropy, authorities.id(), justification)),
    })
    .map_err(|error| match error {
        JustificationVerifyError::InvalidFormat => JustificationError::Malformed,
        JustificationVerifyError::BadPublicKey | JustificationVerifyError::BadSignature => {
            JustificationError::BadSignature
        }
        JustificationVerifyError::DuplicateSignature { authority_key } => JustificationError::VotesTwice(authority_key),
        JustificationVerifyError::NotAuthority { authority_key } => JustificationError::NotAuthority(authority_key),
        JustificationVerifyError::NotEnoughSignatures => JustificationError::NotEnoughVotes,
        JustificationVerifyError::BadAncestry => JustificationError::Unlinked,
        JustificationVerifyError::TargetMismatch => JustificationError::TargetNotFinalised,
        JustificationVerifyError::UnusedAncestryEntry => JustificationError::UnusedHeader,
    })
}
