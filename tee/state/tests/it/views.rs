//! Queries beside writes.

use crate::{assert_holds, contract, disk::MemoryDisk, entries, fill, open, root_of};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn view_keeps_its_version_while_boundaries_are_committed() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let mut model = entries(150);
    fill(&store, &model, b"one");
    let finalised = store.view();
    let (old_model, old_root) = (model.clone(), finalised.root());

    for round in 0u8..6 {
        let mut batch = store.begin();
        for (index, (contract, key)) in old_model.keys().enumerate() {
            if index % 3 == 0 {
                batch.remove(contract, key).unwrap();
                model.remove(&(*contract, key.clone()));
            } else {
                batch.set(contract, key, vec![round; 30]).unwrap();
                model.insert((*contract, key.clone()), vec![round; 30]);
            }
        }
        store.commit(batch, vec![round], Vec::new()).unwrap();
        if round == 3 {
            store.rekey(crate::key(2)).unwrap();
            while store.sweep(40).unwrap() != phala_state::SweepProgress::Done {}
        }
    }
    assert_holds(&store, &model);
    assert_eq!(finalised.root(), old_root);
    assert_eq!(old_root, root_of(&old_model));
    assert_eq!(finalised.meta(), Some(&b"one"[..]));
    for ((contract, key), value) in &old_model {
        assert_eq!(finalised.get(contract, key).unwrap().as_ref(), Some(value));
    }
}

#[test]
fn queries_run_while_another_thread_commits() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let write = |number: u32| {
        let mut batch = store.begin();
        for key in 0u8..40 {
            batch.set(&contract(1), &[key], number.to_le_bytes().to_vec()).unwrap();
        }
        store.commit(batch, number.to_le_bytes().to_vec(), Vec::new()).unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut queries = 0u32;
            while !done.load(Ordering::Relaxed) {
                // All entries of one view are of one boundary: its own.
                let view = store.view();
                let number = view.meta().unwrap().to_vec();
                for key in 0u8..40 {
                    assert_eq!(view.get(&contract(1), &[key]).unwrap().unwrap(), number);
                }
                queries += 1;
            }
            queries
        });
        (1..40).for_each(write);
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}

/// Whoever lists a state in steps holds no more of it than it asks for, and a large entry more.
#[test]
fn entries_and_records_are_listed_in_steps_of_bounded_bytes() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let mut model = entries(300);
    model.insert((contract(1), b"large".to_vec()), vec![7; 200_000]);
    let records: Vec<_> = (0u32..200).map(|number| (number.to_le_bytes().to_vec(), vec![number as u8; 700])).collect();
    let mut batch = store.begin();
    for ((contract, key), value) in &model {
        batch.set(contract, key, value.clone()).unwrap();
    }
    let written = records.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    store.commit(batch, Vec::new(), written).unwrap();
    let view = store.view();

    let (mut listed, mut after, mut steps) = (Vec::new(), None, 0);
    loop {
        let step = view.entries_within(after.as_ref(), 64, 10_000).unwrap();
        let Some(last) = step.last() else { break };
        after = Some(last.path);
        let held = |entries: &[phala_state::Entry]| -> usize {
            entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum()
        };
        assert!(step.len() <= 64 && held(&step[..step.len() - 1]) < 10_000, "the last one may be over");
        listed.extend(step);
        steps += 1;
    }
    assert!(steps > 5);
    assert_eq!(listed, view.entries(None, usize::MAX).unwrap());

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let step = view.records_within(after.as_ref(), 50, 2_000).unwrap();
        let Some((path, _)) = step.last() else { break };
        after = Some(*path);
        assert!(step.len() <= 3, "of 704 bytes each");
        found.extend(step.into_iter().map(|(_, record)| record));
    }
    assert_eq!((found.len() as u64, found.clone()), (view.records_len(), view.records().unwrap()));
    found.sort();
    assert_eq!(found, records);
}
