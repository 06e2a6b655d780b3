//! What a relayer hands a light client to move its head: headers with GRANDPA justifications.
//!
//! One fragment for every authority-set change since the last head, then the newest header: the cost is one proof a set change,
//! never the chain's length. Shape only; `phala-light-client` judges it. The host controls every byte.

use crate::limits;
use alloc::vec::Vec;
use codec::{Compact, Decode, DecodeWithMemTracking, Encode};

/// A header and the justification that finalises it, both in the chain's SCALE encoding.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct FinalityFragment {
    /// The encoded header.
    pub header: Vec<u8>,
    /// The encoded `GrandpaJustification`.
    pub justification: Vec<u8>,
}

/// Fragments in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct FinalityProof {
    /// The last header of each authority set that ended, then the newest.
    pub fragments: Vec<FinalityFragment>,
    /// Whether the last fragment is the newest that the server knows; otherwise ask again from there.
    pub complete: bool,
}

impl FinalityProof {
    /// Decodes at most [`limits::MAX_FINALITY_PROOF_BYTES`] and [`limits::MAX_FINALITY_FRAGMENTS`], and nothing after them.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, FinalityDecodeError> {
        if bytes.len() > limits::MAX_FINALITY_PROOF_BYTES {
            return Err(FinalityDecodeError::TooLong(bytes.len()));
        }
        // The count first: two million empty fragments fit the bytes, and take a hundred megabytes of memory.
        let Compact(count) = Compact::<u32>::decode(&mut &bytes[..]).map_err(|_| FinalityDecodeError::Malformed)?;
        if count as usize > limits::MAX_FINALITY_FRAGMENTS {
            return Err(FinalityDecodeError::TooManyFragments(count as usize));
        }
        let mut rest = bytes;
        let proof = Self::decode(&mut rest).map_err(|_| FinalityDecodeError::Malformed)?;
        if !rest.is_empty() {
            return Err(FinalityDecodeError::TrailingBytes(rest.len()));
        }
        Ok(proof)
    }
}

/// What pins a chain: its genesis header (by hash) and the proof of its first authorities. Made when the network is created.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct GenesisAnchor {
    /// The encoded genesis header.
    pub header: Vec<u8>,
    /// Nodes of the storage proof of `Grandpa::Authorities` and `Network::Development` in the genesis state.
    pub authorities_proof: Vec<Vec<u8>>,
}

/// Why bytes are not a finality proof; the fault is the relayer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinalityDecodeError {
    /// More bytes than a proof may have.
    #[error("finality proof of {0} bytes is over the limit")]
    TooLong(usize),
    /// Not the encoding of a proof.
    #[error("finality proof is malformed")]
    Malformed,
    /// Bytes after the proof.
    #[error("finality proof has {0} bytes after its end")]
    TrailingBytes(usize),
    /// More fragments than a proof may have.
    #[error("finality proof has {0} fragments; ask for fewer")]
    TooManyFragments(usize),
}
