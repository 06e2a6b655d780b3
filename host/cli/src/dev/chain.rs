//! The chain of a development network: its specification and anchor, made once, and what governance does on it by sudo.

use super::plan::{Plan, TeePlan};
use crate::{
    error::{io, CliError},
    home,
};
use phala_client::{chain::ChainCall, network::Pin, Account, ErrorCode, Network, Until};
use phala_protocol::{
    chain_state::{AllowedMeasurement, ClusterRecord, WorkerRecord},
    ids::to_hex,
    storage, ClusterId, Hash, WorkerId,
};
use serde_json::Value;
use std::{ffi::OsStr, path::Path, process::Stdio};
use tokio::process::Command;

/// Runs a program that ends by itself, and gives what it wrote to standard output.
pub async fn output_of<S: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = S>,
) -> Result<Vec<u8>, CliError> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(io("start", program))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = errors.lines().rev().take(5).collect();
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    Err(CliError::environment(format!("{} ended with {}: {}", program.display(), output.status, lines.join("\n"))))
}

/// Writes the chain's specification and anchor unless they are there: a network keeps its genesis whatever becomes of the binaries.
/// `session_blocks` replaces the preset's length of a session.
pub async fn prepare(plan: &Plan, session_blocks: Option<u32>) -> Result<Pin, CliError> {
    let chain = plan.chain_file();
    if !chain.exists() {
        let name = if plan.nodes.len() == 1 { "dev" } else { "local" };
        let export = |chain: &OsStr, more: &[&'static str]| {
            let words = [OsStr::new("export-chain-spec"), OsStr::new("--chain"), chain].map(OsStr::to_owned);
            let args: Vec<_> = words.into_iter().chain(more.iter().map(|word| OsStr::new(word).to_owned())).collect();
            let node = plan.programs.node.clone();
            async move { output_of(&node, args).await }
        };
        let json = match session_blocks {
            None => export(OsStr::new(name), &["--raw"]).await?,
            Some(blocks) => {
                let readable = with_sessions_of(blocks, &export(OsStr::new(name), &[]).await?)?;
                let draft = chain.with_extension("draft.json");
                home::write_whole(&draft, &readable)?;
                let raw = export(draft.as_os_str(), &["--raw"]).await;
                let _ = std::fs::remove_file(&draft);
                raw?
            }
        };
        home::write_whole(&chain, &json)?;
    }
    let anchor = plan.folder.join("anchor.json");
    if !anchor.exists() {
        let args: [&OsStr; 5] = [
            OsStr::new("export-genesis-anchor"),
            OsStr::new("--chain"),
            chain.as_os_str(),
            OsStr::new("--format"),
            OsStr::new("json"),
        ];
        home::write_whole(&anchor, &output_of(&plan.programs.node, args).await?)?;
    }
    let bytes = std::fs::read(&anchor).map_err(io("read", &anchor))?;
    let damaged = |why: String| {
        CliError::invalid(format!("{} is damaged: {why}", anchor.display())).with_hint("--fresh starts another network")
    };
    let json = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let pin = Pin::from_json(&json).map_err(|error| damaged(error.message))?;
    home::write_whole(&plan.anchor_file(), &codec::Encode::encode(&pin.anchor))?;
    Ok(pin)
}

/// The readable specification with sessions of `blocks` blocks: slots are blocks on a chain whose authorities are all there.
fn with_sessions_of(blocks: u32, readable: &[u8]) -> Result<Vec<u8>, CliError> {
    let not_understood = || CliError::new(ErrorCode::Internal, "the node's chain specification is not understood");
    let mut spec: Value = serde_json::from_slice(readable).map_err(|_| not_understood())?;
    let genesis =
        spec.pointer_mut("/genesis/runtimeGenesis").and_then(Value::as_object_mut).ok_or_else(not_understood)?;
    // Its name depends on whether the preset was written out in full.
    let network = ["patch", "config"].into_iter().find_map(|form| genesis.get(form)?.get("network").map(|_| form));
    let slots = network
        .and_then(|form| genesis.get_mut(form)?.pointer_mut("/network/epochSlots"))
        .ok_or_else(not_understood)?;
    *slots = blocks.into();
    serde_json::to_vec(&spec).map_err(|_| not_understood())
}

/// Makes each node's peer key unless it is there, and gives the nodes' addresses among peers, in order.
pub async fn peer_addresses(plan: &Plan) -> Result<Vec<String>, CliError> {
    let mut addresses = Vec::new();
    for node in &plan.nodes {
        let file = plan.peer_key(node);
        let path = file.as_os_str();
        let key = |words: &[&'static str]| {
            let words = words.iter().map(OsStr::new);
            words.chain([OsStr::new("--file"), path]).map(OsStr::to_owned).collect::<Vec<_>>()
        };
        if !file.exists() {
            // The node asks for a chain even here, and does not use it.
            output_of(&plan.programs.node, key(&["key", "generate-node-key", "--chain", "dev"])).await?;
        }
        let id = output_of(&plan.programs.node, key(&["key", "inspect-node-key"])).await?;
        addresses.push(format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", node.peers, String::from_utf8_lossy(&id).trim()));
    }
    Ok(addresses)
}

/// The measurement that the machine claims.
pub async fn measurement(plan: &Plan, tee: &TeePlan) -> Result<Hash, CliError> {
    let mut args = vec!["measurement".into()];
    args.extend(plan.machine_args(tee));
    let text = output_of(&plan.programs.worker, args).await?;
    let text = String::from_utf8_lossy(&text);
    crate::network::hash(text.trim())
        .ok_or_else(|| CliError::new(ErrorCode::Internal, format!("`{}` is no measurement", text.trim())))
}

/// Puts the measurement on the allow-list unless it is there. Returns whether it had to.
pub async fn allow(network: &Network, sudo: &Account, measurement: &Hash) -> Result<bool, CliError> {
    let key = storage::measurement_key(measurement);
    let known: Option<AllowedMeasurement> = network.read(std::slice::from_ref(&key)).await?.get(&key)?;
    if known.is_some_and(|known| known.sunset.is_none()) {
        return Ok(false);
    }
    let call = ChainCall::allow_measurement(*measurement, [0; 32], 0, None);
    network.chain().submit_sudo(sudo, &call, Until::Finalised).await.map_err(phala_client::ClientError::from)?;
    Ok(true)
}

/// A TEE's registration if it is in force now.
pub async fn registration(network: &Network, identity: &WorkerId) -> Result<Option<WorkerRecord>, CliError> {
    let key = storage::worker_key(identity);
    let time = storage::TIMESTAMP_NOW.to_vec();
    let proved = network.read(&[key.clone(), time.clone()]).await?;
    let record: Option<WorkerRecord> = proved.get(&key)?;
    let now_ms: u64 = proved.get(&time)?.unwrap_or_default();
    Ok(record.filter(|record| record.valid_until > now_ms / 1000))
}

/// Sets how many blocks an epoch of the cluster stays open at least.
pub async fn set_epoch_length(
    network: &Network,
    sudo: &Account,
    cluster: ClusterId,
    blocks: u32,
) -> Result<(), CliError> {
    let call = ChainCall::set_epoch_length(cluster, blocks);
    network.chain().submit_sudo(sudo, &call, Until::InBlock).await.map_err(phala_client::ClientError::from)?;
    Ok(())
}

/// Creates the cluster with this replica, or assigns the replica to it, unless it is so.
pub async fn assign(network: &Network, sudo: &Account, cluster: ClusterId, worker: WorkerId) -> Result<(), CliError> {
    let key = storage::cluster_key(cluster);
    let known: Option<ClusterRecord> = network.read(std::slice::from_ref(&key)).await?.get(&key)?;
    let call = match known {
        Some(record) if record.replicas == [worker] => return Ok(()),
        Some(_) => ChainCall::assign_replicas(cluster, &[worker]),
        None => ChainCall::create_cluster(&[worker]),
    };
    network.chain().submit_sudo(sudo, &call, Until::Finalised).await.map_err(phala_client::ClientError::from)?;
    let now: Option<ClusterRecord> = network.read(std::slice::from_ref(&key)).await?.get(&key)?;
    match now {
        Some(record) if record.replicas == [worker] => Ok(()),
        _ => Err(CliError::new(
            ErrorCode::Internal,
            format!("cluster {cluster} does not have the replica {} that it was given", to_hex(&worker.0)),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn sessions_are_set_where_the_node_reads_them_and_nothing_else_changes() {
        for form in ["patch", "config"] {
            let spec = |slots: u32| json!({"id": "dev", "genesis": {"runtimeGenesis": {"code": "0x00", form: {"network": {"epochSlots": slots, "slotMilliseconds": 1000}}}}});
            let changed = with_sessions_of(12, &serde_json::to_vec(&spec(60)).unwrap()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), spec(12));
        }
        let raw = json!({"genesis": {"raw": {}}}).to_string();
        assert_eq!(with_sessions_of(12, raw.as_bytes()).unwrap_err().code.as_str(), "internal");
    }
}
