//! The stream of a version, written into an empty store as it comes.
//!
//! Guarantees: what is written at once is what one part completed; what waits here is bounded by a part and one entry of the longest that a
//! store takes. The store holds more: what it has not written yet and its caches, up to its options. Until [`Inflow::finish`] the store's
//! cursor is empty, which no worker goes on from: what was left in the middle is never taken for a whole one. Nothing that arrives panics.
//! Whoever has the epoch's key controls the stream.

use super::{Preamble, SnapshotFault, STREAM_VERSION};
use crate::codes::is_sound;
use codec::{Compact, Decode};
use phala_protocol::{ContractId, Hash};
use phala_state::{ClusterStore, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use zeroize::Zeroizing;

/// Bytes of the longest compact length.
const MAX_LENGTH_BYTES: usize = 5;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Preamble,
    /// So many entries.
    Entries(u64),
    /// So many records, and nothing after them.
    Records(u64),
}

/// A stream on its way into a store.
pub(crate) struct Inflow {
    pub(crate) store: ClusterStore,
    next: Next,
    preamble: Option<Preamble>,
    /// What came of the next entry, or record.
    buffer: Zeroizing<Vec<u8>>,
}

impl Inflow {
    /// Into an empty store.
    pub(crate) fn new(store: ClusterStore) -> Self {
        Self { store, next: Next::Preamble, preamble: None, buffer: Zeroizing::new(Vec::new()) }
    }

    /// Decodes the bytes that follow, and writes what is whole. After an error it takes no more.
    pub(crate) fn decode_next(&mut self, bytes: &[u8]) -> Result<(), SnapshotFault> {
        self.buffer.extend_from_slice(bytes);
        let (mut batch, mut records) = (self.store.begin(), Vec::new());
        let mut rest = self.buffer.as_slice();
        loop {
            // What is not whole yet stays in `rest`.
            let mut ahead = rest;
            match self.next {
                Next::Preamble => {
                    let Some(preamble) = preamble(&mut ahead)? else { break };
                    (self.preamble, self.next) = (Some(preamble), Next::Entries(preamble.entries));
                }
                Next::Entries(0) => {
                    let Some(count) = fixed::<8>(&mut ahead) else { break };
                    self.next = Next::Records(u64::from_le_bytes(count));
                }
                Next::Entries(left) => {
                    let Some(contract) = fixed::<32>(&mut ahead) else { break };
                    let Some(key) = sized(&mut ahead, MAX_KEY_BYTES)? else { break };
                    let Some(value) = sized(&mut ahead, MAX_VALUE_BYTES)? else { break };
                    batch.set(&ContractId(contract), key, value.to_vec()).map_err(|_| SnapshotFault::Malformed)?;
                    self.next = Next::Entries(left.saturating_sub(1));
                }
                Next::Records(0) if rest.is_empty() => break,
                Next::Records(0) => return Err(SnapshotFault::Malformed),
                Next::Records(left) => {
                    let Some(key) = sized(&mut ahead, MAX_KEY_BYTES)? else { break };
                    let Some(value) = sized(&mut ahead, MAX_VALUE_BYTES)? else { break };
                    if !is_sound(key, value) {
                        return Err(SnapshotFault::Malformed);
                    }
                    records.push((key.to_vec(), Some(value.to_vec())));
                    self.next = Next::Records(left.saturating_sub(1));
                }
            }
            rest = ahead;
        }
        let left = rest.len();
        let used = self.buffer.len().saturating_sub(left);
        if used == 0 {
            return Ok(());
        }
        self.store.commit(batch, Vec::new(), records)?;
        self.buffer.drain(..used);
        Ok(())
    }

    /// What the stream began with, once it is whole.
    pub(crate) fn whole(&self) -> Option<Preamble> {
        self.preamble.filter(|_| self.next == Next::Records(0) && self.buffer.is_empty())
    }

    /// The root over what was written.
    pub(crate) fn root(&self) -> Hash {
        self.store.view().root()
    }

    /// Gives the store its cursor, and closes it.
    pub(crate) fn finish(self, meta: Vec<u8>) -> Result<(), SnapshotFault> {
        self.store.commit(self.store.begin(), meta, Vec::new())?;
        Ok(())
    }
}

fn preamble(input: &mut &[u8]) -> Result<Option<Preamble>, SnapshotFault> {
    if input.first().is_some_and(|version| *version != STREAM_VERSION) {
        return Err(SnapshotFault::Malformed);
    }
    // It has one length: what does not decode is not whole.
    let Ok(preamble) = Preamble::decode(input) else { return Ok(None) };
    let in_order = |(from, upto): (u64, u64)| from <= upto;
    if !in_order(preamble.kept) || !in_order(preamble.egress) {
        return Err(SnapshotFault::Malformed);
    }
    Ok(Some(preamble))
}

/// So many bytes, if they are here.
fn fixed<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*bytes)
}

/// Bytes after their length, if all of them are here.
fn sized<'a>(input: &mut &'a [u8], limit: usize) -> Result<Option<&'a [u8]>, SnapshotFault> {
    let mut rest = *input;
    let Ok(Compact(length)) = Compact::<u32>::decode(&mut rest) else {
        return if input.len() < MAX_LENGTH_BYTES { Ok(None) } else { Err(SnapshotFault::Malformed) };
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(SnapshotFault::Malformed)?;
    let Some((bytes, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *input = rest;
    Ok(Some(bytes))
}
