//! The file: its two tables, the head's row, and the one way in which anything is written.
//!
//! One table of rows (`locator -> nonce || ciphertext || tag`) holds pages, entries and journal alike; another holds the head:
//! `format u8 || generation u32 LE || nonce || ciphertext || tag`. The head is written last of all in the same transaction, so it
//! names exactly the rows beside it. The host controls the file.

use crate::{
    cipher::{KeyRing, Locator, Nonces, Place, RingKey},
    error::{IntegrityError, OpenError, ReadError, Row, StorageFault},
    store::Head,
    view::guarded,
    wiped::Wiped,
};
use codec::{DecodeAll, Encode};
use redb::{ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, TableDefinition, TableError};
use std::collections::BTreeMap;

pub(crate) const ROWS: TableDefinition<'static, &'static [u8; 20], &'static [u8]> = TableDefinition::new("rows");
const HEAD: TableDefinition<'static, (), &'static [u8]> = TableDefinition::new("head");
/// The version of everything this crate writes, and of what its caller keeps in it: a file has one version.
const FORMAT: u8 = 6;

/// Rows to write (`Some`) or remove, in the order of the file.
pub(crate) type Rows = BTreeMap<Locator, Option<Vec<u8>>>;

pub(crate) fn seal_head(keys: &KeyRing, head: &Head, nonces: &mut Nonces<'_>) -> Result<Vec<u8>, crate::EntropyError> {
    let plaintext = Wiped::new((head, keys.older()).encode());
    let sealed = keys.seal(&Place::Head(FORMAT), &plaintext, nonces)?;
    let mut row = vec![FORMAT];
    row.extend_from_slice(&keys.current().to_le_bytes());
    row.extend_from_slice(&sealed);
    Ok(row)
}

/// Opens the head under the key that the caller has. Format and generation are the host's word until then.
pub(crate) fn open_head(ring: &KeyRing, row: &[u8]) -> Result<(Head, Vec<RingKey>), OpenError> {
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
pub(crate) fn read_head(database: &redb::Database) -> Result<Option<Vec<u8>>, ReadError> {
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

/// The rows as the last transaction left them.
pub(crate) fn rows(database: &redb::Database) -> Result<ReadOnlyTable<&'static [u8; 20], &'static [u8]>, StorageFault> {
    guarded(|| Ok(database.begin_read()?.open_table(ROWS)?))
}

/// When a write failed.
pub(crate) enum WriteFailure {
    /// Before the transaction's commit: it was dropped.
    Before(StorageFault),
    /// In the commit: it may be on disk.
    AtCommit(StorageFault),
}

pub(crate) fn write(database: &redb::Database, rows: &Rows, head: &[u8]) -> Result<(), WriteFailure> {
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
