//! What one boundary writes, in memory until it is committed.
//!
//! Guarantees: reads see the batch's own writes over the version it began on; [`Batch::rollback_to`] undoes exactly what
//! was written since its checkpoint, so that a failed command leaves nothing; the tree is updated once per boundary, not
//! once per write. Contracts choose keys and values; the VM bounds how many.

use crate::{
    error::{LimitError, ReadError},
    tree::{self, Change, CommittedMap, EntryRow, Namespace, Path, RadixTree, Stamp, Update},
    view::View,
    MAX_KEY_BYTES, MAX_VALUE_BYTES,
};
use phala_protocol::{ContractId, Hash};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Entries of the base that a batch remembers, and the longest value of one: 8 MB at most.
const MAX_READ: usize = 8_192;
const MAX_READ_BYTES: usize = 1_024;
/// Keys whose paths a batch remembers: twice as many as a transfer reads and writes.
const MAX_RECENT: usize = 8;

/// A point that a batch can return to. Taking one is free, and they nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint(usize);

/// Writes over a version; becomes the next version by [`ClusterStore::commit`](crate::ClusterStore::commit).
pub struct Batch {
    base: View,
    pending: Writes,
    /// What was read of the base, so that what every command of a boundary reads is opened once.
    read: RefCell<BTreeMap<Path, Option<Vec<u8>>>>,
    /// Where the keys of late lie: whoever reads one writes it next.
    recent: RefCell<VecDeque<Located>>,
    /// What each write replaced, in order: rolling back walks it backwards.
    journal: Vec<(Path, Option<Pending>)>,
    /// The tree after the writes so far, if they have been applied to it.
    update: Option<Update>,
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
        let (read, recent) = (RefCell::default(), RefCell::default());
        Self { base, pending: BTreeMap::new(), read, recent, journal: Vec::new(), update: None }
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
        if let Some(pending) = self.pending.get(&path) {
            return Ok(pending.as_ref().map(|row| row.value.clone()));
        }
        if let Some(value) = self.read.borrow().get(&path) {
            return Ok(value.clone());
        }
        let value = self.base.read(Namespace::State, &path)?;
        let mut read = self.read.borrow_mut();
        if read.len() < MAX_READ && value.as_ref().is_none_or(|value| value.len() <= MAX_READ_BYTES) {
            read.insert(path, value.clone());
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
            match before {
                Some(pending) => self.pending.insert(path, pending),
                None => self.pending.remove(&path),
            };
            self.update = None;
        }
    }

    /// The root that committing now would give. Applies all writes to the tree; ask once per boundary.
    pub fn root(&mut self) -> Result<Hash, ReadError> {
        let update = match self.update.take() {
            Some(update) => update,
            None => self.apply()?,
        };
        let root = update.root_hash();
        self.update = Some(update);
        Ok(root)
    }

    /// The version that this batch began on.
    pub fn base(&self) -> &View {
        &self.base
    }

    /// The writes, and what they do to the tree.
    pub(crate) fn finish(mut self) -> Result<(View, Writes, Update), ReadError> {
        let update = match self.update.take() {
            Some(update) => update,
            None => self.apply()?,
        };
        Ok((self.base, self.pending, update))
    }

    fn write(&mut self, contract: &ContractId, key: &[u8], value: Option<Vec<u8>>) -> Result<(), LimitError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(LimitError::Key(key.len()));
        }
        let path = self.path(contract, key);
        let pending = value.map(|value| Arc::new(EntryRow { contract: contract.0, key: key.to_vec(), value }));
        let before = self.pending.insert(path, pending);
        self.journal.push((path, before));
        self.update = None;
        Ok(())
    }

    fn apply(&self) -> Result<Update, ReadError> {
        let (root, pages) = self.base.tree(Namespace::State);
        RadixTree.update(&pages, root, &changes(&self.pending), next_stamp(&self.base))
    }
}

/// What the commit after `base` stamps its rows with.
pub(crate) fn next_stamp(base: &View) -> Stamp {
    Stamp { generation: base.keys().current(), version: base.head().sequence.saturating_add(1) }
}

pub(crate) fn changes(pending: &Writes) -> Vec<Change> {
    pending.iter().map(|(path, row)| Change::new(*path, row.clone())).collect()
}
