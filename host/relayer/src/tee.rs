//! One TEE: asks it what it needs, brings it, and takes what it has for others.

use crate::{
    attachments::{Attachments, AttemptId, Brought, Due},
    delivery::{assemble, Assembled},
    inboxes::Turns,
    link::Backoff,
    mail::{Letter, Posted, Sender},
    messages::{self, Shown},
    operator::Operator,
    outbox::{self, Pending, Way},
    registrations::Evidenced,
    snapshots::{self, Kept},
    Shared,
};
use codec::Encode;
use phala_client::{Account, Chain, ClientError, ErrorCode};
use phala_protocol::{
    ceremony::{CeremonyAttempt, Introduction},
    chain_state::WorkerRecord,
    hash::blake2_256,
    ids::{to_hex, BlockNumber},
    relay::{KeyInquiry, Outgoing, TeeStatus},
    snapshot::SnapshotStand,
    Hash, WorkerId,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{watch, Notify};

/// Where the newest outgoing items are put.
type Outbox = watch::Sender<Option<Pending>>;
/// Where it is put how the TEE stands to snapshots.
type Stands = watch::Sender<Option<SnapshotStand>>;

/// Pause after a TEE refused a delivery: the next would be refused too, unless the chain has moved.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Serves the TEE at `operator` for ever; its extrinsics are `account`'s.
pub(crate) async fn serve(shared: &Arc<Shared>, operator: &Operator, account: &Arc<Account>) {
    // What is outgoing is submitted beside, so that a slow block never holds up deliveries; statements, which have deadlines, and
    // signatures, of which there may be many, beside everything else.
    let (outgoing, receiver) = watch::channel(None);
    let (statements, signatures) = (outgoing.subscribe(), outgoing.subscribe());
    let (stands, stand) = watch::channel(None);
    tokio::join!(
        feed(shared, operator, &outgoing, &stands),
        snapshots::keep(&shared.snapshots, operator, stand),
        outbox::submit_all(shared, account, operator.url(), receiver),
        outbox::submit_at_once(Way::Statements, shared, account, operator.url(), statements),
        outbox::submit_at_once(Way::Signatures, shared, account, operator.url(), signatures),
    );
}

/// What is remembered of a TEE while it answers.
#[derive(Default)]
struct Memory {
    asked: Option<Asked>,
    brought: Brought,
    /// The same, of ceremonies of identities.
    brought_of_identities: Brought,
    shown: Shown,
    /// Deliveries in a row with parts of a snapshot that it did not get on with.
    idle_parts: u32,
    /// What the node said of its inboxes, which stays whatever becomes of the TEE.
    turns: Turns,
}

impl Memory {
    /// What was brought counts for nothing any more.
    fn forget(&mut self) {
        *self = Self { turns: std::mem::take(&mut self.turns), ..Self::default() };
    }
}

async fn feed(shared: &Shared, operator: &Operator, outgoing: &Outbox, stands: &Stands) {
    let mut heads = shared.link.height();
    let mut backoff = Backoff::default();
    let mut memory = Memory::default();
    loop {
        let round = match operator.status().await {
            Ok(status) => {
                stands.send_if_modified(|stand| std::mem::replace(stand, status.snapshot) != status.snapshot);
                round(shared, operator, &status, outgoing, &mut memory).await
            }
            Err(error) => {
                // It may be another process when it answers again.
                memory.forget();
                Err(error)
            }
        };
        match round {
            Ok(Round::Again) => backoff = Backoff::default(),
            Ok(Round::Idle(arrived)) => {
                backoff = Backoff::default();
                tokio::select! {
                    _ = heads.changed() => {}
                    () = arrived.notified() => {}
                    () = tokio::time::sleep(shared.poll_interval) => {}
                }
            }
            Err(error) => {
                if backoff.is_first() {
                    tracing::warn!(tee = operator.url(), %error, "cannot serve the TEE");
                }
                if error.code == ErrorCode::Refused {
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                backoff.wait().await;
            }
        }
    }
}

enum Round {
    /// There was something to bring; there may be more.
    Again,
    /// Nothing to do until a head, mail, or some time has come.
    Idle(Arc<Notify>),
}

/// What a delivery without news rests on: the same request at the same head has had its answer.
type Asked = Hash;

async fn round(
    shared: &Shared,
    operator: &Operator,
    status: &TeeStatus,
    outgoing: &Outbox,
    memory: &mut Memory,
) -> Result<Round, ClientError> {
    let chain = shared.link.chain().await;
    if status.genesis != *chain.genesis() {
        return Err(ClientError::new(
            ErrorCode::Refused,
            format!(
                "the TEE follows the chain {}, the node is on {}",
                to_hex(&status.genesis),
                to_hex(chain.genesis())
            ),
        ));
    }
    let arrived = shared.mail.open(status.identity, status.genesis);
    shared.collaterals.note_served(status);
    take(shared, status, outgoing);

    let mut assembled = match assemble(&chain, status, &mut memory.turns).await {
        Ok(assembled) => assembled,
        Err(error) => {
            shared.link.failed(&error).await;
            return Err(error);
        }
    };
    memory.brought.look(status.attempt, status.height);
    memory.brought_of_identities.look(status.identity_attempt, status.height);
    let names = attach(shared, &chain, status, &mut assembled, memory).await;
    let ids = lay_before(shared, &chain, status, &mut assembled, &memory.shown).await;
    introduce(shared, &chain, status).await;
    let of_snapshot = bring_snapshot(shared, status, &mut assembled).await;
    let letters = shared.mail.take(&status.identity);
    let asked = asked(status);
    // A delivery at a known head answers the wanted keys once; the same question has the same answer.
    if !assembled.has_news() && letters.is_empty() && memory.asked == Some(asked) {
        return Ok(Round::Idle(arrived));
    }
    let Assembled { mut delivery, more, proved_at } = assembled;
    letters.put_into(&mut delivery);
    match operator.deliver(&delivery).await {
        Ok(after) => {
            tracing::debug!(tee = operator.url(), height = after.height, more, "delivered");
            memory.asked = Some(asked);
            memory.brought.took(names.of_roots);
            memory.brought_of_identities.took(names.of_identities);
            memory.shown.took(ids, proved_at.unwrap_or(status.height));
            take(shared, &after, outgoing);
            // A TEE that took nothing of it would be brought the same again at once: it gets the pause of an idle one.
            let stuck = !more && after.height == status.height && after.inboxes == status.inboxes;
            let mut takes_parts = false;
            if let Some(of) = &of_snapshot {
                let (before, after) = (status.snapshot.as_ref(), after.snapshot.as_ref());
                takes_parts = before != after;
                shared.snapshots.took(of, before, after, &mut memory.idle_parts);
            }
            Ok(if stuck && !takes_parts { Round::Idle(arrived) } else { Round::Again })
        }
        Err(error) => {
            shared.mail.lost(&status.identity);
            if let Some(of) = of_snapshot.filter(|_| error.code == ErrorCode::Refused) {
                shared.snapshots.refused(&of);
            }
            memory.forget();
            Err(error)
        }
    }
}

/// Names of what is brought of the two kinds of ceremonies.
#[derive(Default)]
struct Names {
    of_roots: Vec<Hash>,
    of_identities: Vec<Hash>,
}

/// Adds what stands on chain beside statements of the attempts that the TEE takes part in, and was not brought; gives its names. Without
/// it the delivery is still worth bringing.
async fn attach(
    shared: &Shared,
    chain: &Chain,
    status: &TeeStatus,
    assembled: &mut Assembled,
    memory: &Memory,
) -> Names {
    let (at, mut names) = (assembled.proved_at, Names::default());
    let of_roots = status.attempt.zip(at);
    if let Some(due) = beside(shared, chain, status, &shared.attachments, of_roots, &memory.brought).await {
        (assembled.delivery.attachments, names.of_roots) = (due.attachments, due.names);
        assembled.more |= due.more;
    }
    let (found, of_identities) = (&shared.identity_attachments, status.identity_attempt.zip(at));
    if let Some(due) = beside(shared, chain, status, found, of_identities, &memory.brought_of_identities).await {
        (assembled.delivery.identity_attachments, names.of_identities) = (due.attachments, due.names);
        assembled.more |= due.more;
    }
    names
}

/// What stands beside statements of an attempt, as of a height, and was not brought; nothing if there is neither, or if it cannot be told.
async fn beside(
    shared: &Shared,
    chain: &Chain,
    status: &TeeStatus,
    found: &Attachments,
    of: Option<(AttemptId, BlockNumber)>,
    brought: &Brought,
) -> Option<Due> {
    let (attempt, height) = of?;
    match found.due(chain, attempt, height, brought).await {
        Ok(due) => {
            if !due.names.is_empty() {
                let count = due.names.len();
                tracing::debug!(tee = %status.identity, count, "carrying what stands beside statements");
            }
            Some(due)
        }
        Err(error) => {
            tracing::warn!(tee = %status.identity, %error, "cannot look for what stands beside statements");
            shared.link.failed(&error).await;
            None
        }
    }
}

/// Adds messages that have left and lack a signature, for a gatekeeper that signs, and gives their ids. Without them the delivery is still
/// worth bringing.
async fn lay_before(
    shared: &Shared,
    chain: &Chain,
    status: &TeeStatus,
    assembled: &mut Assembled,
    shown: &Shown,
) -> Vec<Hash> {
    let (Some(named), Some(height)) = (&status.signing, assembled.proved_at) else { return Vec::new() };
    match shared.messages.due(chain, chain.genesis(), height, named, shown).await {
        Ok(messages::Due { messages, ids, more }) => {
            if !ids.is_empty() {
                tracing::debug!(tee = %status.identity, count = ids.len(), "carrying messages that lack a signature");
            }
            assembled.delivery.messages = messages;
            assembled.more |= more;
            ids
        }
        Err(error) => {
            tracing::warn!(tee = %status.identity, %error, "cannot look for messages that lack a signature");
            shared.link.failed(&error).await;
            Vec::new()
        }
    }
}

/// Adds parts of a snapshot for a TEE that lacks its cluster's state, and gives the snapshot's name. On the way to a head far away it needs
/// none yet.
async fn bring_snapshot(shared: &Shared, status: &TeeStatus, assembled: &mut Assembled) -> Option<Kept> {
    assembled.proved_at?;
    let due = shared.snapshots.due(status.snapshot.as_ref(), &assembled.delivery).await?;
    let from = due.parts.first().map_or(0, |part| part.index);
    tracing::debug!(tee = %status.identity, id = to_hex(&due.of.id), from, count = due.parts.len(), "carrying parts of a snapshot");
    assembled.delivery.snapshot = due.parts;
    Some(due.of)
}

/// Tells the mailbox of a gatekeeper that takes part in a ceremony what the chain holds of the others in it, and introduces to it those
/// that complained. Without it, what others send is still carried.
async fn introduce(shared: &Shared, chain: &Chain, status: &TeeStatus) {
    if status.attempt.is_none() && status.identity_attempt.is_none() {
        shared.mail.note_registered(&status.identity, Arc::default(), Vec::new());
        return;
    }
    let own = |evidence: &[u8]| shared.collaterals.for_evidence(evidence);
    let genesis = chain.genesis();
    let judge = |found: &Evidenced, record: &WorkerRecord| shared.collaterals.judge(found, record, genesis);
    let seats = match shared.registrations.seats(chain, own, judge, Instant::now()).await {
        Ok(seats) => seats,
        Err(error) => {
            tracing::warn!(tee = %status.identity, %error, "cannot look for what the chain holds of other gatekeepers");
            shared.link.failed(&error).await;
            return;
        }
    };
    let of_root = status.attempt.map(|(era, attempt)| CeremonyAttempt::root(era, attempt));
    let of_identities = status.identity_attempt.map(|(era, attempt)| CeremonyAttempt::identities(era, attempt));
    let attempts = of_root.into_iter().chain(of_identities).collect();
    shared.mail.note_registered(&status.identity, seats.registered.clone(), attempts);
    let mut accusers = Vec::new();
    if let Some(attempt) = status.attempt {
        accusers.extend(seats.accusers(&status.identity, attempt, &shared.attachments.keys(attempt).await));
    }
    if let Some(attempt) = status.identity_attempt {
        let keys = shared.identity_attachments.keys(attempt).await;
        accusers.extend(seats.accusers_of_identities(&status.identity, attempt, &keys));
    }
    for introduction in accusers {
        let from = introduction.registration.identity;
        let posted = shared.mail.post(Sender::Complaint(from), &status.identity, Letter::Introduction(introduction));
        if posted == Posted::New {
            tracing::info!(%from, to = %status.identity, "carrying an introduction that was put together from the chain");
        }
    }
}

/// Takes what a TEE has for others.
fn take(shared: &Shared, status: &TeeStatus, outgoing: &Outbox) {
    let mut for_chain = Vec::new();
    for item in &status.outgoing {
        match item {
            Outgoing::AskKeys(inquiry) => {
                let to = inquiry.request.request.gatekeeper;
                let collateral = shared.collaterals.for_evidence(&inquiry.evidence);
                let letter = Letter::Inquiry(Box::new(KeyInquiry { collateral, ..inquiry.clone() }));
                mail(shared, status, &to, letter, "a request for keys");
            }
            Outgoing::AnswerKeys { worker, request, answer } => {
                mail(shared, status, worker, Letter::Answer(*request, answer.clone()), "an answer with keys");
            }
            Outgoing::Introduce { to, introduction } => {
                let collateral = shared.collaterals.for_evidence(&introduction.evidence);
                let letter = Letter::Introduction(Introduction { collateral, ..introduction.clone() });
                mail(shared, status, to, letter, "an introduction");
            }
            Outgoing::Post { to, parcel } => {
                mail(shared, status, to, Letter::Parcel(parcel.clone()), "a sealed message of a ceremony");
            }
            Outgoing::Sign { to, letter } => {
                mail(shared, status, to, Letter::Signing(letter.clone()), "a message of a signing session");
            }
            for_the_chain => for_chain.push(for_the_chain.clone()),
        }
    }
    let pending = Some(Pending { identity: status.identity, items: for_chain });
    outgoing.send_if_modified(|present| {
        let modified = *present != pending;
        *present = pending;
        modified
    });
}

fn mail(shared: &Shared, status: &TeeStatus, to: &WorkerId, letter: Letter, what: &str) {
    let from = &status.identity;
    let without = letter.lacks_collateral();
    // Of these there are hundreds for each signature, where there are as many holders.
    let is_one_of_many = matches!(letter, Letter::Signing(_));
    let posted = match shared.mail.serves(to) {
        true => shared.mail.post(Sender::Tee(*from), to, letter),
        false => shared.peers.post(&status.genesis, to, letter),
    };
    match posted {
        Posted::Unserved => {
            tracing::debug!(%from, %to, what, "whom it is for is served neither here nor by a peer that answers")
        }
        Posted::Foreign => tracing::debug!(%from, %to, what, "whom it is for follows another chain"),
        Posted::New if without => {
            tracing::warn!(%from, %to, what, "carrying without collateral for the evidence in it: it will be refused");
        }
        Posted::New if is_one_of_many => tracing::debug!(%from, %to, what, "carrying"),
        Posted::New => tracing::info!(%from, %to, what, "carrying"),
        Posted::Known => {}
        Posted::Full | Posted::NotYet => tracing::debug!(%from, %to, what, "as many letters wait as may"),
        Posted::TooLong => tracing::warn!(%from, %to, what, "no letter is as long; it is not carried"),
    }
}

fn asked(status: &TeeStatus) -> Asked {
    blake2_256(&(status.head, &status.wanted_keys, &status.inboxes, &status.wanted_codes).encode())
}
