//! Trees whose keys change.

use super::*;

/// What happens between the writes of a tree: entries get values, or go; other keys come; a part comes under them; all is written.
#[derive(Clone, Debug)]
enum Step {
    Commit(BTreeMap<u16, Option<u8>>),
    /// So few entries are left that pages become one, or none.
    Keep(u8),
    Rekey,
    Reseal(u8),
    Write,
}

fn reseal_steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![4 => any::<u8>().prop_map(Some), 1 => Just(None)];
    let commit = proptest::collection::btree_map(0u16..400, value, 1..60).prop_map(Step::Commit);
    let keep = (0u8..90).prop_map(Step::Keep);
    let reseal = any::<u8>().prop_map(Step::Reseal);
    let step = prop_oneof![8 => commit, 1 => keep, 4 => Just(Step::Rekey), 10 => reseal, 4 => Just(Step::Write)];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Small and large entries, of pages that commits change, split and bring together in between, also where a pass has been.
    #[test]
    fn a_pass_brings_every_row_under_the_newest_keys_and_changes_no_entry(steps in reseal_steps(), entries in 1u64..90) {
        let large = |number: u32| number % 6 == 5;
        let row = |number: u32, byte: u8| entry(number, vec![byte; if large(number) { MAX_WITHIN_BYTES } else { 7 }]);
        let mut tree = Memory::default();
        let mut model: BTreeMap<u32, u8> = (0..300).map(|number| (number, 1)).collect();
        let sorted = |changes: BTreeMap<Path, Option<Arc<EntryRow>>>| -> Vec<Change> {
            changes.into_iter().map(|(path, row)| Change::new(path, row)).collect()
        };
        let all = |model: &BTreeMap<u32, u8>| -> BTreeMap<Path, Option<Arc<EntryRow>>> {
            model.iter().map(|(number, byte)| row(*number, *byte)).map(|(path, row)| (path, Some(row))).collect()
        };
        tree.commit(sorted(all(&model)));
        let (mut after, mut begun) = (None, None);
        for step in steps {
            match step {
                Step::Commit(values) => {
                    let mut changes = BTreeMap::new();
                    for (number, byte) in values {
                        let number = u32::from(number);
                        let (path, row) = row(number, byte.unwrap_or(0));
                        changes.insert(path, byte.map(|_| row));
                        match byte { Some(byte) => model.insert(number, byte), None => model.remove(&number) };
                    }
                    tree.commit(sorted(changes));
                }
                Step::Keep(count) => {
                    let gone: Vec<u32> = model.keys().copied().filter(|number| *number >= u32::from(count)).collect();
                    tree.commit(sorted(gone.into_iter().map(|number| (row(number, 0).0, None)).collect()));
                    model.retain(|number, _| *number < u32::from(count));
                }
                Step::Rekey => tree.rekey(tree.generation + 1),
                Step::Reseal(entries) => {
                    let target = *begun.get_or_insert(tree.generation);
                    after = tree.reseal(after, u64::from(entries) + 1).map(|(last, _)| last);
                    if after.is_none() {
                        // Whatever happened to the tree during the pass, which may be over many changes of keys.
                        prop_assert!(tree.root.as_ref().is_none_or(|root| root.node.oldest >= target));
                        begun = None;
                    }
                }
                Step::Write => tree.write(),
            }
            if let Some(root) = tree.root.as_ref() {
                tree.oldest(PageId::ROOT, root);
            }
        }
        tree.rekey(tree.generation + 1);
        tree.reseal_all(entries);
        prop_assert!(tree.root.as_ref().is_none_or(|root| root.node.oldest == tree.generation));
        tree.write();
        prop_assert!(tree.pages.keys().all(|(_, generation)| *generation == tree.generation));
        prop_assert!(tree.entries.keys().all(|(_, generation)| *generation == tree.generation));
        prop_assert_eq!(tree.reachable(PageId::ROOT, tree.root.as_ref()), tree.pages.len(), "no page is left behind");
        prop_assert_eq!(tree.entries.len(), model.keys().filter(|number| large(**number)).count());
        let mut whole = Memory::default();
        whole.commit(sorted(all(&model)));
        prop_assert_eq!(tree.leaves(), whole.leaves());
        prop_assert_eq!(root_hash(tree.root.as_ref()), root_hash(whole.root.as_ref()));
        for (path, row) in all(&model) {
            let Found { leaf, value } = RadixTree.lookup(&tree, tree.root.as_ref(), &path).unwrap().unwrap();
            let value = value.unwrap_or_else(|| tree.entry(&leaf).unwrap().value.clone());
            prop_assert_eq!(Some(value), row.map(|row| row.value.clone()));
        }
        // With nothing left to do it reads nothing.
        tree.read.set(0);
        prop_assert_eq!((tree.reseal_all(entries), tree.read.get()), (0, 0));
    }
}

#[test]
fn what_was_written_since_the_keys_changed_is_neither_read_nor_sealed_again() {
    let rows = |byte: u8| (0u32..2_000).map(move |number| entry(number, vec![byte; 9])).collect::<BTreeMap<_, _>>();
    let mut tree = Memory::default();
    tree.commit(rows(1).into_iter().map(|(path, row)| Change::new(path, Some(row))).collect());
    tree.rekey(1);
    // Every entry of one half of the tree.
    let half = rows(2).into_iter().filter(|(path, _)| path[0] < 0x80);
    tree.commit(half.map(|(path, row)| Change::new(path, Some(row))).collect());
    tree.write();
    let older = tree.pages.keys().filter(|(_, generation)| *generation == 0).count();
    assert!(older > 50 && older < tree.pages.len() - 50, "{older} of {}", tree.pages.len());
    tree.read.set(0);
    assert_eq!(tree.reseal_all(u64::MAX), older);
    assert_eq!(tree.read.get(), older + 1, "those under older keys, and the root above them");
    let before = tree.pages.clone();
    tree.write();
    // What is sealed anew has the bytes that it had, but for branches, which name the keys of their children.
    let mut buckets = 0;
    for ((id, _), page) in before.iter().filter(|((_, generation), page)| *generation == 0 && page.count() <= 64) {
        assert_eq!(tree.pages[&(*id, 1)].encode(), page.encode());
        buckets += 1;
    }
    assert!(buckets > 50 && tree.pages.keys().all(|(_, generation)| *generation == 1));
    // The same values again are no reason to write anything.
    let again = rows(1).into_iter().filter(|(path, _)| path[0] >= 0x80);
    tree.rekey(2);
    tree.commit(again.map(|(path, row)| Change::new(path, Some(row))).collect());
    assert!(tree.stale.pages.is_empty() && tree.root.as_ref().is_some_and(|root| root.page.is_none()));
}

#[test]
fn a_part_ends_with_a_page_whose_last_path_is_the_last_of_its_prefix() {
    assert_eq!(PageId::ROOT.last(), [0xff; 32]);
    let mut last = [0xff; 32];
    last[0] = 0x3f;
    assert_eq!(PageId::ROOT.child(3).last(), last);
    last[0] = 0x3a;
    assert_eq!(PageId::ROOT.child(3).child(10).last(), last);
    let deepest = (0..64).fold(PageId::ROOT, |id, _| id.child(5));
    assert_eq!(deepest.last(), [0x55; 32]);
}

#[test]
fn a_parent_that_names_older_keys_than_there_are_is_put_right() {
    let mut tree = Memory { generation: 1, ..Memory::default() };
    let rows: BTreeMap<_, _> = (0u32..200).map(|number| entry(number, vec![1; 9])).collect();
    tree.commit(rows.into_iter().map(|(path, row)| Change::new(path, Some(row))).collect());
    tree.write();
    // As a page says that was put back from earlier in a pass.
    tree.root.as_mut().unwrap().node.oldest = 0;
    assert_eq!(tree.reseal_all(10), 0, "no row is under older keys");
    assert_eq!(tree.oldest(PageId::ROOT, tree.root.as_ref().unwrap()), 1);
}
