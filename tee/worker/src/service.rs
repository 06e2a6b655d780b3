//! What the listeners share: the TEE behind one lock, and the snapshot that everybody else is answered from beside it.
//!
//! Guarantees: deliveries are taken one at a time and block nobody else: neither a query nor a question about the process ever waits
//! for one. Whoever waits for the TEE has a turn ([`in_turn`]), and nothing of his is here any more when his request ends before it. A panic while
//! the lock is held (a defect of ours) stops the process's answers with an error instead of going on from a half-changed state.

use crate::{limits::Limits, metrics::Metrics, snapshot::Snapshot};
use phala_attest::Subject;
use phala_core::{DeliveryError, IdentityPart, Layout, Notice, Seen, SnapshotRefusal, SuspensionRefusal, Tee};
use phala_protocol::{
    attestation::Role,
    brake::{SignedSuspension, SuspensionRequest},
    ids::to_hex,
    relay::{Delivery, TeeStatus},
    snapshot::{SnapshotHeader, SnapshotPart},
    AccountId, Hash,
};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

/// Requests that have a turn with the TEE: it works for one, and another is decoded, and ready when it has done.
pub(crate) const TURNS: usize = 2;

/// The process's state.
pub(crate) struct Service {
    tee: Mutex<Tee>,
    turns: Arc<Semaphore>,
    /// Locked for as long as a pointer takes to copy.
    present: Mutex<Arc<Snapshot>>,
    pub seen: Seen,
    pub metrics: Metrics,
    pub operator: AccountId,
    pub role: Role,
    /// Of the engine for contracts; none without one.
    pub layout: Option<Layout>,
    pub limits: Limits,
}

/// The TEE's lock is poisoned by a defect of ours; only a restart helps.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the TEE stopped after an internal error; restart it")]
pub(crate) struct Stopped;

impl Service {
    pub(crate) fn new(tee: Tee, operator: AccountId, role: Role, limits: Limits) -> Self {
        let present = Mutex::new(Arc::new(Snapshot::of(&tee)));
        let (seen, metrics, layout) = (Seen::default(), Metrics::default(), tee.layout());
        let turns = Arc::new(Semaphore::new(TURNS));
        Self { tee: Mutex::new(tee), turns, present, seen, metrics, operator, role, layout, limits }
    }

    /// What the relayer should fetch and carry next. Waits for a delivery that is under way: it would be out of date.
    pub(crate) fn status(&self) -> Result<TeeStatus, Stopped> {
        self.tee.lock().map(|tee| tee.status()).map_err(|_| Stopped)
    }

    /// How things stand. Waits for nothing.
    pub(crate) fn present(&self) -> Result<Arc<Snapshot>, Stopped> {
        if self.tee.is_poisoned() {
            return Err(Stopped);
        }
        // Nothing can go wrong between taking it and giving it back.
        Ok(self.present.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Takes a delivery. Blocks while it executes.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Result<Result<TeeStatus, DeliveryError>, Stopped> {
        let mut tee = self.tee.lock().map_err(|_| Stopped)?;
        let (notices, taken) = tee.deliver_watched(delivery, &mut |tee| self.publish(tee));
        notices.iter().for_each(|notice| self.note(notice));
        self.publish(&tee);
        self.metrics.delivered(taken.is_ok());
        Ok(taken.map(|()| tee.status()))
    }

    /// Signs a gatekeeper's part of a suspension for the operator, and logs every one that is asked for, signed or not: it is a decision
    /// that others may want to see. Waits for a delivery that is under way.
    pub(crate) fn sign_suspension(
        &self,
        request: &SuspensionRequest<Subject>,
    ) -> Result<Result<SignedSuspension<Subject>, SuspensionRefusal>, Stopped> {
        let signed = self.tee.lock().map_err(|_| Stopped)?.sign_suspension(request);
        let (subject, expires) = (request.subject, request.expires);
        match &signed {
            Ok(SignedSuspension { era, seat, sequence, .. }) => {
                warn!(
                    ?subject,
                    sequence, expires, era, seat, "signed this seat's part of a suspension for the operator"
                );
            }
            Err(refusal) => warn!(?subject, expires, %refusal, "signed no part of a suspension"),
        }
        Ok(signed)
    }

    /// Begins a snapshot of the cluster's state. Waits for a delivery that is under way.
    pub(crate) fn begin_snapshot(&self) -> Result<Result<SnapshotHeader, SnapshotRefusal>, Stopped> {
        let mut tee = self.tee.lock().map_err(|_| Stopped)?;
        let begun = tee.begin_snapshot();
        if let Ok(SnapshotHeader { cluster, epoch, boundary, .. }) = &begun {
            self.publish(&tee);
            info!(%cluster, epoch, block = boundary.block, "hands out a snapshot of the cluster's state");
        }
        Ok(begun)
    }

    /// A part of the snapshot that is handed out. Waits for no delivery.
    pub(crate) fn snapshot_part(
        &self,
        id: &Hash,
        index: u32,
    ) -> Result<Result<SnapshotPart, SnapshotRefusal>, Stopped> {
        let present = self.present()?;
        Ok(match &present.handed_out {
            Some(source) => source.part(id, index),
            None if self.role == Role::Gatekeeper => Err(SnapshotRefusal::NotAWorker),
            None => Err(SnapshotRefusal::Unknown),
        })
    }

    fn publish(&self, tee: &Tee) {
        let snapshot = Arc::new(Snapshot::of(tee));
        self.metrics.stands(&snapshot);
        let before = std::mem::replace(&mut *self.present.lock().unwrap_or_else(PoisonError::into_inner), snapshot);
        // Here, and not where the lock is held: it may be the last of a version of the store.
        drop(before);
    }

    /// Logs what happened. Notices carry nothing secret.
    fn note(&self, notice: &Notice) {
        match notice {
            Notice::Registered => info!("registered on chain"),
            Notice::EpochKeys { cluster, epoch } => info!(%cluster, epoch, "received the keys of an epoch"),
            Notice::AnswerRefused { cluster, gatekeeper, era, epoch, request, error } => {
                let request = to_hex(request);
                warn!(
                    %cluster, %gatekeeper, era, epoch, request, %error,
                    "refused what was said to be a gatekeeper's answer; waits for the true one. More of them are counted"
                );
            }
            Notice::Executed { cluster, block, items } => {
                self.metrics.executed(*items);
                info!(%cluster, block, items, "executed a boundary");
            }
            Notice::ResultFinal { cluster, block, count } => info!(%cluster, block, count, "a result is final"),
            Notice::Diverged { cluster, block } => {
                error!(%cluster, block, "the chain's final result is not ours; stopped for this cluster");
            }
            Notice::StateLacked { cluster, epoch, why } => {
                warn!(
                    %cluster, epoch, %why,
                    "has the keys of the open epoch and not the cluster's state; waits for a snapshot of another replica's"
                );
            }
            Notice::StateTakenOver { cluster, block, count } => {
                info!(%cluster, block, count, "took the cluster's state over from a snapshot; goes on from there");
            }
            Notice::ClusterClosed { cluster } => {
                error!(
                    %cluster,
                    "governance has closed the cluster for good; its keys are dropped from memory, and its state once the chain has \
                     taken what it sent: a restart before loses that. The sealed file stays on the disk, and nothing opens it again"
                );
            }
            Notice::KeysGiven { number, worker, cluster, era, epoch, request, purposes, recent } => {
                let request = to_hex(request);
                info!(
                    number, %worker, %cluster, era, epoch, purposes, recent, request, "gave the keys of an epoch"
                )
            }
            Notice::KeysRefused { number, worker, cluster, era, epoch, request, refusal } => {
                let request = to_hex(request);
                warn!(number, %worker, %cluster, era, epoch, request, %refusal, "refused keys")
            }
            Notice::CeremonyBegun { era, attempt, index } => {
                info!(era, attempt, index, "takes part in a key ceremony")
            }
            Notice::CeremonyFailed { era, attempt, error } => {
                warn!(era, attempt, %error, "takes no part in a key ceremony")
            }
            Notice::PeerRefused { peer, refusal } => {
                warn!(%peer, %refusal, "refused another gatekeeper's introduction")
            }
            Notice::CeremonyConfirmed { era, attempt } => info!(era, attempt, "holds and confirms its share of a root"),
            Notice::RootRecorded { era } => info!(era, "the root of a seat is recorded on chain"),
            Notice::SeatDropped { era, attempt } => {
                info!(era, attempt, "dropped a seat: another root of its era is recorded")
            }
            Notice::SeatRetired { era } => info!(era, "retired: the seat of an era that is over is gone"),
            Notice::IdentitiesBegun { era, attempt, dealer, holder } => {
                info!(era, attempt, dealer, holder, "takes part in a ceremony of identities")
            }
            Notice::IdentitiesFailed { era, attempt, part, error } => {
                let part = match part {
                    IdentityPart::Dealer => "dealer",
                    IdentityPart::Holder => "holder",
                };
                warn!(era, attempt, part, %error, "takes no part in a ceremony of identities")
            }
            Notice::IdentitiesConfirmed { era, attempt } => {
                info!(era, attempt, "has and confirms its shares of identities")
            }
            Notice::IdentitiesReceived { era } => info!(era, "holds shares of identities; former ones are dropped"),
            Notice::IdentitiesDropped { era } => {
                info!(era, "another set holds the identities; the shares that were here are dropped")
            }
            Notice::IdentitiesLost { era } => {
                warn!(era, "is recorded as a holder of identities, and has no shares of that era, or no more")
            }
            Notice::MessageSigned { cluster, sequence, scheme } => {
                info!(%cluster, sequence, ?scheme, "put a contract's signature together")
            }
            Notice::SigningEnded { cluster, sequence, reason } => {
                warn!(%cluster, sequence, %reason, "signs a contract's message no more")
            }
            Notice::SignatureSpoiled { gatekeeper } => {
                warn!(%gatekeeper, "sent a wrong part of a signature; it is left out of those that are led here")
            }
        }
    }
}

/// Runs work that needs the TEE, in its turn. Whoever gives up before that leaves nothing behind; what has begun holds its turn until it is
/// done, whether or not anybody waits for it: so neither threads nor what they work on pile up behind a long execution.
pub(crate) async fn in_turn<T: Send + 'static>(
    service: Arc<Service>,
    work: impl FnOnce(&Service) -> T + Send + 'static,
) -> Result<T, Stopped> {
    // An error would say that nobody has turns any more: they are never closed.
    let turn = service.turns.clone().acquire_owned().await.map_err(|_| Stopped)?;
    blocking(service, move |service| {
        let _turn = turn;
        work(service)
    })
    .await
}

/// Runs blocking work off the event loop: work that waits for nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    service: Arc<Service>,
    work: impl FnOnce(&Service) -> T + Send + 'static,
) -> Result<T, Stopped> {
    tokio::task::spawn_blocking(move || work(&service)).await.map_err(|_| Stopped)
}
