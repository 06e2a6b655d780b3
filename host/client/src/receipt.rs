//! Receipts: what proves to anyone, offline, what became of a command.
//!
//! `phala-receipt/v1` is JSON. Everything in it is hexadecimal SCALE or a plain identifier; [`crate::verify`] judges all of it and
//! trusts none. A receipt holds the reply in clear: whoever has it knows what the command returned, and who sent it.
//!
//! Fields: `genesis` the chain; `anchor` SCALE of `GenesisAnchor`; `finality` SCALE of each `FinalityFragment` from genesis on, the last
//! being the head; `proof` nodes of a storage proof at that head; `record` SCALE of `FinalRecord`; `reply`, `salt`, `position`, `path` the
//! reply and its Merkle proof; `contract` and `code`; optionally `evidence`, with what re-verifies the workers' attestation.

use crate::{command::Completed, worker::WorkerInfo, ClientError, ErrorCode, Network};
use codec::{Decode, Encode};
use phala_protocol::{
    chain_state::{FinalRecord, WorkerRecord},
    finality::{FinalityFragment, GenesisAnchor},
    ids::to_hex,
    result::{ClusterResult, Reply},
    storage, CodeHash, ContractId, Hash, WorkerId,
};
use serde::{Deserialize, Serialize};

/// The format's name.
pub const FORMAT: &str = "phala-receipt/v1";
/// Bytes of a receipt's JSON: finality proofs of many sessions, one storage proof, one reply.
pub const MAX_RECEIPT_BYTES: usize = 64 * 1024 * 1024;

/// A receipt. Holding one proves nothing; [`crate::verify::verify`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The chain.
    pub genesis: Hash,
    /// Its genesis header and first authorities.
    pub anchor: GenesisAnchor,
    /// One justified header for each authority set that ended, then the head.
    pub finality: Vec<FinalityFragment>,
    /// Nodes of the storage proof at the head.
    pub proof: Vec<Vec<u8>>,
    /// The final result with its votes.
    pub record: FinalRecord,
    /// The reply.
    pub reply: Reply,
    /// Its salt.
    pub salt: [u8; 32],
    /// Its place among the boundary's replies, and their number.
    pub position: (u32, u32),
    /// Its Merkle path.
    pub path: Vec<Hash>,
    /// The contract that the sender says was called: the reply itself does not name it.
    pub contract: ContractId,
    /// The contract's code.
    pub code: CodeHash,
    /// What workers registered with, where they tell it.
    pub evidence: Vec<EvidenceOf>,
}

/// One worker's evidence.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EvidenceOf {
    /// Whose.
    pub worker: WorkerId,
    /// SCALE of its `Registration`.
    pub registration: Vec<u8>,
    /// SCALE of its `Evidence`.
    pub evidence: Vec<u8>,
    /// SCALE of the `Collateral` that it is verified with; empty if nobody had it.
    pub collateral: Vec<u8>,
}

/// The JSON. One struct for reading and writing, so that the two cannot differ.
#[derive(Serialize, Deserialize)]
struct Json {
    format: String,
    genesis: String,
    contract: String,
    code: String,
    record: String,
    reply: String,
    salt: String,
    position: (u32, u32),
    path: Vec<String>,
    #[serde(default)]
    evidence: Vec<String>,
    proof: Vec<String>,
    finality: Vec<String>,
    anchor: String,
}

/// Why JSON is not a receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Too long.
    #[error("a receipt of {0} bytes is over the limit")]
    TooLong(usize),
    /// Not the JSON of a receipt.
    #[error("this is not a receipt: {0}")]
    Json(String),
    /// Another format.
    #[error("the receipt's format is `{0}`; this client reads `{FORMAT}`")]
    Format(String),
    /// A field is not what it should be.
    #[error("the receipt's field `{0}` is malformed")]
    Field(&'static str),
}

impl From<ReceiptError> for ClientError {
    fn from(error: ReceiptError) -> Self {
        Self::new(ErrorCode::Invalid, error.to_string())
    }
}

impl Receipt {
    /// Storage keys that a receipt proves: the result, chain time, the contract, its workers, their measurements, and whether they are
    /// shut out: the bans, and where each worker comes from.
    pub fn keys(
        result: &ClusterResult,
        contract: &ContractId,
        workers: &[WorkerId],
        measurements: &[Hash],
    ) -> Vec<Vec<u8>> {
        let mut keys = vec![
            storage::final_result_key(result.cluster, result.boundary.block),
            storage::TIMESTAMP_NOW.to_vec(),
            storage::contract_key(contract),
            storage::BANS.to_vec(),
        ];
        keys.extend(workers.iter().map(storage::worker_key));
        keys.extend(workers.iter().map(storage::appraisal_key));
        keys.extend(measurements.iter().map(storage::measurement_key));
        keys.sort();
        keys.dedup();
        keys
    }

    /// The receipt as JSON.
    pub fn to_json(&self) -> Result<String, ClientError> {
        let list = |items: &[Vec<u8>]| items.iter().map(|item| to_hex(item)).collect();
        let json = Json {
            format: FORMAT.to_owned(),
            genesis: to_hex(&self.genesis),
            contract: self.contract.to_string(),
            code: self.code.to_string(),
            record: to_hex(&self.record.encode()),
            reply: to_hex(&self.reply.encode()),
            salt: to_hex(&self.salt),
            position: self.position,
            path: self.path.iter().map(|node| to_hex(node)).collect(),
            evidence: self.evidence.iter().map(|evidence| to_hex(&evidence.encode())).collect(),
            proof: list(&self.proof),
            finality: self.finality.iter().map(|fragment| to_hex(&fragment.encode())).collect(),
            anchor: to_hex(&self.anchor.encode()),
        };
        serde_json::to_string_pretty(&json).map_err(|error| ClientError::new(ErrorCode::Internal, error.to_string()))
    }

    /// Reads a receipt. Judges nothing.
    pub fn from_json(json: &[u8]) -> Result<Self, ReceiptError> {
        if json.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::TooLong(json.len()));
        }
        let json: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| ReceiptError::Json(error.to_string()))?;
        match json.get("format").and_then(serde_json::Value::as_str) {
            Some(FORMAT) => {}
            Some(other) => return Err(ReceiptError::Format(other.chars().take(40).collect())),
            None => return Err(ReceiptError::Json("it names no format".to_owned())),
        }
        let json: Json = serde_json::from_value(json).map_err(|error| ReceiptError::Json(error.to_string()))?;
        Ok(Self {
            genesis: scale("genesis", &json.genesis)?,
            anchor: scale("anchor", &json.anchor)?,
            finality: json.finality.iter().map(|text| scale("finality", text)).collect::<Result<_, _>>()?,
            proof: json.proof.iter().map(|text| bytes("proof", text)).collect::<Result<_, _>>()?,
            record: scale("record", &json.record)?,
            reply: scale("reply", &json.reply)?,
            salt: scale("salt", &json.salt)?,
            position: json.position,
            path: json.path.iter().map(|text| scale("path", text)).collect::<Result<_, _>>()?,
            contract: scale("contract", &json.contract)?,
            code: scale("code", &json.code)?,
            evidence: json.evidence.iter().map(|text| scale("evidence", text)).collect::<Result<_, _>>()?,
        })
    }
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, ReceiptError> {
    text.strip_prefix("0x").and_then(|text| hex::decode(text).ok()).ok_or(ReceiptError::Field(field))
}

fn scale<T: Decode>(field: &'static str, text: &str) -> Result<T, ReceiptError> {
    let bytes = bytes(field, text)?;
    let mut input = bytes.as_slice();
    match T::decode(&mut input) {
        Ok(value) if input.is_empty() => Ok(value),
        _ => Err(ReceiptError::Field(field)),
    }
}

impl EvidenceOf {
    /// What a worker's `/v1/info` tells of its evidence, if it does.
    pub fn from_info(info: &WorkerInfo, collateral: &[u8]) -> Option<Self> {
        let bytes = |text: &str| hex::decode(text.strip_prefix("0x")?).ok();
        Some(Self {
            worker: WorkerId(bytes(&info.identity)?.try_into().ok()?),
            registration: bytes(info.registration.as_deref()?)?,
            evidence: bytes(info.evidence.as_deref()?)?,
            collateral: collateral.to_vec(),
        })
    }
}

impl Network {
    /// Collects the receipt of a completed command from the node. Possible while chain state keeps the result: for the newest
    /// [`phala_protocol::limits::FINAL_RESULTS_KEPT`] of its cluster.
    pub async fn receipt(&self, completed: &Completed, evidence: Vec<EvidenceOf>) -> Result<Receipt, ClientError> {
        let Completed { command, record, reply, salt, position, path, .. } = completed;
        let (light, finality) = self.followed_from_genesis().await?;
        let head = light.head();
        if head.number() < record.finalised_at {
            return Err(ClientError::new(ErrorCode::Stale, "the node lags behind the result; try again"));
        }

        let workers: Vec<WorkerId> = record.votes.iter().map(|(worker, _)| *worker).collect();
        let mut measurements = Vec::new();
        for worker in &workers {
            let key = storage::worker_key(worker);
            let record: Option<WorkerRecord> = self.chain().storage(&key, Some(head.hash())).await?;
            measurements.extend(record.map(|record| record.measurement));
        }
        let keys = Receipt::keys(&record.result, &command.contract, &workers, &measurements);
        let proof = self.chain().read_proof(&keys, head.hash()).await?;
        let code = self.contract(&command.contract).await?.code;
        Ok(Receipt {
            genesis: *self.genesis(),
            anchor: self.pin().anchor.clone(),
            finality,
            proof,
            record: record.clone(),
            reply: reply.clone(),
            salt: *salt,
            position: *position,
            path: path.clone(),
            contract: command.contract,
            code,
            evidence,
        })
    }
}
