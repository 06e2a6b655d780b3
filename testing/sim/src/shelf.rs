//! What relayers keep of snapshots, and hand on to whoever lacks a state; and how a relayer alters what it hands on.
//!
//! Guarantees: what is kept is what a TEE made, part by part; what [`Shelf::due`] gives is the right thing for an honest relayer to bring.
//! [`SPOIL_KINDS`] counts the ways of altering, which need nobody's key. Does not: judge what a TEE does with any of it.

use crate::random::Random;
use phala_protocol::{
    snapshot::{SnapshotHeader, SnapshotPart, MOST_SNAPSHOT_PARTS},
    Epoch, Hash,
};

/// Snapshots that are kept; one more takes the place of the oldest.
const MOST_KEPT: usize = 6;
/// Parts that an honest relayer brings at once: few, so that much can happen between them.
const PARTS_AT_ONCE: usize = 2;
/// Ways of altering what is handed on.
pub const SPOIL_KINDS: u32 = 10;
/// The way that a TEE does not have to refuse: a snapshot that is true and old.
pub const OLDEST: u32 = 9;

/// A snapshot, as far as it was made.
#[derive(Clone)]
pub struct Kept {
    /// What it is of.
    pub header: SnapshotHeader,
    /// Which TEE made it.
    pub maker: usize,
    /// Its parts, in order.
    pub parts: Vec<SnapshotPart>,
}

impl Kept {
    /// Whether its last part is here.
    pub fn is_whole(&self) -> bool {
        self.parts.last().is_some_and(|part| part.last)
    }

    fn rest(&self, next: u32) -> Vec<SnapshotPart> {
        self.parts.iter().skip(next as usize).take(PARTS_AT_ONCE).cloned().collect()
    }
}

/// All that relayers keep of the cluster's snapshots.
#[derive(Default)]
pub struct Shelf {
    kept: Vec<Kept>,
}

impl Shelf {
    /// All of it is gone.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// Takes out the snapshot that a TEE has not made all of, to go on with it.
    pub fn take_begun(&mut self, maker: usize) -> Option<Kept> {
        let index = self.kept.iter().rposition(|kept| kept.maker == maker && !kept.is_whole())?;
        Some(self.kept.remove(index))
    }

    /// Whether there is one that a TEE has not made all of.
    pub fn has_begun(&self, maker: usize) -> bool {
        self.kept.iter().any(|kept| kept.maker == maker && !kept.is_whole())
    }

    /// Keeps a snapshot.
    pub fn keep(&mut self, kept: Kept) {
        self.kept.push(kept);
        if self.kept.len() > MOST_KEPT {
            self.kept.remove(0);
        }
    }

    /// How many whole ones there are of an epoch.
    pub fn whole(&self, epoch: Epoch) -> usize {
        self.of(epoch).filter(|kept| kept.is_whole()).count()
    }

    fn of(&self, epoch: Epoch) -> impl Iterator<Item = &Kept> {
        self.kept.iter().filter(move |kept| kept.header.epoch == epoch)
    }

    fn named(&self, id: &Hash) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.header.id() == *id)
    }

    /// What an honest relayer brings a TEE that lacks the state in `epoch`, and has taken this much of a snapshot: the rest of that one,
    /// or else the newest whole one from its beginning, or what there is of one that is not whole.
    pub fn due(&self, epoch: Epoch, taking: Option<(Hash, u32)>) -> Vec<SnapshotPart> {
        let begun = taking.and_then(|(id, next)| Some((self.named(&id)?, next)));
        if let Some((kept, next)) = begun {
            let rest = kept.rest(next);
            if !rest.is_empty() || kept.is_whole() {
                return rest;
            }
        }
        let newest = self.of(epoch).filter(|kept| kept.is_whole()).max_by_key(|kept| kept.header.boundary.count);
        // All there is of the one that was begun is there already.
        let unfinished = || self.of(epoch).filter(|_| begun.is_none()).last();
        newest.or_else(unfinished).map(|kept| kept.rest(0)).unwrap_or_default()
    }

    /// The same, altered in way number `kind`; nothing where there is nothing to alter.
    pub fn spoiled(
        &self,
        epoch: Epoch,
        taking: Option<(Hash, u32)>,
        kind: u32,
        chance: &mut Random,
    ) -> Vec<SnapshotPart> {
        let oldest = || self.of(epoch).find(|kept| kept.is_whole());
        let mut parts = self.due(epoch, taking);
        let Some(first) = parts.first_mut() else { return Vec::new() };
        match kind % SPOIL_KINDS {
            0 => {
                let index = chance.below(first.sealed.len() as u32) as usize;
                if let Some(byte) = first.sealed.get_mut(index) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            1 => first.sealed.truncate(chance.below(first.sealed.len() as u32) as usize),
            2 => first.last = !first.last,
            3 => first.header.salt[0] ^= 1,
            4 => first.header.boundary.count += 1,
            5 => first.index += 1,
            6 => first.header.epoch = first.header.epoch.wrapping_sub(1),
            // Parts of two snapshots, mixed: the body is another's.
            7 => {
                let header = first.header;
                let other = self.kept.iter().find(|kept| kept.header != header && !kept.parts.is_empty());
                let Some(other) = other else { return Vec::new() };
                first.sealed = other.parts[chance.below(other.parts.len() as u32) as usize].sealed.clone();
            }
            8 => parts = vec![first.clone(); MOST_SNAPSHOT_PARTS + 1],
            // Whole and true, and the oldest: as good as any, whatever was begun.
            _ => parts = oldest().map(|kept| kept.rest(0)).unwrap_or_default(),
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pallets::CLUSTER;
    use phala_protocol::result::Boundary;

    fn kept(epoch: Epoch, count: u64, parts: u32, whole: bool) -> Kept {
        let boundary = Boundary { block: count as u32, count, link: [0; 32] };
        let header = SnapshotHeader { cluster: CLUSTER, era: 0, epoch, boundary, salt: [parts as u8; 32] };
        let part =
            |index| SnapshotPart { header, index, last: whole && index + 1 == parts, sealed: vec![count as u8; 8] };
        Kept { header, maker: 1, parts: (0..parts).map(part).collect() }
    }

    fn shelf(all: &[&Kept]) -> Shelf {
        Shelf { kept: all.iter().map(|kept| (*kept).clone()).collect() }
    }

    fn places(parts: &[SnapshotPart]) -> Vec<(u64, u32)> {
        parts.iter().map(|part| (part.header.boundary.count, part.index)).collect()
    }

    #[test]
    fn an_honest_relayer_goes_on_with_what_was_begun_and_leaves_what_its_maker_did_not_finish() {
        let (old, newest, begun) = (kept(2, 5, 3, true), kept(2, 7, 4, true), kept(2, 9, 2, false));
        let all = shelf(&[&old, &newest, &begun, &kept(1, 4, 1, true)]);
        assert_eq!(places(&all.due(2, None)), [(7, 0), (7, 1)]);
        assert_eq!(places(&all.due(2, Some((old.header.id(), 2)))), [(5, 2)]);
        assert!(all.due(2, Some((old.header.id(), 3))).is_empty(), "it waits for the chain's word");
        assert_eq!(places(&all.due(2, Some((begun.header.id(), 1)))), [(9, 1)]);
        assert_eq!(places(&all.due(2, Some((begun.header.id(), 2)))), [(7, 0), (7, 1)]);
        assert_eq!(places(&all.due(2, Some(([9; 32], 1)))), [(7, 0), (7, 1)], "one that nobody has any more");
        assert!(all.due(3, None).is_empty());
        let alone = shelf(&[&begun]);
        assert_eq!(places(&alone.due(2, None)), [(9, 0), (9, 1)]);
        assert!(alone.due(2, Some((begun.header.id(), 2))).is_empty(), "nothing more of it is there");
    }

    #[test]
    fn every_way_of_altering_alters_but_the_last_which_brings_an_older_one() {
        let (old, newest) = (kept(2, 5, 3, true), kept(2, 7, 4, true));
        let all = shelf(&[&old, &newest]);
        let honest = all.due(2, None);
        for kind in 0..OLDEST {
            let altered = all.spoiled(2, None, kind, &mut Random::new(1));
            assert!(!altered.is_empty() && altered != honest, "{kind}");
        }
        assert_eq!(places(&all.spoiled(2, None, OLDEST, &mut Random::new(1))), [(5, 0), (5, 1)]);
        assert!(shelf(&[&newest]).spoiled(2, None, 7, &mut Random::new(1)).is_empty(), "there is no other one");
    }
}
