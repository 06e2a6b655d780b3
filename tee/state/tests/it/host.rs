//! The host alters the file: whatever it does, the store answers with what was committed, or with a typed error.
//!
//! Rows are altered here by whoever has the key of the file's blocks too, which a host has not: what holds without it (`blocks.rs`) does
//! not lean on what is below.

use crate::{contract, disk::MemoryDisk, entries, fill, open, root_of, try_open, Model, Seeded};
use phala_state::{
    ClusterStore, CommitError, IntegrityError, OpenError, Options, ReadError, Row, StorageFault, TaggedFile,
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;

const ROWS: TableDefinition<'static, &'static [u8; 20], &'static [u8]> = TableDefinition::new("rows");
const HEAD: TableDefinition<'static, (), &'static [u8]> = TableDefinition::new("head");

pub type Rows = BTreeMap<[u8; 20], Vec<u8>>;

/// The disk as the storage library sees it.
pub fn library(disk: MemoryDisk) -> Database {
    Database::builder().create_with_backend(TaggedFile::new(disk, &crate::key(1))).unwrap()
}

/// What is on the disk once `store` is closed.
pub fn rows(disk: &MemoryDisk, store: ClusterStore) -> Rows {
    drop(store);
    let database = library(disk.copy());
    let table = database.begin_read().unwrap().open_table(ROWS).unwrap();
    let rows =
        table.iter().unwrap().map(|row| row.map(|(key, row)| (*key.value(), row.value().to_vec())).unwrap()).collect();
    rows
}

/// A copy of the disk with other rows, and everything else in perfect order.
pub fn altered(disk: &MemoryDisk, changes: &[([u8; 20], Option<&Vec<u8>>)]) -> MemoryDisk {
    let copy = disk.copy();
    let database = library(copy.clone());
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(ROWS).unwrap();
        for (locator, row) in changes {
            match row {
                Some(row) => table.insert(locator, row.as_slice()).unwrap(),
                None => table.remove(locator).unwrap(),
            };
        }
    }
    transaction.commit().unwrap();
    copy
}

/// Reads everything; panics on any answer that was never committed.
fn read_all(disk: &MemoryDisk, model: &Model) -> Result<(), IntegrityError> {
    let store = match try_open(disk, 1, 5) {
        Ok(store) => store,
        Err(OpenError::Integrity(error)) => return Err(error),
        Err(error) => panic!("{error}"),
    };
    let view = store.view();
    assert_eq!(view.root(), root_of(model));
    let mut first = Ok(());
    for ((contract, key), value) in model {
        match view.get(contract, key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value), "the host chose an answer"),
            Err(ReadError::Integrity(error)) => first = first.and(Err(error)),
            Err(error) => panic!("{error}"),
        }
    }
    match view.records() {
        Ok(records) => assert_eq!(records, [(b"outbox".to_vec(), b"new".to_vec())]),
        Err(ReadError::Integrity(error)) => first = first.and(Err(error)),
        Err(error) => panic!("{error}"),
    }
    first
}

/// Two boundaries: the second changes one entry, a large one, and the record, a small one.
pub fn two_boundaries() -> (MemoryDisk, Model, Rows, Rows) {
    let disk = MemoryDisk::default();
    let mut model = entries(90);
    let store = open(&disk);
    fill(&store, &model, b"first");
    store.commit(store.begin(), b"first".to_vec(), vec![(b"outbox".to_vec(), Some(b"old".to_vec()))]).unwrap();
    let before = rows(&disk, store);
    let store = open(&disk);
    let mut batch = store.begin();
    let changed = (contract(1), 1u32.to_le_bytes().to_vec());
    let second = b"second".repeat(60);
    batch.set(&changed.0, &changed.1, second.clone()).unwrap();
    model.insert(changed, second);
    store.commit(batch, b"second".to_vec(), vec![(b"outbox".to_vec(), Some(b"new".to_vec()))]).unwrap();
    let after = rows(&disk, store);
    assert_eq!(read_all(&disk, &model), Ok(()));
    (disk, model, before, after)
}

#[test]
fn refuses_older_rows_put_back_one_by_one_and_all_together() {
    let (disk, model, before, after) = two_boundaries();
    let changed: Vec<_> = before.iter().filter(|(locator, row)| after.get(*locator) != Some(*row)).collect();
    // The entry, its bucket, the root page; the record's page.
    assert_eq!(changed.len(), 4);
    let mut errors = Vec::new();
    for (locator, row) in &changed {
        errors.push(read_all(&altered(&disk, &[(**locator, Some(*row))]), &model).unwrap_err());
    }
    assert_eq!(errors.iter().filter(|error| **error == IntegrityError::NotCommitted(Row::Entry)).count(), 1);
    assert_eq!(errors.iter().filter(|error| **error == IntegrityError::NotCommitted(Row::Page)).count(), 3);
    // Every combination: only the head names what is current, and it is authenticated by the caller's comparison.
    for combination in 1u32..1 << changed.len() {
        let chosen: Vec<_> = changed
            .iter()
            .enumerate()
            .filter(|(index, _)| combination >> index & 1 == 1)
            .map(|(_, (locator, row))| (**locator, Some(*row)))
            .collect();
        assert!(read_all(&altered(&disk, &chosen), &model).is_err());
    }
}

#[test]
fn refuses_removed_rows() {
    let (disk, model, _, after) = two_boundaries();
    for locator in after.keys() {
        let error = read_all(&altered(&disk, &[(*locator, None)]), &model).unwrap_err();
        assert!(matches!(error, IntegrityError::Missing(Row::Entry | Row::Page)));
    }
}

#[test]
fn refuses_rows_at_each_others_place() {
    let (disk, model, _, after) = two_boundaries();
    let locators: Vec<_> = after.keys().collect();
    let random = Seeded::new(3);
    for _ in 0..60 {
        let (one, other) = (locators[random.below(locators.len())], locators[random.below(locators.len())]);
        if one != other {
            let swapped = altered(&disk, &[(*one, Some(&after[other])), (*other, Some(&after[one]))]);
            assert!(matches!(read_all(&swapped, &model), Err(IntegrityError::Unauthentic(_))));
        }
    }
}

#[test]
fn refuses_every_altered_row() {
    let (disk, model, _, after) = two_boundaries();
    let random = Seeded::new(4);
    for (locator, row) in &after {
        let mut bytes = row.clone();
        let bit = random.below(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(
            read_all(&altered(&disk, &[(*locator, Some(&bytes))]), &model),
            Err(IntegrityError::Unauthentic(_))
        ));
        let short = row[..random.below(row.len())].to_vec();
        assert!(matches!(
            read_all(&altered(&disk, &[(*locator, Some(&short))]), &model),
            Err(IntegrityError::Unauthentic(_))
        ));
    }
}

#[test]
fn refuses_an_altered_or_removed_head() {
    let (disk, ..) = two_boundaries();
    let with_head = |head: Option<Vec<u8>>| {
        let copy = disk.copy();
        let database = library(copy.clone());
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(HEAD).unwrap();
            match head {
                Some(head) => table.insert((), head.as_slice()).unwrap(),
                None => table.remove(()).unwrap(),
            };
        }
        transaction.commit().unwrap();
        drop(database);
        try_open(&copy, 1, 1).err()
    };
    let head = {
        let database = library(disk.copy());
        let table = database.begin_read().unwrap().open_table(HEAD).unwrap();
        let head = table.get(()).unwrap().unwrap().value().to_vec();
        head
    };
    assert!(with_head(Some(head.clone())).is_none());
    assert!(matches!(with_head(None), Some(OpenError::Integrity(IntegrityError::Missing(Row::Head)))));
    assert!(matches!(with_head(Some(Vec::new())), Some(OpenError::Integrity(IntegrityError::Malformed(Row::Head)))));
    assert!(matches!(with_head(Some([vec![1], head[1..].to_vec()].concat())), Some(OpenError::Format(1))));
    assert!(matches!(with_head(Some([vec![4], head[1..].to_vec()].concat())), Some(OpenError::Format(4))));
    let other_epoch = [vec![head[0], 9, 0, 0, 0], head[5..].to_vec()].concat();
    assert!(matches!(with_head(Some(other_epoch)), Some(OpenError::Generation { stored: 9, given: 1 })));
    for index in 5..head.len() {
        let mut altered = head.clone();
        altered[index] ^= 1;
        assert!(matches!(with_head(Some(altered)), Some(OpenError::Integrity(IntegrityError::Unauthentic(Row::Head)))));
    }
}

/// Opens whatever is on the disk and reads all of it: nothing panics, the storage library neither, and what is read was committed once.
pub fn tolerates(disk: &MemoryDisk, versions: &[(Option<&[u8]>, &Model)]) -> bool {
    tolerates_with(disk, versions, crate::options())
}

/// As [`tolerates`], with so much memory.
pub fn tolerates_with(disk: &MemoryDisk, versions: &[(Option<&[u8]>, &Model)], options: Options) -> bool {
    let store = match ClusterStore::open_with_backend(disk.clone(), crate::key(1), Box::new(Seeded::new(6)), options) {
        Ok(store) => store,
        Err(OpenError::Storage(StorageFault::DriverPanicked)) => panic!("the library was shown what the host made up"),
        Err(_) => return false,
    };
    let view = store.view();
    let version = versions.iter().find(|(meta, _)| *meta == view.meta());
    let (_, model) = version.expect("only committed cursors are accepted");
    assert_eq!(view.root(), root_of(model));
    let mut sound = true;
    for ((contract, key), value) in *model {
        match view.get(contract, key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value)),
            Err(ReadError::Storage(StorageFault::DriverPanicked)) => panic!("the library read what the host made up"),
            Err(_) => sound = false,
        }
    }
    // Writing on a damaged file fails or succeeds, and does not end the process.
    drop(view);
    let mut batch = store.begin();
    batch.set(&contract(1), b"after", vec![1; 100]).unwrap();
    match store.commit(batch, b"after".to_vec(), Vec::new()) {
        Ok(_) => {}
        Err(
            CommitError::Storage(StorageFault::DriverPanicked)
            | CommitError::OutcomeUnknown(StorageFault::DriverPanicked)
            | CommitError::Read(ReadError::Storage(StorageFault::DriverPanicked)),
        ) => panic!("the library met with what the host made up in a commit"),
        Err(CommitError::Storage(_) | CommitError::Read(_) | CommitError::OutcomeUnknown(_)) => {}
        Err(error) => panic!("{error}"),
    }
    sound
}

#[test]
fn survives_flipped_bytes_anywhere_in_the_file() {
    let (disk, model, _, _) = two_boundaries();
    let first = entries(90);
    let versions: [(Option<&[u8]>, &Model); 2] = [(Some(b"second"), &model), (Some(b"first"), &first)];
    let (bytes, random, mut refused) = (disk.bytes(), Seeded::new(8), 0);
    // Of one of the header's two places.
    let header: Vec<usize> = (0..540).step_by(9).collect();
    let used: Vec<usize> = (0..bytes.len()).filter(|index| bytes[*index] != 0).collect();
    for round in 0..700 {
        let mut altered = bytes.clone();
        let index = if round < header.len() { header[round] } else { used[random.below(used.len())] };
        altered[index] ^= 1 << random.below(8);
        refused += usize::from(!tolerates(&MemoryDisk::of(altered), &versions));
    }
    assert!(refused > 50, "{refused} of 700 flips were noticed: the others lie in unused space");
}

#[test]
fn survives_truncation_at_any_length() {
    let (disk, model, _, _) = two_boundaries();
    let first = entries(90);
    let empty = Model::new();
    let versions: [(Option<&[u8]>, &Model); 3] = [(Some(b"second"), &model), (Some(b"first"), &first), (None, &empty)];
    let (bytes, random) = (disk.bytes(), Seeded::new(9));
    for length in (0..40).chain((0..80).map(|_| random.below(bytes.len()))) {
        let sound = tolerates(&MemoryDisk::of(bytes[..length].to_vec()), &versions);
        assert!(!sound || length == 0 || length > bytes.len() / 2, "half of a file is no store");
    }
    // An emptied disk is a new store: the missing cursor tells the caller.
    assert_eq!(open(&MemoryDisk::of(Vec::new())).view().meta(), None);
}

#[test]
fn refuses_a_file_that_is_no_store() {
    for bytes in [vec![0; 5000], vec![0xff; 5000], b"redb".to_vec(), (0..9000u32).map(|byte| byte as u8).collect()] {
        let error = try_open(&MemoryDisk::of(bytes), 1, 1).err().unwrap();
        assert!(matches!(error, OpenError::Storage(StorageFault::Damaged(_) | StorageFault::Io(_))), "{error:?}");
    }
}

#[test]
fn refuses_a_second_opening_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.redb");
    let open = || ClusterStore::open(&path, crate::key(1), Box::new(Seeded::new(1)), crate::options());
    let store = open().unwrap();
    fill(&store, &entries(3), b"kept");
    let view = store.view();
    assert!(matches!(open().err(), Some(OpenError::Storage(StorageFault::InUse))));
    drop(store);
    assert!(matches!(open().err(), Some(OpenError::Storage(StorageFault::InUse))), "a view keeps the file open");
    drop(view);
    assert_eq!(open().unwrap().view().meta(), Some(&b"kept"[..]));
}

#[test]
fn a_file_without_its_end_is_refused_as_damaged() {
    let disk = MemoryDisk::default();
    fill(&open(&disk), &entries(300), b"kept");
    let bytes = disk.bytes();
    for eighth in 0..8 {
        let length = (bytes.len() * eighth / 8).max(4_096);
        let cut = MemoryDisk::of(bytes[..length].to_vec());
        let error = try_open(&cut, 1, 5).err().unwrap();
        assert!(matches!(error, OpenError::Storage(_) | OpenError::Integrity(_)), "{length}: {error}");
        assert!(error.to_string().contains("damaged"), "{length}: {error}");
    }
}
