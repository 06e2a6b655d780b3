//! How the process stands, as of the last thing that changed it: what the listeners answer from without waiting for the TEE.
//!
//! Guarantees: a snapshot is of one moment, and never changes; it is replaced after the chain's records of a delivery were taken
//! and after every boundary, so that a long execution leaves it behind by one boundary and not by a whole delivery. Nothing in it is
//! secret but [`Snapshot::serving`], which answers sealed queries and shows nothing else, and [`Snapshot::handed_out`], which seals what it
//! gives.

use phala_core::{ClusterHealth, GateHealth, Serving, SnapshotSource, Tee};
use phala_protocol::{attestation::Registration, chain_state::WorkerRecord, ids::BlockNumber, Hash, WorkerId};
use std::sync::Arc;

/// One moment of a TEE.
pub(crate) struct Snapshot {
    pub identity: WorkerId,
    pub genesis: Hash,
    pub is_development: bool,
    /// Number and hash of the finalised block it has verified.
    pub head: (BlockNumber, Hash),
    /// What the chain has registered.
    pub registration: Option<WorkerRecord>,
    /// The evidence it last made, and what that binds.
    pub attested: Option<(Registration, Vec<u8>)>,
    /// A worker's cluster.
    pub cluster: Option<ClusterHealth>,
    /// A gatekeeper's seats and ceremony.
    pub gate: Option<GateHealth>,
    /// What queries are answered from.
    pub serving: Option<Serving>,
    /// The snapshot of the cluster's state that is handed out.
    pub handed_out: Option<Arc<SnapshotSource>>,
}

impl Snapshot {
    pub(crate) fn of(tee: &Tee) -> Self {
        Self {
            identity: tee.identity(),
            genesis: tee.genesis(),
            is_development: tee.is_development(),
            head: tee.head(),
            registration: tee.registration(),
            attested: tee.attested().cloned(),
            cluster: tee.cluster_health(),
            gate: tee.gate_health(),
            serving: tee.serving(),
            handed_out: tee.snapshot(),
        }
    }
}
