//! One inbox item: from sealed bytes to a reply.
//!
//! Guarantees: every item gets exactly one reply, whatever it holds; the checks run in one fixed order on every replica; a nonce is
//! used up as soon as its account's signature holds, whatever becomes of the command, so that no item executes twice; a command that
//! fails writes nothing but its nonce. Whoever pushed the item controls its bytes; its header is what the verified link commits.
//! An `Err` is this machine's fault and says nothing about the item: the boundary is tried again.

use crate::{
    codes::Codes,
    epochs::EpochKeys,
    world::{ClusterWorld, Deployed, StateFault, Underway},
};
use codec::DecodeAll;
use phala_crypto::{
    envelope::{open_envelope, Destination},
    signature::sr25519,
};
use phala_protocol::{
    call::{signing_payload, SignedCall},
    envelope::{public_key_hash, Envelope, EnvelopeKind},
    inbox::{ChainMessage, Item, ItemHeader, ItemKind},
    limits::MAX_REPLY_BYTES,
    result::{ContractEvent, Failure, Outcome, Reply},
    AccountId, ClusterId, CodeHash, ContractId, Epoch, Hash,
};
use phala_vm::{execute, BlockContext, CompileError, CompiledContract, Entry, Execution, Fault, Request};
use std::sync::Arc;

/// Everything about a boundary that its items share.
pub(crate) struct Context<'a> {
    pub genesis: &'a Hash,
    pub cluster: ClusterId,
    pub epoch: Epoch,
    pub keys: &'a EpochKeys,
}

/// This machine could not execute an item.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionFault {
    /// The cluster's state failed.
    #[error("the cluster's state failed")]
    State(#[from] StateFault),
    /// The engine failed.
    #[error("the contract engine failed")]
    Engine(#[from] Fault),
    /// The compiler failed for a reason that says nothing about the code.
    #[error("the contract compiler failed")]
    Compiler(#[source] CompileError),
    /// The epoch's envelope key is missing.
    #[error("the keys of the item's epoch are missing")]
    Keys,
    /// An execution that ended still holds the state: a defect of ours.
    #[error("an execution that ended still holds the state")]
    Held,
    /// A contract's code has not been delivered.
    #[error("the code {0} has not been delivered")]
    CodeMissing(CodeHash),
}

/// What an item came to.
pub(crate) struct Executed {
    pub reply: Reply,
    /// Code that a new contract needs kept.
    pub new_code: Option<CodeHash>,
}

type World = Arc<ClusterWorld<Underway>>;

/// Executes one item.
pub(crate) fn execute_item(context: &Context<'_>, world: &World, item: &Item) -> Result<Executed, ExecutionFault> {
    let mut run = Run { context, world, header: &item.header, caller: None, contract: None, new_code: None };
    let ended = match item.header.kind {
        ItemKind::Envelope(_) => run.envelope(&item.message)?,
        ItemKind::Chain(_) => run.chain_message(&item.message)?,
    };
    let (outcome, gas_used, events) = match ended {
        Ok(ended) => ended,
        Err(failure) => (Outcome::Failed(failure), 0, Vec::new()),
    };
    let reply = Reply {
        sequence: item.header.sequence,
        caller: run.caller,
        contract: run.contract,
        outcome,
        gas_used,
        fee: item.header.fee,
        events,
    };
    Ok(Executed { reply, new_code: run.new_code })
}

/// Outer error: this machine's. Inner error: the sender's.
type Ended = Result<Result<(Outcome, u64, Vec<ContractEvent>), Failure>, ExecutionFault>;

struct Run<'a> {
    context: &'a Context<'a>,
    world: &'a World,
    header: &'a ItemHeader,
    caller: Option<(AccountId, u64)>,
    contract: Option<ContractId>,
    new_code: Option<CodeHash>,
}

impl Run<'_> {
    fn envelope(&mut self, message: &[u8]) -> Ended {
        let signed = match self.open(message)? {
            Ok(signed) => signed,
            Err(failure) => return Ok(Err(failure)),
        };
        let contract = signed.call.contract;
        let Some(code) = self.world.compiled(&contract)? else { return Ok(Err(Failure::NoSuchContract)) };
        let execution = self.execute(&code, Entry::Call, signed)?;
        self.settle(execution).map(Ok)
    }

    fn chain_message(&mut self, message: &[u8]) -> Ended {
        let Ok(ChainMessage::Instantiate { contract, deployer, code, init }) =
            ChainMessage::decode_all(&mut &message[..])
        else {
            return Ok(Err(Failure::Malformed));
        };
        let signed = match self.open(&init)? {
            Ok(signed) => signed,
            Err(failure) => return Ok(Err(failure)),
        };
        if signed.account != deployer || signed.call.contract != contract {
            return Ok(Err(Failure::WrongConstructor));
        }
        if self.world.deployed(&contract)?.is_some() {
            return Ok(Err(Failure::ContractExists));
        }
        let codes: &Codes = &self.world.codes;
        let view = self.world.source.batch().base().clone();
        let bytes = codes.bytes(&code, &view).map_err(StateFault::Read)?.ok_or(ExecutionFault::CodeMissing(code))?;
        let compiled = match codes.compiled(&code, &bytes) {
            Ok(compiled) => compiled,
            Err(error) if error.is_deterministic() => return Ok(Err(Failure::BadCode)),
            // Other replicas compile it: a reply now would fork from them.
            Err(error) => return Err(ExecutionFault::Compiler(error)),
        };
        let execution = self.execute(&compiled, Entry::Deploy, signed)?;
        let settled = self.settle(execution)?;
        if matches!(settled.0, Outcome::Returned(_)) {
            let listed = self.world.source.list(&contract, &Deployed { code, deployer });
            listed.map_err(StateFault::Limit)?;
            self.new_code = Some(code);
        }
        Ok(Ok(settled))
    }

    /// Opens an envelope and checks all that can be checked before the contract is known.
    fn open(&mut self, message: &[u8]) -> Result<Result<SignedCall, Failure>, ExecutionFault> {
        let Context { genesis, cluster, epoch, keys } = *self.context;
        let Ok(envelope) = Envelope::decode_exact(message) else { return Ok(Err(Failure::Malformed)) };
        if envelope.header.kind != EnvelopeKind::Call {
            return Ok(Err(Failure::UnsupportedKind));
        }
        let envelope_key = keys.envelope.as_ref().ok_or(ExecutionFault::Keys)?;
        let destination = Destination { genesis: *genesis, cluster, epoch };
        let Ok(opened) = open_envelope(envelope_key, &destination, &envelope) else {
            return Ok(Err(Failure::Undecryptable));
        };
        let Ok(signed) = SignedCall::decode_exact(opened.data.expose()) else { return Ok(Err(Failure::Malformed)) };
        let key_hash = public_key_hash(envelope_key.public_key());
        let payload = signing_payload(genesis, cluster, &key_hash, &signed.call);
        if sr25519::verify_wallet(&signed.account.0, &payload, &signed.signature).is_err() {
            return Ok(Err(Failure::BadSignature));
        }
        self.caller = Some((signed.account, signed.call.nonce));
        self.contract = Some(signed.call.contract);
        // From here on the account has spoken: the nonce is used whatever follows.
        if !self.world.source.take_nonce(&signed.account, signed.call.nonce)? {
            // The reply to the nonce's first use stays the account's; this one belongs to nobody.
            (self.caller, self.contract) = (None, None);
            return Ok(Err(Failure::NonceUsed));
        }
        if self.header.block > signed.call.valid_until {
            return Ok(Err(Failure::Expired));
        }
        if signed.call.gas_limit > self.header.kind.gas_class().gas() {
            return Ok(Err(Failure::GasOverClass));
        }
        if self.header.fee > signed.call.max_fee {
            return Ok(Err(Failure::FeeOverMax));
        }
        Ok(Ok(signed))
    }

    fn execute(&self, code: &CompiledContract, entry: Entry, signed: SignedCall) -> Result<Execution, ExecutionFault> {
        let request = Request {
            contract: signed.call.contract,
            caller: signed.account,
            value: 0,
            entry,
            input: signed.call.payload,
            gas_limit: signed.call.gas_limit,
            context: BlockContext {
                cluster: self.context.cluster,
                block_number: self.header.block,
                block_time_ms: self.header.time_ms,
            },
        };
        Ok(execute(code, &request, self.world.clone())?)
    }

    fn settle(&self, execution: Execution) -> Result<(Outcome, u64, Vec<ContractEvent>), ExecutionFault> {
        let output = match &execution.outcome {
            phala_vm::Outcome::Returned(bytes) | phala_vm::Outcome::Reverted(bytes) => bytes.len(),
            phala_vm::Outcome::Trapped(_) | phala_vm::Outcome::OutOfGas => 0,
        };
        let events: usize = execution.events.iter().map(|event| event.data.len() + size_of::<ContractId>()).sum();
        if output.saturating_add(events) > MAX_REPLY_BYTES {
            // A reply that no answer can carry would be lost on its caller: the command fails, and writes nothing.
            return Ok((Outcome::Failed(Failure::ReplyTooLong), execution.gas_used, Vec::new()));
        }
        self.world.source.apply(execution.writes).map_err(StateFault::Limit)?;
        let outcome = match execution.outcome {
            phala_vm::Outcome::Returned(output) => Outcome::Returned(output),
            phala_vm::Outcome::Reverted(error) => Outcome::Reverted(error),
            phala_vm::Outcome::Trapped(_) => Outcome::Failed(Failure::Trapped),
            phala_vm::Outcome::OutOfGas => Outcome::Failed(Failure::OutOfGas),
        };
        let events = execution
            .events
            .into_iter()
            .map(|event| ContractEvent { contract: event.contract, data: event.data })
            .collect();
        Ok((outcome, execution.gas_used, events))
    }
}

/// The code that an item needs delivered before its boundary can be executed, if it creates a contract.
pub(crate) fn code_needed(item: &Item) -> Option<(ContractId, CodeHash)> {
    if !matches!(item.header.kind, ItemKind::Chain(_)) {
        return None;
    }
    match ChainMessage::decode_all(&mut item.message.as_slice()) {
        Ok(ChainMessage::Instantiate { contract, code, .. }) => Some((contract, code)),
        Err(_) => None,
    }
}
