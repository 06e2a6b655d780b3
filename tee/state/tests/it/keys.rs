//! Keys that change, and what the disk shows of them.

use crate::{
    assert_holds, contract, disk::MemoryDisk, entries, fill, host, key, open, options, try_open, Model, Seeded,
};
use phala_crypto::Secret;
use phala_protocol::{domain, hash_value};
use phala_state::{
    ClusterStore, CommitError, Entropy, EntropyError, IntegrityError, OpenError, Options, ReadError, RekeyError, Row,
    StorageFault, StorageKey, SweepProgress, MAX_RING_KEYS,
};
use std::{
    collections::BTreeSet,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
};

#[test]
fn says_whose_key_opens_it_and_refuses_others() {
    let disk = MemoryDisk::default();
    let model = entries(5);
    fill(&open(&disk), &model, b"");
    assert!(matches!(try_open(&disk, 2, 1), Err(OpenError::Generation { stored: 1, given: 2 })));

    let other_machine = StorageKey::derive(1, &Secret::new([1; 32]), b"another machine");
    let refused = ClusterStore::open_with_backend(disk.clone(), other_machine, Box::new(Seeded::new(1)), options());
    assert!(matches!(refused, Err(OpenError::Storage(StorageFault::Damaged(_)))));
    let other_secret = StorageKey::derive(1, &Secret::new([9; 32]), b"this machine");
    let refused = ClusterStore::open_with_backend(disk.clone(), other_secret, Box::new(Seeded::new(1)), options());
    assert!(matches!(refused, Err(OpenError::Integrity(IntegrityError::Unauthentic(Row::Head)))));
    assert_holds(&open(&disk), &model);
}

#[test]
fn entries_of_several_epochs_are_read_and_swept() {
    let disk = MemoryDisk::default();
    let mut model = entries(220);
    let mut store = open(&disk);
    fill(&store, &model, b"cursor");
    let (root, before) = (store.view().root(), host::rows(&disk, store));

    for epoch in 2..=4u32 {
        store = try_open(&disk, epoch - 1, u64::from(epoch)).unwrap();
        store.rekey(key(epoch)).unwrap();
        assert_holds(&store, &model);
        assert!(matches!(store.rekey(key(epoch)), Err(RekeyError::NotNewer { .. })));
        // A few entries move by being written, a few by a sweep that the next change of keys interrupts.
        let mut batch = store.begin();
        for number in 0..10u32 {
            batch.set(&contract(9), &(epoch * 100 + number).to_le_bytes(), vec![1; 8]).unwrap();
            model.insert((contract(9), (epoch * 100 + number).to_le_bytes().to_vec()), vec![1; 8]);
        }
        store.commit(batch, vec![epoch as u8], vec![(b"result".to_vec(), Some(vec![epoch as u8]))]).unwrap();
        assert!(matches!(store.sweep(30).unwrap(), SweepProgress::Continues(1..=30)));
        assert_holds(&store, &model);
        drop(store);
        assert!(matches!(try_open(&disk, epoch - 1, 1), Err(OpenError::Generation { .. })));
    }

    store = try_open(&disk, 4, 50).unwrap();
    let root_before = store.view().root();
    assert_ne!(root, root_before);
    let mut rounds = 0;
    while store.sweep(64).unwrap() != SweepProgress::Done {
        rounds += 1;
        // The sweep's place survives a restart.
        drop(store);
        store = try_open(&disk, 4, 60 + rounds).unwrap();
        assert_holds(&store, &model);
        assert!(rounds < 20);
    }
    assert_eq!(store.view().root(), root_before);
    assert_eq!(store.view().record(b"result").unwrap(), Some(vec![4]));
    let after = host::rows(&disk, store);
    let old: BTreeSet<_> = before.keys().collect();
    assert!(after.keys().all(|locator| !old.contains(locator)), "locators never repeat across epochs");
    // 44 large entries, the record's page, and the state's: 17 pages at most hold 250 leaves.
    assert!((44 + 2..=44 + 1 + 17).contains(&after.len()), "{} rows: the old ones are gone", after.len());
    assert_holds(&try_open(&disk, 4, 99).unwrap(), &model);
}

#[test]
fn pages_that_commits_wrote_since_the_keys_changed_are_not_sealed_again() {
    let disk = MemoryDisk::default();
    let model = entries(600);
    let store = open(&disk);
    fill(&store, &model, b"");
    store.rekey(key(2)).unwrap();
    // All small entries have another value, and the large ones the same again: every page is written, and no large entry's row.
    let model: Model = model
        .into_iter()
        .map(|((contract, key), value)| {
            let value = if value.len() > 200 { value } else { [value, vec![b'!']].concat() };
            ((contract, key), value)
        })
        .collect();
    fill(&store, &model, b"");
    let written = host::rows(&disk, store);
    let store = try_open(&disk, 2, 7).unwrap();
    let large = model.values().filter(|value| value.len() > 200).count();
    let (mut sealed, mut rounds) = (0, 0);
    while let SweepProgress::Continues(rows) = store.sweep(100).unwrap() {
        (sealed, rounds) = (sealed + rows, rounds + 1);
        assert!(rounds < 20);
    }
    assert!(large > 100 && sealed == large, "{sealed} rows were sealed anew, of {large} large entries");
    assert_holds(&store, &model);
    // Once more, with all large ones written as well: there is nothing to do, and what is on the disk stays as it is.
    store.rekey(key(3)).unwrap();
    let model: Model = model.into_iter().map(|(key, value)| (key, [value, vec![b'?']].concat())).collect();
    fill(&store, &model, b"");
    let before = host::rows(&disk, store);
    assert!(before.keys().all(|locator| !written.contains_key(locator)));
    let store = try_open(&disk, 3, 8).unwrap();
    assert!(store.older_keys() > 0);
    while let SweepProgress::Continues(rows) = store.sweep(100).unwrap() {
        assert_eq!(rows, 0);
    }
    assert_eq!(store.older_keys(), 0);
    assert!(host::rows(&disk, store) == before);
    assert_holds(&try_open(&disk, 3, 9).unwrap(), &model);
}

/// A store of which a part was swept, and what the host kept of the disk as it was then.
fn half_swept(model: &Model) -> (MemoryDisk, host::Rows) {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    fill(&store, model, b"");
    store.rekey(key(2)).unwrap();
    store.sweep(40).unwrap();
    let kept = host::rows(&disk, store);
    (disk, kept)
}

/// The disk, with all rows as they were when the host kept them, beside those that came since.
fn with_rows_of_before(disk: &MemoryDisk, kept: &host::Rows, store: ClusterStore) -> MemoryDisk {
    let present = host::rows(disk, store);
    let put_back: Vec<_> = kept.iter().filter(|(locator, row)| present.get(*locator) != Some(*row)).collect();
    // The root page has been sealed again at its place; pages and large entries were under the older keys.
    assert!(put_back.len() > 3);
    host::altered(disk, &put_back.into_iter().map(|(locator, row)| (*locator, Some(row))).collect::<Vec<_>>())
}

#[test]
fn pages_put_back_from_earlier_in_a_sweep_are_looked_at_again_and_cost_no_key_that_they_need() {
    let model = entries(300);
    let (disk, kept) = half_swept(&model);
    let store = try_open(&disk, 2, 2).unwrap();
    store.sweep(40).unwrap();
    let disk = with_rows_of_before(&disk, &kept, store);
    // They have the root that the head names; where the sweep is, they are not under the newer keys any more.
    let store = try_open(&disk, 2, 3).unwrap();
    assert_holds(&store, &model);
    let mut rounds = 0;
    while store.sweep(40).unwrap() != SweepProgress::Done {
        assert_holds(&store, &model);
        rounds += 1;
        assert!(rounds < 30);
    }
    assert_eq!(store.older_keys(), 0);
    assert_holds(&store, &model);
    drop(store);
    assert_holds(&try_open(&disk, 2, 4).unwrap(), &model);
}

#[test]
fn pages_put_back_after_a_sweep_whose_keys_are_forgotten_are_refused() {
    let model = entries(300);
    let (disk, kept) = half_swept(&model);
    let store = try_open(&disk, 2, 2).unwrap();
    while store.sweep(40).unwrap() != SweepProgress::Done {}
    let disk = with_rows_of_before(&disk, &kept, store);
    let store = try_open(&disk, 2, 3).unwrap();
    let forgotten = |error: &ReadError| matches!(error, ReadError::Integrity(IntegrityError::UnknownGeneration(1)));
    let mut refused = 0;
    for ((contract, key), value) in &model {
        match store.view().get(contract, key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value)),
            Err(error) => {
                assert!(forgotten(&error), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && refused < model.len(), "{refused} of {}", model.len());
    // A sweep comes to them and says so, and forgets nothing more.
    store.rekey(key(3)).unwrap();
    let error = (0..30).find_map(|_| store.sweep(40).err());
    assert!(matches!(&error, Some(CommitError::Read(error)) if forgotten(error)), "{error:?}");
    assert_eq!(store.older_keys(), 1);
}

/// A generator that gives so many times more.
struct Ending(Arc<AtomicU64>, Seeded);

impl Entropy for Ending {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let left = self.0.load(Ordering::Relaxed).checked_sub(1).ok_or(EntropyError)?;
        self.0.store(left, Ordering::Relaxed);
        self.1.fill(buffer)
    }
}

#[test]
fn a_sweep_that_was_not_written_leaves_nothing_that_is_read_later() {
    let (disk, left, model) = (MemoryDisk::default(), Arc::new(AtomicU64::new(u64::MAX)), entries(300));
    let options = Options { tree_cache_bytes: 4 << 20, ..options() };
    let entropy = Box::new(Ending(left.clone(), Seeded::new(1)));
    let store = ClusterStore::open_with_backend(disk.clone(), key(1), entropy, options).unwrap();
    fill(&store, &model, b"");
    store.rekey(key(2)).unwrap();
    // Nonces are drawn 64 at once: most of the 77 rows are sealed, and their pages kept in memory, as of a version that never comes.
    left.store(1, Ordering::Relaxed);
    assert!(matches!(store.sweep(1_000), Err(CommitError::Entropy(_))));
    left.store(u64::MAX, Ordering::Relaxed);
    assert_eq!((store.older_keys(), store.unswept()), (1, 301), "it begins where it was");
    // The next try has that version's number, and a smaller part.
    let mut rounds = 0;
    while store.sweep(40).unwrap() != SweepProgress::Done {
        assert_holds(&store, &model);
        rounds += 1;
        assert!(rounds < 20);
    }
    assert!(rounds > 3, "{rounds} rounds");
    assert_holds(&store, &model);
    drop(store);
    assert_holds(&try_open(&disk, 2, 9).unwrap(), &model);
}

#[test]
fn ring_is_bounded() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    fill(&store, &entries(3), b"");
    for epoch in 2..2 + MAX_RING_KEYS as u32 {
        store.rekey(key(epoch)).unwrap();
    }
    assert!(matches!(store.rekey(key(1000)), Err(RekeyError::RingFull)));
    while store.sweep(100).unwrap() != SweepProgress::Done {}
    store.rekey(key(1000)).unwrap();
    assert_holds(&store, &entries(3));
}

#[test]
fn disk_shows_no_plaintext_hash_or_key() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let canary = |what: &str| format!("CANARY-{what}-0123456789abcdef").into_bytes();
    let id = phala_protocol::ContractId(*b"CANARY-CONTRACT-0123456789abcdef");
    let mut model = Model::new();
    model.insert((id, canary("KEY")), canary("VALUE"));
    for number in 0u8..60 {
        model.insert((id, [canary("KEY"), vec![number]].concat()), canary("VALUE"));
    }
    let mut batch = store.begin();
    for ((contract, key), value) in &model {
        batch.set(contract, key, value.clone()).unwrap();
    }
    let records = vec![(canary("RECORD-KEY"), Some(canary("RECORD")))];
    store.commit(batch, canary("META"), records).unwrap();
    store.rekey(key(2)).unwrap();
    let root = store.view().root();
    drop(store);

    let bytes = disk.bytes();
    let path = hash_value(domain::STATE_PATH, &(0u8, id, canary("KEY")));
    let value = hash_value(domain::STATE_LEAF, &(0u8, canary("VALUE")));
    for secret in [b"CANARY".as_slice(), &root[..8], &path[..8], &value[..8], &[1; 32], &[2; 32]] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the disk shows {secret:02x?}");
    }
    // The search finds what is there: the name of a table.
    assert!(bytes.windows(4).any(|window| window == b"rows"));
}
