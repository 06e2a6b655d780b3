//! What one boundary writes, in memory until it is committed.
//!
//! Guarantees: reads see the batch's own writes over the version it began on; [`Batch::rollback_to`] undoes exactly what
//! was written since its checkpoint, so that a failed command leaves nothing; the tree is updated once per boundary, not
//! once per write, with the writes in the order of their paths. Contracts choose keys and values; the VM bounds how many.
#![expect(clippy::disallowed_types, reason = "a place is found by its path, and what walks the map puts it in order")]

use crate::{
    error::{LimitError, ReadError},
    tree::{self, Change, CommittedMap, EntryRow, Namespace, Path, RadixTree, Stamp, Update, Written},
    view::View,
    MAX_KEY_BYTES, MAX_VALUE_BYTES,
};
use phala_protocol::{ContractId, Hash};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

/// Entries of the base that a batch remembers, and the longest value of one: 8 MB at most.
const MAX_READ: usize = 8_192;
const MAX_READ_BYTES: usize = 1_024;
/// Keys whose paths a batch remembers: twice as many as a transfer reads and writes.
const MAX_RECENT: usize = 8;

/// A point that a batch can return to. Taking one is free, and they nest. Two of a batch are equal if as many writes stood at both: while nothing
/// is rolled back, if nothing was written in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint(usize);

/// Writes over a version; becomes the next version by [`ClusterStore::commit`](crate::ClusterStore::commit).
pub struct Batch {
    base: View,
    /// Contracts choose what paths are hashes of: the map's hasher is keyed, as that of the cache of pages.
    slots: RefCell<HashMap<Path, Slot>>,
    /// How many entries of the base are remembered.
    read: Cell<usize>,
    /// Where the keys of late lie: whoever reads one writes it next.
    recent: RefCell<VecDeque<Located>>,
    /// What each write replaced, in order: rolling back walks it backwards.
    journal: Vec<(Path, Option<Pending>)>,
    /// The writes so far, and the tree after them, if they have been applied to it.
    applied: Option<(Writes, Update)>,
}

/// What a batch knows of a path.
#[derive(Default)]
struct Slot {
    /// What was written last, if anything was.
    pending: Option<Pending>,
    /// What was read of the base, so that what every command of a boundary reads is opened once.
    read: Option<Option<Vec<u8>>>,
}

/// A key and its place.
struct Located {
    contract: ContractId,
    key: Vec<u8>,
    path: Path,
}

/// A write (`Some`) or a removal that is not committed yet.
pub(crate) type Pending = Option<Arc<EntryRow>>;
/// Writes and removals by path.
pub(crate) type Writes = BTreeMap<Path, Pending>;

impl Batch {
    pub(crate) fn new(base: View) -> Self {
        let (slots, recent) = (RefCell::default(), RefCell::default());
        Self { base, slots, read: Cell::new(0), recent, journal: Vec::new(), applied: None }
    }

    /// The path of a contract's key.
    fn path(&self, contract: &ContractId, key: &[u8]) -> Path {
        let mut recent = self.recent.borrow_mut();
        if let Some(located) = recent.iter().find(|located| located.contract == *contract && located.key == key) {
            return located.path;
        }
        let path = tree::path_of(Namespace::State, &contract.0, key);
        if key.len() > MAX_KEY_BYTES {
            return path;
        }
        // The oldest one's place is used again.
        let oldest = if recent.len() < MAX_RECENT { None } else { recent.pop_front() };
        let mut kept = oldest.map_or_else(Vec::new, |located| located.key);
        kept.clear();
        kept.extend_from_slice(key);
        recent.push_back(Located { contract: *contract, key: kept, path });
        path
    }

    /// The value of a contract's key, with this batch's writes.
    pub fn get(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let path = self.path(contract, key);
        if let Some(Slot { pending, read }) = self.slots.borrow().get(&path) {
            if let Some(pending) = pending {
                return Ok(pending.as_ref().map(|row| row.value.clone()));
            }
            if let Some(value) = read {
                return Ok(value.clone());
            }
        }
        let value = self.base.read(Namespace::State, &path)?;
        let read = self.read.get();
        if read < MAX_READ && value.as_ref().is_none_or(|value| value.len() <= MAX_READ_BYTES) {
            self.slots.borrow_mut().entry(path).or_default().read = Some(value.clone());
            self.read.set(read.saturating_add(1));
        }
        Ok(value)
    }

    /// Writes a value.
    pub fn set(&mut self, contract: &ContractId, key: &[u8], value: Vec<u8>) -> Result<(), LimitError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(LimitError::Value(value.len()));
        }
        self.write(contract, key, Some(value))
    }

    /// Removes a key; removing one that is not there changes nothing.
    pub fn remove(&mut self, contract: &ContractId, key: &[u8]) -> Result<(), LimitError> {
        self.write(contract, key, None)
    }

    /// The present point.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(self.journal.len())
    }

    /// Undoes every write since `checkpoint`, and with them the checkpoints taken since. Checkpoints of another batch
    /// mean nothing here.
    pub fn rollback_to(&mut self, checkpoint: Checkpoint) {
        while self.journal.len() > checkpoint.0 {
            let Some((path, before)) = self.journal.pop() else { break };
            let slots = self.slots.get_mut();
            let is_empty = slots.get_mut(&path).is_some_and(|slot| {
                slot.pending = before;
                slot.pending.is_none() && slot.read.is_none()
            });
            if is_empty {
                slots.remove(&path);
            }
            self.applied = None;
        }
    }

    /// The root that committing now would give. Applies all writes to the tree; ask once per boundary.
    pub fn root(&mut self) -> Result<Hash, ReadError> {
        let applied = match self.applied.take() {
            Some(applied) => applied,
            None => self.apply()?,
        };
        let root = applied.1.root_hash();
        self.applied = Some(applied);
        Ok(root)
    }

    /// The version that this batch began on.
    pub fn base(&self) -> &View {
        &self.base
    }

    /// The writes, and what they do to the tree.
    pub(crate) fn finish(mut self) -> Result<(View, Writes, Update), ReadError> {
        let (writes, update) = match self.applied.take() {
            Some(applied) => applied,
            None => self.apply()?,
        };
        Ok((self.base, writes, update))
    }

    fn write(&mut self, contract: &ContractId, key: &[u8], value: Option<Vec<u8>>) -> Result<(), LimitError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(LimitError::Key(key.len()));
        }
        let path = self.path(contract, key);
        let pending = value.map(|value| Arc::new(EntryRow { contract: contract.0, key: key.to_vec(), value }));
        let before = self.slots.get_mut().entry(path).or_default().pending.replace(pending);
        self.journal.push((path, before));
        self.applied = None;
        Ok(())
    }

    fn apply(&self) -> Result<(Writes, Update), ReadError> {
        let slots = self.slots.borrow();
        let pending = slots.iter().filter_map(|(path, slot)| Some((*path, slot.pending.clone()?)));
        let writes: Writes = pending.collect();
        let (root, pages) = self.base.tree(Namespace::State);
        let update = RadixTree.update(&pages, root, &changes(&writes), next_stamp(&self.base))?;
        Ok((writes, update))
    }
}

/// What the commit after `base` stamps its rows with.
pub(crate) fn next_stamp(base: &View) -> Stamp {
    Stamp { generation: base.keys().current(), version: base.head().sequence.saturating_add(1) }
}

pub(crate) fn changes(pending: &Writes) -> Vec<Change> {
    let written = pending.iter().filter_map(|(path, row)| Some((path, row.as_deref()?)));
    let mut hashes = tree::leaf_hashes(written).into_iter();
    let mut value = |path: &Path, row: &Arc<EntryRow>| {
        let hash = hashes.next().unwrap_or_else(|| row.leaf_hash(path));
        Written { hash, row: row.clone() }
    };
    pending.iter().map(|(path, row)| Change { path: *path, value: row.as_ref().map(|row| value(path, row)) }).collect()
}
