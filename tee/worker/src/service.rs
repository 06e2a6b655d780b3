//! What the listeners share: the TEE behind one lock, and the snapshot that queries are answered from beside it.
//!
//! Guarantees: deliveries are taken one at a time and block nobody else; a query never waits for one. A panic while the lock is
//! held (a defect of ours) stops deliveries with an error instead of going on from a half-changed state.

use crate::metrics::Metrics;
use phala_core::{DeliveryError, Notice, Seen, Serving, Tee};
use phala_protocol::{
    attestation::Role,
    relay::{Delivery, TeeStatus},
    AccountId,
};
use std::sync::{Arc, Mutex, RwLock};
use tracing::{error, info, warn};

/// The process's state.
pub(crate) struct Service {
    tee: Mutex<Tee>,
    serving: RwLock<Option<Serving>>,
    pub seen: Seen,
    pub metrics: Metrics,
    pub operator: AccountId,
    pub role: Role,
}

/// The TEE's lock is poisoned by a defect of ours; only a restart helps.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the TEE stopped after an internal error; restart it")]
pub(crate) struct Stopped;

impl Service {
    pub(crate) fn new(tee: Tee, operator: AccountId, role: Role) -> Self {
        let serving = RwLock::new(tee.serving());
        Self { tee: Mutex::new(tee), serving, seen: Seen::default(), metrics: Metrics::default(), operator, role }
    }

    /// Reads the TEE.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Tee) -> T) -> Result<T, Stopped> {
        self.tee.lock().map(|tee| read(&tee)).map_err(|_| Stopped)
    }

    pub(crate) fn status(&self) -> Result<TeeStatus, Stopped> {
        self.with(Tee::status)
    }

    /// What queries are answered from now.
    pub(crate) fn serving(&self) -> Option<Serving> {
        self.serving.read().ok().and_then(|serving| serving.clone())
    }

    /// Takes a delivery. Blocks while it executes.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Result<Result<TeeStatus, DeliveryError>, Stopped> {
        let mut tee = self.tee.lock().map_err(|_| Stopped)?;
        let (notices, taken) = tee.deliver(delivery);
        notices.iter().for_each(|notice| self.note(notice));
        let serving = tee.serving();
        if let Ok(mut present) = self.serving.write() {
            *present = serving;
        }
        self.metrics.delivered(&tee, taken.is_ok());
        Ok(taken.map(|()| tee.status()))
    }

    /// Logs what happened. Notices carry nothing secret.
    fn note(&self, notice: &Notice) {
        match notice {
            Notice::Registered => info!("registered on chain"),
            Notice::EpochKeys { cluster, epoch } => info!(%cluster, epoch, "received the keys of an epoch"),
            Notice::Executed { cluster, block, items } => {
                self.metrics.executed(*items);
                info!(%cluster, block, items, "executed a boundary");
            }
            Notice::ResultFinal { cluster, block, count } => info!(%cluster, block, count, "a result is final"),
            Notice::Diverged { cluster, block } => {
                error!(%cluster, block, "the chain's final result is not ours; stopped for this cluster");
            }
            Notice::KeysGiven { worker, cluster, epoch } => {
                info!(%worker, %cluster, epoch, "gave the keys of an epoch")
            }
            Notice::KeysRefused { worker, refusal } => warn!(%worker, %refusal, "refused keys"),
        }
    }
}

/// Runs blocking work off the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    service: Arc<Service>,
    work: impl FnOnce(&Service) -> T + Send + 'static,
) -> Result<T, Stopped> {
    tokio::task::spawn_blocking(move || work(&service)).await.map_err(|_| Stopped)
}
