//! What contracts see of a cluster's state, and the cluster's own entries beside theirs.
//!
//! The cluster's own entries - nonces, sessions, the list of contracts, the number of egress items - are committed state of the contract id
//! zero, which no contract can have: ids are hashes. Guarantees: a read error is this machine's fault and never a contract's result.

use crate::{codes::Codes, nonces::NonceWindow};
use codec::{Decode, DecodeAll, Encode};
use phala_protocol::{AccountId, CodeHash, ContractId};
use phala_state::{Batch, Checkpoint, LimitError, ReadError, View};
use phala_vm::{CodeSize, CompiledContract, Fault, Listing, World, Writes};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The id that the cluster's own entries stand under.
pub(crate) const SYSTEM: ContractId = ContractId([0; 32]);

/// How many egress items the cluster has sent, among its own entries.
const EGRESS_KEY: &[u8] = b"egress";

/// A contract as the cluster's state lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Deployed {
    pub code: CodeHash,
    /// Of that code: here, so that a call which does not pay for its start has nothing read or compiled.
    pub size: CodeSize,
    pub deployer: AccountId,
}

/// State as one execution sees it.
pub(crate) trait Source: Send + Sync {
    fn value(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;
    fn view(&self) -> View;
}

/// The last vote-final version: what queries see.
impl Source for View {
    fn value(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.get(contract, key)
    }

    fn view(&self) -> View {
        self.clone()
    }
}

/// A boundary under way: what commands see. The lock is for the trait's sake; one thread executes.
pub(crate) struct Underway(Mutex<Batch>);

impl Underway {
    pub(crate) fn new(batch: Batch) -> Self {
        Self(Mutex::new(batch))
    }

    pub(crate) fn batch(&self) -> MutexGuard<'_, Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies what an execution wrote.
    pub(crate) fn apply(&self, writes: Writes) -> Result<(), LimitError> {
        let mut batch = self.batch();
        for ((contract, key), value) in writes {
            match value {
                Some(value) => batch.set(&contract, &key, value)?,
                None => batch.remove(&contract, &key)?,
            }
        }
        Ok(())
    }

    /// An account's nonces.
    pub(crate) fn nonces(&self, account: &AccountId) -> Result<Nonces, StateFault> {
        let key: [u8; 38] = key_of(b"nonce/", &account.0);
        let read_at = self.batch().checkpoint();
        Ok(Nonces { window: self.nonce_window(&key)?, key, read_at })
    }

    /// Marks a nonce used. False if it was, and if anything was written since the account's were read, for they may be others by now.
    pub(crate) fn take_nonce(&self, nonces: Nonces, nonce: u64) -> Result<bool, StateFault> {
        let Nonces { mut window, key, read_at } = nonces;
        let mut batch = self.batch();
        if batch.checkpoint() != read_at || !window.take(nonce) {
            return Ok(false);
        }
        batch.set(&SYSTEM, &key, window.encode())?;
        Ok(true)
    }

    fn nonce_window(&self, key: &[u8]) -> Result<NonceWindow, StateFault> {
        match self.batch().get(&SYSTEM, key)? {
            Some(bytes) => NonceWindow::decode_all(&mut bytes.as_slice()).map_err(|_| StateFault::Entry),
            None => Ok(NonceWindow::default()),
        }
    }

    /// Gives the next `items` egress items their sequences, which no others ever get. Returns the first.
    pub(crate) fn number_egress(&self, items: usize) -> Result<u64, StateFault> {
        if items == 0 {
            return Ok(0);
        }
        let mut batch = self.batch();
        let first = match batch.get(&SYSTEM, EGRESS_KEY)? {
            Some(bytes) => u64::decode_all(&mut bytes.as_slice()).map_err(|_| StateFault::Entry)?,
            None => 0,
        };
        let next = u64::try_from(items).ok().and_then(|items| first.checked_add(items)).ok_or(StateFault::Entry)?;
        batch.set(&SYSTEM, EGRESS_KEY, next.encode())?;
        Ok(first)
    }

    /// Lists a contract.
    pub(crate) fn list(&self, contract: &ContractId, deployed: &Deployed) -> Result<(), LimitError> {
        self.batch().set(&SYSTEM, &deployed_key(contract), deployed.encode())
    }
}

/// An account's nonces as they were read, their key, and what had been written by then.
pub(crate) struct Nonces {
    window: NonceWindow,
    key: [u8; 38],
    read_at: Checkpoint,
}

impl Nonces {
    /// Whether a nonce can still be taken.
    pub(crate) fn is_free(&self, nonce: u64) -> bool {
        self.window.is_free(nonce)
    }
}

impl Source for Underway {
    fn value(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.batch().get(contract, key)
    }

    fn view(&self) -> View {
        self.batch().base().clone()
    }
}

/// This machine could not read or write the cluster's state.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// The store failed or was tampered with.
    #[error("the cluster's store cannot be read")]
    Read(#[from] ReadError),
    /// An entry is over the store's limits.
    #[error("an entry is over the store's limits")]
    Limit(#[from] LimitError),
    /// One of the cluster's own entries is malformed: written by another version.
    #[error("an entry of the cluster is of another version than this binary")]
    Entry,
    /// A contract's stored code no longer compiles.
    #[error("a stored contract's code is missing or no longer compiles")]
    Code,
}

/// What the engine is given.
pub(crate) struct ClusterWorld<S> {
    pub source: S,
    pub codes: Arc<Codes>,
}

impl<S: Source> ClusterWorld<S> {
    /// The contract, if it is deployed here.
    pub(crate) fn deployed(&self, contract: &ContractId) -> Result<Option<Deployed>, StateFault> {
        match self.source.value(&SYSTEM, &deployed_key(contract))? {
            Some(bytes) => Deployed::decode_all(&mut bytes.as_slice()).map(Some).map_err(|_| StateFault::Entry),
            None => Ok(None),
        }
    }

    /// The compiled code of a deployed contract.
    pub(crate) fn compiled(&self, contract: &ContractId) -> Result<Option<Arc<CompiledContract>>, StateFault> {
        let Some(deployed) = self.deployed(contract)? else { return Ok(None) };
        self.code_of(&deployed.code).map(Some)
    }

    /// The compiled code that a deployed contract has.
    fn code_of(&self, code_hash: &CodeHash) -> Result<Arc<CompiledContract>, StateFault> {
        if let Some(found) = self.codes.cached(code_hash) {
            return Ok(found);
        }
        let code = self.codes.bytes(code_hash, &self.source.view())?.ok_or(StateFault::Code)?;
        self.codes.compiled(code_hash, &code).map_err(|_| StateFault::Code)
    }
}

impl<S: Source> World for ClusterWorld<S> {
    fn read(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.source.value(contract, key).map_err(|error| Fault::World(Box::new(error)))
    }

    /// None: only an item has random bytes ([`crate::random`]), and the engine asks for a query's never.
    fn random(&self, _: &ContractId, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault::World("random bytes were asked for outside of an item".into()))
    }

    fn listing(&self, contract: &ContractId) -> Result<Option<Listing>, Fault> {
        let deployed = self.deployed(contract).map_err(|error| Fault::World(Box::new(error)))?;
        Ok(deployed.map(|Deployed { code, size, .. }| Listing { code, size }))
    }

    fn code(&self, code: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        self.code_of(code).map_err(|error| Fault::World(Box::new(error)))
    }
}

fn deployed_key(contract: &ContractId) -> [u8; 41] {
    key_of(b"contract/", &contract.0)
}

/// A prefix and an id; commands ask for several of them.
fn key_of<const P: usize, const N: usize>(prefix: &[u8; P], id: &[u8; 32]) -> [u8; N] {
    const { assert!(P + 32 == N) };
    let mut key = [0; N];
    let (before, behind) = key.split_at_mut(P);
    before.copy_from_slice(prefix);
    behind.copy_from_slice(id);
    key
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::fixture::insecure_store;

    const ALICE: AccountId = AccountId([1; 32]);

    #[test]
    fn nonces_that_were_read_before_a_write_take_nothing() {
        let (store, _folder) = insecure_store();
        let world = Underway::new(store.begin());
        let (read, again) = (world.nonces(&ALICE).unwrap(), world.nonces(&ALICE).unwrap());
        assert!(read.is_free(5) && again.is_free(5));
        assert!(world.take_nonce(read, 5).unwrap(), "reading in between is no write");
        // As they were read, 5 and 6 are free: only that something was written says that they are old.
        assert!(again.is_free(5) && again.is_free(6));
        assert!(!world.take_nonce(again, 5).unwrap());
        let now = world.nonces(&ALICE).unwrap();
        assert!(!now.is_free(5), "it was taken once");

        // Whatever it was that was written, to be removed or under another contract's id.
        world.batch().remove(&ContractId([2; 32]), b"key").unwrap();
        assert!(!world.take_nonce(now, 6).unwrap());
        let now = world.nonces(&ALICE).unwrap();
        assert!(now.is_free(6), "and left nothing");
        assert!(world.take_nonce(now, 6).unwrap());
        assert!(!world.nonces(&ALICE).unwrap().is_free(6));
    }
}
