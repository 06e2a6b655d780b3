//! Boundaries that are durable as a list of changes, before the pages they changed are written.
//!
//! A boundary changes entries all over a large state, and writing the pages that they lie in costs a block of the disk for each.
//! So a commit writes its changes one after the other, in as few rows as that takes, and the pages stay in memory until there are
//! enough of them to be worth writing together: then each is written once, however often it was changed. Opening a store applies the
//! journal again.
//!
//! Guarantees: applying it gives the very root that the head names, or the store does not open: a row that the host removed, altered
//! or took from a transaction that never became durable is found. A row is sealed as every other; it shows how many bytes a boundary
//! wrote, which its rows showed before.

use crate::{
    batch::Writes,
    cipher::Place,
    error::{IntegrityError, ReadError, Row},
    store::{Head, Trees},
    tree::{CommittedMap, EntryRow, Namespace, Path, RadixTree, Stale, Stamp, Subtree},
    view::View,
    wiped::Wiped,
};
use codec::{Decode, Encode};
use std::sync::Arc;

/// Boundaries of one journal: bounds the head, in which they are listed.
pub(crate) const MAX_BOUNDARIES: usize = 1_024;

/// Bytes of a row. The file rounds rows up to a power of two, and so does not hold a megabyte for half of one.
const PART_BYTES: usize = 63 << 10;

/// A boundary of the journal as the head lists it: its number, and how many rows it has.
pub(crate) type Listed = (u64, u32);

/// The rows of a boundary's changes.
pub(crate) fn parts(sequence: u64, changes: &[u8]) -> impl Iterator<Item = (Place<'static>, &[u8])> {
    (0u32..).zip(changes.chunks(PART_BYTES)).map(move |(part, bytes)| (Place::Journal(sequence, part), bytes))
}

/// The places of a listed boundary's rows.
pub(crate) fn places((sequence, parts): Listed) -> impl Iterator<Item = Place<'static>> {
    (0..parts).map(move |part| Place::Journal(sequence, part))
}

/// One change as a boundary's rows hold it.
#[derive(Encode, Decode)]
enum Entry {
    #[codec(index = 0)]
    Write(Namespace, EntryRow),
    #[codec(index = 1)]
    Remove(Namespace, Path),
}

/// A boundary's changes, before they are sealed.
pub(crate) fn encode(state: &Writes, records: &Writes) -> Wiped {
    let size = |row: &Option<Arc<EntryRow>>| row.as_ref().map_or(40, |row| row.key.len() + row.value.len() + 48);
    // The whole size at once: a vector that grew would leave copies behind.
    let mut encoded = Wiped::new(Vec::with_capacity(state.values().chain(records.values()).map(size).sum()));
    for (namespace, writes) in [(Namespace::State, state), (Namespace::Records, records)] {
        for (path, row) in writes {
            match row {
                Some(row) => (0u8, namespace, row).encode_to(&mut *encoded),
                None => (1u8, namespace, path).encode_to(&mut *encoded),
            }
        }
    }
    encoded
}

fn decode(mut bytes: &[u8]) -> Result<[Writes; 2], IntegrityError> {
    let (mut state, mut records) = (Writes::new(), Writes::new());
    while !bytes.is_empty() {
        let entry = Entry::decode(&mut bytes).map_err(|_| IntegrityError::Malformed(Row::Journal))?;
        let (namespace, path, row) = match entry {
            Entry::Write(namespace, row) => (namespace, row.path(namespace), Some(Arc::new(row))),
            Entry::Remove(namespace, path) => (namespace, path, None),
        };
        let writes = match namespace {
            Namespace::State => &mut state,
            Namespace::Records => &mut records,
        };
        writes.insert(path, row);
    }
    Ok([state, records])
}

/// What applying a journal came to.
#[derive(Default)]
pub(crate) struct Replayed {
    pub trees: Trees,
    pub stale: [Stale; 2],
    /// Bytes of the journal, and about how many of what it changed are in memory only.
    pub bytes: usize,
    pub memory: usize,
}

/// Applies the journal of `head` to the version that is on the disk, and checks that it ends at the roots of the head. `base` reads
/// that version's rows.
pub(crate) fn replay(base: &View, head: &Head) -> Result<Replayed, ReadError> {
    let mut replayed = Replayed {
        trees: Trees { state: head.stored.0.map(Subtree::stored), records: head.stored.1.map(Subtree::stored) },
        ..Replayed::default()
    };
    // All boundaries at once: what several of them wrote is hashed for the last one alone.
    let mut all = [Writes::new(), Writes::new()];
    for listed in &head.journal {
        // All room at once: a vector that grows leaves plaintext where it was. The count is of the authentic head.
        let mut bytes = Wiped::new(Vec::with_capacity((listed.1 as usize).saturating_mul(PART_BYTES)));
        for place in places(*listed) {
            let part = base.open(base.generation(), &place)?;
            bytes.extend_from_slice(&part);
        }
        replayed.bytes = replayed.bytes.saturating_add(bytes.len());
        for (all, writes) in all.iter_mut().zip(decode(&bytes)?) {
            all.extend(writes);
        }
    }
    let stamp = Stamp { generation: base.generation(), version: head.sequence };
    let roots = [(Namespace::State, &mut replayed.trees.state), (Namespace::Records, &mut replayed.trees.records)];
    for (((namespace, root), writes), stale) in roots.into_iter().zip(all).zip(&mut replayed.stale) {
        let update =
            RadixTree.update(&base.tree(namespace).1, root.as_ref(), &crate::batch::changes(&writes), stamp)?;
        *root = update.root;
        *stale = update.stale;
        replayed.memory = replayed.memory.saturating_add_signed(update.unwritten);
    }
    // Versions and generations may differ: a sweep that had not been written is forgotten. The contents may not.
    let meant = |root: &Option<Subtree>| root.as_ref().map(|root| (root.node.hash, root.node.count));
    let named = |root: Option<crate::tree::NodeRef>| root.map(|node| (node.hash, node.count));
    if meant(&replayed.trees.state) != named(head.state) || meant(&replayed.trees.records) != named(head.records) {
        return Err(IntegrityError::NotCommitted(Row::Journal).into());
    }
    Ok(replayed)
}
