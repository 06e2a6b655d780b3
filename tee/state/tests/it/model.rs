//! Random histories against a map in memory.

use crate::{contract, disk::MemoryDisk, open, root_of, try_open, Model};
use phala_protocol::ContractId;
use phala_state::{Checkpoint, CommitError, LimitError, MAX_KEY_BYTES, MAX_META_BYTES, MAX_VALUE_BYTES};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u8, Vec<u8>),
    Remove(u8, u8),
    Checkpoint,
    Rollback(u8),
    Root,
    Commit,
    Record(u8, Option<u8>),
    Reopen,
    Rekey,
    Sweep(u8),
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = |length: std::ops::Range<usize>| proptest::collection::vec(any::<u8>(), length);
    // Small ones, and some about as long as what lies in a bucket may be.
    let value = prop_oneof![5 => bytes(0..40), 1 => bytes(250..260)];
    // Many, of which a few are written again and again.
    let key = || prop_oneof![2 => any::<u8>(), 1 => 0u8..6];
    proptest::collection::vec(
        prop_oneof![
            24 => (0u8..3, key(), value).prop_map(|(contract, key, value)| Step::Set(contract, key, value)),
            10 => (0u8..3, key()).prop_map(|(contract, key)| Step::Remove(contract, key)),
            4 => Just(Step::Checkpoint),
            3 => any::<u8>().prop_map(Step::Rollback),
            1 => Just(Step::Root),
            3 => Just(Step::Commit),
            3 => (any::<u8>(), any::<Option<u8>>()).prop_map(|(key, value)| Step::Record(key % 8, value)),
            1 => Just(Step::Reopen),
            1 => Just(Step::Rekey),
            1 => any::<u8>().prop_map(Step::Sweep),
            1 => Just(Step::Forget),
        ],
        1..160,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_a_map_whatever_happens(steps in steps()) {
        let disk = MemoryDisk::default();
        let mut store = open(&disk);
        let (mut committed, mut pending): (Model, Model) = Default::default();
        let (mut records, mut new_records) = (BTreeMap::new(), Vec::new());
        let (mut checkpoints, mut commits, mut epoch): (Vec<(Checkpoint, Model)>, u32, u32) = (Vec::new(), 0, 1);
        let mut batch = store.begin();
        let mut written: BTreeSet<(ContractId, Vec<u8>)> = BTreeSet::new();
        // A batch remembers what it read: keys that are odd are read only when they have been written, and after a rollback.
        let is_read = |(_, key): &(ContractId, Vec<u8>)| key.iter().all(|byte| byte % 2 == 0);
        for step in steps {
            let touched = match &step {
                Step::Set(id, key, _) | Step::Remove(id, key) => Some((contract(*id), vec![*key])),
                _ => None,
            };
            let (sets, removes) = (matches!(step, Step::Set(..)), matches!(step, Step::Remove(..)));
            let undoes = matches!(step, Step::Rollback(_));
            let renews = !(sets || removes || undoes || matches!(step, Step::Checkpoint | Step::Root | Step::Record(..)));
            if let Some(entry) = touched.as_ref().filter(|entry| is_read(entry)) {
                let found = batch.get(&entry.0, &entry.1).unwrap();
                prop_assert_eq!(found.as_ref(), pending.get(entry), "before it is written");
            }
            match step {
                Step::Set(id, key, value) => {
                    batch.set(&contract(id), &[key], value.clone()).unwrap();
                    pending.insert((contract(id), vec![key]), value);
                }
                Step::Remove(id, key) => {
                    batch.remove(&contract(id), &[key]).unwrap();
                    pending.remove(&(contract(id), vec![key]));
                }
                Step::Checkpoint => checkpoints.push((batch.checkpoint(), pending.clone())),
                Step::Rollback(which) if !checkpoints.is_empty() => {
                    checkpoints.truncate(usize::from(which) % checkpoints.len() + 1);
                    let (checkpoint, model) = checkpoints.pop().unwrap();
                    batch.rollback_to(checkpoint);
                    pending = model;
                }
                Step::Rollback(_) => {}
                Step::Root => prop_assert_eq!(batch.root().unwrap(), root_of(&pending)),
                Step::Record(key, value) => new_records.push((vec![key], value.map(|value| vec![value; 9]))),
                Step::Commit => {
                    commits += 1;
                    let now = std::mem::replace(&mut batch, store.begin());
                    let done = store.commit(now, commits.to_le_bytes().to_vec(), new_records.clone()).unwrap();
                    prop_assert_eq!(done.root, root_of(&pending));
                    prop_assert_eq!(done.entries, pending.len() as u64);
                    committed = pending.clone();
                    for (key, value) in new_records.drain(..) {
                        match value { Some(value) => records.insert(key, value), None => records.remove(&key) };
                    }
                    checkpoints.clear();
                    batch = store.begin();
                }
                Step::Reopen | Step::Rekey | Step::Sweep(_) | Step::Forget => {
                    drop(batch);
                    match step {
                        Step::Reopen => {
                            drop(store);
                            store = try_open(&disk, epoch, u64::from(commits) << 8).unwrap();
                        }
                        Step::Rekey => {
                            epoch += 1;
                            store.rekey(crate::key(epoch)).unwrap();
                        }
                        Step::Sweep(limit) => { store.sweep(usize::from(limit)).unwrap(); }
                        _ => {}
                    }
                    pending = committed.clone();
                    checkpoints.clear();
                    new_records.clear();
                    batch = store.begin();
                }
            }
            if let Some(entry) = touched {
                let found = batch.get(&entry.0, &entry.1).unwrap();
                prop_assert_eq!(found.as_ref(), pending.get(&entry), "after it was written");
                prop_assert_eq!(found.is_some(), sets);
                written.insert(entry);
            }
            for entry in written.iter().filter(|entry| undoes || (renews && is_read(entry))) {
                let found = batch.get(&entry.0, &entry.1).unwrap();
                prop_assert_eq!(found.as_ref(), pending.get(entry), "after a rollback, or in a new batch");
            }
            // The batch reads what was written, committed or not.
            for key in [0u8, 77, 200] {
                let expected = pending.get(&(contract(1), vec![key])).cloned();
                prop_assert_eq!(batch.get(&contract(1), &[key]).unwrap(), expected);
            }
        }
        drop(batch);
        crate::assert_holds(&store, &committed);
        let view = store.view();
        prop_assert_eq!(view.meta().map(<[u8]>::to_vec), (commits > 0).then(|| commits.to_le_bytes().to_vec()));
        prop_assert_eq!(view.records().unwrap().into_iter().collect::<BTreeMap<_, _>>(), records.clone());
        for key in 0u8..8 {
            prop_assert_eq!(view.record(&[key]).unwrap(), records.get(&vec![key]).cloned());
        }
    }
}

/// A boundary of few changes in a state whose buckets are about full, and what is done after it.
#[derive(Clone, Debug)]
struct Small {
    changes: Vec<(u8, Option<u8>)>,
    after: u8,
}

fn small_boundaries() -> impl Strategy<Value = Vec<Small>> {
    // Of 70 entries of one bucket or, with more than 64, of the sixteen it is split into, most have another value, a few come or go.
    let change = (0u8..70, prop_oneof![9 => any::<u8>().prop_map(Some), 1 => Just(None)]);
    let small = (proptest::collection::vec(change, 0..7), any::<u8>());
    proptest::collection::vec(small.prop_map(|(changes, after)| Small { changes, after }), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What lies over the leaves of a bucket, for a few boundaries or until it is too much, is the same as if it were among them: for the
    /// roots, for what is read, for versions before and after, and once it is written and opened again.
    #[test]
    fn agrees_with_a_map_when_a_few_entries_change_at_a_time(
        boundaries in small_boundaries(), entries in 20u8..70, journal_bytes in prop_oneof![Just(400usize), Just(1 << 20)],
    ) {
        let disk = MemoryDisk::default();
        let mut store = crate::open_with(&disk, journal_bytes);
        // Some small, and some that lie apart.
        let value = |key: u8, byte: u8| vec![byte; if key % 9 == 4 { 300 } else { 12 + usize::from(key % 3) }];
        let mut model: Model = (0..entries).map(|key| ((contract(key % 2), vec![key]), value(key, 1))).collect();
        crate::fill(&store, &model, b"");
        let mut epoch = 1;
        let mut kept: Vec<(phala_state::View, Model)> = Vec::new();
        for (number, Small { changes, after }) in boundaries.into_iter().enumerate() {
            let mut batch = store.begin();
            for (key, byte) in changes {
                let id = contract(key % 2);
                match byte {
                    Some(byte) => {
                        batch.set(&id, &[key], value(key, byte)).unwrap();
                        model.insert((id, vec![key]), value(key, byte));
                    }
                    None => {
                        batch.remove(&id, &[key]).unwrap();
                        model.remove(&(id, vec![key]));
                    }
                }
            }
            let done = store.commit(batch, Vec::new(), Vec::new()).unwrap();
            prop_assert_eq!((done.root, done.entries), (root_of(&model), model.len() as u64));
            crate::assert_holds(&store, &model);
            for (view, model) in &kept {
                prop_assert_eq!(view.root(), root_of(model));
                for ((contract, key), value) in model {
                    let found = view.get(contract, key).unwrap();
                    prop_assert_eq!(found.as_ref(), Some(value));
                }
            }
            match after % 8 {
                0 => {
                    // No view may be alive while the file is opened again.
                    kept.clear();
                    drop(store);
                    store = crate::try_open_with(&disk, epoch, number as u64 + 2, journal_bytes).unwrap();
                    crate::assert_holds(&store, &model);
                }
                1 => {
                    epoch += 1;
                    store.rekey(crate::key(epoch)).unwrap();
                }
                2 => {
                    store.sweep(usize::from(after)).unwrap();
                }
                3 | 4 => kept.push((store.view(), model.clone())),
                5 => kept.truncate(1),
                _ => {}
            }
        }
        crate::assert_holds(&store, &model);
    }
}

#[test]
fn root_is_the_same_on_replicas_with_other_keys_order_and_batches() {
    let model = crate::entries(300);
    let (one, other) = (MemoryDisk::default(), MemoryDisk::default());
    let first = open(&one);
    crate::fill(&first, &model, b"all at once");

    let second = try_open(&other, 7, 99).unwrap();
    let mut reversed: Vec<_> = model.iter().rev().collect();
    reversed.rotate_left(100);
    for some in reversed.chunks(37) {
        let mut batch = second.begin();
        for ((contract, key), value) in some {
            batch.set(contract, key, b"overwritten".to_vec()).unwrap();
            batch.set(contract, key, (*value).clone()).unwrap();
            batch.set(contract, &[b"temporary", key.as_slice()].concat(), Vec::new()).unwrap();
        }
        second.commit(batch, Vec::new(), vec![(b"own".to_vec(), Some(vec![1]))]).unwrap();
    }
    let mut batch = second.begin();
    for (contract, key) in model.keys() {
        batch.remove(contract, &[b"temporary", key.as_slice()].concat()).unwrap();
    }
    second.commit(batch, Vec::new(), Vec::new()).unwrap();

    assert_eq!(first.view().root(), root_of(&model));
    assert_eq!(first.view().root(), second.view().root());
    assert_ne!(one.bytes(), other.bytes());
}

#[test]
fn root_of_a_batch_is_the_root_of_its_commit() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let mut batch = store.begin();
    assert_eq!(batch.root().unwrap(), phala_state::EMPTY_ROOT);
    batch.set(&contract(1), b"k", b"v".to_vec()).unwrap();
    let before = batch.checkpoint();
    let with_one = batch.root().unwrap();
    batch.set(&contract(1), b"l", b"v".to_vec()).unwrap();
    assert_ne!(batch.root().unwrap(), with_one);
    batch.rollback_to(before);
    assert_eq!(batch.root().unwrap(), with_one);
    assert_eq!(store.commit(batch, Vec::new(), Vec::new()).unwrap().root, with_one);
}

#[test]
fn refuses_a_batch_that_began_before_another_commit() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let (mut early, mut late) = (store.begin(), store.begin());
    early.set(&contract(1), b"k", vec![1]).unwrap();
    late.set(&contract(1), b"k", vec![2]).unwrap();
    store.commit(early, vec![1], Vec::new()).unwrap();
    assert!(matches!(store.commit(late, vec![2], Vec::new()), Err(CommitError::Stale)));
    assert_eq!(store.view().get(&contract(1), b"k").unwrap(), Some(vec![1]));
    assert_eq!(store.view().meta(), Some(&[1][..]));
}

#[test]
fn refuses_what_is_too_long() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let mut batch = store.begin();
    let long = vec![0; MAX_KEY_BYTES + 1];
    assert_eq!(batch.set(&contract(1), &long, Vec::new()), Err(LimitError::Key(MAX_KEY_BYTES + 1)));
    assert_eq!(batch.remove(&contract(1), &long), Err(LimitError::Key(MAX_KEY_BYTES + 1)));
    let value = vec![0; MAX_VALUE_BYTES + 1];
    assert_eq!(batch.set(&contract(1), b"k", value), Err(LimitError::Value(MAX_VALUE_BYTES + 1)));
    let refused = store.commit(store.begin(), vec![0; MAX_META_BYTES + 1], Vec::new());
    assert!(matches!(refused, Err(CommitError::Limit(LimitError::Meta(_)))));
    let refused = store.commit(store.begin(), Vec::new(), vec![(long, None)]);
    assert!(matches!(refused, Err(CommitError::Limit(LimitError::Key(_)))));
    assert_eq!(store.view().meta(), None);
}
