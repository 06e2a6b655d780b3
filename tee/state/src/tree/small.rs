//! Small entries as they lie in their bucket's row: one after the other, their contracts counted once.
//!
//! Guarantees: an entry that was read is handed out only if its value's hash is its leaf's. The host controls bytes that were read.

use super::{leaf_hash, value_hash, EntryRow, Leaf, LeafRow, Span};
use crate::error::{IntegrityError, Row};
use codec::{Compact, Decode, Encode};
use std::sync::Arc;

/// Small entries of a bucket that are in memory by themselves: with more of them, counting them up and down for every version costs
/// more than laying them out once.
const LONE_ENTRIES: usize = 8;

/// Entries as they lie in a bucket's row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Small {
    pub(super) contracts: Vec<[u8; 32]>,
    pub(super) bytes: Vec<u8>,
}

impl Small {
    pub(super) fn with_room(bytes: usize) -> Self {
        Self { contracts: Vec::new(), bytes: Vec::with_capacity(bytes) }
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, row: &EntryRow) -> Span {
        let contract = self.contract(&row.contract);
        let from = self.bytes.len();
        (contract, &row.key, &row.value).encode_to(&mut self.bytes);
        Span(from as u32, self.bytes.len() as u32)
    }

    /// Where its entries are read.
    pub(super) fn home(&self) -> Home<'_> {
        Home { contracts: &self.contracts, bytes: &self.bytes }
    }

    /// Appends the entry that lies at `span` of `home`.
    fn copy(&mut self, home: Home<'_>, Span(from, to): Span) -> Option<Span> {
        let (contract, rest) = home.bytes.get(from as usize..to as usize)?.split_first()?;
        let contract = self.contract(home.contracts.get(usize::from(*contract))?);
        let from = self.bytes.len();
        self.bytes.push(contract);
        self.bytes.extend_from_slice(rest);
        Some(Span(from as u32, self.bytes.len() as u32))
    }

    /// The number of a contract here, which is counted among those of entries from now on.
    fn contract(&mut self, contract: &[u8; 32]) -> u8 {
        let known = self.contracts.iter().position(|known| known == contract);
        let number = known.unwrap_or_else(|| {
            self.contracts.push(*contract);
            self.contracts.len() - 1
        });
        // A bucket has fewer entries than a byte has values.
        u8::try_from(number).unwrap_or(u8::MAX)
    }

    /// `leaf` with its entry here, if that is small: it was in memory by itself, or in `home`.
    pub(super) fn lay(&mut self, leaf: &Leaf, home: Home<'_>) -> Result<Leaf, IntegrityError> {
        let malformed = IntegrityError::Malformed(Row::Page);
        let row = match &leaf.row {
            LeafRow::Fresh(row) if row.is_small() => LeafRow::Ours(self.push(row)),
            LeafRow::Within(span) => LeafRow::Within(self.copy(home, *span).ok_or(malformed)?),
            LeafRow::Ours(span) => LeafRow::Ours(self.copy(home, *span).ok_or(malformed)?),
            LeafRow::Apart(_) | LeafRow::Fresh(_) => leaf.row.clone(),
        };
        Ok(Leaf { path: leaf.path, hash: leaf.hash, row })
    }
}

/// Where small entries lie: those of a bucket's leaves, or of what lies over them.
#[derive(Clone, Copy)]
pub(super) struct Home<'a> {
    pub contracts: &'a [[u8; 32]],
    pub bytes: &'a [u8],
}

impl Home<'_> {
    /// The entry that [`Small::push`] put there.
    fn get(&self, Span(from, to): Span) -> Option<EntryRow> {
        let bytes = self.bytes.get(from as usize..to as usize)?;
        let (contract, key, value) = <(u8, Vec<u8>, Vec<u8>)>::decode(&mut &bytes[..]).ok()?;
        Some(EntryRow { contract: *self.contracts.get(usize::from(contract))?, key, value })
    }

    /// The value of the entry that [`Small::push`] put there, without the rest of it.
    fn value(&self, Span(from, to): Span) -> Option<&[u8]> {
        let (_, mut rest) = self.bytes.get(from as usize..to as usize)?.split_first()?;
        bytes(&mut rest).ok()?;
        bytes(&mut rest).ok()
    }

    /// `leaf`, which says its entry itself, if that lies here.
    pub(super) fn with_entry(&self, leaf: &Leaf) -> Result<Leaf, IntegrityError> {
        let (LeafRow::Within(span) | LeafRow::Ours(span)) = leaf.row else { return Ok(leaf.clone()) };
        let row = self.get(span).ok_or(IntegrityError::Malformed(Row::Page))?;
        if matches!(leaf.row, LeafRow::Within(_)) && row.leaf_hash(&leaf.path) != leaf.hash {
            return Err(IntegrityError::NotCommitted(Row::Page));
        }
        let row = LeafRow::Fresh(Arc::new(row));
        Ok(Leaf { path: leaf.path, hash: leaf.hash, row })
    }

    /// The value of `leaf`, unless that lies apart.
    pub(super) fn value_of(&self, leaf: &Leaf) -> Result<Option<Vec<u8>>, IntegrityError> {
        let span = match &leaf.row {
            LeafRow::Apart(_) => return Ok(None),
            LeafRow::Fresh(row) => return Ok(Some(row.value.clone())),
            LeafRow::Within(span) | LeafRow::Ours(span) => *span,
        };
        let value = self.value(span).ok_or(IntegrityError::Malformed(Row::Page))?;
        if matches!(leaf.row, LeafRow::Within(_)) && leaf_hash(&leaf.path, &value_hash(value)) != leaf.hash {
            return Err(IntegrityError::NotCommitted(Row::Page));
        }
        Ok(Some(value.to_vec()))
    }
}

/// Leaves whose small entries lie in `small` or are in memory by themselves, with no more of the latter than [`LONE_ENTRIES`].
pub(super) fn gathered(leaves: Vec<Leaf>, small: &Arc<Small>) -> Result<(Vec<Leaf>, Arc<Small>), IntegrityError> {
    let is_lone = |leaf: &&Leaf| matches!(&leaf.row, LeafRow::Fresh(row) if row.is_small());
    if leaves.iter().filter(is_lone).count() <= LONE_ENTRIES {
        return Ok((leaves, small.clone()));
    }
    let mut all = Small::with_room(leaves.iter().map(room_of).sum());
    let mut laid = Vec::with_capacity(leaves.len());
    for leaf in &leaves {
        laid.push(all.lay(leaf, small.home())?);
    }
    Ok((laid, Arc::new(all)))
}

/// Bytes that the entry of `leaf` takes among those of a bucket, if it is small: room for them is taken once, and none is left over.
pub(super) fn room_of(leaf: &Leaf) -> usize {
    // The compact encoding of a length under 2^6 has one byte, and under 2^14 two.
    let vector = |bytes: &[u8]| bytes.len() + if bytes.len() < 64 { 1 } else { 2 };
    match &leaf.row {
        LeafRow::Fresh(row) if row.is_small() => 1 + vector(&row.key) + vector(&row.value),
        LeafRow::Within(Span(from, to)) | LeafRow::Ours(Span(from, to)) => to.saturating_sub(*from) as usize,
        LeafRow::Apart(_) | LeafRow::Fresh(_) => 0,
    }
}

/// Takes the bytes of a vector off `input`, where they are.
pub(super) fn bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], codec::Error> {
    let Compact(length) = Compact::<u32>::decode(input)?;
    let (taken, rest) = input.split_at_checked(length as usize).ok_or("shorter than it says")?;
    *input = rest;
    Ok(taken)
}
