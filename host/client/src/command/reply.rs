//! Waiting for the reply to a command, and what it says.
//!
//! Guarantees: a reply is believed when the final result that commits it is proved, and it is to this account's command of this nonce.
//! Workers control what they answer, contracts what a reply says. Does not: find the reply to a command whose sender never heard that
//! it is in the inbox (see [`super::intent`]).

use super::{closed, Command, POLL};
use crate::{
    deadline::Deadline, query::AttestedWorker, worker::WorkerEndpoint, Account, ClientError, ErrorCode, Network,
};
use phala_crypto::merkle;
use phala_protocol::{
    chain_state::{ClusterRecord, FinalRecord},
    ids::BlockNumber,
    query::{AnswerContent, QueryRequest},
    result::{reply_leaf, Failure, Outcome, Reply},
    storage, Hash, WorkerId,
};
use std::time::Duration;

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
                Failure::Trapped => {
                    (ErrorCode::Trapped, "it is the contract's own fault: ask whoever wrote it, or call it with other arguments")
                }
                Failure::OutOfGas => (ErrorCode::OutOfGas, "give it a higher gas limit"),
                Failure::Expired | Failure::NonceUsed => (ErrorCode::Expired, "send it again"),
                Failure::NoSuchContract => (ErrorCode::NotFound, "its constructor may have failed"),
                Failure::GasOverClass | Failure::FeeOverMax => (
                    ErrorCode::OverLimit,
                    "allow a higher fee; until its last block the refused one may still execute if anybody pushes it again",
                ),
                Failure::ReplyTooLong => (ErrorCode::OverLimit, "ask the contract for less at once"),
                Failure::BadSignature => {
                    (ErrorCode::Unauthorised, "sign it again as the account that sends it, for the open epoch's key")
                }
                Failure::Undecryptable | Failure::Malformed => {
                    (ErrorCode::Refused, "seal it again for the open epoch's key, with a client of a release that this network knows")
                }
                Failure::ContractExists => (ErrorCode::Refused, "deploy it with another salt"),
                Failure::BadCode => (ErrorCode::Refused, "build the contract again: `phala contract build`"),
                Failure::UnsupportedKind => {
                    (ErrorCode::Refused, "send a command as a push, and a constructor with its contract")
                }
                Failure::WrongConstructor => {
                    (ErrorCode::Refused, "have the deployer sign the constructor for this very contract")
                }
                Failure::WrongPurpose | Failure::WrongClass => (
                    ErrorCode::Refused,
                    "somebody else wrapped a copy of it; the command itself may still execute until its last block",
                ),
            };
            ClientError::new(code, failure.to_string()).with_hint(hint)
        }
    }
}

impl Network {
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
}

/// Whether the item in `sequence` has no final result, and never will: its cluster is closed.
pub(super) fn is_lost(record: &ClusterRecord, sequence: u64) -> bool {
    record.is_closed() && sequence >= record.final_count
}

/// The block of the item that executed, when that is not the one of `record`: somebody pushed a copy of the envelope.
pub(super) fn executed_elsewhere(content: &AnswerContent, record: &FinalRecord) -> Option<BlockNumber> {
    match content {
        AnswerContent::Reply { result, .. } if result.boundary.block != record.result.boundary.block => {
            Some(result.boundary.block)
        }
        _ => None,
    }
}

/// Whether an answer is the reply to `command`, committed by the final result in `record`. Account, nonce and contract say which
/// command: a nonce is used once, whichever item carried it.
pub(super) fn verify_reply(
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
