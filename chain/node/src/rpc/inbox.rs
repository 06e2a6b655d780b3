//! Reads inbox items out of the offchain index.
//!
//! The runtime writes each item under (cluster, sequence, link); the links of different forks differ, so items never
//! overwrite each other and whichever fork is finalised is complete. State keeps only the newest link, and each item names
//! the link before it: what is asked for is found by walking back from the finalised head.
//!
//! A walk is remembered: finality does not go back, so the link of a sequence number, once found, is the link for good.
//! That costs 32 bytes of memory an item, and makes a call cost its own items and those that are new since the last.

use crate::{
    rpc::phala::{InboxItems, PhalaRpcError},
    service::{Backend, Client},
};
use codec::DecodeAll;
use phala_protocol::{
    ids::ClusterId,
    inbox::{Head, Item},
    limits, storage,
};
use sc_client_api::{Backend as _, StorageProvider};
use sp_blockchain::HeaderBackend;
use sp_core::{
    offchain::{OffchainStorage, STORAGE_PREFIX},
    storage::StorageKey,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// The links of all finalised items found so far, by cluster and then by sequence. Only clusters that exist are in it.
#[derive(Default)]
pub struct Links(Mutex<BTreeMap<ClusterId, Vec<phala_protocol::Hash>>>);

impl Links {
    /// The links of the items `range` of `cluster`, whose finalised head is `head`, walking back to what is known.
    ///
    /// `read` gives the item with a sequence and link, and is called once for each item that was not known.
    fn range(
        &self,
        cluster: ClusterId,
        head: &Head,
        range: std::ops::Range<u64>,
        mut read: impl FnMut(u64, &phala_protocol::Hash) -> Result<Item, PhalaRpcError>,
    ) -> Result<Vec<phala_protocol::Hash>, PhalaRpcError> {
        // A panic elsewhere cannot leave the map half changed: it is changed by one `extend`.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let links = known.entry(cluster).or_default();
        let (mut sequence, mut link) = (head.count, head.link);
        let mut fresh = Vec::new();
        while sequence > links.len() as u64 {
            sequence -= 1;
            let item = read(sequence, &link)?;
            fresh.push(link);
            link = item.previous;
        }
        // A head older than what is known is that of a call that was overtaken by another.
        if sequence == links.len() as u64 && link != links.last().copied().unwrap_or(Head::empty(cluster).link) {
            return Err(PhalaRpcError::IndexDisagrees(cluster.0));
        }
        links.extend(fresh.into_iter().rev());
        let index = |sequence: u64| usize::try_from(sequence).unwrap_or(usize::MAX).min(links.len());
        Ok(links.get(index(range.start)..index(range.end)).unwrap_or_default().to_vec())
    }
}

/// Serves `phala_inboxItems`.
///
/// # Errors
/// When the cluster has no inbox in the newest finalised block, or the index lacks an item.
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
    let bytes = |sequence: u64, link: &phala_protocol::Hash| {
        offchain
            .get(STORAGE_PREFIX, &storage::offchain_item_key(cluster, sequence, link))
            .ok_or_else(|| PhalaRpcError::NotKept(format!("item {sequence} of cluster {cluster}")))
    };
    let read = |sequence: u64, link: &phala_protocol::Hash| {
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

    #[test]
    fn walks_each_item_once_and_gives_links_in_order() {
        let (items, heads) = inbox(10);
        let links = Links::default();
        let mut reads = 0;
        let mut ask = |count: usize, range: std::ops::Range<u64>| {
            links.range(CLUSTER, &heads[count], range, |sequence, link| {
                reads += 1;
                let item = items[sequence as usize].clone();
                assert_eq!(&item.link(), link);
                Ok(item)
            })
        };
        let expected: Vec<_> = items.iter().map(Item::link).collect();
        assert_eq!(ask(6, 2..6).unwrap(), expected[2..6]);
        assert_eq!(ask(10, 0..10).unwrap(), expected[..]);
        assert_eq!(ask(4, 0..4).unwrap(), expected[..4], "an overtaken call is answered from what is known");
        assert_eq!(ask(0, 0..0).unwrap(), Vec::<phala_protocol::Hash>::new());
        assert_eq!(reads, 10);
    }

    #[test]
    fn refuses_an_index_that_contradicts_what_is_known() {
        let (items, heads) = inbox(4);
        let links = Links::default();
        let read = |sequence: u64, _: &phala_protocol::Hash| Ok(items[sequence as usize].clone());
        links.range(CLUSTER, &heads[3], 0..3, read).unwrap();
        let forged = |sequence: u64, _: &phala_protocol::Hash| {
            Ok(Item { previous: [9; 32], ..items[sequence as usize].clone() })
        };
        assert!(matches!(links.range(CLUSTER, &heads[4], 0..4, forged), Err(PhalaRpcError::IndexDisagrees(3))));
        assert_eq!(links.range(CLUSTER, &heads[4], 3..4, read).unwrap(), vec![items[3].link()]);
    }

    #[test]
    fn passes_a_missing_item_on_as_an_error() {
        let (_, heads) = inbox(2);
        let links = Links::default();
        let missing = |_: u64, _: &phala_protocol::Hash| Err(PhalaRpcError::NotKept("item".into()));
        assert!(matches!(links.range(CLUSTER, &heads[2], 0..2, missing), Err(PhalaRpcError::NotKept(_))));
    }
}
