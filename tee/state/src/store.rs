//! The file: opening it, committing a boundary, changing its keys, sweeping it.
//!
//! # Rows
//! One table of rows (`locator -> nonce || ciphertext || tag`) holds pages and entries alike; another holds the head:
//! `format u8 || generation u32 LE || nonce || ciphertext || tag`, in which lie both maps' roots, the caller's cursor and the
//! ring of older keys. The head is written last of all in the same transaction, so it names exactly the rows beside it.
//!
//! # Guarantees
//! One writer at a time; a commit is atomic and durable (one fsync) before it is announced; views taken before see the
//! version before. A commit that fails leaves the version before in force, in memory and on disk, unless the error says
//! that its outcome is unknown.
//!
//! # Keys
//! [`ClusterStore::rekey`] seals the head, and in it the key so far, under the new key, and nothing else: it costs one
//! row. Rows move to the new key when they are written next, or when [`ClusterStore::sweep`] comes by; after a whole sweep the
//! older keys are forgotten. Older copies of the file stay readable to whoever has their keys.
//!
//! The host controls the file; contracts control keys and values.

use crate::{
    batch::{self, Batch, Pending},
    cache::PageCache,
    cipher::{Entropy, KeyRing, Locator, Nonces, Place, RingKey, StorageKey},
    error::{CommitError, IntegrityError, LimitError, OpenError, ReadError, RekeyError, Row, StorageFault},
    tree::{self, Change, CommittedMap, Namespace, NodeRef, Path, RadixTree, Update},
    view::{guarded, Disk, EntryRow, View, NO_CONTRACT},
    MAX_KEY_BYTES, MAX_META_BYTES, MAX_RING_KEYS, MAX_VALUE_BYTES,
};
use codec::{Decode, DecodeAll, Encode};
use phala_protocol::Hash;
use redb::{ReadableDatabase, ReadableTableMetadata, StorageBackend, TableDefinition, TableError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use zeroize::Zeroizing;

const ROWS: TableDefinition<'static, &'static [u8; 20], &'static [u8]> = TableDefinition::new("rows");
const HEAD: TableDefinition<'static, (), &'static [u8]> = TableDefinition::new("head");
/// The version of everything this crate writes.
const FORMAT: u8 = 1;

/// The store of one cluster.
pub struct ClusterStore {
    latest: RwLock<View>,
    writer: Mutex<Writer>,
    disk: Arc<Disk>,
    entropy: Box<dyn Entropy>,
}

/// Held by whoever writes.
struct Writer {
    /// A commit's outcome is unknown: what is on disk may be ahead of `latest`.
    stopped: bool,
}

/// How much memory a store may use.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of file pages kept in memory.
    pub file_cache_bytes: usize,
    /// Verified tree pages kept in memory, each at most about 2.5 KB.
    pub tree_cache_pages: usize,
}

impl Default for Options {
    /// 64 MiB of file, 16,384 pages of tree (about 20 MB).
    fn default() -> Self {
        Self { file_cache_bytes: 64 << 20, tree_cache_pages: 1 << 14 }
    }
}

/// What a commit made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The root over the plaintext entries.
    pub root: Hash,
    /// Number of entries.
    pub entries: u64,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepProgress {
    /// So many rows were sealed anew; call again.
    Continues(usize),
    /// No row is under an older key, and the older keys are forgotten.
    Done,
}

/// Everything about a version but its rows.
#[derive(Clone, Default, Encode, Decode)]
pub(crate) struct Head {
    /// Writes so far. Pages carry it as their version.
    pub sequence: u64,
    pub state: Option<NodeRef>,
    pub records: Option<NodeRef>,
    pub meta: Option<Vec<u8>>,
    /// Where the sweep under way goes on.
    sweep: Option<(Namespace, Path)>,
}

/// Rows to write (`Some`) or remove, in the order of the file.
type Rows = BTreeMap<Locator, Option<Vec<u8>>>;

impl ClusterStore {
    /// Opens the file at `path`, or makes one if there is none or it is empty.
    ///
    /// A new store has no [`View::meta`]: a caller who expects one was given an empty disk by the host.
    pub fn open(
        path: impl AsRef<std::path::Path>,
        key: StorageKey,
        entropy: Box<dyn Entropy>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let database = guarded(|| Ok(builder(options).create(path)?))?;
        Self::with_database(database, key, entropy, options)
    }

    /// As [`Self::open`], on any backend.
    pub fn open_with_backend(
        backend: impl StorageBackend,
        key: StorageKey,
        entropy: Box<dyn Entropy>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let database = guarded(|| Ok(builder(options).create_with_backend(backend)?))?;
        Self::with_database(database, key, entropy, options)
    }

    fn with_database(
        database: redb::Database,
        key: StorageKey,
        entropy: Box<dyn Entropy>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let disk = Arc::new(Disk { database, cache: PageCache::new(options.tree_cache_pages) });
        let ring = KeyRing::new(key);
        let latest = match read_head(&disk.database)? {
            Some(row) => {
                let (head, older) = open_head(&ring, &row)?;
                view(&disk, head, Arc::new(ring.with_older(&older)))?
            }
            None => {
                let head = Head::default();
                let row = seal_head(&ring, &head, &mut Nonces::new(&*entropy))?;
                write(&disk.database, &Rows::new(), &row).map_err(|failure| match failure {
                    WriteFailure::Before(fault) | WriteFailure::AtCommit(fault) => fault,
                })?;
                view(&disk, head, Arc::new(ring))?
            }
        };
        Ok(Self { latest: RwLock::new(latest), writer: Mutex::new(Writer { stopped: false }), disk, entropy })
    }

    /// The latest committed version. Costs a pointer; never waits for a commit under way.
    pub fn view(&self) -> View {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins a boundary on the latest version.
    pub fn begin(&self) -> Batch {
        Batch::new(self.view())
    }

    /// Commits a boundary: the batch's writes, the caller's cursor `meta` and its `records` (`None` removes one), all or
    /// nothing. Returns when it is durable.
    pub fn commit(
        &self,
        batch: Batch,
        meta: Vec<u8>,
        records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<Committed, CommitError> {
        if meta.len() > MAX_META_BYTES {
            return Err(LimitError::Meta(meta.len()).into());
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.current(&writer)?;
        if batch.base().head().sequence != base.head().sequence {
            return Err(CommitError::Stale);
        }
        let records = pending_records(records)?;
        let (base, entries, state) = batch.finish()?;
        let (records_root, pages) = base.tree(Namespace::Records);
        let stamp = batch::next_stamp(&base);
        let records_update = RadixTree.update(&pages, records_root, &batch::changes(&records), stamp)?;

        let mut nonces = Nonces::new(&*self.entropy);
        let mut rows = Rows::new();
        let keys = base.keys().clone();
        for (namespace, update, pending) in
            [(Namespace::State, &state, entries), (Namespace::Records, &records_update, records)]
        {
            tree_rows(&keys, namespace, update, &mut nonces, &mut rows)?;
            for (path, Pending { contract, key, value }) in pending {
                if let Some(value) = value {
                    let row = EntryRow { contract, key, value };
                    entry_row(&keys, namespace, &path, &row, &mut nonces, &mut rows)?;
                }
            }
        }
        let head = Head {
            sequence: stamp.version,
            state: state.root,
            records: records_update.root,
            meta: Some(meta),
            sweep: base.head().sweep,
        };
        drop(base);
        let latest = self.write(&mut writer, head, keys, &rows, &mut nonces)?;
        self.remember(&latest, Namespace::State, state);
        self.remember(&latest, Namespace::Records, records_update);
        Ok(Committed { root: latest.root(), entries: latest.len() })
    }

    /// Moves the store to the storage key of a newer epoch. Costs one row; batches under way become stale.
    pub fn rekey(&self, key: StorageKey) -> Result<(), RekeyError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.current(&writer)?;
        if key.generation() <= base.generation() {
            return Err(RekeyError::NotNewer { stored: base.generation(), given: key.generation() });
        }
        if base.keys().older_count() >= MAX_RING_KEYS {
            return Err(RekeyError::RingFull);
        }
        let keys = Arc::new(base.keys().rekeyed(key));
        // Rows that a sweep under way passed are old again: it starts over.
        let head = Head { sequence: base.head().sequence.saturating_add(1), sweep: None, ..base.head().clone() };
        drop(base);
        self.write(&mut writer, head, keys, &Rows::new(), &mut Nonces::new(&*self.entropy))?;
        Ok(())
    }

    /// Looks at up to `limit` entries and seals those under older keys anew, with their pages. The root stays. Batches
    /// under way become stale: call it between boundaries.
    pub fn sweep(&self, limit: usize) -> Result<SweepProgress, CommitError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.current(&writer)?;
        if base.keys().older_count() == 0 {
            return Ok(SweepProgress::Done);
        }
        let (mut namespace, mut after) = match base.head().sweep {
            Some((namespace, path)) => (namespace, Some(path)),
            None => (Namespace::State, None),
        };
        let mut leaves = base.leaves_after(namespace, after.as_ref(), limit.max(1))?;
        if leaves.is_empty() && namespace == Namespace::State {
            (namespace, after) = (Namespace::Records, None);
            leaves = base.leaves_after(namespace, after.as_ref(), limit.max(1))?;
        }
        let Some(last) = leaves.last().map(|leaf| leaf.path) else {
            // A page is never under an older key than its newest leaf, so no row is under one.
            let keys = Arc::new(base.keys().without_older());
            let head = Head { sequence: base.head().sequence.saturating_add(1), sweep: None, ..base.head().clone() };
            drop(base);
            self.write(&mut writer, head, keys, &Rows::new(), &mut Nonces::new(&*self.entropy))?;
            return Ok(SweepProgress::Done);
        };
        leaves.retain(|leaf| leaf.generation != base.generation());

        let changes: Vec<_> = leaves.iter().map(|leaf| Change { path: leaf.path, value: Some(leaf.value) }).collect();
        let (root, pages) = base.tree(namespace);
        let stamp = batch::next_stamp(&base);
        let update = RadixTree.update(&pages, root, &changes, stamp)?;
        if update.root_hash() != tree::root_hash(root.as_ref()) {
            return Err(IntegrityError::NotCommitted(Row::Page).into());
        }
        let (mut nonces, mut rows) = (Nonces::new(&*self.entropy), Rows::new());
        let keys = base.keys().clone();
        tree_rows(&keys, namespace, &update, &mut nonces, &mut rows)?;
        for leaf in &leaves {
            let row = base.entry(namespace, leaf)?;
            entry_row(&keys, namespace, &leaf.path, &row, &mut nonces, &mut rows)?;
        }
        let mut head = Head { sequence: stamp.version, sweep: Some((namespace, last)), ..base.head().clone() };
        match namespace {
            Namespace::State => head.state = update.root,
            Namespace::Records => head.records = update.root,
        }
        drop(base);
        let latest = self.write(&mut writer, head, keys, &rows, &mut nonces)?;
        self.remember(&latest, namespace, update);
        Ok(SweepProgress::Continues(leaves.len()))
    }

    /// The version that a write builds on.
    fn current(&self, writer: &Writer) -> Result<View, CommitError> {
        if writer.stopped {
            return Err(StorageFault::Reopen.into());
        }
        Ok(self.view())
    }

    /// Writes rows and head in one transaction, and announces the version they make.
    fn write(
        &self,
        writer: &mut Writer,
        head: Head,
        keys: Arc<KeyRing>,
        rows: &Rows,
        nonces: &mut Nonces<'_>,
    ) -> Result<View, CommitError> {
        let row = seal_head(&keys, &head, nonces)?;
        write(&self.disk.database, rows, &row).map_err(|failure| match failure {
            WriteFailure::Before(fault) => CommitError::Storage(fault),
            WriteFailure::AtCommit(fault) => {
                writer.stopped = true;
                CommitError::OutcomeUnknown(fault)
            }
        })?;
        let latest = view(&self.disk, head, keys).map_err(|fault| {
            writer.stopped = true;
            CommitError::OutcomeUnknown(fault)
        })?;
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = latest.clone();
        Ok(latest)
    }

    /// Keeps what was just written: the next boundary reads most of it again.
    fn remember(&self, latest: &View, namespace: Namespace, update: Update) {
        debug_assert!(latest.tree(namespace).0 == update.root);
        for (id, (node, page)) in update.written {
            self.disk.cache.put(namespace, &id, &node, page);
        }
    }
}

fn builder(options: Options) -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(options.file_cache_bytes);
    builder
}

/// The records of a commit by their path; of two for one key the later one counts.
fn pending_records(records: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<BTreeMap<Path, Pending>, LimitError> {
    let mut pending = BTreeMap::new();
    for (key, value) in records {
        if key.len() > MAX_KEY_BYTES {
            return Err(LimitError::Key(key.len()));
        }
        if let Some(value) = value.as_ref().filter(|value| value.len() > MAX_VALUE_BYTES) {
            return Err(LimitError::Value(value.len()));
        }
        let path = tree::path_of(Namespace::Records, &NO_CONTRACT, &key);
        pending.insert(path, Pending { contract: NO_CONTRACT, key, value });
    }
    Ok(pending)
}

/// Adds what an update does to a tree's rows. What it replaced goes first: a row sealed anew in the same epoch has the same
/// locator as before.
fn tree_rows(
    keys: &KeyRing,
    namespace: Namespace,
    update: &Update,
    nonces: &mut Nonces<'_>,
    rows: &mut Rows,
) -> Result<(), CommitError> {
    for (id, generation) in &update.removed {
        rows.insert(keys.locator(*generation, &Place::Page(namespace, id))?, None);
    }
    for (path, generation) in &update.replaced {
        rows.insert(keys.locator(*generation, &Place::Entry(namespace, path))?, None);
    }
    for (id, (_, page)) in &update.written {
        let place = Place::Page(namespace, id);
        let plaintext = Zeroizing::new(page.encode());
        rows.insert(keys.locator(keys.current(), &place)?, Some(keys.seal(&place, &plaintext, nonces)?));
    }
    Ok(())
}

fn entry_row(
    keys: &KeyRing,
    namespace: Namespace,
    path: &Path,
    row: &EntryRow,
    nonces: &mut Nonces<'_>,
    rows: &mut Rows,
) -> Result<(), CommitError> {
    let place = Place::Entry(namespace, path);
    let plaintext = Zeroizing::new(row.encode());
    rows.insert(keys.locator(keys.current(), &place)?, Some(keys.seal(&place, &plaintext, nonces)?));
    Ok(())
}

fn seal_head(keys: &KeyRing, head: &Head, nonces: &mut Nonces<'_>) -> Result<Vec<u8>, crate::EntropyError> {
    let plaintext = Zeroizing::new((head, keys.older()).encode());
    let sealed = keys.seal(&Place::Head(FORMAT), &plaintext, nonces)?;
    let mut row = vec![FORMAT];
    row.extend_from_slice(&keys.current().to_le_bytes());
    row.extend_from_slice(&sealed);
    Ok(row)
}

/// Opens the head under the key that the caller has. Format and generation are the host's word until then.
fn open_head(ring: &KeyRing, row: &[u8]) -> Result<(Head, Vec<RingKey>), OpenError> {
    let malformed = IntegrityError::Malformed(Row::Head);
    let (format, rest) = row.split_first().ok_or(malformed)?;
    if *format != FORMAT {
        return Err(OpenError::Format(*format));
    }
    let (generation, sealed) = rest.split_first_chunk().ok_or(malformed)?;
    let stored = u32::from_le_bytes(*generation);
    if stored != ring.current() {
        return Err(OpenError::Generation { stored, given: ring.current() });
    }
    let plaintext = ring.open(stored, &Place::Head(FORMAT), sealed)?;
    Ok(<(Head, Vec<RingKey>)>::decode_all(&mut plaintext.as_slice()).map_err(|_| malformed)?)
}

/// The head's row; `None` in a new file.
fn read_head(database: &redb::Database) -> Result<Option<Vec<u8>>, ReadError> {
    let (head, rows) = guarded(|| {
        let transaction = database.begin_read()?;
        let head = match transaction.open_table(HEAD) {
            Ok(table) => table.get(())?.map(|row| row.value().to_vec()),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let rows = match transaction.open_table(ROWS) {
            Ok(table) => !table.is_empty()?,
            Err(TableError::TableDoesNotExist(_)) => false,
            Err(error) => return Err(error.into()),
        };
        Ok((head, rows))
    })?;
    if head.is_none() && rows {
        return Err(IntegrityError::Missing(Row::Head).into());
    }
    Ok(head)
}

/// The version that `head` describes. Nobody else writes between the commit of that head and this.
fn view(disk: &Arc<Disk>, head: Head, keys: Arc<KeyRing>) -> Result<View, StorageFault> {
    let rows = guarded(|| Ok(disk.database.begin_read()?.open_table(ROWS)?))?;
    Ok(View::new(disk.clone(), head, keys, rows))
}

/// When a write failed.
enum WriteFailure {
    /// Before the transaction's commit: it was dropped.
    Before(StorageFault),
    /// In the commit: it may be on disk.
    AtCommit(StorageFault),
}

fn write(database: &redb::Database, rows: &Rows, head: &[u8]) -> Result<(), WriteFailure> {
    let mut committing = false;
    guarded(|| {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for (locator, row) in rows {
                match row {
                    Some(row) => table.insert(locator, row.as_slice())?,
                    None => table.remove(locator)?,
                };
            }
            transaction.open_table(HEAD)?.insert((), head)?;
        }
        committing = true;
        Ok(transaction.commit()?)
    })
    .map_err(|fault| if committing { WriteFailure::AtCommit(fault) } else { WriteFailure::Before(fault) })
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(fault) => Self::Storage(fault),
            ReadError::Integrity(error) => Self::Integrity(error),
        }
    }
}
