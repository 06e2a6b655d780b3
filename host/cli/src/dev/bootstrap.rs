//! Brings a development network from nothing, or from where it stopped, to where it can be used.
//!
//! Each step waits for something that can be seen - a finalised block, a registration, an open epoch - for a bounded time, and a
//! process that does not stay up ends the waiting with its own error. Every step that was done before is found done.

use super::{
    ceremony, chain,
    folder::{Folder, Settings},
    network_file::{Machine, NetworkFile},
    plan::{Plan, TeePlan, OPERATOR},
    progress::Progress,
    supervisor::Supervisor,
};
use crate::{
    commands::contract::deploy::{self, Deployment},
    error::{io, CliError},
    home,
    network::connect_any,
    output::note,
};
use phala_client::{
    network::Pin,
    worker::{WorkerEndpoint, WorkerInfo},
    Account, ClientError, CommandOptions, ErrorCode, Network,
};
use phala_protocol::{
    chain_state::{ClusterRecord, ContractRecord, RootRecord},
    ids::to_hex,
    storage, ClusterId, ContractId, WorkerId,
};
use std::{
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What the token's deployer receives, in the token's smallest unit.
const TOKEN_SUPPLY: &str = "1000000000000";
/// Between two looks at what is waited for: a dozen things one after the other, each of which is found late by half of this.
pub const LOOK: Duration = Duration::from_millis(200);
/// A node compiles the runtime before it answers; four on two cores take their time.
const NODE_WAIT: Duration = Duration::from_secs(240);
const STEP_WAIT: Duration = Duration::from_secs(180);

/// A network that can be used.
pub struct Up {
    /// Where everything is.
    pub file: NetworkFile,
    /// The root that gives its keys.
    pub root: RootRecord,
}

/// Brings the network up and describes it.
pub async fn bring_up(
    folder: &Folder,
    settings: &mut Settings,
    plan: &Plan,
    supervisor: &mut Supervisor,
) -> Result<Up, CliError> {
    let mut progress = Progress::new();
    for name in ["logs", "nodes", "tee", "workers"] {
        let path = plan.folder.join(name);
        std::fs::create_dir_all(&path).map_err(io("make", &path))?;
    }
    progress.step("preparing the chain");
    let pin = chain::prepare(plan, settings).await?;
    start_nodes(plan, supervisor).await?;
    for tee in plan.tees() {
        // Its presence says that the machine is ready, and so it must not be an old one's.
        let _ = std::fs::remove_file(plan.collateral(tee));
        supervisor.start(plan.insecure_tee(supervisor, tee));
    }

    progress.step(format!("starting {}", count(plan.nodes.len(), "chain node")));
    let network = wait(supervisor, NODE_WAIT, "a chain node to answer", || async {
        Ok(connect_any(&plan.node_urls(), &pin).await.ok())
    })
    .await?;
    let before = network.sync().await?.number();
    wait(supervisor, NODE_WAIT, "the chain to finalise a block", || async {
        Ok((network.sync().await?.number() > before).then_some(()))
    })
    .await?;

    progress.step("allowing the worker's measurement");
    let sudo = Account::development(OPERATOR)?;
    allow_measurement(plan, supervisor, &network, &sudo).await?;

    match plan.has_lone_root() {
        true => progress.step("registering the gatekeeper"),
        false => progress.step(format!("registering {}", count(plan.gatekeepers.len(), "gatekeeper"))),
    }
    for relayer in plan.relayers(supervisor) {
        supervisor.start(relayer);
    }
    let genesis = to_hex(&pin.genesis);
    // All of them, though workers need a root before they serve: they attest themselves while it is made.
    for tee in plan.tees() {
        let operator = Account::development(tee.account)?.id().to_string();
        supervisor.start(plan.tee(supervisor, tee, &genesis, &operator));
    }
    let mut gatekeepers = Vec::new();
    for gatekeeper in &plan.gatekeepers {
        gatekeepers.push((gatekeeper, registered(supervisor, &network, gatekeeper).await?));
    }
    let root = if plan.has_lone_root() {
        lone_root(supervisor, &network).await?
    } else {
        let pause = settings.block_milliseconds;
        ceremony::root(&mut progress, supervisor, &network, &sudo, &gatekeepers, pause).await?
    };

    progress.step(format!("registering {}", count(plan.workers.len(), "worker")));
    let mut workers = Vec::new();
    for worker in &plan.workers {
        workers.push((worker, registered(supervisor, &network, worker).await?));
    }

    progress.step("assigning clusters, and waiting for their first epochs");
    for (worker, id) in &workers {
        chain::assign(&network, &sudo, ClusterId(worker.cluster), *id).await?;
    }
    for (worker, _) in &workers {
        serving(supervisor, &network, worker).await?;
        if let Some(blocks) = plan.epoch_blocks {
            chain::set_epoch_length(&network, &sudo, ClusterId(worker.cluster), blocks).await?;
        }
    }

    progress.step("deploying the sample token");
    let token = token(folder, settings, plan, supervisor, &network, &sudo).await?;
    progress.finish();

    let machines = |tees: &[(&TeePlan, WorkerId)]| -> Result<Vec<Machine>, CliError> {
        tees.iter().map(|(tee, id)| machine(plan, tee, id)).collect()
    };
    let (workers, gatekeepers) = (machines(&workers)?, machines(&gatekeepers)?);
    let file = describe(plan, &pin, |file| {
        file.workers = workers;
        file.gatekeepers = gatekeepers;
        file.session_blocks = settings.session_blocks;
        file.block_milliseconds = settings.block_milliseconds;
        file.contracts.insert("token".to_owned(), token.to_string());
    });
    Ok(Up { file, root })
}

fn machine(plan: &Plan, tee: &TeePlan, id: &WorkerId) -> Result<Machine, CliError> {
    Ok(Machine {
        name: tee.name.clone(),
        http: http(tee),
        operator: format!("http://127.0.0.1:{}", tee.operator),
        account: Account::development(tee.account)?.address(),
        identity: id.to_string(),
        cluster: tee.cluster,
        collateral: Some(plan.collateral(tee)),
    })
}

/// Waits for the root that the only gatekeeper makes by itself, which the relayer records.
async fn lone_root(supervisor: &Supervisor, network: &Network) -> Result<RootRecord, CliError> {
    wait(supervisor, STEP_WAIT, "the gatekeeper's root to be recorded", || async {
        Ok(network.read(&[storage::root_key()]).await?.get(&storage::root_key())?)
    })
    .await
}

fn describe(plan: &Plan, pin: &Pin, fill: impl FnOnce(&mut NetworkFile)) -> NetworkFile {
    let mut file = NetworkFile::new(&plan.folder, pin);
    file.node_wss = plan.node_urls();
    file.node_ws = file.node_wss.first().cloned().unwrap_or_default();
    file.accounts = Account::development_names().map(str::to_owned).to_vec();
    fill(&mut file);
    file
}

async fn start_nodes(plan: &Plan, supervisor: &mut Supervisor) -> Result<(), CliError> {
    let addresses = chain::peer_addresses(plan).await?;
    for (index, node) in plan.nodes.iter().enumerate() {
        let others: Vec<String> = addresses
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, address)| address.clone())
            .collect();
        supervisor.start(plan.node(supervisor, node, &others));
    }
    Ok(())
}

async fn allow_measurement(
    plan: &Plan,
    supervisor: &Supervisor,
    network: &Network,
    sudo: &Account,
) -> Result<(), CliError> {
    for tee in plan.tees() {
        let file = plan.collateral(tee);
        wait(supervisor, STEP_WAIT, "the simulated machines", || async { Ok(file.exists().then_some(())) }).await?;
    }
    let Some(machine) = plan.tees().next() else { return Ok(()) };
    let measurement = chain::measurement(plan, machine).await?;
    if chain::allow(network, sudo, &measurement).await? {
        note(&format!("INSECURE: allowed the simulated measurement {}", to_hex(&measurement)));
    }
    Ok(())
}

/// Waits until the chain has the TEE's registration in force. Returns its identity.
async fn registered(supervisor: &Supervisor, network: &Network, tee: &TeePlan) -> Result<WorkerId, CliError> {
    wait(supervisor, STEP_WAIT, &format!("{} to be registered", tee.name), || async {
        let Some(info) = info(tee).await else { return Ok(None) };
        let Some(identity) = crate::network::hash(&info.identity).map(WorkerId) else { return Ok(None) };
        Ok(chain::registration(network, &identity).await?.map(|_| identity))
    })
    .await
}

/// Waits until a worker serves its cluster in an open epoch.
async fn serving(supervisor: &Supervisor, network: &Network, tee: &TeePlan) -> Result<(), CliError> {
    let cluster = ClusterId(tee.cluster);
    wait(supervisor, STEP_WAIT, &format!("the first epoch of cluster {cluster}"), || async {
        let key = storage::cluster_key(cluster);
        let record: Option<ClusterRecord> = network.read(std::slice::from_ref(&key)).await?.get(&key)?;
        // Whoever had it closed for good waits for nothing there.
        if record.as_ref().is_some_and(ClusterRecord::is_closed) {
            return Ok(Some(()));
        }
        if record.is_none_or(|record| record.epoch == 0) {
            return Ok(None);
        }
        let Some(info) = info(tee).await else { return Ok(None) };
        let serves = info.clusters.iter().any(|served| served.cluster == cluster.0 && served.query_key.is_some());
        Ok(serves.then_some(()))
    })
    .await
}

async fn info(tee: &TeePlan) -> Option<WorkerInfo> {
    WorkerEndpoint::new(&http(tee)).ok()?.info().await.ok()
}

fn http(tee: &TeePlan) -> String {
    format!("http://127.0.0.1:{}", tee.http)
}

/// The sample token: the one that was deployed before, or a new one.
async fn token(
    folder: &Folder,
    settings: &mut Settings,
    plan: &Plan,
    supervisor: &Supervisor,
    network: &Network,
    deployer: &Account,
) -> Result<ContractId, CliError> {
    if let Some(known) = settings.token.as_deref().and_then(crate::network::hash).map(ContractId) {
        let key = storage::contract_key(&known);
        let record: Option<ContractRecord> = network.read(std::slice::from_ref(&key)).await?.get(&key)?;
        if record.is_some() {
            return Ok(known);
        }
    }
    let path = token_wasm()?;
    let wasm = std::fs::read(&path).map_err(io("read", &path))?;
    let worker = plan.workers.first().map(http).unwrap_or_default();
    let workers = [WorkerEndpoint::new(&worker)?];
    let deployment = Deployment {
        wasm: &wasm,
        words: &[TOKEN_SUPPLY.to_owned()],
        cluster: ClusterId(0),
        // Three steps: the code, the constructor's command, its reply.
        options: CommandOptions { timeout: STEP_WAIT.saturating_mul(3), ..CommandOptions::default() },
        workers: &workers,
    };
    let token = tokio::select! {
        deployed = deploy::deploy(network, deployer, &deployment) => deployed?,
        error = fails(supervisor) => return Err(error),
    };
    settings.token = Some(token.to_string());
    folder.keep(settings)?;
    Ok(token)
}

/// The sample token's code, as `scripts/build` leaves it.
fn token_wasm() -> Result<PathBuf, CliError> {
    let built = |target: PathBuf| target.join("contracts/wasm32v1-none/release/token.wasm");
    let mut places: Vec<PathBuf> = std::env::var_os("PHALA_TOKEN_WASM").map(PathBuf::from).into_iter().collect();
    for folder in home::program_folders() {
        places.push(folder.join("token.wasm"));
        places.extend(folder.parent().map(|target| built(target.to_owned())));
    }
    places.extend(std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).map(built));
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        CliError::environment("`token.wasm`, the sample contract, is not beside this program")
            .with_hint("./scripts/build makes it and links it into ./bin")
    })
}

/// Looks again and again until there is what is waited for. A node that cannot be asked now is asked again.
async fn wait<T, F: Future<Output = Result<Option<T>, CliError>>>(
    supervisor: &Supervisor,
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> Result<T, CliError> {
    let started = Instant::now();
    loop {
        let last = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = supervisor.failing() {
            return Err(error);
        }
        if started.elapsed() > patience {
            let why = last.map(|error| format!(": {}", error.message)).unwrap_or_default();
            return Err(ClientError::new(
                ErrorCode::Timeout,
                format!("waited {} s for {what}{why}", patience.as_secs()),
            )
            .with_hint("`phala logs` shows what each process did; starting again goes on from here")
            .into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Ready when a process does not stay up.
async fn fails(supervisor: &Supervisor) -> CliError {
    loop {
        if let Some(error) = supervisor.failing() {
            return error;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A number of things, in words.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn waiting_goes_on_through_errors_and_ends_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new(folder.path());
        let looks = Cell::new(0);
        let found = wait(&supervisor, STEP_WAIT, "it", || {
            looks.set(looks.get() + 1);
            let look = looks.get();
            async move {
                match look {
                    1 => Err(CliError::environment("not yet")),
                    _ => Ok(Some(look)),
                }
            }
        });
        assert_eq!(found.await.unwrap(), 2);
        let never = wait::<(), _>(&supervisor, Duration::ZERO, "the end of time", || async {
            Err(CliError::environment("no node"))
        });
        let error = never.await.unwrap_err();
        assert_eq!(error.code.as_str(), "timeout");
        assert!(error.message.contains("the end of time") && error.message.contains("no node"));
    }
}
