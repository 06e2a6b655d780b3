//! Statements of ceremonies, and contracts' signatures: submitted at once, beside everything else, and not one after the other.
//!
//! A phase ends after some dozen blocks, and what seats lack is said in its last ten. So nothing that a TEE has for the chain holds a
//! statement up, and none waits until another is in a block: a dealer of whom all complain has a hundred to deliver within one phase.
//! Their order does not matter; each is taken for itself. What does hold one up is an earlier extrinsic of the same account that the
//! node's pool lost: gatekeepers are better given an account of their own.
//!
//! A statement that is taken is free, and one that is there already costs a fee. So none is ever under way twice: an extrinsic with a
//! statement has a few blocks to get into one, and the same is submitted again only when those are finalised and the TEE repeats it all
//! the same - whatever pool is full, or lost it. One that a pool refused, or a block, is under way no more.
//!
//! Signatures have no deadline, but a coordinator may have some dozen at a time, and one after the other they would take a block each, in
//! which a partial of the beacon waits. Several coordinators may come to one of the same message: so the newest block is asked whether it
//! has one already (`super::identities`). They have a lane of their own: neither kind waits for room of the other.

use super::{identities, judge, name, Pending, Settled, Submitted, INTERVAL, NEVER, REPEAT_BLOCKS};
use crate::Shared;
use phala_client::{
    chain::{Attempted, ChainCall, SubmitError},
    Account, ClientError,
};
use phala_protocol::{ids::BlockNumber, relay::Outgoing, Hash};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// Blocks after which a refused statement is submitted again. A last call has ten blocks, of which a TEE's finalised head is some three
/// behind, and getting into a block takes one or two: with four in between, a second try still comes in time, a third would not.
const REPEAT_STATEMENT_BLOCKS: BlockNumber = 4;
/// Blocks after the one that a statement is in, until which its TEE has been shown that it stands there.
const SHOWN_BLOCKS: BlockNumber = 3;
/// How long one is followed into a block: the time of nine. By then it is in one or never will be.
const WAIT: Duration = Duration::from_secs(54);
/// Those of one way and TEE that are followed at once: what a seat among a hundred may have to say in one phase, and as many again.
const MOST_UNDER_WAY: usize = 256;
/// Those of one way and TEE of which it is remembered that they may get into a block yet; more are not submitted meanwhile.
const MOST_POSSIBLE: usize = 2_048;

/// What goes at once, each with others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Statements of ceremonies, of roots and of identities.
    Statements,
    /// Contracts' signatures under messages that have left.
    Signatures,
}

impl Way {
    /// Which way something goes, if it goes at once.
    pub(super) const fn of(item: &Outgoing) -> Option<Self> {
        match item {
            Outgoing::State(_) | Outgoing::StateWith { .. } | Outgoing::StateIdentity { .. } => Some(Self::Statements),
            Outgoing::AttachSignature { .. } => Some(Self::Signatures),
            _ => None,
        }
    }
}

/// Submits what goes this way as `account`, for ever.
pub(crate) async fn submit_at_once(
    way: Way,
    shared: &Arc<Shared>,
    account: &Arc<Account>,
    tee: &str,
    mut outgoing: watch::Receiver<Option<Pending>>,
) {
    let mut lane = Lane::new(way);
    let mut under_way = JoinSet::new();
    let mut connections = shared.link.connections();
    let mut heads = shared.link.height();
    loop {
        let items = outgoing.borrow_and_update().as_ref().map_or_else(Vec::new, |pending| pending.items.clone());
        let height = *heads.borrow_and_update();
        // A node that was lost may have lost what it had taken; what may have reached others is waited for all the same.
        if connections != shared.link.connections() {
            connections = shared.link.connections();
            lane.submitted = Submitted::default();
        }
        for Due { name, item, call } in lane.due(&items, height) {
            let (shared, account) = (shared.clone(), account.clone());
            under_way.spawn(async move {
                let chain = shared.link.chain().await;
                let attempted = match identities::refusal(&chain, &item).await {
                    Ok(None) => chain.submit_short_lived(&account, &call, WAIT).await,
                    // As the chain would have said it, for no fee.
                    Ok(Some(refused)) => never_sent(SubmitError::Pallet(refused)),
                    Err(error) => never_sent(SubmitError::Client(error)),
                };
                (name, call.label(), attempted)
            });
        }
        tokio::select! {
            Some(Ok((name, call, attempted))) = under_way.join_next() => {
                lane.settle(name, &attempted, *heads.borrow());
                match attempted.outcome {
                    Ok(included) => tracing::info!(tee, block = included.block, call, "submitted"),
                    Err(error) => report(shared, tee, &call, error).await,
                }
            }
            changed = outgoing.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            _ = heads.changed() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn report(shared: &Shared, tee: &str, call: &str, error: SubmitError) {
    match judge(&error) {
        Settled::Done => tracing::debug!(tee, call, %error, "the chain has it, or asks for it no more"),
        Settled::Later => tracing::warn!(tee, call, %error, "the chain refuses; trying again later"),
        Settled::Never => tracing::warn!(tee, call, %error, "the chain will never take it; not trying again"),
        Settled::Failed => {
            let error = ClientError::from(error);
            tracing::warn!(tee, call, %error, hint = error.hint, "cannot submit what goes at once");
            shared.link.failed(&error).await;
        }
    }
}

/// What becomes of something that was handed to no node.
fn never_sent(error: SubmitError) -> Attempted {
    Attempted { outcome: Err(error), possible_until: None }
}

/// Something that is to be submitted.
struct Due {
    name: Hash,
    item: Outgoing,
    call: ChainCall,
}

/// Which of one way are under way, and when which is submitted again.
struct Lane {
    way: Way,
    submitted: Submitted,
    under_way: BTreeSet<Hash>,
    /// Those that are followed no more and may get into a block yet, and the finalised height from which on they cannot, also as far
    /// as their TEE was shown. Whatever is forgotten of others, this is not.
    possible: BTreeMap<Hash, BlockNumber>,
}

impl Lane {
    fn new(way: Way) -> Self {
        Self { way, submitted: Submitted::default(), under_way: BTreeSet::new(), possible: BTreeMap::new() }
    }

    /// Those of `items` that go this way and are to be submitted at finalised height `height`; they are under way then.
    fn due(&mut self, items: &[Outgoing], height: BlockNumber) -> Vec<Due> {
        let ours: Vec<_> =
            items.iter().filter(|item| Way::of(item) == Some(self.way)).map(|item| (name(item), item)).collect();
        let names: Vec<Hash> = ours.iter().map(|(name, _)| *name).collect();
        self.submitted.keep_only(&names);
        self.possible.retain(|_, until| height < *until);
        let mut due = Vec::new();
        for (name, item) in ours {
            if self.under_way.len() >= MOST_UNDER_WAY || self.under_way.len() + self.possible.len() >= MOST_POSSIBLE {
                break;
            }
            let is_due = self.submitted.is_due(&name, height) && !self.possible.contains_key(&name);
            if !is_due || self.under_way.contains(&name) {
                continue;
            }
            if let Some(call) = call(item) {
                self.under_way.insert(name);
                due.push(Due { name, item: item.clone(), call });
            }
        }
        due
    }

    /// Notes what became of one, at finalised height `height`.
    fn settle(&mut self, name: Hash, attempted: &Attempted, height: BlockNumber) {
        self.under_way.remove(&name);
        let Attempted { outcome, possible_until } = attempted;
        let until = match outcome {
            Ok(included) => included.block.saturating_add(SHOWN_BLOCKS),
            Err(error) => height.saturating_add(match judge(error) {
                Settled::Done => REPEAT_BLOCKS,
                Settled::Later => REPEAT_STATEMENT_BLOCKS,
                Settled::Never => NEVER,
                // It came into no block. Where that is the node's doing, the next head shows that it is back.
                Settled::Failed => 1,
            }),
        };
        self.submitted.rest(name, until);
        // What a block refused is in it, and its number is used up.
        let was_refused = outcome.as_ref().is_err_and(|error| judge(error) != Settled::Failed);
        if let Some(last) = possible_until.filter(|_| !was_refused) {
            self.possible.insert(name, last.saturating_add(SHOWN_BLOCKS));
        }
    }
}

fn call(item: &Outgoing) -> Option<ChainCall> {
    match item {
        Outgoing::State(statement) => Some(ChainCall::state(statement)),
        Outgoing::StateWith { statement, attachment } => Some(ChainCall::state_with(statement, attachment)),
        Outgoing::StateIdentity { statement, attachment } => {
            Some(ChainCall::state_identities(statement, attachment.as_ref()))
        }
        Outgoing::AttachSignature { cluster, sequence, signature } => {
            Some(ChainCall::attach_signature(*cluster, *sequence, signature))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_client::{
        chain::{Included, PalletError, SHORT_LIFETIME_BLOCKS},
        ErrorCode,
    };
    use phala_protocol::{
        ceremony::{Attachment, SignedStatement, Statement},
        identities::{signing::EgressSignature, IdentityStatement, Scheme, SignedIdentityStatement},
        result::{Rekey, SignedRekey},
        ClusterId, WorkerId,
    };

    fn statement(dealer: u16) -> Outgoing {
        let statement = Statement::Reject { dealer };
        Outgoing::State(SignedStatement { era: 1, attempt: 0, index: 1, statement, signature: [0; 64] })
    }

    fn rekey() -> Outgoing {
        let rekey = Rekey { cluster: ClusterId(0), epoch: 1, boundary: None, old: [0; 32], new: [1; 32] };
        Outgoing::Rekey(SignedRekey { rekey, worker: WorkerId([1; 32]), signature: [0; 64] })
    }

    /// The labels of what is due, and the name of the first.
    fn due(lane: &mut Lane, items: &[Outgoing], height: BlockNumber) -> (Vec<String>, Option<Hash>) {
        let due = lane.due(items, height);
        (due.iter().map(|due| due.call.label()).collect(), due.first().map(|due| due.name))
    }

    fn lane() -> Lane {
        Lane::new(Way::Statements)
    }

    fn of_identities(dealer: u16, attachment: Option<Attachment>) -> Outgoing {
        let statement = IdentityStatement::Complain { dealer };
        let statement = SignedIdentityStatement { era: 1, attempt: 0, index: 1, statement, signature: [0; 64] };
        Outgoing::StateIdentity { statement, attachment }
    }

    fn signature(sequence: u64, scheme: Scheme) -> Outgoing {
        let signature = EgressSignature { item: [7; 32], scheme, key: [1; 32], signature: [2; 64] };
        Outgoing::AttachSignature { cluster: ClusterId(0), sequence, signature }
    }

    fn refused(error: &str) -> Result<Included, SubmitError> {
        Err(SubmitError::Pallet(PalletError { pallet: "Gatekeepers".into(), error: error.into() }))
    }

    fn included(block: BlockNumber) -> Result<Included, SubmitError> {
        Ok(Included { block, block_hash: [0; 32], events: vec![] })
    }

    fn lost(code: ErrorCode) -> Result<Included, SubmitError> {
        Err(SubmitError::Client(ClientError::new(code, "gone")))
    }

    /// Of one that was never in a pool, or that a block holds.
    fn gone(outcome: Result<Included, SubmitError>) -> Attempted {
        Attempted { outcome, possible_until: None }
    }

    #[test]
    fn statements_are_due_at_once_beside_whatever_else_waits_and_not_while_they_are_under_way() {
        let Outgoing::State(signed) = statement(1) else { unreachable!() };
        let with = Outgoing::StateWith { statement: signed, attachment: Attachment::Package(vec![1]) };
        let items = [rekey(), statement(2), with.clone(), statement(3)];
        let mut lane = lane();
        let labels = ["Gatekeepers.state", "Gatekeepers.state_with", "Gatekeepers.state"];
        assert_eq!(due(&mut lane, &items, 10).0, labels);
        assert!(due(&mut lane, &items, 1_000).0.is_empty(), "followed until something becomes of them");
        assert!(due(&mut lane, &[], 1_000).0.is_empty());
        assert!(due(&mut lane, &items, 1_000).0.is_empty(), "also when the TEE was silent meanwhile");
    }

    #[test]
    fn statements_of_identities_go_with_those_of_roots_and_signatures_beside_both() {
        let items = [
            signature(3, Scheme::Ed25519),
            of_identities(1, None),
            rekey(),
            statement(2),
            signature(3, Scheme::Ristretto255),
            of_identities(2, Some(Attachment::Package(vec![1]))),
        ];
        let mut statements = lane();
        let labels = ["Gatekeepers.state_identities", "Gatekeepers.state", "Gatekeepers.state_identities"];
        assert_eq!(due(&mut statements, &items, 10).0, labels);
        assert!(due(&mut statements, &items, 1_000).0.is_empty(), "followed until something becomes of them");
        let mut signatures = Lane::new(Way::Signatures);
        assert_eq!(due(&mut signatures, &items, 10).0, ["Egress.attach_signature"; 2]);
        assert!(due(&mut signatures, &items, 1_000).0.is_empty());
        // However many signatures there are, a statement does not wait for room.
        let many: Vec<_> =
            (0..2 * MOST_UNDER_WAY as u64).map(|sequence| signature(sequence, Scheme::Ed25519)).collect();
        let mut signatures = Lane::new(Way::Signatures);
        assert_eq!(due(&mut signatures, &many, 10).0.len(), MOST_UNDER_WAY);
        let many = [many, vec![statement(9)]].concat();
        assert_eq!(due(&mut lane(), &many, 10).0, ["Gatekeepers.state"]);
    }

    #[test]
    fn a_signature_that_was_not_sent_for_the_chain_has_it_rests_as_one_that_was_refused() {
        let item = [signature(3, Scheme::Ed25519)];
        let not_sent =
            |error: &str| never_sent(SubmitError::Pallet(PalletError { pallet: "Egress".into(), error: error.into() }));
        let mut signatures = Lane::new(Way::Signatures);
        let name = due(&mut signatures, &item, 18).1.unwrap();
        signatures.settle(name, &not_sent("AlreadySigned"), 20);
        assert!(due(&mut signatures, &item, 20 + REPEAT_BLOCKS - 1).0.is_empty());
        let name = due(&mut signatures, &item, 20 + REPEAT_BLOCKS).1.unwrap();
        signatures.settle(name, &not_sent("BadSignature"), 40);
        assert!(due(&mut signatures, &item, 40 + 1_000 * REPEAT_BLOCKS).0.is_empty(), "it is of another message");
        // A node that could not be asked is asked at the next head.
        let mut signatures = Lane::new(Way::Signatures);
        let name = due(&mut signatures, &item, 18).1.unwrap();
        signatures.settle(name, &never_sent(SubmitError::Client(ClientError::new(ErrorCode::Unreachable, "gone"))), 20);
        assert_eq!(due(&mut signatures, &item, 21).0, ["Egress.attach_signature"]);
    }

    #[test]
    fn what_became_of_a_statement_says_when_it_is_submitted_again() {
        let busy = || Err(SubmitError::Rejected { code: ErrorCode::Busy, message: String::new() });
        for (outcome, again) in [
            (included(21), 21 + SHOWN_BLOCKS),
            (refused("WrongAttachment"), 20 + REPEAT_STATEMENT_BLOCKS),
            (refused("AlreadyStated"), 20 + REPEAT_BLOCKS),
            (busy(), 21),
            (lost(ErrorCode::Unreachable), 21),
        ] {
            let mut lane = lane();
            let name = due(&mut lane, &[statement(1)], 18).1.unwrap();
            let attempted = gone(outcome);
            lane.settle(name, &attempted, 20);
            assert!(due(&mut lane, &[statement(1)], again - 1).0.is_empty(), "{attempted:?}");
            assert_eq!(due(&mut lane, &[statement(1)], again).0, ["Gatekeepers.state"], "{attempted:?}");
        }
        // What the TEE says no more is forgotten, and due at once if it says it again.
        let mut lane = lane();
        let name = due(&mut lane, &[statement(1)], 18).1.unwrap();
        lane.settle(name, &gone(refused("WrongAttachment")), 20);
        assert!(due(&mut lane, &[], 20).0.is_empty());
        assert_eq!(due(&mut lane, &[statement(1)], 20).0, ["Gatekeepers.state"]);
    }

    #[test]
    fn a_statement_is_never_on_its_way_twice_and_is_said_again_when_the_first_is_known_to_be_gone() {
        let last = 18 + SHORT_LIFETIME_BLOCKS - 1;
        let busy = Err(SubmitError::Rejected { code: ErrorCode::Busy, message: "dropped: the pool is full".into() });
        for outcome in [lost(ErrorCode::Timeout), lost(ErrorCode::Unreachable), busy, included(21)] {
            let mut lane = lane();
            let name = due(&mut lane, &[statement(1)], 18).1.unwrap();
            let attempted = Attempted { outcome, possible_until: Some(last) };
            lane.settle(name, &attempted, 20);
            for height in 20..last + SHOWN_BLOCKS {
                assert!(due(&mut lane, &[statement(1)], height).0.is_empty(), "{attempted:?} at {height}");
                // Neither a TEE that falls silent nor a node that is lost makes it due sooner.
                assert!(due(&mut lane, &[], height).0.is_empty());
                lane.submitted = Submitted::default();
            }
            assert_eq!(due(&mut lane, &[statement(1)], last + SHOWN_BLOCKS).0, ["Gatekeepers.state"]);
        }
        // What a block refused is no copy that may still arrive.
        let mut lane = lane();
        let name = due(&mut lane, &[statement(1)], 18).1.unwrap();
        lane.settle(name, &Attempted { outcome: refused("WrongAttachment"), possible_until: Some(last) }, 20);
        assert_eq!(due(&mut lane, &[statement(1)], 20 + REPEAT_STATEMENT_BLOCKS).0, ["Gatekeepers.state"]);
    }

    #[test]
    fn a_second_try_comes_within_the_last_call() {
        use phala_protocol::ceremony::LAST_CALL_BLOCKS;
        // The first leaves when a head that is three behind shows the last call, and is refused in the next block.
        let (behind, inclusion) = (3, 2);
        assert!(behind + REPEAT_STATEMENT_BLOCKS + inclusion < LAST_CALL_BLOCKS);
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let items: Vec<_> = (0..2 * MOST_UNDER_WAY as u16).map(statement).collect();
        let mut lane = lane();
        let (first, name) = due(&mut lane, &items, 10);
        assert_eq!(first.len(), MOST_UNDER_WAY);
        assert!(due(&mut lane, &items, 11).0.is_empty());
        lane.settle(name.unwrap(), &gone(refused("WrongPhase")), 11);
        assert_eq!(due(&mut lane, &items, 11).0.len(), 1);
        // However many a TEE says that are never heard of again.
        let mut other = self::lane();
        let mut all = 0;
        for round in 0..16u16 {
            let items: Vec<_> = (0..256).map(|dealer| statement(round * 256 + dealer)).collect();
            for Due { name, .. } in other.due(&items, 10) {
                other.settle(name, &Attempted { outcome: lost(ErrorCode::Timeout), possible_until: Some(17) }, 10);
                all += 1;
            }
        }
        assert_eq!(all, MOST_POSSIBLE);
        assert_eq!(due(&mut other, &[statement(1)], 17 + SHOWN_BLOCKS).0.len(), 1);
    }
}
