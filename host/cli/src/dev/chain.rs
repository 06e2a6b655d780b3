//! The chain of a development network: its specification and anchor, made once, and what governance does on it by sudo.

use super::{
    folder::Settings,
    genesis_cache::{self, Genesis, Wanted},
    plan::{Plan, TeePlan},
};
use crate::{
    error::{io, CliError},
    home,
};
use phala_client::{chain::ChainCall, network::Pin, Account, ErrorCode, Network, Until};
use phala_protocol::{
    attestation::{Listing, Version},
    chain_state::{AllowedMeasurement, ClusterRecord, WorkerRecord},
    ids::to_hex,
    storage, ClusterId, Hash, WorkerId,
};
use serde_json::Value;
use std::{ffi::OsStr, path::Path, process::Stdio};
use tokio::process::Command;

/// What to do about a program beside this one that does not do what it should.
const OTHER_BUILD: &str =
    "the programs beside this one may be of another build: ./scripts/build makes all of them anew";

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
    Err(CliError::environment(format!("{} ended with {}: {}", program.display(), output.status, lines.join("\n")))
        .with_hint(OTHER_BUILD))
}

/// Writes the chain's specification and anchor unless they are there: a network keeps its genesis whatever becomes of the binaries.
pub async fn prepare(plan: &Plan, settings: &Settings) -> Result<Pin, CliError> {
    let (chain, anchor) = (plan.chain_file(), plan.folder.join("anchor.json"));
    if !chain.exists() {
        let wanted = Wanted { preset: if plan.nodes.len() == 1 { "dev" } else { genesis_cache::LOCAL }, settings };
        let cache = home::cache();
        let made = genesis_cache::made(cache.as_deref(), &plan.programs.node, &wanted, async || {
            let specification = specification(plan, &wanted).await?;
            home::write_whole(&chain, &specification)?;
            Ok(Genesis { anchor: anchor_of(plan, &chain).await?, specification })
        });
        let made = made.await?;
        home::write_whole(&chain, &made.specification)?;
        home::write_whole(&anchor, &made.anchor)?;
    }
    if !anchor.exists() {
        home::write_whole(&anchor, &anchor_of(plan, &chain).await?)?;
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

/// The raw specification: genesis as storage, so that a node that starts has only to read it.
async fn specification(plan: &Plan, wanted: &Wanted<'_>) -> Result<Vec<u8>, CliError> {
    let export = async |chain: &OsStr, raw: bool| {
        let mut words = vec![OsStr::new("export-chain-spec"), OsStr::new("--chain"), chain];
        words.extend(raw.then_some(OsStr::new("--raw")));
        output_of(&plan.programs.node, words).await
    };
    let preset = OsStr::new(wanted.preset);
    if !wanted.is_changed() {
        return export(preset, true).await;
    }
    let readable = with_settings(wanted.settings, &export(preset, false).await?)?;
    let draft = plan.chain_file().with_extension("draft.json");
    home::write_whole(&draft, &readable)?;
    let raw = export(draft.as_os_str(), true).await;
    let _ = std::fs::remove_file(&draft);
    raw
}

async fn anchor_of(plan: &Plan, chain: &Path) -> Result<Vec<u8>, CliError> {
    let words = ["export-genesis-anchor", "--format", "json", "--chain"].map(OsStr::new);
    output_of(&plan.programs.node, words.into_iter().chain([chain.as_os_str()])).await
}

/// The readable specification with sessions and blocks as long as `settings` want them, and a root of as few seats: slots are blocks on
/// a chain whose authorities are all there.
fn with_settings(settings: &Settings, readable: &[u8]) -> Result<Vec<u8>, CliError> {
    let not_understood = || {
        CliError::new(ErrorCode::Internal, "the node's chain specification is not understood").with_hint(OTHER_BUILD)
    };
    let mut spec: Value = serde_json::from_slice(readable).map_err(|_| not_understood())?;
    let genesis =
        spec.pointer_mut("/genesis/runtimeGenesis").and_then(Value::as_object_mut).ok_or_else(not_understood)?;
    // Its name depends on whether the preset was written out in full.
    let form =
        ["patch", "config"].into_iter().find(|form| genesis.get(*form).is_some_and(|it| it.get("network").is_some()));
    let network = form.and_then(|form| genesis.get_mut(form)?.get_mut("network")).ok_or_else(not_understood)?;
    for (name, wanted) in [("epochSlots", settings.session_blocks), ("slotMilliseconds", settings.block_milliseconds)] {
        if let Some(wanted) = wanted {
            *network.get_mut(name).ok_or_else(not_understood)? = wanted.into();
        }
    }
    *network.get_mut("loneRoot").ok_or_else(not_understood)? = (settings.gatekeepers <= 1).into();
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
        .ok_or_else(|| format!("`{}` is no measurement", text.trim()))
        .map_err(|message| CliError::new(ErrorCode::Internal, message).with_hint(OTHER_BUILD))
}

/// Puts the measurement on the allow-list unless it is there. Returns whether it had to.
pub async fn allow(network: &Network, sudo: &Account, measurement: &Hash) -> Result<bool, CliError> {
    let key = storage::measurement_key(measurement);
    let known: Option<AllowedMeasurement> = network.read(std::slice::from_ref(&key)).await?.get(&key)?;
    if known.is_some_and(|known| known.sunset.is_none()) {
        return Ok(false);
    }
    let part = |text: &str| text.parse().unwrap_or_default();
    let version = Version(
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    );
    // The machine is simulated: what it claims to run has no source that anybody could reproduce it from.
    let listing = Listing { source: [0; 32], version, role: None, not_before: 0, sunset: None };
    let call = ChainCall::allow_measurement(*measurement, &listing);
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
        )
        .with_hint("somebody else governs this chain too; `phala status` shows its clusters, `phala dev --fresh` makes another")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn sessions_blocks_and_a_lone_root_are_set_where_the_node_reads_them_and_nothing_else_changes() {
        let settings = |session_blocks, block_milliseconds, gatekeepers| Settings {
            authorities: 4,
            workers: 1,
            gatekeepers,
            session_blocks,
            block_milliseconds,
            token: None,
        };
        for form in ["patch", "config"] {
            let spec = |slots: u32, pause: u32, lone: bool| {
                let network = json!({"epochSlots": slots, "slotMilliseconds": pause, "loneRoot": lone});
                json!({"id": "dev", "genesis": {"runtimeGenesis": {"code": "0x00", form: {"network": network}}}})
            };
            for (settings, expected) in [
                (settings(Some(12), None, 4), spec(12, 1000, false)),
                (settings(None, Some(500), 4), spec(60, 500, false)),
                (settings(Some(12), Some(500), 1), spec(12, 500, true)),
                (settings(None, None, 1), spec(60, 1000, true)),
            ] {
                let changed = with_settings(&settings, &serde_json::to_vec(&spec(60, 1000, false)).unwrap()).unwrap();
                assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), expected);
            }
        }
        let raw = json!({"genesis": {"raw": {}}}).to_string();
        let error = with_settings(&settings(Some(12), None, 1), raw.as_bytes()).unwrap_err();
        assert_eq!(error.code.as_str(), "internal");
    }
}
