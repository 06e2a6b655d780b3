//! Values of the beacon, with what shows them to anyone offline.
//!
//! `phala-beacon/v1` is JSON; everything in it is a number or hexadecimal SCALE. Fields: `genesis` the chain; `anchor` SCALE of
//! `GenesisAnchor`; `finality` SCALE of each `FinalityFragment` from genesis on, the last being the head; `proof` nodes of a storage proof
//! at that head, of the value, of its era's record and of which value is the newest; `era` and `period`.
//!
//! Guarantees: memory is in proportion to a file. A [`VerifiedValue`] comes from [`verify`] alone. The chain with the pinned genesis finalised a state that has this record for
//! the era and this value for the period, the record's shares are of one key, and the value is the one that a threshold of them gives:
//! whoever made the file chose none of it. It does not show that the value was unknown before the period opened - a threshold of holders
//! can know it - or that there is no newer one by now. Whoever made the file controls all of it; the pinned hash and the entropy are the
//! reader's.

use crate::{
    entropy,
    error::chain_of,
    network::{finality_proof, refused},
    ClientError, ErrorCode, Network,
};
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::beacon::{verify_beacon, verify_beacon_record};
use phala_light_client::{encode_proof, verify_anchor, verify_storage_value, ProofError, VerifiedHeader};
use phala_protocol::{
    beacon::{BeaconRecord, MadeBeacon, Period},
    finality::{FinalityFragment, GenesisAnchor},
    ids::{to_hex, BlockNumber},
    limits::MAX_FINALITY_FRAGMENTS,
    storage, Hash,
};
use serde::{Deserialize, Serialize};

/// The format's name.
pub const FORMAT: &str = "phala-beacon/v1";
/// Bytes of the JSON: finality proofs of many sessions, and one storage proof.
pub const MAX_BEACON_PROOF_BYTES: usize = 64 * 1024 * 1024;

/// What shows a value. Holding one shows nothing; [`verify`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeaconProof {
    /// The chain.
    pub genesis: Hash,
    /// Its genesis header and first authorities.
    pub anchor: GenesisAnchor,
    /// One justified header for each authority set that ended, then the head.
    pub finality: Vec<FinalityFragment>,
    /// Nodes of the storage proof at the head.
    pub proof: Vec<Vec<u8>>,
    /// The value's era.
    pub era: u32,
    /// Its period.
    pub period: Period,
}

/// The JSON. One struct for reading and writing, so that the two cannot differ.
#[derive(Serialize, Deserialize)]
struct Json {
    format: String,
    genesis: String,
    era: u32,
    period: Period,
    proof: Vec<String>,
    finality: Vec<String>,
    anchor: String,
}

/// The format of any JSON of ours, whatever else it has.
#[derive(Deserialize)]
struct Named {
    format: Option<String>,
}

/// A value that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedValue {
    /// The era whose key made it.
    pub era: u32,
    /// Its period.
    pub period: Period,
    /// The value.
    pub value: Hash,
    /// The block in which the period opened, as the chain says.
    pub opened: BlockNumber,
    /// The block in which it was made, as the chain says.
    pub made: BlockNumber,
    /// Indices of the holders out of whose partials it was made: a threshold.
    pub partials: Vec<u16>,
    /// How many hold a share of the era's key.
    pub holders: usize,
    /// The era's public key, a compressed Ristretto point.
    pub key: [u8; 32],
    /// The finalised block in whose state it is.
    pub block: BlockNumber,
    /// That block's hash.
    pub block_hash: Hash,
    /// Whether it was the newest in that state.
    pub newest: bool,
    /// Whether the genesis is marked as a development network's, whose gatekeepers may be simulated; none when the anchor does not show it.
    pub development: Option<bool>,
}

/// Why bytes show no value of the beacon; the fault is whoever made them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeaconProofError {
    /// Too long.
    #[error("a proof of {0} bytes is over the limit")]
    TooLong(usize),
    /// Not the JSON of a proof.
    #[error("this shows no value of the beacon: {0}")]
    Json(String),
    /// Another format.
    #[error("the format is {0:?}; this client reads `{FORMAT}`")]
    Format(String),
    /// A field is not what it should be.
    #[error("the field `{0}` is malformed")]
    Field(&'static str),
    /// Of another chain.
    #[error("it is of the chain {named}, not of {pinned}")]
    OtherChain {
        /// The chain that it names.
        named: String,
        /// The chain that it has to be of.
        pinned: String,
    },
    /// The genesis or its first authorities do not hold.
    #[error("the genesis does not hold: {0}")]
    Genesis(String),
    /// A block is not finalised by the chain's authorities.
    #[error("the block is not shown to be finalised: {0}")]
    Finality(String),
    /// The state does not say what it has to.
    #[error("the state of block {block} does not show {what}: {why}")]
    State {
        /// The block.
        block: BlockNumber,
        /// Of what.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The era's record is of no key.
    #[error("the era's record does not hold: {0}")]
    Record(String),
    /// The value does not follow from the partials.
    #[error("the value does not hold: {0}")]
    Value(String),
}

impl From<BeaconProofError> for ClientError {
    fn from(error: BeaconProofError) -> Self {
        let code = match error {
            BeaconProofError::TooLong(_)
            | BeaconProofError::Json(_)
            | BeaconProofError::Format(_)
            | BeaconProofError::Field(_) => ErrorCode::Invalid,
            _ => ErrorCode::Unverified,
        };
        Self::new(code, error.to_string())
    }
}

/// Verifies a proof for the chain whose genesis hash is `pinned`. `entropy` is fresh and unknown to whoever made the proof.
pub fn verify(proof: &BeaconProof, pinned: &Hash, entropy: &[u8; 32]) -> Result<VerifiedValue, BeaconProofError> {
    if proof.genesis != *pinned {
        return Err(BeaconProofError::OtherChain { named: to_hex(&proof.genesis), pinned: to_hex(pinned) });
    }
    let mut light =
        verify_anchor(pinned, &proof.anchor).map_err(|error| BeaconProofError::Genesis(chain_of(&error)))?;
    let development = development(light.head(), &proof.anchor);
    for fragments in proof.finality.chunks(MAX_FINALITY_FRAGMENTS) {
        let advanced = light.advance(&finality_proof(fragments), entropy);
        advanced.map_err(|error| BeaconProofError::Finality(chain_of(&error)))?;
    }
    let head = light.head();
    let nodes = encode_proof(&proof.proof);
    let (era, period) = (proof.era, proof.period);
    let record: BeaconRecord = present(head, &nodes, &storage::beacon_record_key(era), "the era's record")?;
    let made: MadeBeacon = present(head, &nodes, &storage::beacon_value_key(era, period), "the value")?;
    let latest: (u32, Period) = present(head, &nodes, &storage::beacon_latest_key(), "which value is the newest")?;
    let verified =
        verify_beacon_record(pinned, &record).map_err(|error| BeaconProofError::Record(error.to_string()))?;
    if verified.era() != era {
        return Err(BeaconProofError::Record(format!("it is of era {}", verified.era())));
    }
    let value =
        verify_beacon(&verified, period, &made.proof).map_err(|error| BeaconProofError::Value(error.to_string()))?;
    if *value.value() != made.value {
        return Err(BeaconProofError::Value("the chain kept another one than the partials give".to_owned()));
    }
    Ok(VerifiedValue {
        era,
        period,
        value: made.value,
        opened: made.opened,
        made: made.made,
        partials: made.proof.partials.iter().map(|partial| partial.index).collect(),
        holders: record.holders.len(),
        key: verified.key(),
        block: head.number(),
        block_hash: *head.hash(),
        newest: latest == (era, period),
        development,
    })
}

/// [`verify`] with the system's entropy.
pub fn verify_now(proof: &BeaconProof, pinned: &Hash) -> Result<VerifiedValue, ClientError> {
    Ok(verify(proof, pinned, &entropy::fresh()?)?)
}

/// What the genesis state says of itself, if the anchor shows it.
fn development(genesis: &VerifiedHeader, anchor: &GenesisAnchor) -> Option<bool> {
    let nodes = encode_proof(&anchor.authorities_proof);
    let shown = verify_storage_value(genesis, &nodes, &storage::DEVELOPMENT).ok()?;
    Some(shown.as_deref() == Some(&[1][..]))
}

/// A record that the state has.
fn present<T: Decode>(
    head: &VerifiedHeader,
    nodes: &[u8],
    key: &[u8],
    what: &'static str,
) -> Result<T, BeaconProofError> {
    let failed = |why: String| BeaconProofError::State { block: head.number(), what, why };
    let value = verify_storage_value(head, nodes, key).map_err(|error: ProofError| failed(chain_of(&error)))?;
    let value = value.ok_or_else(|| failed("it is not there".to_owned()))?;
    T::decode_all(&mut value.as_slice()).map_err(|_| failed("it is malformed".to_owned()))
}

impl BeaconProof {
    /// Storage keys that a proof shows.
    pub fn keys(era: u32, period: Period) -> Vec<Vec<u8>> {
        vec![storage::beacon_record_key(era), storage::beacon_value_key(era, period), storage::beacon_latest_key()]
    }

    /// The proof as JSON.
    pub fn to_json(&self) -> Result<String, ClientError> {
        let json = Json {
            format: FORMAT.to_owned(),
            genesis: to_hex(&self.genesis),
            era: self.era,
            period: self.period,
            proof: self.proof.iter().map(|node| to_hex(node)).collect(),
            finality: self.finality.iter().map(|fragment| to_hex(&fragment.encode())).collect(),
            anchor: to_hex(&self.anchor.encode()),
        };
        serde_json::to_string_pretty(&json).map_err(|error| ClientError::new(ErrorCode::Internal, error.to_string()))
    }

    /// Reads a proof. Judges nothing.
    pub fn from_json(json: &[u8]) -> Result<Self, BeaconProofError> {
        if json.len() > MAX_BEACON_PROOF_BYTES {
            return Err(BeaconProofError::TooLong(json.len()));
        }
        let refused = |error: serde_json::Error| BeaconProofError::Json(error.to_string());
        // Never into a tree of values: each of a small one's bytes costs a hundred of memory.
        if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(BeaconProofError::Json("it is no JSON object".to_owned()));
        }
        let named: Named = serde_json::from_slice(json).map_err(refused)?;
        match named.format.as_deref() {
            Some(FORMAT) => {}
            Some(other) => return Err(BeaconProofError::Format(other.chars().take(40).collect())),
            None => return Err(BeaconProofError::Json("it names no format".to_owned())),
        }
        let json: Json = serde_json::from_slice(json).map_err(refused)?;
        Ok(Self {
            genesis: scale("genesis", &json.genesis)?,
            anchor: scale("anchor", &json.anchor)?,
            finality: json.finality.iter().map(|text| scale("finality", text)).collect::<Result<_, _>>()?,
            proof: json.proof.iter().map(|text| bytes("proof", text)).collect::<Result<_, _>>()?,
            era: json.era,
            period: json.period,
        })
    }
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, BeaconProofError> {
    text.strip_prefix("0x").and_then(|text| hex::decode(text).ok()).ok_or(BeaconProofError::Field(field))
}

fn scale<T: Decode>(field: &'static str, text: &str) -> Result<T, BeaconProofError> {
    T::decode_all(&mut bytes(field, text)?.as_slice()).map_err(|_| BeaconProofError::Field(field))
}

impl Network {
    /// What shows the newest value of the beacon, as the node has it; none when a proof shows that there is no value yet.
    pub async fn newest_beacon(&self) -> Result<Option<BeaconProof>, ClientError> {
        let (light, finality) = self.followed_from_genesis().await?;
        let (head, latest) = (light.head(), storage::beacon_latest_key());
        let Some((era, period)) = self.chain().storage(&latest, Some(head.hash())).await? else {
            // That there is none is not left to the node's word.
            let nodes = encode_proof(&self.chain().read_proof(std::slice::from_ref(&latest), head.hash()).await?);
            let shown = verify_storage_value(head, &nodes, &latest).map_err(|error| refused(&error))?;
            return match shown {
                None => Ok(None),
                Some(_) => Err(ClientError::new(ErrorCode::Unverified, "the node hides the beacon's values")),
            };
        };
        let proof = self.chain().read_proof(&BeaconProof::keys(era, period), head.hash()).await?;
        let anchor = self.pin().anchor.clone();
        Ok(Some(BeaconProof { genesis: *self.genesis(), anchor, finality, proof, era, period }))
    }
}

#[cfg(test)]
mod tests;
