//! Sealed commands: signed, sealed to the cluster's open epoch, pushed, and followed to their final reply.
//!
//! Guarantees: a command is sealed only to an envelope key that was read with a proof; its nonce is used once by this process and,
//! being milliseconds since 1970, not by another process of the same account that runs at another time; an epoch that rolls in between
//! is met by sealing the *same* signed intent again, so the command runs once. A refusal that can be foreseen happens before the command
//! leaves; after any other, repeat it by [`CommandOptions::again`], under its nonce. A reply is believed when a final result commits it.
//!
//! Whoever sees an envelope can push a copy of it. In a wrapper that the account did not sign for, the copy uses up nothing; in the
//! very same one it *is* the command, executed once and paid for by somebody else, and its reply is taken for what it is.
//!
//! Visible to all: cluster, size class, gas class, time, and who pays. What a command says is not.

use crate::{
    chain::{map_key, read_record, Included, PalletError, SubmitError},
    deadline::Deadline,
    entropy,
    query::AttestedWorker,
    worker::WorkerEndpoint,
    Account, Chain, ClientError, ErrorCode, Network, Until,
};
use codec::{Decode, Encode};
use phala_crypto::{
    envelope::{seal_envelope, Destination},
    hpke::Exporter,
    merkle,
    xwing::EncapsulationKey,
    Secret,
};
use phala_protocol::{
    call::{signing_payload, Call, CallPurpose, SignedCall},
    chain_state::{ClusterRecord, FinalRecord},
    envelope::{public_key_hash, Envelope, EnvelopeKind, SizeClass, AEAD_TAG_BYTES, ENCAPSULATED_BYTES, HEADER_BYTES},
    gas::{GasClass, Surge, BACKLOG_LIMIT},
    ids::{Balance, BlockNumber},
    query::{AnswerContent, QueryRequest},
    result::{reply_leaf, Failure, Outcome, Reply},
    storage, AccountId, ClusterId, CodeHash, ContractId, Hash, WorkerId,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub mod intent;
pub mod session;

pub use intent::{Fate, Intent, Journal};

/// Blocks for which the default of `max_fee` covers the price, should it rise as fast as it can: up to e times a full queue's.
const PRICE_LEAD_BLOCKS: BlockNumber = 8;

/// How often we look whether something has happened.
const POLL: Duration = Duration::from_millis(300);
/// How long to wait for an epoch that the chain refuses us for and that we do not see yet.
const EPOCH_WAIT: Duration = Duration::from_secs(60);

/// What to do about a command whose reply is not known.
const UNANSWERED: &str =
    "it is executed once its workers see it; `phala status` shows how far they are, and a query what the command did";

/// What a user may choose about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOptions {
    /// Gas it may use; its class is the cheapest that covers it.
    pub gas_limit: u64,
    /// The most that the inbox may charge, in 10^-12 PHA; by default the most that the class can cost within eight blocks. The fee
    /// of the transaction, by its bytes and weight, comes on top.
    pub max_fee: Option<Balance>,
    /// Blocks within which it must be included.
    pub lifetime: BlockNumber,
    /// How long sending it may take, until it is in a finalised block. Who waits for the reply too keeps one [`Deadline`] for both.
    pub timeout: Duration,
    /// An earlier attempt at the same command, as a [`Journal`] was told of it, that was refused or not heard of. What it carried is
    /// public, and can be pushed by anybody until its last block: under one nonce at most one of the two is executed. None for a new
    /// command.
    pub again: Option<Intent>,
}

impl CommandOptions {
    /// The nonce of the command that is sent with these.
    fn nonce(&self) -> u64 {
        self.again.as_ref().map_or_else(next_nonce, |earlier| earlier.nonce)
    }
}

impl Default for CommandOptions {
    fn default() -> Self {
        let timeout = Duration::from_secs(180);
        Self { gas_limit: GasClass::Medium.gas(), max_fee: None, lifetime: 600, timeout, again: None }
    }
}

/// What an inbox charges for a command of a class, in 10^-12 PHA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeBounds {
    /// Its class.
    pub class: GasClass,
    /// With the cluster's present backlog and surge.
    pub now: Balance,
    /// At the most, for some blocks from now: what is allowed by default.
    pub most: Balance,
}

/// A command that is in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where.
    pub cluster: ClusterId,
    /// To whom.
    pub contract: ContractId,
    /// From whom.
    pub account: AccountId,
    /// Its nonce.
    pub nonce: u64,
    /// Its place in the inbox; once completed, the place of the item that executed.
    pub sequence: u64,
    /// The finalised block that included it; once completed, the item that executed.
    pub block: BlockNumber,
    /// What the inbox charged for that item, whoever paid, in 10^-12 PHA.
    pub fee: Balance,
    /// What the transaction that carried it here cost beside, by its bytes and weight, in 10^-12 PHA. The node's word; none where
    /// the runtime does not say.
    pub transaction_fee: Option<Balance>,
}

impl Command {
    /// Where it is, in words that keep its user from sending it again: under another nonce it would be executed twice.
    pub fn in_inbox(&self) -> String {
        format!(
            "the command to {} is in the inbox of cluster {} as item {}, in block {}, with nonce {}, and must not be sent again",
            self.contract, self.cluster, self.sequence, self.block, self.nonce
        )
    }

    /// A failure to learn what became of it. Its own hint may be to try again, which holds for a question and not for a command.
    fn unanswered(&self, error: ClientError) -> ClientError {
        let said = ClientError::new(error.code, format!("{}; {}", error.message, self.in_inbox()));
        match error.hint {
            // Nothing comes of waiting.
            Some(hint) if error.code == ErrorCode::Refused => said.with_hint(hint),
            _ => said.with_hint(UNANSWERED),
        }
    }
}

/// A command whose reply a final result commits.
#[derive(Clone, Debug)]
pub struct Completed {
    /// The command.
    pub command: Command,
    /// The final result, by chain state.
    pub record: FinalRecord,
    /// The reply.
    pub reply: Reply,
    /// Its salt.
    pub salt: [u8; 32],
    /// Its place among the boundary's replies, and their number.
    pub position: (u32, u32),
    /// Its Merkle path.
    pub path: Vec<Hash>,
    /// Who told it; the proof does not rest on them.
    pub worker: WorkerId,
}

impl Completed {
    /// What the contract returned; an error if it refused or the command failed. The bytes are the contract's.
    pub fn output(&self) -> Result<&[u8], Failed> {
        match &self.reply.outcome {
            Outcome::Returned(output) => Ok(output),
            Outcome::Reverted(error) => Err(Failed::Reverted(error.clone())),
            Outcome::Failed(failure) => Err(Failed::Failed(*failure)),
        }
    }
}

/// Why a command had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The contract refused with this error: see [`crate::abi::Method::decode_error`].
    Reverted(Vec<u8>),
    /// It failed before or outside the contract's will.
    Failed(Failure),
}

/// A command's failure as an error with a code. A contract's own refusal needs its metadata: give its error as text.
pub fn failure_error(failed: &Failed, refusal: Option<&str>) -> ClientError {
    match failed {
        Failed::Reverted(bytes) => {
            let text = refusal.map_or_else(|| phala_protocol::ids::to_hex(bytes), str::to_owned);
            ClientError::new(ErrorCode::ContractError, format!("the contract refuses: {text}"))
        }
        Failed::Failed(failure) => {
            let (code, hint) = match failure {
                Failure::Trapped => (ErrorCode::Trapped, None),
                Failure::OutOfGas => (ErrorCode::OutOfGas, Some("give it a higher gas limit")),
                Failure::Expired | Failure::NonceUsed => (ErrorCode::Expired, Some("send it again")),
                Failure::NoSuchContract => (ErrorCode::NotFound, Some("its constructor may have failed")),
                Failure::GasOverClass | Failure::FeeOverMax => (
                    ErrorCode::OverLimit,
                    Some("allow a higher fee; until its last block the refused one may still execute if anybody pushes it again"),
                ),
                Failure::ReplyTooLong => (ErrorCode::OverLimit, Some("ask the contract for less at once")),
                Failure::BadSignature => (ErrorCode::Unauthorised, None),
                _ => (ErrorCode::Refused, None),
            };
            let error = ClientError::new(code, failure.to_string());
            match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
    }
}

/// Milliseconds since 1970, and never twice the same in this process. Windows of nonces take any higher number, so clocks of two
/// machines that differ by less than the time between two commands do no harm, and others only cost a refused command.
fn next_nonce() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    let now = u64::try_from(now).unwrap_or(u64::MAX / 2);
    let last = LAST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last.saturating_add(1))))
        .unwrap_or_default();
    now.max(last.saturating_add(1))
}

/// Signs and seals `call` under the cluster's open epoch; returns the envelope's bytes.
fn seal(
    genesis: &Hash,
    cluster: ClusterId,
    record: &ClusterRecord,
    account: &Account,
    call: &Call,
    entropy: &[u8; 64],
) -> Result<Vec<u8>, ClientError> {
    let destination = destination(genesis, cluster, record)?;
    let payload = signing_payload(genesis, cluster, &public_key_hash(&record.envelope_key), call);
    let signed = SignedCall { account: account.id(), call: call.clone(), signature: account.sign(&payload)? };
    let (envelope, _) = seal_hybrid(record, &destination, EnvelopeKind::Call, signed.encode(), entropy)?;
    Ok(envelope.to_bytes())
}

/// Where envelopes for the cluster's open epoch go.
fn destination(genesis: &Hash, cluster: ClusterId, record: &ClusterRecord) -> Result<Destination, ClientError> {
    if record.is_closed() {
        return Err(closed(cluster, "takes nothing any more"));
    }
    if record.epoch == 0 {
        return Err(ClientError::new(ErrorCode::Busy, format!("cluster {cluster} has no open epoch yet"))
            .with_hint("wait for its workers"));
    }
    Ok(Destination { genesis: *genesis, cluster, epoch: record.epoch })
}

/// What can be said of a cluster that governance has closed.
fn closed(cluster: ClusterId, so: &str) -> ClientError {
    let message = format!("governance has closed cluster {cluster} for good, because what it held is lost: it {so}");
    ClientError::new(ErrorCode::Refused, message).with_hint("use another cluster; what was final there stays so")
}

/// Whether the item in `sequence` has no final result, and never will: its cluster is closed.
fn is_lost(record: &ClusterRecord, sequence: u64) -> bool {
    record.is_closed() && sequence >= record.final_count
}

/// Seals a plaintext under the open epoch's key, in the smallest size class that holds it.
fn seal_hybrid(
    record: &ClusterRecord,
    destination: &Destination,
    kind: EnvelopeKind,
    plaintext: Vec<u8>,
    entropy: &[u8; 64],
) -> Result<(Envelope, Exporter), ClientError> {
    let plaintext = Secret::new(plaintext);
    let size = size_class(plaintext.expose())?;
    let unusable = |error: &dyn std::error::Error| {
        ClientError::new(ErrorCode::Unverified, format!("the cluster's envelope key cannot be used: {error}"))
    };
    let key = EncapsulationKey::from_bytes(&record.envelope_key).map_err(|error| unusable(&error))?;
    seal_envelope(&key, destination, kind, size, plaintext.expose(), entropy).map_err(|error| unusable(&error))
}

fn size_class(plaintext: &[u8]) -> Result<SizeClass, ClientError> {
    SizeClass::holding(plaintext.len()).ok_or_else(|| {
        ClientError::new(ErrorCode::OverLimit, format!("a command has at most {} bytes", SizeClass::K16.bytes() - 2))
    })
}

/// What is done with a sealed command.
enum Carrier<'a> {
    Push,
    Instantiate { code: CodeHash, salt: &'a [u8; 32] },
}

impl Carrier<'_> {
    /// What a call that goes this way is signed for.
    fn purpose(&self) -> CallPurpose {
        match self {
            Self::Push => CallPurpose::Command,
            Self::Instantiate { .. } => CallPurpose::Constructor,
        }
    }
}

impl Network {
    /// What the inbox of `cluster` charges for a command with this gas limit; the transaction that carries it costs
    /// [`Self::transaction_fee`] beside. By the node's word: what is charged is decided by `max_fee`.
    pub async fn fee_bounds(&self, cluster: ClusterId, gas_limit: u64) -> Result<FeeBounds, ClientError> {
        let class = class_of(gas_limit)?;
        let (record, height) = self.cluster(cluster).await?;
        self.bounds(cluster, &record, height, class, EnvelopeKind::Call).await
    }

    /// What the transaction costs that carries one command whose envelope is of `size`, in 10^-12 PHA: by its bytes and weight, and
    /// without what the inbox charges. By the node's word; `max_fee` does not bound it.
    pub async fn transaction_fee(&self, cluster: ClusterId, size: SizeClass) -> Result<Balance, ClientError> {
        // It does not depend on who pays, nor on the gas class, nor on what is in the envelope.
        let nobody = Account::generate("nobody")?;
        let envelope = vec![0; call_envelope_bytes(size)];
        let call = crate::chain::ChainCall::push(cluster, GasClass::Small, vec![envelope], Balance::MAX);
        self.chain().fee_estimate(&nobody, &call).await
    }

    /// What storing `wasm` holds back of its uploader's funds, in 10^-12 PHA: nothing if the chain has it already. The node's word.
    pub async fn code_deposit(&self, wasm: &[u8]) -> Result<Balance, ClientError> {
        let key = phala_protocol::storage::code_key(&CodeHash::of(wasm));
        if self.chain().storage_raw(&key, None).await?.is_some() {
            return Ok(0);
        }
        let per_byte: Balance = self.chain().constant("Contracts", "DepositPerByte").await?;
        Ok(per_byte.saturating_mul(wasm.len() as Balance))
    }

    async fn bounds(
        &self,
        cluster: ClusterId,
        record: &ClusterRecord,
        height: BlockNumber,
        class: GasClass,
        kind: EnvelopeKind,
    ) -> Result<FeeBounds, ClientError> {
        let (chain, key) = (self.chain(), cluster.encode());
        let backlog: u64 = chain.storage(&map_key("Inbox", "Backlog", &key), None).await?.unwrap_or_default();
        let surge: Surge = chain.storage(&map_key("Inbox", "Surges", &key), None).await?.unwrap_or_default();
        let surge = surge.advanced(backlog, height);
        let openings = openings(chain, record, kind).await?;
        Ok(FeeBounds {
            class,
            now: surge.price(class, backlog).saturating_add(openings),
            most: surge.most_within(class, PRICE_LEAD_BLOCKS).saturating_add(openings),
        })
    }

    /// Sends a command to `contract`: returns when it is in a finalised block, before it is executed. `input` is what
    /// [`crate::abi::Method::encode_input`] makes.
    pub async fn call(
        &self,
        account: &Account,
        contract: &ContractId,
        input: Vec<u8>,
        options: &CommandOptions,
    ) -> Result<Command, ClientError> {
        self.call_noted(account, contract, input, options, &mut ()).await
    }

    /// Like [`Self::call`], and tells `journal` of it: whoever keeps that finds the reply by [`Self::find_reply`] also after this
    /// process ended, or lost its connection, before it heard of anything.
    pub async fn call_noted(
        &self,
        account: &Account,
        contract: &ContractId,
        input: Vec<u8>,
        options: &CommandOptions,
        journal: &mut impl Journal,
    ) -> Result<Command, ClientError> {
        let deadline = Deadline::after(options.timeout);
        let cluster = deadline.before_sending(self.contract(contract)).await?.cluster;
        self.send(account, cluster, *contract, input, options, Carrier::Push, deadline, journal).await
    }

    /// Stores `wasm` unless the chain has it, within `timeout`. Returns its hash.
    pub async fn upload_code(
        &self,
        account: &Account,
        wasm: &[u8],
        timeout: Duration,
    ) -> Result<CodeHash, ClientError> {
        let deadline = Deadline::after(timeout);
        if wasm.len() > phala_protocol::limits::MAX_CODE_BYTES as usize {
            return Err(ClientError::new(
                ErrorCode::OverLimit,
                format!("code of {} bytes is over 512 KiB", wasm.len()),
            ));
        }
        let code = CodeHash::of(wasm);
        let key = phala_protocol::storage::code_key(&code);
        if deadline.before_sending(self.chain().storage_raw(&key, None)).await?.is_none() {
            let call = crate::chain::ChainCall::upload_code(wasm);
            match self.chain().submit_within(account, &call, Until::Finalised, deadline.left()).await {
                Ok(_) => {}
                // Somebody else was faster.
                Err(error) if error.is("Contracts", "CodeExists") => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(code)
    }

    /// Creates a contract of stored code: returns when its constructor's command is in a finalised block.
    pub async fn instantiate(
        &self,
        account: &Account,
        cluster: ClusterId,
        code: CodeHash,
        input: Vec<u8>,
        options: &CommandOptions,
    ) -> Result<Command, ClientError> {
        let salt: [u8; 32] = entropy::fresh()?;
        let contract = ContractId::derive(self.genesis(), cluster, &account.id(), &code, &salt);
        let (carrier, deadline) = (Carrier::Instantiate { code, salt: &salt }, Deadline::after(options.timeout));
        self.send(account, cluster, contract, input, options, carrier, deadline, &mut ()).await
    }

    /// Waits until the command's boundary has a final result, then for its reply from one of `workers`, and verifies it against
    /// that result. Every error says that the command is in the inbox, and where: nobody should send it again for not having
    /// heard of it.
    pub async fn complete(
        &self,
        account: &Account,
        command: &Command,
        workers: &[WorkerEndpoint],
        timeout: Duration,
    ) -> Result<Completed, ClientError> {
        self.answered(account, command, workers, timeout).await.map_err(|error| command.unanswered(error))
    }

    async fn answered(
        &self,
        account: &Account,
        command: &Command,
        workers: &[WorkerEndpoint],
        timeout: Duration,
    ) -> Result<Completed, ClientError> {
        let deadline = Deadline::after(timeout);
        let record = loop {
            if let Some(found) = deadline.bound(self.result_of(command)).await {
                if let Some(record) = found? {
                    break record;
                }
            }
            if deadline.has_passed() {
                return Err(ClientError::new(ErrorCode::Timeout, "there is no final result yet"));
            }
            deadline.sleep(POLL).await;
        };
        let mut last =
            ClientError::new(ErrorCode::Timeout, "the result is final, and no worker gave the reply in time");
        loop {
            match deadline.bound(self.reply_from(account, command, &record, workers)).await {
                Some(Ok(completed)) => return Ok(completed),
                Some(Err(error)) => last = error,
                None => {}
            }
            if deadline.has_passed() {
                return Err(last);
            }
            deadline.sleep(POLL).await;
        }
    }

    /// The result of the command's boundary, once it is final; an error if it never will be.
    async fn result_of(&self, command: &Command) -> Result<Option<FinalRecord>, ClientError> {
        let cluster = command.cluster;
        let keys = [storage::final_result_key(cluster, command.block), storage::cluster_key(cluster)];
        let proved = self.read(&keys).await?;
        let [result, record] = &keys;
        let found: Option<FinalRecord> = proved.get(result)?;
        let record: Option<ClusterRecord> = proved.get(record)?;
        if found.is_none() && record.is_some_and(|record| is_lost(&record, command.sequence)) {
            return Err(closed(cluster, "will never answer this command"));
        }
        Ok(found)
    }

    async fn reply_from(
        &self,
        account: &Account,
        command: &Command,
        record: &FinalRecord,
        workers: &[WorkerEndpoint],
    ) -> Result<Completed, ClientError> {
        let mut last = ClientError::new(ErrorCode::Unreachable, "no worker of the cluster is known")
            .with_hint("name one with --worker URL, or use the network's file");
        for endpoint in workers {
            let reply = async {
                let worker = AttestedWorker::verify(self, endpoint, command.cluster).await?;
                let request = QueryRequest::Reply { nonce: command.nonce };
                let answer = worker.ask(self.genesis(), account, &request, record.finalised_at).await?;
                let content = answer.answer.content;
                match executed_elsewhere(&content, record) {
                    None => verify_reply(command, record, content, answer.worker),
                    Some(block) => {
                        let other = self.final_result(command.cluster, block).await?.ok_or_else(|| {
                            ClientError::new(ErrorCode::Unverified, "the worker's reply rests on no final result")
                        })?;
                        verify_reply(command, &other, content, answer.worker)
                    }
                }
            };
            match reply.await {
                Ok(completed) => return Ok(completed),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    #[expect(clippy::too_many_arguments, reason = "each is a separate fact")]
    async fn send(
        &self,
        account: &Account,
        cluster: ClusterId,
        contract: ContractId,
        payload: Vec<u8>,
        options: &CommandOptions,
        carrier: Carrier<'_>,
        deadline: Deadline,
        journal: &mut impl Journal,
    ) -> Result<Command, ClientError> {
        let prepared = self.prepare(cluster, contract, payload, options, carrier.purpose(), EnvelopeKind::Call);
        let (mut record, height, call) = deadline.before_sending(prepared).await?;
        let intent = Intent::of(cluster, account.id(), &call, height, options.again.as_ref())?;
        loop {
            let envelope = seal(self.genesis(), cluster, &record, account, &call, &entropy::fresh()?)?;
            let extrinsic = match &carrier {
                Carrier::Push => crate::chain::ChainCall::push(cluster, call.gas_class, vec![envelope], call.max_fee),
                Carrier::Instantiate { code, salt } => crate::chain::ChainCall::instantiate(
                    cluster,
                    *code,
                    **salt,
                    call.gas_class,
                    &envelope,
                    call.max_fee,
                ),
            };
            journal.leaves(&intent);
            let error = match self.chain().submit_within(account, &extrinsic, Until::Finalised, deadline.left()).await {
                Ok(included) => return pushed(&included, cluster, contract, account.id(), call.nonce),
                Err(error) => error,
            };
            if !error.is("Inbox", "WrongEpoch") {
                return Err(SubmitError::into(error));
            }
            record = self.next_epoch(cluster, record, deadline).await?;
        }
    }

    /// A call, with a fresh nonce unless it repeats an attempt, and the cluster that it goes to, with the height at which it is so. One of
    /// which it can be foreseen that the inbox refuses it does not leave: nobody has a copy of it then.
    async fn prepare(
        &self,
        cluster: ClusterId,
        contract: ContractId,
        payload: Vec<u8>,
        options: &CommandOptions,
        purpose: CallPurpose,
        kind: EnvelopeKind,
    ) -> Result<(ClusterRecord, BlockNumber, Call), ClientError> {
        let gas_class = class_of(options.gas_limit)?;
        let (record, height) = self.cluster(cluster).await?;
        let bounds = self.bounds(cluster, &record, height, gas_class, kind).await?;
        let call = Call {
            purpose,
            contract,
            nonce: options.nonce(),
            valid_until: height.saturating_add(options.lifetime),
            gas_class,
            gas_limit: options.gas_limit,
            max_fee: options.max_fee.unwrap_or(bounds.most),
            payload,
        };
        // The node's word, which can withhold the command anyway: it decides no more than whether the command leaves.
        let backlog: Option<u64> = self.chain().storage(&map_key("Inbox", "Backlog", &cluster.encode()), None).await?;
        match foreseen(&call, backlog.unwrap_or_default(), bounds.now) {
            Some(refusal) => Err(unsent(refusal)),
            None => Ok((record, height, call)),
        }
    }

    /// The cluster once its open epoch is another than in `record`.
    async fn next_epoch(
        &self,
        cluster: ClusterId,
        record: ClusterRecord,
        deadline: Deadline,
    ) -> Result<ClusterRecord, ClientError> {
        let wait = Deadline::after(EPOCH_WAIT.min(deadline.left()));
        loop {
            if let Some(found) = wait.bound(self.cluster(cluster)).await {
                let (now, _) = found?;
                if now.epoch != record.epoch {
                    return Ok(now);
                }
            }
            if wait.has_passed() {
                return Err(ClientError::new(ErrorCode::Stale, "the epoch has changed and is not final yet")
                    .with_hint("send the command again"));
            }
            wait.sleep(POLL).await;
        }
    }
}

fn class_of(gas_limit: u64) -> Result<GasClass, ClientError> {
    GasClass::covering(gas_limit).ok_or_else(|| {
        ClientError::new(ErrorCode::OverLimit, format!("a command may use {} gas at most", GasClass::Large.gas()))
    })
}

/// The refusal of a command that is pushed while a cluster has this much unacknowledged gas waiting and asks for this fee.
fn foreseen(call: &Call, backlog: u64, fee: Balance) -> Option<SubmitError> {
    let refusal = |error: &str| SubmitError::from(PalletError { pallet: "Inbox".to_owned(), error: error.to_owned() });
    if backlog.saturating_add(call.gas_class.gas()) > BACKLOG_LIMIT {
        return Some(refusal("Busy"));
    }
    (fee > call.max_fee).then(|| refusal("FeeOverMax"))
}

/// A refusal that was foreseen, of a command that nobody has seen.
fn unsent(refusal: SubmitError) -> ClientError {
    let ClientError { code, message, .. } = refusal.into();
    ClientError::new(code, format!("{message}; it was not sent"))
        .with_hint("the price has risen, or too much work waits: allow a higher fee, or try again later")
}

/// Length of the envelope of a command that is signed by its account.
const fn call_envelope_bytes(size: SizeClass) -> usize {
    HEADER_BYTES + ENCAPSULATED_BYTES + size.bytes() + AEAD_TAG_BYTES
}

/// What the openings of one envelope cost.
async fn openings(chain: &Chain, record: &ClusterRecord, kind: EnvelopeKind) -> Result<Balance, ClientError> {
    let constant = match kind {
        EnvelopeKind::Call | EnvelopeKind::SessionOpen => "OpeningPrice",
        EnvelopeKind::SessionCommand => "SessionOpeningPrice",
    };
    let price: Balance = chain.constant("Inbox", constant).await?;
    Ok(price.saturating_mul(record.replicas.len().max(1) as Balance))
}

/// Where the command went, by the event of its inclusion.
fn pushed(
    included: &Included,
    cluster: ClusterId,
    contract: ContractId,
    account: AccountId,
    nonce: u64,
) -> Result<Command, ClientError> {
    let fields = included.event("Inbox", "Pushed").unwrap_or_default();
    let (event_cluster, sequence, _link, fee): (ClusterId, u64, Hash, Balance) = read_record(fields)?;
    if event_cluster != cluster {
        return Err(ClientError::new(ErrorCode::Unverified, "the node says that the command went to another cluster"));
    }
    Ok(Command {
        cluster,
        contract,
        account,
        nonce,
        sequence,
        block: included.block,
        fee,
        transaction_fee: transaction_fee(included),
    })
}

/// What an extrinsic cost by its bytes and weight, tip included, by the event of its payment. It decides nothing, so that one which
/// cannot be read is none: the command is in the inbox all the same.
fn transaction_fee(included: &Included) -> Option<Balance> {
    let fields = included.event("TransactionPayment", "TransactionFeePaid")?;
    let (_payer, fee, _tip): (AccountId, Balance, Balance) = read_record(fields).ok()?;
    Some(fee)
}

/// The block of the item that executed, when that is not the one of `record`: somebody pushed a copy of the envelope.
fn executed_elsewhere(content: &AnswerContent, record: &FinalRecord) -> Option<BlockNumber> {
    match content {
        AnswerContent::Reply { result, .. } if result.boundary.block != record.result.boundary.block => {
            Some(result.boundary.block)
        }
        _ => None,
    }
}

/// Whether an answer is the reply to `command`, committed by the final result in `record`. Account, nonce and contract say which
/// command: a nonce is used once, whichever item carried it.
fn verify_reply(
    command: &Command,
    record: &FinalRecord,
    content: AnswerContent,
    worker: WorkerId,
) -> Result<Completed, ClientError> {
    let AnswerContent::Reply { reply, salt, result, position, path } = content else {
        return Err(ClientError::new(ErrorCode::Stale, "the worker does not have the reply yet"));
    };
    let unverified =
        |why: &str| ClientError::new(ErrorCode::Unverified, format!("the worker's reply does not hold: {why}"));
    if result != record.result {
        return Err(unverified("it rests on another result than the final one"));
    }
    if reply.caller != Some((command.account, command.nonce)) {
        return Err(unverified("it is to another command"));
    }
    if reply.contract != Some(command.contract) {
        return Err(unverified("it is of another contract"));
    }
    let leaf = reply_leaf(&salt, &reply);
    merkle::verify(&result.replies_root, position.0.into(), position.1.into(), &leaf, &path)
        .map_err(|error| unverified(&error.to_string()))?;
    let command = Command { sequence: reply.sequence, block: result.boundary.block, fee: reply.fee, ..command.clone() };
    Ok(Completed { command, record: record.clone(), reply, salt, position, path, worker })
}

/// The contract and item of an instantiation, by its event; for tools that submit it themselves.
pub fn instantiated(included: &Included) -> Option<(ContractId, ClusterId, CodeHash, u64)> {
    Decode::decode(&mut included.event("Contracts", "Instantiated")?).ok()
}

#[cfg(test)]
mod tests;
