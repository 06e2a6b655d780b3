//! Finding the reply to a command by what its sender knew before it left: after a lost connection, or in another process.
//!
//! A reply is sealed to nobody in advance. The account asks a worker for it under the command's nonce, signed and sealed like every
//! query, so that nothing but the account's key and an [`Intent`] has to be kept. Guarantees: a reply that is found is verified like
//! any other, against a final result that is proved; a command is said never to have run only when the chain's proved state shows its
//! last block behind it, and a worker answers on a state in which every item until then is final and no reply of then is forgotten.
//! That is one attested machine's word.
//!
//! The sender controls the intent, nodes and workers what they answer. Does not: keep intents on disk.

use super::{closed, reply::verify_reply, Command, Completed, POLL};
use crate::{
    deadline::Deadline, query::AttestedWorker, worker::WorkerEndpoint, Account, ClientError, ErrorCode, Network,
};
use codec::{Decode, Encode};
use phala_protocol::{
    call::Call,
    ids::BlockNumber,
    inbox::Head,
    limits::REPLY_BLOCKS,
    query::{Answer, AnswerContent, QueryRefusal, QueryRequest},
    storage, AccountId, ClusterId, ContractId,
};
use std::time::Duration;

/// A command as its sender knows it before it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Intent {
    /// Where it goes.
    pub cluster: ClusterId,
    /// To whom.
    pub contract: ContractId,
    /// From whom.
    pub account: AccountId,
    /// Its nonce: which of the account's commands in the cluster it is.
    pub nonce: u64,
    /// A finalised block before it was made.
    pub since: BlockNumber,
    /// The last block in which it can be executed.
    pub valid_until: BlockNumber,
}

/// What became of a command.
#[allow(clippy::large_enum_variant, reason = "one lives at a time, between the answer and its use")]
#[derive(Clone, Debug)]
pub enum Fate {
    /// It was executed, or refused, and a final result commits the reply.
    Completed(Completed),
    /// It was not executed and never will be, by one attested worker's word.
    Never,
    /// It can be executed no more, and nobody knows by its nonce whether it was: workers keep replies for [`REPLY_BLOCKS`] only.
    Forgotten,
}

/// Told what happens to a command while it is sent.
pub trait Journal {
    /// It is about to leave: from here on until its last block it may be executed, whatever becomes of this process, and also when chain or
    /// node refuses it: whoever saw it can push a copy at a price of theirs. Told again for each attempt.
    fn leaves(&mut self, intent: &Intent);
}

/// Keeps nothing.
impl Journal for () {
    fn leaves(&mut self, _intent: &Intent) {}
}

impl Intent {
    /// Of a call that was made at height `since`, and repeats `earlier`, if that is any: then of either, whichever is executed.
    pub(super) fn of(
        cluster: ClusterId,
        account: AccountId,
        call: &Call,
        since: BlockNumber,
        earlier: Option<&Self>,
    ) -> Result<Self, ClientError> {
        let Call { contract, nonce, valid_until, .. } = *call;
        let this = Self { cluster, contract, account, nonce, since, valid_until };
        let Some(earlier) = earlier else { return Ok(this) };
        let (since, valid_until) = (since.min(earlier.since), valid_until.max(earlier.valid_until));
        let both = Self { since, valid_until, ..this };
        if both != (Self { since, valid_until, ..earlier.clone() }) {
            return Err(ClientError::new(ErrorCode::Invalid, "the attempt that is repeated was another command"));
        }
        Ok(both)
    }

    /// The command, whose place and price its reply will say.
    fn command(&self) -> Command {
        let Self { cluster, contract, account, nonce, valid_until, .. } = *self;
        Command { cluster, contract, account, nonce, sequence: 0, block: valid_until, fee: 0, transaction_fee: None }
    }
}

/// What has to be final before a command that was not seen can be said to have never run.
#[derive(Clone, Copy, Debug, Default)]
struct Horizon(Option<u64>);

impl Horizon {
    /// Learns that the inbox has `count` items in a finalised block at `height`.
    fn learn(&mut self, intent: &Intent, height: BlockNumber, count: u64) {
        // The first time is the nearest: every item that could have carried the command is below it.
        if self.0.is_none() && height > intent.valid_until {
            self.0 = Some(count);
        }
    }

    /// What it means that the state that `answer` speaks of has no reply; nothing yet, unless it has all of those items behind it.
    fn judge(&self, intent: &Intent, answer: &Answer) -> Option<Fate> {
        match (self.0?, answer.state) {
            (0, _) => Some(Fate::Never),
            (count, Some(state)) if state.boundary.count >= count => {
                // Of a block after `since`, it would be there still.
                let keeps = state.boundary.block < intent.since.saturating_add(REPLY_BLOCKS);
                Some(if keeps { Fate::Never } else { Fate::Forgotten })
            }
            _ => None,
        }
    }
}

impl Network {
    /// What became of the command that `intent` describes, asked as its account; waits until that is known.
    pub async fn find_reply(
        &self,
        account: &Account,
        intent: &Intent,
        workers: &[WorkerEndpoint],
        timeout: Duration,
    ) -> Result<Fate, ClientError> {
        if account.id() != intent.account {
            return Err(ClientError::new(ErrorCode::Unauthorised, "the command is another account's"));
        }
        let deadline = Deadline::after(timeout);
        // Its workers are none any more: nobody is asked in vain.
        if let Some(Ok((record, _))) = deadline.bound(self.cluster(intent.cluster)).await {
            if record.is_closed() {
                return Err(closed(
                    intent.cluster,
                    "tells no replies any more, and nothing that waited there is executed",
                ));
            }
        }
        let mut horizon = Horizon::default();
        let mut last = ClientError::new(ErrorCode::Timeout, "no worker told in time what became of the command");
        loop {
            for endpoint in workers {
                match deadline.bound(self.fate_by(account, intent, endpoint, &mut horizon)).await {
                    Some(Ok(fate)) => return Ok(fate),
                    Some(Err(error)) => last = error,
                    None => break,
                }
            }
            if deadline.has_passed() || workers.is_empty() {
                return Err(last.with_hint(
                    "`phala status` shows how far its cluster's workers are; the reply can be asked for again at any time",
                ));
            }
            deadline.sleep(POLL).await;
        }
    }

    async fn fate_by(
        &self,
        account: &Account,
        intent: &Intent,
        endpoint: &WorkerEndpoint,
        horizon: &mut Horizon,
    ) -> Result<Fate, ClientError> {
        let key = storage::inbox_head_key(intent.cluster);
        let proved = self.read(std::slice::from_ref(&key)).await?;
        let head: Option<Head> = proved.get(&key)?;
        horizon.learn(intent, proved.height(), head.map_or(0, |head| head.count));

        let worker = AttestedWorker::verify(self, endpoint, intent.cluster).await?;
        let request = QueryRequest::Reply { nonce: intent.nonce };
        let answered = worker.ask(self.genesis(), account, &request, 0).await?;
        let AnswerContent::Reply { result, .. } = &answered.answer.content else {
            return absent(intent, horizon, &answered.answer);
        };
        let record = self.final_result(intent.cluster, result.boundary.block).await?.ok_or_else(|| {
            ClientError::new(
                ErrorCode::Unverified,
                "the worker has a reply, and the chain keeps no final result for it: it is too old to be proved, or none",
            )
        })?;
        verify_reply(&intent.command(), &record, answered.answer.content, answered.worker).map(Fate::Completed)
    }
}

/// What an answer without a reply says of the command.
fn absent(intent: &Intent, horizon: &Horizon, answer: &Answer) -> Result<Fate, ClientError> {
    // It waits to become final, or there is nothing of it, which is said in the words of everything that is not there.
    if !matches!(answer.content, AnswerContent::Pending | AnswerContent::Refused(QueryRefusal::NotFound)) {
        return Err(ClientError::new(ErrorCode::Unverified, "the worker answers something else than was asked"));
    }
    if let Some(fate) = horizon.judge(intent, answer) {
        return Ok(fate);
    }
    Err(ClientError::new(
        ErrorCode::Stale,
        format!(
            "the command with nonce {} has no final reply yet; it can be executed until block {}, and its result takes longer",
            intent.nonce, intent.valid_until
        ),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{super::tests::replied, *};
    use phala_protocol::WorkerId;

    fn intent(command: &Command) -> Intent {
        let Command { cluster, contract, account, nonce, .. } = *command;
        Intent { cluster, contract, account, nonce, since: 20, valid_until: 40 }
    }

    #[test]
    fn a_reply_is_found_and_proved_by_what_was_known_before_the_command_left() {
        let (command, record, content) = replied();
        let intent = Intent::decode(&mut intent(&command).encode().as_slice()).unwrap();
        let completed = verify_reply(&intent.command(), &record, content.clone(), WorkerId([1; 32])).unwrap();
        assert_eq!(completed.output(), Ok(&[1][..]));
        assert_eq!(completed.command, Command { transaction_fee: None, ..command }, "with place, block and fee");
        for other in [
            Intent { nonce: 78, ..intent.clone() },
            Intent { account: AccountId([9; 32]), ..intent.clone() },
            Intent { contract: ContractId([9; 32]), ..intent.clone() },
        ] {
            let refused = verify_reply(&other.command(), &record, content.clone(), WorkerId([1; 32])).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Unverified);
        }
    }

    #[test]
    fn a_command_is_said_never_to_have_run_only_when_every_item_that_could_carry_it_is_final() {
        let (command, record, content) = replied();
        let intent = intent(&command);
        let answer = |count: Option<u64>, content: AnswerContent| {
            let mut result = record.result;
            let state = count.map(|count| {
                result.boundary.count = count;
                result
            });
            Answer { query: [0; 32], height: 90, state, content }
        };
        let pending = |count| answer(count, AnswerContent::Refused(QueryRefusal::NotFound));
        let says = |horizon: &Horizon, answer: Answer| absent(&intent, horizon, &answer);
        let waits = |fate: Result<Fate, ClientError>| fate.unwrap_err().code == ErrorCode::Stale;
        let mut horizon = Horizon::default();
        // It can still be included, however far the worker is.
        horizon.learn(&intent, 40, 7);
        assert!(waits(says(&horizon, pending(Some(100)))));
        assert!(waits(says(&horizon, answer(Some(100), AnswerContent::Pending))));
        // What was in the inbox when its last block was over decides, and not what comes after.
        horizon.learn(&intent, 41, 8);
        horizon.learn(&intent, 42, 500);
        assert!(waits(says(&horizon, pending(None))) && waits(says(&horizon, pending(Some(7)))));
        assert!(matches!(says(&horizon, pending(Some(8))), Ok(Fate::Never)));
        // Items of a day later, and nothing of the first day is there any more.
        let late = |block| {
            let mut answer = pending(Some(90));
            if let Some(state) = &mut answer.state {
                state.boundary.block = block;
            }
            says(&horizon, answer)
        };
        assert!(matches!(late(20 + REPLY_BLOCKS - 1), Ok(Fate::Never)));
        assert!(matches!(late(20 + REPLY_BLOCKS), Ok(Fate::Forgotten)));
        let expired = answer(Some(8), AnswerContent::Refused(QueryRefusal::Expired));
        for other in [answer(Some(8), content), expired] {
            assert_eq!(says(&horizon, other).unwrap_err().code, ErrorCode::Unverified);
        }
        // An inbox that never had an item.
        let mut horizon = Horizon::default();
        horizon.learn(&intent, 41, 0);
        assert!(matches!(says(&horizon, pending(None)), Ok(Fate::Never)));
    }
}
