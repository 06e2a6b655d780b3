//! Boundaries that are durable in the journal, before their pages are written.

use crate::{
    assert_holds, contract,
    disk::MemoryDisk,
    entries, fill,
    host::{altered, rows, Rows},
    key, options, Model, Seeded,
};
use phala_state::{ClusterStore, IntegrityError, OpenError, Options, Row, SweepProgress};

const ROOMY: usize = 1 << 20;

fn try_open(disk: &MemoryDisk, epoch: u32, journal_bytes: usize) -> Result<ClusterStore, OpenError> {
    let options = Options { journal_bytes, ..options() };
    ClusterStore::open_with_backend(disk.clone(), key(epoch), Box::new(Seeded::new(disk.operations())), options)
}

fn open(disk: &MemoryDisk, journal_bytes: usize) -> ClusterStore {
    try_open(disk, 1, journal_bytes).unwrap()
}

/// A boundary that writes, overwrites and removes.
fn boundary(store: &ClusterStore, number: u32, model: &mut Model) {
    let mut batch = store.begin();
    for index in 0..12u32 {
        let key = ((number * 5 + index) % 200).to_le_bytes().to_vec();
        if (number + index).is_multiple_of(5) {
            batch.remove(&contract(1), &key).unwrap();
            model.remove(&(contract(1), key));
        } else {
            let value = vec![number as u8; if index == 7 { 300 } else { 1 + index as usize }];
            batch.set(&contract(1), &key, value.clone()).unwrap();
            model.insert((contract(1), key), value);
        }
    }
    let records = vec![(vec![number as u8 % 7], (!number.is_multiple_of(3)).then(|| vec![number as u8; 40]))];
    store.commit(batch, number.to_le_bytes().to_vec(), records).unwrap();
}

#[test]
fn a_boundary_is_a_list_of_changes_until_its_pages_are_written() {
    let disk = MemoryDisk::default();
    let mut model = entries(500);
    let store = open(&disk, 0);
    fill(&store, &model, b"");
    let before = rows(&disk, store);
    let store = open(&disk, ROOMY);
    boundary(&store, 1, &mut model);
    boundary(&store, 2, &mut model);
    assert_holds(&store, &model);
    let journalled = rows(&disk, store);
    let new: Vec<_> = journalled.iter().filter(|(locator, row)| before.get(*locator) != Some(*row)).collect();
    assert_eq!((new.len(), journalled.len()), (2, before.len() + 2), "nothing but the two boundaries was written");
    // Opened without room for a journal, the next boundary writes everything, and no journal is left.
    let store = open(&disk, 0);
    assert_holds(&store, &model);
    boundary(&store, 3, &mut model);
    assert_holds(&store, &model);
    let written = rows(&disk, store);
    assert!(new.iter().all(|(locator, _)| !written.contains_key(*locator)));
    assert_holds(&open(&disk, ROOMY), &model);
}

#[test]
fn history_does_not_depend_on_when_pages_are_written() {
    let (mut roots, mut counts) = (Vec::new(), Vec::new());
    for journal_bytes in [0, 300, 3_000, ROOMY] {
        let disk = MemoryDisk::default();
        let mut model = Model::new();
        let mut store = open(&disk, journal_bytes);
        for number in 0..60 {
            boundary(&store, number, &mut model);
            if number % 11 == 0 {
                drop(store);
                store = open(&disk, journal_bytes);
                assert_holds(&store, &model);
            }
        }
        assert_holds(&store, &model);
        roots.push(store.view().root());
        let records = store.view().records().unwrap();
        drop(store);
        let store = open(&disk, 0);
        assert_eq!(store.view().records().unwrap(), records);
        boundary(&store, 60, &mut model);
        assert_holds(&store, &model);
        counts.push(rows(&disk, store).len());
    }
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
    // No row is left behind by any of them.
    assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
}

#[test]
fn refuses_a_journal_that_the_host_altered() {
    let disk = MemoryDisk::default();
    let mut model = entries(100);
    let store = open(&disk, ROOMY);
    fill(&store, &model, b"");
    boundary(&store, 1, &mut model);
    let earlier = disk.copy();
    let first = rows(&disk, store);
    let store = open(&disk, ROOMY);
    boundary(&store, 2, &mut model);
    let after = rows(&disk, store);
    assert_eq!((first.len(), after.len()), (2, 3));
    let refused = |disk: MemoryDisk| match try_open(&disk, 1, ROOMY) {
        Err(OpenError::Integrity(error)) => error,
        other => panic!("{:?}", other.err()),
    };
    for (locator, row) in &after {
        assert_eq!(refused(altered(&disk, &[(*locator, None)])), IntegrityError::Missing(Row::Journal));
        let mut flipped = row.clone();
        flipped[20] ^= 1;
        let error = refused(altered(&disk, &[(*locator, Some(&flipped))]));
        assert_eq!(error, IntegrityError::Unauthentic(Row::Journal));
    }
    // A boundary of the same number, which this machine sealed and the disk never acknowledged.
    let store = open(&earlier, ROOMY);
    let mut other = Model::new();
    boundary(&store, 9, &mut other);
    let lost: Rows = rows(&earlier, store).into_iter().filter(|(locator, _)| !first.contains_key(locator)).collect();
    let (locator, row) = lost.iter().next().unwrap();
    assert!(after.contains_key(locator));
    assert_eq!(refused(altered(&disk, &[(*locator, Some(row))])), IntegrityError::NotCommitted(Row::Journal));
    assert_holds(&open(&disk, ROOMY), &model);
}

#[test]
fn older_views_keep_what_was_not_written_in_their_time() {
    let disk = MemoryDisk::default();
    let mut model = entries(150);
    let store = open(&disk, 4_000);
    fill(&store, &model, b"");
    let mut kept = Vec::new();
    for number in 0..40 {
        boundary(&store, number, &mut model);
        kept.push((store.view(), model.clone()));
    }
    for (view, model) in &kept {
        assert_eq!(view.root(), crate::root_of(model));
        for ((contract, key), value) in model {
            assert_eq!(view.get(contract, key).unwrap().as_ref(), Some(value));
        }
    }
}

#[test]
fn no_locator_repeats_from_one_epoch_to_the_next() {
    for journal_bytes in [0, 2_000, ROOMY] {
        let disk = MemoryDisk::default();
        let mut model = entries(120);
        let mut store = open(&disk, journal_bytes);
        fill(&store, &model, b"");
        // Everything that lay on the disk in the epoch that ends, by what the host could see between any two boundaries.
        let (mut seen, mut rows_seen) = (std::collections::BTreeSet::new(), 0usize);
        for epoch in 1..=4u32 {
            let mut present = std::collections::BTreeSet::new();
            for number in 0..6 {
                boundary(&store, epoch * 10 + number, &mut model);
                present.extend(rows(&disk, store).into_keys());
                store = try_open(&disk, epoch, journal_bytes).unwrap();
            }
            rows_seen += present.len();
            assert!(present.is_disjoint(&seen), "epoch {epoch} uses a locator of an epoch before");
            seen.extend(present);
            store.rekey(key(epoch + 1)).unwrap();
            while store.sweep(50).unwrap() != SweepProgress::Done {}
            assert_holds(&store, &model);
        }
        assert!(rows_seen > 100 && seen.len() == rows_seen);
    }
}

#[test]
fn a_sweep_goes_on_over_changes_of_keys_and_restarts() {
    for journal_bytes in [0, 2_000, ROOMY] {
        let disk = MemoryDisk::default();
        let model = entries(300);
        let mut store = open(&disk, journal_bytes);
        fill(&store, &model, b"");
        // So few entries at a time that no pass ends within one epoch: only going on where it was does it ever end.
        let mut forgotten = 0;
        for epoch in 2..=40u32 {
            store.rekey(key(epoch)).unwrap();
            let before = store.unswept();
            store.sweep(40).unwrap();
            store.sweep(40).unwrap();
            if journal_bytes == 0 {
                assert!(before > 0 && store.unswept() != before);
                drop(store);
                store = try_open(&disk, epoch, journal_bytes).unwrap();
            }
            // Four passes' worth of keys at most: without going on there would be as many as epochs, and then no room.
            forgotten += usize::from(store.unswept() > 0);
            assert_holds(&store, &model);
        }
        assert_eq!(forgotten, 39, "a pass is always under way");
        assert!(store.older_keys() <= 10, "{} older keys: passes end", store.older_keys());
        let mut rounds = 0;
        while store.sweep(100).unwrap() != SweepProgress::Done {
            rounds += 1;
            assert!(rounds < 12);
        }
        assert_eq!((store.unswept(), store.older_keys()), (0, 0));
        assert_holds(&store, &model);
        drop(store);
        assert_holds(&try_open(&disk, 40, journal_bytes).unwrap(), &model);
    }
}

#[test]
fn a_sweep_holds_no_more_in_memory_than_a_store_may() {
    let disk = MemoryDisk::default();
    let options = Options { journal_bytes: 64 << 20, unwritten_bytes: 100_000, ..options() };
    let store = ClusterStore::open_with_backend(disk.clone(), key(1), Box::new(Seeded::new(1)), options).unwrap();
    let model = entries(2_000);
    fill(&store, &model, b"");
    store.rekey(key(2)).unwrap();
    let (mut calls, mut writes) = (0, 0);
    loop {
        let before = disk.bytes_written();
        let progress = store.sweep(usize::MAX).unwrap();
        writes += u32::from(disk.bytes_written() > before);
        if progress == SweepProgress::Done {
            break;
        }
        calls += 1;
        assert!(calls < 100);
    }
    assert!(calls > 3 && writes > 3, "{calls} calls, {writes} writes");
    assert_holds(&store, &model);
    drop(store);
    assert_holds(&try_open(&disk, 2, 0).unwrap(), &model);
}

#[test]
fn a_long_boundary_takes_several_rows_of_which_none_may_be_missing() {
    let disk = MemoryDisk::default();
    let store = open(&disk, 8 << 20);
    let model: Model = (0u8..9).map(|key| ((contract(1), vec![key]), vec![key; 50_000])).collect();
    fill(&store, &model, b"");
    assert_holds(&store, &model);
    let written = rows(&disk, store);
    assert_eq!(written.len(), 7, "450,000 bytes in rows of 63 KiB and a rest");
    assert_holds(&open(&disk, 8 << 20), &model);
    for locator in written.keys() {
        let error = try_open(&altered(&disk, &[(*locator, None)]), 1, ROOMY).err();
        assert!(matches!(error, Some(OpenError::Integrity(IntegrityError::Missing(Row::Journal)))), "{error:?}");
    }
    let store = open(&disk, 0);
    fill(&store, &model, b"again");
    assert_holds(&store, &model);
    assert!(rows(&disk, store).keys().all(|locator| !written.contains_key(locator)));
}

#[test]
fn pages_are_written_when_they_take_too_much_memory_whatever_room_the_journal_has() {
    let disk = MemoryDisk::default();
    let options = Options { journal_bytes: 64 << 20, unwritten_bytes: 100_000, ..options() };
    let store = ClusterStore::open_with_backend(disk.clone(), key(1), Box::new(Seeded::new(1)), options).unwrap();
    let mut model = entries(2_000);
    fill(&store, &model, b"");
    let (mut appended, mut written) = (0, 0);
    for number in 0..60u32 {
        let before = disk.bytes_written();
        let mut batch = store.begin();
        for index in 0..10u32 {
            let key = (number * 631 + index * 97) % 2_000;
            let key = (contract((key % 3) as u8), key.to_le_bytes().to_vec());
            batch.set(&key.0, &key.1, vec![7; 9]).unwrap();
            model.insert(key, vec![7; 9]);
        }
        store.commit(batch, Vec::new(), Vec::new()).unwrap();
        let count = if disk.bytes_written() - before > 60_000 { &mut written } else { &mut appended };
        *count += 1;
    }
    assert!(appended > 3 * written && written > 2, "{appended} appended, {written} written");
    assert_holds(&store, &model);
    drop(store);
    assert_holds(&open(&disk, 0), &model);
}
