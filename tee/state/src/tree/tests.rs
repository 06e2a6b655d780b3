//! The radix tree against its naive definition.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;

/// Pages in memory, verified as the store verifies them.
#[derive(Default)]
struct Memory {
    pages: BTreeMap<(PageId, Epoch), Page>,
    root: Option<NodeRef>,
    version: u64,
}

impl PageSource for Memory {
    fn page(&self, id: &PageId, expected: &NodeRef) -> Result<Arc<Page>, ReadError> {
        let page = self.pages.get(&(*id, expected.generation)).ok_or(IntegrityError::Missing(Row::Page))?;
        page.verify(id, expected)?;
        Ok(Arc::new(Page::decode_bounded(&page.encode())?))
    }
}

impl Memory {
    fn apply(&mut self, changes: BTreeMap<Path, Option<Hash>>, generation: Epoch) {
        self.version += 1;
        let changes: Vec<_> = changes.into_iter().map(|(path, value)| Change { path, value }).collect();
        let stamp = Stamp { generation, version: self.version };
        let update = RadixTree.update(self, self.root, &changes, stamp).unwrap();
        for key in update.removed {
            assert!(self.pages.remove(&key).is_some(), "removes only pages that are there");
        }
        for (id, (_, page)) in update.written {
            assert!(self.pages.insert((id, generation), (*page).clone()).is_none(), "leaves no page behind");
        }
        self.root = update.root;
    }

    fn leaves(&self) -> Vec<Leaf> {
        RadixTree.leaves_after(self, self.root, None, usize::MAX).unwrap()
    }

    fn reachable(&self, id: PageId, node: Option<NodeRef>) -> usize {
        let Some(node) = node else { return 0 };
        1 + match &*self.page(&id, &node).unwrap() {
            Page::Bucket(_) => 0,
            Page::Branch(slots) => {
                (0u8..).zip(slots.iter()).map(|(nibble, slot)| self.reachable(id.child(nibble), *slot)).sum()
            }
        }
    }
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
            tree.apply(batch.clone(), 1 + index as u32 / 3);
            prop_assert_eq!(root_hash(tree.root.as_ref()), naive(&model));
            prop_assert_eq!(tree.root.map_or(0, |node| node.count), model.len() as u64);
            prop_assert_eq!(tree.reachable(PageId::ROOT, tree.root), tree.pages.len(), "no page is left behind");
        }
        // Everything is found, in order, and nothing else.
        let listed: Vec<_> = tree.leaves().into_iter().map(|leaf| (leaf.path, leaf.value)).collect();
        prop_assert_eq!(listed, model.iter().map(|(path, value)| (*path, *value)).collect::<Vec<_>>());
        for path in batches.iter().flat_map(|batch| batch.keys()) {
            let found = RadixTree.lookup(&tree, tree.root, path).unwrap();
            prop_assert_eq!(found.map(|leaf| leaf.value), model.get(path).copied());
        }
        // In steps of seven the same list comes out.
        let (mut stepped, mut after) = (Vec::new(), None);
        loop {
            let some = RadixTree.leaves_after(&tree, tree.root, after.as_ref(), 7).unwrap();
            let Some(last) = some.last() else { break };
            after = Some(last.path);
            stepped.extend(some);
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

#[test]
fn refuses_every_page_but_the_committed_one() {
    let mut tree = Memory::default();
    let entries: BTreeMap<_, _> =
        (0u32..200).map(|number| (value_hash(&number.to_le_bytes()), Some([1; 32]))).collect();
    tree.apply(entries.clone(), 1);
    let root = tree.root.unwrap();
    let page = tree.page(&PageId::ROOT, &root).unwrap();
    let Page::Branch(slots) = &*page else { unreachable!("200 entries do not fit a bucket") };
    for nibble in 0..16u8 {
        let Some(node) = slots[usize::from(nibble)] else { continue };
        let id = PageId::ROOT.child(nibble);
        let Page::Bucket(leaves) = (*tree.page(&id, &node).unwrap()).clone() else { continue };
        let check = |leaves: Vec<Leaf>| Page::Bucket(leaves).verify(&id, &node);
        assert_eq!(check(leaves.clone()), Ok(()));
        assert_eq!(check(leaves[1..].to_vec()), Err(IntegrityError::NotCommitted(Row::Page)));
        assert_eq!(check(Vec::new()), Err(IntegrityError::Malformed(Row::Page)));
        assert_eq!(check(leaves.iter().rev().cloned().collect()), Err(IntegrityError::Malformed(Row::Page)));
        let mut other = leaves.clone();
        other[0].value[31] ^= 1;
        assert_eq!(check(other), Err(IntegrityError::NotCommitted(Row::Page)));
        let elsewhere = PageId::ROOT.child(nibble ^ 1);
        assert_eq!(Page::Bucket(leaves).verify(&elsewhere, &node), Err(IntegrityError::Malformed(Row::Page)));
    }
    let mut without = slots.clone();
    *without.iter_mut().find(|slot| slot.is_some()).unwrap() = None;
    assert_eq!(Page::Branch(without).verify(&PageId::ROOT, &root), Err(IntegrityError::NotCommitted(Row::Page)));
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
