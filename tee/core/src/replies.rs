//! Replies as a store keeps them for their accounts, until they are forgotten.
//!
//! What is a reply's own - outcome, events, salt - is a record by itself, small enough to lie in its page's row. What it shares with the
//! other replies of its boundary - the final result, and the leaf of each, out of which any path to the root is computed - is kept
//! once. The path costs whoever asks two hashes for each item of the boundary, which the block's weight bounds; kept for everybody it
//! would be two thirds of all that a command writes.
//!
//! Guarantees: what is found under an account and a nonce is the reply that its boundary committed, for its leaf is compared, or an
//! error; a refusal never stands in the place of the reply to what was executed; what is kept is bounded by the blocks of
//! [`REPLY_BLOCKS`]. Contracts control outputs and events; accounts control which nonces they use.

use crate::world::StateFault;
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::merkle;
use phala_protocol::{
    egress::{EgressAction, EgressItem},
    ids::{Balance, BlockNumber},
    limits::REPLY_BLOCKS,
    query::AnswerContent,
    result::{reply_leaf, ClusterResult, ContractEvent, Outcome, Reply},
    AccountId, ContractId, Hash,
};
use phala_state::{ReadError, View};

/// Boundaries whose replies one commit forgets at most.
const FORGET_AT_ONCE: u64 = 4;

/// Records to write (`Some`) or remove. Of two for one key the later one counts.
pub(crate) type Records = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A reply without what its key, or its boundary, says already.
#[derive(Encode, Decode)]
struct StoredReply {
    /// The number of its boundary on this machine.
    #[codec(compact)]
    boundary: u64,
    /// Its place among the boundary's replies.
    #[codec(compact)]
    index: u32,
    salt: [u8; 32],
    contract: Option<ContractId>,
    outcome: Outcome,
    #[codec(compact)]
    gas_used: u64,
    #[codec(compact)]
    fee: Balance,
    /// Of the contract above where none is named.
    events: Vec<(Option<ContractId>, Vec<u8>)>,
    /// By sequence, and of the contract above where none is named.
    egress: Vec<(u64, Option<ContractId>, EgressAction)>,
}

/// What proves the replies of a boundary.
#[derive(Encode, Decode)]
struct Proof {
    result: ClusterResult,
    /// The sequence of the boundary's first item.
    first: u64,
    leaves: Vec<Hash>,
}

/// What to forget with a boundary.
#[derive(Encode, Decode)]
struct Kept {
    block: BlockNumber,
    /// Account and nonce, and whether the item left the nonce free.
    replies: Vec<(AccountId, u64, bool)>,
}

/// Keeps the replies of the boundary `number`, those that have an account. `leaves` are what `result` commits; replies, salts and leaves
/// are in the order of the items.
pub(crate) fn keep(
    number: u64,
    result: &ClusterResult,
    replies: Vec<Reply>,
    salts: Vec<[u8; 32]>,
    leaves: Vec<Hash>,
    records: &mut Records,
) {
    let first = replies.first().map_or(0, |reply| reply.sequence);
    let mut kept = Kept { block: result.boundary.block, replies: Vec::with_capacity(replies.len()) };
    for (index, (reply, salt)) in (0u32..).zip(replies.into_iter().zip(salts)) {
        let Reply { caller, contract, outcome, gas_used, fee, events, egress, .. } = reply;
        let Some((account, nonce)) = caller else { continue };
        // The account's command may still execute; its reply must neither be shown as this nor be forgotten with it.
        let refused = matches!(&outcome, Outcome::Failed(failure) if failure.leaves_nonce());
        let named = |event: ContractEvent| (Some(event.contract).filter(|from| Some(*from) != contract), event.data);
        let events = events.into_iter().map(named).collect();
        let sent =
            |item: EgressItem| (item.sequence, Some(item.contract).filter(|from| Some(*from) != contract), item.action);
        let egress = egress.into_iter().map(sent).collect();
        let stored = StoredReply { boundary: number, index, salt, contract, outcome, gas_used, fee, events, egress };
        records.push((reply_key(&account, nonce, refused), Some(stored.encode())));
        kept.replies.push((account, nonce, refused));
    }
    if !kept.replies.is_empty() {
        records.push((proof_key(number), Some(Proof { result: *result, first, leaves }.encode())));
    }
    records.push((kept_key(number), Some(kept.encode())));
}

/// Forgets the oldest of the boundaries `kept` (from, up to but not including) whose time is over at block `now`, a few at once. Returns
/// the oldest that is kept still. What [`keep`] adds to the same records must come after.
pub(crate) fn forget(view: &View, kept: (u64, u64), now: BlockNumber, records: &mut Records) -> Result<u64, ReadError> {
    let (from, upto) = kept;
    let mut oldest = from;
    while oldest < upto && oldest < from.saturating_add(FORGET_AT_ONCE) {
        let Some(bytes) = view.record(&kept_key(oldest))? else { break };
        let Ok(kept) = Kept::decode_all(&mut bytes.as_slice()) else { break };
        if kept.block.saturating_add(REPLY_BLOCKS) > now {
            break;
        }
        if !kept.replies.is_empty() {
            records.push((proof_key(oldest), None));
        }
        for (account, nonce, refused) in kept.replies {
            let key = reply_key(&account, nonce, refused);
            // A later refusal stands in the place of an earlier one, and is kept for its own time.
            if !refused || boundary_of(view, &key)? == Some(oldest) {
                records.push((key, None));
            }
        }
        records.push((kept_key(oldest), None));
        oldest = oldest.saturating_add(1);
    }
    Ok(oldest)
}

/// The reply to the account's command with this nonce, with its proof: to the item that used the nonce up, or else to the last one
/// that was refused with the nonce still free.
pub(crate) fn find(view: &View, account: &AccountId, nonce: u64) -> Result<Option<AnswerContent>, StateFault> {
    let executed = view.record(&reply_key(account, nonce, false))?;
    let found = match executed {
        Some(bytes) => Some(bytes),
        None => view.record(&reply_key(account, nonce, true))?,
    };
    let Some(bytes) = found else { return Ok(None) };
    let stored = StoredReply::decode_all(&mut bytes.as_slice()).map_err(|_| StateFault::Entry)?;
    let bytes = view.record(&proof_key(stored.boundary))?.ok_or(StateFault::Entry)?;
    let proof = Proof::decode_all(&mut bytes.as_slice()).map_err(|_| StateFault::Entry)?;
    stored.proved(account, nonce, &proof).map(Some).ok_or(StateFault::Entry)
}

/// Whether an item used up the account's nonce, whatever its reply says. One that was refused with the nonce still free, such as a stranger's
/// copy in another wrapper, did not.
pub(crate) fn is_executed(view: &View, account: &AccountId, nonce: u64) -> Result<bool, ReadError> {
    Ok(view.record(&reply_key(account, nonce, false))?.is_some())
}

impl StoredReply {
    /// The reply as it was committed, with its path; none if it is not the one that the proof has in its place.
    fn proved(self, account: &AccountId, nonce: u64, proof: &Proof) -> Option<AnswerContent> {
        let Self { index, salt, contract, outcome, gas_used, fee, events, egress, .. } = self;
        let mut named = Vec::with_capacity(events.len());
        for (from, data) in events {
            named.push(ContractEvent { contract: from.or(contract)?, data });
        }
        let mut sent = Vec::with_capacity(egress.len());
        for (sequence, from, action) in egress {
            let cluster = proof.result.cluster;
            sent.push(EgressItem { cluster, sequence, contract: from.or(contract)?, action });
        }
        let reply = Reply {
            sequence: proof.first.checked_add(index.into())?,
            caller: Some((*account, nonce)),
            contract,
            outcome,
            gas_used,
            fee,
            events: named,
            egress: sent,
        };
        let place = usize::try_from(index).ok()?;
        proof.leaves.get(place).filter(|leaf| **leaf == reply_leaf(&salt, &reply))?;
        let path = merkle::prove(&proof.leaves, index.into())?;
        let position = (index, u32::try_from(proof.leaves.len()).ok()?);
        Some(AnswerContent::Reply { reply, salt, result: proof.result, position, path })
    }
}

fn boundary_of(view: &View, key: &[u8]) -> Result<Option<u64>, ReadError> {
    let bytes = view.record(key)?;
    Ok(bytes.and_then(|bytes| StoredReply::decode_all(&mut bytes.as_slice()).ok()).map(|stored| stored.boundary))
}

/// Two places for each nonce: of the item that used it up, and of the last one that was refused while it was free.
fn reply_key(account: &AccountId, nonce: u64, refused: bool) -> Vec<u8> {
    let place = if refused { b"refused/".as_slice() } else { b"reply/".as_slice() };
    [place, &account.0, &nonce.to_be_bytes()].concat()
}

fn proof_key(number: u64) -> Vec<u8> {
    [b"proof/".as_slice(), &number.to_be_bytes()].concat()
}

fn kept_key(number: u64) -> Vec<u8> {
    [b"kept/".as_slice(), &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::fixture::insecure_store;
    use phala_protocol::{
        result::{Boundary, Failure},
        ClusterId,
    };
    use phala_state::ClusterStore;

    const ALICE: AccountId = AccountId([0xa1; 32]);
    const TOKEN: ContractId = ContractId([0x70; 32]);
    const OTHER: ContractId = ContractId([0x71; 32]);

    struct Scene {
        store: ClusterStore,
        kept: (u64, u64),
        _folder: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let (store, folder) = insecure_store();
            Self { store, kept: (0, 0), _folder: folder }
        }

        /// Commits a boundary of `replies` at `block`, as a worker does.
        fn boundary(&mut self, block: BlockNumber, replies: Vec<Reply>) -> ClusterResult {
            let salts: Vec<[u8; 32]> = (0u8..).zip(&replies).map(|(number, _)| [number; 32]).collect();
            let leaves: Vec<Hash> = replies.iter().zip(&salts).map(|(reply, salt)| reply_leaf(salt, reply)).collect();
            let result = ClusterResult {
                cluster: ClusterId(1),
                epoch: 1,
                boundary: Boundary { block, count: 9, link: [1; 32] },
                prev: [2; 32],
                next: [3; 32],
                replies_root: merkle::root(&leaves),
                egress_root: [4; 32],
            };
            let (from, upto) = self.kept;
            let mut records = Records::new();
            let oldest = forget(&self.store.view(), (from, upto), block, &mut records).unwrap();
            keep(upto, &result, replies, salts, leaves, &mut records);
            self.kept = (oldest, upto + 1);
            self.store.commit(self.store.begin(), Vec::new(), records).unwrap();
            result
        }

        fn find(&self, nonce: u64) -> Option<AnswerContent> {
            find(&self.store.view(), &ALICE, nonce).unwrap()
        }
    }

    /// What a token says of a transfer.
    fn transfer(sequence: u64, nonce: u64) -> Reply {
        let data = ("Transfer", ALICE, AccountId([0xb0; 32]), 30u128).encode();
        Reply {
            sequence,
            caller: Some((ALICE, nonce)),
            contract: Some(TOKEN),
            outcome: Outcome::Returned(Vec::new()),
            gas_used: 412_345,
            fee: 20_000_000_000,
            events: vec![ContractEvent { contract: TOKEN, data }],
            egress: Vec::new(),
        }
    }

    fn sent(sequence: u64, contract: ContractId) -> EgressItem {
        let action = EgressAction::Transfer { to: ALICE, amount: 5 };
        EgressItem { cluster: ClusterId(1), sequence, contract, action }
    }

    fn refusal(sequence: u64, nonce: u64) -> Reply {
        Reply { outcome: Outcome::Failed(Failure::WrongClass), events: Vec::new(), ..transfer(sequence, nonce) }
    }

    #[test]
    fn every_reply_comes_back_as_its_boundary_committed_it() {
        let other = ContractEvent { contract: OTHER, data: vec![1; 40] };
        let replies = vec![
            transfer(100, 1),
            Reply {
                caller: None,
                contract: None,
                outcome: Outcome::Failed(Failure::Undecryptable),
                ..transfer(101, 0)
            },
            Reply { outcome: Outcome::Reverted(vec![9; 300]), gas_used: u64::MAX, fee: u128::MAX, ..transfer(102, 2) },
            Reply { events: vec![other.clone(), transfer(0, 0).events[0].clone(), other], ..transfer(103, 3) },
            refusal(104, 4),
            Reply { egress: vec![sent(7, TOKEN), sent(8, OTHER)], ..transfer(105, 6) },
        ];
        let mut scene = Scene::new();
        let committed = scene.boundary(7, replies.clone());
        for (index, reply) in replies.iter().enumerate() {
            let Some((_, nonce)) = reply.caller else { continue };
            let Some(AnswerContent::Reply { reply: found, salt, result, position, path }) = scene.find(nonce) else {
                panic!("reply {index} is not there")
            };
            assert_eq!((&found, &result), (reply, &committed));
            assert_eq!(position, (index as u32, 6));
            let leaf = reply_leaf(&salt, &found);
            assert_eq!(merkle::verify(&result.replies_root, index as u64, 6, &leaf, &path), Ok(()));
        }
        assert_eq!(scene.find(5), None);
        assert_eq!(find(&scene.store.view(), &AccountId([0xb0; 32]), 1).unwrap(), None);
    }

    #[test]
    fn the_reply_to_a_transfer_lies_in_its_pages_row() {
        let mut scene = Scene::new();
        scene.boundary(7, (0..3).map(|number| transfer(number, number)).collect());
        let records = scene.store.view().records().unwrap();
        let replies: Vec<_> = records.iter().filter(|(key, _)| key.starts_with(b"reply/")).collect();
        assert_eq!(replies.len(), 3);
        // What the store counts as small.
        assert!(replies.iter().all(|(key, value)| key.len() + value.len() <= 256), "{replies:?}");
    }

    #[test]
    fn a_reply_that_its_boundary_did_not_commit_is_an_error() {
        let mut scene = Scene::new();
        let result = scene.boundary(7, vec![transfer(0, 1)]);
        let mut records = Records::new();
        // Another reply in its place, as a defect might write it.
        keep(0, &result, vec![transfer(0, 1)], vec![[0; 32]], vec![[9; 32]], &mut records);
        scene.store.commit(scene.store.begin(), Vec::new(), records).unwrap();
        assert!(matches!(find(&scene.store.view(), &ALICE, 1), Err(StateFault::Entry)));
    }

    #[test]
    fn replies_are_forgotten_in_their_time_with_all_that_was_kept_for_them() {
        let mut scene = Scene::new();
        scene.boundary(10, vec![transfer(0, 1), refusal(1, 2), refusal(2, 3)]);
        // The same nonces again: one executed, one refused for the second time.
        scene.boundary(20, vec![transfer(3, 2), refusal(4, 3)]);
        scene.boundary(9 + REPLY_BLOCKS, vec![transfer(5, 5)]);
        assert!(scene.find(1).is_some(), "to the last block");
        scene.boundary(10 + REPLY_BLOCKS, vec![refusal(6, 2)]);
        assert!(scene.find(1).is_none());
        assert!(matches!(scene.find(2), Some(AnswerContent::Reply { reply, .. }) if reply.sequence == 3));
        assert!(matches!(scene.find(3), Some(AnswerContent::Reply { reply, .. }) if reply.sequence == 4));
        scene.boundary(20 + REPLY_BLOCKS, Vec::new());
        assert!(matches!(scene.find(2), Some(AnswerContent::Reply { reply, .. }) if reply.sequence == 6));
        assert!(scene.find(3).is_none());
        scene.boundary(11 + 2 * REPLY_BLOCKS, Vec::new());
        scene.boundary(21 + 2 * REPLY_BLOCKS, Vec::new());
        // What is left is the list of the last boundary, and of the one before it whose time is not over.
        let left = scene.store.view().records().unwrap();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
