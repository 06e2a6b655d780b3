//! Parts of snapshots by hand: sealed with any content, and taken into a store without a chain or a cluster around it. Never in a shipped
//! binary.
//!
//! Guarantees: what seals, opens and writes here is what a worker seals, opens and writes with; nothing is judged in between. Whoever asks
//! has the epoch's storage key and chooses every byte. Does not: say which part is due, or whose state it is (`cluster/takeover.rs`).

use crate::snapshot::{self, part_key, Inflow, Outflow, SnapshotFault};
use phala_crypto::{aead::SealError, Secret};
use phala_protocol::{
    snapshot::{SnapshotHeader, SnapshotPart},
    Hash,
};
use phala_state::{ClusterStore, ReadError, View};

/// Bytes of the stream in one part.
pub const PART_DATA_BYTES: usize = snapshot::PART_DATA_BYTES;

/// A version of a store as the stream that a snapshot's parts hold. `kept` are the boundaries whose replies are kept, `egress` the sequences
/// of the items that are held.
///
/// # Errors
/// When the store cannot be read.
pub fn stream(view: View, kept: (u64, u64), egress: (u64, u64)) -> Result<Vec<u8>, ReadError> {
    Ok(Outflow::new(view, kept, egress).take(usize::MAX)?.0.to_vec())
}

/// Seals at most [`PART_DATA_BYTES`] of a stream under the epoch's storage key.
///
/// # Errors
/// When the data is longer.
pub fn seal_part(
    storage: &Secret<[u8; 32]>,
    header: &SnapshotHeader,
    index: u32,
    last: bool,
    data: &[u8],
) -> Result<SnapshotPart, SealError> {
    snapshot::seal_part(&part_key(storage, header), header, index, last, data)
}

/// Seals a plaintext in which length and padding are whatever the caller says.
///
/// # Errors
/// When it is longer than the cipher takes.
pub fn seal_plaintext(
    storage: &Secret<[u8; 32]>,
    header: &SnapshotHeader,
    index: u32,
    last: bool,
    plaintext: &[u8],
) -> Result<SnapshotPart, SealError> {
    snapshot::seal_plaintext(&part_key(storage, header), header, index, last, plaintext)
}

/// What a part holds of the stream, by the key that a worker derives for the part's own header.
///
/// # Errors
/// As a worker's: the part is not authentic, or its plaintext has no valid form.
pub fn open_part(storage: &Secret<[u8; 32]>, part: &SnapshotPart) -> Result<Vec<u8>, SnapshotFault> {
    Ok(snapshot::open_part(&part_key(storage, &part.header), part)?.to_vec())
}

/// A stream on its way into an empty store.
pub struct Intake(Inflow);

impl Intake {
    /// Into this store.
    pub fn new(store: ClusterStore) -> Self {
        Self(Inflow::new(store))
    }

    /// Decodes the bytes that follow, and writes what is whole.
    ///
    /// # Errors
    /// The bytes have no valid form, or the store cannot be written.
    pub fn decode_next(&mut self, data: &[u8]) -> Result<(), SnapshotFault> {
        self.0.decode_next(data)
    }

    /// What the stream says in its beginning of replies and of egress, once it is whole.
    pub fn whole(&self) -> Option<[(u64, u64); 2]> {
        self.0.whole().map(|preamble| [preamble.kept, preamble.egress])
    }

    /// The root over what was written.
    pub fn root(&self) -> Hash {
        self.0.root()
    }

    /// What was written.
    pub fn view(&self) -> View {
        self.0.store.view()
    }

    /// Gives the store its cursor, and closes it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn finish(self, meta: Vec<u8>) -> Result<(), SnapshotFault> {
        self.0.finish(meta)
    }
}
