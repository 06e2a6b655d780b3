//! What a node tells: heads, state, proofs, inbox items.

use super::{params, Chain};
use crate::{ClientError, ErrorCode};
use codec::{Decode, DecodeAll, Encode};
use phala_protocol::{
    finality::GenesisAnchor,
    hash::{blake2_128, blake2_256},
    ids::{to_hex, Balance, BlockNumber},
    storage::{self, Prefix},
    AccountId, ClusterId, Hash,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use subxt::{
    config::substrate::{SubstrateHeader, H256},
    rpcs::client::RpcSubscription,
};

/// Keys asked for at once.
const PAGE: u32 = 256;
/// Entries that a listing stops at.
const MAX_ENTRIES: usize = 4096;

/// How long a node is asked again that looks for old items of an inbox step by step.
const SEARCHING: Duration = Duration::from_secs(10);
/// Pause between two steps.
const STEP_PAUSE: Duration = Duration::from_millis(10);

/// A block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadRef {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: Hash,
}

/// Inbox items as a node serves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxAnswer {
    /// The finalised block that the count is of.
    pub block: BlockNumber,
    /// How many items the inbox has in that block.
    pub count: u64,
    /// SCALE of [`phala_protocol::inbox::Item`], consecutive from the sequence that was asked for.
    pub items: Vec<Vec<u8>>,
}

/// A justified block at or after the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JustifiedBlock {
    /// The justified block.
    pub number: BlockNumber,
    /// SCALE headers, ascending, from the block that was asked for to the justified one.
    pub headers: Vec<Vec<u8>>,
    /// SCALE justification of the last of them.
    pub justification: Vec<u8>,
}

/// Bytes as JSON-RPC writes them: hexadecimal, or a list of numbers for the extrinsics of a block type that is not opaque.
struct HexBytes(Vec<u8>);

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Numbers(Vec<u8>),
        }
        match Form::deserialize(deserializer)? {
            Form::Text(text) => {
                hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map(Self).map_err(serde::de::Error::custom)
            }
            Form::Numbers(bytes) => Ok(Self(bytes)),
        }
    }
}

fn bytes(list: Vec<HexBytes>) -> Vec<Vec<u8>> {
    list.into_iter().map(|bytes| bytes.0).collect()
}

/// New finalised heads, as the node announces them.
pub struct FinalisedHeads(RpcSubscription<SubstrateHeader<H256>>);

impl FinalisedHeads {
    /// The next one's height; none when the connection is lost.
    pub async fn next(&mut self) -> Option<BlockNumber> {
        let header = self.0.next().await?.ok()?;
        BlockNumber::try_from(header.number).ok()
    }
}

impl Chain {
    /// The newest finalised block.
    pub async fn finalised_head(&self) -> Result<HeadRef, ClientError> {
        let hash: H256 = self.request("chain_getFinalizedHead", params![]).await?;
        Ok(HeadRef { number: self.height(&hash.0).await?, hash: hash.0 })
    }

    /// The newest block, finalised or not.
    pub async fn best_head(&self) -> Result<HeadRef, ClientError> {
        let hash = self.block_hash(None).await?;
        Ok(HeadRef { number: self.height(&hash).await?, hash })
    }

    /// The hash of block `number` on the node's best chain, or of its newest block.
    pub async fn block_hash(&self, number: Option<BlockNumber>) -> Result<Hash, ClientError> {
        let hash: Option<H256> = self.request("chain_getBlockHash", params![number]).await?;
        hash.map(|hash| hash.0)
            .ok_or_else(|| ClientError::new(ErrorCode::NotFound, format!("the node has no block {number:?}")))
    }

    /// The height of a block.
    pub async fn height(&self, hash: &Hash) -> Result<BlockNumber, ClientError> {
        BlockNumber::try_from(self.header(hash).await?.number)
            .map_err(|_| ClientError::new(ErrorCode::Unverified, "the node names a block beyond the chain's 32 bits"))
    }

    async fn header(&self, hash: &Hash) -> Result<SubstrateHeader<H256>, ClientError> {
        let header: Option<SubstrateHeader<H256>> = self.request("chain_getHeader", params![H256(*hash)]).await?;
        header.ok_or_else(|| ClientError::new(ErrorCode::NotFound, format!("the node has no block {}", to_hex(hash))))
    }

    /// The extrinsics of a block, each in SCALE. *The node's word.*
    pub async fn body(&self, hash: &Hash) -> Result<Vec<Vec<u8>>, ClientError> {
        #[derive(Deserialize)]
        struct Signed {
            block: Body,
        }
        #[derive(Deserialize)]
        struct Body {
            extrinsics: Vec<HexBytes>,
        }
        let signed: Option<Signed> = self.request("chain_getBlock", params![H256(*hash)]).await?;
        let signed = signed
            .ok_or_else(|| ClientError::new(ErrorCode::NotFound, format!("the node has no block {}", to_hex(hash))))?;
        Ok(bytes(signed.block.extrinsics))
    }

    /// Announces finalised heads from now on.
    pub async fn finalised_heads(&self) -> Result<FinalisedHeads, ClientError> {
        let subscription = self
            .rpc
            .subscribe("chain_subscribeFinalizedHeads", params![], "chain_unsubscribeFinalizedHeads")
            .await
            .map_err(|error| super::errors::rpc_error("chain_subscribeFinalizedHeads", &error))?;
        Ok(FinalisedHeads(subscription))
    }

    /// The value under `key` in the state of block `at`, or of the newest finalised block.
    pub async fn storage_raw(&self, key: &[u8], at: Option<&Hash>) -> Result<Option<Vec<u8>>, ClientError> {
        let at = self.at(at).await?;
        let value: Option<HexBytes> = self.request("state_getStorage", params![to_hex(key), at]).await?;
        Ok(value.map(|value| value.0))
    }

    /// The record under `key` in the state of block `at`, or of the newest finalised block. *The node's word*: see
    /// [`crate::Network::read`] for a proved one.
    pub async fn storage<T: Decode>(&self, key: &[u8], at: Option<&Hash>) -> Result<Option<T>, ClientError> {
        self.storage_raw(key, at).await?.map(|value| decode(&value)).transpose()
    }

    /// All entries of a `Blake2_128Concat` map with their keys, at most 4,096: for lists that people read.
    pub async fn entries<K: Decode, V: Decode>(
        &self,
        prefix: &Prefix,
        at: Option<&Hash>,
    ) -> Result<Vec<(K, V)>, ClientError> {
        let at = self.at(at).await?;
        let mut entries = Vec::new();
        let mut start: Option<String> = None;
        loop {
            let keys: Vec<String> =
                self.request("state_getKeysPaged", params![to_hex(prefix), PAGE, start, at]).await?;
            let Some(last) = keys.last().cloned() else { break };
            let sets: Vec<ChangeSet> = self.request("state_queryStorageAt", params![&keys, at]).await?;
            for (key, value) in sets.into_iter().flat_map(|set| set.changes) {
                let Some(value) = value else { continue };
                // After the prefix stand 16 bytes of hash and the key itself.
                let key = key.0.get(prefix.len() + 16..).unwrap_or_default();
                entries.push((decode(key)?, decode(&value.0)?));
            }
            if keys.len() < PAGE as usize || entries.len() >= MAX_ENTRIES {
                break;
            }
            start = Some(last);
        }
        Ok(entries)
    }

    /// The values under `keys` in the state of block `at`, in the order of the keys. *The node's word.*
    pub async fn values(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<Option<Vec<u8>>>, ClientError> {
        let mut known = BTreeMap::new();
        for page in keys.chunks(PAGE as usize) {
            let page: Vec<String> = page.iter().map(|key| to_hex(key)).collect();
            let sets: Vec<ChangeSet> = self.request("state_queryStorageAt", params![&page, H256(*at)]).await?;
            for (key, value) in sets.into_iter().flat_map(|set| set.changes) {
                if let Some(value) = value {
                    known.insert(key.0, value.0);
                }
            }
        }
        Ok(keys.iter().map(|key| known.get(key).cloned()).collect())
    }

    /// Nodes of a storage proof of `keys` in the state of block `at`.
    pub async fn read_proof(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<Vec<u8>>, ClientError> {
        #[derive(Deserialize)]
        struct ReadProof {
            proof: Vec<HexBytes>,
        }
        let keys: Vec<String> = keys.iter().map(|key| to_hex(key)).collect();
        let proof: ReadProof = self.request("state_getReadProof", params![keys, H256(*at)]).await?;
        Ok(bytes(proof.proof))
    }

    /// SCALE of the [`phala_protocol::finality::FinalityProof`] that leads a light client on from block `from`.
    pub async fn finality_proof(&self, from: BlockNumber) -> Result<Vec<u8>, ClientError> {
        let proof: HexBytes = self.request("phala_finalityProof", params![from]).await?;
        Ok(proof.0)
    }

    /// The justification of `block`, or of the next block that has one.
    pub async fn justification(&self, block: BlockNumber) -> Result<JustifiedBlock, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            number: BlockNumber,
            headers: Vec<HexBytes>,
            justification: HexBytes,
        }
        let answer: Answer = self.request("phala_justification", params![block]).await?;
        Ok(JustifiedBlock {
            number: answer.number,
            headers: bytes(answer.headers),
            justification: answer.justification.0,
        })
    }

    /// Items of a cluster's inbox from sequence `from` on, at most `limit`; as few as the node likes, but one if there is one. A node that has
    /// just started looks for old ones step by step: it is asked again for some seconds.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] when it has not found them by then: whoever asks later gets them, for it goes on from where it is.
    pub async fn inbox_items(&self, cluster: ClusterId, from: u64, limit: u32) -> Result<InboxAnswer, ClientError> {
        let begun = Instant::now();
        loop {
            match self.inbox_items_at_once(cluster, from, limit).await {
                Err(ClientError { code: ErrorCode::Busy, .. }) if begun.elapsed() < SEARCHING => {
                    tokio::time::sleep(STEP_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }

    /// As [`Self::inbox_items`], but asks once: for whoever has something else to do while the node looks for old ones.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] when the node has not found them yet; the next question has it go on from where it is.
    pub async fn inbox_items_at_once(
        &self,
        cluster: ClusterId,
        from: u64,
        limit: u32,
    ) -> Result<InboxAnswer, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            block: BlockNumber,
            count: u64,
            items: Vec<HexBytes>,
        }
        let answer: Answer = self.request("phala_inboxItems", params![cluster.0, from, limit]).await?;
        Ok(InboxAnswer { block: answer.block, count: answer.count, items: bytes(answer.items) })
    }

    /// The anchor of the chain *as this node tells it*, from its genesis state: whoever pins it trusts the node once. Nodes that
    /// prune their state do not have it; then it comes from `phala-node export-genesis-anchor`.
    pub async fn fetch_anchor(&self) -> Result<GenesisAnchor, ClientError> {
        let header = self.header(&self.genesis).await?.encode();
        if blake2_256(&header) != self.genesis {
            return Err(ClientError::new(
                ErrorCode::Unverified,
                "the node's genesis header is not that of its genesis hash",
            ));
        }
        let authorities_proof = self.read_proof(&[storage::GRANDPA_AUTHORITIES.to_vec()], &self.genesis).await?;
        Ok(GenesisAnchor { header, authorities_proof })
    }

    /// What an account has at its free disposal, in 10^-12 PHA.
    pub async fn balance(&self, account: &AccountId) -> Result<Balance, ClientError> {
        /// `frame_system::AccountInfo` with the data of `pallet_balances`, up to the free balance.
        type AccountInfo = (u32, u32, u32, u32, Balance);
        let key = map_key("System", "Account", &account.0);
        let Some(value) = self.storage_raw(&key, None).await? else { return Ok(0) };
        let (.., free) = AccountInfo::decode(&mut value.as_slice()).map_err(|_| malformed())?;
        Ok(free)
    }

    /// A pallet's constant in the present runtime.
    pub async fn constant<T: Decode>(&self, pallet: &str, name: &str) -> Result<T, ClientError> {
        let client = self.client.at_current_block().await.map_err(|error| super::errors::other(&error))?;
        let metadata = client.metadata();
        let constant = metadata.pallet_by_name(pallet).and_then(|pallet| pallet.constant_by_name(name));
        let value = constant.map(|constant| constant.value()).ok_or_else(|| {
            ClientError::new(ErrorCode::NotFound, format!("the runtime has no constant {pallet}::{name}"))
        })?;
        decode(value)
    }

    async fn at(&self, at: Option<&Hash>) -> Result<H256, ClientError> {
        match at {
            Some(at) => Ok(H256(*at)),
            None => self.request("chain_getFinalizedHead", params![]).await,
        }
    }
}

#[derive(Deserialize)]
struct ChangeSet {
    changes: Vec<(HexBytes, Option<HexBytes>)>,
}

/// Key of an entry of a `Blake2_128Concat` map of any pallet, for what `phala_protocol::storage` does not name.
pub fn map_key(pallet: &str, item: &str, key: &[u8]) -> Vec<u8> {
    let mut full = sp_crypto_hashing::twox_128(pallet.as_bytes()).to_vec();
    full.extend_from_slice(&sp_crypto_hashing::twox_128(item.as_bytes()));
    full.extend_from_slice(&blake2_128(key));
    full.extend_from_slice(key);
    full
}

/// Key of an entry of a `Twox64Concat` map of any pallet, for what `phala_protocol::storage` does not name.
pub fn short_map_key(pallet: &str, item: &str, key: &[u8]) -> Vec<u8> {
    let mut full = sp_crypto_hashing::twox_128(pallet.as_bytes()).to_vec();
    full.extend_from_slice(&sp_crypto_hashing::twox_128(item.as_bytes()));
    full.extend_from_slice(&sp_crypto_hashing::twox_64(key));
    full.extend_from_slice(key);
    full
}

pub(crate) fn decode<T: Decode>(mut value: &[u8]) -> Result<T, ClientError> {
    T::decode_all(&mut value).map_err(|_| malformed())
}

fn malformed() -> ClientError {
    ClientError::new(ErrorCode::Unverified, "a record of the chain's state is not in the form that this client knows")
        .with_hint("this client and the network's runtime are of different versions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_in_both_forms() {
        for json in ["\"0x0aff\"", "\"0aff\"", "[10, 255]"] {
            assert!(serde_json::from_str::<HexBytes>(json).is_ok_and(|bytes| bytes.0 == [10, 255]), "{json}");
        }
        assert!(serde_json::from_str::<HexBytes>("\"0xzz\"").is_err());
        assert!(serde_json::from_str::<HexBytes>("[256]").is_err());
    }

    #[test]
    fn keys_by_name_are_those_of_the_protocol() {
        let cluster = ClusterId(7);
        assert_eq!(map_key("Contracts", "Clusters", &cluster.encode()), storage::cluster_key(cluster));
        assert_eq!(map_key("Inbox", "Heads", &cluster.encode()), storage::inbox_head_key(cluster));
    }
}
