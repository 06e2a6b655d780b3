//! A map that forgets what was used longest ago once it is full.
//!
//! Guarantees: never more entries, nor more bytes as its owner counts them, than it was made for; what is found is what was put in under
//! that very key. Keys may come from anyone: finding one takes time in the logarithm of their number, whatever they are. Does not: know
//! how much memory a value takes, nor keep anything from being pushed out by enough others.

use std::collections::BTreeMap;

struct Slot<V> {
    value: V,
    bytes: usize,
    used: u64,
}

/// The map.
pub(crate) struct Recent<K, V> {
    most: usize,
    most_bytes: usize,
    bytes: usize,
    /// The number of the next use.
    uses: u64,
    slots: BTreeMap<K, Slot<V>>,
    /// The keys by their last use.
    by_use: BTreeMap<u64, K>,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    /// For `most` entries that have `most_bytes` bytes together.
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, bytes: 0, uses: 0, slots: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    /// What stands under `key`, which counts as a use.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        let used = self.uses;
        let slot = self.slots.get_mut(key)?;
        self.by_use.remove(&slot.used);
        slot.used = used;
        self.by_use.insert(used, *key);
        self.uses = used.saturating_add(1);
        Some(&slot.value)
    }

    /// The first value for which `test` holds, which counts as a use. Looks at every one: for maps of few.
    pub(crate) fn find(&mut self, test: impl Fn(&V) -> bool) -> Option<&V> {
        let key = self.slots.iter().find(|(_, slot)| test(&slot.value)).map(|(key, _)| *key)?;
        self.get(&key)
    }

    /// Puts `value` of so many bytes under `key`, instead of what stood there, and forgets what was used longest ago until there is room.
    /// One that is larger than all room is not kept.
    pub(crate) fn put(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if self.most == 0 || bytes > self.most_bytes {
            return;
        }
        while self.slots.len() >= self.most || self.bytes.saturating_add(bytes) > self.most_bytes {
            let Some(oldest) = self.by_use.values().next().copied() else { return };
            self.remove(&oldest);
        }
        self.by_use.insert(self.uses, key);
        self.slots.insert(key, Slot { value, bytes, used: self.uses });
        self.bytes = self.bytes.saturating_add(bytes);
        self.uses = self.uses.saturating_add(1);
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many bytes they have, as they were counted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, key: &K) {
        if let Some(slot) = self.slots.remove(key) {
            self.by_use.remove(&slot.used);
            self.bytes = self.bytes.saturating_sub(slot.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut recent = Recent::new(3, 100);
        for key in [1u8, 2, 3] {
            recent.put(key, key * 10, 1);
        }
        assert_eq!(recent.get(&1), Some(&10));
        recent.put(4, 40, 1);
        assert_eq!([1, 2, 3, 4].map(|key| recent.get(&key).copied()), [Some(10), None, Some(30), Some(40)]);
        assert_eq!(recent.find(|value| *value == 30), Some(&30));
        assert_eq!(recent.find(|value| *value == 20), None);
        assert_eq!(recent.by_use.values().copied().collect::<Vec<u8>>(), [1, 4, 3]);
        // Replaced, not added: nothing goes.
        recent.put(1, 11, 1);
        assert_eq!([1, 3, 4].map(|key| recent.get(&key).copied()), [Some(11), Some(30), Some(40)]);
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_pushes_nothing_out() {
        let mut recent = Recent::new(3, 10);
        recent.put(1u8, "a", 4);
        recent.put(2, "b", 11);
        assert_eq!([1, 2].map(|key| recent.get(&key).copied()), [Some("a"), None]);
        // One that stood under the same key is replaced by nothing, rather than found in its stead.
        recent.put(1, "c", 11);
        assert_eq!(recent.get(&1), None);
        assert_eq!((recent.len(), recent.bytes()), (0, 0));
        recent.put(3, "d", 10);
        recent.put(4, "e", 10);
        assert_eq!([3, 4].map(|key| recent.get(&key).copied()), [None, Some("e")]);
        assert_eq!((recent.len(), recent.bytes()), (1, 10));
        let mut none = Recent::new(0, 10);
        none.put(1u8, "a", 0);
        assert_eq!(none.get(&1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a list that is searched and sorted.
        #[test]
        fn it_holds_what_a_list_in_order_of_use_would(
            most in 0usize..6,
            most_bytes in 0usize..20,
            steps in proptest::collection::vec((any::<bool>(), 0u8..9, any::<u16>(), 0usize..9), 0..80),
        ) {
            let mut recent = Recent::new(most, most_bytes);
            let mut list: Vec<(u8, u16, usize)> = Vec::new();
            for (put, key, value, bytes) in steps {
                let found = list.iter().position(|entry| entry.0 == key).map(|position| list.remove(position));
                if put {
                    recent.put(key, value, bytes);
                    if most > 0 && bytes <= most_bytes {
                        list.push((key, value, bytes));
                    }
                    while list.len() > most || list.iter().map(|entry| entry.2).sum::<usize>() > most_bytes {
                        list.remove(0);
                    }
                } else {
                    prop_assert_eq!(recent.get(&key).copied(), found.map(|entry| entry.1));
                    list.extend(found);
                }
                prop_assert_eq!(recent.len(), list.len());
                let keys: Vec<u8> = list.iter().map(|entry| entry.0).collect();
                prop_assert_eq!(recent.by_use.values().copied().collect::<Vec<u8>>(), keys);
                prop_assert_eq!(recent.bytes(), list.iter().map(|entry| entry.2).sum::<usize>());
            }
        }
    }
}
