//! The node's JSON-RPC besides Substrate's own: `system_accountNextIndex`, `payment_*`, `grandpa_*` and `phala_*`.
//!
//! Who calls is anyone who reaches the port. Every `phala_*` answer is bounded in size and work, and says nothing that a
//! caller has to believe: relayers hand the bytes to light clients, which verify them.

mod equivocation;
mod finality;
mod inbox;
mod phala;
#[cfg(test)]
mod tests;

use crate::service::{Backend, Client, Pool};
use jsonrpsee::{core::RegisterMethodError, RpcModule};
use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
use phala::PhalaApiServer;
use phala_runtime::{BlockNumber, Hash, OpaqueBlock as Block};
use sc_consensus_grandpa::{FinalityProofProvider, GrandpaJustificationStream, SharedAuthoritySet, SharedVoterState};
use sc_consensus_grandpa_rpc::{Grandpa, GrandpaApiServer};
use sc_rpc::SubscriptionTaskExecutor;
use std::sync::Arc;
use substrate_frame_rpc_system::{System, SystemApiServer};

/// What the RPC reads from.
pub struct Parts {
    /// The chain and its state.
    pub client: Arc<Client>,
    /// The database: justifications and the offchain index.
    pub backend: Arc<Backend>,
    /// The waiting transactions, for the next nonce of an account.
    pub pool: Arc<Pool>,
    /// GRANDPA's authority sets.
    pub authority_set: SharedAuthoritySet<Hash, BlockNumber>,
    /// GRANDPA's rounds.
    pub voter_state: SharedVoterState,
    /// New justifications.
    pub justifications: GrandpaJustificationStream<Block>,
    /// Places that walks through the inboxes have found so far; shared by all connections.
    pub inbox_links: Arc<inbox::Links>,
}

/// All methods of this module. Each connection gets its own; what is shared is in `parts`.
pub fn module(parts: &Parts, executor: SubscriptionTaskExecutor) -> Result<RpcModule<()>, RegisterMethodError> {
    let mut module = RpcModule::new(());
    module.merge(System::new(parts.client.clone(), parts.pool.clone()).into_rpc())?;
    module.merge(TransactionPayment::new(parts.client.clone()).into_rpc())?;
    module.merge(
        Grandpa::new(
            executor,
            parts.authority_set.clone(),
            parts.voter_state.clone(),
            parts.justifications.clone(),
            FinalityProofProvider::new_for_service(parts.backend.clone(), Some(parts.authority_set.clone())),
        )
        .into_rpc(),
    )?;
    module.merge(
        phala::Phala::new(
            parts.client.clone(),
            parts.backend.clone(),
            parts.authority_set.clone(),
            parts.inbox_links.clone(),
        )
        .into_rpc(),
    )?;
    Ok(module)
}
