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
