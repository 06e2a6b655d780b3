//! Snapshots of a cluster's state: made out of a pinned version, sealed part by part, and taken into an empty store.
//!
//! ```text
//! key   = HKDF(storage key of the epoch, "PHALA/snapshot/key/v1", header)      one for each snapshot: the header has a drawn salt
//! nonce = index u32 LE || last u8 || 0 * 7                                     STREAM (Hoang, Reyhanitabar, Rogaway, Vizar 2015)
//! part  = AES-256-GCM-SIV(key, nonce, AAD = (header, index, last), length u32 LE || data || 0 ...)
//! ```
//!
//! Guarantees: a part opens under its epoch's key at its place in its snapshot alone, so that parts cannot be swapped, left out or cut
//! off; all are of one length; the stream itself holds no more of the state in memory than a part and one entry, beside what the store that it
//! is read from or written into keeps there by its options (`phala_state::Options`). Does not: say that what was sealed is the cluster's
//! state. Whoever takes it compares its root with what the chain proves (`cluster/takeover.rs`); records, which no root covers, are
//! believed because only replicas of the epoch have the key. Relayers control what arrives, and when.

mod inflow;
mod outflow;
mod source;

pub(crate) use inflow::Inflow;
pub(crate) use outflow::Outflow;
pub use source::{SnapshotRefusal, SnapshotSource};

use codec::{Decode, Encode};
use phala_crypto::{
    aead::{SealError, SivKey, NONCE_BYTES, TAG_BYTES},
    kdf, Secret,
};
use phala_protocol::{
    domain,
    ids::BlockNumber,
    snapshot::{SnapshotHeader, SnapshotPart, SNAPSHOT_PART_BYTES, SNAPSHOT_TAG_BYTES},
};
use phala_state::CommitError;
use zeroize::Zeroizing;

const _: () = assert!(SNAPSHOT_TAG_BYTES == TAG_BYTES);

/// Bytes of the length that a part's plaintext begins with.
const LENGTH_BYTES: usize = 4;
/// Bytes of the stream in one part.
pub(crate) const PART_DATA_BYTES: usize = SNAPSHOT_PART_BYTES - LENGTH_BYTES;
/// What the last part is filled up with.
static ZEROS: [u8; PART_DATA_BYTES] = [0; PART_DATA_BYTES];
/// The version of the stream.
const STREAM_VERSION: u8 = 1;

/// What the stream begins with; then come the entries, each (contract, key, value), the number of records as u64, and the records, each
/// (key, value). It is the same whichever replica sends it, but for how many old replies and taken items each has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Preamble {
    version: u8,
    /// Boundaries whose replies are kept, as the store's cursor counts them.
    pub kept: (u64, u64),
    /// Sequences of the egress items that are held.
    pub egress: (u64, u64),
    /// Entries that follow.
    entries: u64,
}

/// Why parts of a snapshot were not taken, or a state not taken over.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// More parts at once than a delivery brings.
    #[error("delivery has {0} parts of a snapshot; bring fewer at a time")]
    TooMany(usize),
    /// Of another cluster, era or epoch than what is lacked.
    #[error("the snapshot is not of this cluster's open epoch; bring one of that")]
    NotOfTheEpoch,
    /// Another part is due.
    #[error("part {given} of a snapshot came where part {due} is due; bring parts in order")]
    OutOfOrder {
        /// What came.
        given: u32,
        /// What is due.
        due: u32,
    },
    /// It is not what a replica of the epoch sealed for this place.
    #[error("part {0} of the snapshot is not authentic: it is altered, cut, of another place or of another epoch")]
    Unauthentic(u32),
    /// It opens, and is not what this version writes.
    #[error("the snapshot's contents are of another version than this binary, or end early; bring another one")]
    Malformed,
    /// The chain shows no final result at the snapshot's boundary, or none any more, or one of another boundary, or of a former epoch and
    /// not the last before the open one.
    #[error("the chain has no final result for the snapshot's boundary at block {0}, or keeps it no more; bring a newer one")]
    NotFinal(BlockNumber),
    /// The chain's final result there is of another state.
    #[error("the snapshot's state is not that of the chain's final result at block {0}; bring another one")]
    OtherState(BlockNumber),
    /// The store that takes it could not be written.
    #[error("the store that takes the snapshot cannot be written")]
    Commit(#[from] CommitError),
}

impl SnapshotFault {
    /// Whether the relayer, or whoever made the snapshot, is at fault, and not this machine.
    pub fn is_the_relayers(&self) -> bool {
        !matches!(self, Self::Commit(_))
    }
}

/// The key of a snapshot's parts.
pub(crate) fn part_key(storage: &Secret<[u8; 32]>, header: &SnapshotHeader) -> SivKey {
    SivKey::new(&kdf::derive_for::<32>(storage, domain::SNAPSHOT_KEY, header))
}

fn nonce(index: u32, last: bool) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    let place = index.to_le_bytes().into_iter().chain([u8::from(last)]);
    nonce.iter_mut().zip(place).for_each(|(to, from)| *to = from);
    nonce
}

fn associated_data(header: &SnapshotHeader, index: u32, last: bool) -> Vec<u8> {
    (header, index, last).encode()
}

/// Seals [`PART_DATA_BYTES`] at most; all parts but the last are full.
pub(crate) fn seal_part(
    key: &SivKey,
    header: &SnapshotHeader,
    index: u32,
    last: bool,
    data: &[u8],
) -> Result<SnapshotPart, SealError> {
    let length = u32::try_from(data.len()).ok().filter(|_| data.len() <= PART_DATA_BYTES).ok_or(SealError::TooLong)?;
    let mut plaintext = Zeroizing::new(vec![0u8; SNAPSHOT_PART_BYTES]);
    for (from, bytes) in [(0, &length.to_le_bytes()[..]), (LENGTH_BYTES, data)] {
        let place = plaintext.get_mut(from..from.saturating_add(bytes.len())).ok_or(SealError::TooLong)?;
        place.copy_from_slice(bytes);
    }
    seal_plaintext(key, header, index, last, &plaintext)
}

/// Seals a part's plaintext for its place: length, data and padding, which the caller vouches for.
pub(crate) fn seal_plaintext(
    key: &SivKey,
    header: &SnapshotHeader,
    index: u32,
    last: bool,
    plaintext: &[u8],
) -> Result<SnapshotPart, SealError> {
    let sealed = key.seal(&nonce(index, last), &associated_data(header, index, last), plaintext)?;
    Ok(SnapshotPart { header: *header, index, last, sealed })
}

/// What a part holds of the stream.
pub(crate) fn open_part(key: &SivKey, part: &SnapshotPart) -> Result<Zeroizing<Vec<u8>>, SnapshotFault> {
    let SnapshotPart { header, index, last, sealed } = part;
    let unauthentic = || SnapshotFault::Unauthentic(*index);
    if sealed.len() != SNAPSHOT_PART_BYTES + SNAPSHOT_TAG_BYTES {
        return Err(unauthentic());
    }
    let opened = key.open(&nonce(*index, *last), &associated_data(header, *index, *last), sealed);
    let mut opened = opened.map(Zeroizing::new).map_err(|_| unauthentic())?;
    let (length, rest) = opened.split_first_chunk::<LENGTH_BYTES>().ok_or(SnapshotFault::Malformed)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| SnapshotFault::Malformed)?;
    let padding = rest.get(length..).ok_or(SnapshotFault::Malformed)?;
    if ZEROS.get(..padding.len()) != Some(padding) || (!last && !padding.is_empty()) {
        return Err(SnapshotFault::Malformed);
    }
    opened.truncate(LENGTH_BYTES.saturating_add(length));
    opened.drain(..LENGTH_BYTES);
    Ok(opened)
}

#[cfg(test)]
mod tests;
