//! The storage library's file, block by block under this machine's key: the library is handed what this machine wrote, or an error.
//!
//! # Guarantees
//! - **At rest**: every block of 4 KiB has a tag (AES-256-GCM-SIV over nothing but associated data, RFC 8452) under a key that only this
//!   machine has, bound to its place. The library's own checksums have no key; with both, whoever can put older blocks back gets a whole
//!   earlier file past the first reading, or nothing. The head says which one it is, and the caller compares it with the chain.
//! - **While it is open**: a block that was read or written reads so again, or as an error. Of each, half a tag is kept in memory. The
//!   header and the length are kept whole and are not read again.
//! - **The first reading is a whole one**: a file that is found is shown to the library as one whose writer was killed, so that it compares
//!   every page that it can reach with the checksum in the page above, from the header down, before it makes anything of one.
//! - **A kill or power cut loses nothing that was synced.** A block and its tag are one write, and the library never writes over a block of
//!   the commit that a synced header has as its own. The header, which it does write over, has two places: it goes to the one that was not
//!   synced last. A block that a cut tore is of no such commit: until the first reading is over, a page of which any block is torn reads as
//!   zeros, which is no page, and the library goes back to the commit before. As a whole, for the library's checksum of a page ends where
//!   its content does. This assumes that a sector is written whole or not at all: neighbouring blocks share one.
//!
//! So the library parses nothing that the host made up. Its panics over such bytes, of which the second within a commit would end the
//! process, cannot be brought about by the file; and where it panics all the same, for a reason of its own, that is caught once
//! (`view.rs`).
//!
//! # Does not do
//! Hide anything: see `cipher.rs`. Notice an older file that is whole, or an empty one: see the crate. Hold against whoever knows what
//! [`StorageKey::derive`] was given for the machine, as all do where that is public: against him the file is as good as its checksums.
//!
//! # The file
//! `header content [512] || sequence u64 LE || tag [16]` at 0 and at 4,096, of which the authentic one with the higher sequence counts;
//! from 8,192 on the blocks from the second one on, `content [4096] || tag [16]` each. The library's header has the first block alone.
//!
//! # Cost
//! About a microsecond or two for each block that is read of the disk or written to it, a 256th of the file, and 8 bytes of memory a
//! block. The host controls the file.

use crate::{cipher::StorageKey, error::StorageFault};
use phala_crypto::{
    aead::{SivKey, NONCE_BYTES, TAG_BYTES},
    Secret,
};
use redb::{backends::FileBackend, BackendError, StorageBackend};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{Error, ErrorKind},
    ops::{Bound, Range},
    path::Path,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    },
};

/// Bytes of a block, the library's page.
const BLOCK: usize = 4_096;
/// A block in the file.
const TAGGED: usize = BLOCK + TAG_BYTES;
/// Bytes of the first block that are kept: the library's header has 320.
const HEADER: usize = 512;
/// The header in the file.
const SLOT: usize = HEADER + size_of::<u64>() + TAG_BYTES;
/// Where the header's two places are.
const SLOTS: [u64; 2] = [0, 4_096];
/// Where the second block is.
const DATA: u64 = 8_192;
/// A longer file is none of this machine's: what the library keeps in memory grows with the length, which is the host's word.
const MAX_BYTES: u64 = 1 << 40;
/// Blocks whose tags are kept together.
const CHUNK: u64 = 512;

/// What the library's header begins with, and after it how the file was left.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// Of that byte: the writer did not close the file; and its pages need no comparing.
const UNCLEAN: u8 = 2;
const TRUSTED: u8 = 4;

/// Instead of half a tag: the block was not read yet.
const UNREAD: u64 = 0;
/// It was not authentic when it was read first.
const REFUSED: u64 = 1;

/// What a tag is of.
#[derive(Clone, Copy)]
enum Place {
    Block(u64),
    Slot(usize),
}

impl Place {
    fn nonce(self) -> [u8; NONCE_BYTES] {
        let (number, kind) = match self {
            Self::Block(number) => (number, 0),
            Self::Slot(number) => (number as u64, 1),
        };
        let mut nonce = [0; NONCE_BYTES];
        nonce.iter_mut().zip(number.to_le_bytes().into_iter().chain([kind])).for_each(|(to, from)| *to = from);
        nonce
    }
}

/// The host put there what this machine did not write there, or not last.
#[derive(Debug, thiserror::Error)]
#[error("the host altered {0} of the store's file")]
struct Altered(String);

fn altered(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, Altered(what.into()))
}

/// The library never asks for this.
fn unaligned() -> Error {
    Error::new(ErrorKind::InvalidInput, "not whole blocks of the store's file")
}

/// A file of blocks with tags, which is one of blocks to the storage library. Clones are the same file.
///
/// [`ClusterStore`](crate::ClusterStore) puts it over what it is given. By itself it is for whoever looks at a store as the library does.
#[derive(Clone)]
pub struct TaggedFile(Arc<Shared>);

struct Shared {
    disk: Box<dyn StorageBackend>,
    key: SivKey,
    /// The library has not compared everything yet.
    comparing: AtomicBool,
    known: RwLock<Known>,
}

/// What is known of the file since it was opened.
#[derive(Default)]
struct Known {
    /// Without tags.
    length: Option<u64>,
    header: Option<Header>,
    /// Half of the tag of each block that was read or written, [`CHUNK`] of them together.
    tags: BTreeMap<u64, Box<[AtomicU64; CHUNK as usize]>>,
}

impl Known {
    fn tag(&self, block: u64) -> Option<&AtomicU64> {
        let place = usize::try_from(block % CHUNK).ok()?;
        self.tags.get(&(block / CHUNK))?.get(place)
    }

    fn has_room(&self, blocks: Range<u64>) -> bool {
        chunks(blocks).all(|chunk| self.tags.contains_key(&chunk))
    }

    fn make_room(&mut self, blocks: Range<u64>) {
        for chunk in chunks(blocks) {
            self.tags.entry(chunk).or_insert_with(|| Box::new([const { AtomicU64::new(UNREAD) }; CHUNK as usize]));
        }
    }

    fn forget_from(&mut self, block: u64) {
        drop(self.tags.split_off(&block.div_ceil(CHUNK)));
        for block in block..block.div_ceil(CHUNK).saturating_mul(CHUNK) {
            if let Some(tag) = self.tag(block) {
                tag.store(UNREAD, Ordering::Relaxed);
            }
        }
    }
}

fn chunks(blocks: Range<u64>) -> Range<u64> {
    blocks.start / CHUNK..blocks.end.div_ceil(CHUNK)
}

/// The library's header as it was written last.
#[derive(Clone)]
struct Header {
    content: [u8; HEADER],
    sequence: u64,
    /// Where it is.
    slot: usize,
    /// Whether it is there for good, so that the other place may be written over.
    synced: bool,
}

impl Header {
    /// Of a new file.
    fn blank() -> Self {
        Self { content: [0; HEADER], sequence: 0, slot: 1, synced: true }
    }

    /// What its tag is of.
    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(SLOT);
        body.extend_from_slice(&self.content);
        body.extend_from_slice(&self.sequence.to_le_bytes());
        body
    }

    /// Has the library compare all pages with their checksums, as it does after a kill.
    fn demand_comparing(&mut self) {
        if self.content.starts_with(MAGIC) {
            if let Some(state) = self.content.get_mut(MAGIC.len()) {
                *state = (*state | UNCLEAN) & !TRUSTED;
            }
        }
    }
}

/// Half a tag, and never what stands for none.
fn half(tag: &[u8]) -> u64 {
    tag.first_chunk::<8>().map_or(REFUSED, |half| u64::from_le_bytes(*half)).max(REFUSED + 1)
}

/// Where a block is in the file.
fn place_of(block: u64) -> Result<u64, Error> {
    let before = block.checked_sub(1).and_then(|blocks| blocks.checked_mul(TAGGED as u64));
    before.and_then(|bytes| bytes.checked_add(DATA)).ok_or_else(unaligned)
}

/// Length of the file when the library's is `length`.
fn with_tags(length: u64) -> Result<u64, Error> {
    if length == 0 {
        return Ok(0);
    }
    if !length.is_multiple_of(BLOCK as u64) {
        return Err(unaligned());
    }
    place_of(length / BLOCK as u64)
}

/// The library's length of a file of so many bytes.
fn without_tags(bytes: u64) -> Result<u64, Error> {
    if bytes == 0 {
        return Ok(0);
    }
    let blocks = bytes.checked_sub(DATA).filter(|data| data.is_multiple_of(TAGGED as u64));
    let length = blocks.map(|data| (data / TAGGED as u64 + 1).saturating_mul(BLOCK as u64));
    length.filter(|length| *length <= MAX_BYTES).ok_or_else(|| altered("the length"))
}

/// The whole blocks that so many bytes at `offset` are.
fn blocks_at(offset: u64, bytes: usize) -> Result<Range<u64>, Error> {
    if !offset.is_multiple_of(BLOCK as u64) || !bytes.is_multiple_of(BLOCK) {
        return Err(unaligned());
    }
    let first = offset / BLOCK as u64;
    let end = u64::try_from(bytes / BLOCK).ok().and_then(|count| first.checked_add(count));
    end.map(|end| first..end).ok_or_else(unaligned)
}

/// Where in the header bytes at `offset` are, if they are there.
fn in_header(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok().filter(|offset| *offset < BLOCK)
}

impl TaggedFile {
    /// Over `disk`, under the key that `key` has for the machine's file: the same in every epoch.
    pub fn new(disk: impl StorageBackend, key: &StorageKey) -> Self {
        Self::under(disk, key.file_key())
    }

    /// Over `disk`, under that key itself.
    pub(crate) fn under(disk: impl StorageBackend, key: &Secret<[u8; 32]>) -> Self {
        let (disk, key) = (Box::new(disk), SivKey::new(key));
        Self(Arc::new(Shared { disk, key, comparing: AtomicBool::new(true), known: RwLock::default() }))
    }

    /// The file at `path`, which is made if there is none.
    pub(crate) fn at(path: impl AsRef<Path>, key: &StorageKey) -> Result<Self, StorageFault> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        Ok(Self::new(FileBackend::new(file.map_err(redb::StorageError::Io)?)?, key))
    }

    /// The library has compared everything that it can reach: from now on what is not authentic is an error.
    pub(crate) fn end_comparing(&self) {
        self.0.comparing.store(false, Ordering::Relaxed);
    }

    // Of what these protect nothing is half written, whatever panics.
    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place has the same nonce whenever it is written: see [`SivKey::tag`].
    fn tag_of(&self, place: Place, content: &[u8]) -> Result<[u8; TAG_BYTES], Error> {
        self.0.key.tag(&place.nonce(), content).map_err(Error::other)
    }

    fn is_authentic(&self, place: Place, content: &[u8], tag: &[u8]) -> bool {
        self.0.key.has_tag(&place.nonce(), content, tag)
    }

    fn measured(&self, known: &mut Known) -> Result<u64, Error> {
        if let Some(length) = known.length {
            return Ok(length);
        }
        let length = without_tags(self.0.disk.len()?)?;
        if length == 0 {
            known.header = Some(Header::blank());
        }
        known.length = Some(length);
        Ok(length)
    }

    fn header<'a>(&self, known: &'a mut Known) -> Result<&'a mut Header, Error> {
        self.measured(known)?;
        let header = match known.header.take() {
            Some(header) => header,
            None => self.found_header()?,
        };
        Ok(known.header.insert(header))
    }

    /// The newest authentic header that the file has.
    fn found_header(&self) -> Result<Header, Error> {
        // A killed process may have left the newest one in the system's memory only. The next one is written over the other.
        self.0.disk.sync_data()?;
        let mut newest: Option<Header> = None;
        for (slot, place) in SLOTS.into_iter().enumerate() {
            let mut bytes = [0; SLOT];
            self.0.disk.read(place, &mut bytes)?;
            let (body, tag) = bytes.split_at(SLOT - TAG_BYTES);
            let parts = body
                .split_first_chunk::<HEADER>()
                .and_then(|(content, rest)| Some((content, rest.first_chunk::<8>()?)));
            let Some((content, sequence)) = parts.filter(|_| self.is_authentic(Place::Slot(slot), body, tag)) else {
                continue;
            };
            let found = Header { content: *content, sequence: u64::from_le_bytes(*sequence), slot, synced: true };
            if newest.as_ref().is_none_or(|newest| newest.sequence < found.sequence) {
                newest = Some(found);
            }
        }
        let mut header = newest.ok_or_else(|| altered("the header"))?;
        header.demand_comparing();
        Ok(header)
    }

    fn read_header(&self, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        let mut known = self.known_mut();
        if self.measured(&mut known)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let content = &self.header(&mut known)?.content;
        let found = content.get(offset..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or_else(unaligned)?);
        Ok(())
    }

    fn write_header(&self, offset: usize, data: &[u8]) -> Result<(), Error> {
        let mut known = self.known_mut();
        let header = self.header(&mut known)?;
        let mut next = header.clone();
        let place = next.content.get_mut(offset..).and_then(|rest| rest.get_mut(..data.len()));
        place.ok_or_else(unaligned)?.copy_from_slice(data);
        next.sequence = next.sequence.saturating_add(1);
        if header.synced {
            next.slot = usize::from(header.slot == 0);
        }
        next.synced = false;
        let mut bytes = next.body();
        bytes.extend_from_slice(&self.tag_of(Place::Slot(next.slot), &bytes)?);
        self.0.disk.write(*SLOTS.get(next.slot).ok_or_else(unaligned)?, &bytes)?;
        *header = next;
        Ok(())
    }

    fn read_blocks(&self, blocks: Range<u64>, out: &mut [u8]) -> Result<(), Error> {
        if !self.known().has_room(blocks.clone()) {
            self.known_mut().make_room(blocks.clone());
        }
        // Held until the end, so that the length is not changed in between; nobody writes these, see `write_blocks`.
        let known = self.known();
        let mut bytes = vec![0; out.len() / BLOCK * TAGGED];
        self.0.disk.read(place_of(blocks.start)?, &mut bytes)?;
        let comparing = self.0.comparing.load(Ordering::Relaxed);
        let mut torn = false;
        for ((block, part), bytes) in blocks.zip(out.chunks_exact_mut(BLOCK)).zip(bytes.chunks_exact(TAGGED)) {
            let wrong = || altered(format!("block {block}"));
            let (content, tag) = bytes.split_at(BLOCK);
            let seen = known.tag(block).ok_or_else(wrong)?;
            let now = if self.is_authentic(Place::Block(block), content, tag) { half(tag) } else { REFUSED };
            // Two that read it first must find the same.
            let before = match seen.compare_exchange(UNREAD, now, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => now,
                Err(before) => before,
            };
            if before == REFUSED && comparing {
                // Torn by a power cut, or altered. It stays so, whatever is there the next time.
                torn = true;
            } else if before == now && now != REFUSED {
                part.copy_from_slice(content);
            } else {
                return Err(wrong());
            }
        }
        if torn {
            // The library reads pages whole, and its checksum ends where a page's content does: of a page with a torn block nothing counts.
            out.fill(0);
        }
        Ok(())
    }

    fn write_blocks(&self, blocks: Range<u64>, data: &[u8]) -> Result<(), Error> {
        let (mut bytes, mut tags) = (Vec::with_capacity(data.len() / BLOCK * TAGGED), Vec::new());
        for (block, content) in blocks.clone().zip(data.chunks_exact(BLOCK)) {
            let tag = self.tag_of(Place::Block(block), content)?;
            bytes.extend_from_slice(content);
            bytes.extend_from_slice(&tag);
            tags.push(half(&tag));
        }
        self.known_mut().make_room(blocks.clone());
        // Others read and write other blocks meanwhile: the library reads none from the file while it writes it.
        let known = self.known();
        self.0.disk.write(place_of(blocks.start)?, &bytes)?;
        for (block, tag) in blocks.zip(tags) {
            if let Some(seen) = known.tag(block) {
                seen.store(tag, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl StorageBackend for TaggedFile {
    fn len(&self) -> Result<u64, Error> {
        self.measured(&mut self.known_mut())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        match in_header(offset) {
            Some(offset) => self.read_header(offset, out),
            None => self.read_blocks(blocks_at(offset, out.len())?, out),
        }
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        if length > MAX_BYTES {
            return Err(ErrorKind::StorageFull.into());
        }
        let bytes = with_tags(length)?;
        let mut known = self.known_mut();
        // Whether the file is a new one is seen before it has a length.
        self.measured(&mut known)?;
        self.0.disk.set_len(bytes)?;
        known.length = Some(length);
        known.forget_from(length / BLOCK as u64);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let before = self.known().header.as_ref().map(|header| header.sequence);
        self.0.disk.sync_data()?;
        let mut known = self.known_mut();
        // One that was written meanwhile may not be there yet.
        if let Some(header) = known.header.as_mut().filter(|header| Some(header.sequence) == before) {
            header.synced = true;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        match in_header(offset) {
            Some(offset) => self.write_header(offset, data),
            None => self.write_blocks(blocks_at(offset, data.len())?, data),
        }
    }

    fn close(&self) -> Result<(), Error> {
        self.0.disk.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.disk.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.disk.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.disk.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.disk.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.disk.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.disk.query_lock_range(start, end)
    }
}

impl std::fmt::Debug for TaggedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaggedFile").field("disk", &self.0.disk).finish_non_exhaustive()
    }
}
