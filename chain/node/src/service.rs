//! Puts the node together: client, pool, BABE, GRANDPA, network, RPC.
//!
//! What is not the default of other nodes, and why:
//! - a justification is kept for **every** finalised round, so that a light client never waits for one;
//! - offchain indexing is always on: the runtime writes inbox items there, and relayers read them from any node;
//! - development chains vote on the best block at once and keep all states, so that tests and light clients that were
//!   switched off for days find what they need; other chains use the default voting rule, which lags behind the best block,
//!   and keep the states of the last 256 finalised blocks unless `--state-pruning` says otherwise;
//! - a development chain goes on authoring without peers;
//! - an import that fails leaves no epoch behind that would keep later blocks out ([`crate::epochs`]);
//! - the disk is watched, and a node without room for its database ends ([`crate::disk`]).

use crate::{chain_spec, disk::Watch, epochs::Guarded, rpc};
use phala_runtime::{Hash, OpaqueBlock as Block, RuntimeApi};
use sc_client_api::BlockBackend;
use sc_consensus_babe::{BabeBlockImport, BabeLink, SlotProportion};
use sc_consensus_grandpa::{self as grandpa, SharedVoterState};
use sc_executor::{HeapAllocStrategy, DEFAULT_HEAP_ALLOC_STRATEGY};
use sc_network::{config::FullNetworkConfiguration, NetworkBackend};
use sc_network_sync::WarpSyncConfig;
use sc_service::{error::Error as ServiceError, Configuration, PruningMode, TaskManager};
use sc_telemetry::{Telemetry, TelemetryWorker};
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_consensus_babe::inherents::BabeCreateInherentDataProviders;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Runs the runtime's WASM with the host functions that every Substrate node has, and no others.
pub type Executor = sc_executor::WasmExecutor<sp_io::SubstrateHostFunctions>;
/// The client: the chain, its state, and calls into the runtime.
pub type Client = sc_service::TFullClient<Block, RuntimeApi, Executor>;
/// The database behind the client.
pub type Backend = sc_service::TFullBackend<Block>;
/// The transactions that wait for a block.
pub type Pool = sc_transaction_pool::TransactionPoolHandle<Block, Client>;
type SelectChain = sc_consensus::LongestChain<Backend, Block>;
type GrandpaImport = grandpa::GrandpaBlockImport<Backend, Block, Client, SelectChain>;
type BabeImport =
    Guarded<BabeBlockImport<Block, Client, GrandpaImport, BabeCreateInherentDataProviders<Block>, SelectChain>>;

/// GRANDPA keeps a justification at least every so many blocks: for each round it finalises.
const JUSTIFICATION_PERIOD: u32 = 1;

/// How long GRANDPA lets messages spread before it goes on: across the world, or on one machine.
const GOSSIP_DURATION: Duration = Duration::from_millis(333);
const LOCAL_GOSSIP_DURATION: Duration = Duration::from_millis(100);

/// What exists before the network does.
pub(crate) struct Parts {
    pub(crate) client: Arc<Client>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) task_manager: TaskManager,
    pub(crate) keystore: sc_service::KeystoreContainer,
    pub(crate) select_chain: SelectChain,
    pub(crate) import_queue: sc_consensus::DefaultImportQueue<Block>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) block_import: BabeImport,
    pub(crate) babe_link: BabeLink<Block>,
    pub(crate) grandpa_link: grandpa::LinkHalf<Block, Client, SelectChain>,
    pub(crate) telemetry: Option<Telemetry>,
}

/// Starts the node that `config` describes; it runs as long as the returned task manager lives, or until `disk` ends it.
///
/// # Errors
/// When the database, the network or the genesis cannot be used; nothing is left running then.
pub fn start(config: Configuration, disk: Watch) -> Result<TaskManager, ServiceError> {
    match config.network.network_backend {
        sc_network::config::NetworkBackendType::Libp2p => {
            start_with::<sc_network::NetworkWorker<Block, Hash>>(config, disk)
        }
        sc_network::config::NetworkBackendType::Litep2p => {
            start_with::<sc_network::Litep2pNetworkBackend>(config, disk)
        }
    }
}

/// The executor as `sc_service::new_wasm_executor` makes it; on a development chain it also keeps the machine code that it compiled
/// the runtime to, which an unoptimised node takes seconds for at every start.
fn executor(config: &Configuration) -> Executor {
    let settings = &config.executor;
    let heap = settings.default_heap_pages.map_or(DEFAULT_HEAP_ALLOC_STRATEGY, |pages| HeapAllocStrategy::Static {
        extra_pages: u32::try_from(pages).unwrap_or(u32::MAX),
    });
    let executor = Executor::builder()
        .with_execution_method(settings.wasm_method)
        .with_onchain_heap_alloc_strategy(heap)
        .with_offchain_heap_alloc_strategy(heap)
        .with_max_runtime_instances(settings.max_runtime_instances)
        .with_runtime_cache_size(settings.runtime_cache_size);
    match compiled_code().filter(|_| chain_spec::is_development(&*config.chain_spec)) {
        Some(folder) => executor.with_cache_path(folder).build(),
        None => executor.build(),
    }
}

/// Where machine code is kept: `$XDG_CACHE_HOME/phala/wasm`, or `~/.cache/phala/wasm`. Whoever can write there decides what the node
/// runs, as with its binary; a chain that is worth something does not take code from there.
fn compiled_code() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(named.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("phala/wasm"))
}

/// Opens the database and builds what stands on it.
pub(crate) fn parts(config: &Configuration) -> Result<Parts, ServiceError> {
    let telemetry = config
        .telemetry_endpoints
        .clone()
        .filter(|endpoints| !endpoints.is_empty())
        .map(|endpoints| -> Result<_, sc_telemetry::Error> {
            let worker = TelemetryWorker::new(16)?;
            let telemetry = worker.handle().new_telemetry(endpoints);
            Ok((worker, telemetry))
        })
        .transpose()?;

    let (client, backend, keystore, mut task_manager) = sc_service::new_full_parts::<Block, RuntimeApi, _>(
        config,
        telemetry.as_ref().map(|(_, telemetry)| telemetry.handle()),
        executor(config),
        // Blocks with a justification survive the pruning of blocks: without the ones that end an authority set, nobody
        // could be led from the genesis to now.
        vec![Arc::new(grandpa::GrandpaPruningFilter)],
    )?;
    let client = Arc::new(client);
    let telemetry = telemetry.map(|(worker, telemetry)| {
        task_manager.spawn_handle().spawn("telemetry", None, worker.run());
        telemetry
    });
    let select_chain = sc_consensus::LongestChain::new(backend.clone());
    let pool = Arc::new(
        sc_transaction_pool::Builder::new(
            task_manager.spawn_essential_handle(),
            client.clone(),
            config.role.is_authority().into(),
        )
        .with_options(config.transaction_pool.clone())
        .with_prometheus(config.prometheus_registry())
        .build(),
    );

    let (grandpa_import, grandpa_link) = grandpa::block_import(
        client.clone(),
        JUSTIFICATION_PERIOD,
        &client,
        select_chain.clone(),
        telemetry.as_ref().map(Telemetry::handle),
    )?;
    let babe_config = sc_consensus_babe::configuration(&*client)?;
    let slot_duration = babe_config.slot_duration();
    let (block_import, babe_link) = sc_consensus_babe::block_import(
        babe_config,
        grandpa_import.clone(),
        client.clone(),
        inherents(slot_duration),
        select_chain.clone(),
        OffchainTransactionPoolFactory::new(pool.clone()),
    )?;
    // For the blocks of peers and our own alike.
    let block_import = Guarded::new(block_import, client.clone(), babe_link.clone());
    let (import_queue, babe_worker) = sc_consensus_babe::import_queue(sc_consensus_babe::ImportQueueParams {
        link: babe_link.clone(),
        block_import: block_import.clone(),
        justification_import: Some(Box::new(grandpa_import)),
        client: client.clone(),
        slot_duration,
        spawner: &task_manager.spawn_essential_handle(),
        registry: config.prometheus_registry(),
        telemetry: telemetry.as_ref().map(Telemetry::handle),
    })?;

    // Its worker is an essential task that ends when nobody can ask it anything any more.
    task_manager.keep_alive(babe_worker);

    Ok(Parts {
        client,
        backend,
        task_manager,
        keystore,
        select_chain,
        import_queue,
        pool,
        block_import,
        babe_link,
        grandpa_link,
        telemetry,
    })
}

/// What each block says about itself: its slot and its time, both from the system's clock.
fn inherents(slot_duration: sp_consensus_babe::SlotDuration) -> BabeCreateInherentDataProviders<Block> {
    Arc::new(move |_, _| async move {
        let timestamp = sp_timestamp::InherentDataProvider::from_system_time();
        let slot = sp_consensus_babe::inherents::InherentDataProvider::from_timestamp_and_slot_duration(
            *timestamp,
            slot_duration,
        );
        Ok((slot, timestamp))
    })
}

fn start_with<N: NetworkBackend<Block, Hash>>(
    mut config: Configuration,
    disk: Watch,
) -> Result<TaskManager, ServiceError> {
    let development = chain_spec::is_development(&*config.chain_spec);
    config.offchain_worker.indexing_enabled = true;
    if development {
        config.state_pruning.get_or_insert(PruningMode::ArchiveAll);
    }

    let Parts {
        client,
        backend,
        mut task_manager,
        keystore,
        select_chain,
        import_queue,
        pool,
        block_import,
        babe_link,
        grandpa_link,
        mut telemetry,
    } = parts(&config)?;
    // Blocking, because the database makes whoever writes wait while it is behind.
    task_manager.spawn_essential_handle().spawn_blocking("disk", None, disk.run(backend.clone()));

    let prometheus = config.prometheus_registry().cloned();
    let metrics = N::register_notification_metrics(prometheus.as_ref());
    let mut net_config = FullNetworkConfiguration::<_, _, N>::new(&config.network, prometheus.clone());
    let genesis_hash = client.block_hash(0)?.ok_or_else(|| ServiceError::Other("no genesis block".into()))?;
    let grandpa_protocol = grandpa::protocol_standard_name(&genesis_hash, &config.chain_spec);
    let (grandpa_peers, grandpa_notifications) = grandpa::grandpa_peers_set_config::<_, N>(
        grandpa_protocol.clone(),
        metrics.clone(),
        net_config.peer_store_handle(),
    );
    net_config.add_notification_protocol(grandpa_peers);
    let warp_proofs = Arc::new(grandpa::warp_proof::NetworkProvider::new(
        backend.clone(),
        grandpa_link.shared_authority_set().clone(),
        Vec::new(),
    ));
    let (network, system_rpc_tx, tx_handler_controller, sync_service, _) =
        sc_service::build_network(sc_service::BuildNetworkParams {
            config: &config,
            net_config,
            client: client.clone(),
            transaction_pool: pool.clone(),
            spawn_handle: task_manager.spawn_handle(),
            spawn_essential_handle: task_manager.spawn_essential_handle(),
            import_queue,
            block_announce_validator_builder: None,
            warp_sync_config: Some(WarpSyncConfig::WithProvider(warp_proofs)),
            block_relay: None,
            metrics,
            gap_sync_body_policy: None,
        })?;

    let role = config.role;
    let name = config.network.node_name.clone();
    let force_authoring = config.force_authoring || development;
    let enable_grandpa = !config.disable_grandpa;
    let shared_voter_state = SharedVoterState::empty();
    let rpc_parts = rpc::Parts {
        client: client.clone(),
        backend: backend.clone(),
        pool: pool.clone(),
        authority_set: grandpa_link.shared_authority_set().clone(),
        voter_state: shared_voter_state.clone(),
        justifications: grandpa_link.justification_stream(),
        inbox_links: Default::default(),
    };

    sc_service::spawn_tasks(sc_service::SpawnTasksParams {
        config,
        backend,
        client: client.clone(),
        keystore: keystore.keystore(),
        network: network.clone(),
        rpc_builder: Box::new(move |executor| {
            rpc::module(&rpc_parts, executor).map_err(|error| ServiceError::Application(error.into()))
        }),
        transaction_pool: pool.clone(),
        task_manager: &mut task_manager,
        system_rpc_tx,
        tx_handler_controller,
        sync_service: sync_service.clone(),
        telemetry: telemetry.as_mut(),
        tracing_execute_block: None,
    })?;

    if role.is_authority() {
        let proposer = sc_basic_authorship::ProposerFactory::new(
            task_manager.spawn_handle(),
            client.clone(),
            pool.clone(),
            prometheus.as_ref(),
            telemetry.as_ref().map(Telemetry::handle),
        );
        let babe = sc_consensus_babe::start_babe(sc_consensus_babe::BabeParams {
            keystore: keystore.keystore(),
            client,
            select_chain,
            env: proposer,
            block_import,
            sync_oracle: sync_service.clone(),
            justification_sync_link: sync_service.clone(),
            create_inherent_data_providers: inherents(babe_link.config().slot_duration()),
            force_authoring,
            // Authors slow down while finality lags far behind, so that a stalled chain stays small.
            backoff_authoring_blocks: Some(sc_consensus_slots::BackoffAuthoringOnFinalizedHeadLagging::<
                phala_runtime::BlockNumber,
            >::default()),
            babe_link,
            block_proposal_slot_portion: SlotProportion::new(0.5),
            max_block_proposal_slot_portion: None,
            telemetry: telemetry.as_ref().map(Telemetry::handle),
        })?;
        task_manager.spawn_essential_handle().spawn_blocking("babe-proposer", Some("block-authoring"), babe);
    }

    if enable_grandpa {
        let config = grandpa::Config {
            gossip_duration: if development { LOCAL_GOSSIP_DURATION } else { GOSSIP_DURATION },
            justification_generation_period: JUSTIFICATION_PERIOD,
            name: Some(name),
            observer_enabled: false,
            keystore: role.is_authority().then(|| keystore.keystore()),
            local_role: role,
            telemetry: telemetry.as_ref().map(Telemetry::handle),
            protocol_name: grandpa_protocol,
        };
        // No rule at all votes for the best block; the default ones keep two blocks behind it.
        let voting_rules =
            if development { grandpa::VotingRulesBuilder::new() } else { grandpa::VotingRulesBuilder::default() };
        let voter = grandpa::run_grandpa_voter(grandpa::GrandpaParams {
            config,
            link: grandpa_link,
            network,
            sync: sync_service,
            notification_service: grandpa_notifications,
            telemetry: telemetry.as_ref().map(Telemetry::handle),
            voting_rule: voting_rules.build(),
            prometheus_registry: prometheus,
            shared_voter_state,
            offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(pool),
        })?;
        task_manager.spawn_essential_handle().spawn_blocking("grandpa-voter", None, voter);
    }
    Ok(task_manager)
}
