//! What a bucket keeps of the one that it was made of, against what is computed anew.

use super::*;

/// What stands beside all leaves but the first, of which nothing is used.
fn beside(bucket: &Bucket) -> Vec<(u8, Hash)> {
    bucket.with_nodes().skip(1).map(|(_, bit, inner)| (bit, *inner)).collect()
}

/// Compares every bucket of a subtree with one of the same leaves that was made at once.
fn compare(tree: &Memory, id: PageId, subtree: &Subtree) {
    match &**tree.page_of(&id, subtree).unwrap() {
        Page::Bucket(bucket) => {
            let kept = bucket.laid_out().unwrap().into_owned();
            let leaves: Vec<Leaf> = kept.leaves().map(|(leaf, _)| leaf.clone()).collect();
            let mut anew = Bucket::new(leaves, kept.small().clone());
            assert!(beside(&anew).is_empty(), "nothing is known of it yet");
            assert_eq!(anew.hash(u64::MAX), Some(subtree.node.hash));
            assert_eq!(beside(&kept), beside(&anew));
            assert_eq!(kept.with_nodes().count(), anew.len());
        }
        Page::Branch(branch) => {
            let children = (0u8..).zip(branch.slots.iter());
            children.for_each(|(nibble, child)| {
                if let Some(child) = child {
                    compare(tree, id.child(nibble), child);
                }
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Many changes at a time, of paths that begin alike as often as they do not; and few, which fill a bucket and empty it.
    #[test]
    fn what_a_bucket_keeps_of_the_one_before_is_what_would_be_computed(
        many in batches(),
        few in proptest::collection::vec(proptest::collection::btree_map(0u32..80, any::<Option<u8>>(), 1..6), 1..60),
    ) {
        let mut tree = Memory::default();
        for batch in many {
            tree.change(batch, 1);
            tree.root.iter().for_each(|root| compare(&tree, PageId::ROOT, root));
        }
        let mut tree = Memory::default();
        for batch in few {
            let rows = batch.into_iter().map(|(number, byte)| {
                let (path, row) = entry(number, vec![byte.unwrap_or(0); 9]);
                (path, byte.map(|_| row))
            });
            let sorted: BTreeMap<Path, Option<Arc<EntryRow>>> = rows.collect();
            tree.commit(sorted.into_iter().map(|(path, row)| Change::new(path, row)).collect());
            tree.root.iter().for_each(|root| compare(&tree, PageId::ROOT, root));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever paths lie: evenly, all but one together, or so that they differ in their last bits alone.
    #[test]
    fn a_leaf_is_found_where_halving_the_list_finds_it(
        paths in proptest::collection::btree_set(path(), 1..=BUCKET_LEAVES), others in proptest::collection::vec(path(), 0..40),
    ) {
        let sorted: Vec<Path> = paths.iter().copied().collect();
        let leaf = |path: &Path| Leaf { path: *path, hash: [1; 32], row: LeafRow::Apart(0) };
        let bucket = Bucket::new(sorted.iter().map(leaf).collect(), Arc::default());
        for path in sorted.iter().chain(&others).chain(&[[0; 32], [0xff; 32]]) {
            let found = bucket.leaf_at(path).map(|(index, ..)| usize::from(index));
            prop_assert_eq!(found, sorted.binary_search(path).ok());
        }
    }
}

/// As many changes at once as are hashed part by part: added, altered and removed, in a tree that grows and shrinks by it.
#[test]
fn root_is_the_definitions_of_thousands_of_changes_at_once() {
    let (mut tree, mut model) = (Memory::default(), BTreeMap::new());
    let mut state = 5u64;
    let mut random = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for (count, of, removed) in
        [(3_000, 4_000, 0), (1_500, 4_000, 30), (700, 5_000, 50), (4_000, 4_000, 97), (300, 900, 5)]
    {
        let mut changes = BTreeMap::new();
        for _ in 0..count {
            let (path, row) = entry(random(of) as u32, vec![random(256) as u8; 9]);
            let is_removed = random(100) < removed;
            changes.insert(path, (!is_removed).then_some(row));
        }
        for (path, row) in &changes {
            match row {
                Some(row) => model.insert(*path, value_hash(&row.value)),
                None => model.remove(path),
            };
        }
        assert!(changes.len() > 200);
        tree.commit(changes.into_iter().map(|(path, row)| Change::new(path, row)).collect());
        assert_eq!(root_hash(tree.root.as_ref()), naive(&model));
        let root = tree.root.clone().unwrap();
        assert_eq!(root.node.count, model.len() as u64);
        compare(&tree, PageId::ROOT, &root);
        tree.write();
        assert_eq!(tree.reachable(PageId::ROOT, tree.root.as_ref()), tree.pages.len(), "no page is left behind");
    }
    tree.commit(model.keys().map(|path| Change::new(*path, None)).collect());
    assert!(tree.root.is_none());
    tree.write();
    assert!(tree.pages.is_empty());
}
