//! One TEE: asks it what it needs, brings it, and takes what it has for others.

use crate::{
    delivery::{assemble, Assembled},
    link::Backoff,
    mail::Posted,
    operator::Operator,
    outbox::{self, Pending},
    Shared,
};
use codec::Encode;
use phala_client::{ClientError, ErrorCode};
use phala_protocol::{
    hash::blake2_256,
    ids::to_hex,
    relay::{Outgoing, TeeStatus},
    Hash,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{watch, Notify};

/// Where the newest outgoing items are put.
type Outbox = watch::Sender<Option<Pending>>;

/// Pause after a TEE refused a delivery: the next would be refused too, unless the chain has moved.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Serves the TEE at `operator` for ever.
pub(crate) async fn serve(shared: &Shared, operator: &Operator) {
    // What is outgoing is submitted beside, so that a slow block never holds up deliveries.
    let (outgoing, receiver) = watch::channel(None);
    tokio::join!(feed(shared, operator, &outgoing), outbox::submit_all(shared, operator.url(), receiver));
}

async fn feed(shared: &Shared, operator: &Operator, outgoing: &Outbox) {
    let mut heads = shared.link.height();
    let mut backoff = Backoff::default();
    let mut last = None;
    loop {
        let round = match operator.status().await {
            Ok(status) => round(shared, operator, &status, outgoing, &mut last).await,
            Err(error) => Err(error),
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
    last: &mut Option<Asked>,
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
    let arrived = shared.mail.open(status.identity);
    take(shared, status, outgoing);

    let assembled = match assemble(&chain, status).await {
        Ok(assembled) => assembled,
        Err(error) => {
            shared.link.failed(&error).await;
            return Err(error);
        }
    };
    let letters = shared.mail.take(&status.identity);
    let asked = asked(status);
    // A delivery at a known head answers the wanted keys once; the same question has the same answer.
    if !assembled.has_news() && letters.is_empty() && *last == Some(asked) {
        return Ok(Round::Idle(arrived));
    }
    let Assembled { mut delivery, more } = assembled;
    letters.put_into(&mut delivery);
    match operator.deliver(&delivery).await {
        Ok(after) => {
            tracing::debug!(tee = operator.url(), height = after.height, more, "delivered");
            *last = Some(asked);
            take(shared, &after, outgoing);
            // A TEE that took nothing of it would be brought the same again at once: it gets the pause of an idle one.
            let stuck = !more && after.height == status.height && after.inboxes == status.inboxes;
            Ok(if stuck { Round::Idle(arrived) } else { Round::Again })
        }
        Err(error) => {
            shared.mail.lost(&status.identity);
            *last = None;
            Err(error)
        }
    }
}

/// Takes what a TEE has for others.
fn take(shared: &Shared, status: &TeeStatus, outgoing: &Outbox) {
    let mut for_chain = Vec::new();
    for item in &status.outgoing {
        match item {
            Outgoing::AskKeys(inquiry) => {
                let collateral = shared.collaterals.for_evidence(&inquiry.evidence);
                let without = collateral.is_empty();
                let gatekeeper = inquiry.request.request.gatekeeper;
                match shared.mail.ask(inquiry, collateral) {
                    Posted::Unserved => {
                        tracing::debug!(%gatekeeper, "a request is for a gatekeeper that is not served here")
                    }
                    Posted::New if without => {
                        tracing::warn!(worker = %status.identity, "no collateral for this worker's evidence: gatekeepers will refuse it");
                    }
                    Posted::New => {
                        tracing::info!(worker = %status.identity, %gatekeeper, "carrying a request for keys")
                    }
                    Posted::Known => {}
                }
            }
            Outgoing::AnswerKeys { worker, request, answer } => match shared.mail.answer(worker, request, answer) {
                Posted::Unserved => tracing::debug!(%worker, "an answer is for a worker that is not served here"),
                Posted::New => tracing::info!(%worker, "carrying an answer with keys"),
                Posted::Known => {}
            },
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

fn asked(status: &TeeStatus) -> Asked {
    blake2_256(&(status.head, &status.wanted_keys, &status.inboxes, &status.wanted_codes).encode())
}
