//! Headers: bounded decoding, the type that says "finalised", and the walk from a finalised header to its ancestors.
//!
//! A [`VerifiedHeader`] comes only from [`crate::LightClient`] or from [`verify_ancestors`]. The host controls all
//! header bytes; what binds them is their hash. Does not do: seals and BABE claims - who authored a block is irrelevant
//! once it is finalised.

use crate::limits::{MAX_ANCESTORS, MAX_HEADER_BYTES};
use codec::{Decode, Encode};
use phala_protocol::{hash::blake2_256, ids::BlockNumber, Hash};

/// Bytes of a block number in headers, digests and votes of the chain.
pub(crate) const BLOCK_NUMBER_BYTES: usize = 4;

/// A finalised header. Holding one proves that the chain's authorities finalised it, or a descendant of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHeader(pub(crate) HeaderFields);

/// The fields of a header that outlive its verification.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HeaderFields {
    pub number: BlockNumber,
    pub hash: Hash,
    pub parent: Hash,
    pub state_root: Hash,
    pub extrinsics_root: Hash,
}

impl VerifiedHeader {
    /// Height of the block; genesis is 0.
    pub fn number(&self) -> BlockNumber {
        self.0.number
    }

    /// BLAKE2b-256 of the encoded header.
    pub fn hash(&self) -> &Hash {
        &self.0.hash
    }

    /// Hash of the parent; zeroes at genesis.
    pub fn parent(&self) -> &Hash {
        &self.0.parent
    }

    /// Root of the state after the block.
    pub fn state_root(&self) -> &Hash {
        &self.0.state_root
    }

    /// Root of the block's extrinsics.
    pub fn extrinsics_root(&self) -> &Hash {
        &self.0.extrinsics_root
    }
}

/// Why bytes are not a header of the chain; the host's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// More bytes than [`MAX_HEADER_BYTES`].
    #[error("header of {0} bytes is over the limit")]
    TooLong(usize),
    /// Not the encoding of a header, or a digest that the chain's consensus does not write.
    #[error("header is malformed")]
    Malformed,
    /// A number beyond the chain's 32 bits.
    #[error("header number {0} does not fit the chain's block numbers")]
    Number(u64),
}

/// An allegation: a well-formed header that nobody has finalised yet.
pub(crate) struct DecodedHeader<'a> {
    pub fields: HeaderFields,
    pub digest: smoldot::header::DigestRef<'a>,
}

/// Decodes one header and nothing after it. The hash is of the bytes as they came, so that no two encodings share one.
pub(crate) fn decode_header(bytes: &[u8]) -> Result<DecodedHeader<'_>, HeaderError> {
    if bytes.len() > MAX_HEADER_BYTES {
        return Err(HeaderError::TooLong(bytes.len()));
    }
    let header = smoldot::header::decode(bytes, BLOCK_NUMBER_BYTES).map_err(|_| HeaderError::Malformed)?;
    let number = BlockNumber::try_from(header.number).map_err(|_| HeaderError::Number(header.number))?;
    Ok(DecodedHeader {
        fields: HeaderFields {
            number,
            hash: blake2_256(bytes),
            parent: *header.parent_hash,
            state_root: *header.state_root,
            extrinsics_root: *header.extrinsics_root,
        },
        digest: header.digest,
    })
}

/// Why headers do not lead from a verified one to its ancestor; the host's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AncestryError {
    /// No header was given.
    #[error("ancestry has no headers")]
    Empty,
    /// More headers than [`MAX_ANCESTORS`]; ask for a younger ancestor, or for a finality proof nearer to it.
    #[error("ancestry of {0} headers is over the limit")]
    TooMany(usize),
    /// The header at this position is not one.
    #[error("ancestry header {position} is refused")]
    Header {
        /// Index in the list.
        position: usize,
        /// What is wrong with it.
        #[source]
        reason: HeaderError,
    },
    /// The header at this position is not the parent of the one before it.
    #[error("ancestry header {0} is not the parent of the one before it")]
    NotParent(usize),
}

/// Verifies an ancestor of `head`: `headers` start with the parent of `head`, each is the parent of the one before, and
/// the last is the ancestor that is returned. At most [`MAX_ANCESTORS`] encoded headers.
pub fn verify_ancestors(head: &VerifiedHeader, headers: &[impl AsRef<[u8]>]) -> Result<VerifiedHeader, AncestryError> {
    if headers.is_empty() {
        return Err(AncestryError::Empty);
    }
    if headers.len() > MAX_ANCESTORS {
        return Err(AncestryError::TooMany(headers.len()));
    }
    let mut child = head.0.clone();
    for (position, bytes) in headers.iter().enumerate() {
        let bytes = bytes.as_ref();
        let parent = decode_header(bytes).map_err(|reason| AncestryError::Header { position, reason })?.fields;
        // The number follows from the hash on a valid chain; authorities that finalised a broken one gain nothing by it
        // here.
        if parent.hash != child.parent || parent.number.checked_add(1) != Some(child.number) {
            return Err(AncestryError::NotParent(position));
        }
        child = parent;
    }
    Ok(VerifiedHeader(child))
}
