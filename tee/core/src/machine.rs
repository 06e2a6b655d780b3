//! What the logic asks of the machine it runs on.
//!
//! `phala-platform` implements it over a real or simulated TEE; tests implement it in memory. The host controls whether a call
//! succeeds; a TEE's hardware controls what it returns.

use phala_crypto::Secret;
use phala_protocol::ClusterId;
use phala_state::{ClusterStore, OpenError, StorageKey};
use phala_vm::Layout;

/// The machine's services. Implementations must not panic.
pub trait Machine: Send + Sync {
    /// Evidence that binds `report_data`, as SCALE of `phala_attest::Evidence`.
    fn evidence(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, MachineFault>;

    /// Fills `buffer` with entropy that the host cannot know.
    fn entropy(&self, buffer: &mut [u8]) -> Result<(), MachineFault>;

    /// Seals `secret` under the machine's key and keeps it as `name`, replacing what was there, durably.
    fn keep(&self, name: &str, secret: &Secret<Vec<u8>>) -> Result<(), MachineFault>;

    /// What was kept as `name`, or none.
    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault>;

    /// Forgets, durably, what was kept as `name`; there may be nothing. A machine that cannot remove it puts nothing in its place, so that
    /// [`Self::kept`] gives none or no bytes. Who saved the sealed bytes elsewhere can put them back.
    fn forget(&self, name: &str) -> Result<(), MachineFault> {
        self.keep(name, &Secret::new(Vec::new()))
    }

    /// Opens, or makes, the store of `cluster`.
    fn open_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError>;

    /// Makes an empty store of `cluster` beside the one that [`Self::open_store`] opens. One that was made before and not adopted is gone
    /// with it, and must not be open any more.
    fn fresh_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError>;

    /// Puts what [`Self::fresh_store`] made, and nobody has open any more, in the place of the store that [`Self::open_store`] opens. After a
    /// crash at any moment that is the one or the other, whole; when this returns it is durably the new one.
    fn adopt_store(&self, cluster: ClusterId) -> Result<(), OpenError>;

    /// How its engine for contracts is laid out, from start to end. Contracts do the same in each.
    fn layout(&self) -> Layout {
        Layout::Wide
    }
}

/// The machine did not do what was asked: the operator's to mend, and worth trying again.
#[derive(Debug, thiserror::Error)]
pub enum MachineFault {
    /// No quote.
    #[error("the TEE gave no quote; check its device and its quoting service")]
    Evidence(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No entropy.
    #[error("the TEE gave no entropy")]
    Entropy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Sealed data could not be written or read.
    #[error("sealed data could not be written or read; check the disk and that this is the machine that sealed it")]
    Sealing(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// `N` bytes of entropy.
pub(crate) fn draw<const N: usize>(machine: &dyn Machine) -> Result<[u8; N], MachineFault> {
    let mut bytes = [0; N];
    machine.entropy(&mut bytes)?;
    Ok(bytes)
}

/// `N` secret bytes of entropy.
pub(crate) fn draw_secret<const N: usize>(machine: &dyn Machine) -> Result<Secret<[u8; N]>, MachineFault> {
    let mut failure = None;
    let secret = Secret::fill(|bytes| failure = machine.entropy(bytes).err());
    failure.map_or(Ok(secret), Err)
}
