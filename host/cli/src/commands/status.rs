//! `phala status`: height, finalised, workers, clusters, queue lengths. The chain's part is the node's word, and so for people.

use crate::{
    args::Global,
    error::CliError,
    network,
    output::{assurance, assurance_line, table, Output},
    roots, suspension,
};
use phala_attest::{PlatformModel, Subject};
use phala_client::worker::{WorkerEndpoint, WorkerInfo};
use phala_protocol::{
    attestation::{Assurance, Role},
    chain_state::{ClusterRecord, RootRecord, WorkerRecord},
    inbox::Head,
    storage, ClusterId, WorkerId,
};
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// Where the chain counts the sets of authorities that finalised it: twox128("Grandpa") || twox128("CurrentSetId").
const AUTHORITY_SET: [u8; 32] = [
    0x5f, 0x9c, 0xc4, 0x5b, 0x7a, 0x00, 0xc5, 0x89, 0x93, 0x61, 0xe1, 0xc6, 0x09, 0x96, 0x78, 0xdc, 0x8a, 0x2d, 0x09,
    0x46, 0x3e, 0xff, 0xcc, 0x78, 0xa2, 0x2d, 0x75, 0xb9, 0xcb, 0x87, 0xdf, 0xfc,
];

/// Where the chain keeps when each platform model's collateral ends, and whether it has raised the alarm: twox128("Attestation") ||
/// twox128("Expiries").
const EXPIRIES: [u8; 32] = [
    0x63, 0x10, 0xfe, 0xd4, 0x73, 0x19, 0xb6, 0x58, 0xf9, 0xb8, 0xb2, 0x50, 0x4e, 0x0d, 0x72, 0xec, 0xd5, 0x4a, 0xcd,
    0xea, 0x86, 0x12, 0x35, 0x3f, 0x60, 0x9f, 0x86, 0xc6, 0xde, 0x85, 0x3a, 0x96,
];

/// Runs `phala status`.
pub async fn run(global: &Global, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let chain = connected.network.chain();
    let (best, finalised) = (chain.best_head().await?, chain.finalised_head().await?);
    let at = Some(&finalised.hash);
    let mut clusters: Vec<(ClusterId, ClusterRecord)> = chain.entries(&storage::CLUSTERS, at).await?;
    clusters.sort_by_key(|(id, _)| *id);
    let heads: BTreeMap<ClusterId, Head> = chain.entries(&storage::INBOX_HEADS, at).await?.into_iter().collect();
    let mut machines: Vec<(WorkerId, WorkerRecord)> = chain.entries(&storage::WORKERS, at).await?;
    machines.sort_by_key(|(id, record)| (record.role, *id));
    let mut expiries: Vec<(PlatformModel, (u64, bool))> = chain.entries(&EXPIRIES, at).await?;
    expiries.sort_by_key(|(model, _)| *model);
    let root: Option<RootRecord> = chain.storage(&storage::root_key(), at).await?;
    let next_root: Option<RootRecord> = chain.storage(&storage::next_root_key(), at).await?;
    let now = chain.storage::<u64>(&storage::TIMESTAMP_NOW, at).await?.unwrap_or_default() / 1000;

    let mut answers = BTreeMap::new();
    let mut silent = Vec::new();
    for url in connected.all_workers() {
        match WorkerEndpoint::new(&url)?.info().await {
            Ok(info) => {
                answers.insert(info.identity.clone(), (url, info));
            }
            Err(error) => silent.push((url, error.message)),
        }
    }
    let authority_set = chain.storage::<u64>(&AUTHORITY_SET, at).await?.unwrap_or_default();
    let insecure = connected.insecure() || machines.iter().any(|(_, record)| record.assurance == Assurance::Simulated);
    let clusters: Vec<Value> = clusters.iter().map(|(id, record)| cluster(*id, record, heads.get(id))).collect();
    let machines: Vec<Value> =
        machines.iter().map(|(id, record)| machine(id, record, root.as_ref(), now, &answers)).collect();
    let json = json!({
        "insecure": insecure,
        "assurance": assurance(if insecure { Assurance::Simulated } else { Assurance::Hardware }),
        "node": chain.url(),
        "genesis": phala_protocol::ids::to_hex(connected.network.genesis()),
        "height": best.number,
        "finalised": finalised.number,
        "authority_set": authority_set,
        "root": root.as_ref().map(roots::json),
        "next_root": next_root.as_ref().map(roots::json),
        "workers": machines,
        "clusters": clusters,
        "collateral": expiries.iter().map(|(model, end)| collateral(model, *end, now)).collect::<Vec<_>>(),
        "silent": silent.iter().map(|(url, why)| json!({"url": url, "why": why})).collect::<Vec<_>>(),
        "pids": connected.file.as_ref().map(|file| &file.pids),
    });
    let mut lines: Vec<String> = root.iter().map(|root| format!("root that answers: {}", roots::line(root))).collect();
    lines.extend(next_root.iter().map(|next| format!("root that clusters go over to: {}", roots::line(next))));
    output.data(&json, || text(&json, &lines));
    Ok(())
}

fn cluster(id: ClusterId, record: &ClusterRecord, head: Option<&Head>) -> Value {
    let count = head.map_or(0, |head| head.count);
    let vote = match record.replicas.len() {
        // Governance gave it up: nothing is decided there any more.
        _ if record.is_closed() => "closed for good".to_owned(),
        // One replica's word, or two that can only disagree.
        0..=2 => "no vote".to_owned(),
        replicas => format!("{} of {replicas}", record.majority()),
    };
    json!({
        "cluster": id.0,
        "epoch": record.epoch,
        "era": record.era,
        "era_before": record.era_before,
        "replicas": record.replicas.iter().map(WorkerId::to_string).collect::<Vec<_>>(),
        "vote": vote,
        "closed": record.is_closed(),
        "items": count,
        "queue": count.saturating_sub(record.final_count),
    })
}

/// When the collateral of a platform model ends, Unix seconds, and whether the chain warns of it.
fn collateral(model: &PlatformModel, (valid_until, alarm): (u64, bool), now: u64) -> Value {
    json!({
        "model": suspension::text(&Subject::Model { vendor: model.vendor, fmspc: model.fmspc }),
        "authority": phala_protocol::ids::to_hex(&model.authority),
        "valid_until": valid_until,
        "valid_for_seconds": valid_until.saturating_sub(now),
        "alarm": phala_relayer::is_alarming(valid_until, alarm, now),
    })
}

fn machine(
    id: &WorkerId,
    record: &WorkerRecord,
    root: Option<&RootRecord>,
    now: u64,
    answers: &BTreeMap<String, (String, WorkerInfo)>,
) -> Value {
    let answer = answers.get(&id.to_string());
    let mut seats = (1u32..).zip(root.into_iter().flat_map(|root| &root.seats));
    json!({
        "identity": id.to_string(),
        "role": match record.role {
            Role::Worker => "worker",
            Role::Gatekeeper => "gatekeeper",
        },
        "seat": seats.find(|(_, seat)| *seat == id).map(|(index, _)| index),
        "assurance": assurance(record.assurance),
        "registered": record.valid_until > now,
        "valid_for_seconds": record.valid_until.saturating_sub(now),
        "url": answer.map(|(url, _)| url),
        "height": answer.map(|(_, info)| info.height),
        "serves": answer.map(|(_, info)| info.clusters.iter().map(|served| served.cluster).collect::<Vec<_>>()),
    })
}

fn text(json: &Value, roots: &[String]) -> String {
    let get = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let rows = |list: &str, columns: &[&str]| -> Vec<Vec<String>> {
        let items = json.get(list).and_then(Value::as_array).into_iter().flatten();
        items.map(|item| columns.iter().map(|column| get(item, column)).collect()).collect()
    };
    let mut parts = Vec::new();
    if json.get("insecure") == Some(&Value::Bool(true)) {
        parts.push(format!("INSECURE: TEEs of this network are simulated\n{}", assurance_line(Assurance::Simulated)));
    }
    parts.push(format!(
        "chain at {}: height {}, finalised {} by authority set {}",
        get(json, "node"),
        get(json, "height"),
        get(json, "finalised"),
        get(json, "authority_set")
    ));
    match roots {
        [] => parts.push("root: none; no cluster can have keys yet".to_owned()),
        roots => parts.push(roots.join("\n")),
    }
    let machines = rows("workers", &["role", "identity", "registered", "assurance", "height", "seat", "serves", "url"]);
    parts.push(table(&["ROLE", "IDENTITY", "REGISTERED", "ASSURANCE", "HEIGHT", "SEAT", "SERVES", "URL"], &machines));
    let clusters = rows("clusters", &["cluster", "era", "epoch", "vote", "items", "queue"]);
    parts.push(table(&["CLUSTER", "ERA", "EPOCH", "VOTE", "ITEMS", "QUEUE"], &clusters));
    let kept = json.get("collateral").and_then(Value::as_array).into_iter().flatten();
    for ending in kept.filter(|item| item.get("alarm") == Some(&Value::Bool(true))) {
        parts.push(format!(
            "collateral of {} ends in {} s, and machines are not admitted without: `phala attest collateral fetch`, then `import`, or a relayer with --pccs",
            get(ending, "model"),
            get(ending, "valid_for_seconds")
        ));
    }
    for row in rows("silent", &["url", "why"]) {
        parts.push(format!("does not answer: {}", row.join(": ")));
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn record(replicas: usize) -> ClusterRecord {
        ClusterRecord {
            era: 0,
            era_before: 0,
            epoch: 2,
            opened_at: 5,
            opened_count: 0,
            final_count: 7,
            bound_epoch: 2,
            epoch_length: 10,
            envelope_key: Vec::new(),
            replicas: vec![WorkerId([1; 32]); replicas],
        }
    }

    #[test]
    fn a_cluster_shows_its_queue_and_that_one_replica_is_no_vote() {
        let head = Head { count: 10, link: [0; 32] };
        let shown = cluster(ClusterId(3), &record(1), Some(&head));
        assert_eq!((shown["queue"].clone(), shown["vote"].clone()), (json!(3), json!("no vote")));
        assert_eq!(cluster(ClusterId(3), &record(3), None)["vote"], "2 of 3");
        assert_eq!(cluster(ClusterId(3), &record(3), None)["queue"], 0);
        let closed = cluster(ClusterId(3), &record(0), Some(&head));
        assert_eq!((&closed["vote"], &closed["closed"]), (&json!("closed for good"), &json!(true)));
    }

    #[test]
    fn the_authority_set_is_read_where_the_chain_counts_it() {
        assert_eq!(phala_client::chain::map_key("Grandpa", "CurrentSetId", b"")[..32], AUTHORITY_SET);
    }

    #[test]
    fn collateral_that_ends_soon_is_told_with_what_to_do() {
        assert_eq!(phala_client::chain::map_key("Attestation", "Expiries", b"")[..32], EXPIRIES);
        let model = PlatformModel { vendor: phala_attest::Vendor::IntelSgx, fmspc: [0xab; 6], authority: [1; 32] };
        let told = |end, now| text(&json!({"collateral": [collateral(&model, end, now)]}), &[]);
        assert!(!told((5_000, false), 100).contains("collateral"), "nothing to do yet");
        for (shown, seconds) in
            [(told((5_000, true), 4_000), "ends in 1000 s"), (told((5_000, false), 5_000), "ends in 0 s")]
        {
            assert!(shown.contains("model:intel-sgx:abababababab") && shown.contains(seconds), "{shown}");
            assert!(shown.contains("phala attest collateral fetch"), "{shown}");
        }
    }

    #[test]
    fn people_are_told_that_it_is_insecure() {
        let json = json!({"insecure": true, "height": 9, "finalised": 8, "authority_set": 3, "workers": [], "clusters": [cluster(ClusterId(0), &record(1), None)]});
        let text = text(&json, &["root that answers: era 0, opened by 3 of 4".to_owned()]);
        assert!(text.contains("\n\nroot that answers: era 0, opened by 3 of 4\n\n"));
        assert!(text.starts_with("INSECURE"));
        assert!(text.contains("height 9, finalised 8 by authority set 3") && text.contains("no vote"));
        assert!(text.contains("assurance: simulated"));
    }
}
