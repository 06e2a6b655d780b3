//! Keeps the encrypted, Merkle-committed key-value state of one cluster: every contract's entries, and this machine's
//! own records (last result, outbox), in one file whose disk the host owns.
//!
//! # Guarantees
//! - **Meaning is committed, encryption is not.** [`View::root`] is a function of the plaintext entries alone, the same
//!   on every replica, whatever order they were written in and whatever each machine's keys are. (`tree.rs`)
//! - **The disk reveals sizes and access patterns only.** Keys, values, hashes, cursor and structure are sealed under
//!   keys of this machine; locators are pseudorandom and change with the epoch. The host does see which rows a boundary
//!   touches, row lengths to the byte, and the number of the epoch. (`cipher.rs`)
//! - **What is read is what was committed.** Every page and entry is checked against the root that the head names; a
//!   row that is altered, moved, removed or put back from an earlier time is an [`IntegrityError`].
//! - **Before or after, never between.** A boundary's entries, tree, cursor and records are one storage transaction:
//!   after a kill or power cut at any time all of it is there, or none.
//! - **Writes never block queries.** A [`View`] is a whole, unchanging version; taking one copies a pointer.
//! - **Nothing found in the file ends the process**, and a failing disk is a typed error after which it goes on. The storage library is
//!   handed only what this machine wrote: every block of the file is authenticated when it is opened, and while it is open reads as it
//!   was written last, or is an error. (`tagged.rs`)
//!
//! # Does not do
//! - Detect that the host put back *the whole file* of an earlier time, or an empty one: the head is then an honest old
//!   head. The caller compares [`View::meta`] and [`View::root`] with the chain's last Result before it serves.
//! - Hide access patterns, publish deltas, seal snapshots (it lists what one is made of), decide what a key means, or limit how much a contract stores.
//!
//! # Cost
//! Opening reads the whole file once. A read is log16(n / 32) pages, mostly cached, and one row more if the entry is large. A commit writes a list of its changes; every so
//! often all pages and large entries that changed since are written, once each (`journal.rs`). What that costs a change is bounded by
//! the size of a page, whatever the size of the state. A change of keys costs one more writing of the pages that no boundary has changed by
//! the time that the sweep comes to them. Memory is bounded by [`Options`], beside what views hold and a five hundredth of the file. A view
//! that is kept while boundaries are committed keeps the pages that those replaced: the file grows by what was written
//! since, and shrinks back in use (not in length) when the view is dropped. Keep two or three, not hundreds.
#![forbid(unsafe_code)]

mod batch;
mod cache;
mod cipher;
mod error;
mod file;
mod journal;
mod store;
mod tagged;
#[cfg(feature = "testing")]
pub mod testing;
mod tree;
mod view;
mod wiped;

pub use batch::{Batch, Checkpoint};
pub use cipher::{Entropy, StorageKey};
pub use error::{
    CommitError, EntropyError, IntegrityError, LimitError, OpenError, ReadError, RekeyError, Row, StorageFault,
};
pub use redb::StorageBackend;
pub use store::{ClusterStore, Committed, Options, SweepProgress};
pub use tagged::TaggedFile;
pub use tree::EMPTY_ROOT;
pub use view::{Entry, Record, View};

/// Bytes of a key within its contract.
pub const MAX_KEY_BYTES: usize = 1024;
/// Bytes of a value or a record.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of the caller's cursor.
pub const MAX_META_BYTES: usize = 64 * 1024;
/// Generations of keys that may be in use at once; a sweep brings them back to one.
pub const MAX_RING_KEYS: usize = 64;
