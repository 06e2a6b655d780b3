//! The host alters blocks of the file, their bookkeeping and the storage library's checksums of it, at rest and while the file is open:
//! the library sees what this machine wrote, or an error, and does not panic over anything else.

use crate::{
    assert_holds, contract,
    disk::MemoryDisk,
    entries, fill,
    host::{tolerates, tolerates_with, two_boundaries},
    key, open, try_open, Model, Seeded,
};
use phala_crypto::Secret;
use phala_state::{
    ClusterStore, CommitError, OpenError, Options, ReadError, StorageBackend, StorageFault, StorageKey, TaggedFile,
};
use redb::{Database, ReadableDatabase, TableDefinition, TableError};
use std::sync::{
    atomic::{AtomicU32, Ordering},
    Arc,
};

/// The file's layout, written once more.
const BLOCK: usize = 4_096;
const TAGGED: usize = BLOCK + 16;
const HEADER: usize = 512;
const DATA: usize = 8_192;

/// Nothing is kept of the file: all that the storage library makes of it, it reads.
fn uncached() -> Options {
    Options { file_cache_bytes: 0, ..crate::options() }
}

fn newest_header(bytes: &[u8]) -> usize {
    let sequence = |slot: usize| u64::from_le_bytes(bytes[slot + HEADER..slot + HEADER + 8].try_into().unwrap());
    if sequence(0) > sequence(4_096) {
        0
    } else {
        4_096
    }
}

/// The storage library's own file: anybody can take the tags away.
fn stripped(bytes: &[u8]) -> Vec<u8> {
    let header = newest_header(bytes);
    let mut library = bytes[header..header + HEADER].to_vec();
    library.resize(BLOCK, 0);
    bytes[DATA..].chunks_exact(TAGGED).for_each(|block| library.extend_from_slice(&block[..BLOCK]));
    library
}

/// The other way, by somebody without the key: the tags are those of before, and none for blocks that are new.
fn put_back(library: &[u8], bytes: &[u8]) -> Vec<u8> {
    let header = newest_header(bytes);
    let mut altered = bytes[..DATA].to_vec();
    altered[header..header + HEADER].copy_from_slice(&library[..HEADER]);
    let mut tags = bytes[DATA..].chunks_exact(TAGGED).map(|block| block[BLOCK..].to_vec());
    for block in library[BLOCK..].chunks_exact(BLOCK) {
        altered.extend_from_slice(block);
        altered.extend_from_slice(&tags.next().unwrap_or_else(|| vec![0; 16]));
    }
    altered
}

/// Puts blocks of `other` into `bytes`, at the same places, where `choose` says so.
fn mixed(bytes: &[u8], other: &[u8], mut choose: impl FnMut() -> bool) -> Vec<u8> {
    let mut mixed = bytes.to_vec();
    let slots = [0..DATA / 2, DATA / 2..DATA];
    let blocks = (DATA..bytes.len()).step_by(TAGGED).map(|start| start..start + TAGGED);
    for place in slots.into_iter().chain(blocks) {
        if let Some(block) = other.get(place.clone()).filter(|_| choose()) {
            mixed[place].copy_from_slice(block);
        }
    }
    mixed
}

#[test]
fn bookkeeping_that_is_altered_together_with_its_checksums_is_not_parsed() {
    let (disk, model, _, _) = two_boundaries();
    let bytes = disk.bytes();
    // The storage library itself alters it, as it would be altered by whoever computes its checksums.
    let plain = MemoryDisk::of(stripped(&bytes));
    let rows: TableDefinition<'static, &'static [u8; 20], &'static [u8]> = TableDefinition::new("rows");
    for step in 0..4u8 {
        let database = Database::builder().create_with_backend(plain.clone()).unwrap();
        let transaction = database.begin_write().unwrap();
        match step {
            0 => drop(transaction.open_table(rows).unwrap().insert(&[9u8; 20], &[1u8; 9_000][..]).unwrap()),
            1 => drop(transaction.open_table(rows).unwrap().pop_first().unwrap()),
            2 => assert!(transaction.delete_table(rows).unwrap()),
            _ => assert!(transaction.delete_table(TableDefinition::<(), &[u8]>::new("head")).unwrap()),
        }
        transaction.commit().unwrap();
        drop(database);
        let altered = put_back(&plain.bytes(), &bytes);
        assert_ne!(altered, bytes);
        for image in [altered.clone(), [&bytes[..DATA], &altered[DATA..]].concat()] {
            match try_open(&MemoryDisk::of(image), 1, 5) {
                Ok(store) => assert_holds(&store, &model),
                Err(error) => assert!(matches!(error, OpenError::Storage(StorageFault::Damaged(_))), "{error:?}"),
            }
        }
    }
    // What was altered is in order: without tags it would be opened, and has no row.
    let database = Database::builder().create_with_backend(plain).unwrap();
    assert!(matches!(database.begin_read().unwrap().open_table(rows), Err(TableError::TableDoesNotExist(_))));
    assert_eq!(stripped(&put_back(&stripped(&bytes), &bytes)), stripped(&bytes));
    assert_holds(&open(&MemoryDisk::of(put_back(&stripped(&bytes), &bytes))), &model);
}

#[test]
fn any_mixture_of_blocks_opens_as_one_committed_version_or_not_at_all() {
    let disk = MemoryDisk::default();
    let first = entries(90);
    fill(&open(&disk), &first, b"first");
    let before = disk.bytes();
    let mut model = first.clone();
    let store = open(&disk);
    let mut batch = store.begin();
    for number in 0..40u32 {
        let entry = (contract((number % 3) as u8), number.to_le_bytes().to_vec());
        batch.set(&entry.0, &entry.1, b"second".repeat(60)).unwrap();
        model.insert(entry, b"second".repeat(60));
    }
    store.commit(batch, b"second".to_vec(), Vec::new()).unwrap();
    drop(store);
    let bytes = disk.bytes();
    // Of another machine: everything about it is right but whose it is.
    let foreign = MemoryDisk::default();
    let other = StorageKey::derive(1, &Secret::new([1; 32]), b"another machine");
    let store =
        ClusterStore::open_with_backend(foreign.clone(), other, Box::new(Seeded::new(1)), crate::options()).unwrap();
    fill(&store, &model, b"second");
    drop(store);
    let empty = Model::new();
    let versions: [(Option<&[u8]>, &Model); 3] = [(Some(b"second"), &model), (Some(b"first"), &first), (None, &empty)];
    let (random, mut refused, mut whole) = (Seeded::new(21), 0, 0);
    for round in 0..240 {
        let source = if round % 3 == 2 { foreign.bytes() } else { before.clone() };
        let part = [2, 4, 16, 64][random.below(4)];
        let image = mixed(&bytes, &source, || random.below(part) == 0);
        if tolerates(&MemoryDisk::of(image), &versions) {
            whole += 1;
        } else {
            refused += 1;
        }
    }
    assert!(refused > 60 && whole > 0, "{refused} refused, {whole} whole");
    assert!(!tolerates(&MemoryDisk::of(mixed(&bytes, &foreign.bytes(), || true)), &versions));
    // All of it of before is the file of before, which the caller notices.
    assert_eq!(open(&MemoryDisk::of(before)).view().meta(), Some(&b"first"[..]));
}

#[test]
fn whatever_read_finds_an_altered_block_is_an_error_and_ends_nothing() {
    let (disk, model, _, _) = two_boundaries();
    let first = entries(90);
    let empty = Model::new();
    let versions: [(Option<&[u8]>, &Model); 3] = [(Some(b"second"), &model), (Some(b"first"), &first), (None, &empty)];
    // Opening, reading all of it, and a commit: at each read of theirs once.
    let (mut reads, mut unsound) = (0, 0);
    loop {
        let copy = disk.copy();
        copy.alter_read_after(reads);
        let sound = tolerates_with(&copy, &versions, uncached());
        if !copy.has_altered_a_read() {
            assert!(sound);
            break;
        }
        unsound += u32::from(!sound);
        reads += 1;
    }
    assert!(reads > 30 && unsound > 10, "{reads} reads, {unsound} of them with consequences");
}

#[test]
fn whatever_read_of_a_commit_finds_an_altered_block_is_an_error_and_the_file_is_whole_when_it_is_opened_again() {
    let (disk, model, _, _) = two_boundaries();
    let (mut reads, mut failed) = (0, 0);
    loop {
        let copy = disk.copy();
        let store =
            ClusterStore::open_with_backend(copy.clone(), key(1), Box::new(Seeded::new(7)), uncached()).unwrap();
        let mut after = model.clone();
        let mut batch = store.begin();
        for number in 0..30u32 {
            let entry = (contract((number % 3) as u8), number.to_le_bytes().to_vec());
            batch.set(&entry.0, &entry.1, vec![7; 300]).unwrap();
            after.insert(entry, vec![7; 300]);
        }
        batch.root().unwrap();
        copy.alter_read_after(reads);
        let outcome = store.commit(batch, b"third".to_vec(), Vec::new());
        let altered = copy.has_altered_a_read();
        copy.alter_read_after(u64::MAX);
        let committed = match outcome {
            Ok(_) => Some(true),
            Err(CommitError::OutcomeUnknown(fault)) => {
                assert!(!matches!(fault, StorageFault::DriverPanicked), "in a commit it panics twice");
                None
            }
            Err(CommitError::Storage(fault) | CommitError::Read(ReadError::Storage(fault))) => {
                assert!(matches!(fault, StorageFault::Damaged(_) | StorageFault::Reopen), "{fault:?}");
                Some(false)
            }
            Err(error) => panic!("{error:?}"),
        };
        assert!(altered || committed == Some(true));
        failed += u32::from(committed != Some(true));
        drop(store);
        // It was one read alone: the file is as it was left.
        let store = open(&copy);
        let is_after = store.view().meta() == Some(&b"third"[..]);
        assert!(committed.is_none_or(|committed| committed == is_after));
        assert_holds(&store, if is_after { &after } else { &model });
        if !altered {
            break;
        }
        reads += 1;
    }
    assert!(reads > 5 && failed > 3, "{reads} reads, {failed} failures");
}

#[test]
fn blocks_put_back_while_the_file_is_open_are_refused() {
    let disk = MemoryDisk::default();
    let mut model = entries(400);
    let store = ClusterStore::open_with_backend(disk.clone(), key(1), Box::new(Seeded::new(3)), uncached()).unwrap();
    fill(&store, &model, b"first");
    let before = disk.bytes();
    let mut batch = store.begin();
    for number in 0..400u32 {
        let entry = (contract((number % 3) as u8), number.to_le_bytes().to_vec());
        batch.set(&entry.0, &entry.1, vec![9; 500]).unwrap();
        model.insert(entry, vec![9; 500]);
    }
    store.commit(batch, b"second".to_vec(), Vec::new()).unwrap();
    assert_holds(&store, &model);
    let bytes = disk.bytes();
    // Each of them was there once, with the tag that it has.
    disk.alter(|bytes| *bytes = mixed(bytes, &before, || true));
    let (view, mut first) = (store.view(), None);
    for ((contract, key), value) in &model {
        match view.get(contract, key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let error = first.expect("a block of before is not the one that was written last");
    assert!(error.is_damage() && error.to_string().contains("damaged"), "{error:?}");
    drop(view);
    let mut batch = store.begin();
    batch.set(&contract(1), b"after", vec![1; 100]).unwrap();
    let outcome = store.commit(batch, b"third".to_vec(), Vec::new());
    assert!(matches!(outcome, Err(CommitError::Storage(_) | CommitError::Read(_))), "{outcome:?}");
    drop(store);
    // With its own blocks the file is whole.
    assert_holds(&open(&MemoryDisk::of(bytes)), &model);
}

#[test]
fn a_header_that_a_power_cut_tears_leaves_the_one_that_was_synced() {
    let disk = MemoryDisk::default();
    let file = |disk: &MemoryDisk| TaggedFile::new(disk.clone(), &key(1));
    let read = |disk: &MemoryDisk| {
        let mut header = [0; 320];
        file(disk).read(0, &mut header).map(|()| header[100])
    };
    let written = file(&disk);
    assert_eq!(written.len().unwrap(), 0);
    written.set_len(8 * BLOCK as u64).unwrap();
    assert_eq!((written.len().unwrap(), disk.bytes().len()), (8 * BLOCK as u64, DATA + 7 * TAGGED));
    written.write(0, &[1; 320]).unwrap();
    written.sync_data().unwrap();
    // Two that were not synced are at one place.
    for number in 2..4 {
        written.write(0, &[number; 320]).unwrap();
        assert_eq!(read(&disk).unwrap(), number);
        let torn = disk.copy();
        let newest = newest_header(&torn.bytes());
        torn.alter(|bytes| bytes[newest + 200] ^= 1);
        assert_eq!(read(&torn).unwrap(), 1);
        // Whoever goes on from there writes over the torn one.
        let next = file(&torn);
        next.write(0, &[9; 320]).unwrap();
        assert_eq!(read(&torn).unwrap(), 9);
        torn.alter(|bytes| bytes[newest + 200] ^= 1);
        assert_eq!(read(&torn).unwrap(), 1);
        torn.alter(|bytes| bytes[(DATA / 2 - newest) + 200] ^= 1);
        assert!(read(&torn).is_err(), "no header is authentic");
    }
}

#[test]
fn a_block_reads_as_it_was_written_last_or_is_an_error() {
    let disk = MemoryDisk::default();
    let file = TaggedFile::new(disk.clone(), &key(1));
    file.set_len(1_000 * BLOCK as u64).unwrap();
    let read = |file: &TaggedFile, block: u64| {
        let mut content = vec![7; BLOCK];
        file.read(block * BLOCK as u64, &mut content).map(|()| content[5])
    };
    let two: Vec<u8> = [[1; BLOCK], [2; BLOCK]].concat();
    file.write(600 * BLOCK as u64, &two).unwrap();
    assert_eq!((read(&file, 600).unwrap(), read(&file, 601).unwrap()), (1, 2));
    let before = disk.bytes();
    file.write(600 * BLOCK as u64, &[3; BLOCK]).unwrap();
    let after = disk.bytes();
    disk.alter(|bytes| bytes.clone_from(&before));
    assert!(read(&file, 600).is_err(), "an older block with its own tag");
    assert_eq!(read(&file, 601).unwrap(), 2);
    disk.alter(|bytes| bytes.clone_from(&after));
    assert_eq!(read(&file, 600).unwrap(), 3);
    // Blocks at each other's place.
    disk.alter(|bytes| {
        let place = DATA + 599 * TAGGED;
        bytes.copy_within(place..place + TAGGED, place + TAGGED);
    });
    assert!(read(&file, 601).is_err());
    // To whoever has not compared the file yet it is as a block that a power cut tore, and stays so.
    let found = TaggedFile::new(disk.clone(), &key(1));
    assert_eq!((read(&found, 600).unwrap(), read(&found, 601).unwrap(), read(&found, 602).unwrap()), (3, 0, 0));
    disk.alter(|bytes| bytes.clone_from(&after));
    assert_eq!(read(&found, 601).unwrap(), 0);
    found.write(601 * BLOCK as u64, &[4; BLOCK]).unwrap();
    assert_eq!(read(&found, 601).unwrap(), 4);
    // What was cut off is not known any more.
    found.set_len(600 * BLOCK as u64).unwrap();
    found.set_len(1_000 * BLOCK as u64).unwrap();
    assert_eq!(read(&found, 601).unwrap(), 0);
    assert!(read(&found, 1_000).is_err(), "beyond the end");
    assert!(found.read(7, &mut [0; 4_096]).is_err() && found.write(4_097, &[0; 4_096]).is_err(), "not whole blocks");
}

/// It knows how the storage library's header says how it was closed: a library that says so otherwise fails here.
#[test]
fn a_file_that_was_closed_is_compared_as_one_whose_writer_was_killed() {
    fn compares(backend: impl StorageBackend) -> bool {
        let seen = Arc::new(AtomicU32::new(0));
        let counter = seen.clone();
        let mut builder = Database::builder();
        builder.set_repair_callback(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        drop(builder.create_with_backend(backend).unwrap());
        seen.load(Ordering::Relaxed) > 0
    }
    let (disk, ..) = two_boundaries();
    assert!(!compares(MemoryDisk::of(stripped(&disk.bytes()))), "it was closed");
    assert!(compares(TaggedFile::new(disk.copy(), &key(1))));
}
