//! A second replica of cluster 0 that is never killed: what a worker that crashes is compared with.
//!
//! `phala dev` gives each worker a cluster of its own; this starts one more machine, worker and relayer beside it, as an operator by hand
//! would, and has governance assign the cluster to both. With two replicas a result is final only when both signed the same.
//! INSECURE: a simulated machine. Its processes end, by their ids, when it is dropped.

use crate::{
    binary,
    load::link::{Link, NetworkFile},
};
use anyhow::{ensure, Context, Result};
use phala_client::{chain::ChainCall, Account, Until};
use phala_protocol::{
    chain_state::{ClusterRecord, WorkerRecord},
    storage, ClusterId, WorkerId,
};
use serde_json::Value;
use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take to serve.
const WITHIN: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(300);
/// Who operates it; the network's own machines are Alice's.
const OPERATOR: &str = "bob";

/// The processes.
pub struct Witness {
    folder: PathBuf,
    processes: Vec<Child>,
    /// Its public endpoint.
    pub url: String,
}

impl Drop for Witness {
    fn drop(&mut self) {
        // Last started first: who speaks to others before who is spoken to.
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Witness {
    /// Starts it beside the network in `base`, and waits until it and worker 0 are the replicas of cluster 0 and it serves.
    pub async fn join(base: &Path, link: &Link) -> Result<Self> {
        let file = NetworkFile::read(base)?;
        let folder = base.join("witness");
        std::fs::create_dir_all(folder.join("data"))?;
        let ports = [free_port()?, free_port()?];
        let url = format!("http://127.0.0.1:{}", ports[0]);
        let operator_url = format!("http://127.0.0.1:{}", ports[1]);
        let mut witness = Self { folder: folder.clone(), processes: Vec::new(), url };

        let machine = folder.join("tee");
        let worker = base.join("programs/phala-worker");
        let mut command = Command::new(binary("phala-insecure-tee"));
        witness.run(
            "tee",
            command.arg("--dir").arg(&machine).arg("--measure").arg(&worker).args(["--machine", "witness"]),
        )?;
        wait("the witness's machine", || Ok(machine.join("collateral").exists())).await?;

        let operator = Account::development(OPERATOR)?;
        let mut command = Command::new(&worker);
        command.args(["run", "--role", "worker", "--cluster", "0", "--genesis", file.genesis()?]);
        command.args(["--operator", &operator.id().to_string()]).arg("--anchor").arg(base.join("anchor.scale"));
        command.arg("--data").arg(folder.join("data"));
        command.args(["--listen", &format!("127.0.0.1:{}", ports[0])]);
        command.args(["--operator-listen", &format!("127.0.0.1:{}", ports[1])]);
        command.arg("--tsm").arg(machine.join("report")).arg("--sealing-key").arg(machine.join("keys/sealing"));
        witness.run("worker", &mut command)?;

        let gatekeepers = file.machines("gatekeepers");
        let gatekeeper = gatekeepers.first().and_then(|machine| machine["operator"].as_str());
        let gatekeeper = gatekeeper.context("network.json names no gatekeeper")?;
        let mut command = Command::new(binary("phala"));
        command.args(["relayer", "run", "--network", file.node()?, "--from", OPERATOR]);
        command.args(["--tee", gatekeeper, "--tee", &operator_url]);
        command.arg("--collateral").arg(machine.join("collateral")).env("PHALA_HOME", folder.join("home"));
        witness.run("relayer", &mut command)?;

        let id = witness.registered(link).await?;
        witness.assign(link, id).await?;
        Ok(witness)
    }

    fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = File::create(self.folder.join(format!("{name}.log")))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.processes.push(child.with_context(|| format!("cannot start the witness's {name}"))?);
        Ok(())
    }

    async fn registered(&self, link: &Link) -> Result<WorkerId> {
        let started = Instant::now();
        loop {
            ensure!(started.elapsed() < WITHIN, "the witness is not registered in time");
            tokio::time::sleep(PAUSE).await;
            let Some(identity) = identity(&self.url).await else { continue };
            let key = storage::worker_key(&identity);
            let record = link
                .answer(|network| {
                    let key = key.clone();
                    async move { network.read(std::slice::from_ref(&key)).await?.get::<WorkerRecord>(&key) }
                })
                .await?;
            if record.is_some() {
                return Ok(identity);
            }
        }
    }

    /// Assigns the cluster, and waits until the witness has executed as much as there is.
    async fn assign(&self, link: &Link, id: WorkerId) -> Result<()> {
        let cluster = ClusterId(0);
        let (record, _) = link.answer(|network| async move { network.cluster(cluster).await }).await?;
        let mut replicas = record.replicas;
        if !replicas.contains(&id) {
            replicas.push(id);
            let governance = Account::development("alice")?;
            let call = ChainCall::assign_replicas(cluster, &replicas);
            link.network().await.chain().submit_sudo(&governance, &call, Until::Finalised).await?;
        }
        let (now, _): (ClusterRecord, _) = link.answer(|network| async move { network.cluster(cluster).await }).await?;
        ensure!(now.replicas == replicas, "cluster 0 has not the replicas it was given");
        let started = Instant::now();
        loop {
            let health = health(&self.url).await;
            let executed = health.as_ref().and_then(|health| health["cluster"]["executed"].as_u64());
            if health.is_some_and(|health| health["healthy"] == true) && executed >= Some(now.final_count) {
                return Ok(());
            }
            ensure!(started.elapsed() < WITHIN, "the witness does not serve in time");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What a worker says of its identity.
async fn identity(url: &str) -> Option<WorkerId> {
    let info = get(&format!("{url}/v1/info")).await?;
    let bytes = hex::decode(info["identity"].as_str()?.trim_start_matches("0x")).ok()?;
    Some(WorkerId(bytes.try_into().ok()?))
}

/// What a worker says of its health; its host's word.
pub async fn health(url: &str) -> Option<Value> {
    get(&format!("{url}/v1/health")).await
}

async fn get(url: &str) -> Option<Value> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().ok()?;
    client.get(url).send().await.ok()?.json().await.ok()
}

async fn wait(what: &str, mut check: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !check()? {
        ensure!(started.elapsed() < WITHIN, "waited for {what} in vain");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// A port that is free now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
