//! What contracts sent out of the cluster, held with what proves it until the chain has taken it.
//!
//! How many items a cluster has sent is committed state, so that no two have one sequence on any replica, whatever crashes or disks are
//! put back. The items themselves are records beside the state, in the storage transaction of their boundary: an item exists exactly
//! when its boundary is committed, and its boundary's signed result has its id under `egress_root`.
//!
//! Guarantees: an item is offered only once the chain has made its boundary's result final, and until the chain shows that it has taken
//! it; a few at a time, in order. What is held takes disk in proportion to what commands paid gas for, and goes away a few at a time.
//! Contracts control actions; the host controls when a proof shows what was taken, and can delay items and nothing else.

use crate::replies::Records;
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::merkle::Tree;
use phala_protocol::{
    egress::{EgressItem, ProvedEgress},
    ids::BlockNumber,
    limits::MAX_EGRESS_PER_TAKE,
    Hash,
};
use phala_state::{ReadError, View};

/// Taken items that one boundary forgets at most, beside twice as many as it adds.
const FORGET_AT_ONCE: u64 = 16;

/// An item as it is held: [`ProvedEgress`], without what its key says.
#[derive(Encode, Decode)]
struct Held {
    item: EgressItem,
    block: BlockNumber,
    #[codec(compact)]
    index: u32,
    #[codec(compact)]
    count: u32,
    path: Vec<Hash>,
}

/// The `egress_root` over a boundary's items, which are held from now on.
pub(crate) fn keep(genesis: &Hash, block: BlockNumber, items: Vec<EgressItem>, records: &mut Records) -> Hash {
    let ids: Vec<Hash> = items.iter().map(|item| item.id(genesis)).collect();
    let tree = Tree::of(&ids);
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    for (index, item) in (0u32..).zip(items) {
        // A boundary is of one block, whose commands send far fewer than 2^32 items.
        let path = tree.prove(index.into()).unwrap_or_default();
        let key = key(item.sequence);
        records.push((key, Some(Held { item, block, index, count, path }.encode())));
    }
    tree.root()
}

/// Forgets items of `held` (from, up to but not including) that the chain has taken: those before `taken`. Returns the first that is
/// held still. What [`keep`] adds to the same records must come after.
pub(crate) fn forget(held: (u64, u64), taken: u64, added: usize, records: &mut Records) -> u64 {
    let (from, upto) = held;
    let most = FORGET_AT_ONCE.saturating_add(2u64.saturating_mul(u64::try_from(added).unwrap_or(u64::MAX)));
    let end = taken.min(upto).min(from.saturating_add(most)).max(from);
    records.extend((from..end).map(|sequence| (key(sequence), None)));
    end
}

/// The items that the chain takes next: of those `held`, from `taken` on, as many as one transaction brings at most, and none of a
/// boundary at or after `undecided`, the oldest whose result is not final here.
pub(crate) fn leaving(
    view: &View,
    held: (u64, u64),
    taken: u64,
    undecided: Option<BlockNumber>,
) -> Result<Vec<ProvedEgress>, ReadError> {
    let mut leaving = Vec::new();
    let (from, upto) = held;
    let first = from.max(taken);
    for sequence in first..upto.min(first.saturating_add(MAX_EGRESS_PER_TAKE.into())) {
        let Some(bytes) = view.record(&key(sequence))? else { break };
        let Ok(Held { item, block, index, count, path }) = Held::decode_all(&mut bytes.as_slice()) else { break };
        if undecided.is_some_and(|undecided| block >= undecided) {
            break;
        }
        leaving.push(ProvedEgress { item, block, index, count, path });
    }
    Ok(leaving)
}

fn key(sequence: u64) -> Vec<u8> {
    [b"egress/".as_slice(), &sequence.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::fixture::insecure_store;
    use phala_crypto::merkle;
    use phala_protocol::{
        egress::{empty_root, EgressAction},
        AccountId, ClusterId, ContractId,
    };
    use phala_state::ClusterStore;

    const GENESIS: Hash = [9; 32];

    fn item(sequence: u64) -> EgressItem {
        let action = EgressAction::Transfer { to: AccountId([2; 32]), amount: sequence.into() };
        EgressItem { cluster: ClusterId(1), sequence, contract: ContractId([3; 32]), action }
    }

    fn commit(store: &ClusterStore, records: Records) {
        store.commit(store.begin(), Vec::new(), records).unwrap();
    }

    #[test]
    fn a_boundary_that_sends_nothing_has_the_root_that_the_chain_takes_for_empty() {
        let mut records = Records::new();
        assert_eq!(keep(&GENESIS, 7, Vec::new(), &mut records), empty_root());
        assert!(records.is_empty());
    }

    #[test]
    fn items_are_offered_in_order_with_their_proofs_once_their_result_is_final() {
        let (store, _folder) = insecure_store();
        let mut records = Records::new();
        let first = keep(&GENESIS, 7, (0..3).map(item).collect(), &mut records);
        let second = keep(&GENESIS, 9, vec![item(3)], &mut records);
        commit(&store, records);
        let offered = |taken, undecided| leaving(&store.view(), (0, 4), taken, undecided).unwrap();
        let all = offered(0, None);
        assert_eq!(
            all.iter().map(|proved| proved.item.clone()).collect::<Vec<_>>(),
            (0..4).map(item).collect::<Vec<_>>()
        );
        for (proved, root) in all.iter().zip([first, first, first, second]) {
            let id = proved.item.id(&GENESIS);
            let shown = merkle::verify(&root, proved.index.into(), proved.count.into(), &id, &proved.path);
            assert_eq!(shown, Ok(()), "{proved:?}");
        }
        assert_eq!(offered(0, Some(9)).len(), 3);
        assert_eq!(offered(0, Some(7)).len(), 0);
        assert_eq!(offered(2, None)[..], all[2..]);
        assert!(offered(4, None).is_empty());
        assert!(offered(u64::MAX, None).is_empty());
    }

    #[test]
    fn no_more_are_offered_at_once_than_one_transaction_brings() {
        let (store, _folder) = insecure_store();
        let mut records = Records::new();
        keep(&GENESIS, 7, (0..40).map(item).collect(), &mut records);
        commit(&store, records);
        let offered = leaving(&store.view(), (0, 40), 5, None).unwrap();
        assert_eq!(offered.len(), MAX_EGRESS_PER_TAKE as usize);
        assert_eq!(offered[0].item.sequence, 5);
    }

    #[test]
    fn what_was_taken_is_forgotten_a_few_at_a_time_and_nothing_else() {
        let (store, _folder) = insecure_store();
        let mut records = Records::new();
        keep(&GENESIS, 7, (0..40).map(item).collect(), &mut records);
        commit(&store, records);
        assert_eq!(forget((0, 40), 0, 0, &mut Records::new()), 0);
        let mut records = Records::new();
        let held = forget((0, 40), 30, 1, &mut records);
        assert_eq!((held, records.len()), (18, 18));
        commit(&store, records);
        let mut records = Records::new();
        assert_eq!(forget((held, 40), 30, 100, &mut records), 30);
        commit(&store, records);
        assert_eq!(store.view().records().unwrap().len(), 10);
        // A host cannot make it forget what does not exist yet.
        assert_eq!(forget((30, 40), u64::MAX, 100, &mut Records::new()), 40);
        assert_eq!(forget((30, 40), 3, 100, &mut Records::new()), 30);
    }
}
