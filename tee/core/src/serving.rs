//! Answering queries, beside and never before the commands.
//!
//! Guarantees: a query runs on the last state whose result is final, through the engine's read-only entry, as the account that
//! signed it; its nonce is remembered until it expires ([`crate::seen`]); somebody else's reply, data that a contract denies and a
//! contract that does not exist get the same answer, in a sealed answer of the same length. Answers are sealed to the asker and signed: one
//! attested machine's word. Two that differ are never under one key and nonce, and no entropy is taken for that. Whoever reaches the listener controls the bytes. Does not: block or wait for execution - a [`Serving`] is a
//! snapshot; hide how long an answer takes.

use crate::{
    codes::Codes,
    identity::Identity,
    replies,
    seen::{Room, Seen},
    world::{ClusterWorld, StateFault},
};
use codec::{DecodeAll, Encode};
use phala_crypto::{
    aead::{SivKey, NONCE_BYTES},
    envelope::{pad, unpad},
    hpke::{self, Exporter},
    kdf,
    signature::sr25519,
    xwing::{DecapsulationKey, CIPHERTEXT_BYTES},
    Secret,
};
use phala_protocol::{
    chain_state::ClusterRecord,
    domain,
    envelope::SizeClass,
    ids::BlockNumber,
    limits::MAX_QUERY_LIFETIME_BLOCKS,
    query::{
        answer_payload, signing_payload, Answer, AnswerContent, QueryDecodeError, QueryKey, QueryRefusal, QueryRequest,
        SealedAnswer, SealedQuery, SignedQuery, CONTRACT_DENIES,
    },
    result::ClusterResult,
    AccountId, ClusterId, ContractId, Epoch, Hash,
};
use phala_state::View;
use phala_vm::{execute, BlockContext, Entry, Fault, Outcome, Request};
use std::sync::Arc;

/// Gas of one query: a class bound, never a price.
const QUERY_GAS: u64 = 100_000_000;

/// Why a query got no sealed answer at all.
#[derive(Debug, thiserror::Error)]
pub enum QueryFault {
    /// The bytes are not a query.
    #[error("the query is malformed")]
    Malformed(#[from] QueryDecodeError),
    /// Another cluster or an older epoch: fetch the worker's present query key.
    #[error("the query is for another cluster or epoch; fetch the worker's query key again")]
    WrongKey,
    /// It does not open under the worker's query key.
    #[error("the query does not open under the worker's query key")]
    Undecryptable,
    /// What opened is not a signed query.
    #[error("the query holds no well-formed signed question")]
    NotAQuery,
    /// The worker failed.
    #[error("the worker could not execute the query now; try again")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is longer than any size class.
    #[error("the answer is longer than an answer may be")]
    TooLong,
}

/// A snapshot of what a worker answers from. Clones share it.
#[derive(Clone)]
pub struct Serving {
    genesis: Hash,
    cluster: ClusterId,
    replicas: usize,
    epoch: Epoch,
    query_key: Arc<DecapsulationKey>,
    identity: Arc<Identity>,
    height: BlockNumber,
    state: Option<ClusterResult>,
    /// Of the final state.
    view: View,
    /// Of the last state that was executed; the same where nothing waits to become final.
    newest: View,
    codes: Arc<Codes>,
}

impl Serving {
    #[expect(clippy::too_many_arguments, reason = "one call site; a builder would hide what a snapshot is made of")]
    pub(crate) fn new(
        genesis: Hash,
        record: &ClusterRecord,
        cluster: ClusterId,
        epoch: Epoch,
        query_key: Arc<DecapsulationKey>,
        identity: Arc<Identity>,
        height: BlockNumber,
        state: Option<ClusterResult>,
        (view, newest): (View, View),
        codes: Arc<Codes>,
    ) -> Self {
        let replicas = record.replicas.len();
        Self { genesis, cluster, replicas, epoch, query_key, identity, height, state, view, newest, codes }
    }

    /// The cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// How many replicas the cluster has; with one or two there is no vote to speak of.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// The key that queries are sealed to, certified by the worker's identity.
    pub fn query_key(&self) -> QueryKey {
        let mut key = QueryKey {
            worker: self.identity.id(),
            cluster: self.cluster,
            epoch: self.epoch,
            public_key: self.query_key.public_key().to_vec(),
            signature: [0; 64],
        };
        key.signature = self.identity.sign(&key.signing_payload(&self.genesis));
        key
    }

    /// Opens, judges and runs a query. `seen` is shared by all snapshots of a process.
    pub fn answer(&self, bytes: &[u8], seen: &Seen) -> Result<SealedAnswer, QueryFault> {
        let sealed = SealedQuery::decode_exact(bytes)?;
        if sealed.header.cluster != self.cluster || sealed.header.epoch != self.epoch {
            return Err(QueryFault::WrongKey);
        }
        let (signed, exporter) = self.open(&sealed)?;
        let payload = signing_payload(&self.genesis, self.cluster, &signed.query);
        let content = match self.refuse(&signed, &payload, seen) {
            Some(refusal) => AnswerContent::Refused(refusal),
            None => self.run(&signed)?,
        };
        self.seal(Answer { query: payload, height: self.height, state: self.state, content }, &exporter)
    }

    fn open(&self, sealed: &SealedQuery) -> Result<(SignedQuery, Exporter), QueryFault> {
        let encapsulated: &[u8; CIPHERTEXT_BYTES] =
            sealed.encapsulated.as_slice().try_into().map_err(|_| QueryFault::Undecryptable)?;
        let info = [domain::QUERY_INFO.as_bytes(), &self.genesis].concat();
        let context = hpke::setup_receiver(&self.query_key, encapsulated, &info);
        let (plaintext, exporter) =
            context.open(&sealed.header.encode(), &sealed.body).map_err(|_| QueryFault::Undecryptable)?;
        let data = unpad(plaintext.expose()).map_err(|_| QueryFault::NotAQuery)?;
        let signed = SignedQuery::decode_all(&mut data.expose().as_slice()).map_err(|_| QueryFault::NotAQuery)?;
        Ok((signed, exporter))
    }

    fn refuse(&self, signed: &SignedQuery, payload: &Hash, seen: &Seen) -> Option<QueryRefusal> {
        let query = &signed.query;
        if query.worker != self.identity.id()
            || sr25519::verify_wallet(&signed.account.0, payload, &signed.signature).is_err()
        {
            return Some(QueryRefusal::Unauthorised);
        }
        let latest = self.height.saturating_add(MAX_QUERY_LIFETIME_BLOCKS);
        if query.valid_until < self.height || query.valid_until > latest {
            return Some(QueryRefusal::Expired);
        }
        if query.min_height > self.height {
            return Some(QueryRefusal::Stale);
        }
        match seen.take(&signed.account, &query.nonce, query.valid_until, self.height) {
            Room::Taken => None,
            Room::Used => Some(QueryRefusal::Replayed),
            Room::Crowded => Some(QueryRefusal::Crowded),
        }
    }

    fn run(&self, signed: &SignedQuery) -> Result<AnswerContent, QueryFault> {
        match &signed.query.request {
            QueryRequest::Contract { contract, payload } => self.contract(*contract, payload, signed.account),
            QueryRequest::Reply { nonce } => self.reply(&signed.account, *nonce),
        }
    }

    fn contract(&self, contract: ContractId, payload: &[u8], caller: AccountId) -> Result<AnswerContent, QueryFault> {
        let world = Arc::new(ClusterWorld { source: self.view.clone(), codes: self.codes.clone() });
        let state_fault = |error: StateFault| QueryFault::Failed(Box::new(error));
        let Some(code) = world.compiled(&contract).map_err(state_fault)? else {
            return Ok(AnswerContent::Refused(QueryRefusal::NotFound));
        };
        let request = Request {
            contract,
            caller,
            value: 0,
            entry: Entry::Query,
            input: payload.to_vec(),
            gas_limit: QUERY_GAS,
            context: BlockContext {
                cluster: self.cluster,
                block_number: self.state.map_or(0, |result| result.boundary.block),
                // A query has no item, and so no chain time of its own.
                block_time_ms: 0,
            },
        };
        let execution = execute(&code, &request, world).map_err(|error: Fault| QueryFault::Failed(Box::new(error)))?;
        Ok(match execution.outcome {
            Outcome::Returned(output) => AnswerContent::Output(output),
            Outcome::Reverted(error) if error == [CONTRACT_DENIES] => AnswerContent::Refused(QueryRefusal::NotFound),
            Outcome::Reverted(error) => AnswerContent::Reverted(error),
            Outcome::Trapped(phala_vm::Trap::ReadOnly | phala_vm::Trap::NoRandomness) => {
                AnswerContent::Refused(QueryRefusal::NotReadOnly)
            }
            Outcome::Trapped(_) => AnswerContent::Refused(QueryRefusal::Trapped),
            Outcome::OutOfGas => AnswerContent::Refused(QueryRefusal::OutOfGas),
        })
    }

    fn reply(&self, account: &AccountId, nonce: u64) -> Result<AnswerContent, QueryFault> {
        // The view is of a final state, so every reply in it is of a final result.
        let found = replies::find(&self.view, account, nonce).map_err(|error| QueryFault::Failed(Box::new(error)))?;
        if let Some(reply) = found {
            return Ok(reply);
        }
        // Replies are kept by their accounts: what another account's command was told is nothing here, as is what nobody sent.
        let waits = replies::is_executed(&self.newest, account, nonce);
        if waits.map_err(|error| QueryFault::Failed(Box::new(error)))? {
            return Ok(AnswerContent::Pending);
        }
        Ok(AnswerContent::Refused(QueryRefusal::NotFound))
    }

    fn seal(&self, answer: Answer, exporter: &Exporter) -> Result<SealedAnswer, QueryFault> {
        let signature = self.identity.sign(&answer_payload(&self.genesis, &answer));
        let encoded = answer.encode();
        let size = SizeClass::holding(encoded.len()).ok_or(QueryFault::TooLong)?;
        let padded = pad(&encoded, size).map_err(|_| QueryFault::TooLong)?;
        // A query that is brought again gets a second answer under the same key, say that it was asked before or has expired. Defence in depth:
        // so would a worker that forgot the first, which none does, for a process draws its own query key and forgets expired queries only.
        let nonce = answer_nonce(&exporter.export(domain::QUERY_ANSWER_NONCE_KEY.as_bytes()), padded.expose());
        let key = SivKey::new(&exporter.export::<32>(domain::QUERY_ANSWER_KEY.as_bytes()));
        let body = key.seal(&nonce, &[], padded.expose()).map_err(|_| QueryFault::TooLong)?;
        Ok(SealedAnswer { nonce, body, signature })
    }
}

/// The nonce of an answer: a PRF of what is sealed, under a key of this query alone.
fn answer_nonce(key: &Secret<[u8; 32]>, padded: &[u8]) -> [u8; NONCE_BYTES] {
    *kdf::derive::<NONCE_BYTES>(key, domain::QUERY_ANSWER_NONCE, padded).expose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use serde_json::Value;

    /// `testing/vectors/crypto/derivations.json`, which a second implementation computed.
    #[test]
    fn the_nonce_of_an_answer_follows_its_vector() {
        let file: Value =
            serde_json::from_str(include_str!("../../../testing/vectors/crypto/derivations.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        let named = |label: &str| cases.iter().find(|case| case["label"] == label).unwrap();
        let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
        let case = named(domain::QUERY_ANSWER_NONCE.as_str());
        assert_eq!(case["secret"], named(domain::QUERY_ANSWER_NONCE_KEY.as_str())["output"], "of what a query exports");
        let key: Secret<[u8; 32]> = Secret::from_slice(&bytes(&case["secret"])).unwrap();
        assert_eq!(answer_nonce(&key, &bytes(&case["context"]))[..], bytes(&case["output"]));
        assert_ne!(answer_nonce(&key, &[]), answer_nonce(&key, &[0]));
    }
}
