//! The folder in which snapshots are kept: one file each, of a head that says what it is of, and its sealed parts one after the other.
//!
//! Guarantees: a file has its name when it is whole and on the disk, so that a restart finds whole ones; of each cluster the newest that
//! was made here is kept, and the newest that each peer gave, which counts for less; what a newer one replaces goes at once, or when nobody
//! has read of it for [`IN_USE`], or after [`LONGEST_USE`] whoever reads; all together are held to a number of bytes, half of which is never
//! a peer's, and [`room`] says what goes for what is over it. What a peer gives makes nothing go that another peer gave of the same cluster
//! and epoch, unless TEEs did not get on with that [`MOST_REFUSALS`] times without getting further in it: a TEE that refuses a delivery does
//! not say why, and it may be the only good copy. What a peer gave and TEEs refused as often goes where there is another: ours, or one that
//! is not in doubt. A disk that is full fails what is written, leaves nothing of it behind, and nothing else. Files of other names are left
//! alone.
//!
//! The host controls the folder, which is one relayer's alone; strangers read of it. Does not: look into parts; only TEEs can.

mod room;

use super::PART_BYTES;
use codec::{Decode, Encode};
use phala_protocol::{
    ids::Epoch,
    snapshot::{SnapshotHeader, SnapshotPart, MAX_SNAPSHOT_PARTS},
    ClusterId, Hash,
};
use room::{share_of_peers, Index, Room};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

/// The first bytes of a file.
const MAGIC: [u8; 8] = *b"PHALASN1";
/// Bytes of an encoded [`SnapshotHeader`].
pub(super) const HEADER_BYTES: usize = 88;
/// Bytes before the first part.
pub(super) const HEAD_BYTES: u64 = (MAGIC.len() + HEADER_BYTES) as u64;
/// How long what was replaced is still there for whoever reads it.
const IN_USE: Duration = Duration::from_secs(60);
/// How long it is there at most, whoever reads it: as long as another relayer may take for a whole one.
pub(super) const LONGEST_USE: Duration = Duration::from_secs(4_200);
/// How often TEEs may refuse what a peer gave, and get no further in it, before it goes where there is another.
const MOST_REFUSALS: u32 = 3;
/// How long after a TEE here named its cluster a snapshot may go for the sake of others.
const FORGOTTEN: Duration = Duration::from_secs(3_600);
/// Clusters of which it is remembered that a TEE here named them.
const MOST_NAMED: usize = 1_024;
/// What a file's name ends with while it is not whole.
const PARTIAL: &str = ".partial";

/// Who gave a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A TEE that is served here.
    Own,
    /// Another relayer.
    Peer,
}

impl Origin {
    const fn ending(self) -> &'static str {
        match self {
            Self::Own => ".own.snapshot",
            Self::Peer => ".peer.snapshot",
        }
    }
}

/// A snapshot that is here whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub header: SnapshotHeader,
    pub id: Hash,
    pub parts: u32,
    pub origin: Origin,
    /// The key of the peer that gave it; none for our own, or if the file's name does not say it.
    pub giver: Option<Hash>,
}

impl Kept {
    /// What it rests by: the name of a snapshot is that of its header, and whoever gives it may have put anything beneath.
    pub(super) fn by(&self) -> (Origin, Option<Hash>, Hash) {
        (self.origin, self.giver, self.id)
    }

    fn bytes(&self) -> u64 {
        HEAD_BYTES + u64::from(self.parts) * PART_BYTES
    }

    fn file_name(&self) -> String {
        file_name(&self.id, self.origin, self.giver.as_ref())
    }

    fn place(&self) -> (Epoch, u32) {
        (self.header.epoch, self.header.boundary.block)
    }

    /// Whether this one makes `other` superfluous.
    fn replaces(&self, other: &Self) -> bool {
        let is_older = other.header.epoch < self.header.epoch;
        let is_of_less_worth = self.origin == Origin::Own && other.place() <= self.place();
        let is_other = other.by() != self.by();
        let is_replaced = is_older || other.origin == self.origin || is_of_less_worth;
        is_other && other.header.cluster == self.header.cluster && is_replaced
    }
}

struct Entry {
    kept: Kept,
    /// Since when a newer one is here.
    replaced: Option<Instant>,
    read_at: Option<Instant>,
    /// Whether a TEE here did not get on with it.
    doubted: bool,
    /// How often one did not, since one got further in it than any before.
    failures: u32,
    /// How many of those were refusals.
    refusals: u32,
    /// Parts that a TEE has taken of it at most, since the state was taken over from it.
    reached: u32,
}

impl Entry {
    fn new(kept: Kept, replaced: Option<Instant>) -> Self {
        Self { kept, replaced, read_at: None, doubted: false, failures: 0, refusals: 0, reached: 0 }
    }

    /// Whether it stays where `of` comes, of which nothing is known: another peer gave this one, of the same cluster and epoch, and it did not
    /// fail often enough.
    fn stays_beside(&self, of: &Kept) -> bool {
        let (kept, header) = (&self.kept, &self.kept.header);
        let are_of_peers = kept.origin == Origin::Peer && of.origin == Origin::Peer;
        let are_of_one_epoch = header.cluster == of.header.cluster && header.epoch == of.header.epoch;
        let are_of_one_giver = kept.giver.is_some() && kept.giver == of.giver;
        are_of_peers && are_of_one_epoch && !are_of_one_giver && self.failures < MOST_REFUSALS
    }

    /// Whether a peer gave it, and TEEs have refused it often enough.
    fn is_given_up(&self) -> bool {
        self.kept.origin == Origin::Peer && self.refusals >= MOST_REFUSALS
    }

    fn forgive(&mut self) {
        (self.doubted, self.failures, self.refusals) = (false, 0, 0);
    }

    /// Whether it was replaced and is read no more, or was for long enough.
    fn is_over(&self, now: Instant) -> bool {
        let is_past = |since: Instant, length: Duration| now.saturating_duration_since(since) >= length;
        let is_unread = self.read_at.is_none_or(|read| is_past(read, IN_USE));
        self.replaced.is_some_and(|since| is_unread || is_past(since, LONGEST_USE))
    }
}

/// The folder.
pub(crate) struct Folder {
    path: PathBuf,
    most_bytes: u64,
    index: Mutex<Index>,
}

impl Folder {
    /// The folder at `path` with what is in it. It is made when the first snapshot is written.
    pub(crate) fn open(path: PathBuf, most_bytes: u64) -> Self {
        let folder = Self { path, most_bytes, index: Mutex::default() };
        let found = found_in(&folder.path).unwrap_or_else(|error| {
            tracing::warn!(folder = %folder.path.display(), %error, "cannot look for snapshots");
            Vec::new()
        });
        for kept in found {
            folder.enter(kept, Instant::now());
        }
        folder
    }

    /// A panic elsewhere cannot leave it half changed.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of parts of the largest snapshot that there is ever room for when a peer gives it.
    pub(crate) fn most_of_peers(&self) -> u64 {
        share_of_peers(self.most_bytes).saturating_sub(HEAD_BYTES)
    }

    /// Notes that a TEE here named a cluster, in an epoch.
    pub(crate) fn name(&self, cluster: ClusterId, epoch: Epoch, now: Instant) {
        let mut index = self.index();
        if index.named.len() >= MOST_NAMED {
            index.named.retain(|_, (_, named)| now.saturating_duration_since(*named) < FORGOTTEN);
        }
        let former = index.named.get(&cluster).map(|(epoch, _)| *epoch);
        if index.named.len() < MOST_NAMED || former.is_some() {
            // One that is behind names a former epoch.
            index.named.insert(cluster, (former.map_or(epoch, |former| former.max(epoch)), now));
        }
    }

    /// What is here of a cluster.
    pub(crate) fn of(&self, cluster: ClusterId) -> Vec<Kept> {
        let index = self.index();
        let is_of_it = |entry: &&Entry| entry.replaced.is_none() && entry.kept.header.cluster == cluster;
        index.entries.iter().filter(is_of_it).map(|entry| entry.kept).collect()
    }

    /// The snapshots of this name, also while they are there for those only who read them: ours and a peer's, what is in doubt last.
    pub(crate) fn all(&self, id: &Hash) -> Vec<Kept> {
        let index = self.index();
        let mut found: Vec<&Entry> = index.entries.iter().filter(|entry| entry.kept.id == *id).collect();
        found.sort_by_key(|entry| (entry.doubted, entry.kept.origin != Origin::Own));
        found.into_iter().map(|entry| entry.kept).collect()
    }

    /// The first of them.
    pub(crate) fn get(&self, id: &Hash) -> Option<Kept> {
        self.all(id).first().copied()
    }

    /// Whether a TEE here did not get on with it.
    pub(crate) fn is_doubted(&self, kept: &Kept) -> bool {
        self.index().entries.iter().any(|entry| entry.kept == *kept && entry.doubted)
    }

    /// A TEE here did not get on with it, or even refused it: it counts for least, and goes if a peer gave it, that is enough, and there is
    /// another.
    pub(crate) fn doubt(&self, kept: &Kept, is_refused: bool) {
        let mut index = self.index();
        let Some(entry) = index.entries.iter_mut().find(|entry| entry.kept == *kept) else { return };
        entry.doubted = true;
        entry.failures = entry.failures.saturating_add(1);
        entry.refusals = entry.refusals.saturating_add(u32::from(is_refused));
        self.let_go(&mut index);
    }

    /// A TEE here has taken as many parts of it. Whether none had taken as many: then it is in doubt no more. One that begins again and again
    /// gets no further.
    pub(crate) fn reach(&self, kept: &Kept, parts: u32) -> bool {
        let mut index = self.index();
        let Some(entry) = index.entries.iter_mut().find(|entry| entry.kept == *kept && entry.reached < parts) else {
            return false;
        };
        entry.reached = parts;
        entry.forgive();
        self.let_go(&mut index);
        true
    }

    /// A TEE here has taken the state over from it.
    pub(crate) fn trust(&self, kept: &Kept) {
        let mut index = self.index();
        for entry in index.entries.iter_mut().filter(|entry| entry.kept == *kept) {
            entry.reached = 0;
            entry.forgive();
        }
        self.let_go(&mut index);
    }

    /// Removes what is given up, where there is another of its cluster and epoch: ours, or one that is not in doubt.
    fn let_go(&self, index: &mut Index) {
        let of = |entry: &Entry| (entry.kept.header.cluster, entry.kept.header.epoch);
        let is_better = |entry: &&Entry| {
            let is_trusted = entry.kept.origin == Origin::Own || !entry.doubted;
            entry.replaced.is_none() && is_trusted
        };
        let better: BTreeSet<(ClusterId, Epoch)> = index.entries.iter().filter(is_better).map(of).collect();
        let entries = std::mem::take(&mut index.entries).into_iter();
        let (gone, left): (Vec<_>, Vec<_>) =
            entries.partition(|entry| entry.is_given_up() && better.contains(&of(entry)));
        index.entries = left;
        for entry in gone {
            self.remove(&entry.kept);
        }
    }

    /// A part; none where it is not here any more, or has fewer.
    pub(crate) async fn part(&self, of: &Kept, index: u32) -> io::Result<Option<SnapshotPart>> {
        let Kept { header, parts, .. } = of;
        {
            let mut entries = self.index();
            let Some(entry) = entries.entries.iter_mut().find(|entry| entry.kept == *of && index < *parts) else {
                return Ok(None);
            };
            entry.read_at = Some(Instant::now());
        }
        let read = async {
            let mut file = tokio::fs::File::open(self.path.join(of.file_name())).await?;
            file.seek(SeekFrom::Start(HEAD_BYTES + u64::from(index) * PART_BYTES)).await?;
            let mut sealed = vec![0; usize::try_from(PART_BYTES).map_err(io::Error::other)?];
            file.read_exact(&mut sealed).await?;
            Ok::<_, io::Error>(sealed)
        };
        match read.await {
            Ok(sealed) => Ok(Some(SnapshotPart { header: *header, index, last: index + 1 == *parts, sealed })),
            Err(error) => {
                // Somebody took it away: another may come in its place.
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) {
                    self.index().entries.retain(|entry| entry.kept != *of);
                }
                Err(error)
            }
        }
    }

    /// Begins to write a snapshot that `giver` gives, a TEE here if there is none.
    pub(crate) async fn begin(&self, header: &SnapshotHeader, giver: Option<Hash>) -> io::Result<Writer<'_>> {
        self.sweep(Instant::now());
        tokio::fs::create_dir_all(&self.path).await?;
        let (id, origin) = (header.id(), if giver.is_some() { Origin::Peer } else { Origin::Own });
        let kept = Kept { header: *header, id, parts: 0, origin, giver };
        let partial = self.path.join(format!("{}{PARTIAL}", kept.file_name()));
        self.reserve(&kept, HEAD_BYTES)?;
        let begun = Begun { folder: self, partial, kept };
        let file = tokio::fs::File::create(&begun.partial).await?;
        let mut writer = Writer { begun, file };
        writer.file.write_all(&[&MAGIC[..], &header.encode()].concat()).await?;
        writer.file.flush().await?;
        Ok(writer)
    }

    /// Makes room for bytes that are to be written, or refuses them.
    fn reserve(&self, of: &Kept, bytes: u64) -> io::Result<()> {
        let now = Instant::now();
        let mut index = self.index();
        loop {
            match index.room(of, bytes, self.most_bytes, now) {
                Room::Enough => {
                    *index.under_way(of.origin) += bytes;
                    return Ok(());
                }
                Room::Goes(place) => {
                    let gone = index.entries.remove(place);
                    tracing::info!(id = hex::encode(gone.kept.id), "a snapshot goes for the sake of another");
                    self.remove(&gone.kept);
                }
                Room::Full => {
                    let most = self.most_bytes;
                    let message =
                        format!("snapshots may have {most} bytes in all, those of peers half of it; there is no room");
                    return Err(io::Error::new(io::ErrorKind::StorageFull, message));
                }
            }
        }
    }

    fn release(&self, origin: Origin, bytes: u64) {
        let mut index = self.index();
        let under_way = index.under_way(origin);
        *under_way = under_way.saturating_sub(bytes);
    }

    /// A whole one is there; what it replaces goes.
    fn enter(&self, kept: Kept, now: Instant) {
        let mut index = self.index();
        // One file has one place.
        index.entries.retain(|entry| entry.kept.by() != kept.by());
        let is_older_than = |other: &Kept| {
            let is_of_its_kind = other.header.cluster == kept.header.cluster && other.origin == kept.origin;
            is_of_its_kind && other.header.epoch > kept.header.epoch
        };
        let is_old = index.entries.iter().any(|entry| entry.replaced.is_none() && is_older_than(&entry.kept));
        let goes = |entry: &Entry| kept.replaces(&entry.kept) && !entry.stays_beside(&kept);
        for entry in index.entries.iter_mut().filter(|entry| !is_old && goes(entry)) {
            entry.replaced.get_or_insert(now);
        }
        index.entries.push(Entry::new(kept, is_old.then_some(now)));
        self.let_go(&mut index);
        drop(index);
        self.sweep(now);
    }

    /// Removes what was replaced and is not read any more, or was for long.
    fn sweep(&self, now: Instant) {
        let mut index = self.index();
        let entries = std::mem::take(&mut index.entries).into_iter();
        let (gone, left): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.is_over(now));
        index.entries = left;
        for entry in gone {
            self.remove(&entry.kept);
        }
    }

    fn remove(&self, kept: &Kept) {
        let path = self.path.join(kept.file_name());
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "cannot remove a snapshot");
        }
    }
}

/// A file that was begun, and its room. What is not finished leaves nothing behind.
struct Begun<'a> {
    folder: &'a Folder,
    partial: PathBuf,
    /// With the parts that were written.
    kept: Kept,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.folder.release(self.kept.origin, self.kept.bytes());
        // It is not there any more when it was finished.
        let _ = fs::remove_file(&self.partial);
    }
}

/// A snapshot that is being written.
pub(crate) struct Writer<'a> {
    begun: Begun<'a>,
    file: tokio::fs::File,
}

impl Writer<'_> {
    /// Adds the next part.
    pub(crate) async fn add(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.begun.folder.reserve(&self.begun.kept, PART_BYTES)?;
        self.begun.kept.parts += 1;
        self.file.write_all(sealed).await?;
        // What is written is written in the background: this is when it has been.
        self.file.flush().await
    }

    /// All parts are there.
    pub(crate) async fn finish(mut self) -> io::Result<Kept> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        // From here on nothing waits: whoever gives the fetch up would leave a file that nobody knows of.
        let Begun { folder, partial, kept } = &self.begun;
        let whole = folder.path.join(kept.file_name());
        fs::rename(partial, &whole)?;
        // Only the folder knows the new name.
        if let Err(error) = fs::File::open(&folder.path).and_then(|folder| folder.sync_all()) {
            let _ = fs::remove_file(&whole);
            return Err(error);
        }
        folder.enter(*kept, Instant::now());
        Ok(*kept)
    }
}

/// The name of a file says who gave it: two peers may give different things of one name.
fn file_name(id: &Hash, origin: Origin, giver: Option<&Hash>) -> String {
    let giver = giver.map(|giver| format!(".{}", hex::encode(giver))).unwrap_or_default();
    format!("{}{giver}{}", hex::encode(id), origin.ending())
}

/// What a file's name says, if it is one of ours.
fn named(name: &str) -> Option<(Hash, Origin, Option<Hash>)> {
    let hash = |text: &str| -> Option<Hash> { hex::decode(text).ok()?.try_into().ok() };
    let of = |origin: Origin| {
        let stem = name.strip_suffix(origin.ending())?;
        let (id, giver) = match stem.split_once('.') {
            Some((id, giver)) if origin == Origin::Peer => (hash(id)?, Some(hash(giver)?)),
            _ => (hash(stem)?, None),
        };
        (file_name(&id, origin, giver.as_ref()) == name).then_some((id, origin, giver))
    };
    of(Origin::Own).or_else(|| of(Origin::Peer))
}

/// Whole snapshots in a folder; what a former process did not finish is removed.
fn found_in(folder: &Path) -> io::Result<Vec<Kept>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.strip_suffix(PARTIAL).and_then(named).is_some() {
            let _ = fs::remove_file(entry.path());
        } else if let Some((id, origin, giver)) = named(&name) {
            match read_head(&entry.path(), &id, origin) {
                Ok(kept) => found.push(Kept { giver, ..kept }),
                Err(error) => {
                    tracing::warn!(file = name, %error, "this is no whole snapshot; it is left alone");
                }
            }
        }
    }
    found.sort_unstable_by_key(Kept::place);
    Ok(found)
}

/// What a file holds by its head and its length.
fn read_head(file: &Path, id: &Hash, origin: Origin) -> io::Result<Kept> {
    let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut file = fs::File::open(file)?;
    let mut head = [0; MAGIC.len() + HEADER_BYTES];
    file.read_exact(&mut head)?;
    let encoded = head.strip_prefix(&MAGIC).ok_or_else(|| malformed("it begins otherwise"))?;
    let header = SnapshotHeader::decode(&mut &encoded[..]).map_err(|_| malformed("its header is malformed"))?;
    let bytes = file.metadata()?.len().saturating_sub(HEAD_BYTES);
    let parts = u32::try_from(bytes / PART_BYTES).unwrap_or(u32::MAX);
    let is_whole = bytes % PART_BYTES == 0 && (1..=MAX_SNAPSHOT_PARTS).contains(&parts);
    if !is_whole || header.id() != *id {
        return Err(malformed("its length or its header is another's"));
    }
    Ok(Kept { header, id: *id, parts, origin, giver: None })
}

#[cfg(test)]
mod tests;
