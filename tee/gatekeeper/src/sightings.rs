//! Since when this gatekeeper itself has seen each measurement on the allow-list.
//!
//! The chain says when an entry was listed, and an upgrade of the runtime can write whatever it likes there. What no upgrade can write is
//! the past: an entry that was made up at block U is in no finalised state before U. So the delay before a measurement counts runs from the
//! first finalised head at which this gatekeeper saw the entry, if that is later than what the entry says; see `policy.rs`.
//!
//! Guarantees: [`Sightings::since`] is the number of a finalised block from which on the entry, with this very date of listing and for no
//! fewer roles than now, stood in every finalised state that was shown here, no two of them more than [`MOST_GAP_BLOCKS`] apart. An entry
//! that is taken off, that ends, whose date changes, or that is widened to another role begins again. Nothing is given on trust: an empty memory - a new machine, a wiped or foreign disk - has seen nothing,
//! and its gatekeeper waits out the delay for everything. To wipe a memory only lengthens a delay, and to rewind it gives nothing that is
//! older than the gap.
//!
//! The host chooses which finalised heads are shown, and when; it cannot show a state that was not finalised. Heads of the past count for
//! what they are, so that a new gatekeeper may be led through the chain's history, one head a gap, instead of waiting. Not covered: an
//! entry that was listed before, and off the list for less than the gap, comes back with its old date. Sans-IO: the caller seals the bytes.

use codec::{Decode, DecodeAll, Encode};
use phala_protocol::{
    attestation::{Listing, Role},
    chain_state::AllowedMeasurement,
    ids::BlockNumber,
    Hash,
};
use std::collections::BTreeMap;

/// Measurements that are remembered at most. One that finds no room is not remembered, and so gets no keys.
pub const MOST_SIGHTINGS: usize = 64;
/// Blocks between two heads that count as one sight: six hours of 6 s blocks, for which a gatekeeper may be away.
pub const MOST_GAP_BLOCKS: BlockNumber = 3_600;

/// What was seen of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Sighting {
    /// What the entry says.
    listed_at: BlockNumber,
    /// The only role that it was listed for at every head of this sight; none for every role.
    role: Option<Role>,
    /// The head at which it was first seen so.
    since: BlockNumber,
    /// The head at which it was last seen so.
    last: BlockNumber,
}

impl Sighting {
    /// Whether it is of this entry, and for the role that it is listed for now, or for every role.
    fn covers(&self, entry: &AllowedMeasurement, role: Option<Role>) -> bool {
        self.listed_at == entry.listed_at && (self.role.is_none() || self.role == role)
    }
}

/// The memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings(BTreeMap<Hash, Sighting>);

impl Sightings {
    /// Out of unsealed bytes, of which each memory has one form; none when they are of another version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let map = BTreeMap::<Hash, Sighting>::decode_all(&mut &bytes[..]).ok()?;
        (map.len() <= MOST_SIGHTINGS && map.encode() == bytes).then_some(Self(map))
    }

    /// The bytes to seal.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is remembered, whose entries have to be shown again.
    pub fn measurements(&self) -> impl Iterator<Item = &Hash> {
        self.0.keys()
    }

    /// Takes what the state of the finalised block `head` says of a measurement: its entry and listing, or that there are none. Says
    /// whether the memory now says something else, so that it has to be kept.
    pub fn observe(
        &mut self,
        measurement: &Hash,
        shown: Option<(&AllowedMeasurement, &Listing)>,
        head: BlockNumber,
    ) -> bool {
        // What has ended is not listed: it begins again when it is listed again.
        let shown = shown.filter(|(entry, _)| entry.sunset.is_none_or(|sunset| head <= sunset));
        let known = self.0.get(measurement).copied();
        // After a restart a host may show an older head than is remembered: it says nothing of what is.
        if known.is_some_and(|known| head < known.last) {
            return false;
        }
        let Some((entry, Listing { role, .. })) = shown else { return self.0.remove(measurement).is_some() };
        let fresh = Sighting { listed_at: entry.listed_at, role: *role, since: head, last: head };
        match known {
            Some(known) if known.covers(entry, *role) && head.saturating_sub(known.last) <= MOST_GAP_BLOCKS => {
                self.0.insert(*measurement, Sighting { role: *role, last: head, ..known });
                // Narrowed, it is seen for the narrower role alone.
                known.role != *role
            }
            Some(_) => {
                self.0.insert(*measurement, fresh);
                true
            }
            None => {
                if self.0.len() >= MOST_SIGHTINGS {
                    // What was not seen for longer than the gap would begin again anyway.
                    self.0.retain(|_, sighting| head.saturating_sub(sighting.last) <= MOST_GAP_BLOCKS);
                }
                let room = self.0.len() < MOST_SIGHTINGS;
                if room {
                    self.0.insert(*measurement, fresh);
                }
                room
            }
        }
    }

    /// Since which finalised block this entry was seen, if it was.
    pub fn since(&self, measurement: &Hash, entry: &AllowedMeasurement, listing: &Listing) -> Option<BlockNumber> {
        self.0.get(measurement).filter(|known| known.covers(entry, listing.role)).map(|known| known.since)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{policy::is_allowed, MEASUREMENT_DELAY_BLOCKS};

    const ONE: Hash = [1; 32];

    fn listed(listed_at: BlockNumber) -> AllowedMeasurement {
        AllowedMeasurement { source: [9; 32], listed_at, not_before: 0, sunset: None }
    }

    /// What governance said of it.
    fn of(role: Option<Role>) -> Listing {
        let version = phala_protocol::attestation::Version(1, 2, 3);
        Listing { source: [9; 32], version, role, not_before: 0, sunset: None }
    }

    /// Shows `entry`, for every role, at heads from `from` to `to`, a thousand blocks apart.
    fn watch(sightings: &mut Sightings, entry: &AllowedMeasurement, from: BlockNumber, to: BlockNumber) {
        for head in (from..to).step_by(1_000).chain([to]) {
            sightings.observe(&ONE, Some((entry, &of(None))), head);
        }
    }

    fn allowed(sightings: &Sightings, entry: &AllowedMeasurement, now: BlockNumber) -> bool {
        is_allowed(entry, sightings.since(&ONE, entry, &of(None)), now, false)
    }

    #[test]
    fn a_backdated_entry_waits_from_the_first_sight_of_it() {
        let mut sightings = Sightings::default();
        let forged = listed(7);
        assert!(!allowed(&sightings, &forged, 1_000_000), "what was never seen");
        watch(&mut sightings, &forged, 1_000_000, 1_000_000 + MEASUREMENT_DELAY_BLOCKS);
        assert!(!allowed(&sightings, &forged, 1_000_000));
        assert!(!allowed(&sightings, &forged, 1_000_000 + MEASUREMENT_DELAY_BLOCKS - 1));
        assert!(allowed(&sightings, &forged, 1_000_000 + MEASUREMENT_DELAY_BLOCKS));
        // One that is dated later than it was seen waits from its date.
        let later = listed(2_000_000);
        watch(&mut sightings, &later, 1_100_000, 2_000_000 + MEASUREMENT_DELAY_BLOCKS);
        assert!(!allowed(&sightings, &later, 2_000_000 + MEASUREMENT_DELAY_BLOCKS - 1));
        assert!(allowed(&sightings, &later, 2_000_000 + MEASUREMENT_DELAY_BLOCKS));
    }

    #[test]
    fn what_is_taken_off_ends_or_changes_its_date_begins_again() {
        type Change = fn(&mut Sightings, BlockNumber);
        let changes: [Change; 4] = [
            |sightings, head| assert!(sightings.observe(&ONE, None, head)),
            |sightings, head| {
                let ended = AllowedMeasurement { sunset: Some(head - 1), ..listed(7) };
                assert!(sightings.observe(&ONE, Some((&ended, &of(None))), head));
            },
            |sightings, head| assert!(sightings.observe(&ONE, Some((&listed(6), &of(None))), head), "an earlier date"),
            |sightings, head| assert!(sightings.observe(&ONE, Some((&listed(head), &of(None))), head), "a later one"),
        ];
        for change in changes {
            let mut sightings = Sightings::default();
            watch(&mut sightings, &listed(7), 100, 20_000);
            assert!(allowed(&sightings, &listed(7), 20_000));
            change(&mut sightings, 20_001);
            assert!(!allowed(&sightings, &listed(7), 20_001));
            sightings.observe(&ONE, Some((&listed(7), &of(None))), 20_002);
            assert_eq!(sightings.since(&ONE, &listed(7), &of(None)), Some(20_002));
        }
    }

    #[test]
    fn what_is_widened_to_another_role_begins_again_and_what_is_narrowed_does_not() {
        let (entry, worker, gatekeeper) = (listed(7), of(Some(Role::Worker)), of(Some(Role::Gatekeeper)));
        let every = of(None);
        let mut sightings = Sightings::default();
        sightings.observe(&ONE, Some((&entry, &every)), 100);
        assert_eq!(sightings.since(&ONE, &entry, &worker), Some(100), "of every role it was seen for this one");
        assert!(sightings.observe(&ONE, Some((&entry, &worker)), 200), "it is kept that it was narrowed");
        assert!(!sightings.observe(&ONE, Some((&entry, &worker)), 300));
        assert_eq!(sightings.since(&ONE, &entry, &worker), Some(100));
        // An upgrade that writes another role, or every role, beside the old date.
        for wider in [&gatekeeper, &every] {
            let mut widened = sightings.clone();
            assert_eq!(widened.since(&ONE, &entry, wider), None);
            assert!(widened.observe(&ONE, Some((&entry, wider)), 400));
            assert_eq!(widened.since(&ONE, &entry, wider), Some(400));
        }
    }

    #[test]
    fn a_sight_that_was_broken_off_for_longer_than_the_gap_begins_again() {
        let entry = listed(7);
        let mut sightings = Sightings::default();
        watch(&mut sightings, &entry, 100, 20_000);
        let mut away = sightings.clone();
        assert!(!sightings.observe(&ONE, Some((&entry, &of(None))), 20_000 + MOST_GAP_BLOCKS));
        assert_eq!(sightings.since(&ONE, &entry, &of(None)), Some(100));
        assert!(away.observe(&ONE, Some((&entry, &of(None))), 20_001 + MOST_GAP_BLOCKS));
        assert_eq!(away.since(&ONE, &entry, &of(None)), Some(20_001 + MOST_GAP_BLOCKS));
    }

    #[test]
    fn heads_of_the_past_count_for_what_they_are_and_undo_nothing() {
        let entry = listed(7);
        let mut sightings = Sightings::default();
        // A new gatekeeper that is led through history has seen it; one that is shown the ends of it has not.
        watch(&mut sightings, &entry, 100, 50_000);
        assert!(allowed(&sightings, &entry, 50_000));
        let mut ends = Sightings::default();
        ends.observe(&ONE, Some((&entry, &of(None))), 100);
        ends.observe(&ONE, Some((&entry, &of(None))), 50_000);
        assert!(!allowed(&ends, &entry, 50_000));
        // An older head after a restart neither removes nor restarts anything.
        let before = sightings.clone();
        assert!(!sightings.observe(&ONE, None, 40_000));
        assert!(!sightings.observe(&ONE, Some((&listed(9), &of(None))), 40_000));
        assert_eq!(sightings, before);
    }

    #[test]
    fn the_memory_is_bounded_and_survives_being_kept() {
        let mut sightings = Sightings::default();
        let name = |index: usize| [u8::try_from(index).unwrap(); 32];
        for index in 0..MOST_SIGHTINGS {
            assert!(sightings.observe(&name(index), Some((&listed(1), &of(None))), 10));
        }
        assert!(!sightings.observe(&name(200), Some((&listed(1), &of(None))), 11), "no room, and so no keys");
        assert_eq!(sightings.since(&name(200), &listed(1), &of(None)), None);
        assert_eq!(sightings.measurements().count(), MOST_SIGHTINGS);
        assert_eq!(Sightings::from_bytes(&sightings.to_bytes()), Some(sightings.clone()));
        // Room is made by what is gone, and by what nobody has shown for longer than the gap.
        assert!(
            sightings.observe(&name(3), None, 12) && sightings.observe(&name(200), Some((&listed(1), &of(None))), 12)
        );
        assert!(sightings.observe(&name(201), Some((&listed(1), &of(None))), 12 + MOST_GAP_BLOCKS));
        assert_eq!(sightings.measurements().count(), 2);
        for bad in [&b"\xff"[..], b"", &[0, 0]] {
            assert_eq!(Sightings::from_bytes(bad), None, "{bad:?}");
        }
        let many: BTreeMap<Hash, Sighting> = (0..=MOST_SIGHTINGS)
            .map(|index| (name(index), Sighting { listed_at: 1, role: None, since: 1, last: 1 }))
            .collect();
        assert_eq!(Sightings::from_bytes(&many.encode()), None);
    }
}
