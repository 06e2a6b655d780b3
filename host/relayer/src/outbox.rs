//! What TEEs have for the chain, as extrinsics of their operators.
//!
//! A TEE repeats an item until it sees on the chain that it arrived. The same bytes are submitted again only after
//! [`REPEAT_BLOCKS`], also where the chain has said that it has them: refusals such as `AlreadyVoted` mean that somebody - another
//! relayer, or we before a restart - was there first, and the TEE will see it. Statements of ceremonies have deadlines, and of contracts'
//! signatures there may be many: each of the two goes a way of its own ([`submit_at_once`]), beside everything else, and all at once. What
//! contracts send out of their clusters costs nothing when it is taken, and is submitted when the chain would take it (`egress`); so are
//! contracts' signatures, the record of identities (`identities`), and heartbeats (`heartbeat`). What the chain can never take is submitted once: each submission
//! costs a fee.
//!
//! Extrinsics of one account may be signed by several tasks, for TEEs can share an operator: a [`phala_client::Chain`] gives one of them
//! at a time the account's next index, until its extrinsic is handed over.

mod beacon;
mod egress;
mod heartbeat;
mod identities;
mod statements;
mod turns;

pub(crate) use statements::{submit_at_once, Way};

use crate::Shared;
use codec::Encode;
use phala_client::{
    chain::{ChainCall, PalletError, SubmitError},
    Account, ClientError, ErrorCode, Until,
};
use phala_protocol::{
    chain_state::RootRecord, hash::blake2_256, ids::BlockNumber, limits::MAX_RESULTS_PER_SUBMIT, relay::Outgoing,
    result::SignedResult, Hash, WorkerId,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// Blocks after which something that a TEE still repeats is submitted again.
const REPEAT_BLOCKS: BlockNumber = 12;
/// What is never submitted again.
const NEVER: BlockNumber = BlockNumber::MAX;
/// How often what is outgoing is looked at without a change.
const INTERVAL: Duration = Duration::from_secs(2);

/// What one TEE has for the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub identity: WorkerId,
    pub items: Vec<Outgoing>,
}

/// Signatures of seats under roots, until all seats of one have signed.
#[derive(Default)]
pub(crate) struct Roots(Mutex<BTreeMap<Hash, BTreeMap<WorkerId, [u8; 64]>>>);

impl Roots {
    /// Adds a signature; returns all of them, in the order of the seats, once they are all there.
    fn sign(&self, root: &RootRecord, seat: WorkerId, signature: [u8; 64]) -> Option<Vec<[u8; 64]>> {
        let mut roots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let signatures = roots.entry(blake2_256(&root.encode())).or_default();
        signatures.insert(seat, signature);
        root.seats.iter().map(|seat| signatures.get(seat).copied()).collect()
    }
}

/// Submits what comes, but for what goes at once, as `account`, for ever.
pub(crate) async fn submit_all(
    shared: &Shared,
    account: &Account,
    tee: &str,
    mut outgoing: watch::Receiver<Option<Pending>>,
) {
    let (mut submitted, mut leaving) = (Submitted::default(), egress::Lane::default());
    let mut connections = shared.link.connections();
    let heads = shared.link.height();
    loop {
        let pending = outgoing.borrow_and_update().clone();
        if let Some(Pending { identity, mut items }) = pending {
            items.retain(|item| Way::of(item).is_none());
            let sent = egress::split(&mut items);
            let height = *heads.borrow();
            // What another connection was told may be in a block that its node did not finalise before it died.
            if connections != shared.link.connections() {
                connections = shared.link.connections();
                (submitted, leaving) = (Submitted::default(), egress::Lane::default());
            }
            let pending = Pending { identity, items };
            turns::take(&mut submitted, &pending, height, beacon::turn);
            turns::take(&mut submitted, &pending, height, identities::turn);
            let due = submitted.due(&pending.items, height);
            if let Err(error) = submit(shared, account, identity, &due, &mut submitted).await {
                submitted.forget(&due);
                shared.link.failed(&error).await;
                tracing::warn!(tee, %error, hint = error.hint, "cannot submit what the TEE has for the chain");
                tokio::time::sleep(INTERVAL).await;
            }
            if let Err(error) = leaving.submit(shared, account, sent, height).await {
                shared.link.failed(&error).await;
                tracing::warn!(tee, %error, hint = error.hint, "cannot submit what contracts send out of their cluster");
            }
        }
        tokio::select! {
            changed = outgoing.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// From which height on what was submitted is submitted again, by its bytes.
#[derive(Default)]
struct Submitted(BTreeMap<Hash, BlockNumber>);

impl Submitted {
    /// What of `items` is to be submitted at `height`; notes that it is. What a TEE no longer repeats is forgotten.
    fn due(&mut self, items: &[Outgoing], height: BlockNumber) -> Vec<Outgoing> {
        let names: Vec<Hash> = items.iter().map(name).collect();
        self.keep_only(&names);
        let mut due = Vec::new();
        for (item, name) in items.iter().zip(names) {
            if self.is_due(&name, height) {
                self.rest(name, height.saturating_add(REPEAT_BLOCKS));
                due.push(item.clone());
            }
        }
        due
    }

    /// Forgets all others.
    fn keep_only(&mut self, names: &[Hash]) {
        self.0.retain(|name, _| names.contains(name));
    }

    fn is_due(&self, name: &Hash, height: BlockNumber) -> bool {
        self.0.get(name).is_none_or(|again| height >= *again)
    }

    /// Whether something is known of it.
    fn is_known(&self, name: &Hash) -> bool {
        self.0.contains_key(name)
    }

    /// It is not due before `until`.
    fn rest(&mut self, name: Hash, until: BlockNumber) {
        self.0.insert(name, until);
    }

    /// Has `items` due again, but for those that are never.
    fn forget(&mut self, items: &[Outgoing]) {
        for item in items {
            let name = name(item);
            if self.0.get(&name) != Some(&NEVER) {
                self.0.remove(&name);
            }
        }
    }
}

/// By which it is told apart: its bytes, but for the proof of a partial of the beacon, which may be another each time.
fn name(item: &Outgoing) -> Hash {
    match item {
        Outgoing::BeaconPartial { era, period, partial } => {
            blake2_256(&(b"beacon partial", era, period, partial.index).encode())
        }
        _ => blake2_256(&item.encode()),
    }
}

/// Submits everything that is due, results last and together, and notes what is never to be submitted again.
async fn submit(
    shared: &Shared,
    account: &Account,
    tee: WorkerId,
    due: &[Outgoing],
    submitted: &mut Submitted,
) -> Result<(), ClientError> {
    let mut results = Vec::new();
    for item in due {
        let call = match item {
            Outgoing::Register { registration, evidence } => {
                shared.collaterals.submit_before_registration(shared).await;
                ChainCall::register(registration, evidence)
            }
            Outgoing::AnnounceKey { cluster, era, epoch, public_key, signature } => {
                ChainCall::announce_key(*cluster, *era, *epoch, public_key, tee, *signature)
            }
            Outgoing::Rekey(rekey) => ChainCall::submit_rekey(rekey),
            Outgoing::RecordRoot { root, signature } => {
                record_root(shared, root, tee, *signature).await?;
                continue;
            }
            Outgoing::Result(result) => {
                results.push(result.clone());
                continue;
            }
            Outgoing::BeaconKey(_) | Outgoing::BeaconPartial { .. } => {
                match beacon::call(&shared.link.chain().await, item).await? {
                    Some(call) => call,
                    None => continue,
                }
            }
            Outgoing::Heartbeat(signed) => match heartbeat::call(&shared.link.chain().await, signed).await? {
                Some(call) => call,
                None => continue,
            },
            Outgoing::ShowIdentities(record) => {
                let chain = shared.link.chain().await;
                match identities::is_asked_for(&chain, record).await? {
                    true => ChainCall::show_identities(record),
                    false => continue,
                }
            }
            // Statements, signatures and egress go their own ways, and the others are no extrinsics.
            Outgoing::State(_)
            | Outgoing::StateWith { .. }
            | Outgoing::StateIdentity { .. }
            | Outgoing::AttachSignature { .. }
            | Outgoing::Egress(_)
            | Outgoing::AskKeys(_)
            | Outgoing::AnswerKeys { .. }
            | Outgoing::Introduce { .. }
            | Outgoing::Post { .. }
            | Outgoing::Sign { .. } => continue,
        };
        if submit_one(shared, account, &call).await? == Settled::Never {
            submitted.rest(name(item), NEVER);
        }
    }
    for batch in results.chunks(MAX_RESULTS_PER_SUBMIT as usize) {
        submit_results(shared, account, batch).await?;
    }
    Ok(())
}

/// A batch fails whole when one of its results does, so that results which are there already are then told apart one by one.
async fn submit_results(shared: &Shared, account: &Account, batch: &[SignedResult]) -> Result<(), ClientError> {
    let chain = shared.link.chain().await;
    match chain.submit(account, &ChainCall::submit_results(batch), Until::InBlock).await {
        Ok(included) => {
            tracing::info!(block = included.block, results = batch.len(), "results submitted");
            Ok(())
        }
        Err(SubmitError::Pallet(_)) if batch.len() > 1 => {
            for result in batch {
                submit_one(shared, account, &ChainCall::submit_results(std::slice::from_ref(result))).await?;
            }
            Ok(())
        }
        Err(error) => settled("Contracts.submit_results", error).map(|_| ()),
    }
}

async fn submit_one(shared: &Shared, account: &Account, call: &ChainCall) -> Result<Settled, ClientError> {
    let chain = shared.link.chain().await;
    match chain.submit(account, call, Until::InBlock).await {
        Ok(included) => {
            tracing::info!(block = included.block, call = call.label(), "submitted");
            Ok(Settled::Done)
        }
        Err(error) => settled(&call.label(), error),
    }
}

/// Records a root once all of its seats have signed, if we may.
async fn record_root(
    shared: &Shared,
    root: &RootRecord,
    seat: WorkerId,
    signature: [u8; 64],
) -> Result<(), ClientError> {
    let Some(signatures) = shared.roots.sign(root, seat, signature) else {
        tracing::info!(era = root.era, "a root waits for the signatures of its other seats");
        return Ok(());
    };
    let Some(governance) = &shared.governance else {
        tracing::warn!(
            era = root.era,
            root = phala_protocol::ids::to_hex(&root.encode()),
            signatures = phala_protocol::ids::to_hex(&signatures.encode()),
            "a root is signed by all of its seats: governance must call Attestation.record_root with it"
        );
        return Ok(());
    };
    let chain = shared.link.chain().await;
    let call = ChainCall::record_root(root, &signatures);
    match chain.submit_sudo(governance, &call, Until::InBlock).await {
        Ok(included) => {
            tracing::info!(block = included.block, era = root.era, "root recorded");
            Ok(())
        }
        Err(error) => settled("Attestation.record_root", error).map(|_| ()),
    }
}

/// What remains an error of a submission that had no effect; else what it is taken for.
fn settled(call: &str, error: SubmitError) -> Result<Settled, ClientError> {
    let verdict = judge(&error);
    match verdict {
        Settled::Done => tracing::debug!(call, %error, "the chain has it already, or asks for it no more"),
        // Submitting it again at once changes nothing; the TEE sees the same chain and repeats it or not.
        Settled::Later => tracing::warn!(call, %error, "the chain refuses; trying again later"),
        Settled::Never => tracing::warn!(call, %error, "the chain will never take it; not trying again"),
        Settled::Failed => return Err(error.into()),
    }
    Ok(verdict)
}

#[derive(Debug, PartialEq, Eq)]
enum Settled {
    /// It is there, or not asked for any more.
    Done,
    /// Something may change.
    Later,
    /// These bytes are not taken, whenever they come.
    Never,
    /// Nobody took it.
    Failed,
}

fn judge(error: &SubmitError) -> Settled {
    match error {
        SubmitError::Pallet(PalletError { pallet, error }) => match (pallet.as_str(), error.as_str()) {
            // Voted, or acknowledged because it is final.
            ("Contracts", "AlreadyVoted" | "NoSuchBoundary" | "NothingToRekey")
            // Another relayer brought it.
            | ("Egress", "AlreadyTaken" | "NotNext" | "NotFinal")
            // Another relayer attached it; or the message's fate is forgotten, and nobody asks any more.
            | ("Egress", "AlreadySigned" | "NotLeft")
            // The epoch has opened, or the root is recorded, by another's submission; or the key is of an era that comes no more.
            | ("Contracts", "WrongEpoch" | "WrongEra")
            // It stands, or its attempt or phase is over, or its seat is left out: nothing of it counts any more.
            | ("Gatekeepers", "AlreadyStated" | "WrongAttempt" | "WrongEra" | "NoCeremony" | "WrongPhase" | "TooLate" | "TakesNoPart")
            // No further answer of that dealer is taken in this attempt.
            | ("Gatekeepers", "TooManyAnswers")
            | ("Attestation", "WrongEra" | "RootAnswers" | "CollateralNotNewer")
            // Another relayer was first, or its time or its root is over.
            | ("Beacon", "NotAwaited" | "NotDue" | "AlreadyTaken")
            | ("Heartbeats", "NoRound" | "OtherRound" | "TooLate" | "AlreadyAnswered" | "NotSampled") => Settled::Done,
            // The chain compared it with a key or a hash that does not change.
            ("Beacon", "WrongRecord" | "BadRecord" | "NoSuchHolder" | "BadPartial")
            // Or with the hash that holders confirmed, or with the network's keys.
            | ("Gatekeepers", "OtherRecord")
            | ("Egress", "BadSignature")
            | ("Heartbeats", "OtherChain" | "BadSignature") => Settled::Never,
            _ => Settled::Later,
        },
        SubmitError::Dispatch { .. } => Settled::Later,
        SubmitError::Rejected { code, .. } if *code == ErrorCode::Busy => Settled::Failed,
        SubmitError::Rejected { .. } => Settled::Later,
        SubmitError::Client(_) => Settled::Failed,
    }
}

#[cfg(test)]
mod tests;
