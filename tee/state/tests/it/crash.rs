//! Kills, power cuts and failing disks: before or after, never between.

use crate::{assert_holds, contract, disk::MemoryDisk, entries, fill, open, try_open, Model, Seeded};
use phala_state::{ClusterStore, CommitError, OpenError, StorageFault, SweepProgress};
use std::{collections::BTreeMap, io::ErrorKind};

/// A boundary that writes, overwrites and removes.
fn boundary(store: &ClusterStore, number: u32, model: &mut Model) -> Result<(), CommitError> {
    let mut batch = store.begin();
    for index in 0..25u32 {
        let key = ((number * 7 + index) % 90).to_le_bytes().to_vec();
        if (number + index).is_multiple_of(4) {
            batch.remove(&contract(1), &key).unwrap();
            model.remove(&(contract(1), key));
        } else {
            let value = vec![number as u8; 1 + index as usize * 20];
            batch.set(&contract(1), &key, value.clone()).unwrap();
            model.insert((contract(1), key), value);
        }
    }
    let records = vec![
        (b"result".to_vec(), Some(number.to_le_bytes().to_vec())),
        ([b"outbox".as_slice(), &[number as u8 % 3]].concat(), Some(vec![number as u8; 64])),
    ];
    store.commit(batch, number.to_le_bytes().to_vec(), records).map(|_| ())
}

/// A boundary that gives three entries another value, as most do in a large state; once in a while one comes or goes.
fn small_boundary(store: &ClusterStore, number: u32, model: &mut Model) -> Result<(), CommitError> {
    let mut batch = store.begin();
    let count = if number == 1 { 50 } else { 3u32 };
    for index in 0..count {
        let key = ((number * 7 + index * 11) % 50).to_le_bytes().to_vec();
        if number % 4 == 3 && index == 2 {
            batch.remove(&contract(2), &key).unwrap();
            model.remove(&(contract(2), key));
        } else {
            let value = vec![number as u8; 16];
            batch.set(&contract(2), &key, value.clone()).unwrap();
            model.insert((contract(2), key), value);
        }
    }
    let records = vec![(b"result".to_vec(), Some(number.to_le_bytes().to_vec()))];
    store.commit(batch, number.to_le_bytes().to_vec(), records).map(|_| ())
}

fn boundary_of(store: &ClusterStore) -> Option<u32> {
    store.view().meta().map(|meta| u32::from_le_bytes(meta.try_into().unwrap()))
}

#[test]
fn power_cut_at_any_moment_leaves_one_whole_boundary() {
    // Every commit writes its pages; a few go to the journal in between; all do.
    [0, 12_000, 1 << 20].into_iter().for_each(|journal_bytes| cut_power(journal_bytes, boundary));
}

#[test]
fn power_cut_at_any_moment_between_small_boundaries_leaves_a_whole_one() {
    // Of the second, pages are written in the middle: what lies over a bucket's leaves has been there for a few boundaries.
    [700, 1 << 20].into_iter().for_each(|journal_bytes| cut_power(journal_bytes, small_boundary));
}

type Boundary = fn(&ClusterStore, u32, &mut Model) -> Result<(), CommitError>;

fn cut_power(journal_bytes: usize, boundary: Boundary) {
    let open = |disk: &MemoryDisk| crate::open_with(disk, journal_bytes);
    let disk = MemoryDisk::default();
    disk.record_history();
    let random = Seeded::new(11);
    let mut store = open(&disk);
    let mut model = Model::new();
    let mut versions: BTreeMap<Option<u32>, Model> = BTreeMap::from([(None, Model::new())]);
    let (mut acknowledged, mut cuts) = (None, 0);
    for number in 0..9u32 {
        if number > 0 {
            boundary(&store, number, &mut model).unwrap();
            versions.insert(Some(number), model.clone());
        }
        if number == 5 {
            drop(store);
            store = open(&disk);
        }
        let moments = disk.take_history();
        let keep = (moments.len() / 6).max(1);
        for (index, moment) in moments.iter().enumerate() {
            let mut disks = vec![moment.cut(|| random.next())];
            if index % keep == 0 {
                disks.extend([moment.nothing(), moment.everything()]);
            }
            for cut in disks {
                let store = match try_open(&cut, 1, 77) {
                    Ok(store) => store,
                    // While the file is made, before anything was acknowledged, there may be no store yet.
                    Err(OpenError::Storage(_)) if number == 0 => continue,
                    Err(error) => panic!("after boundary {number}: {error:?}"),
                };
                let found = boundary_of(&store);
                let in_flight = (number > 0).then_some(number);
                assert!(
                    found == acknowledged || found == in_flight,
                    "{found:?} is neither {acknowledged:?} nor {in_flight:?}"
                );
                assert_holds(&store, &versions[&found]);
                let result = store.view().record(b"result").unwrap();
                assert_eq!(result, found.map(|number| number.to_le_bytes().to_vec()));
                cuts += 1;
            }
        }
        acknowledged = (number > 0).then_some(number);
    }
    assert!(cuts > 40, "{cuts} cuts");
}

/// A page of 16 KiB, of which the library has 9 KB and a checksum of no more, is in blocks of its own: the last may be lost alone.
#[test]
fn whichever_block_of_a_write_is_lost_one_whole_boundary_is_there() {
    for journal_bytes in [0, 1 << 20] {
        let disk = MemoryDisk::default();
        let store = crate::open_with(&disk, journal_bytes);
        let mut versions = BTreeMap::from([(None, Model::new())]);
        let mut model = Model::new();
        for number in 1..=6u32 {
            disk.record_history();
            let mut batch = store.begin();
            let (of, value) = ((contract(1), number.to_le_bytes().to_vec()), vec![number as u8; 9_000]);
            batch.set(&of.0, &of.1, value.clone()).unwrap();
            model.insert(of, value);
            store.commit(batch, number.to_le_bytes().to_vec(), Vec::new()).unwrap();
            versions.insert(Some(number), model.clone());
            let mut found = [0; 2];
            for cut in disk.take_history().iter().flat_map(|moment| moment.without_a_piece(4_112)) {
                let store = try_open(&cut, 1, 77).unwrap();
                let boundary = boundary_of(&store);
                assert_holds(&store, &versions[&boundary]);
                let is_new = boundary == Some(number);
                assert!(is_new || boundary == number.checked_sub(1).filter(|before| *before > 0), "{boundary:?}");
                found[usize::from(is_new)] += 1;
            }
            // What was freed by the commit before is written over, and is missed by nobody.
            assert!(found[0] > 3, "after boundary {number}: {found:?}");
        }
    }
}

#[test]
fn power_cut_at_any_moment_of_a_sweep_loses_no_key_that_a_row_needs() {
    // Every step is written; some are, with boundaries in between; none is before the last.
    for journal_bytes in [0, 20_000, 1 << 20] {
        let disk = MemoryDisk::default();
        disk.record_history();
        let random = Seeded::new(17);
        let store = crate::open_with(&disk, journal_bytes);
        let mut model = entries(260);
        fill(&store, &model, b"");
        store.rekey(crate::key(2)).unwrap();
        disk.take_history();
        let (mut before, mut cuts, mut number) = (model.clone(), 0, 0u32);
        loop {
            number += 1;
            if number % 3 == 1 {
                boundary(&store, number, &mut model).unwrap();
            }
            let done = store.sweep(30).unwrap() == SweepProgress::Done;
            let moments = disk.take_history();
            let keep = (moments.len() / 6).max(1);
            for moment in moments.iter().step_by(keep) {
                let cut = moment.cut(|| random.next());
                let store = crate::try_open_with(&cut, 2, 5, journal_bytes).unwrap();
                let root = store.view().root();
                let held = [&before, &model].into_iter().find(|model| crate::root_of(model) == root);
                let held = held.expect("one whole boundary");
                assert_holds(&store, held);
                while store.sweep(50).unwrap() != SweepProgress::Done {}
                assert_eq!(store.older_keys(), 0);
                drop(store);
                assert_holds(&crate::try_open_with(&cut, 2, 6, journal_bytes).unwrap(), held);
                cuts += 1;
            }
            before.clone_from(&model);
            if done {
                break;
            }
            assert!(number < 60, "a sweep ends");
        }
        assert!(number > 5 && cuts > 5, "{number} steps, {cuts} cuts");
    }
}

#[test]
fn disk_that_fails_at_any_operation_is_an_error_and_leaves_one_whole_boundary() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        let start = {
            let disk = MemoryDisk::default();
            fill(&open(&disk), &entries(60), &7u32.to_le_bytes());
            disk
        };
        let before = entries(60);
        let (mut failures, mut operation) = (0, 0);
        loop {
            let disk = start.copy();
            let store = open(&disk);
            let mut after = before.clone();
            disk.fail_after(operation, kind);
            let outcome = boundary(&store, 8, &mut after);
            let succeeded = outcome.is_ok();
            match outcome {
                Ok(()) => {}
                Err(CommitError::Storage(fault) | CommitError::OutcomeUnknown(fault)) => {
                    match kind {
                        ErrorKind::StorageFull => assert!(matches!(fault, StorageFault::Full), "{fault:?}"),
                        _ => assert!(matches!(fault, StorageFault::Io(_)), "{fault:?}"),
                    }
                    // Nothing more is written until the store is opened again; what was committed is still what is read.
                    let again = boundary(&store, 9, &mut Model::new());
                    assert!(matches!(again, Err(CommitError::Storage(_) | CommitError::Read(_))), "{again:?}");
                    assert_eq!(boundary_of(&store), Some(7));
                    failures += 1;
                }
                Err(error) => panic!("{error:?}"),
            }
            drop(store);
            let store = open(&disk.copy());
            match boundary_of(&store) {
                Some(7) => assert!(
                    !succeeded && {
                        assert_holds(&store, &before);
                        true
                    }
                ),
                Some(8) => assert_holds(&store, &after),
                other => panic!("{other:?}"),
            }
            if succeeded {
                break;
            }
            operation += 1;
        }
        assert!(failures > 3, "{failures} failures");
    }
}

#[test]
fn full_disk_is_survived_by_opening_again() {
    let disk = MemoryDisk::default();
    let mut model = Model::new();
    let store = open(&disk);
    boundary(&store, 1, &mut model).unwrap();
    disk.fail_after(0, ErrorKind::StorageFull);
    let mut lost = model.clone();
    assert!(boundary(&store, 2, &mut lost).is_err());
    drop(store);
    disk.fail_after(u64::MAX, ErrorKind::Other);
    let store = open(&disk);
    assert_holds(&store, &model);
    boundary(&store, 2, &mut model).unwrap();
    assert_holds(&store, &model);
    assert!(disk.operations() > 0);
}

#[test]
fn failing_to_open_is_a_typed_error() {
    let disk = MemoryDisk::default();
    fill(&open(&disk), &entries(10), b"x");
    for operation in 0..3 {
        let disk = disk.copy();
        disk.fail_after(operation, ErrorKind::Other);
        match try_open(&disk, 1, 1) {
            Ok(store) => assert_holds(&store, &entries(10)),
            Err(error) => assert!(matches!(error, OpenError::Storage(StorageFault::Io(_))), "{error:?}"),
        }
    }
    let nowhere =
        ClusterStore::open("/nonexistent/folder/x", crate::key(1), Box::new(Seeded::new(1)), crate::options());
    assert!(matches!(nowhere.err(), Some(OpenError::Storage(StorageFault::Io(_)))));
}
