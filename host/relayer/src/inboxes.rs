//! In which order a TEE's inboxes are read, and which of them waits while the node does not give its items.
//!
//! A node that has just started looks for an inbox's old items step by step, and says that it is busy until it has found them, for as long
//! as it likes; one that does not keep them, or whose index is damaged, gives an error for good. The TEE's other inboxes, and everything else
//! that it is to have, go on meanwhile: a worker that is not brought heads gives no sign of life either.
//!
//! Guarantees: each delivery begins with the inbox after the one that the last began with, among those that do not wait, so that each of
//! them is first in its turn, whatever the others hold; only the inbox that the node does not give waits, twice as long as the last time,
//! and [`LONGEST`] at most; what is remembered is of inboxes that the TEE names. Node and TEE control what is told here. Does not: ask, or
//! look at items, whose order within an inbox it cannot change.

use phala_client::ClientError;
use phala_protocol::{relay::InboxCursor, ClusterId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long an inbox waits when the node did not give it for the first time.
const FIRST: Duration = Duration::from_millis(50);
/// How long it waits at most. A node that makes way is not kept from it for long: it goes no step on without being asked.
const LONGEST: Duration = Duration::from_secs(1);

/// Whose turn it is among the inboxes of one TEE.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The inbox that the last delivery began with.
    first: Option<ClusterId>,
    waiting: BTreeMap<ClusterId, Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    length: Duration,
    until: Instant,
}

impl Turns {
    /// The inboxes of which items are asked for at `now`, in the order in which they are: those that can take items, and do not wait.
    pub(crate) fn begin(&mut self, inboxes: &[InboxCursor], now: Instant) -> Vec<InboxCursor> {
        let named: BTreeSet<ClusterId> = inboxes.iter().map(|inbox| inbox.cluster).collect();
        self.waiting.retain(|cluster, _| named.contains(cluster));
        let waits = |cluster: &ClusterId| self.waiting.get(cluster).is_some_and(|wait| now < wait.until);
        let mut turns: Vec<InboxCursor> =
            inboxes.iter().filter(|inbox| inbox.ready && !waits(&inbox.cluster)).copied().collect();
        turns.sort_by_key(|inbox| inbox.cluster);
        let is_next = |inbox: &InboxCursor| self.first.is_some_and(|first| inbox.cluster > first);
        let next = turns.iter().position(is_next).unwrap_or(0);
        turns.rotate_left(next);
        self.first = turns.first().map(|inbox| inbox.cluster).or(self.first);
        turns
    }

    /// The node gave what it has of an inbox.
    pub(crate) fn given(&mut self, cluster: ClusterId) {
        self.waiting.remove(&cluster);
    }

    /// The node says by `error` that it does not give what it has of an inbox, which waits from `now` on.
    pub(crate) fn withheld(&mut self, cluster: ClusterId, now: Instant, error: &ClientError) {
        let former = self.waiting.get(&cluster).map(|wait| wait.length);
        let length = former.map_or(FIRST, |former| former.saturating_mul(2).min(LONGEST));
        if length == LONGEST && former != Some(LONGEST) {
            tracing::warn!(%cluster, %error, "the node still gives no items of an inbox, which waits; everything else goes on");
        } else {
            tracing::debug!(%cluster, ?length, %error, "the node gives no items of an inbox, which waits; everything else goes on");
        }
        // Where the clock ends it does not wait.
        let until = now.checked_add(length).unwrap_or(now);
        self.waiting.insert(cluster, Wait { length, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_client::ErrorCode;
    use phala_protocol::inbox::Head;

    fn inboxes(clusters: &[u32]) -> Vec<InboxCursor> {
        let cursor = |cluster: &u32| InboxCursor {
            cluster: ClusterId(*cluster),
            head: Head::empty(ClusterId(*cluster)),
            ready: true,
        };
        clusters.iter().map(cursor).collect()
    }

    fn order(turns: &mut Turns, inboxes: &[InboxCursor], now: Instant) -> Vec<u32> {
        turns.begin(inboxes, now).iter().map(|inbox| inbox.cluster.0).collect()
    }

    #[test]
    fn every_inbox_that_does_not_wait_is_first_in_its_turn() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let mut named = inboxes(&[7, 2, 5]);
        for expected in [[2, 5, 7], [5, 7, 2], [7, 2, 5], [2, 5, 7]] {
            assert_eq!(order(&mut turns, &named, now), expected);
        }
        // One that takes nothing now has no turn, and misses none of the others'.
        named[2].ready = false;
        assert_eq!(order(&mut turns, &named, now), [7, 2]);
        assert_eq!(order(&mut turns, &named, now), [2, 7]);
        named[2].ready = true;
        assert_eq!(order(&mut turns, &named, now), [5, 7, 2]);
        assert!(order(&mut turns, &[], now).is_empty());
        assert_eq!(order(&mut turns, &named, now), [7, 2, 5], "where there was none the turn stays");
    }

    #[test]
    fn a_busy_inbox_alone_waits_twice_as_long_each_time_up_to_a_second_until_its_items_are_given() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        let named = inboxes(&[1, 2]);
        let error = ClientError::new(ErrorCode::Busy, "ask again");
        for expected in [50, 100, 200, 400, 800, 1_000, 1_000, 1_000] {
            assert!(order(&mut turns, &named, now).contains(&1));
            turns.withheld(ClusterId(1), now, &error);
            now += Duration::from_millis(expected - 1);
            assert_eq!(order(&mut turns, &named, now), [2], "not before {expected} ms");
            now += Duration::from_millis(1);
        }
        assert!(order(&mut turns, &named, now).contains(&1));
        turns.given(ClusterId(1));
        turns.withheld(ClusterId(1), now, &error);
        assert_eq!(turns.waiting.get(&ClusterId(1)).map(|wait| wait.length), Some(FIRST));
        // What the TEE does not name any more is forgotten.
        assert_eq!(order(&mut turns, &inboxes(&[2]), now), [2]);
        assert!(turns.waiting.is_empty());
    }
}
