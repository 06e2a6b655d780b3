//! The radix tree against its naive definition.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::error::{IntegrityError, Row};
use proptest::prelude::*;
use small::Small;
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

mod buckets;
mod keys;

/// Pages on a disk, verified as the store verifies them, and what is not there yet.
#[derive(Default)]
struct Memory {
    pages: BTreeMap<(PageId, Epoch), Page>,
    entries: BTreeMap<(Path, Epoch), Arc<EntryRow>>,
    /// Pages that were read.
    read: Cell<usize>,
    root: Option<Subtree>,
    stale: Stale,
    generation: Epoch,
    version: u64,
}

impl PageSource for Memory {
    fn page(&self, id: &PageId, expected: &NodeRef) -> Result<Arc<Page>, ReadError> {
        let page = self.pages.get(&(*id, expected.generation)).ok_or(IntegrityError::Missing(Row::Page))?;
        let mut page = Page::decode_bounded(&page.encode(), Namespace::State)?;
        page.verify(id, expected)?;
        self.read.set(self.read.get() + 1);
        Ok(Arc::new(page))
    }

    fn entry(&self, leaf: &Leaf) -> Result<Arc<EntryRow>, ReadError> {
        match &leaf.row {
            LeafRow::Fresh(row) => Ok(row.clone()),
            LeafRow::Apart(generation) => {
                let row = self.entries.get(&(leaf.path, *generation));
                Ok(row.ok_or(IntegrityError::Missing(Row::Entry))?.clone())
            }
            LeafRow::Within(_) | LeafRow::Ours(_) => unreachable!("handed out without its entry"),
        }
    }
}

impl Unloaded for Memory {
    type Error = IntegrityError;

    fn page(&mut self, id: &PageId, subtree: &Subtree, page: &Arc<Page>) -> Result<(), IntegrityError> {
        assert_eq!(subtree.node.generation, self.generation);
        assert!(self.pages.insert((*id, self.generation), (**page).clone()).is_none(), "leaves no page behind");
        Ok(())
    }

    fn entry(&mut self, leaf: &Leaf, row: &EntryRow) -> Result<(), IntegrityError> {
        let row = EntryRow { contract: row.contract, key: row.key.clone(), value: row.value.clone() };
        let before = self.entries.insert((leaf.path, self.generation), Arc::new(row));
        assert!(before.is_none(), "leaves no entry behind");
        Ok(())
    }
}

fn change(path: Path, value: Option<Hash>) -> Change {
    // Too large to lie within a bucket: the paths here are no key's.
    let row = Arc::new(EntryRow { contract: [0; 32], key: Vec::new(), value: vec![0; MAX_WITHIN_BYTES + 1] });
    Change { path, value: value.map(|value| Written { hash: leaf_hash(&path, &value), row }) }
}

impl Memory {
    fn change(&mut self, changes: BTreeMap<Path, Option<Hash>>, generation: Epoch) {
        self.rekey(generation);
        self.commit(changes.into_iter().map(|(path, value)| change(path, value)).collect());
    }

    /// Other keys; what is in memory only is written under those before.
    fn rekey(&mut self, generation: Epoch) {
        if generation != self.generation {
            self.write();
        }
        self.generation = generation;
    }

    fn commit(&mut self, changes: Vec<Change>) {
        self.version += 1;
        let stamp = Stamp { generation: self.generation, version: self.version };
        let update = RadixTree.update(self, self.root.as_ref(), &changes, stamp).unwrap();
        self.stale.extend(update.stale);
        self.root = update.root;
    }

    /// Brings a part of so many entries under the present keys: where that ends, and how many rows were under older ones; `None` if there
    /// is nothing behind `after`.
    fn reseal(&mut self, after: Option<Path>, entries: u64) -> Option<(Path, usize)> {
        self.version += 1;
        let stamp = Stamp { generation: self.generation, version: self.version };
        let part = Part { after: after.as_ref(), entries, bytes: usize::MAX };
        let resealed = RadixTree.reseal(&*self, self.root.as_ref(), part, stamp).unwrap();
        assert_eq!(resealed.update.root_hash(), root_hash(self.root.as_ref()));
        self.stale.extend(resealed.update.stale);
        self.root = resealed.update.root;
        Some((resealed.last?, resealed.rows))
    }

    /// A whole pass.
    fn reseal_all(&mut self, entries: u64) -> usize {
        let (mut after, mut rows) = (None, 0);
        while let Some((last, more)) = self.reseal(after, entries) {
            assert!(after.is_none_or(|after| after < last), "goes on");
            (after, rows) = (Some(last), rows + more);
        }
        rows
    }

    /// The oldest keys of any row of a subtree, after checking that every page of it names them as its parent does.
    fn oldest(&self, id: PageId, subtree: &Subtree) -> Epoch {
        let below = match &**self.page_of(&id, subtree).unwrap() {
            Page::Bucket(bucket) => bucket.leaves().filter_map(|(leaf, _)| leaf.apart()).min(),
            Page::Branch(branch) => (0u8..)
                .zip(branch.slots.iter())
                .filter_map(|(nibble, slot)| Some(self.oldest(id.child(nibble), slot.as_ref()?)))
                .min(),
        };
        let oldest = below.unwrap_or(Epoch::MAX).min(subtree.node.generation);
        assert_eq!(subtree.node.oldest, oldest);
        oldest
    }

    fn write(&mut self) {
        let stale = std::mem::take(&mut self.stale);
        for (id, node) in stale.pages {
            assert!(self.pages.remove(&(id, node.generation)).is_some(), "removes only pages that are there");
        }
        for entry in stale.entries {
            assert!(self.entries.remove(&entry).is_some(), "removes only entries that are there");
        }
        if let Some(root) = self.root.take() {
            self.root = Some(unload(PageId::ROOT, &root, self).unwrap());
        }
    }

    fn apply(&mut self, changes: BTreeMap<Path, Option<Hash>>, generation: Epoch) {
        self.change(changes, generation);
        self.write();
    }

    fn leaves(&self) -> Vec<(Path, Hash)> {
        let leaves = RadixTree.leaves_after(self, self.root.as_ref(), None, usize::MAX).unwrap();
        leaves.into_iter().map(|leaf| (leaf.path, leaf.hash)).collect()
    }

    fn reachable(&self, id: PageId, subtree: Option<&Subtree>) -> usize {
        let Some(subtree) = subtree else { return 0 };
        1 + match &**self.page_of(&id, subtree).unwrap() {
            Page::Bucket(_) => 0,
            Page::Branch(branch) => (0u8..)
                .zip(branch.slots.iter())
                .map(|(nibble, slot)| self.reachable(id.child(nibble), slot.as_ref()))
                .sum(),
        }
    }
}

fn bit_of(path: &Path, bit: u8) -> bool {
    path[usize::from(bit / 8)] & (0x80 >> (bit % 8)) != 0
}

/// The definition of the root, followed to the letter.
fn naive_root(entries: &[(Path, Hash)], bit: u16) -> Hash {
    match entries {
        [] => EMPTY_ROOT,
        [(path, value)] => leaf_hash(path, value),
        _ => {
            let bit_index = u8::try_from(bit).unwrap();
            let (right, left): (Vec<_>, Vec<_>) =
                entries.iter().copied().partition(|(path, _)| bit_of(path, bit_index));
            match (left.as_slice(), right.as_slice()) {
                ([], one) | (one, []) => naive_root(one, bit + 1),
                (left, right) => node_hash(bit_index, &naive_root(left, bit + 1), &naive_root(right, bit + 1)),
            }
        }
    }
}

fn naive(model: &BTreeMap<Path, Hash>) -> Hash {
    naive_root(&model.iter().map(|(path, value)| (*path, *value)).collect::<Vec<_>>(), 0)
}

/// Paths that share long prefixes as often as they do not.
fn path() -> impl Strategy<Value = Path> {
    prop_oneof![
        3 => any::<[u8; 32]>(),
        2 => (any::<u8>(), 0usize..32).prop_map(|(byte, at)| { let mut path = [0; 32]; path[at] = byte; path }),
        1 => (0u16..600).prop_map(|number| { let mut path = [7; 32]; path[30..].copy_from_slice(&number.to_be_bytes()); path }),
    ]
}

fn batches() -> impl Strategy<Value = Vec<BTreeMap<Path, Option<Hash>>>> {
    let change = prop_oneof![2 => any::<u8>().prop_map(Some), 1 => Just(None)];
    let batch = proptest::collection::btree_map(path(), change, 0..90)
        .prop_map(|batch| batch.into_iter().map(|(path, value)| (path, value.map(|byte| [byte; 32]))).collect());
    proptest::collection::vec(batch, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn root_is_the_definitions_after_every_batch(batches in batches(), removal in any::<proptest::sample::Index>()) {
        let (mut tree, mut model) = (Memory::default(), BTreeMap::new());
        for (index, batch) in batches.iter().enumerate() {
            for (path, value) in batch {
                match value { Some(value) => model.insert(*path, *value), None => model.remove(path) };
            }
            tree.change(batch.clone(), 1 + index as u32 / 3);
            prop_assert_eq!(root_hash(tree.root.as_ref()), naive(&model));
            prop_assert_eq!(tree.root.as_ref().map_or(0, |root| root.node.count), model.len() as u64);
            if index % 2 == 1 {
                tree.write();
                let reachable = tree.reachable(PageId::ROOT, tree.root.as_ref());
                prop_assert_eq!(reachable, tree.pages.len(), "no page is left behind");
                prop_assert_eq!(root_hash(tree.root.as_ref()), naive(&model));
            }
        }
        // Everything is found, in order, and nothing else.
        let expected: Vec<_> = model.iter().map(|(path, value)| (*path, leaf_hash(path, value))).collect();
        prop_assert_eq!(tree.leaves(), expected);
        for path in batches.iter().flat_map(|batch| batch.keys()) {
            let found = RadixTree.lookup(&tree, tree.root.as_ref(), path).unwrap();
            prop_assert_eq!(found.map(|found| found.leaf.hash), model.get(path).map(|value| leaf_hash(path, value)));
        }
        // In steps of seven the same list comes out.
        let (mut stepped, mut after) = (Vec::new(), None);
        loop {
            let some = RadixTree.leaves_after(&tree, tree.root.as_ref(), after.as_ref(), 7).unwrap();
            let Some(last) = some.last() else { break };
            after = Some(last.path);
            stepped.extend(some.into_iter().map(|leaf| (leaf.path, leaf.hash)));
        }
        prop_assert_eq!(stepped, tree.leaves());
        // Removing all but a few collapses the tree to what the definition says.
        if !model.is_empty() {
            let keep = *model.keys().nth(removal.index(model.len())).unwrap();
            tree.apply(model.keys().filter(|path| **path != keep).map(|path| (*path, None)).collect(), 9);
            prop_assert_eq!(tree.pages.len(), 1);
            tree.apply(BTreeMap::from([(keep, None)]), 9);
            prop_assert!(tree.pages.is_empty() && tree.root.is_none());
        }
    }

    #[test]
    fn order_and_grouping_of_writes_do_not_matter(
        entries in proptest::collection::btree_map(path(), any::<[u8; 32]>(), 1..200),
        order in any::<u64>(), step in 1usize..50,
    ) {
        let mut whole = Memory::default();
        whole.apply(entries.iter().map(|(path, value)| (*path, Some(*value))).collect(), 1);
        let mut shuffled: Vec<_> = entries.into_iter().collect();
        let mut state = order;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, (state >> 33) as usize % (index + 1));
        }
        let mut stepped = Memory::default();
        for chunk in shuffled.chunks(step) {
            stepped.apply(chunk.iter().map(|(path, value)| (*path, Some(*value))).collect(), 1);
        }
        prop_assert_eq!(root_hash(whole.root.as_ref()), root_hash(stepped.root.as_ref()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What a change does not touch in a bucket keeps its hashes: one entry more, less or other at a time, about as many as fill one.
    #[test]
    fn root_is_the_definitions_after_every_single_change(
        steps in proptest::collection::vec((0u16..80, any::<Option<u8>>()), 1..120), spread in any::<bool>(),
    ) {
        let (mut tree, mut model) = (Memory::default(), BTreeMap::new());
        for (number, value) in steps {
            let path = if spread || number.is_multiple_of(2) {
                value_hash(&number.to_le_bytes())
            } else {
                let mut path = [7; 32];
                path[30..].copy_from_slice(&number.to_be_bytes());
                path
            };
            let value = value.map(|byte| [byte; 32]);
            match value { Some(value) => model.insert(path, value), None => model.remove(&path) };
            tree.change(BTreeMap::from([(path, value)]), 1);
            prop_assert_eq!(root_hash(tree.root.as_ref()), naive(&model));
            if number == 79 {
                tree.write();
            }
        }
        let expected: Vec<_> = model.iter().map(|(path, value)| (*path, leaf_hash(path, value))).collect();
        prop_assert_eq!(tree.leaves(), expected);
    }
}

#[test]
fn refuses_every_page_but_the_committed_one() {
    let mut tree = Memory::default();
    let entries: BTreeMap<_, _> =
        (0u32..200).map(|number| (value_hash(&number.to_le_bytes()), Some([1; 32]))).collect();
    tree.apply(entries.clone(), 1);
    let root = tree.root.clone().unwrap().node;
    let page = tree.page(&PageId::ROOT, &root).unwrap();
    let Page::Branch(branch) = &*page else { unreachable!("200 entries do not fit a bucket") };
    for nibble in 0..16u8 {
        let Some(node) = branch.slot(nibble).map(|slot| slot.node) else { continue };
        let id = PageId::ROOT.child(nibble);
        let page = tree.page(&id, &node).unwrap();
        let Page::Bucket(bucket) = &*page else { continue };
        let leaves: Vec<Leaf> = bucket.leaves().map(|(leaf, _)| leaf.clone()).collect();
        let check = |leaves: Vec<Leaf>| Page::Bucket(Bucket::new(leaves, Arc::default())).verify(&id, &node);
        assert_eq!(check(leaves.clone()), Ok(()));
        assert_eq!(check(leaves[1..].to_vec()), Err(IntegrityError::NotCommitted(Row::Page)));
        assert_eq!(check(Vec::new()), Err(IntegrityError::Malformed(Row::Page)));
        assert_eq!(check(leaves.iter().rev().cloned().collect()), Err(IntegrityError::Malformed(Row::Page)));
        let mut other = leaves.clone();
        other[0].hash[31] ^= 1;
        assert_eq!(check(other), Err(IntegrityError::NotCommitted(Row::Page)));
        let elsewhere = PageId::ROOT.child(nibble ^ 1);
        let moved = Page::Bucket(Bucket::new(leaves, Arc::default())).verify(&elsewhere, &node);
        assert_eq!(moved, Err(IntegrityError::Malformed(Row::Page)));
    }
    let mut without = branch.slots.clone();
    without.set((0..16).find(|nibble| branch.slot(*nibble).is_some()).unwrap(), None);
    assert_eq!(
        Page::Branch(Branch::new(without)).verify(&PageId::ROOT, &root),
        Err(IntegrityError::NotCommitted(Row::Page))
    );
}

#[test]
fn keys_of_contracts_and_records_have_different_paths() {
    let paths = [
        path_of(Namespace::State, &[0; 32], b"k"),
        path_of(Namespace::Records, &[0; 32], b"k"),
        path_of(Namespace::State, &[1; 32], b"k"),
        path_of(Namespace::State, &[0; 32], b"k\0"),
        path_of(Namespace::State, &[0; 32], b""),
    ];
    assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
}

#[test]
fn what_is_hashed_side_by_side_is_what_is_hashed_alone() {
    let rows: Vec<(Path, EntryRow)> = (0u32..300)
        .map(|number| {
            // Some of several blocks, and one that is not gathered with others.
            let value = vec![number as u8; if number == 77 { 20_000 } else { number as usize * 7 % 400 }];
            let key = [number.to_le_bytes().to_vec(), vec![5; number as usize % 60]].concat();
            let row = EntryRow { contract: [number as u8 % 3; 32], key, value };
            (row.path(Namespace::Records), row)
        })
        .collect();
    for count in [0, 1, 3, 4, 5, 8, 11, 300] {
        let rows = &rows[..count];
        let keys = rows.iter().map(|(_, row)| (&row.contract, row.key.as_slice()));
        assert_eq!(paths_of(Namespace::Records, keys), rows.iter().map(|(path, _)| *path).collect::<Vec<_>>());
        let each: Vec<Hash> = rows.iter().map(|(path, row)| row.leaf_hash(path)).collect();
        assert_eq!(leaf_hashes(rows.iter().map(|(path, row)| (path, row))), each);
    }
    // As a batch hands changes over, removals among them.
    let writes: crate::batch::Writes =
        rows.into_iter().map(|(path, row)| (path, (!row.key.len().is_multiple_of(5)).then(|| Arc::new(row)))).collect();
    let mut kinds = [0, 0];
    for (change, (path, row)) in crate::batch::changes(&writes).iter().zip(&writes) {
        let alone = Change::new(*path, row.clone());
        assert_eq!(change.path, alone.path);
        let hash = |change: &Change| change.value.as_ref().map(|written| written.hash);
        assert_eq!(hash(change), hash(&alone));
        kinds[usize::from(row.is_some())] += 1;
    }
    assert!(kinds[0] > 50 && kinds[1] > 200, "{kinds:?}");
}

/// An entry as the store would have it.
fn entry(number: u32, value: Vec<u8>) -> (Path, Arc<EntryRow>) {
    let row = EntryRow { contract: [number as u8 % 3; 32], key: number.to_le_bytes().to_vec(), value };
    (row.path(Namespace::State), Arc::new(row))
}

#[test]
fn small_entries_lie_in_their_bucket_and_large_ones_apart() {
    let mut tree = Memory::default();
    let rows: BTreeMap<_, _> = (0u32..300)
        .map(|number| entry(number, vec![number as u8; if number % 5 == 0 { MAX_WITHIN_BYTES } else { 20 }]))
        .collect();
    let changes: Vec<_> = rows.iter().map(|(path, row)| Change::new(*path, Some(row.clone()))).collect();
    let update = RadixTree.update(&tree, None, &changes, Stamp { generation: 0, version: 1 }).unwrap();
    assert!(update.unwritten > 300 * 100, "{} bytes are in memory only", update.unwritten);
    tree.root = update.root;
    tree.write();
    let mut kinds = [0, 0];
    for (path, row) in &rows {
        let found = RadixTree.lookup(&tree, tree.root.as_ref(), path).unwrap().unwrap();
        match (found.leaf.row, found.value) {
            (LeafRow::Within(_) | LeafRow::Ours(_), Some(value)) => {
                assert_eq!(value, row.value);
                kinds[0] += 1;
            }
            (LeafRow::Apart(_), None) => kinds[1] += 1,
            other => unreachable!("{other:?}"),
        }
    }
    assert_eq!((kinds, tree.entries.len()), ([240, 60], 60));
    for leaf in RadixTree.leaves_after(&tree, tree.root.as_ref(), None, usize::MAX).unwrap() {
        let (found, row) = (tree.entry(&leaf).unwrap(), &rows[&leaf.path]);
        assert_eq!((&found.contract, &found.key, &found.value), (&row.contract, &row.key, &row.value));
    }
    // A page counts its own memory down again when another takes its place.
    let stamp = Stamp { generation: 0, version: 2 };
    let again = RadixTree.update(&tree, tree.root.as_ref(), &changes[..40], stamp).unwrap();
    assert_eq!(again.unwritten, 0, "the same values again change nothing");
    let (path, row) = entry(1, vec![9; 20]);
    let one = RadixTree.update(&tree, tree.root.as_ref(), &[Change::new(path, Some(row))], stamp).unwrap();
    let (path, row) = entry(1, vec![8; 20]);
    let two = RadixTree.update(&tree, one.root.as_ref(), &[Change::new(path, Some(row))], stamp).unwrap();
    assert!(one.unwritten > 0 && two.unwritten == 0, "{} {}", one.unwritten, two.unwritten);
}

#[test]
fn an_entry_that_is_not_its_leafs_is_refused() {
    let ((path, row), (_, other)) = (entry(1, vec![1; 9]), entry(1, vec![2; 9]));
    let mut small = Small::default();
    let span = small.push(&other);
    let leaf = Leaf { path, hash: row.leaf_hash(&path), row: LeafRow::Within(span) };
    let bucket = Bucket::new(vec![leaf.clone()], Arc::new(small));
    assert_eq!(bucket.find(&path).unwrap_err(), IntegrityError::NotCommitted(Row::Page));
    let (found, home) = bucket.leaves().next().unwrap();
    assert_eq!(home.with_entry(found).unwrap_err(), IntegrityError::NotCommitted(Row::Page));
    let nowhere = Bucket::new(vec![leaf], Arc::default());
    assert_eq!(nowhere.find(&path).unwrap_err(), IntegrityError::Malformed(Row::Page));
}

#[test]
fn every_page_has_one_form_and_garbage_has_none() {
    let mut tree = Memory::default();
    let length = |number: u32| if number.is_multiple_of(9) { MAX_WITHIN_BYTES } else { 12 };
    let changes: BTreeMap<_, _> = (0u32..150).map(|number| entry(number, vec![3; length(number)])).collect();
    let changes: Vec<_> = changes.into_iter().map(|(path, row)| Change::new(path, Some(row))).collect();
    tree.root = RadixTree.update(&tree, None, &changes, Stamp { generation: 0, version: 1 }).unwrap().root;
    tree.write();
    assert!(tree.pages.len() > 10);
    for page in tree.pages.values() {
        let bytes = page.encode();
        let decode = |bytes: &[u8]| Page::decode_bounded(bytes, Namespace::State);
        assert_eq!(decode(&bytes).unwrap().encode(), bytes);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]).unwrap_err(), IntegrityError::Malformed(Row::Page));
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat()).unwrap_err(), IntegrityError::Malformed(Row::Page));
        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 0xff;
            // Whatever that decodes to, nothing panics, and what reads an entry says so.
            if let Ok(Page::Bucket(bucket)) = decode(&altered) {
                bucket.leaves().for_each(|(leaf, home)| drop((home.with_entry(leaf), bucket.find(&leaf.path))));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A bucket of which a few entries change at a time is read, hashed and written as one that was made with the last values at once.
    #[test]
    fn what_lies_over_a_bucket_is_as_if_it_were_in_it(
        batches in proptest::collection::vec(proptest::collection::btree_map(0u32..40, any::<u8>(), 1..5), 1..30),
        entries in 3u32..=40,
    ) {
        // Every seventh lies apart.
        let row = |number: u32, byte: u8| entry(number, vec![byte; if number % 7 == 3 { MAX_WITHIN_BYTES } else { 9 }]);
        let changes = |values: &BTreeMap<u32, u8>| -> Vec<Change> {
            let rows: BTreeMap<_, _> = values.iter().map(|(number, byte)| row(*number, *byte)).collect();
            rows.into_iter().map(|(path, row)| Change::new(path, Some(row))).collect()
        };
        let made = |tree: &Memory, values: &BTreeMap<u32, u8>, version: u64| {
            RadixTree.update(tree, tree.root.as_ref(), &changes(values), Stamp { generation: 0, version }).unwrap().root
        };
        let (mut stepped, mut whole) = (Memory::default(), Memory::default());
        // Of few, none lies in the bucket yet.
        let mut model: BTreeMap<u32, u8> = (0..entries).map(|number| (number, 0)).collect();
        stepped.root = made(&stepped, &model, 1);
        for (version, batch) in (2u64..).zip(batches) {
            let batch: BTreeMap<u32, u8> = batch.into_iter().map(|(number, byte)| (number % entries, byte)).collect();
            stepped.root = made(&stepped, &batch, version);
            model.extend(batch);
            for (number, byte) in &model {
                let (path, row) = row(*number, *byte);
                let found = RadixTree.lookup(&stepped, stepped.root.as_ref(), &path).unwrap().unwrap();
                prop_assert_eq!(found.leaf.hash, row.leaf_hash(&path));
                prop_assert_eq!(found.value.as_ref(), Some(&row.value), "nothing is on a disk");
            }
        }
        whole.root = made(&whole, &model, 1);
        prop_assert_eq!(root_hash(stepped.root.as_ref()), root_hash(whole.root.as_ref()));
        stepped.write();
        whole.write();
        let rows = |tree: &Memory| -> Vec<Vec<u8>> { tree.pages.values().map(Page::encode).collect() };
        prop_assert_eq!(rows(&stepped), rows(&whole));
        prop_assert_eq!(stepped.pages.len(), 1);
    }
}

#[test]
fn a_branch_is_never_longer_than_the_room_that_is_taken_for_it() {
    let numbers = (u64::MAX, Epoch::MAX);
    let node =
        NodeRef { hash: [0xff; 32], count: numbers.0, generation: numbers.1, oldest: numbers.1, version: numbers.0 };
    let mut slots = page::Slots::default();
    (0..16).for_each(|nibble| slots.set(nibble, Some(Subtree::stored(node))));
    assert_eq!(Page::Branch(Branch::new(slots)).encode().len(), page::MAX_BRANCH_BYTES);
}

#[test]
fn an_entry_of_a_contract_that_its_bucket_does_not_name_lies_over_it_by_itself() {
    let own = |value: Vec<u8>| {
        let row = EntryRow { contract: [9; 32], key: b"own".to_vec(), value };
        (row.path(Namespace::State), Arc::new(row))
    };
    let changes = |rows: Vec<(Path, Arc<EntryRow>)>| -> Vec<Change> {
        let rows: BTreeMap<_, _> = rows.into_iter().collect();
        rows.into_iter().map(|(path, row)| Change::new(path, Some(row))).collect()
    };
    let value = |tree: &Memory, path: &Path| RadixTree.lookup(tree, tree.root.as_ref(), path).unwrap().unwrap().value;
    let mut rows: Vec<_> = (0u32..20).map(|number| entry(number, vec![1; 9])).collect();
    // The only entry of its contract lies apart, and becomes small.
    let mut tree = Memory::default();
    tree.commit(changes([rows.clone(), vec![own(vec![1; MAX_WITHIN_BYTES + 1])]].concat()));
    tree.write();
    assert_eq!(tree.entries.len(), 1);
    let path = own(Vec::new()).0;
    for byte in 2u8..6 {
        let beside = entry(u32::from(byte), vec![byte; 9]);
        tree.commit(changes(vec![own(vec![byte; 9]), beside.clone()]));
        rows.push(beside);
        assert_eq!(value(&tree, &path), Some(vec![byte; 9]));
        for other in 2..=byte {
            assert_eq!(value(&tree, &entry(u32::from(other), Vec::new()).0), Some(vec![other; 9]));
        }
    }
    let page = tree.root.as_ref().unwrap().page.clone().unwrap();
    let Page::Bucket(bucket) = &*page else { unreachable!("21 entries fit a bucket") };
    assert!(matches!(bucket.leaf_at(&path).unwrap().1.row, LeafRow::Fresh(_)));
    let beside = entry(2, Vec::new()).0;
    assert!(matches!(bucket.leaf_at(&beside).unwrap().1.row, LeafRow::Ours(_)));
    tree.write();
    assert!(tree.entries.is_empty());
    let mut whole = Memory::default();
    whole.commit(changes([rows, vec![own(vec![5; 9])]].concat()));
    whole.write();
    let encoded = |tree: &Memory| -> Vec<Vec<u8>> { tree.pages.values().map(Page::encode).collect() };
    assert_eq!(encoded(&tree), encoded(&whole));
}

#[test]
fn a_contract_whose_number_is_no_byte_is_not_named_by_what_lies_over_a_bucket() {
    let contract = |number: u32| {
        let mut contract = [0; 32];
        contract[..4].copy_from_slice(&number.to_le_bytes());
        contract
    };
    for number in [0, 255, 256, 299] {
        let row = |byte: u8| EntryRow { contract: contract(number), key: b"key".to_vec(), value: vec![byte; 9] };
        let path = row(0).path(Namespace::State);
        let leaf = |byte: u8| {
            let row = Arc::new(row(byte));
            Leaf { path, hash: row.leaf_hash(&path), row: LeafRow::Fresh(row) }
        };
        // More than a bucket has entries: this store writes no such row.
        let small = Small { contracts: (0..300).map(contract).collect(), bytes: Vec::new() };
        let mut bucket = Bucket::new(vec![leaf(1)], Arc::new(small));
        assert_eq!(bucket.hash(u64::MAX), Some(leaf(1).hash));
        let (bucket, root) = bucket.with_values(&[(0, leaf(2))]).unwrap();
        assert_eq!(root, Some(leaf(2).hash));
        assert_eq!(matches!(bucket.leaf_at(&path).unwrap().1.row, LeafRow::Ours(_)), number < 256);
        assert_eq!(bucket.find(&path).unwrap().unwrap().value, Some(vec![2; 9]));
        let laid = bucket.laid_out().unwrap().into_owned();
        assert_eq!(laid.small().contracts, [contract(number)]);
        let Page::Bucket(read) = Page::decode_bounded(&laid.encode(), Namespace::State).unwrap() else {
            unreachable!("it was a bucket")
        };
        assert_eq!(read.find(&path).unwrap().unwrap().value, Some(vec![2; 9]));
    }
}
