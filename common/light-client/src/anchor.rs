//! The start of a light client: a pinned genesis hash, and from it the chain's first authorities.
//!
//! Guarantees that a client exists only for the chain whose genesis hash the caller pinned (in the measured binary or
//! in sealed state). The host hands over the header and the proof; both are bound by that hash. Does not do: start
//! later than genesis - that is [`crate::LightClient::restore`] from a checkpoint.

use crate::{
    authorities::{AuthoritiesError, AuthoritySet},
    client::LightClient,
    header::{decode_header, HeaderError, VerifiedHeader},
    storage::{encode_proof, verify_storage_value, ProofError},
};
use phala_protocol::{finality::GenesisAnchor, ids::BlockNumber, storage::GRANDPA_AUTHORITIES, Hash};

/// Why an anchor was refused; the host's fault unless the pinned hash is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// The header cannot be decoded.
    #[error("genesis header is refused")]
    Header(#[from] HeaderError),
    /// The header is not the pinned one.
    #[error("genesis header is of another chain than the pinned one")]
    WrongGenesis,
    /// The pinned header is not a genesis header.
    #[error("pinned header is block {0}, not genesis")]
    NotGenesis(BlockNumber),
    /// The authorities are not proven.
    #[error("genesis authorities are not proven")]
    Proof(#[from] ProofError),
    /// The genesis state has no GRANDPA authorities.
    #[error("genesis state has no grandpa authorities")]
    NoAuthorities,
    /// The genesis authorities are not a set.
    #[error("genesis authorities are refused")]
    Authorities(#[from] AuthoritiesError),
}

/// Makes a client whose head is genesis and whose authorities are set 0: the value of `Grandpa::Authorities` in the
/// genesis state.
///
/// The pallet counts sets in `Grandpa::CurrentSetId`, which genesis leaves at 0.
pub fn verify_anchor(pinned_genesis: &Hash, anchor: &GenesisAnchor) -> Result<LightClient, AnchorError> {
    let header = decode_header(&anchor.header)?.fields;
    if header.hash != *pinned_genesis {
        return Err(AnchorError::WrongGenesis);
    }
    if header.number != 0 {
        return Err(AnchorError::NotGenesis(header.number));
    }
    let header = VerifiedHeader(header);
    let proof = encode_proof(&anchor.authorities_proof);
    let value = verify_storage_value(&header, &proof, &GRANDPA_AUTHORITIES)?.ok_or(AnchorError::NoAuthorities)?;
    let authorities = AuthoritySet::verify_encoded(0, &value)?;
    Ok(LightClient::at_genesis(header.0, authorities))
}
