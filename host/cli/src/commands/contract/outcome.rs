//! What a completed command is shown by: its value and events, what vouches for it, and the receipt that proves it to others.
//!
//! Guarantees: a receipt is written, whole and for its owner alone, before anything is shown; a reply's value and events are decoded
//! from one budget of memory. Contracts control values and events; workers decide whether they show evidence, and a receipt proves without it.

use super::{
    egress::{self, Known},
    method, shown,
};
use crate::{
    commands::fees,
    error::CliError,
    home,
    network::Connected,
    output::{assurance, assurance_line, Output},
};
use phala_client::{
    abi::{Budget, Kind},
    command::{failure_error, Completed, Failed},
    receipt::EvidenceOf,
    worker::WorkerEndpoint,
    ClientError, Command, ErrorCode, Metadata,
};
use phala_protocol::{
    attestation::Assurance,
    chain_state::WorkerRecord,
    ids::to_hex,
    result::{ContractEvent, Outcome},
    storage, ContractId,
};
use serde_json::{Map, Value};
use std::path::Path;

/// Writes the receipt, where one is wanted, and says what vouches for the reply. Whatever fails here, the command has been executed:
/// errors say so, of `command` as it was sent.
pub async fn prove(
    connected: &Connected,
    command: &Command,
    completed: &Completed,
    workers: &[WorkerEndpoint],
    receipt: Option<&Path>,
) -> Result<Assurance, CliError> {
    let proved = async {
        let vouched = vouched(connected, completed).await?;
        if let Some(path) = receipt {
            write_receipt(path, connected, completed, workers, vouched).await?;
        }
        Ok::<_, CliError>(vouched)
    };
    proved.await.map_err(|error| executed(error, command))
}

/// What became of what the command sent out of its cluster, in the order of its reply. Whatever fails here, the command has been executed.
pub async fn fates(connected: &Connected, completed: &Completed) -> Result<Vec<Known>, CliError> {
    let sequences: Vec<u64> = completed.reply.egress.iter().map(|item| item.sequence).collect();
    let command = &completed.command;
    egress::fates(connected, command.cluster, &sequences).await.map_err(|error| executed(error, command))
}

/// Whether nothing else can become of the command. A copy of it in another wrapper may have been refused, which leaves the command.
pub const fn is_settled(completed: &Completed) -> bool {
    match &completed.reply.outcome {
        Outcome::Failed(failure) => !failure.leaves_nonce(),
        _ => true,
    }
}

/// Shows what the command came to, and `fates` of what it sent; `command` says what it cost.
pub fn show(
    metadata: &Metadata,
    name: &str,
    command: &Command,
    completed: &Completed,
    (vouched, fates): (Assurance, &[Known]),
    output: Output,
) -> Result<(), CliError> {
    let method = method(metadata, Kind::Call, name)?;
    let mut budget = Budget::default();
    let value = match completed.output() {
        Ok(bytes) => method
            .decode_output(bytes, &mut budget)
            .map_err(|error| executed(ClientError::from(error).into(), command))?,
        Err(failed) => {
            let refusal = match &failed {
                Failed::Reverted(bytes) => method.decode_error(bytes).ok().map(|error| error.to_string()),
                Failed::Failed(_) => None,
            };
            return Err(failure_error(&failed, refusal.as_deref()).into());
        }
    };
    let events = events(metadata, &command.contract, &completed.reply.events, &mut budget);
    let sent: Vec<_> = completed.reply.egress.iter().zip(fates).collect();
    // `json!` would copy the value and the events, which may be large.
    let parts: [(&str, Value); 7] = [
        ("value", value),
        ("events", Value::Array(events)),
        ("egress", sent.iter().map(|(item, known)| egress::json(item, known)).collect()),
        ("block", command.block.into()),
        ("fee", command.fee.to_string().into()),
        ("transaction_fee", command.transaction_fee.map(|fee| fee.to_string()).into()),
        ("assurance", assurance(vouched).into()),
    ];
    let json: Value = parts.into_iter().collect();
    output.data(&json, || {
        let where_ = format!("in block {}, {}", command.block, fees(command));
        let said = shown(method, &json["value"])
            .map_or_else(|| format!("done {where_}"), |value| format!("{value}\n{where_}"));
        let events: String =
            json["events"].as_array().into_iter().flatten().map(|event| format!("\nevent {event}")).collect();
        let sent: String = sent.iter().map(|(item, known)| format!("\n{}", egress::line(item, known))).collect();
        format!("{said}{events}{sent}\n{}", assurance_line(vouched))
    });
    Ok(())
}

fn executed(error: CliError, command: &Command) -> CliError {
    CliError { message: format!("{}; {}", error.message, command.in_inbox()), ..error }
}

/// What a command emitted, in order: name and fields where the metadata of `contract` describes them, bytes where it does not, and
/// bytes for what other contracts emitted that it called, and for what takes more than `budget` has left for the reply.
fn events(metadata: &Metadata, contract: &ContractId, emitted: &[ContractEvent], budget: &mut Budget) -> Vec<Value> {
    let one = |event: &ContractEvent| -> Value {
        let known = if event.contract == *contract { metadata.decode_event(&event.data, budget).ok() } else { None };
        let by = Value::from(event.contract.to_string());
        match known {
            Some((name, fields)) => [("contract", by), ("name", name.into()), ("fields", fields)].into_iter().collect(),
            None => [("contract", by), ("data", to_hex(&event.data).into())].into_iter().collect(),
        }
    };
    emitted.iter().map(one).collect()
}

/// Writes the receipt, with the evidence of the workers that signed where there is any.
async fn write_receipt(
    path: &Path,
    connected: &Connected,
    completed: &Completed,
    workers: &[WorkerEndpoint],
    vouched: Assurance,
) -> Result<(), CliError> {
    let evidence = evidence(connected, completed, workers).await;
    let receipt = connected.network.receipt(completed, evidence).await?;
    // It may have become something else since it was looked at.
    home::check_regular(path)?;
    home::write_private(path, marked(&receipt.to_json()?, vouched)?.as_bytes())
}

/// The least that vouches for a worker that signed the result, by the chain's proved records.
async fn vouched(connected: &Connected, completed: &Completed) -> Result<Assurance, CliError> {
    let keys: Vec<_> = completed.record.votes.iter().map(|(worker, _)| storage::worker_key(worker)).collect();
    let proved = connected.network.read(&keys).await?;
    for key in &keys {
        let record: Option<WorkerRecord> = proved.get(key)?;
        if record.is_none_or(|record| record.assurance != Assurance::Hardware) {
            return Ok(Assurance::Simulated);
        }
    }
    Ok(Assurance::Hardware)
}

/// The receipt's JSON with a word on what it rests on, for whoever reads the file. `phala verify` finds out by itself.
fn marked(receipt: &str, vouched: Assurance) -> Result<String, CliError> {
    let unreadable = |error: serde_json::Error| CliError::new(ErrorCode::Internal, error.to_string());
    let mut json: Map<String, Value> = serde_json::from_str(receipt).map_err(unreadable)?;
    json.insert("assurance".to_owned(), assurance(vouched).into());
    serde_json::to_string_pretty(&json).map_err(unreadable)
}

/// The evidence of the workers that signed, where they show it and their collateral lies here: a receipt proves without it, by the
/// chain's record of what the chain verified.
async fn evidence(connected: &Connected, completed: &Completed, workers: &[WorkerEndpoint]) -> Vec<EvidenceOf> {
    let mut evidence = Vec::new();
    for worker in workers {
        let Ok(info) = worker.info().await else { continue };
        let file = connected.file.iter().flat_map(|file| &file.workers).find(|machine| machine.http == worker.url());
        let collateral = file.and_then(|machine| std::fs::read(machine.collateral.as_ref()?).ok()).unwrap_or_default();
        evidence.extend(
            EvidenceOf::from_info(&info, &collateral)
                .filter(|evidence| completed.record.votes.iter().any(|(voter, _)| *voter == evidence.worker)),
        );
    }
    evidence
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use codec::Encode;
    use phala_client::abi::MAX_DECODED_BYTES;
    use serde_json::json;

    #[test]
    fn events_have_names_and_fields_where_the_contract_describes_them_and_bytes_otherwise() {
        let metadata = r#"{"abi": 1, "name": "token", "version": "0.1.0",
            "constructor": {"name": "create", "args": [], "error": null}, "messages": [],
            "events": [{"name": "Minted", "fields": [["amount", "u128"]]}]}"#;
        let metadata = Metadata::from_json(metadata.as_bytes()).unwrap();
        let (ours, other) = (ContractId([1; 32]), ContractId([2; 32]));
        let known = ("Minted", 9u128).encode();
        let emitted = [
            ContractEvent { contract: ours, data: known.clone() },
            ContractEvent { contract: other, data: known },
            ContractEvent { contract: ours, data: vec![0xfe, 0xff] },
        ];
        let by = ours.to_string();
        assert_eq!(
            events(&metadata, &ours, &emitted, &mut Budget::default()),
            [
                json!({"contract": by, "name": "Minted", "fields": {"amount": "9"}}),
                json!({"contract": other.to_string(), "data": "0x184d696e74656409000000000000000000000000000000"}),
                json!({"contract": by, "data": "0xfeff"}),
            ]
        );
    }

    #[test]
    fn events_that_grow_when_they_are_decoded_share_one_budget_and_are_bytes_beyond_it() {
        const NOTHINGS: usize = 230_000;
        let metadata = format!(
            r#"{{"abi": 1, "name": "bombs", "version": "0.1.0",
            "constructor": {{"name": "create", "args": [], "error": null}}, "messages": [],
            "events": [{{"name": "Burst", "fields": [["a", {{"array": ["unit", {NOTHINGS}]}}]]}},
                {{"name": "Said", "fields": [["b", "u8"]]}}]}}"#
        );
        let metadata = Metadata::from_json(metadata.as_bytes()).unwrap();
        let ours = ContractId([1; 32]);
        let burst = "Burst".encode();
        // As many as a reply has at most, and the last of them is small.
        let mut emitted = vec![ContractEvent { contract: ours, data: burst.clone() }; 63];
        emitted.push(ContractEvent { contract: ours, data: ("Said", 7_u8).encode() });
        let events = events(&metadata, &ours, &emitted, &mut Budget::default());
        assert_eq!(events.len(), 64);
        let (bursts, said) = events.split_at(63);
        let decoded = bursts.iter().filter(|event| event["fields"]["a"].as_array().map(Vec::len) == Some(NOTHINGS));
        let decoded = decoded.count();
        assert!(decoded > 0 && decoded * NOTHINGS * size_of::<Value>() <= MAX_DECODED_BYTES, "{decoded} are decoded");
        for event in bursts.iter().skip(decoded) {
            assert_eq!(*event, json!({"contract": ours.to_string(), "data": to_hex(&burst)}));
        }
        assert_eq!(said, [json!({"contract": ours.to_string(), "name": "Said", "fields": {"b": 7}})]);
    }
}
