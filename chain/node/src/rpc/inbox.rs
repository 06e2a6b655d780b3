//! Reads inbox items out of the offchain index.
//!
//! The runtime writes each item under (cluster, sequence, link); the links of different forks differ, so items never
//! overwrite each other and whichever fork is finalised is complete. State keeps only the newest link, and each item names
//! the link before it: what is asked for is found by walking back from the finalised head.
//!
//! A walk is remembered, not each of its steps but every 256th: finality does not go back, so the link of a sequence number, once found, is
//! the link for good. That costs some 40 bytes of memory for 256 items, and makes a call walk its own items and 255 others. Where nothing
//! near them is known yet, as after a start, a call looks at [`MOST_LOOKED_AT`] items from the head or from the last that is known on
//! downwards, keeps what it found, and says "later": the next call goes on there. What is near the head is there at once.
//!
//! Guarantees: a call reads a bounded number of items, whoever asks for what; no walk waits for another, of whichever cluster; a walk that
//! ends at an item which is not kept, or is not the one that its link names, is not walked again to there. Anyone calls it. Does not: look
//! for anything without being asked.

use crate::{
    rpc::phala::{InboxItems, PhalaRpcError},
    service::{Backend, Client},
};
use codec::DecodeAll;
use phala_protocol::{
    ids::ClusterId,
    inbox::{Head, Item},
    limits, storage, Hash,
};
use sc_client_api::{Backend as _, StorageProvider};
use sp_blockchain::HeaderBackend;
use sp_core::{
    offchain::{OffchainStorage, STORAGE_PREFIX},
    storage::StorageKey,
};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Items between two places that are remembered.
const STRIDE: u64 = 256;
/// Items that one call looks at on its way to those that it gives.
const MOST_LOOKED_AT: u64 = 2_048;
// From the next place that is remembered a call comes to the first of its items, and so makes way wherever it begins.
const _: () = assert!(MOST_LOOKED_AT >= 2 * STRIDE + limits::MAX_INBOX_ITEMS_PER_ANSWER as u64);

/// Places in finalised inboxes: after so many items, the link of the last of them. Only clusters that exist are in it.
#[derive(Default)]
pub struct Links(Mutex<BTreeMap<ClusterId, BTreeMap<u64, Hash>>>);

impl Links {
    /// The links of the items `range` of `cluster`, whose finalised head is `head`, walking back from the next place that is known.
    ///
    /// `read` gives the item with a sequence and link.
    fn range(
        &self,
        cluster: ClusterId,
        head: &Head,
        range: Range<u64>,
        mut read: impl FnMut(u64, &Hash) -> Result<Item, PhalaRpcError>,
    ) -> Result<Vec<Hash>, PhalaRpcError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut at = self.next_known(cluster, head, range.end);
        let lowest = at.count.saturating_sub(MOST_LOOKED_AT).max(range.start);
        let (mut found, mut places) = (Vec::new(), Vec::new());
        let walked = loop {
            if at.count.is_multiple_of(STRIDE) {
                places.push(at);
            }
            let Some(sequence) = at.count.checked_sub(1).filter(|sequence| *sequence >= lowest) else { break Ok(()) };
            match read(sequence, &at.link) {
                // Where it is, everything that is found from there on follows from the head.
                Ok(item) if item.link() == at.link => {
                    if range.contains(&sequence) {
                        found.push(at.link);
                    }
                    at = Head { count: sequence, link: item.previous };
                }
                Ok(_) => break Err(PhalaRpcError::IndexDisagrees(cluster.0)),
                Err(error) => break Err(error),
            }
        };
        self.remember(cluster, places);
        walked?;
        match at.count.saturating_sub(range.start) {
            0 => {
                found.reverse();
                Ok(found)
            }
            left => Err(PhalaRpcError::Later { cluster: cluster.0, left }),
        }
    }

    /// The lowest place that is known and has at least `count` items before it: the head, if there is no other.
    fn next_known(&self, cluster: ClusterId, head: &Head, count: u64) -> Head {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.get(&cluster).and_then(|places| places.range(count..).next());
        let next = next.map(|(count, link)| Head { count: *count, link: *link });
        // A head older than that is of a call that was overtaken by another.
        next.filter(|next| next.count < head.count).unwrap_or(*head)
    }

    fn remember(&self, cluster: ClusterId, places: Vec<Head>) {
        if places.is_empty() {
            return;
        }
        // A panic elsewhere cannot leave it half changed: each of them is right by itself.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(cluster).or_default().extend(places.into_iter().map(|Head { count, link }| (count, link)));
    }
}

/// Serves `phala_inboxItems`.
///
/// # Errors
/// When the cluster has no inbox in the newest finalised block, or the index lacks an item, or so many have to be looked at to find these
/// that another call has to go on.
pub fn items(
    client: &Client,
    backend: &Backend,
    links: &Links,
    cluster: ClusterId,
    from: u64,
    limit: u32,
) -> Result<InboxItems, PhalaRpcError> {
    let info = backend.blockchain().info();
    let head = client
        .storage(info.finalized_hash, &StorageKey(storage::inbox_head_key(cluster)))?
        .and_then(|value| Head::decode_all(&mut value.0.as_slice()).ok())
        .ok_or(PhalaRpcError::NoSuchCluster(cluster.0))?;
    let offchain = backend.offchain_storage().ok_or_else(|| PhalaRpcError::NotKept("an offchain index".into()))?;
    let bytes = |sequence: u64, link: &Hash| {
        offchain
            .get(STORAGE_PREFIX, &storage::offchain_item_key(cluster, sequence, link))
            .ok_or_else(|| PhalaRpcError::NotKept(format!("item {sequence} of cluster {cluster}")))
    };
    let read = |sequence: u64, link: &Hash| {
        Item::decode_bounded(&bytes(sequence, link)?).map_err(|_| PhalaRpcError::IndexDisagrees(cluster.0))
    };

    let end = head.count.min(from.saturating_add(limit.min(limits::MAX_INBOX_ITEMS_PER_ANSWER).into()));
    let range = links.range(cluster, &head, from.min(end)..end, read)?;
    let mut items = Vec::with_capacity(range.len());
    let mut size = 0_usize;
    for (sequence, link) in (from..end).zip(&range) {
        let item = bytes(sequence, link)?;
        size = size.saturating_add(item.len());
        if size > limits::MAX_INBOX_BYTES_PER_ANSWER && !items.is_empty() {
            break;
        }
        items.push(item.into());
    }
    Ok(InboxItems {
        block: info.finalized_number,
        block_hash: info.finalized_hash,
        count: head.count,
        link: head.link.into(),
        items,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use phala_protocol::{
        gas::GasClass,
        ids::AccountId,
        inbox::{ItemHeader, ItemKind, ItemOrigin},
    };
    use std::{
        sync::{mpsc, Arc},
        time::Duration,
    };

    const CLUSTER: ClusterId = ClusterId(3);

    /// An inbox of `count` items with the head after each of them.
    fn inbox(count: u64) -> (Vec<Item>, Vec<Head>) {
        let mut heads = vec![Head::empty(CLUSTER)];
        let mut items = Vec::new();
        for sequence in 0..count {
            let header = ItemHeader {
                kind: ItemKind::Envelope(GasClass::Small),
                origin: ItemOrigin::Account(AccountId([1; 32])),
                sequence,
                block: 1,
                time_ms: 1,
                fee: 0,
            };
            let head = *heads.last().unwrap();
            let message = sequence.to_be_bytes().to_vec();
            heads.push(head.pushed(&header, &message).unwrap());
            items.push(Item { previous: head.link, header, message });
        }
        (items, heads)
    }

    /// What is asked for, and how many items were read for it.
    fn asked(links: &Links, items: &[Item], head: &Head, range: Range<u64>) -> (Result<Vec<Hash>, PhalaRpcError>, u64) {
        let mut reads = 0;
        let found = links.range(CLUSTER, head, range, |sequence, link| {
            reads += 1;
            let item = items[sequence as usize].clone();
            assert_eq!(&item.link(), link);
            Ok(item)
        });
        (found, reads)
    }

    /// The links of all items.
    fn all(items: &[Item]) -> Vec<Hash> {
        items.iter().map(Item::link).collect()
    }

    #[test]
    fn walks_back_from_the_next_place_that_is_known_and_gives_links_in_order() {
        let (items, heads) = inbox(1_000);
        let (links, expected) = (Links::default(), all(&items));
        for (count, range, most) in [
            (1_000, 990..1_000, 10),
            (1_000, 700..800, 300),
            // From 768 on, and then from 256.
            (1_000, 600..700, 168),
            (1_000, 0..256, 768),
            (1_000, 0..256, 256),
            (1_000, 7..10, 249),
            // An older head, of a call that was overtaken.
            (800, 780..800, 20),
            (100, 90..100, 10),
        ] {
            let (found, reads) = asked(&links, &items, &heads[count], range.clone());
            assert_eq!(found.unwrap(), expected[range.start as usize..range.end as usize], "{range:?} of {count}");
            assert_eq!(reads, most, "{range:?} of {count}");
        }
        let (found, reads) = asked(&links, &items, &heads[0], 0..0);
        assert_eq!((found.unwrap(), reads), (vec![], 0));
    }

    #[test]
    fn a_call_looks_at_a_bounded_number_of_items_and_the_next_goes_on_where_it_stopped() {
        const COUNT: u64 = 9_000;
        let (items, heads) = inbox(COUNT);
        let (links, head) = (Links::default(), heads[COUNT as usize]);
        let (near, reads) = asked(&links, &items, &head, COUNT - 256..COUNT);
        assert_eq!((near.unwrap().len(), reads), (256, 256), "the head is near whatever is behind it");
        let (mut total, mut left_before) = (0, COUNT);
        let found = loop {
            let (found, reads) = asked(&links, &items, &head, 0..256);
            assert!(reads <= MOST_LOOKED_AT);
            total += reads;
            match found {
                Err(PhalaRpcError::Later { cluster: 3, left }) => {
                    assert!(left < left_before, "{left}");
                    left_before = left;
                }
                found => break found.unwrap(),
            }
        };
        assert_eq!(found, all(&items)[..256]);
        assert!(total < COUNT + COUNT / MOST_LOOKED_AT * STRIDE + STRIDE, "{total}: what was found is kept");
        let places = links.0.lock().unwrap()[&CLUSTER].len() as u64;
        assert!(places <= COUNT / STRIDE + 1, "{places} places are remembered");
        // Whatever is asked for next is near some of them.
        for from in (0..COUNT - 256).step_by(997) {
            let (found, reads) = asked(&links, &items, &head, from..from + 256);
            assert_eq!(found.unwrap(), all(&items[from as usize..from as usize + 256]));
            assert!(reads < 2 * STRIDE, "{reads}");
        }
    }

    #[test]
    fn a_walk_that_ends_at_an_item_that_is_not_kept_is_not_walked_again() {
        let (items, heads) = inbox(1_500);
        let links = Links::default();
        let ask = || {
            let mut reads = 0;
            let found = links.range(CLUSTER, &heads[1_500], 0..9, |sequence, _| {
                reads += 1;
                let kept = sequence != 1_000;
                kept.then(|| items[sequence as usize].clone()).ok_or(PhalaRpcError::NotKept("item".into()))
            });
            assert!(matches!(found, Err(PhalaRpcError::NotKept(_))));
            reads
        };
        assert_eq!(ask(), 500);
        assert_eq!(ask(), 24, "from 1,024 on");
    }

    #[test]
    fn refuses_an_item_that_is_not_the_one_that_its_link_names() {
        let (items, heads) = inbox(600);
        let links = Links::default();
        let forged = |sequence: u64, _: &Hash| {
            let item = items[sequence as usize].clone();
            Ok(if sequence == 400 { Item { previous: [9; 32], ..item } } else { item })
        };
        let found = links.range(CLUSTER, &heads[600], 0..4, forged);
        assert!(matches!(found, Err(PhalaRpcError::IndexDisagrees(3))));
        let (found, reads) = asked(&links, &items, &heads[600], 0..4);
        assert_eq!((found.unwrap(), reads), (all(&items[..4]), 512), "what was found before it is right");
    }

    #[test]
    fn no_walk_waits_for_another() {
        let (items, heads) = inbox(10);
        let (links, items) = (Arc::new(Links::default()), Arc::new(items));
        let found = links.range(CLUSTER, &heads[10], 9..10, |sequence, _| {
            // While this one reads.
            let (tell, told) = mpsc::channel();
            for cluster in [CLUSTER, ClusterId(4)] {
                let (links, items, head, tell) = (links.clone(), items.clone(), heads[10], tell.clone());
                std::thread::spawn(move || {
                    let read = |sequence: u64, _: &Hash| Ok(items[sequence as usize].clone());
                    let _ = tell.send(links.range(cluster, &head, 0..10, read).ok().map(|found| found.len()));
                });
            }
            for _ in 0..2 {
                assert_eq!(told.recv_timeout(Duration::from_secs(30)).unwrap(), Some(10));
            }
            Ok(items[sequence as usize].clone())
        });
        assert_eq!(found.unwrap(), all(&items[9..]));
    }
}
