//! What one boundary writes, in memory until it is committed.
//!
//! Guarantees: reads see the batch's own writes over the version it began on; [`Batch::rollback_to`] undoes exactly what
//! was written since its checkpoint, so that a failed command leaves nothing; the tree is updated once per boundary, not
//! once per write. Contracts choose keys and values; the VM bounds how many.

use crate::{
    error::{LimitError, ReadError},
    tree::{self, Change, CommittedMap, Namespace, Path, RadixTree, Stamp, Update},
    view::View,
    MAX_KEY_BYTES, MAX_VALUE_BYTES,
};
use phala_protocol::{ContractId, Hash};
use std::collections::BTreeMap;

/// A point that a batch can return to. Taking one is free, and they nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint(usize);

/// Writes over a version; becomes the next version by [`ClusterStore::commit`](crate::ClusterStore::commit).
pub struct Batch {
    base: View,
    pending: BTreeMap<Path, Pending>,
    /// What each write replaced, in order: rolling back walks it backwards.
    journal: Vec<(Path, Option<Pending>)>,
    /// The tree after the writes so far, if they have been applied to it.
    update: Option<Update>,
}

/// A write (`Some`) or a removal that is not committed yet.
#[derive(Clone)]
pub(crate) struct Pending {
    pub contract: [u8; 32],
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl Batch {
    pub(crate) fn new(base: View) -> Self {
        Self { base, pending: BTreeMap::new(), journal: Vec::new(), update: None }
    }

    /// The value of a contract's key, with this batch's writes.
    pub fn get(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let path = tree::path_of(Namespace::State, &contract.0, key);
        match self.pending.get(&path) {
            Some(pending) => Ok(pending.value.clone()),
            None => self.base.read(Namespace::State, &path),
        }
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
    pub(crate) fn finish(mut self) -> Result<(View, BTreeMap<Path, Pending>, Update), ReadError> {
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
        let path = tree::path_of(Namespace::State, &contract.0, key);
        let before = self.pending.insert(path, Pending { contract: contract.0, key: key.to_vec(), value });
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

pub(crate) fn changes(pending: &BTreeMap<Path, Pending>) -> Vec<Change> {
    pending
        .iter()
        .map(|(path, pending)| Change { path: *path, value: pending.value.as_deref().map(tree::value_hash) })
        .collect()
}
