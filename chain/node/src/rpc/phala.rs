//! The `phala_*` methods: what relayers and light clients need and Substrate's own RPC does not serve.

use crate::{
    rpc::{finality, inbox},
    service::{Backend, Client},
};
use codec::Encode;
use jsonrpsee::{proc_macros::rpc, types::ErrorObjectOwned};
use phala_protocol::ids::ClusterId;
use phala_runtime::{BlockNumber, Hash};
use sc_consensus_grandpa::SharedAuthoritySet;
use serde::{Deserialize, Serialize};
use sp_core::Bytes;
use std::sync::Arc;

/// Methods of relayers and light clients. Bytes are hexadecimal with `0x`.
#[rpc(server)]
pub trait PhalaApi {
    /// What a light client whose head is the finalised block number `from` needs to move on: the SCALE encoding of a
    /// [`phala_protocol::finality::FinalityProof`].
    ///
    /// At most 64 fragments and 2 MiB; when `complete` is false, ask again from the last fragment's header. No fragments
    /// with `complete` true means that `from` is the newest.
    #[method(name = "phala_finalityProof", blocking)]
    fn finality_proof(&self, from: BlockNumber) -> Result<Bytes, PhalaRpcError>;

    /// The justification of a finalised block, or of the next block after it that has one, with the headers from the one
    /// to the other, both included (256 at most).
    #[method(name = "phala_justification", blocking)]
    fn justification(&self, block: NumberOrHash) -> Result<JustifiedBlock, PhalaRpcError>;

    /// Items of a cluster's inbox in ascending order from sequence `from` on, as of the newest finalised block: at most
    /// `limit`, 256 and 1 MiB of them, but one at least where there is one. A node that has just started may have to look at very many
    /// items to find old ones: it does so step by step, and answers with error 7008 until it has found them.
    #[method(name = "phala_inboxItems", blocking)]
    fn inbox_items(&self, cluster: u32, from: u64, limit: u32) -> Result<InboxItems, PhalaRpcError>;
}

/// A block by its number on the finalised chain, or by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum NumberOrHash {
    /// Its height.
    Number(BlockNumber),
    /// Its hash.
    Hash(Hash),
}

/// Answer of `phala_justification`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JustifiedBlock {
    /// The height of the justified block, which is the last of `headers`.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: Hash,
    /// SCALE-encoded headers, ascending, from the block that was asked for.
    pub headers: Vec<Bytes>,
    /// The SCALE-encoded GRANDPA justification of the last of them.
    pub justification: Bytes,
}

/// Answer of `phala_inboxItems`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboxItems {
    /// The finalised block that `count` and `link` are of.
    pub block: BlockNumber,
    /// Its hash.
    pub block_hash: Hash,
    /// How many items the inbox has in that block.
    pub count: u64,
    /// The link of the last of them.
    pub link: Hash,
    /// SCALE-encoded [`phala_protocol::inbox::Item`]s with consecutive sequences, the first being the one asked for.
    pub items: Vec<Bytes>,
}

/// Why a `phala_*` method has no answer. The code is stable; the message is for people.
#[derive(Debug, thiserror::Error)]
pub enum PhalaRpcError {
    /// The caller names a block that is not on the finalised chain.
    #[error("block {0} is not finalised here; ask for an earlier one or later")]
    NotFinalised(String),
    /// A set changed by force, which no light client accepts.
    #[error("the authority set that ended at block {0} changed by force: start from a newer genesis anchor")]
    ForcedChange(BlockNumber),
    /// This node has not kept what is asked for.
    #[error("this node has not kept {0}; ask a node that synchronised all blocks")]
    NotKept(String),
    /// No justification within the bound.
    #[error("no justified block within {0} blocks of the one asked for")]
    NoJustification(u32),
    /// The cluster has no inbox.
    #[error("cluster {0} has no inbox")]
    NoSuchCluster(u32),
    /// The node has looked at as many items as it does for one call, and goes on at the next.
    #[error(
        "the items asked for of cluster {cluster} are {left} items behind what this node has looked at since it started: \
         ask again, it goes on from there"
    )]
    Later {
        /// The cluster.
        cluster: u32,
        /// Items that have yet to be looked at.
        left: u64,
    },
    /// The database contradicts itself.
    #[error("the inbox index of cluster {0} has another item than its link names: the database is damaged")]
    IndexDisagrees(u32),
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sp_blockchain::Error),
}

impl From<PhalaRpcError> for ErrorObjectOwned {
    fn from(error: PhalaRpcError) -> Self {
        let code = match error {
            PhalaRpcError::NotFinalised(_) => 7001,
            PhalaRpcError::ForcedChange(_) => 7002,
            PhalaRpcError::NotKept(_) => 7003,
            PhalaRpcError::NoJustification(_) => 7004,
            PhalaRpcError::NoSuchCluster(_) => 7005,
            PhalaRpcError::IndexDisagrees(_) => 7006,
            PhalaRpcError::Database(_) => 7007,
            PhalaRpcError::Later { .. } => 7008,
        };
        ErrorObjectOwned::owned(code, error.to_string(), None::<()>)
    }
}

/// Serves [`PhalaApi`].
pub struct Phala {
    client: Arc<Client>,
    backend: Arc<Backend>,
    authority_set: SharedAuthoritySet<Hash, BlockNumber>,
    links: Arc<inbox::Links>,
}

impl Phala {
    /// Serves from this node's chain and database.
    pub fn new(
        client: Arc<Client>,
        backend: Arc<Backend>,
        authority_set: SharedAuthoritySet<Hash, BlockNumber>,
        links: Arc<inbox::Links>,
    ) -> Self {
        Self { client, backend, authority_set, links }
    }
}

impl PhalaApiServer for Phala {
    fn finality_proof(&self, from: BlockNumber) -> Result<Bytes, PhalaRpcError> {
        Ok(finality::proof_from(&self.backend, &self.authority_set, from)?.encode().into())
    }

    fn justification(&self, block: NumberOrHash) -> Result<JustifiedBlock, PhalaRpcError> {
        finality::justified_at_or_after(&self.backend, block)
    }

    fn inbox_items(&self, cluster: u32, from: u64, limit: u32) -> Result<InboxItems, PhalaRpcError> {
        inbox::items(&self.client, &self.backend, &self.links, ClusterId(cluster), from, limit)
    }
}
