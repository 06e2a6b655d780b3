//! Which queries a worker has answered, for as long as they could be asked again.
//!
//! A host that could bring a query twice would see whether its answer changed, and so watch an account's state from outside. A nonce
//! is therefore remembered until the query's last block. Keys are free, so anyone can make a worker remember: room that all
//! queries shared would be filled with queries of the longest lifetime, and then refuse everybody.
//!
//! So each class of lifetimes has room of its own. Guarantees: nothing that was answered is forgotten before it has expired; a query
//! of a class is [`Room::Crowded`] out only if as many queries as the class has room for were answered within the class's own
//! lifetime, whatever came with longer or shorter ones; such a flood is over one such lifetime after it ends. An honest asker who
//! is crowded out asks with a shorter lifetime, and the shortest class holds more than a worker can open in that time.
//! Memory is bounded: [`Seen::ROOM`] entries a class, about 40 bytes each.
//!
//! Whoever reaches the listener controls accounts, nonces and lifetimes; the host controls how fast blocks go by, and can only stop
//! its own worker from answering.

use phala_protocol::{domain, hash_value, ids::BlockNumber, limits::MAX_QUERY_LIFETIME_BLOCKS, AccountId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

/// The longest lifetime of each class, in blocks.
const CLASSES: [BlockNumber; 4] = [8, 32, 128, MAX_QUERY_LIFETIME_BLOCKS];

/// The queries that have been answered and have not expired.
pub struct Seen {
    room: usize,
    memory: Mutex<Memory>,
}

/// What taking a nonce came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It is taken now.
    Taken,
    /// It was taken before, or its time is over.
    Used,
    /// There is no room for another query of this lifetime.
    Crowded,
}

#[derive(Default)]
struct Memory {
    latest: BlockNumber,
    by_last_block: BTreeMap<BlockNumber, Bucket>,
    admitted: [usize; CLASSES.len()],
}

#[derive(Default)]
struct Bucket {
    /// The first 16 bytes of a hash of account and nonce: to find a second such pair for a victim's is to invert the hash.
    entries: BTreeSet<[u8; 16]>,
    /// How many of them each class had room for; fixed when they came, for a lifetime shortens as it goes by.
    admitted: [usize; CLASSES.len()],
}

impl Default for Seen {
    fn default() -> Self {
        Self::with_room(Self::ROOM)
    }
}

impl Seen {
    /// Queries remembered of each class of lifetimes.
    pub const ROOM: usize = 1 << 18;

    /// With room for so many queries of each class.
    pub fn with_room(room: usize) -> Self {
        Self { room, memory: Mutex::default() }
    }

    /// Takes the nonce of a query that is answered until `last_block`, seen from the state at `now`.
    pub(crate) fn take(
        &self,
        account: &AccountId,
        nonce: &[u8; 16],
        last_block: BlockNumber,
        now: BlockNumber,
    ) -> Room {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = &mut *memory;
        memory.forget_before(now);
        // A snapshot that is older than another one in use: what that forgot may not be asked of this.
        let Some(lifetime) = last_block.checked_sub(memory.latest) else { return Room::Used };
        let Some(class) = CLASSES.iter().position(|longest| lifetime <= *longest) else { return Room::Crowded };
        let hash = hash_value(domain::QUERY_SEEN, &(account, nonce));
        let mut entry = [0; 16];
        entry.iter_mut().zip(hash).for_each(|(target, byte)| *target = byte);
        if memory.by_last_block.get(&last_block).is_some_and(|bucket| bucket.entries.contains(&entry)) {
            return Room::Used;
        }
        let Some(admitted) = memory.admitted.get_mut(class).filter(|admitted| **admitted < self.room) else {
            return Room::Crowded;
        };
        *admitted = admitted.saturating_add(1);
        let bucket = memory.by_last_block.entry(last_block).or_default();
        bucket.entries.insert(entry);
        if let Some(admitted) = bucket.admitted.get_mut(class) {
            *admitted = admitted.saturating_add(1);
        }
        Room::Taken
    }
}

impl Memory {
    fn forget_before(&mut self, now: BlockNumber) {
        if now <= self.latest {
            return;
        }
        self.latest = now;
        let kept = self.by_last_block.split_off(&now);
        for bucket in std::mem::replace(&mut self.by_last_block, kept).into_values() {
            for (total, admitted) in self.admitted.iter_mut().zip(bucket.admitted) {
                *total = total.saturating_sub(admitted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u32) -> AccountId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        AccountId(id)
    }

    fn take(seen: &Seen, number: u32, last_block: BlockNumber, now: BlockNumber) -> Room {
        seen.take(&account(number), &[7; 16], last_block, now)
    }

    #[test]
    fn a_nonce_is_taken_once_until_it_expires_whatever_class_it_is_in_by_then() {
        let seen = Seen::default();
        for lifetime in [0, 8, 9, 32, 33, 128, 129, 600] {
            let now = 1_000 * (lifetime + 1);
            assert_eq!(take(&seen, 1, now + lifetime, now), Room::Taken);
            for later in 0..=lifetime {
                assert_eq!(take(&seen, 1, now + lifetime, now + later), Room::Used, "{later} of {lifetime}");
            }
            assert_eq!(take(&seen, 1, now + lifetime, now + lifetime + 1), Room::Used, "over");
        }
        assert!(seen.memory.lock().unwrap().by_last_block.is_empty());
    }

    #[test]
    fn an_older_snapshot_is_not_asked_what_a_newer_one_forgot() {
        let seen = Seen::default();
        assert_eq!(take(&seen, 1, 10, 9), Room::Taken);
        assert_eq!(take(&seen, 2, 20, 11), Room::Taken);
        assert_eq!(take(&seen, 1, 10, 9), Room::Used);
    }

    /// Free keys, each with one query, at full size: of every class of lifetimes they crowd out only that class, and no longer than
    /// one of its lifetimes.
    #[test]
    fn a_flood_of_free_keys_crowds_out_its_own_class_of_lifetimes_only() {
        for (flooded, longest) in CLASSES.into_iter().enumerate() {
            let (seen, now) = (Seen::default(), 5_000);
            let flood = Seen::ROOM as u32;
            assert!((0..flood).all(|key| take(&seen, key, now + longest, now) == Room::Taken));
            assert_eq!(take(&seen, flood, now + longest, now), Room::Crowded);
            assert_eq!(take(&seen, 0, now + longest, now), Room::Used, "and nothing was forgotten for it");
            for (class, lifetime) in CLASSES.into_iter().enumerate().filter(|(class, _)| *class != flooded) {
                assert_eq!(take(&seen, flood, now + lifetime, now), Room::Taken, "{class} during a flood of {flooded}");
            }
            let after = now + longest + 1;
            assert_eq!(take(&seen, flood + 1, after + longest, after), Room::Taken, "the flood has expired");
            assert_eq!(seen.memory.lock().unwrap().admitted[flooded], 1);
        }
    }
}
