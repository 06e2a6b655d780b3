//! One TEE: asks it what it needs, brings it, and takes what it has for others.

use crate::{
    attachments::{Brought, Due},
    delivery::{assemble, Assembled},
    link::Backoff,
    mail::{Letter, Posted, Sender},
    operator::Operator,
    outbox::{self, Pending},
    registrations::Evidenced,
    Shared,
};
use codec::Encode;
use phala_client::{Account, Chain, ClientError, ErrorCode};
use phala_protocol::{
    ceremony::Introduction,
    chain_state::WorkerRecord,
    hash::blake2_256,
    ids::to_hex,
    relay::{KeyInquiry, Outgoing, TeeStatus},
    Hash, WorkerId,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{watch, Notify};

/// Where the newest outgoing items are put.
type Outbox = watch::Sender<Option<Pending>>;

/// Pause after a TEE refused a delivery: the next would be refused too, unless the chain has moved.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Serves the TEE at `operator` for ever; its extrinsics are `account`'s.
pub(crate) async fn serve(shared: &Arc<Shared>, operator: &Operator, account: &Arc<Account>) {
    // What is outgoing is submitted beside, so that a slow block never holds up deliveries; statements, which have deadlines, beside
    // everything else.
    let (outgoing, receiver) = watch::channel(None);
    let statements = outgoing.subscribe();
    tokio::join!(
        feed(shared, operator, &outgoing),
        outbox::submit_all(shared, account, operator.url(), receiver),
        outbox::submit_statements(shared, account, operator.url(), statements),
    );
}

/// What is remembered of a TEE while it answers.
#[derive(Default)]
struct Memory {
    asked: Option<Asked>,
    brought: Brought,
}

async fn feed(shared: &Shared, operator: &Operator, outgoing: &Outbox) {
    let mut heads = shared.link.height();
    let mut backoff = Backoff::default();
    let mut memory = Memory::default();
    loop {
        let round = match operator.status().await {
            Ok(status) => round(shared, operator, &status, outgoing, &mut memory).await,
            Err(error) => {
                // It may be another process when it answers again.
                memory = Memory::default();
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

    let mut assembled = match assemble(&chain, status).await {
        Ok(assembled) => assembled,
        Err(error) => {
            shared.link.failed(&error).await;
            return Err(error);
        }
    };
    memory.brought.look(status);
    let names = attach(shared, &chain, status, &mut assembled, &memory.brought).await;
    introduce(shared, &chain, status).await;
    let letters = shared.mail.take(&status.identity);
    let asked = asked(status);
    // A delivery at a known head answers the wanted keys once; the same question has the same answer.
    if !assembled.has_news() && letters.is_empty() && memory.asked == Some(asked) {
        return Ok(Round::Idle(arrived));
    }
    let Assembled { mut delivery, more, .. } = assembled;
    letters.put_into(&mut delivery);
    match operator.deliver(&delivery).await {
        Ok(after) => {
            tracing::debug!(tee = operator.url(), height = after.height, more, "delivered");
            memory.asked = Some(asked);
            memory.brought.took(names);
            take(shared, &after, outgoing);
            // A TEE that took nothing of it would be brought the same again at once: it gets the pause of an idle one.
            let stuck = !more && after.height == status.height && after.inboxes == status.inboxes;
            Ok(if stuck { Round::Idle(arrived) } else { Round::Again })
        }
        Err(error) => {
            shared.mail.lost(&status.identity);
            *memory = Memory::default();
            Err(error)
        }
    }
}

/// Adds what stands on chain beside statements of the attempt that the TEE takes part in, and was not brought; gives its names. Without
/// it the delivery is still worth bringing.
async fn attach(
    shared: &Shared,
    chain: &Chain,
    status: &TeeStatus,
    assembled: &mut Assembled,
    brought: &Brought,
) -> Vec<Hash> {
    let (Some(attempt), Some(height)) = (status.attempt, assembled.proved_at) else { return Vec::new() };
    match shared.attachments.due(chain, attempt, height, brought).await {
        Ok(Due { attachments, names, more }) => {
            if !names.is_empty() {
                tracing::debug!(tee = %status.identity, count = names.len(), "carrying what stands beside statements");
            }
            assembled.delivery.attachments = attachments;
            assembled.more |= more;
            names
        }
        Err(error) => {
            tracing::warn!(tee = %status.identity, %error, "cannot look for what stands beside statements");
            shared.link.failed(&error).await;
            Vec::new()
        }
    }
}

/// Tells the mailbox of a gatekeeper that takes part in a ceremony what the chain holds of the other seats, and introduces to it those
/// that complained. Without it, what others send is still carried.
async fn introduce(shared: &Shared, chain: &Chain, status: &TeeStatus) {
    let Some(attempt) = status.attempt else {
        shared.mail.note_registered(&status.identity, Arc::default());
        return;
    };
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
    shared.mail.note_registered(&status.identity, seats.registered.clone());
    let keys = shared.attachments.keys(attempt).await;
    for introduction in seats.accusers(&status.identity, attempt, &keys) {
        let from = introduction.registration.identity;
        let posted = shared.mail.post(Sender::Chain(from), &status.identity, Letter::Introduction(introduction));
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
        Posted::New => tracing::info!(%from, %to, what, "carrying"),
        Posted::Known => {}
        Posted::Full | Posted::NotYet => tracing::debug!(%from, %to, what, "as many letters wait as may"),
        Posted::TooLong => tracing::warn!(%from, %to, what, "no letter is as long; it is not carried"),
    }
}

fn asked(status: &TeeStatus) -> Asked {
    blake2_256(&(status.head, &status.wanted_keys, &status.inboxes, &status.wanted_codes).encode())
}
