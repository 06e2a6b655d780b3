//! One inbox item: from sealed bytes to a reply.
//!
//! Guarantees: every item gets exactly one reply, whatever it holds; the checks run in one fixed order on every replica; a nonce is
//! used up as soon as its account's signature *and* the item's public wrapper hold, whatever becomes of the command, so that no call
//! executes twice; a command that fails writes nothing but its nonce.
//!
//! The wrapper - kind of item, gas class, fee, inclusion block - is chosen by whoever pushes, and an envelope that waits in a pool can
//! be copied into another wrapper. What an account did not ask for therefore uses up nothing of the account's: neither nonce, nor
//! contract id, nor the reply to its command, which a refusal is never kept in place of.
//!
//! Whoever pushed the item controls its bytes; its header is what the verified link commits.
//! An `Err` is this machine's fault and says nothing about the item: the boundary is tried again.

use crate::{
    ahead::{Ahead, Note},
    codes::Codes,
    epochs::EpochKeys,
    random::{ItemRandom, ItemWorld},
    sessions::{Numbered, Session},
    world::{ClusterWorld, Deployed, Nonces, StateFault, Underway},
};
use codec::{DecodeAll, Encode};
use phala_crypto::{envelope::Destination, session::SessionSecret, signature::ed25519};
use phala_protocol::{
    call::{session_command_payload, Call, CallPurpose, SessionCommand, SignedCall},
    egress::EgressItem,
    envelope::{EnvelopeKind, EnvelopeRef},
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

impl Context<'_> {
    /// Where envelopes belong that are opened in it.
    pub(crate) fn destination(&self) -> Destination {
        Destination { genesis: *self.genesis, cluster: self.cluster, epoch: self.epoch }
    }
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
    /// The epoch's envelope key or entropy is missing.
    #[error("the keys of the item's epoch are missing")]
    Keys,
    /// An execution that ended still holds the state: a defect of ours.
    #[error("an execution that ended still holds the state")]
    Held,
    /// A nonce that was free a moment ago is not, or something was written since: a defect of ours.
    #[error("a nonce was used up, or something was written, before its item was executed")]
    Nonce,
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

/// Executes one item, whose own link this is.
pub(crate) fn execute_item(
    context: &Context<'_>,
    ahead: &mut Ahead,
    world: &World,
    item: &Item,
    link: &Hash,
) -> Result<Executed, ExecutionFault> {
    let header = &item.header;
    let mut run = Run { context, ahead, world, header, link, caller: None, contract: None, new_code: None };
    let ended = match item.header.kind {
        ItemKind::Envelope(_) => run.envelope(&item.message)?,
        ItemKind::Chain(_) => run.chain_message(&item.message)?,
    };
    let Settled { outcome, gas_used, events, egress } = ended.unwrap_or_else(|failure| Settled::failed(failure, 0));
    let reply = Reply {
        sequence: item.header.sequence,
        caller: run.caller,
        contract: run.contract,
        outcome,
        gas_used,
        fee: item.header.fee,
        events,
        egress,
    };
    Ok(Executed { reply, new_code: run.new_code })
}

/// Outer error: this machine's. Inner error: the sender's.
type Ended = Result<Result<Settled, Failure>, ExecutionFault>;

/// How an item ended, with what of it was applied.
struct Settled {
    outcome: Outcome,
    gas_used: u64,
    events: Vec<ContractEvent>,
    egress: Vec<EgressItem>,
}

impl Settled {
    fn failed(failure: Failure, gas_used: u64) -> Self {
        Self { outcome: Outcome::Failed(failure), gas_used, events: Vec::new(), egress: Vec::new() }
    }
}

/// A call, and that its account said it.
struct Said {
    account: AccountId,
    call: Call,
    how: How,
}

/// By what an account said a call.
enum How {
    /// Its own signature.
    Signed,
    /// Its own signature, which also opens a session.
    Opens(Session),
    /// The key of a session that is open, under one of its numbers.
    InSession(Numbered, Session),
}

fn said_by_account(note: Note, epoch: Epoch) -> Result<Said, Failure> {
    if !note.verify() {
        return Err(Failure::BadSignature);
    }
    let Note { signed: SignedCall { account, call, .. }, opens, .. } = note;
    let how = match opens {
        Some((key, exporter)) => How::Opens(Session::new(account, key, epoch, &SessionSecret::of_opener(&exporter))),
        None => How::Signed,
    };
    Ok(Said { account, call, how })
}

struct Run<'a> {
    context: &'a Context<'a>,
    ahead: &'a mut Ahead,
    world: &'a World,
    header: &'a ItemHeader,
    link: &'a Hash,
    caller: Option<(AccountId, u64)>,
    contract: Option<ContractId>,
    new_code: Option<CodeHash>,
}

impl Run<'_> {
    fn envelope(&mut self, message: &[u8]) -> Ended {
        let (said, nonces) = match self.open(message)? {
            Ok(said) => said,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Some(failure) = self.wrapper_failure(&said.call, CallPurpose::Command) {
            return Ok(Err(failure));
        }
        let (account, call) = self.use_up(said, nonces)?;
        let Some(code) = self.world.compiled(&call.contract)? else { return Ok(Err(Failure::NoSuchContract)) };
        let execution = self.execute(&code, Entry::Call, account, call)?;
        self.settle(execution).map(Ok)
    }

    fn chain_message(&mut self, message: &[u8]) -> Ended {
        let Ok(ChainMessage::Instantiate { contract, deployer, code, init }) =
            ChainMessage::decode_all(&mut &message[..])
        else {
            return Ok(Err(Failure::Malformed));
        };
        if EnvelopeRef::decode_exact(&init).is_ok_and(|envelope| envelope.header.kind != EnvelopeKind::Call) {
            return Ok(Err(Failure::UnsupportedKind));
        }
        let (said, nonces) = match self.open(&init)? {
            Ok(said) => said,
            Err(failure) => return Ok(Err(failure)),
        };
        // The chain's word is who deploys what; whose envelope it carries is anybody's choice.
        if said.account != deployer || said.call.contract != contract {
            return Ok(Err(Failure::WrongConstructor));
        }
        if let Some(failure) = self.wrapper_failure(&said.call, CallPurpose::Constructor) {
            return Ok(Err(failure));
        }
        let (account, call) = self.use_up(said, nonces)?;
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
        let execution = self.execute(&compiled, Entry::Deploy, account, call)?;
        let settled = self.settle(execution)?;
        if matches!(settled.outcome, Outcome::Returned(_)) {
            let listed = self.world.source.list(&contract, &Deployed { code, size: compiled.size(), deployer });
            listed.map_err(StateFault::Limit)?;
            self.new_code = Some(code);
        }
        Ok(Ok(settled))
    }

    /// Opens an envelope and checks that its account said what is inside, and has not said it before. Nothing is written between this and
    /// [`Self::use_up`], which refuses nonces that were read before a write.
    fn open(&mut self, message: &[u8]) -> Result<Result<(Said, Nonces), Failure>, ExecutionFault> {
        let Ok(envelope) = EnvelopeRef::decode_exact(message) else { return Ok(Err(Failure::Malformed)) };
        let opened = match envelope.header.kind {
            EnvelopeKind::Call | EnvelopeKind::SessionOpen => self.signed(envelope)?,
            EnvelopeKind::SessionCommand => self.session_command(envelope)?,
        };
        let said = match opened {
            Ok(said) => said,
            Err(failure) => return Ok(Err(failure)),
        };
        let nonces = self.world.source.nonces(&said.account)?;
        if !nonces.is_free(said.call.nonce) {
            // The reply to the nonce's first use stays the account's; this one belongs to nobody.
            return Ok(Err(Failure::NonceUsed));
        }
        self.caller = Some((said.account, said.call.nonce));
        self.contract = Some(said.call.contract);
        Ok(Ok((said, nonces)))
    }

    /// What an account signed itself: opened ahead of its turn, or now.
    fn signed(&mut self, envelope: EnvelopeRef<'_>) -> Result<Result<Said, Failure>, ExecutionFault> {
        // What the chain carries for a deployer has the item's number too, and is not what was opened under it.
        let ahead = match self.header.kind {
            ItemKind::Envelope(_) => self.ahead.take(self.header.sequence),
            ItemKind::Chain(_) => None,
        };
        let read = match ahead {
            Some(read) => read,
            None => {
                let key = self.context.keys.envelope.as_ref().ok_or(ExecutionFault::Keys)?;
                Note::read(self.context, key, self.ahead.key_hash(), envelope)
            }
        };
        Ok(read.and_then(|note| said_by_account(note, self.context.epoch)))
    }

    /// A tag that no session has, and one that is somebody else's garbage, fail alike.
    fn session_command(&self, envelope: EnvelopeRef<'_>) -> Result<Result<Said, Failure>, ExecutionFault> {
        let Context { genesis, cluster, epoch, .. } = *self.context;
        let found = self.world.source.session(envelope.opening)?;
        let Some((numbered, session)) = found.filter(|(_, session)| session.epoch == epoch) else {
            return Ok(Err(Failure::Undecryptable));
        };
        let Ok(opened) = session.secret().open_command(&self.context.destination(), numbered.number, envelope) else {
            return Ok(Err(Failure::Undecryptable));
        };
        let Ok(SessionCommand { call, signature }) = SessionCommand::decode_exact(opened.expose()) else {
            return Ok(Err(Failure::Malformed));
        };
        let Ok(tag) = envelope.opening.try_into() else { return Ok(Err(Failure::Malformed)) };
        let payload = session_command_payload(genesis, cluster, tag, &call);
        if ed25519::verify(&session.key, &payload, &signature).is_err() {
            return Ok(Err(Failure::BadSignature));
        }
        Ok(Ok(Said { account: session.account, call, how: How::InSession(numbered, session) }))
    }

    /// Why the item's public wrapper is not one that the account asked for. Whoever pushed it chose that, so the caller must not
    /// have used up anything yet: every failure here is one that [`Failure::leaves_nonce`].
    fn wrapper_failure(&self, call: &Call, purpose: CallPurpose) -> Option<Failure> {
        let class = self.header.kind.gas_class();
        let checks = [
            (call.purpose != purpose, Failure::WrongPurpose),
            (self.header.block > call.valid_until, Failure::Expired),
            (class != call.gas_class, Failure::WrongClass),
            (call.gas_limit > class.gas(), Failure::GasOverClass),
            (self.header.fee > call.max_fee, Failure::FeeOverMax),
        ];
        checks.into_iter().find_map(|(failed, failure)| failed.then_some(failure))
    }

    /// Uses up what the call may be said by once: its nonce, and a session's number. From here on the account has spoken, and a session
    /// is open, whatever becomes of the call.
    fn use_up(&self, said: Said, nonces: Nonces) -> Result<(AccountId, Call), ExecutionFault> {
        let Said { account, call, how } = said;
        if !self.world.source.take_nonce(nonces, call.nonce)? {
            return Err(ExecutionFault::Nonce);
        }
        match how {
            How::Signed => {}
            How::Opens(session) => self.world.source.open_session(self.header.sequence, session)?,
            How::InSession(numbered, session) => self.world.source.use_number(numbered, session)?,
        }
        Ok((account, call))
    }

    fn execute(
        &self,
        code: &Arc<CompiledContract>,
        entry: Entry,
        caller: AccountId,
        call: Call,
    ) -> Result<Execution, ExecutionFault> {
        let request = Request {
            contract: call.contract,
            caller,
            value: 0,
            entry,
            input: call.payload,
            gas_limit: call.gas_limit,
            context: BlockContext {
                cluster: self.context.cluster,
                block_number: self.header.block,
                block_time_ms: self.header.time_ms,
            },
        };
        let entropy = self.context.keys.entropy.clone().ok_or(ExecutionFault::Keys)?;
        let random = ItemRandom { entropy, cluster: self.context.cluster, link: *self.link };
        Ok(execute(code, &request, Arc::new(ItemWorld { world: self.world.clone(), random }))?)
    }

    fn settle(&self, execution: Execution) -> Result<Settled, ExecutionFault> {
        let output = match &execution.outcome {
            phala_vm::Outcome::Returned(bytes) | phala_vm::Outcome::Reverted(bytes) => bytes.len(),
            phala_vm::Outcome::Trapped(_) | phala_vm::Outcome::OutOfGas => 0,
        };
        let events: usize = execution.events.iter().map(|event| event.data.len() + size_of::<ContractId>()).sum();
        // An item is its action, its contract, its cluster and its sequence.
        let overhead = size_of::<ContractId>().saturating_add(size_of::<ClusterId>()).saturating_add(size_of::<u64>());
        let egress: usize =
            execution.egress.iter().map(|(_, action)| action.encoded_size().saturating_add(overhead)).sum();
        if output.saturating_add(events).saturating_add(egress) > MAX_REPLY_BYTES {
            // A reply that no answer can carry would be lost on its caller: the command fails, and writes nothing.
            return Ok(Settled::failed(Failure::ReplyTooLong, execution.gas_used));
        }
        self.world.source.apply(execution.writes).map_err(StateFault::Limit)?;
        let first = self.world.source.number_egress(execution.egress.len())?;
        let cluster = self.context.cluster;
        let egress = (first..)
            .zip(execution.egress)
            .map(|(sequence, (contract, action))| EgressItem { cluster, sequence, contract, action })
            .collect();
        let outcome = match execution.outcome {
            phala_vm::Outcome::Returned(output) => Outcome::Returned(output),
            phala_vm::Outcome::Reverted(error) => Outcome::Reverted(error),
            phala_vm::Outcome::Trapped(_) => Outcome::Failed(Failure::Trapped),
            phala_vm::Outcome::OutOfGas => Outcome::Failed(Failure::OutOfGas),
        };
        Ok(Settled { outcome, gas_used: execution.gas_used, events: execution.events, egress })
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
