//! One node, over its JSON-RPC: reads, proofs and extrinsics.
//!
//! Guarantees: answers are bounded in their decoding and nothing panics; two submitters of one account, in this process or another,
//! do not lose extrinsics to each other's nonces. **Nothing here is verified**: the node says so. What decides goes through
//! [`crate::Network`]. A [`Chain`] is one connection; when it is lost every call answers [`crate::ErrorCode::Unreachable`], and the
//! owner connects again.

pub mod calls;
mod errors;
mod events;
mod read;
mod refusals;
mod submit;

pub use calls::ChainCall;
pub use errors::{PalletError, SubmitError};
pub(crate) use read::decode as read_record;
pub use read::{map_key, short_map_key, FinalisedHeads, HeadRef, InboxAnswer, JustifiedBlock};
pub use submit::{Attempted, ChainEvent, Included, Until, SHORT_LIFETIME_BLOCKS};

use crate::{ClientError, ErrorCode};
use phala_protocol::Hash;
use std::{sync::Arc, time::Duration};
use subxt::{
    backend::LegacyBackend,
    config::PolkadotConfig,
    rpcs::{client::RpcParams, RpcClient},
    OnlineClient,
};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a node. Clones share it.
#[derive(Clone)]
pub struct Chain {
    url: String,
    rpc: RpcClient,
    client: OnlineClient<PolkadotConfig>,
    genesis: Hash,
    /// Held from reading an account's next index to handing its extrinsic over.
    submitting: Arc<tokio::sync::Mutex<()>>,
}

impl Chain {
    /// Connects to the node at `url` (`ws://` or `wss://`).
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        let unreachable = |error: String| {
            ClientError::new(ErrorCode::Unreachable, format!("no node answers at {url}: {error}"))
                .with_hint("is the network running? `phala dev` starts one")
        };
        let connect = async {
            let rpc = RpcClient::from_insecure_url(url).await.map_err(|error| unreachable(error.to_string()))?;
            let config = PolkadotConfig::builder().use_historic_types(false).build();
            let backend = LegacyBackend::builder().build(rpc.clone());
            let client = OnlineClient::from_backend_with_config(config, Arc::new(backend))
                .await
                .map_err(|error| unreachable(error.to_string()))?;
            let genesis = client.genesis_hash().0;
            Ok(Self { url: url.to_owned(), rpc, client, genesis, submitting: Arc::default() })
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| unreachable("no answer".to_owned()))?
    }

    /// Where the node is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The genesis hash that the node names.
    pub fn genesis(&self) -> &Hash {
        &self.genesis
    }

    async fn request<T: serde::de::DeserializeOwned>(&self, method: &str, params: RpcParams) -> Result<T, ClientError> {
        match tokio::time::timeout(REQUEST_TIMEOUT, self.rpc.request(method, params)).await {
            Ok(answer) => answer.map_err(|error| errors::rpc_error(method, &error)),
            Err(_) => Err(ClientError::new(ErrorCode::Unreachable, format!("the node does not answer {method}"))),
        }
    }
}

/// JSON parameters; each is plain data, so encoding them cannot fail.
macro_rules! params {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "a method may have no parameters")]
        let mut params = ::subxt::rpcs::client::RpcParams::new();
        $(params.push($value).map_err(|error| $crate::ClientError::new($crate::ErrorCode::Internal, error.to_string()))?;)*
        params
    }};
}
pub(crate) use params;
