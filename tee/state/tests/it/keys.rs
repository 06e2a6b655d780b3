//! Keys that change, and what the disk shows of them.

use crate::{
    assert_holds, contract, disk::MemoryDisk, entries, fill, host, key, open, options, try_open, Model, Seeded,
};
use phala_crypto::Secret;
use phala_protocol::{domain, hash_value};
use phala_state::{ClusterStore, IntegrityError, OpenError, RekeyError, Row, StorageKey, SweepProgress, MAX_RING_KEYS};
use std::collections::BTreeSet;

#[test]
fn says_whose_key_opens_it_and_refuses_others() {
    let disk = MemoryDisk::default();
    let model = entries(5);
    fill(&open(&disk), &model, b"");
    assert!(matches!(try_open(&disk, 2, 1), Err(OpenError::Generation { stored: 1, given: 2 })));

    let other_machine = StorageKey::derive(1, &Secret::new([1; 32]), b"another machine");
    let refused = ClusterStore::open_with_backend(disk.clone(), other_machine, Box::new(Seeded::new(1)), options());
    assert!(matches!(refused, Err(OpenError::Integrity(IntegrityError::Unauthentic(Row::Head)))));
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
