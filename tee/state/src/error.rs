//! Why an operation on the store failed, and whose fault it is.
//!
//! Three parties can be at fault: the caller ([`LimitError`], stale batches), the disk ([`StorageFault`]: full, failing),
//! and the host that owns the disk ([`IntegrityError`]: bytes that this machine never wrote there, or wrote earlier). None
//! of them may end the process. Nothing here carries contents of the state.

use phala_protocol::Epoch;
use thiserror::Error;

/// The disk or its driver failed. The store on disk is as the last successful commit left it.
#[derive(Debug, Error)]
pub enum StorageFault {
    /// No room: free some and open the store again.
    #[error("the disk is full: free space, then open the store again")]
    Full,
    /// Reading or writing failed.
    #[error("the disk failed")]
    Io(#[source] std::io::Error),
    /// The file is not a store, or is truncated or altered where its own structure lies.
    #[error("the store's file is damaged; restore it or start from a snapshot")]
    Damaged(#[source] redb::Error),
    /// Another process, or an open view of this one, holds the file.
    #[error("the store is already open, here or in another process")]
    InUse,
    /// An earlier failure left the driver unusable.
    #[error("an earlier failure stopped the store: drop it with all its views and open it again")]
    Reopen,
    /// The driver panicked. It reads only what this machine wrote, so this is a defect of its own, for which the file is taken as damaged.
    #[error("the store's driver gave up over a damaged file; restore it or start from a snapshot")]
    DriverPanicked,
}

impl StorageFault {
    fn from_redb(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
                // What redb says of a file that is not one of its own, or that ends early.
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                    Self::Damaged(redb::Error::Io(error))
                }
                _ => Self::Io(error),
            },
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => Self::Reopen,
            other => Self::Damaged(other),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StorageFault {
            fn from(error: $error) -> Self {
                Self::from_redb(error.into())
            }
        }
    )*};
}

from_redb!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// The disk's contents are not what this machine committed: the host altered, removed, swapped or rewound a part of them.
/// The store cannot be used further; start again from a snapshot or another copy of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IntegrityError {
    /// A row that the commitment says exists is not there.
    #[error("the host removed a {0} that is committed")]
    Missing(Row),
    /// A row does not authenticate under its key at its place.
    #[error("the host altered or moved a {0}")]
    Unauthentic(Row),
    /// A row authenticates, yet is not the one the commitment names: an older one put back.
    #[error("the host put an older {0} back")]
    NotCommitted(Row),
    /// A row authenticates, yet has no valid form.
    #[error("a {0} has no valid form")]
    Malformed(Row),
    /// A row names a generation of keys that the ring does not hold.
    #[error("a row is under keys of epoch {0}, which the ring does not hold")]
    UnknownGeneration(Epoch),
}

/// What a row of the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// The record that names roots, cursor and key ring.
    Head,
    /// A part of a tree.
    Page,
    /// A key with its value.
    Entry,
    /// A boundary whose pages are not written yet.
    Journal,
}

impl core::fmt::Display for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Head => "head",
            Self::Page => "page",
            Self::Entry => "entry",
            Self::Journal => "boundary of the journal",
        })
    }
}

/// Why nothing was read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageFault),
    /// The host.
    #[error(transparent)]
    Integrity(#[from] IntegrityError),
}

impl ReadError {
    /// Whether what was found is not what this machine wrote, which opening the file again does not mend; not a disk that fails to be read.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Integrity(_) | Self::Storage(StorageFault::Damaged(_) | StorageFault::DriverPanicked))
    }
}

/// Why a store did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageFault),
    /// The host.
    #[error(transparent)]
    Integrity(#[from] IntegrityError),
    /// The store is under the keys of another epoch: fetch those, open, then [`rekey`](crate::ClusterStore::rekey).
    #[error("the store is under the storage key of epoch {stored}, not of epoch {given}")]
    Generation {
        /// The epoch whose storage key opens it. The host controls this number: it is a hint.
        stored: Epoch,
        /// The epoch of the key that was given.
        given: Epoch,
    },
    /// The store was written in a newer format, or in an older one, which is not read.
    #[error("the store has format {0}, which this program does not know")]
    Format(u8),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Why nothing was committed. After every variant but `OutcomeUnknown` the store is as before.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The batch began before another commit, rekeying or sweep: begin again.
    #[error("the batch began on a state that is no longer the latest: begin again")]
    Stale,
    /// More bytes than a row may hold; the caller's fault.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Reading what the commit builds on failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk failed while the commit was being written; nothing of it lasts.
    #[error(transparent)]
    Storage(#[from] StorageFault),
    /// The disk failed at the very end: drop the store and its views, open again and look at the cursor.
    #[error("the commit may or may not have reached the disk: open the store again and look at its cursor")]
    OutcomeUnknown(#[source] StorageFault),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl From<IntegrityError> for CommitError {
    fn from(error: IntegrityError) -> Self {
        Self::Read(error.into())
    }
}

/// Why the keys did not change.
#[derive(Debug, Error)]
pub enum RekeyError {
    /// Keys go forward only.
    #[error("the store is already under the storage key of epoch {stored}: epoch {given} is not newer")]
    NotNewer {
        /// The epoch it is under.
        stored: Epoch,
        /// The epoch that was given.
        given: Epoch,
    },
    /// Too many generations are in use: sweep first.
    #[error("the ring is full: sweep the store before it is rekeyed again")]
    RingFull,
    /// Writing the new head failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// More than a row may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitError {
    /// A key beyond [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES).
    #[error("a key of {0} bytes is longer than a key may be")]
    Key(usize),
    /// A value beyond [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES).
    #[error("a value of {0} bytes is longer than a value may be")]
    Value(usize),
    /// A cursor beyond [`MAX_META_BYTES`](crate::MAX_META_BYTES).
    #[error("a cursor of {0} bytes is longer than it may be")]
    Meta(usize),
}

/// The source of randomness gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no randomness is available")]
pub struct EntropyError;
