//! `phala contract call`: a sealed command, its final reply, and the receipt that proves the reply to others.

use super::{described, encode, method, options, shown};
use crate::{
    accounts,
    args::{CallArgs, Global},
    commands::{fees, session},
    error::{io, CliError},
    network::{self, Connected},
    output::{assurance, assurance_line, Output},
};
use phala_client::{
    abi::Kind,
    command::{failure_error, Completed, Failed},
    receipt::EvidenceOf,
    worker::WorkerEndpoint,
    ClientError, ErrorCode, Metadata,
};
use phala_protocol::{
    attestation::Assurance, chain_state::WorkerRecord, ids::to_hex, result::ContractEvent, storage, ContractId,
};
use serde_json::{json, Map, Value};
use std::{
    fs::{self, OpenOptions},
    path::Path,
};

/// Runs `phala contract call`.
pub async fn run(global: &Global, args: &CallArgs, output: Output) -> Result<(), CliError> {
    if let Some(path) = &args.receipt {
        // Found out before anything is paid for.
        check_writable(path)?;
    }
    let waits = args.wait || args.receipt.is_some();
    let connected = network::connect(global).await?;
    let contract = connected.contract(&args.contract)?;
    let (record, metadata) = described(&connected.network, &contract).await?;
    let method = method(&metadata, Kind::Call, &args.method)?;
    let input = encode(method, &args.args)?;
    let account = accounts::signer(global, &connected.network, &args.from).await?;
    let options = options(&args.limits);
    let workers = if waits { connected.workers_of(record.cluster)? } else { Vec::new() };
    let command = if args.session {
        session::call(&connected, &account, record.cluster, &contract, input, &options).await?
    } else {
        connected.network.call(&account, &contract, input, &options).await?
    };
    if !waits {
        let json = json!({
            "cluster": command.cluster.0,
            "sequence": command.sequence,
            "nonce": command.nonce.to_string(),
            "block": command.block,
            "fee": command.fee.to_string(),
            "transaction_fee": command.transaction_fee.map(|fee| fee.to_string()),
        });
        output.data(&json, || {
            format!(
                "sent as item {} of cluster {} in block {}, {}; --wait waits for what becomes of it",
                command.sequence,
                command.cluster,
                command.block,
                fees(&command)
            )
        });
        return Ok(());
    }
    let completed = connected.network.complete(&account, &command, &workers, options.timeout).await;
    let completed =
        completed.map_err(|error| if args.session { session::over(error.into()) } else { CliError::from(error) })?;
    // Whatever fails from here on, it has been executed.
    let executed =
        |error: CliError| CliError { message: format!("{}; {}", error.message, command.in_inbox()), ..error };
    let vouched = vouched(&connected, &completed).await.map_err(executed)?;
    if let Some(path) = &args.receipt {
        write_receipt(path, &connected, &completed, &workers, vouched).await.map_err(executed)?;
    }
    let value = match completed.output() {
        Ok(bytes) => method.decode_output(bytes).map_err(|error| executed(ClientError::from(error).into()))?,
        Err(failed) => {
            let refusal = match &failed {
                Failed::Reverted(bytes) => method.decode_error(bytes).ok().map(|error| error.to_string()),
                Failed::Failed(_) => None,
            };
            return Err(failure_error(&failed, refusal.as_deref()).into());
        }
    };
    let events = events(&metadata, &contract, &completed.reply.events);
    let json = json!({
        "value": value,
        "events": events,
        "block": command.block,
        "fee": command.fee.to_string(),
        "transaction_fee": command.transaction_fee.map(|fee| fee.to_string()),
        "assurance": assurance(vouched),
    });
    output.data(&json, || {
        let where_ = format!("in block {}, {}", command.block, fees(&command));
        let said = shown(method, &value).map_or_else(|| format!("done {where_}"), |value| format!("{value}\n{where_}"));
        let events: String = events.iter().map(|event| format!("\nevent {event}")).collect();
        format!("{said}{events}\n{}", assurance_line(vouched))
    });
    Ok(())
}

/// Whether a file can be written at `path`. Leaves nothing there that was not there before.
fn check_writable(path: &Path) -> Result<(), CliError> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => fs::remove_file(path).map_err(io("remove", path)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            OpenOptions::new().append(true).open(path).map(drop).map_err(io("write", path))
        }
        Err(error) => Err(io("write", path)(error)),
    }
}

/// What a command emitted, in order: name and fields where the metadata of `contract` describes them, bytes where it does not, and
/// bytes for what other contracts emitted that it called.
fn events(metadata: &Metadata, contract: &ContractId, emitted: &[ContractEvent]) -> Vec<Value> {
    let one = |event: &ContractEvent| {
        let known = if event.contract == *contract { metadata.decode_event(&event.data).ok() } else { None };
        let by = event.contract.to_string();
        match known {
            Some((name, fields)) => json!({"contract": by, "name": name, "fields": fields}),
            None => json!({"contract": by, "data": to_hex(&event.data)}),
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
    crate::home::write_whole(path, marked(&receipt.to_json()?, vouched)?.as_bytes())
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

    #[test]
    fn looking_whether_a_receipt_can_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.json");
        check_writable(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "an older receipt").unwrap();
        check_writable(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older receipt");
        assert_eq!(check_writable(&folder.path().join("missing/receipt.json")).unwrap_err().code.as_str(), "not_found");
        assert!(check_writable(folder.path()).is_err(), "a folder is no file");
    }

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
            events(&metadata, &ours, &emitted),
            [
                json!({"contract": by, "name": "Minted", "fields": {"amount": "9"}}),
                json!({"contract": other.to_string(), "data": "0x184d696e74656409000000000000000000000000000000"}),
                json!({"contract": by, "data": "0xfeff"}),
            ]
        );
    }
}
