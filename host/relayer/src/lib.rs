//! Carries finality, proofs and messages from the chain to TEEs, and what TEEs have to say back.
//!
//! Guarantees: a TEE whose operator endpoint answers is brought forward to the chain's finalised head with everything it asks for, block
//! by block; what it has for the chain is submitted until it is there; a relayer that is stopped at any point loses nothing, because
//! it keeps nothing but collateral and snapshots that it fetched: TEEs repeat what has not arrived. A snapshot may be all that is left of a
//! cluster's state, where every machine that had it is gone.
//! Nothing that a node or TEE answers makes it panic or stop.
//!
//! It is trusted by nobody. Node and TEEs check all that it carries; the only secrets in it are the operators' accounts, which pay. Who
//! controls its inputs: the node, the TEEs' hosts, and whoever reaches the port on which it takes letters of other relayers, if it is
//! given one. Does not do: judge proofs, hold network keys.
#![forbid(unsafe_code)]

mod attachments;
mod collateral;
mod delivery;
mod inboxes;
pub mod letterbox;
mod letters;
mod link;
mod mail;
mod messages;
mod operator;
mod outbox;
mod peers;
pub mod provisioning;
mod rates;
mod refusal;
mod registrations;
mod snapshots;
mod tee;

pub use collateral::alarm::is_alarming;
pub use peers::check_peer;

use attachments::{Attachments, Ceremony};
use collateral::{fetching::Fetching, Collaterals};
use link::NodeLink;
use mail::Mail;
use messages::Messages;
use peers::Peers;
use phala_client::{Account, ClientError, ErrorCode};
use provisioning::Service;
use registrations::Registrations;
use snapshots::Snapshots;
use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, task::JoinSet};

/// A TEE's operator endpoint.
#[derive(Debug)]
pub struct TeeEndpoint {
    /// Such as `http://127.0.0.1:8100`; `/operator/v1/...` is added.
    pub operator_url: String,
    /// The operator that this TEE's evidence names, which signs and pays for what it has for the chain; the relayer's own if none is
    /// given. Endpoints may share one.
    pub operator: Option<Account>,
}

impl TeeEndpoint {
    /// A TEE of the relayer's operator.
    pub fn new(operator_url: impl Into<String>) -> Self {
        Self { operator_url: operator_url.into(), operator: None }
    }

    /// The same TEE, but of this operator.
    #[must_use]
    pub fn of(self, operator: Account) -> Self {
        Self { operator: Some(operator), ..self }
    }
}

/// Where a relayer fetches collateral by itself.
#[derive(Clone, Debug)]
pub struct FetchConfig {
    /// Provisioning services, Intel's own or such as answer as it does; none is trusted, and each is asked.
    pub services: Vec<String>,
    /// PEM of the only certificate authorities that may vouch for the `https` ones; those of the operating system if none is given.
    pub authorities: Option<PathBuf>,
    /// The folder in which what was fetched is kept; made if it is not there.
    pub folder: PathBuf,
}

/// What a relayer needs.
#[derive(Debug)]
pub struct RelayerConfig {
    /// The node's JSON-RPC, `ws://...`.
    pub node: String,
    /// The TEEs that are served, workers and gatekeepers.
    pub tees: Vec<TeeEndpoint>,
    /// The operator of every TEE that names no other: signs and pays for extrinsics, and is the one that evidence names. Pays for
    /// collateral.
    pub operator: Account,
    /// Whoever may record roots by sudo, on development networks.
    pub governance: Option<Account>,
    /// Files of SCALE `phala_attest::Collateral`, one for each platform model; read again when they change.
    pub collateral: Vec<PathBuf>,
    /// Where collateral is fetched of the platforms that are served here or registered. None: files only.
    pub fetch: Option<FetchConfig>,
    /// How long to wait for a new head before asking TEEs again.
    pub poll_interval: Duration,
    /// Where other relayers' letters to these TEEs are taken; whoever reaches it may send some. None: nowhere.
    pub listen: Option<SocketAddr>,
    /// Other relayers, such as `http://192.0.2.7:8400`, to which letters are sent whose recipients are not served here. Mail with TEEs
    /// of other relayers takes both: each has the other among its peers, and both listen.
    pub peers: Vec<String>,
    /// The folder in which snapshots of clusters' states are kept, for TEEs that lack one and for other relayers; this relayer's
    /// alone, and made if it is not there.
    /// None: none are kept, and none are brought to a TEE that lacks one.
    pub snapshots: Option<PathBuf>,
}

impl RelayerConfig {
    /// With the usual interval, no governance, no collateral, no other relayers and no snapshots.
    pub fn new(node: impl Into<String>, tees: Vec<TeeEndpoint>, operator: Account) -> Self {
        Self {
            node: node.into(),
            tees,
            operator,
            governance: None,
            collateral: Vec::new(),
            fetch: None,
            poll_interval: Duration::from_millis(250),
            listen: None,
            peers: Vec::new(),
            snapshots: None,
        }
    }
}

/// What the relayer's tasks share.
struct Shared {
    link: NodeLink,
    mail: Arc<Mail>,
    peers: Arc<Peers>,
    attachments: Attachments,
    /// The same of ceremonies of identities.
    identity_attachments: Attachments,
    messages: Messages,
    registrations: Registrations,
    snapshots: Arc<Snapshots>,
    operator: Arc<Account>,
    governance: Option<Account>,
    collaterals: Collaterals,
    roots: outbox::Roots,
    poll_interval: Duration,
}

/// Relays until `shutdown` is ready. Node and TEEs may come and go meanwhile; only a configuration that can never work is an error.
pub async fn run(config: RelayerConfig, shutdown: impl Future<Output = ()>) -> Result<(), ClientError> {
    let operator = Arc::new(config.operator);
    let mut served = Vec::with_capacity(config.tees.len());
    for TeeEndpoint { operator_url, operator: own } in config.tees {
        let account = own.map_or_else(|| operator.clone(), Arc::new);
        tracing::info!(tee = operator_url, operator = account.address(), "serving");
        served.push((operator::Operator::new(&operator_url)?, account));
    }
    let (peers, letters) = Peers::new(&config.peers)?;
    let mail = Arc::new(Mail::new(peers::addresses(&config.peers).await).expecting(served.len(), Instant::now()));
    let peers = Arc::new(peers);
    let snapshots = Arc::new(Snapshots::new(config.snapshots, &config.peers)?);
    let fetching = config.fetch.map(fetching).transpose()?;
    let listener = match config.listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    tracing::info!(node = config.node, tees = served.len(), operator = operator.address(), "relaying");
    let shared = Arc::new(Shared {
        link: NodeLink::new(config.node),
        mail: mail.clone(),
        peers: peers.clone(),
        attachments: Attachments::of(Ceremony::Root),
        identity_attachments: Attachments::of(Ceremony::Identities),
        messages: Messages::default(),
        registrations: Registrations::default(),
        snapshots: snapshots.clone(),
        operator,
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
    if let Some(fetching) = fetching {
        let shared = shared.clone();
        tasks.spawn(async move { fetching.run(&shared).await });
    }
    tasks.spawn(async move { peers.carry_all(letters).await });
    if let Some(listener) = listener {
        let beside = snapshots::serving::router(snapshots, mail.clone());
        tasks.spawn(letters::serve(listener, mail, beside, letters::Bounds::default()));
    }
    for (endpoint, account) in served {
        let shared = shared.clone();
        tasks.spawn(async move { tee::serve(&shared, &endpoint, &account).await });
    }
    // No task ends by itself; dropping the set stops them all, between one carried thing and the next.
    shutdown.await;
    tracing::info!("stopped relaying");
    Ok(())
}

/// The job that fetches collateral.
fn fetching(config: FetchConfig) -> Result<Fetching, ClientError> {
    let mut services = Vec::with_capacity(config.services.len());
    for url in &config.services {
        // An authority vouches for what speaks TLS; of a service in clear it says nothing, and is no mistake beside others.
        let speaks_tls = url.to_ascii_lowercase().starts_with("https://");
        services.push(Service::new(url, config.authorities.as_deref().filter(|_| speaks_tls))?);
        tracing::info!(service = url, folder = %config.folder.display(), "fetching collateral");
    }
    Ok(Fetching::new(services, config.folder))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ClientError> {
    let unable = |error| {
        ClientError::new(ErrorCode::Invalid, format!("cannot listen to other relayers at {address}: {error}"))
            .with_hint("name an address of this machine and a port that is free")
    };
    let listener = TcpListener::bind(address).await.map_err(unable)?;
    // The system chooses the port where none was named.
    let address = listener.local_addr().map_err(unable)?;
    tracing::info!(%address, "taking letters of other relayers");
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address may send letters: let in the other relayers only, if you can");
    }
    Ok(listener)
}
