//! `phala contract call`: a sealed command, its final reply, and the receipt that proves the reply to others.

use super::{described, encode, method, options, shown};
use crate::{
    accounts,
    args::{CallArgs, Global},
    commands::session,
    error::{io, CliError},
    network::{self, Connected},
    output::{assurance, assurance_line, pha, Output},
};
use phala_client::{
    abi::Kind,
    command::{failure_error, Completed, Failed},
    receipt::EvidenceOf,
    worker::WorkerEndpoint,
    ErrorCode,
};
use phala_protocol::{attestation::Assurance, chain_state::WorkerRecord, storage};
use serde_json::{json, Map, Value};

/// Runs `phala contract call`.
pub async fn run(global: &Global, args: &CallArgs, output: Output) -> Result<(), CliError> {
    if let Some(path) = &args.receipt {
        // Found out before anything is paid for.
        std::fs::OpenOptions::new().append(true).create(true).open(path).map_err(io("write", path))?;
    }
    let connected = network::connect(global).await?;
    let contract = connected.contract(&args.contract)?;
    let (record, metadata) = described(&connected.network, &contract).await?;
    let method = method(&metadata, Kind::Call, &args.method)?;
    let input = encode(method, &args.args)?;
    let account = accounts::signer(global, &connected.network, &args.from).await?;
    let options = options(&args.limits);
    let command = if args.session {
        session::call(&connected, &account, record.cluster, &contract, input, &options).await?
    } else {
        connected.network.call(&account, &contract, input, &options).await?
    };
    if !args.wait && args.receipt.is_none() {
        let json = json!({
            "cluster": command.cluster.0,
            "sequence": command.sequence,
            "nonce": command.nonce.to_string(),
            "block": command.block,
            "fee": command.fee.to_string(),
        });
        output.data(&json, || {
            format!(
                "sent as item {} of cluster {} in block {}, fee {}; --wait waits for what becomes of it",
                command.sequence,
                command.cluster,
                command.block,
                pha(command.fee)
            )
        });
        return Ok(());
    }
    let workers = connected.workers_of(record.cluster)?;
    let completed = connected.network.complete(&account, &command, &workers, options.timeout).await;
    let completed =
        completed.map_err(|error| if args.session { session::over(error.into()) } else { CliError::from(error) })?;
    let vouched = vouched(&connected, &completed).await?;
    if let Some(path) = &args.receipt {
        let evidence = evidence(&connected, &completed, &workers).await;
        let receipt = connected.network.receipt(&completed, evidence).await?;
        crate::home::write_whole(path, marked(&receipt.to_json()?, vouched)?.as_bytes())?;
    }
    let value = match completed.output() {
        Ok(bytes) => method.decode_output(bytes).map_err(phala_client::ClientError::from)?,
        Err(failed) => {
            let refusal = match &failed {
                Failed::Reverted(bytes) => method.decode_error(bytes).ok().map(|error| error.to_string()),
                Failed::Failed(_) => None,
            };
            return Err(failure_error(&failed, refusal.as_deref()).into());
        }
    };
    let json = json!({
        "value": value,
        "block": command.block,
        "fee": command.fee.to_string(),
        "assurance": assurance(vouched),
    });
    output.data(&json, || {
        let where_ = format!("in block {}, fee {}", command.block, pha(command.fee));
        let said = shown(method, &value).map_or_else(|| format!("done {where_}"), |value| format!("{value}\n{where_}"));
        format!("{said}\n{}", assurance_line(vouched))
    });
    Ok(())
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
