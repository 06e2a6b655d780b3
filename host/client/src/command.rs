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
    chain::{read_record, Included, SubmitError},
    deadline::Deadline,
    entropy, Account, ClientError, ErrorCode, Network, Until,
};
use codec::{Decode, Encode};
use phala_crypto::{
    envelope::{seal_envelope, Destination},
    hpke::Exporter,
    xwing::EncapsulationKey,
    Secret,
};
use phala_protocol::{
    call::{signing_payload, Call, CallPurpose, SignedCall},
    chain_state::ClusterRecord,
    envelope::{public_key_hash, Envelope, EnvelopeKind, SizeClass},
    gas::GasClass,
    ids::{Balance, BlockNumber},
    AccountId, ClusterId, CodeHash, ContractId, Hash,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

mod fees;
pub mod intent;
mod reply;
pub mod session;

pub use fees::FeeBounds;
pub use intent::{Fate, Intent, Journal};
pub use reply::{failure_error, Completed, Failed};

use fees::{class_of, foreseen, unsent};

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
        // The node's word, which can withhold the command anyway: it decides no more than whether the command leaves.
        let queue = self.queue(cluster, height).await?;
        let bounds = self.bounds(&record, &queue, gas_class, kind).await?;
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
        match foreseen(&call, queue.backlog, bounds.now) {
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

/// The contract and item of an instantiation, by its event; for tools that submit it themselves.
pub fn instantiated(included: &Included) -> Option<(ContractId, ClusterId, CodeHash, u64)> {
    Decode::decode(&mut included.event("Contracts", "Instantiated")?).ok()
}

#[cfg(test)]
mod tests;
