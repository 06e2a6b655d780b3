//! Which snapshot goes when another has no room.
//!
//! Guarantees: what is of no use goes first, also while somebody reads it: reading, which anyone may, keeps nothing. Half of the folder is
//! never a peer's, and for what a peer gives none of ours goes that its cluster's TEEs may still need, and nothing that another peer gave of
//! the same cluster and epoch, unless it failed often enough. Does not: remove anything.

use super::{Entry, Kept, Origin, FORGOTTEN};
use phala_protocol::{ids::Epoch, limits::FINAL_RESULTS_KEPT, ClusterId};
use std::{collections::BTreeMap, time::Instant};

/// Of this many bytes, as many may be of what peers gave, with what is being fetched of them.
pub(super) const fn share_of_peers(most: u64) -> u64 {
    most / 2
}

/// What is in a folder.
#[derive(Default)]
pub(super) struct Index {
    pub(super) entries: Vec<Entry>,
    /// Bytes of files of our own that are being written.
    own_under_way: u64,
    /// The same, of peers'.
    peers_under_way: u64,
    /// The latest epoch in which a TEE here named a cluster, and when one did.
    pub(super) named: BTreeMap<ClusterId, (Epoch, Instant)>,
}

/// What has to be done before bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Nothing.
    Enough,
    /// The entry at this place has to go.
    Goes(usize),
    /// Nothing that may go would help.
    Full,
}

/// Why an entry may go. What comes first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// A newer one is here.
    Replaced,
    /// Of an epoch that is over: nobody can open it who is not further already.
    Former,
    /// Ours, and of so many blocks before a newer one of ours that the chain may prove it no more.
    Unproved,
    /// A TEE here did not get on with it.
    Doubted,
    /// A peer gave it, and one of ours is here.
    Spare,
    /// No TEE here has named its cluster for long.
    Forgotten,
    /// A peer gave it, and ours comes first.
    OfAPeer,
}

impl Index {
    pub(super) fn under_way(&mut self, origin: Origin) -> &mut u64 {
        match origin {
            Origin::Own => &mut self.own_under_way,
            Origin::Peer => &mut self.peers_under_way,
        }
    }

    /// What has to be done before `bytes` of `of` are written, where there may be `most` in all.
    pub(super) fn room(&self, of: &Kept, bytes: u64, most: u64, now: Instant) -> Room {
        let whole = |origin: Origin| -> u64 {
            let entries = self.entries.iter().filter(|entry| entry.kept.origin == origin);
            entries.map(|entry| entry.kept.bytes()).sum()
        };
        let own = whole(Origin::Own).saturating_add(self.own_under_way);
        let peers = whole(Origin::Peer).saturating_add(self.peers_under_way);
        let is_share_spent = of.origin == Origin::Peer && peers.saturating_add(bytes) > share_of_peers(most);
        if !is_share_spent && own.saturating_add(peers).saturating_add(bytes) <= most {
            return Room::Enough;
        }
        let that_help = |entry: &Entry| !is_share_spent || entry.kept.origin == Origin::Peer;
        let places = self.entries.iter().enumerate().filter(|(_, entry)| that_help(entry));
        let reasons = places.filter_map(|(place, entry)| {
            let reason = self.reason(entry, of, now)?;
            Some((reason, entry.kept.origin == Origin::Own, place))
        });
        reasons.min().map_or(Room::Full, |(_, _, place)| Room::Goes(place))
    }

    /// Why an entry may go for the sake of `of`, if it may.
    fn reason(&self, entry: &Entry, of: &Kept, now: Instant) -> Option<Reason> {
        let (kept, header) = (&entry.kept, &entry.kept.header);
        let named = self.named.get(&header.cluster);
        let is_the_same = header.cluster == of.header.cluster;
        let is_over = |epoch: Epoch| header.epoch < epoch;
        if entry.replaced.is_some() {
            return Some(Reason::Replaced);
        }
        if named.is_some_and(|(epoch, _)| is_over(*epoch)) || (is_the_same && is_over(of.header.epoch)) {
            return Some(Reason::Former);
        }
        let (is_own, is_for_own) = (kept.origin == Origin::Own, of.origin == Origin::Own);
        if (is_own && !is_for_own) || entry.stays_beside(of) {
            return None;
        }
        let is_of_one_epoch = is_the_same && header.epoch == of.header.epoch;
        let blocks = of.header.boundary.block.saturating_sub(header.boundary.block);
        if is_own && is_of_one_epoch && blocks >= FINAL_RESULTS_KEPT {
            return Some(Reason::Unproved);
        }
        if entry.doubted {
            return Some(Reason::Doubted);
        }
        let has_ours = self.entries.iter().any(|other| {
            let is_of_it = other.kept.header.cluster == header.cluster && other.kept.header.epoch == header.epoch;
            is_of_it && other.kept.origin == Origin::Own && other.replaced.is_none() && !other.doubted
        });
        if !is_own && has_ours {
            return Some(Reason::Spare);
        }
        let is_forgotten = named.is_none_or(|(_, at)| now.saturating_duration_since(*at) >= FORGOTTEN);
        if !is_the_same && is_forgotten {
            return Some(Reason::Forgotten);
        }
        (!is_own && is_for_own).then_some(Reason::OfAPeer)
    }
}
