//! What a host who knows a simulated machine's secret does to a file with the storage library that wrote it, for tests; never in what
//! ships.
//!
//! Guarantees: the file is in perfect order afterwards, tags and checksums included, so that it opens, and only the key of the rows tells
//! what was done. Does not: look at the head, or at anything that is sealed.

use crate::{cipher::StorageKey, error::StorageFault, file::ROWS, tagged::TaggedFile, view::guarded};
use phala_crypto::Secret;
use redb::{Database, ReadableTable, StorageBackend};

/// The key of the tags of a machine's file, the same in every epoch. INSECURE: whoever has it makes blocks of the file as he likes.
pub struct FileKey(Secret<[u8; 32]>);

impl FileKey {
    /// The one of the machine that opens its store under `key`.
    pub fn of(key: &StorageKey) -> Self {
        Self(key.file_secret())
    }
}

/// Flips a bit of the longest row of a file that nobody has open: of whatever takes the most room, as whoever sees rows' lengths can. None
/// where there is no row.
///
/// # Errors
/// When the file is not of the machine whose key that is, or the disk fails.
pub fn alter_longest_row(disk: impl StorageBackend, key: &FileKey) -> Result<Option<usize>, StorageFault> {
    guarded(|| {
        let database = Database::builder().create_with_backend(TaggedFile::under(disk, &key.0))?;
        let transaction = database.begin_write()?;
        let length = {
            let mut table = transaction.open_table(ROWS)?;
            let mut longest: Option<([u8; 20], Vec<u8>)> = None;
            for row in table.iter()? {
                let (locator, row) = row?;
                if longest.as_ref().is_none_or(|(_, longest)| longest.len() < row.value().len()) {
                    longest = Some((*locator.value(), row.value().to_vec()));
                }
            }
            if let Some((locator, row)) = longest.as_mut() {
                if let Some(byte) = row.last_mut() {
                    *byte ^= 1;
                }
                table.insert(&*locator, row.as_slice())?;
            }
            longest.map(|(_, row)| row.len())
        };
        transaction.commit()?;
        Ok(length)
    })
}
