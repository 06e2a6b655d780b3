//! Carries finality, proofs and messages from the chain to TEEs, and what TEEs have to say back.
//!
//! Guarantees: a TEE whose operator endpoint answers is brought forward to the chain's finalised head with everything it asks for, block
//! by block; what it has for the chain is submitted until it is there; a relayer that is stopped at any point loses nothing, because
//! it keeps nothing: TEEs repeat what has not arrived. Nothing that a node or TEE answers makes it panic or stop.
//!
//! It is trusted by nobody. Node and TEEs check all that it carries; the only secret in it is the operator's account, which pays. Who
//! controls its inputs: the node, the TEEs' hosts. Does not do: judge proofs, hold network keys, listen on a port.
#![forbid(unsafe_code)]

mod collateral;
mod delivery;
mod link;
mod mail;
mod operator;
mod outbox;
mod refusal;
mod tee;

use collateral::Collaterals;
use link::NodeLink;
use mail::Mail;
use phala_client::{Account, ClientError};
use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// A TEE's operator endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeeEndpoint {
    /// Such as `http://127.0.0.1:8100`; `/operator/v1/...` is added.
    pub operator_url: String,
}

/// What a relayer needs.
#[derive(Debug)]
pub struct RelayerConfig {
    /// The node's JSON-RPC, `ws://...`.
    pub node: String,
    /// The TEEs that are served, workers and gatekeepers; gatekeepers get only the requests of workers in the same list.
    pub tees: Vec<TeeEndpoint>,
    /// The operator: signs and pays for extrinsics, and is the one that evidence names.
    pub operator: Account,
    /// Whoever may record roots by sudo, on development networks.
    pub governance: Option<Account>,
    /// Files of SCALE `phala_attest::Collateral`, one for each platform model; read again when they change.
    pub collateral: Vec<PathBuf>,
    /// How long to wait for a new head before asking TEEs again.
    pub poll_interval: Duration,
}

impl RelayerConfig {
    /// With the usual interval, no governance and no collateral.
    pub fn new(node: impl Into<String>, tees: Vec<TeeEndpoint>, operator: Account) -> Self {
        Self {
            node: node.into(),
            tees,
            operator,
            governance: None,
            collateral: Vec::new(),
            poll_interval: Duration::from_millis(250),
        }
    }
}

/// What the relayer's tasks share.
struct Shared {
    link: NodeLink,
    mail: Mail,
    operator: Account,
    governance: Option<Account>,
    collaterals: Collaterals,
    roots: outbox::Roots,
    poll_interval: Duration,
}

/// Relays until `shutdown` is ready. Node and TEEs may come and go meanwhile; only a configuration that can never work is an error.
pub async fn run(config: RelayerConfig, shutdown: impl Future<Output = ()>) -> Result<(), ClientError> {
    let endpoints =
        config.tees.iter().map(|tee| operator::Operator::new(&tee.operator_url)).collect::<Result<Vec<_>, _>>()?;
    tracing::info!(node = config.node, tees = endpoints.len(), operator = config.operator.address(), "relaying");
    let shared = Arc::new(Shared {
        link: NodeLink::new(config.node),
        mail: Mail::default(),
        operator: config.operator,
        governance: config.governance,
        collaterals: Collaterals::new(config.collateral),
        roots: outbox::Roots::default(),
        poll_interval: config.poll_interval,
    });
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let shared = shared.clone();
        async move { shared.link.follow_heads().await }
    });
    tasks.spawn({
        let shared = shared.clone();
        async move { shared.collaterals.keep_fresh(&shared).await }
    });
    for endpoint in endpoints {
        let shared = shared.clone();
        tasks.spawn(async move { tee::serve(&shared, &endpoint).await });
    }
    // No task ends by itself; dropping the set stops them all, between one carried thing and the next.
    shutdown.await;
    tracing::info!("stopped relaying");
    Ok(())
}
