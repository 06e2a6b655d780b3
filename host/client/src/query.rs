//! Sealed queries to one worker that the chain registered.
//!
//! Guarantees: the question goes only to a key that a registered replica of the cluster signed, whose measurement is on the allow-list,
//! whose attestation has not lapsed, and whom no ban shuts out at the client's verified head - all by storage proof; the answer is to this question, from that worker, not older than the asked
//! height. It is *one attested machine's word*. The host between sees sizes and times, and can only refuse.
//!
//! ```text
//! HPKE info = QUERY_INFO || genesis      AAD = SCALE of the query header      plaintext = padded SignedQuery
//! answer: AES-256-GCM-SIV, key = export(QUERY_ANSWER_KEY), nonce beside it, no AAD, plaintext = padded Answer
//! ```

use crate::{
    bans::barred, chain::read_record, entropy, worker::WorkerEndpoint, Account, ClientError, ErrorCode, Network,
};
use codec::{Decode, DecodeAll, Encode};
use phala_attest::{Appraisal, Bans};
use phala_crypto::{
    aead::SivKey,
    envelope::{pad, unpad},
    hpke::{self, Exporter},
    signature::ed25519,
    xwing::EncapsulationKey,
    Secret,
};
use phala_protocol::{
    attestation::{Assurance, Role},
    chain_state::{AllowedMeasurement, ClusterRecord, WorkerRecord},
    domain,
    envelope::SizeClass,
    ids::BlockNumber,
    query::{
        answer_payload, signing_payload, Answer, AnswerContent, Query, QueryHeader, QueryKey, QueryRefusal,
        QueryRequest, SealedAnswer, SealedQuery, SignedQuery, VERSION,
    },
    storage, ClusterId, Hash, WorkerId,
};
use std::time::Duration;

/// Blocks for which a query can be answered: the first, and shorter ones for a worker that has too many such queries to remember.
const LIFETIMES: [BlockNumber; 3] = [60, 30, 8];
/// How long to wait for a worker that has not seen what we have.
const STALE_WAIT: Duration = Duration::from_secs(20);
const STALE_STEP: Duration = Duration::from_millis(250);

/// A worker's endpoint whose identity and query key were verified.
#[derive(Clone, Debug)]
pub struct AttestedWorker {
    endpoint: WorkerEndpoint,
    cluster: ClusterId,
    key: QueryKey,
    record: WorkerRecord,
    height: BlockNumber,
}

/// An answer that was verified.
#[derive(Clone, Debug)]
pub struct VerifiedAnswer {
    /// The answer.
    pub answer: Answer,
    /// Who answered.
    pub worker: WorkerId,
    /// Whether hardware vouches for it.
    pub assurance: Assurance,
}

impl AttestedWorker {
    /// Asks the worker who it is, and proves by chain state that it may serve `cluster`.
    pub async fn verify(network: &Network, endpoint: &WorkerEndpoint, cluster: ClusterId) -> Result<Self, ClientError> {
        let info = endpoint.info().await?;
        let served = info.clusters.iter().find(|served| served.cluster == cluster.0);
        let key = served.and_then(|served| served.query_key.as_deref()).ok_or_else(|| {
            endpoint
                .error(ErrorCode::Busy, format!("has no query key of cluster {cluster}"))
                .with_hint("it does not serve the cluster, or is still waiting for the epoch's keys")
        })?;
        let malformed = || endpoint.error(ErrorCode::Unattested, "shows no well-formed query key".to_owned());
        let key = hex::decode(key.strip_prefix("0x").unwrap_or(key)).map_err(|_| malformed())?;
        let key: QueryKey = read_record(&key).map_err(|_| malformed())?;

        let worker_key = storage::worker_key(&key.worker);
        let cluster_key = storage::cluster_key(cluster);
        let (time_key, bans_key) = (storage::TIMESTAMP_NOW.to_vec(), storage::BANS.to_vec());
        let appraisal_key = storage::appraisal_key(&key.worker);
        let keys = [&worker_key, &cluster_key, &time_key, &bans_key, &appraisal_key].map(Clone::clone);
        let proved = network.read(&keys).await?;
        let record: Option<WorkerRecord> = proved.get(&worker_key)?;
        let cluster_record: Option<ClusterRecord> = proved.get(&cluster_key)?;
        let now_ms: u64 = proved.get(&time_key)?.unwrap_or_default();
        let bans: Bans = proved.get(&bans_key)?.unwrap_or_default();
        let appraisal: Option<Appraisal> = proved.get(&appraisal_key)?;
        let unattested = |why: &str| {
            endpoint
                .error(ErrorCode::Unattested, format!("cannot be trusted: {why}"))
                .with_hint("ask another worker of the cluster")
        };
        let record = record.ok_or_else(|| unattested("the chain has not registered it"))?;
        let cluster_record = cluster_record
            .ok_or_else(|| ClientError::new(ErrorCode::NotFound, format!("there is no cluster {cluster}")))?;
        let measurement_key = storage::measurement_key(&record.measurement);
        let allowed = network.read(std::slice::from_ref(&measurement_key)).await?.get(&measurement_key)?;
        let registered = Registered { record: &record, appraisal: appraisal.as_ref() };
        judge(network.genesis(), cluster, &key, &registered, &cluster_record, allowed, &bans, now_ms, proved.height())
            .map_err(unattested)?;
        Ok(Self { endpoint: endpoint.clone(), cluster, key, record, height: proved.height() })
    }

    /// Its identity.
    pub fn id(&self) -> WorkerId {
        self.key.worker
    }

    /// What the chain's record says of it.
    pub fn record(&self) -> &WorkerRecord {
        &self.record
    }

    /// Asks `request` as `account`, on state that is final at `min_height` or later; waits for a worker that lags behind it.
    /// A refusal comes back as an error, but for the one that says that there is no reply.
    pub async fn ask(
        &self,
        genesis: &Hash,
        account: &Account,
        request: &QueryRequest,
        min_height: BlockNumber,
    ) -> Result<VerifiedAnswer, ClientError> {
        let waited = std::time::Instant::now();
        let mut lifetimes = LIFETIMES.into_iter();
        let mut lifetime = lifetimes.next().unwrap_or(1);
        loop {
            let answer = self.ask_once(genesis, account, request, min_height, lifetime).await?;
            match answer.answer.content {
                AnswerContent::Refused(QueryRefusal::Stale) if waited.elapsed() < STALE_WAIT => {
                    tokio::time::sleep(STALE_STEP).await;
                }
                AnswerContent::Refused(QueryRefusal::Crowded) => match lifetimes.next() {
                    Some(shorter) => lifetime = shorter,
                    None => return Err(refusal_error(QueryRefusal::Crowded)),
                },
                // Of a reply it says that the state has none for this account, which is worth what the state is.
                AnswerContent::Refused(QueryRefusal::NotFound) if matches!(request, QueryRequest::Reply { .. }) => {
                    return Ok(answer);
                }
                AnswerContent::Refused(refusal) => return Err(refusal_error(refusal)),
                _ => return Ok(answer),
            }
        }
    }

    async fn ask_once(
        &self,
        genesis: &Hash,
        account: &Account,
        request: &QueryRequest,
        min_height: BlockNumber,
        lifetime: BlockNumber,
    ) -> Result<VerifiedAnswer, ClientError> {
        let query = Query {
            worker: self.id(),
            request: request.clone(),
            nonce: entropy::fresh()?,
            valid_until: self.height.max(min_height).saturating_add(lifetime),
            min_height,
        };
        let payload = signing_payload(genesis, self.cluster, &query);
        let signed = SignedQuery { account: account.id(), query, signature: account.sign(&payload)? };
        let (sealed, exporter) = seal(genesis, &self.key, &signed, &entropy::fresh()?)?;
        let bytes = self.endpoint.query(sealed.to_bytes()).await?;
        let answer = open(genesis, &self.id(), &payload, min_height, &exporter, &bytes)
            .map_err(|why| self.endpoint.error(ErrorCode::Unverified, format!("answers wrongly: {why}")))?;
        Ok(VerifiedAnswer { answer, worker: self.id(), assurance: self.record.assurance })
    }
}

/// What the chain has registered of a worker.
struct Registered<'a> {
    record: &'a WorkerRecord,
    /// Where it comes from.
    appraisal: Option<&'a Appraisal>,
}

/// Whether a query key is that of a worker that may serve the cluster now.
#[expect(clippy::too_many_arguments, reason = "each is a separate fact")]
fn judge(
    genesis: &Hash,
    cluster: ClusterId,
    key: &QueryKey,
    registered: &Registered<'_>,
    cluster_record: &ClusterRecord,
    allowed: Option<AllowedMeasurement>,
    bans: &Bans,
    now_ms: u64,
    height: BlockNumber,
) -> Result<(), &'static str> {
    let Registered { record, appraisal } = registered;
    if record.role != Role::Worker {
        return Err("it is registered in another role");
    }
    if record.valid_until <= now_ms / 1000 {
        return Err("its attestation has lapsed");
    }
    if !allowed.is_some_and(|allowed| is_accepted(&allowed, height)) {
        return Err("its measurement is not on the allow-list");
    }
    if barred(bans, *appraisal, height).is_some() {
        return Err("its vendor, model, generation or measurement is revoked or suspended");
    }
    if !cluster_record.replicas.contains(&key.worker) {
        return Err("it is no replica of the cluster");
    }
    if key.cluster != cluster {
        return Err("its query key is another cluster's");
    }
    // It may have seen the next epoch open before us, or not yet have the keys of the newest.
    if key.epoch.abs_diff(cluster_record.epoch) > 1 {
        return Err("its query key is of an old epoch");
    }
    ed25519::verify(&key.worker.0, &key.signing_payload(genesis), &key.signature)
        .map_err(|_| "its query key is not signed by its identity")
}

/// Whether an entry of the allow-list is in force at a height.
pub(crate) fn is_accepted(allowed: &AllowedMeasurement, height: BlockNumber) -> bool {
    allowed.not_before <= height && allowed.sunset.is_none_or(|sunset| height <= sunset)
}

fn seal(
    genesis: &Hash,
    key: &QueryKey,
    signed: &SignedQuery,
    entropy: &[u8; 64],
) -> Result<(SealedQuery, Exporter), ClientError> {
    let plain = Secret::new(signed.encode());
    let size = SizeClass::holding(plain.expose().len()).ok_or_else(|| {
        ClientError::new(ErrorCode::OverLimit, "the query's arguments are longer than a query may be")
    })?;
    let header = QueryHeader { version: VERSION, cluster: key.cluster, epoch: key.epoch, size };
    let recipient = EncapsulationKey::from_bytes(&key.public_key)
        .map_err(|error| ClientError::new(ErrorCode::Unattested, error.to_string()))?;
    let internal = |error: &dyn std::error::Error| ClientError::new(ErrorCode::Internal, error.to_string());
    let padded = pad(plain.expose(), size).map_err(|error| internal(&error))?;
    let info = [domain::QUERY_INFO.as_bytes(), genesis].concat();
    let (encapsulated, context) = hpke::setup_sender(&recipient, &info, entropy);
    let (body, exporter) = context.seal(&header.encode(), padded.expose()).map_err(|error| internal(&error))?;
    Ok((SealedQuery { header, encapsulated: encapsulated.to_vec(), body }, exporter))
}

fn open(
    genesis: &Hash,
    worker: &WorkerId,
    query: &Hash,
    min_height: BlockNumber,
    exporter: &Exporter,
    bytes: &[u8],
) -> Result<Answer, &'static str> {
    let sealed = SealedAnswer::decode_all(&mut &bytes[..]).map_err(|_| "the answer is malformed")?;
    let key = exporter.export::<32>(domain::QUERY_ANSWER_KEY.as_bytes());
    let padded = SivKey::new(&key).open(&sealed.nonce, &[], &sealed.body).map_err(|_| "the answer does not open")?;
    if !SizeClass::ALL.iter().any(|class| class.bytes() == padded.len()) {
        return Err("the answer has not the length of a size class");
    }
    let plain = unpad(&padded).map_err(|_| "the answer is not padded as it should be")?;
    let mut input = plain.expose().as_slice();
    let answer = Answer::decode(&mut input).map_err(|_| "the answer is malformed")?;
    if !input.is_empty() {
        return Err("the answer has bytes after its end");
    }
    if answer.query != *query {
        return Err("the answer is to another question");
    }
    ed25519::verify(&worker.0, &answer_payload(genesis, &answer), &sealed.signature)
        .map_err(|_| "the answer is not signed by the worker")?;
    // That something is not there is said of a state, which has to be as fresh as one that has it.
    let refused = matches!(answer.content, AnswerContent::Refused(refusal) if refusal != QueryRefusal::NotFound);
    if answer.height < min_height && !refused {
        return Err("the answer is older than was asked for");
    }
    Ok(answer)
}

/// A worker's refusal, by its reason.
pub fn refusal_error(refusal: QueryRefusal) -> ClientError {
    let code = match refusal {
        QueryRefusal::NotFound => ErrorCode::NotFound,
        QueryRefusal::Replayed | QueryRefusal::Expired => ErrorCode::Expired,
        QueryRefusal::Stale => ErrorCode::Stale,
        QueryRefusal::Crowded => ErrorCode::Busy,
        QueryRefusal::NotReadOnly => ErrorCode::Refused,
        QueryRefusal::Trapped => ErrorCode::Trapped,
        QueryRefusal::OutOfGas => ErrorCode::OutOfGas,
        QueryRefusal::Unauthorised => ErrorCode::Unauthorised,
    };
    let hint = match refusal {
        QueryRefusal::NotFound => {
            "check contract and account; `phala contract list` shows the contracts of this network"
        }
        QueryRefusal::Replayed => "ask again: a question is answered once",
        QueryRefusal::Expired => "ask again: the worker is far ahead of this client, or behind it",
        QueryRefusal::Stale => "the worker lags behind the chain: is its relayer running?",
        QueryRefusal::Crowded => "ask again in a minute, or ask another worker of the cluster",
        QueryRefusal::NotReadOnly => "use `phala contract call`",
        QueryRefusal::Trapped => "it is the contract's own fault: ask whoever wrote it, or ask with other arguments",
        QueryRefusal::OutOfGas => "ask the contract for less at once: the gas of a query is fixed",
        QueryRefusal::Unauthorised => {
            "sign the question for this worker as the account that asks: fetch the worker's query key again"
        }
    };
    ClientError::new(code, refusal.to_string()).with_hint(hint)
}

#[cfg(test)]
mod tests;
