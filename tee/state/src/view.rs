//! One committed version of the store, for as long as it is held.
//!
//! Guarantees: everything read through one view belongs to one commit and is checked against that commit's roots; later
//! commits, rekeying and sweeps neither change nor block it. Rows come from the host.
//!
//! A view holds a read transaction of the file: see the crate's notes on cost. The file cannot be opened again while one
//! is alive.

use crate::{
    cache::PageCache,
    cipher::{KeyRing, Locator, Place},
    error::{IntegrityError, ReadError, Row, StorageFault},
    store::{Head, Trees},
    tree::{
        self, CommittedMap, EntryRow, Found, Leaf, LeafRow, Namespace, NodeRef, Page, PageId, PageSource, Path,
        RadixTree, Subtree,
    },
    wiped::Wiped,
};
use codec::DecodeAll;
use phala_protocol::{ContractId, Epoch, Hash};
use redb::ReadOnlyTable;
use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    sync::Arc,
};

/// The file and what is known of it.
pub(crate) struct Disk {
    pub database: Database,
    pub cache: PageCache,
}

/// The storage library's handle. After the library panicked over a damaged file, closing it panics again: that ends here.
pub(crate) struct Database(Option<redb::Database>);

impl Database {
    pub fn new(database: redb::Database) -> Self {
        Self(Some(database))
    }

    pub fn get(&self) -> Result<&redb::Database, StorageFault> {
        self.0.as_ref().ok_or(StorageFault::Reopen)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let database = self.0.take();
        // What was not synced is lost, as if the machine had stopped here.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// A committed version. Clones share it.
#[derive(Clone)]
pub struct View(Arc<Version>);

struct Version {
    // Declared before the disk, and so dropped before it: the transaction must not outlive the database.
    rows: ReadOnlyTable<&'static [u8; 20], &'static [u8]>,
    head: Head,
    trees: Trees,
    keys: Arc<KeyRing>,
    disk: Arc<Disk>,
}

/// An entry of a contract, as [`View::entries`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the canonical order, and where the next call goes on.
    pub path: Hash,
    /// Whose it is.
    pub contract: ContractId,
    /// Its key within the contract.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Key and value of a record, as [`View::records`] lists it.
pub type Record = (Vec<u8>, Vec<u8>);

/// Contract of records: they belong to no contract.
pub(crate) const NO_CONTRACT: [u8; 32] = [0; 32];

impl View {
    pub(crate) fn new(
        disk: Arc<Disk>,
        head: Head,
        trees: Trees,
        keys: Arc<KeyRing>,
        rows: ReadOnlyTable<&'static [u8; 20], &'static [u8]>,
    ) -> Self {
        Self(Arc::new(Version { rows, head, trees, keys, disk }))
    }

    /// The root over the plaintext entries of all contracts; [`EMPTY_ROOT`](crate::EMPTY_ROOT) when there are none.
    pub fn root(&self) -> Hash {
        tree::root_hash(self.0.trees.state.as_ref())
    }

    /// Number of entries of all contracts.
    pub fn len(&self) -> u64 {
        self.0.trees.state.as_ref().map_or(0, |root| root.node.count)
    }

    /// Whether no contract has an entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The caller's cursor of this version: what [`commit`](crate::ClusterStore::commit) was given. `None` before the first commit.
    pub fn meta(&self) -> Option<&[u8]> {
        self.0.head.meta.as_deref()
    }

    /// The epoch of the storage key that this version is under.
    pub fn generation(&self) -> Epoch {
        self.0.keys.current()
    }

    /// The value of a contract's key.
    pub fn get(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.read(Namespace::State, &tree::path_of(Namespace::State, &contract.0, key))
    }

    /// A record of this machine.
    pub fn record(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.read(Namespace::Records, &tree::path_of(Namespace::Records, &NO_CONTRACT, key))
    }

    /// Up to `limit` entries in the canonical order, beginning after the path `after`. Holds them all in memory.
    pub fn entries(&self, after: Option<&Hash>, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let leaves = self.leaves_after(Namespace::State, after, limit)?;
        leaves
            .iter()
            .map(|leaf| {
                let row = self.entry(Namespace::State, leaf)?;
                let contract = ContractId(row.contract);
                Ok(Entry { path: leaf.path, contract, key: row.key.clone(), value: row.value.clone() })
            })
            .collect()
    }

    /// As [`Self::entries`], and no more of them once `bytes` of keys and values are here: at most one entry over that is in memory.
    pub fn entries_within(&self, after: Option<&Hash>, limit: usize, bytes: usize) -> Result<Vec<Entry>, ReadError> {
        let listed = self.listed(Namespace::State, after, limit, bytes)?.into_iter();
        let entry = |(path, row): (Path, Arc<EntryRow>)| {
            let contract = ContractId(row.contract);
            let (key, value) = taken_out(row);
            Entry { path, contract, key, value }
        };
        Ok(listed.map(entry).collect())
    }

    /// Number of records.
    pub fn records_len(&self) -> u64 {
        self.0.trees.records.as_ref().map_or(0, |root| root.node.count)
    }

    /// Up to `limit` records in the order of their paths, each with its path, beginning after the path `after`; and no more of them once
    /// `bytes` of keys and values are here, as with [`Self::entries_within`].
    pub fn records_within(
        &self,
        after: Option<&Hash>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(Hash, Record)>, ReadError> {
        let listed = self.listed(Namespace::Records, after, limit, bytes)?.into_iter();
        Ok(listed.map(|(path, row)| (path, taken_out(row))).collect())
    }

    /// Every record of this machine, key and value, in an order that means nothing. Holds them all in memory.
    pub fn records(&self) -> Result<Vec<Record>, ReadError> {
        let leaves = self.leaves_after(Namespace::Records, None, usize::MAX)?;
        let record = |row: Arc<EntryRow>| (row.key.clone(), row.value.clone());
        leaves.iter().map(|leaf| self.entry(Namespace::Records, leaf).map(record)).collect()
    }

    pub(crate) fn head(&self) -> &Head {
        &self.0.head
    }

    pub(crate) fn keys(&self) -> &Arc<KeyRing> {
        &self.0.keys
    }

    pub(crate) fn trees(&self) -> &Trees {
        &self.0.trees
    }

    pub(crate) fn tree(&self, namespace: Namespace) -> (Option<&Subtree>, Pages<'_>) {
        let root = match namespace {
            Namespace::State => self.0.trees.state.as_ref(),
            Namespace::Records => self.0.trees.records.as_ref(),
        };
        (root, Pages { view: self, namespace })
    }

    fn listed(
        &self,
        namespace: Namespace,
        after: Option<&Path>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(Path, Arc<EntryRow>)>, ReadError> {
        let (mut listed, mut held) = (Vec::new(), 0usize);
        for leaf in self.leaves_after(namespace, after, limit)? {
            if !listed.is_empty() && held >= bytes {
                break;
            }
            let row = self.entry(namespace, &leaf)?;
            held = held.saturating_add(row.key.len()).saturating_add(row.value.len());
            listed.push((leaf.path, row));
        }
        Ok(listed)
    }

    fn leaves_after(&self, namespace: Namespace, after: Option<&Path>, limit: usize) -> Result<Vec<Leaf>, ReadError> {
        let (root, pages) = self.tree(namespace);
        RadixTree.leaves_after(&pages, root, after, limit)
    }

    pub(crate) fn read(&self, namespace: Namespace, path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
        let (root, pages) = self.tree(namespace);
        let Some(Found { leaf, value }) = RadixTree.lookup(&pages, root, path)? else { return Ok(None) };
        if value.is_some() {
            return Ok(value);
        }
        let row = self.entry(namespace, &leaf)?;
        Ok(Some(Arc::try_unwrap(row).map_or_else(|row| row.value.clone(), |row| row.value)))
    }

    /// The entry of a leaf, as the tree hands it out.
    pub(crate) fn entry(&self, namespace: Namespace, leaf: &Leaf) -> Result<Arc<EntryRow>, ReadError> {
        match &leaf.row {
            LeafRow::Fresh(row) => Ok(row.clone()),
            LeafRow::Apart(generation) => self.stored_entry(namespace, leaf, *generation).map(Arc::new),
            // Which the tree hands out as entries of their own.
            LeafRow::Within(_) | LeafRow::Ours(_) => Err(IntegrityError::Malformed(Row::Page).into()),
        }
    }

    /// Reads the row of a leaf, which is under the keys of `generation`, and accepts it as that leaf's.
    fn stored_entry(&self, namespace: Namespace, leaf: &Leaf, generation: Epoch) -> Result<EntryRow, ReadError> {
        let bytes = self.open(generation, &Place::Entry(namespace, &leaf.path))?;
        let row = EntryRow::decode_all(&mut bytes.as_slice()).map_err(|_| IntegrityError::Malformed(Row::Entry))?;
        if row.leaf_hash(&leaf.path) != leaf.hash || row.path(namespace) != leaf.path {
            return Err(IntegrityError::NotCommitted(Row::Entry).into());
        }
        Ok(row)
    }

    pub(crate) fn open(&self, generation: Epoch, place: &Place<'_>) -> Result<Wiped, ReadError> {
        let locator = self.0.keys.locator(generation, place)?;
        let row = self.row(&locator)?.ok_or(IntegrityError::Missing(place.row()))?;
        Ok(self.0.keys.open(generation, place, &row)?)
    }

    fn row(&self, locator: &Locator) -> Result<Option<Vec<u8>>, StorageFault> {
        guarded(|| Ok(self.0.rows.get(locator)?.map(|row| row.value().to_vec())))
    }
}

/// Key and value of a row, copied only where somebody else has it too.
fn taken_out(row: Arc<EntryRow>) -> Record {
    Arc::try_unwrap(row).map_or_else(|row| (row.key.clone(), row.value.clone()), |row| (row.key, row.value))
}

/// The pages of one map of a view.
pub(crate) struct Pages<'a> {
    view: &'a View,
    namespace: Namespace,
}

impl PageSource for Pages<'_> {
    fn page(&self, id: &PageId, expected: &NodeRef) -> Result<Arc<Page>, ReadError> {
        let cache = &self.view.0.disk.cache;
        if let Some(page) = cache.get(self.namespace, id, expected) {
            return Ok(page);
        }
        let bytes = self.view.open(expected.generation, &Place::Page(self.namespace, id))?;
        let mut page = Page::decode_bounded(&bytes, self.namespace)?;
        page.verify(id, expected)?;
        let page = Arc::new(page);
        cache.put(self.namespace, id, expected, page.clone());
        Ok(page)
    }

    fn entry(&self, leaf: &Leaf) -> Result<Arc<EntryRow>, ReadError> {
        self.view.entry(self.namespace, leaf)
    }
}

/// Runs a call of the storage library. It asserts much of what it finds: such a panic becomes an error. What the host made up it does not
/// find ([`crate::tagged`]), which matters: of a panic within a commit it can make two, and no guard stops the second.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, StorageFault>) -> Result<T, StorageFault> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(StorageFault::DriverPanicked))
}
