//! A chain as its user may believe it: a node behind a light client that starts at a pinned genesis.
//!
//! Guarantees: what [`Network::read`] returns is the value, or the proved absence, of exactly the keys that were asked, in the state of a
//! header that the chain's authorities finalised; heads only go forward. The node can withhold - an old head is an old truth - and
//! cannot invent. The pin ([`Pin`]) comes from the user's network file or release; [`Network::connect_unpinned`] takes the node's
//! word for it once, which is right for a network that the user started and for no other.

use crate::{chain::read_record, entropy, error::chain_of, Chain, ClientError, ErrorCode};
use codec::{Decode, Encode};
use phala_light_client::{encode_proof, verify_anchor, verify_storage, LightClient, VerifiedHeader};
use phala_protocol::{
    chain_state::{ClusterRecord, ContractRecord, FinalRecord},
    finality::{FinalityFragment, FinalityProof, GenesisAnchor},
    ids::{to_hex, BlockNumber},
    storage, ClusterId, CodeHash, ContractId, Hash,
};
use std::collections::BTreeMap;
use tokio::sync::Mutex;

/// What a user pins of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Hash of the genesis header.
    pub genesis: Hash,
    /// The header and the proof of the first authorities; bound by the hash.
    pub anchor: GenesisAnchor,
}

impl Pin {
    /// Reads what `phala-node export-genesis-anchor` writes: an object with `genesisHash` and `anchor`.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, ClientError> {
        let invalid = || ClientError::new(ErrorCode::Invalid, "not an anchor: `genesisHash` and `anchor` are expected");
        let bytes = |name: &str| {
            let text = json.get(name)?.as_str()?;
            hex::decode(text.strip_prefix("0x")?).ok()
        };
        let genesis = bytes("genesisHash").and_then(|bytes| bytes.try_into().ok()).ok_or_else(invalid)?;
        let anchor = bytes("anchor").ok_or_else(invalid)?;
        let anchor = GenesisAnchor::decode(&mut anchor.as_slice()).map_err(|_| invalid())?;
        Ok(Self { genesis, anchor })
    }

    /// The form that [`Self::from_json`] reads.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"genesisHash": to_hex(&self.genesis), "anchor": to_hex(&self.anchor.encode())})
    }
}

/// A network: a node, and what was verified of its chain.
pub struct Network {
    chain: Chain,
    pin: Pin,
    light: Mutex<LightClient>,
}

/// Values that were proved in the state of one finalised header.
#[derive(Clone, Debug)]
pub struct Proved {
    header: VerifiedHeader,
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Proved {
    /// The header.
    pub fn header(&self) -> &VerifiedHeader {
        &self.header
    }

    /// Its height.
    pub fn height(&self) -> BlockNumber {
        self.header.number()
    }

    /// The record under `key`, one of those that were asked for, or none if the state has none.
    pub fn get<T: Decode>(&self, key: &[u8]) -> Result<Option<T>, ClientError> {
        let value = self
            .values
            .get(key)
            .ok_or_else(|| ClientError::new(ErrorCode::Internal, "a record was read that was not asked for"))?;
        value.as_deref().map(read_record).transpose()
    }
}

impl Network {
    /// Connects to the node at `url`, which must be on the pinned chain.
    pub async fn connect(url: &str, pin: Pin) -> Result<Self, ClientError> {
        let chain = Chain::connect(url).await?;
        if *chain.genesis() != pin.genesis {
            return Err(ClientError::new(
                ErrorCode::Unverified,
                format!(
                    "the node at {url} is on the chain {}, not on {}",
                    to_hex(chain.genesis()),
                    to_hex(&pin.genesis)
                ),
            )
            .with_hint("a network that was started afresh has a new genesis: use its new network file"));
        }
        Self::new(chain, pin)
    }

    /// Connects and pins what the node says. Whoever runs the node chooses the chain.
    pub async fn connect_unpinned(url: &str) -> Result<Self, ClientError> {
        let chain = Chain::connect(url).await?;
        let anchor = chain.fetch_anchor().await?;
        let pin = Pin { genesis: *chain.genesis(), anchor };
        Self::new(chain, pin)
    }

    fn new(chain: Chain, pin: Pin) -> Result<Self, ClientError> {
        let light = verify_anchor(&pin.genesis, &pin.anchor).map_err(|error| refused(&error))?;
        Ok(Self { chain, pin, light: Mutex::new(light) })
    }

    /// The node.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What is pinned.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// The pinned genesis hash.
    pub fn genesis(&self) -> &Hash {
        &self.pin.genesis
    }

    /// Verifies what the node has finalised since, and returns the newest header.
    pub async fn sync(&self) -> Result<VerifiedHeader, ClientError> {
        let mut light = self.light.lock().await;
        loop {
            let proof = self.chain.finality_proof(light.head().number()).await.map_err(unproved)?;
            let decoded = FinalityProof::decode_bounded(&proof).map_err(|error| refused(&error))?;
            if !decoded.fragments.is_empty() {
                light.advance(&proof, &entropy::fresh()?).map_err(|error| refused(&error))?;
            }
            // A server that gives nothing and says that there is more would hold us here for ever.
            if decoded.complete || decoded.fragments.is_empty() {
                return Ok(light.head().clone());
            }
        }
    }

    /// A light client that has followed the chain from its genesis to the newest head, and what it was shown: one fragment for each
    /// authority set that ended, then the head.
    pub(crate) async fn followed_from_genesis(&self) -> Result<(LightClient, Vec<FinalityFragment>), ClientError> {
        let mut light = verify_anchor(self.genesis(), &self.pin.anchor).map_err(|error| refused(&error))?;
        let mut finality = Vec::new();
        loop {
            let proof = self.chain.finality_proof(light.head().number()).await.map_err(unproved)?;
            let decoded = FinalityProof::decode_bounded(&proof).map_err(|error| refused(&error))?;
            if decoded.fragments.is_empty() {
                break;
            }
            light.advance(&proof, &entropy::fresh()?).map_err(|error| refused(&error))?;
            finality.extend(decoded.fragments);
            // Only whole sets may follow one another: the newest head has to be the last fragment.
            if decoded.complete {
                break;
            }
        }
        Ok((light, finality))
    }

    /// Proves `keys` in the newest finalised state.
    pub async fn read(&self, keys: &[Vec<u8>]) -> Result<Proved, ClientError> {
        let header = self.sync().await?;
        let nodes = self.chain.read_proof(keys, header.hash()).await.map_err(unproved)?;
        let proof = encode_proof(&nodes);
        let storage = verify_storage(&header, &proof).map_err(|error| refused(&error))?;
        let mut values = BTreeMap::new();
        for key in keys {
            let value = storage.get(key).map_err(|error| refused(&error))?;
            values.insert(key.clone(), value.map(<[u8]>::to_vec));
        }
        drop(storage);
        Ok(Proved { header, values })
    }

    /// A cluster, and the height at which it is so.
    pub async fn cluster(&self, cluster: ClusterId) -> Result<(ClusterRecord, BlockNumber), ClientError> {
        let key = storage::cluster_key(cluster);
        let proved = self.read(std::slice::from_ref(&key)).await?;
        let record = proved.get(&key)?.ok_or_else(|| {
            ClientError::new(ErrorCode::NotFound, format!("there is no cluster {cluster}"))
                .with_hint("`phala status` lists the clusters")
        })?;
        Ok((record, proved.height()))
    }

    /// A contract. That it is not there is proved: nothing else is [`ErrorCode::NotFound`].
    pub async fn contract(&self, contract: &ContractId) -> Result<ContractRecord, ClientError> {
        let key = storage::contract_key(contract);
        self.read(std::slice::from_ref(&key)).await?.get(&key)?.ok_or_else(|| {
            ClientError::new(ErrorCode::NotFound, format!("there is no contract {contract}"))
                .with_hint("`phala contract list` shows what there is on this network")
        })
    }

    /// A contract's code: the bytes are those of the hash.
    pub async fn code(&self, code: &CodeHash) -> Result<Vec<u8>, ClientError> {
        let wasm: Vec<u8> = self
            .chain
            .storage(&storage::code_key(code), None)
            .await?
            .ok_or_else(|| ClientError::new(ErrorCode::NotFound, format!("the chain has no code {code}")))?;
        if CodeHash::of(&wasm) != *code {
            return Err(ClientError::new(ErrorCode::Unverified, "the node gives other code than that of the hash"));
        }
        Ok(wasm)
    }

    /// The result of the boundary at `block`, once it is final.
    pub async fn final_result(
        &self,
        cluster: ClusterId,
        block: BlockNumber,
    ) -> Result<Option<FinalRecord>, ClientError> {
        let key = storage::final_result_key(cluster, block);
        self.read(std::slice::from_ref(&key)).await?.get(&key)
    }
}

/// Fragments in the form that a light client takes.
pub(crate) fn finality_proof(fragments: &[FinalityFragment]) -> Vec<u8> {
    FinalityProof { fragments: fragments.to_vec(), complete: true }.encode()
}

/// What a node says instead of a proof: never that something is not there, which is proved too.
fn unproved(error: ClientError) -> ClientError {
    match error.code {
        ErrorCode::NotFound => ClientError { code: ErrorCode::Unreachable, ..error }.with_hint("ask another node"),
        _ => error,
    }
}

/// A proof that does not hold.
pub(crate) fn refused(error: &dyn std::error::Error) -> ClientError {
    ClientError::new(ErrorCode::Unverified, format!("the node's answer does not hold: {}", chain_of(error)))
        .with_hint("the node lies or is damaged; use another one")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn pins_round_trip_and_refuse_other_json() {
        let pin =
            Pin { genesis: [1; 32], anchor: GenesisAnchor { header: vec![1, 2], authorities_proof: vec![vec![3]] } };
        assert_eq!(Pin::from_json(&pin.to_json()).unwrap(), pin);
        let json = serde_json::json!({"genesisHash": "0x00", "anchor": "0x"});
        assert_eq!(Pin::from_json(&json).unwrap_err().code, ErrorCode::Invalid);
    }
}
