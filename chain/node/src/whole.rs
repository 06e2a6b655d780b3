//! Looks whether files of the chain's database were cut, before the database maps them into memory.
//!
//! The database, parity-db, maps more of a value table than its file has, so that it can grow, and believes what its index says of it. An entry
//! that lies behind the end of a file that was cut is a SIGBUS, which ends the process where it first needs it ([`crate::fault`]); an index
//! that was cut is filled up with nothing, so that blocks are gone. But the files have lengths by which that can be seen: a table grows by
//! whole steps, and an index has the length that its name says.
//!
//! Guarantees: a table or an index with a length that the database never gave it, and a description (`metadata`) without its salt, are refused
//! by name and with what to do, before the database reads or writes anything. A description that is empty beside nothing else is what a
//! node leaves that was killed in its first moment, and is removed: the database writes it again. Does not: see a table that was cut to a
//! whole number of steps or was emptied, a log that was cut, behind whose end changes are missing, or altered bytes. The operator, or
//! whatever went wrong with the disk, controls the files.

use crate::disk::DiskFailure;
use std::{collections::BTreeMap, path::Path};

/// By how many bytes a value table grows, from nothing on.
const TABLE_STEP: u64 = 256 * 1024;
/// What an index has before its entries, in bytes.
const INDEX_HEAD: u64 = 16 * 1024;
/// What an index has for each value of the bits that its name ends with, in bytes.
const INDEX_PIECE: u64 = 512;

/// The database's description of itself.
const DESCRIPTION: &str = "metadata";

/// Whether the files of the database in the folder `database` are as long as it made them. There need not be one yet; one that cannot be
/// looked at is left to the database's own word.
///
/// # Errors
/// [`DiskFailure::Cut`], of the first file that is not.
pub fn check(database: &Path) -> Result<(), DiskFailure> {
    let Ok(entries) = std::fs::read_dir(database) else { return Ok(()) };
    // As the database does, by what a link leads to.
    let length = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len());
    let files: BTreeMap<String, u64> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_string_lossy().into_owned(), length(&entry.path()).ok()?)))
        .collect();
    let cut = |file: &str, length: u64| DiskFailure::Cut { path: database.to_owned(), file: file.to_owned(), length };
    let logs = files.iter().any(|(file, length)| file.starts_with("log") && *length > 0);
    if let Some(described) = files.get(DESCRIPTION).copied() {
        let path = database.join(DESCRIPTION);
        let made = logs || files.keys().any(|file| file.starts_with("table_") || file.starts_with("index_"));
        let empty = described == 0 && !made && std::fs::remove_file(&path).is_ok();
        if !empty && std::fs::read_to_string(&path).is_ok_and(|text| !names_its_salt(&text)) {
            return Err(cut(DESCRIPTION, described));
        }
    }
    for (file, length) in &files {
        // An index has its length before the log that fills it goes.
        let emptied = file.starts_with("index_") && *length == 0 && !logs;
        if emptied || !may_have(file, *length) {
            return Err(cut(file, *length));
        }
    }
    Ok(())
}

/// Whether a description has the salt of the database's keys, of 32 bytes: it panics where that is shorter.
fn names_its_salt(description: &str) -> bool {
    let salt = description.lines().find_map(|line| line.strip_prefix("salt="));
    salt.is_some_and(|salt| salt.len() == 64 && salt.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Whether the database's file of this name may have `length` bytes.
fn may_have(name: &str, length: u64) -> bool {
    if name.starts_with("table_") {
        return length.is_multiple_of(TABLE_STEP);
    }
    let bits = name.strip_prefix("index_").and_then(|rest| rest.split_once('_')?.1.parse::<u32>().ok());
    let pieces = bits.and_then(|bits| 1_u64.checked_shl(bits));
    let whole = pieces.and_then(|pieces| pieces.checked_mul(INDEX_PIECE)?.checked_add(INDEX_HEAD));
    whole.is_none_or(|whole| length == 0 || length == whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_whole_steps_and_an_index_what_its_name_says() {
        for whole in [0, TABLE_STEP, 7 * TABLE_STEP] {
            assert!(may_have("table_00_0f", whole));
        }
        for cut in [1, TABLE_STEP / 2, TABLE_STEP - 1, TABLE_STEP + 4096] {
            assert!(!may_have("table_11_ff", cut), "{cut}");
        }
        let whole = 65_536 * 512 + 16 * 1024;
        assert!(may_have("index_00_16", whole) && may_have("index_00_16", 0));
        assert!(may_have("index_03_17", 2 * whole - 16 * 1024));
        for cut in [1, whole / 2, whole - 1, whole + 1] {
            assert!(!may_have("index_00_16", cut), "{cut}");
        }
        // Files of other kinds, and names that say nothing.
        for other in ["metadata", "lock", "log0", "stats.txt", "index_", "index_00_", "index_00_x", "index_00_99"] {
            assert!(may_have(other, 17), "{other}");
        }
    }

    #[test]
    fn a_description_has_its_salt_and_an_index_is_not_emptied_when_its_log_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, bytes: &[u8]| std::fs::write(folder.path().join(file), bytes).unwrap();
        let refused = || match check(folder.path()) {
            Err(DiskFailure::Cut { file, .. }) => Some(file),
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        };
        // Killed in its first moment.
        write(DESCRIPTION, b"");
        assert_eq!(refused(), None);
        assert!(!folder.path().join(DESCRIPTION).exists());
        let whole = format!("version=8\nsalt={}\ncol0=preimage: false", "0f".repeat(32));
        write(DESCRIPTION, whole.as_bytes());
        write("table_00_00", &[0; TABLE_STEP as usize]);
        assert_eq!(refused(), None);
        for cut in [0, 12, 40, 10 + 5 + 63] {
            write(DESCRIPTION, &whole.as_bytes()[..cut]);
            assert_eq!(refused().as_deref(), Some(DESCRIPTION), "{cut}");
        }
        write(DESCRIPTION, whole.as_bytes());
        // What fills an index is in a log, until it is filled.
        write("index_00_16", b"");
        assert_eq!(refused().as_deref(), Some("index_00_16"));
        write("log0", b"changes");
        assert_eq!(refused(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_table_on_another_disk_has_the_length_that_it_has_there() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let table = other.path().join("a table");
        std::fs::write(&table, vec![0; TABLE_STEP as usize]).unwrap();
        std::os::unix::fs::symlink(&table, folder.path().join("table_00_00")).unwrap();
        assert_eq!(check(folder.path()), Ok(()));
        std::fs::write(&table, [0; 9]).unwrap();
        assert!(matches!(check(folder.path()), Err(DiskFailure::Cut { length: 9, .. })));
    }

    #[test]
    fn a_database_that_is_not_there_is_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(check(&folder.path().join("not/yet/there")), Ok(()));
        assert_eq!(check(folder.path()), Ok(()));
        std::fs::write(folder.path().join("table_00_00"), [0; 17]).unwrap();
        let refused = check(folder.path()).unwrap_err();
        let said = refused.to_string();
        assert!(
            said.starts_with("database_cut: ") && said.contains("table_00_00") && said.contains("17 bytes"),
            "{said}"
        );
    }
}
