//! `phala contract list`, `info` and `estimate`.

use super::described;
use crate::{
    accounts,
    args::Global,
    error::CliError,
    network,
    output::{assurance_line, pha, table, Output},
};
use phala_client::abi::{Kind, Method};
use phala_protocol::{
    attestation::Assurance, chain_state::ContractRecord, envelope::SizeClass, gas::GasClass, storage, ClusterId,
    ContractId,
};
use serde_json::{json, Value};

/// Lists contracts, by the node's word.
pub async fn list(global: &Global, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let mut all: Vec<(ContractId, ContractRecord)> =
        connected.network.chain().entries(&storage::INSTANCES, None).await?;
    all.sort_by_key(|(id, record)| (record.created_at, *id));
    let name_of = |id: &ContractId| {
        let named = connected.file.iter().flat_map(|file| &file.contracts);
        let id = id.to_string();
        named.into_iter().find(|(_, known)| **known == id).map(|(name, _)| name.clone())
    };
    let list: Vec<Value> = all
        .iter()
        .map(|(id, record)| {
            json!({
                "contract": id.to_string(),
                "name": name_of(id),
                "cluster": record.cluster.0,
                "code": record.code.to_string(),
                "deployer": accounts::address(&record.deployer),
                "block": record.created_at,
            })
        })
        .collect();
    output.data(&json!({"contracts": list}), || {
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|(id, record)| {
                vec![
                    id.to_string(),
                    name_of(id).unwrap_or_else(|| "-".to_owned()),
                    record.cluster.to_string(),
                    record.created_at.to_string(),
                    accounts::address(&record.deployer),
                ]
            })
            .collect();
        table(&["CONTRACT", "NAME", "CLUSTER", "BLOCK", "DEPLOYER"], &rows)
    });
    Ok(())
}

/// Shows a contract and its methods.
pub async fn info(global: &Global, contract: &str, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let id = connected.contract(contract)?;
    let (record, metadata) = described(&connected.network, &id).await?;
    let describe = |method: &Method| {
        let arguments: Vec<Value> =
            method.arguments.iter().map(|(name, kind)| json!({"name": name, "type": kind.to_string()})).collect();
        json!({
            "name": method.name,
            "kind": kind(method.kind),
            "arguments": arguments,
            "returns": method.returns.to_string(),
            "signature": method.signature(),
        })
    };
    let methods: Vec<Value> = metadata.messages.iter().map(describe).collect();
    let json = json!({
        "contract": id.to_string(),
        "insecure": connected.insecure(),
        "name": metadata.name,
        "version": metadata.version,
        "cluster": record.cluster.0,
        "code": record.code.to_string(),
        "deployer": accounts::address(&record.deployer),
        "account": accounts::address(&id.account()),
        "block": record.created_at,
        "constructor": describe(&metadata.constructor),
        "methods": methods,
    });
    output.data(&json, || {
        let mut lines = vec![
            format!("{} {} in cluster {}", metadata.name, metadata.version, record.cluster),
            format!("contract  {id}"),
            format!("code      {}", record.code),
            format!("deployer  {} in block {}", accounts::address(&record.deployer), record.created_at),
            format!("account   {}, out of which its transfers are paid", accounts::address(&id.account())),
            String::new(),
            format!("constructor  {}", metadata.constructor.signature()),
        ];
        lines.extend(
            metadata.messages.iter().map(|method| format!("{:<11}  {}", kind(method.kind), method.signature())),
        );
        if connected.insecure() {
            lines.push(assurance_line(Assurance::Simulated).to_owned());
        }
        lines.join("\n")
    });
    Ok(())
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Constructor => "constructor",
        Kind::Call => "call",
        Kind::Query => "query",
    }
}

/// What each class costs: bounds and no more, because the exact gas of a command is private. What the inbox charges goes by the gas
/// class, and the transaction's fee on top by the size class of the envelope, whatever gas it may use.
pub async fn estimate(global: &Global, cluster: u32, contract: Option<&str>, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let cluster = match contract {
        Some(contract) => connected.network.contract(&connected.contract(contract)?).await?.cluster,
        None => ClusterId(cluster),
    };
    let mut bounds = Vec::new();
    for class in GasClass::ALL {
        bounds.push(connected.network.fee_bounds(cluster, class.gas()).await?);
    }
    let (smallest, largest) = (SizeClass::B256, SizeClass::K16);
    let transaction = connected.network.transaction_fee(cluster, smallest).await?;
    let transaction_most = connected.network.transaction_fee(cluster, largest).await?;
    let classes: Vec<Value> = bounds
        .iter()
        .map(|bound| {
            json!({
                "class": format!("{:?}", bound.class).to_lowercase(),
                "gas": bound.class.gas(),
                "fee_now": bound.now.to_string(),
                "fee_most": bound.most.to_string(),
                "transaction_fee": transaction.to_string(),
                "transaction_fee_most": transaction_most.to_string(),
            })
        })
        .collect();
    output.data(&json!({"cluster": cluster.0, "classes": classes}), || {
        let rows: Vec<Vec<String>> = bounds
            .iter()
            .map(|bound| {
                vec![
                    format!("{:?}", bound.class).to_lowercase(),
                    bound.class.gas().to_string(),
                    pha(bound.now),
                    pha(bound.most),
                    pha(transaction),
                ]
            })
            .collect();
        let table = table(&["CLASS", "GAS UP TO", "FEE NOW", "FEE AT MOST", "TRANSACTION FEE"], &rows);
        format!(
            "{table}\nThe transaction's fee comes on top of the other, and --max-fee does not bound it: this one is for a command that \
             fits in {} bytes, one of {} bytes has {}.",
            smallest.bytes(),
            largest.bytes(),
            pha(transaction_most)
        )
    });
    Ok(())
}
