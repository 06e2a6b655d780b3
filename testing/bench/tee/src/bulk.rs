//! Fills a new store with the balances and nonces of a million accounts, in batched commits, before its worker sees it.
//!
//! It writes what a million commands would have left: for every account its balance in the token, and the window of nonces of an
//! account that has sent one. The cursor beside them is that of a cluster in which nothing has happened yet, so that the worker goes on
//! from there as from its own.

use codec::Encode;
use phala_protocol::{
    inbox::Head,
    result::{Boundary, SignedResult},
    AccountId, ClusterId, ContractId, Epoch, Hash,
};
use phala_state::ClusterStore;

/// Accounts of one commit.
const AT_ONCE: usize = 10_000;
/// What every account begins with.
pub const BALANCE: u128 = 1_000_000;

/// What a store begins with.
pub struct Fill {
    pub contract: ContractId,
    pub accounts: Vec<AccountId>,
}

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
            store.commit(batch, empty_cursor(cluster), Vec::new()).unwrap();
        }
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

/// The cursor of phala-core's boundaries before the first one, field by field. Were its format another, the worker would refuse it.
fn empty_cursor(cluster: ClusterId) -> Vec<u8> {
    let (last, epoch, closed): (Option<Boundary>, Epoch, Option<(Boundary, Hash)>) = (None, 0, None);
    let pending: Vec<SignedResult> = Vec::new();
    let (kept, egress) = ((0u64, 0u64), (0u64, 0u64));
    (Head::empty(cluster), last, epoch, closed, pending, kept, egress).encode()
}
