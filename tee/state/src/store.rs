//! Opening a store, committing a boundary, changing its keys, sweeping it.
//!
//! # Guarantees
//! One writer at a time; a commit is atomic and durable (one fsync) before it is announced; views taken before see the
//! version before. A commit that fails leaves the version before in force, in memory and on disk, unless the error says
//! that its outcome is unknown.
//!
//! # What a commit writes
//! A list of its changes and the head ([`crate::journal`]), or, when the journal has grown to [`Options::journal_bytes`] or what is in
//! memory only to [`Options::unwritten_bytes`], every page and entry that is in memory only, and the head, and no journal any more.
//! Both are one transaction.
//!
//! # Keys
//! [`ClusterStore::rekey`] writes what is in memory only, and seals the head, and in it the key so far, under the new key.
//! Rows move to the new key when they are written next, or when [`ClusterStore::sweep`] comes by, page by page; after a whole sweep the
//! keys that no row is under are forgotten. The trees say which those are, not how far a sweep came. A sweep goes on over changes of
//! keys and restarts. Older copies of the file stay readable to whoever has their keys.
//!
//! The host controls the file; contracts control keys and values.

use crate::{
    batch::{self, Batch, Writes},
    cache::PageCache,
    cipher::{Entropy, KeyRing, Nonces, Place, StorageKey},
    error::{CommitError, LimitError, OpenError, ReadError, RekeyError, StorageFault},
    file::{self, Rows, WriteFailure},
    journal::{self, Replayed},
    tagged::TaggedFile,
    tree::{
        self, unload, CommittedMap, EntryRow, Leaf, Namespace, NodeRef, Page, PageId, Part, Path, RadixTree, Resealed,
        Stale, Subtree, Unloaded,
    },
    view::{guarded, Database, Disk, View, NO_CONTRACT},
    wiped::Wiped,
    MAX_KEY_BYTES, MAX_META_BYTES, MAX_RING_KEYS, MAX_VALUE_BYTES,
};
use codec::{Decode, Encode};
use phala_protocol::{Epoch, Hash};
use redb::StorageBackend;
use std::sync::{
    atomic::{AtomicBool, Ordering},
    Arc, Mutex, PoisonError, RwLock,
};

/// The store of one cluster.
pub struct ClusterStore {
    latest: RwLock<View>,
    writer: Mutex<Writer>,
    disk: Arc<Disk>,
    entropy: Box<dyn Entropy>,
    options: Options,
}

/// Held by whoever writes.
#[derive(Default)]
struct Writer {
    /// A commit's outcome is unknown: what is on disk may be ahead of `latest`.
    stopped: bool,
    /// Rows on the disk that the latest version has no use for, of state and records.
    stale: [Stale; 2],
    /// Bytes of the journal, and of what a sweep did since.
    journal: usize,
    /// About how many bytes of pages and entries are in memory only.
    unwritten: usize,
    /// Where the sweep under way is; the head has where it was when everything was last written.
    sweep: Option<Sweep>,
}

/// How much memory a store may use.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of file pages kept in memory.
    pub file_cache_bytes: usize,
    /// Bytes of verified tree pages kept in memory: about 190 for an entry of 64 bytes.
    pub tree_cache_bytes: usize,
    /// Bytes of changes that a journal holds before the pages they changed are written. More of them make a commit cheaper, above all
    /// in a large state, and opening slower. None: every commit writes its pages.
    pub journal_bytes: usize,
    /// Bytes of changed pages and entries that are in memory only before they are written, whatever room the journal has: one byte
    /// may change a page of several thousand.
    pub unwritten_bytes: usize,
}

impl Default for Options {
    /// 256 MiB of file, 512 MiB of tree, 128 MiB of journal, 1 GiB that is not written: bounds, which a small state does not reach. A full
    /// journal leaves about 700 MB unwritten in a state of 2 * 10^6 small entries (calculated), which then are not in the tree's.
    fn default() -> Self {
        Self {
            file_cache_bytes: 256 << 20,
            tree_cache_bytes: 512 << 20,
            journal_bytes: 128 << 20,
            unwritten_bytes: 1 << 30,
        }
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
    /// The roots of state and records whose pages are on the disk.
    pub stored: (Option<NodeRef>, Option<NodeRef>),
    /// The boundaries since.
    pub journal: Vec<journal::Listed>,
    /// Where the sweep under way goes on.
    sweep: Option<Sweep>,
}

/// A pass over all rows: at its end none is under a key that is older than the newest at its beginning.
#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Sweep {
    /// The newest key when it began.
    target: Epoch,
    namespace: Namespace,
    /// Paths up to here are done.
    after: Option<Path>,
}

/// The roots of a version.
#[derive(Clone, Default)]
pub(crate) struct Trees {
    pub state: Option<Subtree>,
    pub records: Option<Subtree>,
}

impl Trees {
    fn nodes(&self) -> (Option<NodeRef>, Option<NodeRef>) {
        let node = |root: &Option<Subtree>| root.as_ref().map(|root| root.node);
        (node(&self.state), node(&self.records))
    }

    /// The oldest keys that any row of them is under.
    fn oldest(&self) -> Option<Epoch> {
        self.state.iter().chain(&self.records).map(|root| root.node.oldest).min()
    }
}

/// Opens the file in the storage library, which compares all that it can reach with its checksums before it makes anything of it.
fn compared(file: &TaggedFile, options: Options) -> Result<redb::Database, StorageFault> {
    let compares = Arc::new(AtomicBool::new(false));
    let seen = compares.clone();
    let mut builder = redb::Builder::new();
    builder.set_cache_size(options.file_cache_bytes);
    // It tells when it does what it does after a kill, which a file that is found asks it for.
    builder.set_repair_callback(move |_| seen.store(true, Ordering::Relaxed));
    let mut database = builder.create_with_backend(file.clone())?;
    if !compares.load(Ordering::Relaxed) {
        // A new file, or one that was never written.
        database.check_integrity()?;
    }
    // What it can repair is an earlier commit, as an older disk is: the head decides whether that is one.
    file.end_comparing();
    Ok(database)
}

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
        let database = guarded(|| compared(&TaggedFile::at(path, &key)?, options))?;
        Self::with_database(database, key, entropy, options)
    }

    /// As [`Self::open`], on any backend.
    pub fn open_with_backend(
        backend: impl StorageBackend,
        key: StorageKey,
        entropy: Box<dyn Entropy>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let database = guarded(|| compared(&TaggedFile::new(backend, &key), options))?;
        Self::with_database(database, key, entropy, options)
    }

    fn with_database(
        database: redb::Database,
        key: StorageKey,
        entropy: Box<dyn Entropy>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let disk =
            Arc::new(Disk { database: Database::new(database), cache: PageCache::new(options.tree_cache_bytes) });
        let ring = KeyRing::new(key);
        let mut writer = Writer::default();
        let latest = match file::read_head(disk.database.get()?)? {
            Some(row) => {
                let (mut head, older) = file::open_head(&ring, &row)?;
                let (keys, rows) = (Arc::new(ring.with_older(&older)), || file::rows(disk.database.get()?));
                let base = View::new(disk.clone(), Head::default(), Trees::default(), keys.clone(), rows()?);
                let Replayed { trees, stale, bytes, memory } = journal::replay(&base, &head)?;
                (head.state, head.records) = trees.nodes();
                writer = Writer { stopped: false, stale, journal: bytes, unwritten: memory, sweep: head.sweep };
                View::new(disk.clone(), head, trees, keys, rows()?)
            }
            None => {
                let head = Head::default();
                let row = file::seal_head(&ring, &head, &mut Nonces::new(&*entropy))?;
                file::write(disk.database.get()?, &Rows::new(), &row).map_err(|failure| match failure {
                    WriteFailure::Before(fault) | WriteFailure::AtCommit(fault) => fault,
                })?;
                View::new(disk.clone(), head, Trees::default(), Arc::new(ring), file::rows(disk.database.get()?)?)
            }
        };
        Ok(Self { latest: RwLock::new(latest), writer: Mutex::new(writer), disk, entropy, options })
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
        let updated = RadixTree.update(&pages, records_root, &batch::changes(&records), stamp)?;
        let trees = Trees { state: state.root, records: updated.root };
        let unwritten = state.unwritten.saturating_add(updated.unwritten);
        let stale = [state.stale, updated.stale];

        let changes = journal::encode(&entries, &records);
        let head = Head { sequence: stamp.version, meta: Some(meta), ..base.head().clone() };
        let keys = base.keys().clone();
        drop((base, entries, records));
        let fits = writer.has_room(&self.options, changes.len(), unwritten);
        let latest = if fits && head.journal.len() < journal::MAX_BOUNDARIES {
            let latest = self.append(&mut writer, head, trees, keys, &changes)?;
            self.forget(&stale);
            writer.keep(stale, changes.len(), unwritten);
            latest
        } else {
            self.write_all(&mut writer, head, trees, &keys.clone(), keys, stale)?
        };
        Ok(Committed { root: latest.root(), entries: latest.len() })
    }

    /// Moves the store to the storage key of a newer epoch, and writes what is in memory only. Batches under way become stale.
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
        // What a sweep under way passed is under a newer key than the one it began with, which is all that its pass is for.
        let head = Head { sequence: base.head().sequence.saturating_add(1), ..base.head().clone() };
        let (trees, before) = (base.trees().clone(), base.keys().clone());
        drop(base);
        self.write_all(&mut writer, head, trees, &before, keys, Default::default())?;
        Ok(())
    }

    /// Looks at `limit` entries, or up to a page more, and seals the rows under older keys anew that have them, in memory until they are
    /// written with others. Entries of pages that commits wrote since the keys changed count, and cost nothing. The root stays. Batches
    /// under way become stale: call it between boundaries.
    pub fn sweep(&self, limit: usize) -> Result<SweepProgress, CommitError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.current(&writer)?;
        if base.keys().older_count() == 0 {
            return Ok(SweepProgress::Done);
        }
        let begun = Sweep { target: base.generation(), namespace: Namespace::State, after: None };
        let mut sweep = writer.sweep.unwrap_or(begun);
        let stamp = batch::next_stamp(&base);
        let entries = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        let bytes = self.options.unwritten_bytes.saturating_sub(writer.unwritten);
        let reseal = |sweep: &Sweep| {
            let (root, pages) = base.tree(sweep.namespace);
            RadixTree.reseal(&pages, root, Part { after: sweep.after.as_ref(), entries, bytes }, stamp)
        };
        let mut resealed = reseal(&sweep)?;
        if resealed.last.is_none() && sweep.namespace == Namespace::State {
            sweep = Sweep { namespace: Namespace::Records, after: None, ..sweep };
            resealed = reseal(&sweep)?;
        }
        let mut head = Head { sequence: stamp.version, ..base.head().clone() };
        let (mut trees, keys) = (base.trees().clone(), base.keys().clone());
        drop(base);
        let Resealed { update, last, entries, rows } = resealed;
        let Some(last) = last else {
            // The pass is over. What is forgotten does not hang on where it began: the trees say what no row is under.
            let kept = Arc::new(keys.without_older_than(trees.oldest().unwrap_or(keys.current())));
            let done = kept.older_count() == 0;
            writer.sweep = None;
            self.write_all(&mut writer, head, trees, &keys, kept, Default::default())?;
            return Ok(if done { SweepProgress::Done } else { SweepProgress::Continues(0) });
        };
        // Progress counts by itself, so that a sweep that finds nothing to do is written down too.
        let looked_at = usize::try_from(entries).unwrap_or(usize::MAX);
        let bytes = looked_at.saturating_add(usize::try_from(update.unwritten).unwrap_or(0));
        let mut stale: [Stale; 2] = Default::default();
        let [state, records] = &mut stale;
        match sweep.namespace {
            Namespace::State => (trees.state, *state) = (update.root, update.stale),
            Namespace::Records => (trees.records, *records) = (update.root, update.stale),
        }
        let before = writer.sweep.replace(Sweep { after: Some(last), ..sweep });
        if !writer.has_room(&self.options, bytes, update.unwritten) {
            if let Err(error) = self.write_all(&mut writer, head, trees, &keys.clone(), keys, stale) {
                // What was not sealed anew must be looked at again.
                writer.sweep = before;
                return Err(error);
            }
        } else {
            // Nothing was written that could be lost: after a restart the sweep goes on where it was last written.
            (head.state, head.records) = trees.nodes();
            let rows = file::rows(self.disk.database.get()?)?;
            self.announce(View::new(self.disk.clone(), head, trees, keys, rows));
            self.forget(&stale);
            writer.keep(stale, bytes, update.unwritten);
        }
        Ok(SweepProgress::Continues(rows))
    }

    /// How many keys of older epochs are still in use.
    pub fn older_keys(&self) -> usize {
        self.view().keys().older_count()
    }

    /// About how many entries a sweep has still to look at until no older key is needed; none when it is done.
    pub fn unswept(&self) -> u64 {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.view();
        if view.keys().older_count() == 0 {
            return 0;
        }
        let count = |root: &Option<Subtree>| root.as_ref().map_or(0, |root| root.node.count);
        let (state, records) = (count(&view.trees().state), count(&view.trees().records));
        let whole = state.saturating_add(records).saturating_add(1);
        let Some(sweep) = writer.sweep else { return whole };
        // Paths are hashes: as much is behind one as it is large.
        let place = sweep.after.and_then(|path| path.first_chunk::<2>().copied()).map_or(0, u16::from_be_bytes);
        let behind =
            |count: u64| count - u64::try_from(u128::from(count) * u128::from(place) / (1 << 16)).unwrap_or(count);
        let rest = match sweep.namespace {
            Namespace::State => behind(state).saturating_add(records),
            Namespace::Records => behind(records),
        };
        let again = if sweep.target < view.generation() { whole } else { 0 };
        rest.saturating_add(again).saturating_add(1)
    }

    /// The version that a write builds on.
    fn current(&self, writer: &Writer) -> Result<View, CommitError> {
        if writer.stopped {
            return Err(StorageFault::Reopen.into());
        }
        Ok(self.view())
    }

    /// Makes a boundary durable as a list of its changes.
    fn append(
        &self,
        writer: &mut Writer,
        mut head: Head,
        trees: Trees,
        keys: Arc<KeyRing>,
        changes: &[u8],
    ) -> Result<View, CommitError> {
        let mut nonces = Nonces::new(&*self.entropy);
        let mut rows = Rows::new();
        for (place, part) in journal::parts(head.sequence, changes) {
            rows.insert(keys.locator(keys.current(), &place)?, Some(keys.seal(&place, part, &mut nonces)?));
        }
        (head.state, head.records) = trees.nodes();
        head.journal.push((head.sequence, u32::try_from(rows.len()).unwrap_or(u32::MAX)));
        self.write(writer, head, trees, keys, &rows, &mut nonces)
    }

    /// Writes every page and entry that is in memory only, under the present key, and no journal any more. The head is sealed under
    /// the newest of `keys`.
    fn write_all(
        &self,
        writer: &mut Writer,
        mut head: Head,
        trees: Trees,
        present: &KeyRing,
        keys: Arc<KeyRing>,
        stale: [Stale; 2],
    ) -> Result<View, CommitError> {
        let mut nonces = Nonces::new(&*self.entropy);
        let mut rows = Rows::new();
        for place in head.journal.iter().copied().flat_map(journal::places) {
            rows.insert(present.locator(present.current(), &place)?, None);
        }
        // What was replaced goes first: a row sealed anew in the same epoch has the same locator as before.
        for (namespace, stale) in NAMESPACES.into_iter().zip(&writer.stale).chain(NAMESPACES.into_iter().zip(&stale)) {
            for (id, node) in &stale.pages {
                rows.insert(present.locator(node.generation, &Place::Page(namespace, id))?, None);
            }
            for (path, generation) in &stale.entries {
                rows.insert(present.locator(*generation, &Place::Entry(namespace, path))?, None);
            }
        }
        let mut stored = |namespace: Namespace, root: &Option<Subtree>| {
            let cache = &self.disk.cache;
            let mut sealing = Sealing { keys: present, namespace, nonces: &mut nonces, rows: &mut rows, cache };
            root.as_ref().map(|root| unload(PageId::ROOT, root, &mut sealing)).transpose()
        };
        let trees = Trees {
            state: stored(Namespace::State, &trees.state)?,
            records: stored(Namespace::Records, &trees.records)?,
        };
        (head.state, head.records) = trees.nodes();
        head.stored = trees.nodes();
        head.journal.clear();
        head.sweep = writer.sweep;
        let latest = self.write(writer, head, trees, keys, &rows, &mut nonces)?;
        // Views of versions before may have asked for those of the journal again.
        self.forget(&writer.stale);
        self.forget(&stale);
        *writer = Writer { sweep: writer.sweep, ..Writer::default() };
        Ok(latest)
    }

    /// Writes rows and head in one transaction, and announces the version they make.
    fn write(
        &self,
        writer: &mut Writer,
        head: Head,
        trees: Trees,
        keys: Arc<KeyRing>,
        rows: &Rows,
        nonces: &mut Nonces<'_>,
    ) -> Result<View, CommitError> {
        let row = file::seal_head(&keys, &head, nonces)?;
        file::write(self.disk.database.get()?, rows, &row).map_err(|failure| match failure {
            WriteFailure::Before(fault) => CommitError::Storage(fault),
            WriteFailure::AtCommit(fault) => {
                writer.stopped = true;
                CommitError::OutcomeUnknown(fault)
            }
        })?;
        let rows = file::rows(self.disk.database.get()?).map_err(|fault| {
            writer.stopped = true;
            CommitError::OutcomeUnknown(fault)
        })?;
        let latest = View::new(self.disk.clone(), head, trees, keys, rows);
        self.announce(latest.clone());
        Ok(latest)
    }

    /// Takes pages that the latest version has no use for out of the cache, so that they do not drive out what is to be read next: a
    /// page that took the place of one shares what it has in common with it, and is kept by the tree until it is written.
    fn forget(&self, stale: &[Stale; 2]) {
        for (namespace, stale) in NAMESPACES.into_iter().zip(stale) {
            stale.pages.iter().for_each(|(id, node)| self.disk.cache.remove(namespace, id, node));
        }
    }

    fn announce(&self, latest: View) {
        let before = std::mem::replace(&mut *self.latest.write().unwrap_or_else(PoisonError::into_inner), latest);
        // With the lock open again: giving up the last reference to thousands of pages takes milliseconds.
        drop(before);
    }
}

const NAMESPACES: [Namespace; 2] = [Namespace::State, Namespace::Records];

impl Writer {
    /// Whether so many bytes more of journal, and of pages in memory only, are within bounds.
    fn has_room(&self, options: &Options, journal: usize, unwritten: isize) -> bool {
        self.journal.saturating_add(journal) <= options.journal_bytes
            && self.unwritten.saturating_add_signed(unwritten) <= options.unwritten_bytes
    }

    /// Keeps account of changes whose pages are in memory only.
    fn keep(&mut self, stale: [Stale; 2], journal: usize, unwritten: isize) {
        for (all, more) in self.stale.iter_mut().zip(stale) {
            all.extend(more);
        }
        self.journal = self.journal.saturating_add(journal);
        self.unwritten = self.unwritten.saturating_add_signed(unwritten);
    }
}

/// Seals what a tree unloads.
struct Sealing<'a, 'n> {
    keys: &'a KeyRing,
    namespace: Namespace,
    nonces: &'a mut Nonces<'n>,
    rows: &'a mut Rows,
    cache: &'a PageCache,
}

impl Sealing<'_, '_> {
    fn seal(&mut self, place: &Place<'_>, plaintext: &[u8]) -> Result<(), CommitError> {
        let locator = self.keys.locator(self.keys.current(), place)?;
        self.rows.insert(locator, Some(self.keys.seal(place, plaintext, self.nonces)?));
        Ok(())
    }
}

impl Unloaded for Sealing<'_, '_> {
    type Error = CommitError;

    fn page(&mut self, id: &PageId, subtree: &Subtree, page: &Arc<Page>) -> Result<(), CommitError> {
        self.seal(&Place::Page(self.namespace, id), &Wiped::new(page.encode()))?;
        // The next boundary reads most of them again. If this write fails, what was to be the next version names no such row; whoever
        // tries again under the same number puts his own pages here before anything asks for them.
        self.cache.put(self.namespace, id, &subtree.node, page.clone());
        Ok(())
    }

    fn entry(&mut self, leaf: &Leaf, row: &EntryRow) -> Result<(), CommitError> {
        self.seal(&Place::Entry(self.namespace, &leaf.path), &Wiped::new(row.encode()))
    }
}

/// The records of a commit by their path; of two for one key the later one counts.
fn pending_records(records: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<Writes, LimitError> {
    for (key, value) in &records {
        if key.len() > MAX_KEY_BYTES {
            return Err(LimitError::Key(key.len()));
        }
        if let Some(value) = value.as_ref().filter(|value| value.len() > MAX_VALUE_BYTES) {
            return Err(LimitError::Value(value.len()));
        }
    }
    let paths = tree::paths_of(Namespace::Records, records.iter().map(|(key, _)| (&NO_CONTRACT, key.as_slice())));
    let mut pending = Writes::new();
    for (path, (key, value)) in paths.into_iter().zip(records) {
        pending.insert(path, value.map(|value| Arc::new(EntryRow { contract: NO_CONTRACT, key, value })));
    }
    Ok(pending)
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(fault) => Self::Storage(fault),
            ReadError::Integrity(error) => Self::Integrity(error),
        }
    }
}
