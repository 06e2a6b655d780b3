//! Fills a new store with the balances and nonces of a million accounts, in batched commits, before its worker sees it.
//!
//! It writes what a million commands would have left: for every account its balance in the token, and the window of nonces of an
//! account that has sent one. The cursor beside them is that of a cluster in which nothing has happened yet, so that the worker goes on
//! from there as from its own. If wanted, replies of the chain's first block are there as well, so many that each boundary forgets some.

use codec::Encode;
use phala_protocol::{
    ids::BlockNumber,
    inbox::Head,
    result::{Boundary, ClusterResult, SignedResult},
    AccountId, ClusterId, ContractId, Epoch, Hash,
};
use phala_state::ClusterStore;

/// Accounts of one commit.
const AT_ONCE: usize = 10_000;
/// What every account begins with.
pub const BALANCE: u128 = 1_000_000;

/// Replies of one boundary of before: phala-core forgets four boundaries with each new one, which are as many as a thousand commands add.
pub const REPLIES_AT_ONCE: usize = 250;
/// The nonce of the first reply of before: far from those that are used. Each has the next one, and is of the next account in turn.
pub const NONCE_OF_BEFORE: u64 = 1 << 40;

/// What a store begins with.
pub struct Fill {
    pub contract: ContractId,
    pub accounts: Vec<AccountId>,
    /// How many replies of block 0 are kept: a multiple of [`REPLIES_AT_ONCE`].
    pub replies: usize,
}

/// Records of a commit.
type Records = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl Fill {
    /// Commits everything to `store`, which is new.
    pub fn into(self, store: &ClusterStore, cluster: ClusterId) {
        let system = ContractId([0; 32]);
        for accounts in self.accounts.chunks(AT_ONCE) {
            let mut batch = store.begin();
            for account in accounts {
                batch.set(&self.contract, &balance_key(account), BALANCE.encode()).unwrap();
                // Highest nonce 0, and that it was used.
                let window = (0u64, 1u64).encode();
                batch.set(&system, &[b"nonce/".as_slice(), &account.0].concat(), window).unwrap();
            }
            store.commit(batch, cursor(cluster, 0), Vec::new()).unwrap();
        }
        let boundaries: Vec<usize> = (0..self.replies / REPLIES_AT_ONCE).collect();
        for some in boundaries.chunks(AT_ONCE / REPLIES_AT_ONCE) {
            let records: Records = some.iter().flat_map(|number| self.replies_of(*number)).collect();
            let upto = some[some.len() - 1] as u64 + 1;
            store.commit(store.begin(), cursor(cluster, upto), records).unwrap();
        }
    }

    /// What phala-core's `replies` keeps of a boundary: a record for each reply, what proves them, and what is to be forgotten with them. It
    /// looks into the last one only when it forgets: the others have the length that those of transfers have.
    fn replies_of(&self, boundary: usize) -> Records {
        let replies: Vec<(AccountId, u64, bool)> = (boundary * REPLIES_AT_ONCE..(boundary + 1) * REPLIES_AT_ONCE)
            .map(|index| (self.accounts[index % self.accounts.len()], NONCE_OF_BEFORE + index as u64, false))
            .collect();
        let reply = |(account, nonce, _): &(AccountId, u64, bool)| {
            ([b"reply/".as_slice(), &account.0, &nonce.to_be_bytes()].concat(), Some(vec![4u8; 172]))
        };
        let mut records: Records = replies.iter().map(reply).collect();
        let number = (boundary as u64).to_be_bytes();
        records.push(([b"proof/".as_slice(), &number].concat(), Some(vec![5; 200 + 32 * REPLIES_AT_ONCE])));
        let block: BlockNumber = 0;
        records.push(([b"kept/".as_slice(), &number].concat(), Some((block, replies).encode())));
        records
    }
}

/// Where the token's contract keeps a balance: the SDK's key of an entry of the field `balances`.
pub fn balance_key(account: &AccountId) -> Vec<u8> {
    let mut key = vec![8];
    key.extend_from_slice(b"balances");
    key.push(0);
    key.extend_from_slice(&account.0);
    key
}

/// The cursor of phala-core's boundaries before the first one, field by field, with the replies of so many boundaries. Were its format another,
/// the worker would refuse it.
fn cursor(cluster: ClusterId, boundaries: u64) -> Vec<u8> {
    let (last, epoch, closed): (Option<Boundary>, Epoch, Option<(Boundary, Hash)>) = (None, 0, None);
    let pending: Vec<SignedResult> = Vec::new();
    let (kept, egress) = ((0u64, boundaries), (0u64, 0u64));
    let taken_over: Option<ClusterResult> = None;
    (Head::empty(cluster), last, epoch, closed, pending, kept, egress, taken_over).encode()
}
