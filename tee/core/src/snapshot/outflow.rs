//! A version of a store as a stream of bytes.
//!
//! Guarantees: the version is not held any longer than the stream is read; of it, no more is in memory than what was asked for, a
//! quarter of a megabyte, and one entry. Reading on after an error goes on where it was. The host controls the store's rows.

use super::{Preamble, STREAM_VERSION};
use codec::Encode;
use phala_protocol::Hash;
use phala_state::{ReadError, View};
use zeroize::Zeroizing;

/// Entries, and bytes of them, that are read at once.
const READ_ENTRIES: usize = 256;
const READ_BYTES: usize = 256 << 10;

/// What comes next.
enum Next {
    /// Entries after this path.
    Entries(Option<Hash>),
    /// Records after this path.
    Records(Option<Hash>),
    End,
}

/// The stream of one version.
pub(crate) struct Outflow {
    view: View,
    next: Next,
    /// What was read and not given out.
    buffer: Zeroizing<Vec<u8>>,
}

impl Outflow {
    pub(crate) fn new(view: View, kept: (u64, u64), egress: (u64, u64)) -> Self {
        let preamble = Preamble { version: STREAM_VERSION, kept, egress, entries: view.len() };
        Self { view, next: Next::Entries(None), buffer: Zeroizing::new(preamble.encode()) }
    }

    /// The next `length` bytes, and whether they are the last; fewer only if so.
    pub(crate) fn take(&mut self, length: usize) -> Result<(Zeroizing<Vec<u8>>, bool), ReadError> {
        // One byte more, to know whether anything follows.
        while self.buffer.len() <= length && !matches!(self.next, Next::End) {
            self.read()?;
        }
        let given = length.min(self.buffer.len());
        let rest = self.buffer.split_off(given);
        let taken = Zeroizing::new(std::mem::replace(&mut *self.buffer, rest));
        Ok((taken, self.buffer.is_empty()))
    }

    fn read(&mut self) -> Result<(), ReadError> {
        match &self.next {
            Next::Entries(after) => {
                let entries = self.view.entries_within(after.as_ref(), READ_ENTRIES, READ_BYTES)?;
                for entry in &entries {
                    (entry.contract, &entry.key, &entry.value).encode_to(&mut *self.buffer);
                }
                self.next = match entries.last() {
                    Some(last) => Next::Entries(Some(last.path)),
                    None => {
                        self.view.records_len().encode_to(&mut *self.buffer);
                        Next::Records(None)
                    }
                };
            }
            Next::Records(after) => {
                let records = self.view.records_within(after.as_ref(), READ_ENTRIES, READ_BYTES)?;
                for (_, (key, value)) in &records {
                    (key, value).encode_to(&mut *self.buffer);
                }
                self.next = match records.last() {
                    Some((path, _)) => Next::Records(Some(*path)),
                    None => Next::End,
                };
            }
            Next::End => {}
        }
        Ok(())
    }
}
